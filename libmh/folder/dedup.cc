// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/dedup.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "libmh/folder/probe.h"
#include "libmh/folder/scan.h"
#include "libmh/format/canonical-message.h"
#include "libmh/format/fingerprint.h"
#include "libmh/format/visible-part.h"

namespace mh {
namespace {

constexpr size_t kBlock = 64 * 1024;
// Two changes within one tick of the kernel's clock have the same stamp.
constexpr Nanoseconds kTick = kSecond / 50;
constexpr uint64_t kBetweenLooks = 256;  // messages between two calls of Progress
constexpr int kOpenFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

uint32_t seconds_of(Nanoseconds time) {
  return static_cast<uint32_t>(std::clamp<Nanoseconds>(time / kSecond, 0, UINT32_MAX));
}

// As adoption has it.
uint32_t date_of(const Probe& probe) {
  if (probe.tag_is_first) return probe.tag.internal_date;
  return probe.delivery_date ? *probe.delivery_date : seconds_of(probe.file.mtime);
}

bool earlier_place(const ComparedMessage& a, const ComparedMessage& b) {
  return a.folder != b.folder ? a.folder < b.folder : a.number < b.number;
}

bool goes_before(DedupKeep keep, const ComparedMessage& a, const ComparedMessage& b) {
  if (keep == DedupKeep::kFirstFolder && a.folder != b.folder) return a.folder < b.folder;
  if (a.date != b.date) return keep == DedupKeep::kNewest ? a.date > b.date : a.date < b.date;
  return earlier_place(a, b);
}

}  // namespace

// One message file, open; its bytes one after the other.
class DuplicateFinder::Reading {
 public:
  Fd fd;
  Probe probe;
  ComparedMessage message;

  bool is_open() const { return static_cast<bool>(fd); }
  uint64_t size() const { return message.visible_size(); }
  // From the first visible byte on, once more.
  void start() {
    at_ = message.prefix;
    begin_is_there_ = false;
    finished_ = false;
    canonical_ = {};
  }

  // The file's first bytes, which were read already.
  void take_begin(std::string begin) {
    block_ = std::move(begin);
    begin_is_there_ = block_.size() > at_;
  }

  // The next visible bytes; empty at the end. kBusy when there are fewer than there were.
  Result<std::string_view> next(Fs& fs, uint64_t* bytes_read) {
    if (std::exchange(begin_is_there_, false)) {
      const std::string_view begin = std::string_view(block_).substr(at_);
      at_ = block_.size();
      return begin;
    }
    const size_t want = std::min<uint64_t>(kBlock, message.file.size - at_);
    block_.resize(want);
    if (want == 0) return std::string_view();
    MH_TRY_SET(const size_t got, fs.pread(fd.get(), block_.data(), want, at_));
    *bytes_read += got;
    if (got != want) return fail(ErrorKind::kBusy, "a message became shorter while it was read");
    at_ += got;
    return std::string_view(block_);
  }

  // The next bytes of what is compared: canonical ones or those that stand there.
  Result<std::string> next_compared(Fs& fs, DedupBy by, uint64_t* bytes_read) {
    while (!finished_) {
      MH_TRY_SET(const std::string_view piece, next(fs, bytes_read));
      finished_ = piece.empty();
      if (by == DedupBy::kExact) return std::string(piece);
      if (finished_) {
        canonical_.finish();
      } else {
        canonical_.add(piece);
      }
      if (std::string form = canonical_.take(); !form.empty()) return form;
    }
    return std::string();
  }

  // All of the header, as far as a header may be.
  Result<std::string> start_of_message(Fs& fs, uint64_t* bytes_read) {
    std::string start;
    while (!has_whole_header(start) && start.size() < CanonicalMessage::kMostHeader) {
      MH_TRY_SET(const std::string_view piece, next(fs, bytes_read));
      if (piece.empty()) break;
      start += piece;
    }
    return start;
  }

 private:
  uint64_t at_ = 0;
  bool begin_is_there_ = false;
  bool finished_ = false;
  std::string block_;
  CanonicalMessage canonical_;
};

Result<Fd> DuplicateFinder::open_file(uint32_t folder, uint32_t number) {
  const std::string path = places_[folder].path + "/" + std::to_string(number);
  auto fd = fs_.open(AT_FDCWD, path.c_str(), kOpenFlags | O_NOATIME);
  // Only the owner may leave atime alone.
  if (!fd && fd.error().sys_errno() == EPERM) fd = fs_.open(AT_FDCWD, path.c_str(), kOpenFlags);
  return fd;
}

// For a hash: one open, one stat, one read for most. Whether somebody writes to the file is asked
// when it is compared. Closed as with open().
Result<DuplicateFinder::Reading> DuplicateFinder::open_for_hash(uint32_t folder, uint32_t number) {
  Reading reading;
  const Place& place = places_[folder];
  auto fd = open_file(folder, number);
  const auto stat = fd ? fs_.fstat(fd->get()) : pass_on(fd);
  const uint64_t size = stat ? stat->size : 0;
  const size_t most = by_ == DedupBy::kContent ? kBlock : kFirstRead;
  std::string begin(std::min<uint64_t>(most, size), '\0');
  const auto got = stat ? fs_.pread(fd->get(), begin.data(), begin.size(), 0) : pass_on(stat);
  if (!got || *got != begin.size() || stat->type != FileType::kRegular) {
    ++passed_over_;
    return reading;
  }
  bytes_read_ += *got;
  const PrefixScan scan = scan_prefix(begin, begin.size() == size);
  const TagChoice choice = choose_tag(scan, place.key, nullptr);
  // A header that is longer, or a tag that has to prove itself: as it is done for an index.
  const bool hash_fits =
      choice.visible_offset + kFirstHashSize <= begin.size() || begin.size() == size;
  if (!choice.settled || choice.must_match_content || !hash_fits) return open(folder, number);
  reading.fd = std::move(*fd);
  reading.message = {folder, number, FileIdentity::of(*stat),
                     static_cast<uint32_t>(choice.visible_offset)};
  const std::string_view visible = std::string_view(begin).substr(choice.visible_offset);
  reading.message.first_hash = fingerprint(visible.substr(0, kFirstHashSize));
  reading.start();
  reading.take_begin(std::move(begin));
  return reading;
}

// For comparing. Closed when it is gone, unreadable, or being written. After that a change of it
// shows in its stamps.
Result<DuplicateFinder::Reading> DuplicateFinder::open(uint32_t folder, uint32_t number) {
  Reading reading;
  const Place& place = places_[folder];
  auto fd = open_file(folder, number);
  if (!fd) {
    ++passed_over_;
    return reading;
  }
  MH_TRY_SET(const FileStat stat, fs_.fstat(fd->get()));
  const Nanoseconds age = fs_.now() - stat.ctime;
  if (age >= 0 && age < kTick) fs_.sleep(kTick - age);
  ProbeRequest request;
  request.number = number;
  request.file = FileIdentity::of(stat);
  reading.probe = probe_open_file(fs_, fd->get(), request, place.key);
  bytes_read_ += std::min<uint64_t>(kFirstRead, stat.size);
  if (reading.probe.state != Probe::State::kRead) {
    ++passed_over_;
    return reading;
  }
  reading.fd = std::move(*fd);
  reading.message = {folder,
                     number,
                     reading.probe.file,
                     reading.probe.prefix,
                     date_of(reading.probe),
                     reading.probe.first_hash};
  reading.start();
  return reading;
}

Result<bool> DuplicateFinder::add_folder(const std::string& path, const TagKey& key,
                                         const Progress& progress) {
  MH_TRY_SET(const Fd dir, fs_.open(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY));
  MH_TRY_SET(const FileStat stat, fs_.fstat(dir.get()));
  const bool known = std::ranges::any_of(places_, [&](const Place& place) {
    return place.device == stat.device && place.inode == stat.inode;
  });
  if (known) return false;
  std::vector<uint32_t> numbers;
  {
    MH_TRY_SET(const Listing listing, scan_folder(fs_, dir.get()));
    numbers.reserve(listing.entries.size());
    for (const Entry& entry : listing.entries) numbers.push_back(entry.number);
  }
  const auto folder = static_cast<uint32_t>(places_.size());
  places_.push_back({path, key, stat.device, stat.inode});
  candidates_.reserve(candidates_.size() + numbers.size());
  uint64_t done = 0;
  for (const uint32_t number : numbers) {
    if (done++ % kBetweenLooks == 0 && !progress(done, numbers.size())) break;
    ++messages_;
    MH_TRY_SET(Reading reading, open_for_hash(folder, number));
    if (!reading.is_open()) continue;
    if (const auto candidate = candidate_of(reading)) candidates_.push_back(*candidate);
  }
  return true;
}

// Nothing for a message that is nobody's copy, or that could not be read to its end.
std::optional<DuplicateFinder::Candidate> DuplicateFinder::candidate_of(Reading& message) {
  Candidate candidate{0, 0, message.message.folder, message.message.number};
  if (by_ == DedupBy::kExact) {
    // What the first read has shown; refine() reads on where that is not all.
    candidate.hash = message.message.first_hash;
    candidate.size = message.size();
    return candidate;
  }
  if (by_ == DedupBy::kMessageId) {
    const auto start = message.start_of_message(fs_, &bytes_read_);
    const auto id = start ? message_id_of(*start) : std::nullopt;
    passed_over_ += start ? 0 : 1;
    if (!id) return std::nullopt;
    candidate.hash = fingerprint(*id);
    return candidate;
  }
  Fingerprint hash;
  for (;;) {
    const auto piece = message.next_compared(fs_, by_, &bytes_read_);
    passed_over_ += piece ? 0 : 1;
    if (!piece) return std::nullopt;
    if (piece->empty()) break;
    hash.add(*piece);
  }
  candidate.hash = hash.value();
  return candidate;
}

// Of messages that are equal in size and begin: a hash of all bytes, where more than two would have
// to be compared with each other.
Status DuplicateFinder::refine(std::vector<Candidate>* same) {
  if (by_ != DedupBy::kExact || same->size() <= 2 || same->front().size <= kFirstHashSize) {
    return {};
  }
  for (Candidate& candidate : *same) {
    MH_TRY_SET(Reading reading, open(candidate.folder, candidate.number));
    if (!reading.is_open()) continue;
    Fingerprint hash;
    for (;;) {
      const auto piece = reading.next(fs_, &bytes_read_);
      if (!piece || piece->empty()) break;  // what cannot be read is found out when it is compared
      hash.add(*piece);
    }
    candidate.hash = hash.value();
  }
  std::ranges::stable_sort(*same, {}, &Candidate::hash);
  return {};
}

Result<bool> DuplicateFinder::are_same_bytes(Reading& a, Reading& b) {
  std::string left, right;
  for (;;) {
    if (left.empty()) {
      MH_TRY_SET(left, a.next_compared(fs_, by_, &bytes_read_));
    }
    if (right.empty()) {
      MH_TRY_SET(right, b.next_compared(fs_, by_, &bytes_read_));
    }
    if (left.empty() || right.empty()) return left.empty() && right.empty();
    const size_t common = std::min(left.size(), right.size());
    if (left.compare(0, common, right, 0, common) != 0) return false;
    left.erase(0, common);
    right.erase(0, common);
  }
}

// By their bytes; both were just opened.
Result<bool> DuplicateFinder::are_same(Reading& a, Reading& b) {
  if (by_ == DedupBy::kExact && a.size() != b.size()) return false;
  if (by_ != DedupBy::kMessageId) return are_same_bytes(a, b);
  MH_TRY_SET(const std::string left, a.start_of_message(fs_, &bytes_read_));
  MH_TRY_SET(const std::string right, b.start_of_message(fs_, &bytes_read_));
  const auto id = message_id_of(left);
  return id && id == message_id_of(right);
}

// Whether both are the same and were neither before nor after anything but what is said of them:
// what changes meanwhile is no copy of anything.
bool DuplicateFinder::is_copy_of(Reading& reading, const ComparedMessage& first) {
  auto other = open(first.folder, first.number);
  if (!other || !other->is_open() || !other->message.file.same_content(first.file)) return false;
  reading.start();
  const auto equal = are_same(reading, *other);
  if (!equal || !*equal) return false;
  const auto after = fs_.fstat(reading.fd.get());
  const auto other_after = fs_.fstat(other->fd.get());
  return after && FileIdentity::of(*after).same_content(reading.message.file) && other_after &&
         FileIdentity::of(*other_after).same_content(first.file);
}

// Candidates of one hash: each is compared with the first of each group that there is so far.
Status DuplicateFinder::split(const std::vector<Candidate>& same, DedupKeep keep,
                              std::vector<DuplicateGroup>* groups) {
  std::vector<DuplicateGroup> found;
  for (const Candidate& candidate : same) {
    MH_TRY_SET(Reading reading, open(candidate.folder, candidate.number));
    if (!reading.is_open()) continue;
    const auto home = std::ranges::find_if(
        found, [&](const DuplicateGroup& group) { return is_copy_of(reading, group.front()); });
    if (home != found.end()) {
      home->push_back(reading.message);
    } else {
      found.push_back({reading.message});
    }
  }
  for (DuplicateGroup& group : found) {
    if (group.size() < 2) continue;
    const auto kept = std::ranges::min_element(
        group, [keep](const auto& a, const auto& b) { return goes_before(keep, a, b); });
    std::iter_swap(group.begin(), kept);
    std::sort(group.begin() + 1, group.end(), earlier_place);
    groups->push_back(std::move(group));
  }
  return {};
}

Result<std::vector<DuplicateGroup>> DuplicateFinder::find(DedupKeep keep,
                                                          const Progress& progress) {
  const auto less = [](const Candidate& a, const Candidate& b) {
    if (a.size != b.size) return a.size < b.size;
    if (a.hash != b.hash) return a.hash < b.hash;
    return a.folder != b.folder ? a.folder < b.folder : a.number < b.number;
  };
  const auto alike = [](const Candidate& a, const Candidate& b) {
    return a.size == b.size && a.hash == b.hash;
  };
  std::ranges::sort(candidates_, less);
  std::vector<DuplicateGroup> groups;
  uint64_t runs = 0;
  for (auto begin = candidates_.begin(); begin != candidates_.end();) {
    const auto end = std::find_if(begin, candidates_.end(),
                                  [&](const auto& each) { return !alike(*begin, each); });
    std::vector<Candidate> same(begin, end);
    begin = end;
    if (same.size() < 2) continue;
    const auto done = static_cast<uint64_t>(end - candidates_.begin());
    if (runs++ % kBetweenLooks == 0 && !progress(done, candidates_.size())) break;
    MH_TRY(refine(&same));
    for (auto part = same.begin(); part != same.end();) {
      const auto rest =
          std::find_if(part, same.end(), [&](const auto& each) { return !alike(*part, each); });
      if (rest - part >= 2) MH_TRY(split({part, rest}, keep, &groups));
      part = rest;
    }
  }
  candidates_ = {};
  std::ranges::sort(groups, [](const DuplicateGroup& a, const DuplicateGroup& b) {
    return earlier_place(a.front(), b.front());
  });
  return groups;
}

}  // namespace mh
