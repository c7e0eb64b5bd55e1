// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Tells whether folders were made, removed or renamed by others since the tree was last read.
//
// Dovecot reads the tree at the first LIST of a session and keeps what it found in its list index;
// what `folder -create`, `rmf` or mv do after that it does not see. Reading a tree again for each
// LIST would read every directory that has subfolders, with all its messages. A stat of each
// directory that was read costs little: in a folder without subfolders the number of links says
// that it still has none, and only in the others the time of the last change counts, which mail
// changes too.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "libmh/system/fs.h"

namespace mh {

class TreeStamps {
 public:
  // Before the tree at this root is read. What was noted is void.
  void begin(const std::string& root);
  // While it is read, before the entries of the directory are. The first stamp of each counts.
  // Before the first begin() nothing is noted.
  void note(const std::string& path);
  // False before the first begin().
  bool current() const;

 private:
  struct Stamp {
    uint64_t inode = 0;
    uint32_t links = 0;
    Nanoseconds mtime = 0;  // 0: it has no subfolders
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& path);

  std::map<std::string, Stamp> stamps_;
};

}  // namespace mh
