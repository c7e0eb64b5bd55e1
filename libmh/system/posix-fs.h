// SPDX-License-Identifier: LGPL-2.1-or-later
//
// PosixFs: the Fs that talks to Linux. It holds no state, so one of it serves the whole process.
//
// Calls that change something on disk go through the wrappers of the C library and never through
// syscall(2), so that a preloaded library can count, delay and kill at each of them.
#pragma once

#include <string>

#include "libmh/system/fs.h"

namespace mh {

class PosixFs final : public Fs {
 public:
  Result<Fd> open(int dir, const char* name, int flags, mode_t mode) override;
  Result<size_t> pread(int fd, void* to, size_t size, uint64_t offset) override;
  Status pwrite(int fd, const void* from, size_t size, uint64_t offset) override;
  Status truncate(int fd, uint64_t size) override;
  Result<uint64_t> share_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                               uint64_t size) override;
  Result<size_t> copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                            size_t size) override;

  Status fsync(int fd) override;
  Status fdatasync(int fd) override;
  Status start_writeback(int fd) override;
  Status syncfs(int fd) override;

  Result<FileStat> stat(int dir, const char* name, Follow follow) override;
  Result<FileStat> fstat(int fd) override;
  Status list(int dir, const std::function<bool(const DirEntry&)>& each) override;
  Status rename(int from_dir, const char* from, int to_dir, const char* to,
                RenameMode mode) override;
  Status link(int from_dir, const char* from, int to_dir, const char* to) override;
  Status link_fd(int fd, int to_dir, const char* to) override;
  Status unlink(int dir, const char* name) override;
  Status mkdir(int dir, const char* name, mode_t mode) override;
  Status rmdir(int dir, const char* name) override;
  Result<std::string> real_path(const std::string& path) override;

  Status chmod(int fd, mode_t mode) override;
  Status chown(int fd, uid_t uid, gid_t gid) override;
  Status set_times(int fd, Nanoseconds atime, Nanoseconds mtime) override;
  Status copy_xattrs(int from, int to) override;
  Result<std::string> handle(int fd) override;

  Status set_lock(int fd, Lock lock) override;
  Result<pid_t> lock_holder(int fd) override;
  Status set_flock(int fd, Lock lock) override;
  Status set_lease(int fd, Lease lease) override;
  Result<Lease> get_lease(int fd) override;

  Nanoseconds now() override;
  Nanoseconds monotonic() override;
  void sleep(Nanoseconds duration) override;
  uid_t user() override;
  pid_t process() override;
};

}  // namespace mh
