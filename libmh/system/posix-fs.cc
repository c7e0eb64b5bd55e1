// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Longer than other files here, since it has one small function for each system call and nothing
// else.
#include "libmh/system/posix-fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <vector>

namespace mh {
namespace {

// The call, again as long as a signal cuts it short.
template <typename Call>
auto retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// What an admin needs to find the file. Expected errors (absent, taken, busy) are made by the
// thousand, so these pay no further system call.
bool worth_a_path(int error) {
  const ErrorKind kind = error_kind_of(error);
  return kind != ErrorKind::kNotFound && kind != ErrorKind::kExists && kind != ErrorKind::kBusy &&
         kind != ErrorKind::kUnsupported;
}

std::string path_of(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  std::array<char, PATH_MAX> path;
  const ssize_t length = ::readlink(link.c_str(), path.data(), path.size());
  if (length <= 0) return "fd " + std::to_string(fd);
  return std::string(path.data(), static_cast<size_t>(length));
}

tl::unexpected<Error> failed_on(const char* call, int fd) {
  const int error = errno;
  return fail_errno(call, worth_a_path(error) ? path_of(fd) : "fd " + std::to_string(fd), error);
}

tl::unexpected<Error> failed_at(const char* call, int dir, const char* name) {
  const int error = errno;
  if (dir == AT_FDCWD || name[0] == '/' || !worth_a_path(error))
    return fail_errno(call, name, error);
  return fail_errno(call, path_of(dir) + "/" + name, error);
}

bool syncfs_tells_errors() {
  static const bool tells = [] {
    utsname system{};
    int major = 0;
    int minor = 0;
    if (::uname(&system) != 0) return false;
    if (std::sscanf(system.release, "%d.%d", &major, &minor) != 2) return false;
    return major > 5 || (major == 5 && minor >= 8);
  }();
  return tells;
}

Status done(int result, const char* call, int fd) {
  if (result < 0) return failed_on(call, fd);
  return {};
}

Nanoseconds nanoseconds(const statx_timestamp& stamp) {
  if (stamp.tv_sec >= kLastTime / kSecond) return kLastTime;
  if (stamp.tv_sec < -kLastTime / kSecond) return -kLastTime;
  return stamp.tv_sec * kSecond + stamp.tv_nsec;
}

Nanoseconds clock_now(clockid_t clock) {
  timespec stamp{};
  ::clock_gettime(clock, &stamp);
  return stamp.tv_sec * kSecond + stamp.tv_nsec;
}

timespec to_timespec(Nanoseconds time) {
  if (time == kLeaveTime) return {0, UTIME_OMIT};
  Nanoseconds seconds = time / kSecond;
  Nanoseconds rest = time % kSecond;
  if (rest < 0) {  // before 1970
    --seconds;
    rest += kSecond;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

FileType type_of(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return FileType::kRegular;
    case S_IFDIR:
      return FileType::kDirectory;
    case S_IFLNK:
      return FileType::kSymlink;
    default:
      return FileType::kOther;
  }
}

FileType type_of_entry(unsigned char type) {
  return type == DT_UNKNOWN ? FileType::kUnknown : type_of(static_cast<uint32_t>(DTTOIF(type)));
}

FileStat to_stat(const struct statx& from) {
  FileStat to;
  to.inode = from.stx_ino;
  to.device = (static_cast<uint64_t>(from.stx_dev_major) << 32) | from.stx_dev_minor;
  if (from.stx_mask & STATX_MNT_ID) to.mount = from.stx_mnt_id;
  to.size = from.stx_size;
  if (from.stx_mask & STATX_BTIME) to.birth = nanoseconds(from.stx_btime);
  to.mtime = nanoseconds(from.stx_mtime);
  to.ctime = nanoseconds(from.stx_ctime);
  to.mode = from.stx_mode;
  to.uid = from.stx_uid;
  to.gid = from.stx_gid;
  to.nlink = from.stx_nlink;
  to.type = type_of(from.stx_mode);
  return to;
}

constexpr unsigned kStatMask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;

struct flock whole_file(Lock lock) {
  struct flock range {};
  range.l_whence = SEEK_SET;
  range.l_type = static_cast<short>(lock == Lock::kRead    ? F_RDLCK
                                    : lock == Lock::kWrite ? F_WRLCK
                                                           : F_UNLCK);
  return range;
}

}  // namespace

Fs& Fs::posix() {
  static PosixFs fs;
  return fs;
}

void ignore_lease_signal() {
  struct sigaction now {};
  if (::sigaction(SIGIO, nullptr, &now) != 0) return;
  if ((now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) return;
  now.sa_handler = SIG_IGN;
  ::sigaction(SIGIO, &now, nullptr);
}

// ---- Opening, reading, writing --------------------------------------------------------------

Result<Fd> PosixFs::open(int dir, const char* name, int flags, mode_t mode) {
  const int fd = retry([&] { return ::openat(dir, name, flags | O_CLOEXEC, mode); });
  if (fd < 0) return failed_at("open", dir, name);
  return Fd(fd);
}

Result<size_t> PosixFs::pread(int fd, void* to, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = retry([&] {
      return ::pread(fd, static_cast<char*>(to) + done, size - done,
                     static_cast<off_t>(offset + done));
    });
    if (got < 0) return failed_on("pread", fd);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Status PosixFs::pwrite(int fd, const void* from, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t put = retry([&] {
      return ::pwrite(fd, static_cast<const char*>(from) + done, size - done,
                      static_cast<off_t>(offset + done));
    });
    if (put < 0) return failed_on("pwrite", fd);
    if (put == 0) {
      errno = EIO;  // the kernel never does this on a regular file; without it we would spin
      return failed_on("pwrite", fd);
    }
    done += static_cast<size_t>(put);
  }
  return {};
}

Status PosixFs::truncate(int fd, uint64_t size) {
  return done(retry([&] { return ::ftruncate(fd, static_cast<off_t>(size)); }), "ftruncate", fd);
}

Result<uint64_t> PosixFs::share_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                      uint64_t size) {
  // The request ends in an array of one element, which C++ does not know.
  alignas(file_dedupe_range)
      std::array<std::byte, sizeof(file_dedupe_range) + sizeof(file_dedupe_range_info)>
          bytes{};
  auto* range = reinterpret_cast<file_dedupe_range*>(bytes.data());
  auto* target = reinterpret_cast<file_dedupe_range_info*>(bytes.data() + sizeof(*range));
  range->src_offset = from_offset;
  range->src_length = size;
  range->dest_count = 1;
  target->dest_fd = to;
  target->dest_offset = to_offset;
  int failure = 0;
  if (retry([&] { return ::ioctl(from, FIDEDUPERANGE, range); }) < 0) {
    failure = errno;
  } else if (target->status < 0) {
    failure = -target->status;
  }
  if (failure == 0) return target->status == FILE_DEDUPE_RANGE_SAME ? target->bytes_deduped : 0;
  // EINVAL is also said of a file system without this, and of blocks of another size; EXDEV of two.
  const bool cannot = failure == EINVAL || failure == EXDEV || failure == ENOTTY ||
                      failure == EOPNOTSUPP || failure == ENOSYS;
  errno = cannot ? EOPNOTSUPP : failure;
  return failed_on("ioctl(FIDEDUPERANGE)", to);
}

Result<size_t> PosixFs::copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                   size_t size) {
  // A reflink of whole blocks costs nothing and cannot run out of disk later; where it does not
  // apply (alignment, file system), copy_file_range still saves the way through user space.
  file_clone_range range{};
  range.src_fd = from;
  range.src_offset = from_offset;
  range.src_length = size;
  range.dest_offset = to_offset;
  if (size > 0 && retry([&] { return ::ioctl(to, FICLONERANGE, &range); }) == 0) return size;
  auto in = static_cast<off64_t>(from_offset);
  auto out = static_cast<off64_t>(to_offset);
  const ssize_t copied = retry([&] { return ::copy_file_range(from, &in, to, &out, size, 0); });
  if (copied >= 0) return static_cast<size_t>(copied);
  // EINVAL and EBADF are also said of files which cannot be copied so (append only, some FUSE).
  if (errno == EINVAL || errno == EXDEV || errno == ETXTBSY) errno = EOPNOTSUPP;
  return failed_on("copy_file_range", to);
}

// ---- Durability -----------------------------------------------------------------------------

Status PosixFs::fsync(int fd) {
  return done(retry([&] { return ::fsync(fd); }), "fsync", fd);
}

Status PosixFs::fdatasync(int fd) {
  return done(retry([&] { return ::fdatasync(fd); }), "fdatasync", fd);
}

Status PosixFs::start_writeback(int fd) {
  return done(retry([&] { return ::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); }),
              "sync_file_range", fd);
}

// Linux tells of pages that could not be written since 5.8, for the file systems that do so at all.
// Through FUSE and overlays what is behind them may not hear of it.
Status PosixFs::syncfs(int fd) {
  constexpr std::array<int64_t, 4> kKnown = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                             F2FS_SUPER_MAGIC};
  struct statfs stat {};
  if (::fstatfs(fd, &stat) != 0) return failed_on("fstatfs", fd);
  const bool is_known =
      std::ranges::find(kKnown, static_cast<int64_t>(stat.f_type)) != kKnown.end();
  if (!is_known || !syncfs_tells_errors()) {
    return fail(ErrorKind::kUnsupported, "syncfs is not sure to be durable here");
  }
  return done(retry([&] { return ::syncfs(fd); }), "syncfs", fd);
}

// ---- Names ----------------------------------------------------------------------------------

Result<FileStat> PosixFs::stat(int dir, const char* name, Follow follow) {
  struct statx got {};
  const int flags = follow == Follow::kYes ? 0 : AT_SYMLINK_NOFOLLOW;
  if (retry([&] { return ::statx(dir, name, flags, kStatMask, &got); }) < 0)
    return failed_at("stat", dir, name);
  return to_stat(got);
}

Result<FileStat> PosixFs::fstat(int fd) {
  struct statx got {};
  if (retry([&] { return ::statx(fd, "", AT_EMPTY_PATH, kStatMask, &got); }) < 0)
    return failed_on("fstat", fd);
  return to_stat(got);
}

Status PosixFs::list(int dir, const std::function<bool(const DirEntry&)>& each) {
  // A descriptor of its own: the position in a directory belongs to the open file, and `dir` may be
  // in use by another listing.
  const Fd own(retry([&] { return ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!own) return failed_at("open", dir, ".");
  constexpr size_t kFirstBuffer = size_t{32} << 10;
  constexpr size_t kFullBuffer = size_t{1} << 20;  // some 30,000 names a call
  std::vector<char> buffer(kFirstBuffer);
  DirEntry entry;
  for (;;) {
    const ssize_t got =
        retry([&] { return ::getdents64(own.get(), buffer.data(), buffer.size()); });
    if (got < 0) return failed_at("getdents64", dir, ".");
    if (got == 0) return {};
    for (size_t at = 0; at < static_cast<size_t>(got);) {
      const char* record = buffer.data() + at;
      unsigned short length;
      std::memcpy(&length, record + offsetof(dirent64, d_reclen), sizeof(length));
      at += length;
      const char* name = record + offsetof(dirent64, d_name);
      if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
      std::memcpy(&entry.inode, record + offsetof(dirent64, d_ino), sizeof(entry.inode));
      entry.type = type_of_entry(static_cast<unsigned char>(record[offsetof(dirent64, d_type)]));
      entry.name = name;
      if (!each(entry)) return {};
    }
    if (buffer.size() < kFullBuffer) buffer.resize(kFullBuffer);
  }
}

Status PosixFs::rename(int from_dir, const char* from, int to_dir, const char* to,
                       RenameMode mode) {
  const unsigned flags = mode == RenameMode::kNoReplace  ? RENAME_NOREPLACE
                         : mode == RenameMode::kExchange ? RENAME_EXCHANGE
                                                         : 0U;
  // Plain renameat where no flag is asked for: file systems without renameat2 have that.
  const int result = flags == 0
                         ? retry([&] { return ::renameat(from_dir, from, to_dir, to); })
                         : retry([&] { return ::renameat2(from_dir, from, to_dir, to, flags); });
  if (result == 0) return {};
  // A file system without the flag says EINVAL, as it does for a directory moved into itself,
  // which none of our callers does with a flag.
  if (flags != 0 && errno == EINVAL) errno = EOPNOTSUPP;
  return failed_at("rename", from_dir, from);
}

Status PosixFs::link(int from_dir, const char* from, int to_dir, const char* to) {
  if (retry([&] { return ::linkat(from_dir, from, to_dir, to, 0); }) == 0) return {};
  return failed_at("link", to_dir, to);
}

Status PosixFs::link_fd(int fd, int to_dir, const char* to) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  int result =
      retry([&] { return ::linkat(AT_FDCWD, path.c_str(), to_dir, to, AT_SYMLINK_FOLLOW); });
  // A chroot without /proc; and since Linux 6.10 the plain way is open to everyone.
  if (result != 0 && errno == ENOENT)
    result = retry([&] { return ::linkat(fd, "", to_dir, to, AT_EMPTY_PATH); });
  if (result == 0) return {};
  return failed_at("link", to_dir, to);
}

Status PosixFs::unlink(int dir, const char* name) {
  if (retry([&] { return ::unlinkat(dir, name, 0); }) == 0) return {};
  return failed_at("unlink", dir, name);
}

Status PosixFs::mkdir(int dir, const char* name, mode_t mode) {
  if (retry([&] { return ::mkdirat(dir, name, mode); }) == 0) return {};
  return failed_at("mkdir", dir, name);
}

Status PosixFs::rmdir(int dir, const char* name) {
  if (retry([&] { return ::unlinkat(dir, name, AT_REMOVEDIR); }) == 0) return {};
  return failed_at("rmdir", dir, name);
}

Result<std::string> PosixFs::real_path(const std::string& path) {
  char* found = ::realpath(path.c_str(), nullptr);
  if (found == nullptr) return fail_errno("realpath", path, errno);
  std::string result(found);
  ::free(found);
  return result;
}

// ---- Attributes -----------------------------------------------------------------------------

Status PosixFs::chmod(int fd, mode_t mode) {
  return done(retry([&] { return ::fchmod(fd, mode); }), "fchmod", fd);
}

Status PosixFs::chown(int fd, uid_t uid, gid_t gid) {
  return done(retry([&] { return ::fchown(fd, uid, gid); }), "fchown", fd);
}

Status PosixFs::set_times(int fd, Nanoseconds atime, Nanoseconds mtime) {
  const timespec times[2] = {to_timespec(atime), to_timespec(mtime)};
  return done(retry([&] { return ::futimens(fd, times); }), "futimens", fd);
}

Status PosixFs::copy_xattrs(int from, int to) {
  std::array<char, XATTR_LIST_MAX> names;
  const ssize_t listed = retry([&] { return ::flistxattr(from, names.data(), names.size()); });
  if (listed < 0) {
    if (errno == EOPNOTSUPP) return {};
    return failed_on("flistxattr", from);
  }
  std::vector<char> value(XATTR_SIZE_MAX);
  for (ssize_t at = 0; at < listed;) {
    const char* name = names.data() + at;
    at += static_cast<ssize_t>(std::strlen(name)) + 1;
    const bool kernels =
        std::strncmp(name, "security.", 9) == 0 || std::strncmp(name, "trusted.", 8) == 0;
    const ssize_t size = retry([&] { return ::fgetxattr(from, name, value.data(), value.size()); });
    if (size < 0 && (kernels || errno == ENODATA)) continue;  // or removed meanwhile
    if (size < 0) return failed_on("fgetxattr", from);
    const auto length = static_cast<size_t>(size);
    if (retry([&] { return ::fsetxattr(to, name, value.data(), length, 0); }) < 0 && !kernels)
      return failed_on("fsetxattr", to);
  }
  return {};
}

Result<std::string> PosixFs::handle(int fd) {
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> space{};
  auto* handle = reinterpret_cast<file_handle*>(space.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(fd, "", handle, &mount, AT_EMPTY_PATH) < 0)
    return failed_on("name_to_handle_at", fd);
  std::string text = std::to_string(handle->handle_type) + ":";
  for (unsigned i = 0; i < handle->handle_bytes; ++i) {
    constexpr char kHex[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(space[offsetof(file_handle, f_handle) + i]);
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

// ---- Locks ----------------------------------------------------------------------------------

Status PosixFs::set_lock(int fd, Lock lock) {
  struct flock range = whole_file(lock);
  int result = retry([&] { return ::fcntl(fd, F_OFD_SETLK, &range); });
  if (result < 0 && errno == EINVAL) result = retry([&] { return ::fcntl(fd, F_SETLK, &range); });
  if (result < 0 && errno == EACCES) errno = EAGAIN;  // POSIX allows either for "held by another"
  return done(result, "lock", fd);
}

Result<pid_t> PosixFs::lock_holder(int fd) {
  struct flock range = whole_file(Lock::kWrite);
  int result = retry([&] { return ::fcntl(fd, F_OFD_GETLK, &range); });
  if (result < 0 && errno == EINVAL) {
    range = whole_file(Lock::kWrite);
    result = retry([&] { return ::fcntl(fd, F_GETLK, &range); });
  }
  if (result < 0) return failed_on("lock", fd);
  return range.l_type == F_UNLCK ? 0 : range.l_pid;
}

Status PosixFs::set_flock(int fd, Lock lock) {
  const int operation = lock == Lock::kRead ? LOCK_SH : lock == Lock::kWrite ? LOCK_EX : LOCK_UN;
  return done(retry([&] { return ::flock(fd, operation | LOCK_NB); }), "flock", fd);
}

Status PosixFs::set_lease(int fd, Lease lease) {
  const int type = lease == Lease::kRead ? F_RDLCK : lease == Lease::kWrite ? F_WRLCK : F_UNLCK;
  const int result = retry([&] { return ::fcntl(fd, F_SETLEASE, type); });
  // EINVAL: a file system without leases, or no regular file.
  if (result < 0 && errno == EINVAL) errno = EOPNOTSUPP;
  return done(result, "lease", fd);
}

Result<Lease> PosixFs::get_lease(int fd) {
  const int type = retry([&] { return ::fcntl(fd, F_GETLEASE); });
  if (type < 0) return failed_on("lease", fd);
  return type == F_RDLCK ? Lease::kRead : type == F_WRLCK ? Lease::kWrite : Lease::kNone;
}

// ---- Time and self --------------------------------------------------------------------------

Nanoseconds PosixFs::now() { return clock_now(CLOCK_REALTIME_COARSE); }

Nanoseconds PosixFs::monotonic() { return clock_now(CLOCK_MONOTONIC); }

void PosixFs::sleep(Nanoseconds duration) {
  if (duration <= 0) return;
  timespec until = to_timespec(monotonic() + duration);
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

uid_t PosixFs::user() { return ::geteuid(); }

pid_t PosixFs::process() { return ::getpid(); }

}  // namespace mh
