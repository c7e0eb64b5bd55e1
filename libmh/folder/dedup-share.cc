// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sharing: the bytes stay in both files, and once on the disk.
#include <fcntl.h>

#include <algorithm>

#include "libmh/folder/dedup.h"

namespace mh {
namespace {

// Of btrfs and XFS as they are made by default. Where blocks are larger the kernel refuses.
constexpr uint64_t kBlock = 4096;

struct Ranges {
  uint64_t kept_at = 0;
  uint64_t copy_at = 0;
  uint64_t size = 0;  // up to the end of both files
};

Ranges ranges_of(const ComparedMessage& kept, const ComparedMessage& copy) {
  Ranges ranges;
  ranges.kept_at = (uint64_t{kept.prefix} + kBlock - 1) / kBlock * kBlock;
  ranges.copy_at = ranges.kept_at - kept.prefix + copy.prefix;
  const bool aligned = ranges.copy_at % kBlock == 0;
  if (aligned && ranges.kept_at < kept.file.size && kept.visible_size() == copy.visible_size()) {
    ranges.size = kept.file.size - ranges.kept_at;
  }
  return ranges;
}

Result<Fd> open_same(Fs& fs, const std::string& path, const ComparedMessage& message) {
  MH_TRY_SET(Fd file, fs.open(AT_FDCWD, path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY_SET(const FileStat stat, fs.fstat(file.get()));
  if (FileIdentity::of(stat).same_content(message.file)) return file;
  return fail(ErrorKind::kBusy, path + " is not what was compared any more");
}

}  // namespace

uint64_t shareable(const ComparedMessage& kept, const ComparedMessage& copy) {
  return ranges_of(kept, copy).size;
}

Result<Shared> share(Fs& fs, const std::string& kept_path, const ComparedMessage& kept,
                     const std::string& copy_path, const ComparedMessage& copy) {
  Shared shared;
  const Ranges ranges = ranges_of(kept, copy);
  shared.possible = ranges.size;
  if (ranges.size == 0 || kept.file.same_file(copy.file)) return shared;
  MH_TRY_SET(const Fd from, open_same(fs, kept_path, kept));
  MH_TRY_SET(const Fd to, open_same(fs, copy_path, copy));
  while (shared.bytes < ranges.size) {
    MH_TRY_SET(const uint64_t more,
               fs.share_range(from.get(), ranges.kept_at + shared.bytes, to.get(),
                              ranges.copy_at + shared.bytes, ranges.size - shared.bytes));
    if (more == 0) break;
    shared.bytes += more;
  }
  return shared;
}

}  // namespace mh
