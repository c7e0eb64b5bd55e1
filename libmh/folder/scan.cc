// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/scan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr int kAttempts = 3;
// More than a tick of the kernel's coarse clock (10 ms at 100 Hz).
constexpr Nanoseconds kTick = 20 * kMillisecond;
// This many numbers in a row without a message end a probe. Two of them may be kept free on
// purpose: sortm's slot, and the one that we leave before it.
constexpr int kMisses = 3;

// A change that comes now could get the very stamp that the directory bears already, and go unseen.
bool may_hide_a_change(const Listing& listing) {
  const Nanoseconds ahead = listing.directory.ctime - listing.taken_at;
  return ahead >= 0 && ahead <= kTick;
}

class Scanner {
 public:
  Scanner(Fs& fs, int dir) : fs_(fs), dir_(dir) {}

  Result<Listing> whole_folder();
  Result<Listing> after(uint32_t highest);

 private:
  Status start();
  Status start_in_a_new_tick();
  Status read_names();
  void look_at_numbers();
  void look_at_others();
  void sort_in(const DirEntry& entry);
  bool look_at(uint32_t number);

  Fs& fs_;
  int dir_;
  Listing listing_;
  std::vector<uint32_t> numbers_;    // regular files, as far as readdir knows
  std::vector<std::string> untold_;  // names of which readdir does not say what they are
  std::optional<Error> left_out_;    // why we could not look at something that is there
};

Status Scanner::start() {
  listing_ = {};
  numbers_.clear();
  untold_.clear();
  left_out_.reset();
  listing_.taken_at = fs_.now();
  MH_TRY_SET(const FileStat stat, fs_.fstat(dir_));
  listing_.directory = DirectoryStamp::of(stat);
  return {};
}

// Begins a listing at a moment from which on every change moves the stamps of the directory.
Status Scanner::start_in_a_new_tick() {
  MH_TRY(start());
  for (int waits = 0; waits < 4 && may_hide_a_change(listing_); ++waits) {
    fs_.sleep(kTick / 4);
    MH_TRY(start());
  }
  return {};
}

Result<Listing> Scanner::whole_folder() {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    MH_TRY(start_in_a_new_tick());
    MH_TRY(read_names());
    look_at_others();
    look_at_numbers();
    if (left_out_ && listing_.entries.empty()) return tl::unexpected(std::move(*left_out_));
    MH_TRY_SET(const FileStat stat, fs_.fstat(dir_));
    listing_.whole = DirectoryStamp::of(stat) == listing_.directory && !left_out_ &&
                     !may_hide_a_change(listing_);
    if (listing_.whole || left_out_) break;
  }
  return std::move(listing_);
}

Status Scanner::read_names() {
  return fs_.list(dir_, [this](const DirEntry& entry) {
    sort_in(entry);
    return true;
  });
}

void Scanner::sort_in(const DirEntry& entry) {
  const std::optional<uint32_t> number = message_number(entry.name);
  const bool hidden = entry.name.front() == '.';
  switch (entry.type) {
    case FileType::kDirectory:
      if (!hidden) listing_.subfolders.push_back(entry.name);
      return;
    case FileType::kUnknown:
      if (number) break;
      if (!hidden) untold_.push_back(entry.name);
      return;
    case FileType::kRegular:
      if (number) break;
      [[fallthrough]];
    case FileType::kSymlink:
    case FileType::kOther: {
      const NameKind kind = classify_name(entry.name);
      const bool junk = kind == NameKind::kMessage || kind == NameKind::kZero ||
                        kind == NameKind::kLeadingZero || kind == NameKind::kTooLarge;
      if (junk) listing_.junk.push_back(entry.name);
      return;
    }
  }
  numbers_.push_back(*number);
}

void Scanner::look_at_others() {
  for (std::string& name : untold_) {
    const Result<FileStat> stat = fs_.stat(dir_, name.c_str(), Follow::kNo);
    if (!stat && stat.error().kind() == ErrorKind::kNotFound) continue;
    const FileType type = stat ? stat->type : FileType::kOther;
    sort_in({0, type == FileType::kUnknown ? FileType::kOther : type, std::move(name)});
  }
}

void Scanner::look_at_numbers() {
  std::sort(numbers_.begin(), numbers_.end());
  // A file that was removed and made again meanwhile may come twice.
  numbers_.erase(std::unique(numbers_.begin(), numbers_.end()), numbers_.end());
  listing_.entries.reserve(numbers_.size());
  for (const uint32_t number : numbers_) look_at(number);
}

// Whether anything is there. A message that we are not told about (disk, security policy) must not
// count as removed: the listing is not whole then, and the rest of the folder is served.
bool Scanner::look_at(uint32_t number) {
  std::array<char, 16> name{};
  std::to_chars(name.data(), name.data() + name.size() - 1, number);
  const Result<FileStat> stat = fs_.stat(dir_, name.data(), Follow::kNo);
  if (!stat) {
    if (stat.error().kind() == ErrorKind::kNotFound) return false;
    if (!left_out_) left_out_ = stat.error();
    return true;
  }
  switch (stat->type) {
    case FileType::kRegular:
      listing_.entries.push_back(
          {number, FileIdentity::of(*stat), stat->nlink, stat->uid, stat->mode});
      break;
    case FileType::kDirectory:
      listing_.subfolders.emplace_back(name.data());
      break;
    default:
      listing_.junk.emplace_back(name.data());
  }
  return true;
}

Result<Listing> Scanner::after(uint32_t highest) {
  MH_TRY(start());
  int misses = 0;
  for (uint64_t number = uint64_t{highest} + 1; misses < kMisses && number <= kHighestMessageNumber;
       ++number) {
    misses = look_at(static_cast<uint32_t>(number)) ? 0 : misses + 1;
    if (left_out_) return tl::unexpected(std::move(*left_out_));
  }
  return std::move(listing_);
}

}  // namespace

Result<Listing> scan_folder(Fs& fs, int dir) { return Scanner(fs, dir).whole_folder(); }

Result<bool> is_as_listed(Fs& fs, int dir, const Listing& listing) {
  const auto same_stamps = [&]() -> Result<bool> {
    MH_TRY_SET(const FileStat stat, fs.fstat(dir));
    return DirectoryStamp::of(stat) == listing.directory;
  };
  MH_TRY_SET(bool same, same_stamps());
  if (!same) return false;
  std::vector<std::pair<uint32_t, uint64_t>> found;
  found.reserve(listing.entries.size());
  MH_TRY(fs.list(dir, [&](const DirEntry& entry) {
    same = entry.type != FileType::kUnknown;
    const auto number = message_number(entry.name);
    if (number && entry.type == FileType::kRegular) found.emplace_back(*number, entry.inode);
    return same;
  }));
  if (!same) return false;
  std::ranges::sort(found);
  same = std::ranges::equal(found, listing.entries, [](const auto& name, const Entry& entry) {
    return name.first == entry.number && name.second == entry.file.inode;
  });
  if (!same) return false;
  return same_stamps();
}

Result<uint32_t> highest_number(Fs& fs, int dir) {
  uint32_t highest = 0;
  MH_TRY(fs.list(dir, [&](const DirEntry& entry) {
    highest = std::max(highest, message_number(entry.name).value_or(0));
    return true;
  }));
  return highest;
}

Result<Listing> probe_after(Fs& fs, int dir, uint32_t highest) {
  return Scanner(fs, dir).after(highest);
}

}  // namespace mh
