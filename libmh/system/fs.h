// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Fs: the one door to the kernel.
//
// Every system call that libmh makes on files, locks and clocks goes through this class, so that a
// twin can stand in its place in tests: one that fails or delays the n-th call, and one that
// forgets what was not flushed when the power goes. Nothing here decides anything: each method is
// one system call, repeated on EINTR, with the errno turned into an Error. Names are always
// relative to a directory descriptor; AT_FDCWD is allowed. O_CLOEXEC is always added.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "libmh/result.h"

namespace mh {

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// Nanoseconds since the epoch. Signed: files may be older than 1970.
using Nanoseconds = int64_t;
inline constexpr Nanoseconds kSecond = 1'000'000'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
// The times of files end here, in the year 2191, and begin as far before 1970: later ones (a
// `touch` may set any) are seen as this. So a difference to the clock, or a few seconds more, never
// overflow.
inline constexpr Nanoseconds kLastTime = 7'000'000'000 * kSecond;
// For set_times: this stamp stays as it is.
inline constexpr Nanoseconds kLeaveTime = std::numeric_limits<Nanoseconds>::min();

enum class FileType : uint8_t { kUnknown, kRegular, kDirectory, kSymlink, kOther };

// What statx tells. birth is 0 where the file system keeps none.
struct FileStat {
  uint64_t inode = 0;
  uint64_t device = 0;
  uint64_t mount = 0;  // tells bind mounts of one device apart; 0 where the kernel does not say
  uint64_t size = 0;
  Nanoseconds birth = 0;
  Nanoseconds mtime = 0;
  Nanoseconds ctime = 0;
  uint32_t mode = 0;  // permission bits and type, as st_mode
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  FileType type = FileType::kUnknown;
};

struct DirEntry {
  uint64_t inode = 0;
  FileType type = FileType::kUnknown;
  std::string name;
};

enum class Follow : bool { kNo, kYes };
enum class RenameMode { kNoReplace, kExchange, kReplace };
enum class Lock { kRead, kWrite, kNone };
enum class Lease { kRead, kWrite, kNone };

class Fs {
 public:
  virtual ~Fs() = default;

  // Opening, reading, writing. pread and pwrite go on after a short transfer until all is done or
  // (pread) the file ends; pwrite either writes all or reports the error, with a part written.
  virtual Result<Fd> open(int dir, const char* name, int flags, mode_t mode = 0) = 0;
  virtual Result<size_t> pread(int fd, void* to, size_t size, uint64_t offset) = 0;
  virtual Status pwrite(int fd, const void* from, size_t size, uint64_t offset) = 0;
  virtual Status truncate(int fd, uint64_t size) = 0;
  // Bytes shared (reflink) or copied inside the kernel, at most `size`, how many is returned: 0 at
  // the end of the file. kUnsupported where that cannot be: copy by hand.
  virtual Result<size_t> copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                    size_t size) = 0;
  // Lets `to` have these bytes in common with `from` where they are the same, which the kernel
  // compares (FIDEDUPERANGE); how many is returned, 0 when they are not the same. Whole blocks, or
  // up to the end of both files. kUnsupported where the file system cannot.
  virtual Result<uint64_t> share_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                       uint64_t size) = 0;

  // Durability. start_writeback does not wait. syncfs: kUnsupported where it may hide errors.
  virtual Status fsync(int fd) = 0;
  virtual Status fdatasync(int fd) = 0;
  virtual Status start_writeback(int fd) = 0;
  virtual Status syncfs(int fd) = 0;

  // Names.
  virtual Result<FileStat> stat(int dir, const char* name, Follow follow) = 0;
  virtual Result<FileStat> fstat(int fd) = 0;
  // Calls `each` for every entry but . and .. until it returns false. Reads from the start each
  // time. A file that is renamed meanwhile may be missing or come twice, as with any readdir:
  // compare the directory's stamps before and after.
  virtual Status list(int dir, const std::function<bool(const DirEntry&)>& each) = 0;
  virtual Status rename(int from_dir, const char* from, int to_dir, const char* to,
                        RenameMode mode) = 0;
  virtual Status link(int from_dir, const char* from, int to_dir, const char* to) = 0;
  // Gives a name to a file opened with O_TMPFILE.
  virtual Status link_fd(int fd, int to_dir, const char* to) = 0;
  virtual Status unlink(int dir, const char* name) = 0;
  virtual Status mkdir(int dir, const char* name, mode_t mode) = 0;
  virtual Status rmdir(int dir, const char* name) = 0;
  virtual Result<std::string> real_path(const std::string& path) = 0;

  // Attributes. A gid or uid of -1 is left as it is.
  virtual Status chmod(int fd, mode_t mode) = 0;
  virtual Status chown(int fd, uid_t uid, gid_t gid) = 0;
  virtual Status set_times(int fd, Nanoseconds atime, Nanoseconds mtime) = 0;
  // Extended attributes and ACLs. Those of the kernel's own (security.*, trusted.*) which we may
  // not set are left out. An ACL brings its mask, so chmod comes before.
  virtual Status copy_xattrs(int from, int to) = 0;
  // Handle of a file that stays the same over renames and is not reused (name_to_handle_at), as
  // text; kUnsupported where there is none.
  virtual Result<std::string> handle(int fd) = 0;

  // Locks. set_lock is F_OFD_SETLK on the whole file, never waiting: kBusy when another holds it.
  // Where the kernel knows no OFD locks it is F_SETLK, which is lost as soon as this process closes
  // any descriptor of the file: so one descriptor per lock file and process. lock_holder tells the
  // pid that holds a conflicting lock (0 none, -1 unknown: an OFD lock has no pid).
  virtual Status set_lock(int fd, Lock lock) = 0;
  virtual Result<pid_t> lock_holder(int fd) = 0;
  // flock(2), for folders whose profile asks for it. (lockf(3) is the lock of set_lock.)
  virtual Status set_flock(int fd, Lock lock) = 0;
  // F_SETLEASE. kRead needs a descriptor open for reading only, and is refused with kBusy while any
  // process has the file open for writing, with kPermission on a file of another owner (unless
  // CAP_LEASE). Call ignore_lease_signal() first. Give a lease back with kNone: a child that
  // was forked meanwhile shares it, so that closing our descriptor alone does not end it.
  virtual Status set_lease(int fd, Lease lease) = 0;
  // What F_GETLEASE tells: kRead while the lease stands unbroken. While a break by a writer is
  // pending, and after the kernel has broken it (fs.lease-break-time, 45 s), kNone.
  virtual Result<Lease> get_lease(int fd) = 0;

  // Time. now is the coarse clock that the kernel stamps files with. Since Linux 6.13 a stamp may
  // be ahead of it by up to a tick (a file that was just stat'ed gets a finer stamp).
  virtual Nanoseconds now() = 0;
  virtual Nanoseconds monotonic() = 0;
  virtual void sleep(Nanoseconds duration) = 0;
  virtual uid_t user() = 0;  // effective
  virtual pid_t process() = 0;

  // The real thing; lives for ever.
  static Fs& posix();
};

// The kernel announces the break of a lease by SIGIO, whose default is death (measured). Makes the
// process ignore it, unless it has a handler. To be called before the first set_lease; each call
// after the first does nothing.
void ignore_lease_signal();

// Reads a whole regular file of at most `limit` bytes; kInvalid when it is larger, or not regular.
Result<std::string> read_file(Fs& fs, int dir, const char* name, size_t limit);

// Mode and group of a file of ours; a gid of -1 leaves the group. Where the group is refused to us
// (we are no member of it), no group gets rights.
Status set_rights(Fs& fs, int fd, mode_t mode, gid_t gid);

// Replaces a file as a whole: temporary file beside it (replacement_name), write, fsync, rename,
// fsync of the directory. After a crash the name holds the old or the new content, never a mix, and
// the temporary file may be left. On error nothing was changed, but for an error of the last fsync:
// then the new content is there, and whether it survives a crash is not known. One writer at a
// time: the caller holds the lock of the file.
Status replace_file(Fs& fs, int dir, const char* name, std::string_view content, mode_t mode,
                    gid_t gid = static_cast<gid_t>(-1));

}  // namespace mh
