// SPDX-License-Identifier: LGPL-2.1-or-later
//
// PathWatch: what happens in directories and to files, by one inotify descriptor.
//
// For programs that have a loop of their own: descriptor() becomes readable, read() tells. Nothing
// is missed between two reads but when the kernel's queue was full, and then kLost says so. Nothing
// at all is told of what another machine does to a file system on the network.
#pragma once

#include <functional>
#include <string_view>

#include "libmh/system/fs.h"

namespace mh {

class PathWatch {
 public:
  enum class Kind {
    kEntry,    // a name came, went, or became another one
    kWritten,  // into a file
    kClosed,   // a file that was open for writing, whether written into or not
    kTree,     // a directory came, went or was renamed; or what is watched did
    kLost,     // of events: anything may have happened, anywhere
  };
  struct Event {
    Kind kind;
    int place;              // what add...() returned; -1 with kLost
    std::string_view name;  // in the directory; "" when it is of what is watched itself
  };

  // kNoSpace or kIo when the user has as many descriptors of this kind as the kernel allows.
  static Result<PathWatch> open();

  int descriptor() const { return fd_.get(); }
  // A number for the place, the same each time as long as it lives; none is given twice. kNotFound,
  // kNoSpace (fs.inotify.max_user_watches).
  Result<int> add_directory(const std::string& path);
  // Of a file kWritten and kTree are told.
  Result<int> add_file(const std::string& path);
  // Tells what happened since the last call; never waits.
  void read(const std::function<void(const Event&)>& tell);

 private:
  explicit PathWatch(Fd fd) : fd_(std::move(fd)) {}
  Result<int> add(const std::string& path, uint32_t mask);

  Fd fd_;
};

}  // namespace mh
