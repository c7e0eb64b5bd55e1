// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/directory-watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>

namespace mh {
namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
                             IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t kOfTheTree = IN_ISDIR | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED;

}  // namespace

Result<DirectoryWatch> DirectoryWatch::open() {
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return fail_errno("inotify_init1", "", errno);
  return DirectoryWatch(std::move(fd));
}

Result<int> DirectoryWatch::add(const std::string& path) {
  const int number = ::inotify_add_watch(fd_.get(), path.c_str(), kEvents);
  if (number < 0) return fail_errno("inotify_add_watch", path, errno);
  return number;
}

DirectoryWatch::Changes DirectoryWatch::read() {
  Changes changes;
  alignas(inotify_event) char buffer[16384];
  for (ssize_t size; (size = ::read(fd_.get(), buffer, sizeof(buffer))) > 0;) {
    for (const char* at = buffer; at < buffer + size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      at += sizeof(*event) + event->len;
      if ((event->mask & IN_Q_OVERFLOW) != 0) {
        changes.all = true;
      } else if ((event->mask & kOfTheTree) != 0) {
        changes.tree = true;
      } else {
        changes.directories.insert(event->wd);
      }
    }
  }
  return changes;
}

}  // namespace mh
