// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/probe.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

#include "libmh/folder/identity.h"
#include "libmh/format/delivery-date.h"
#include "libmh/format/fingerprint.h"
#include "libmh/format/visible-part.h"

namespace mh {
namespace {

using State = Probe::State;

constexpr size_t kBlock = 64 * 1024;

State state_of(const Error& error) {
  switch (error.sys_errno()) {
    case EACCES:
    case EPERM:
    case EIO:
      return State::kUnreadable;
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
    case ELOOP:  // a symlink now
    case ENXIO:  // a socket now
    case ENODEV:
    case EISDIR:
      return State::kGone;
    default:
      return State::kBeingWritten;
  }
}

// A read lease while it is needed, unless the caller holds one.
class ReadLease {
 public:
  ReadLease(Fs& fs, int fd, bool may_be_held) : fs_(fs), fd_(fd) {
    static const bool ignored = (ignore_lease_signal(), true);
    static_cast<void>(ignored);
    if (may_be_held && stands()) {
      held_ = true;
      return;
    }
    const Status got = fs_.set_lease(fd_, Lease::kRead);
    held_ = ours_ = got.has_value();
    refused_ = !got && got.error().kind() == ErrorKind::kBusy;
  }
  ~ReadLease() {
    if (ours_) static_cast<void>(fs_.set_lease(fd_, Lease::kNone));
  }
  ReadLease(const ReadLease&) = delete;
  ReadLease& operator=(const ReadLease&) = delete;

  bool held() const { return held_; }
  bool refused() const { return refused_; }  // somebody has the file open for writing
  // False also when a writer waits for us to give it back.
  bool stands() const {
    const Result<Lease> lease = fs_.get_lease(fd_);
    return lease && *lease == Lease::kRead;
  }

 private:
  Fs& fs_;
  int fd_;
  bool held_ = false;
  bool ours_ = false;
  bool refused_ = false;
};

class FileProbe {
 public:
  FileProbe(Fs& fs, int fd, const ProbeRequest& request, const TagKey& key, bool may_be_leased)
      : fs_(fs), fd_(fd), request_(request), key_(key), lease_(fs, fd, may_be_leased) {
    probe_.file = request.file;
  }

  Probe run() {
    probe_.state = read();
    return std::move(probe_);
  }

 private:
  State read();
  State check_file();
  State find_visible();
  State extend_start(uint64_t size);
  State hash_from(uint64_t offset);
  State hash_blocks(uint64_t offset, Fingerprint& hash);
  State hash_first_block();
  State check_unchanged();
  bool must_match_content(const PrefixScan& scan, const TagChoice& choice) const;
  void take(const TagChoice& choice);

  uint64_t size() const { return probe_.file.size; }
  bool have_all() const { return start_.size() == size(); }

  Fs& fs_;
  int fd_;
  const ProbeRequest& request_;
  const TagKey& key_;
  ReadLease lease_;
  Probe probe_;
  std::string start_;         // of the file
  uint64_t hashed_from_ = 0;  // where probe_.hash begins, when it is set
};

State FileProbe::read() {
  State state = check_file();
  if (state == State::kRead) state = extend_start(kFirstRead);
  if (state == State::kRead) state = find_visible();
  if (state == State::kRead) state = hash_first_block();
  if (state == State::kRead && (request_.whole || have_all())) state = hash_from(probe_.prefix);
  if (state == State::kRead) state = check_unchanged();
  return state;
}

State FileProbe::check_file() {
  const Result<FileStat> stat = fs_.fstat(fd_);
  if (!stat) return state_of(stat.error());
  const FileIdentity file = FileIdentity::of(*stat);
  if (stat->type != FileType::kRegular || !may_be_same_file(file, request_.file))
    return State::kGone;
  probe_.file = file;
  if (lease_.refused()) return State::kBeingWritten;
  const Nanoseconds now = fs_.now();
  const Nanoseconds age = now > file.ctime ? now - file.ctime : file.ctime - now;
  if (file.size == 0 && age < kEmptyWait) return State::kBeingWritten;
  if (!lease_.held() && age < kQuiet) return State::kBeingWritten;
  return State::kRead;
}

// Has `start_` hold the first `wanted` bytes of the file, or all of it.
State FileProbe::extend_start(uint64_t wanted) {
  const size_t have = start_.size();
  const size_t goal = static_cast<size_t>(std::min<uint64_t>(wanted, size()));
  if (goal <= have) return State::kRead;
  start_.resize(goal);
  const Result<size_t> got = fs_.pread(fd_, start_.data() + have, goal - have, have);
  if (!got) return state_of(got.error());
  return *got == goal - have ? State::kRead : State::kBeingWritten;
}

State FileProbe::find_visible() {
  const Tag* recorded = request_.recorded ? &*request_.recorded : nullptr;
  PrefixScan scan = scan_prefix(start_, have_all());
  TagChoice choice = choose_tag(scan, key_, recorded);
  if (!choice.settled && !have_all()) {
    if (const State state = extend_start(kMaxPrefix); state != State::kRead) return state;
    scan = scan_prefix(start_, have_all());
    choice = choose_tag(scan, key_, recorded);
  }
  if (must_match_content(scan, choice)) {
    bool right = size() - choice.visible_offset == choice.tag.length;
    if (right) {
      if (const State state = hash_from(choice.visible_offset); state != State::kRead) return state;
      right = probe_.hash == choice.tag.hash;
    }
    if (!right) choice = choose_tag(scan, key_, nullptr, true);
  }
  take(choice);
  return State::kRead;
}

// Below fields that are no annotations a tag speaks for its own content only. That holds for the
// tag on record as well: an edited message would else begin elsewhere as soon as its old tag is on
// record no more.
bool FileProbe::must_match_content(const PrefixScan& scan, const TagChoice& choice) const {
  return std::any_of(
      scan.candidates.begin(), scan.candidates.end(), [&](const TagCandidate& candidate) {
        return candidate.end == choice.visible_offset && choice.kind != TagChoice::Kind::kNone &&
               !candidate.only_annotations_above;
      });
}

void FileProbe::take(const TagChoice& choice) {
  constexpr std::array kKinds = {Probe::TagKind::kNone, Probe::TagKind::kRecorded,
                                 Probe::TagKind::kVerified, Probe::TagKind::kUnverified};
  probe_.tag_kind = kKinds[static_cast<size_t>(choice.kind)];
  probe_.tag = choice.tag;
  probe_.tag_is_first = choice.take_guid_and_dates;
  probe_.prefix = static_cast<uint32_t>(choice.visible_offset);
  probe_.replied = choice.replied;
  probe_.forwarded = choice.forwarded;
  if (!choice.take_guid_and_dates) {
    probe_.delivery_date =
        find_delivery_date(std::string_view(start_).substr(choice.visible_offset), have_all());
  }
  if (hashed_from_ != probe_.prefix) probe_.hash.reset();
}

State FileProbe::hash_first_block() {
  const uint64_t end = uint64_t{probe_.prefix} + kFirstHashSize;
  if (const State state = extend_start(end); state != State::kRead) return state;
  const std::string_view visible = std::string_view(start_).substr(probe_.prefix);
  probe_.first_hash = fingerprint(visible.substr(0, kFirstHashSize));
  return State::kRead;
}

State FileProbe::hash_from(uint64_t offset) {
  if (probe_.hash && hashed_from_ == offset) return State::kRead;
  Fingerprint hash;
  hash.add(std::string_view(start_).substr(std::min<uint64_t>(offset, start_.size())));
  const State state = hash_blocks(std::max<uint64_t>(offset, start_.size()), hash);
  if (state != State::kRead) return state;
  probe_.hash = hash.value();
  hashed_from_ = offset;
  return State::kRead;
}

State FileProbe::hash_blocks(uint64_t offset, Fingerprint& hash) {
  if (offset >= size()) return State::kRead;
  std::string block(static_cast<size_t>(std::min<uint64_t>(kBlock, size() - offset)), '\0');
  while (offset < size()) {
    if (lease_.held() && !lease_.stands()) return State::kBeingWritten;  // let the writer in
    const size_t want = static_cast<size_t>(std::min<uint64_t>(block.size(), size() - offset));
    const Result<size_t> got = fs_.pread(fd_, block.data(), want, offset);
    if (!got) return state_of(got.error());
    if (*got != want) return State::kBeingWritten;
    hash.add(std::string_view(block.data(), want));
    offset += want;
  }
  // A break that went unanswered for too long has ended: the writer was let in while we read.
  return !lease_.held() || lease_.stands() ? State::kRead : State::kBeingWritten;
}

// Under a lease nobody could change anything.
State FileProbe::check_unchanged() {
  if (lease_.held()) return State::kRead;
  const Result<FileStat> stat = fs_.fstat(fd_);
  if (!stat) return state_of(stat.error());
  return FileIdentity::of(*stat).same_content(probe_.file) ? State::kRead : State::kBeingWritten;
}

}  // namespace

Probe read_probe(Fs& fs, int dir, const ProbeRequest& request, const TagKey& key) {
  std::array<char, 16> name{};
  std::to_chars(name.data(), name.data() + name.size() - 1, request.number);
  constexpr int kFlags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY;
  Result<Fd> fd = fs.open(dir, name.data(), kFlags | O_NOATIME);
  // Only the owner may leave atime alone.
  if (!fd && fd.error().sys_errno() == EPERM) fd = fs.open(dir, name.data(), kFlags);
  if (!fd) {
    Probe probe;
    probe.state = state_of(fd.error());
    probe.file = request.file;
    return probe;
  }
  return FileProbe(fs, fd->get(), request, key, false).run();
}

Probe probe_open_file(Fs& fs, int fd, const ProbeRequest& request, const TagKey& key) {
  return FileProbe(fs, fd, request, key, true).run();
}

}  // namespace mh
