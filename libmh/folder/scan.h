// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What lies in an MH folder: one pass over the directory, one statx per message.
//
// A directory that is changed while it is read can show a renamed file twice or not at all (POSIX
// leaves both open), and the time stamps of the kernel are coarse: two changes within one tick look
// the same. A listing is therefore `whole` only when the directory looked the same before and
// after, and had not been changed within the very tick in which the pass began (that tick is waited
// for); and settled only when its last change was longer than kSettle before. No removal is
// believed from a listing that is not whole; a listing that is not settled must be repeated later
// even if the directory looks unchanged.
//
// Time is told by ctime, which nobody can set: a directory whose mtime lies in the future is as
// good as any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

// How long after a change two stamps of the kernel may still be equal.
inline constexpr Nanoseconds kSettle = kSecond;
// A stamp further ahead of our clock than this is no matter of clocks that differ a little (NFS):
// the clock was set back, and the next change gets an earlier stamp.
inline constexpr Nanoseconds kClockSkew = 3600 * kSecond;

// Tells whether a directory is as it was.
struct DirectoryStamp {
  uint64_t inode = 0;
  Nanoseconds mtime = 0;
  Nanoseconds ctime = 0;

  static DirectoryStamp of(const FileStat& stat) { return {stat.inode, stat.mtime, stat.ctime}; }
  bool settled_at(Nanoseconds when) const {
    return ctime + kSettle < when || ctime > when + kClockSkew;
  }
  bool operator==(const DirectoryStamp&) const = default;
};

struct Entry {
  uint32_t number = 0;
  FileIdentity file;
  uint32_t nlink = 1;
  uint32_t owner = 0;
  uint32_t mode = 0;
};

struct Listing {
  std::vector<Entry> entries;           // in number order; regular files only
  std::vector<std::string> junk;        // look like messages and are none: 007, FIFO 7, link 8
  std::vector<std::string> subfolders;  // directories whose name does not begin with a dot
  DirectoryStamp directory;             // as it was before the pass
  Nanoseconds taken_at = 0;             // when the pass began
  bool whole = false;  // false: a probe of single numbers, or the folder moved under us

  bool settled() const { return directory.settled_at(taken_at); }
  uint32_t highest() const { return entries.empty() ? 0 : entries.back().number; }
};

// Lists the folder open as `dir`. Tried again a few times when the directory changes meanwhile,
// then returned with whole = false. Files that vanish before their statx are left out. A message
// that statx fails on is left out as well, and the listing is not whole; when it fails on all of
// them the error is returned.
Result<Listing> scan_folder(Fs& fs, int dir);

// Whether the folder still has the messages of a whole listing under the numbers that it tells, as
// far as names and inode numbers show: no statx per message. False also where readdir does not say
// what a name is, and when the directory has changed since.
Result<bool> is_as_listed(Fs& fs, int dir, const Listing& listing);

// The highest number of any message, 0 for none: names only.
Result<uint32_t> highest_number(Fs& fs, int dir);

// Only the numbers after `highest`, until a few in a row are missing: finds what was appended at
// the cost of a few calls. whole is false.
Result<Listing> probe_after(Fs& fs, int dir, uint32_t highest);

}  // namespace mh
