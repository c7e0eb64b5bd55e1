// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/path-watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace mh {
namespace {

constexpr uint32_t kSelf = IN_DELETE_SELF | IN_MOVE_SELF;
constexpr uint32_t kOfDirectory =
    IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | IN_CLOSE_WRITE | kSelf | IN_ONLYDIR;
constexpr uint32_t kOfFile = IN_MODIFY | kSelf;

PathWatch::Kind kind_of(uint32_t mask) {
  if ((mask & IN_Q_OVERFLOW) != 0) return PathWatch::Kind::kLost;
  if ((mask & (kSelf | IN_ISDIR | IN_IGNORED | IN_UNMOUNT)) != 0) return PathWatch::Kind::kTree;
  if ((mask & IN_MODIFY) != 0) return PathWatch::Kind::kWritten;
  if ((mask & IN_CLOSE_WRITE) != 0) return PathWatch::Kind::kClosed;
  return PathWatch::Kind::kEntry;
}

}  // namespace

Result<PathWatch> PathWatch::open() {
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return fail_errno("inotify_init1", "", errno);
  return PathWatch(std::move(fd));
}

Result<int> PathWatch::add(const std::string& path, uint32_t mask) {
  const int number = ::inotify_add_watch(fd_.get(), path.c_str(), mask);
  if (number < 0) return fail_errno("inotify_add_watch", path, errno);
  return number;
}

Result<int> PathWatch::add_directory(const std::string& path) { return add(path, kOfDirectory); }

Result<int> PathWatch::add_file(const std::string& path) { return add(path, kOfFile); }

void PathWatch::read(const std::function<void(const Event&)>& tell) {
  alignas(inotify_event) std::array<char, 16384> buffer;
  for (ssize_t size; (size = ::read(fd_.get(), buffer.data(), buffer.size())) > 0;) {
    for (size_t at = 0; at < static_cast<size_t>(size);) {
      struct inotify_event event;
      memcpy(&event, buffer.data() + at, sizeof(event));
      const char* name = buffer.data() + at + sizeof(event);
      tell({kind_of(event.mask), event.wd, std::string_view(name, strnlen(name, event.len))});
      at += sizeof(event) + event.len;
    }
  }
}

}  // namespace mh
