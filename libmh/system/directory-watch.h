// SPDX-License-Identifier: LGPL-2.1-or-later
//
// DirectoryWatch: which of many directories something happened in, by one inotify descriptor.
//
// For programs that have a loop of their own: descriptor() becomes readable, read() tells. Nothing
// is missed between two reads but when the kernel's queue was full, and then `all` says so.
#pragma once

#include <set>

#include "libmh/system/fs.h"

namespace mh {

class DirectoryWatch {
 public:
  struct Changes {
    std::set<int> directories;  // in which a file came, went, or was written
    bool tree = false;          // a directory came, went, or was renamed
    bool all = false;           // events were lost: anything may have happened
  };

  // kNoSpace or kIo when the user has as many descriptors of this kind as the kernel allows.
  static Result<DirectoryWatch> open();

  int descriptor() const { return fd_.get(); }
  // The number of the directory, the same each time as long as it lives; a number is not given
  // again. kNotFound, kNoSpace (fs.inotify.max_user_watches).
  Result<int> add(const std::string& path);
  // What happened since the last call; never waits.
  Changes read();

 private:
  explicit DirectoryWatch(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace mh
