// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/waiting.h"

#include <fcntl.h>

#include <algorithm>

namespace mh {

bool Backoff::wait() {
  constexpr Nanoseconds kLongest = 50 * kMillisecond;
  const Nanoseconds left = timeout_ - waited();
  if (left <= 0) return false;
  fs_.sleep(std::min(pause_, left));
  pause_ = std::min(pause_ * 2, kLongest);
  return true;
}

std::string name_process(Fs& fs, pid_t pid) {
  constexpr size_t kLimit = 64;  // the kernel's own limit is 16
  std::string text = "pid " + std::to_string(pid);
  const std::string file = "/proc/" + std::to_string(pid) + "/comm";
  auto command = read_file(fs, AT_FDCWD, file.c_str(), kLimit);
  if (!command) return text;
  if (command->ends_with('\n')) command->pop_back();
  std::replace_if(
      command->begin(), command->end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text + " (" + *command + ")";
}

std::string path_for_message(Fs& fs, int dir, std::string_view name) {
  if (dir == AT_FDCWD || name.starts_with('/')) return std::string(name);
  const auto path = fs.real_path("/proc/self/fd/" + std::to_string(dir));
  return (path ? *path + "/" : std::string()).append(name);
}

tl::unexpected<Error> fail_busy(const std::string& path, const std::string& holder,
                                Nanoseconds waited) {
  constexpr Nanoseconds kTenth = kSecond / 10;
  const Nanoseconds tenths = waited / kTenth;
  return fail(ErrorKind::kBusy, path + " is locked by " + holder + ", waited " +
                                    std::to_string(tenths / 10) + "." +
                                    std::to_string(tenths % 10) + " s");
}

}  // namespace mh
