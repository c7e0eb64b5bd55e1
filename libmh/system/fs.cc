// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/fs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kReadStep = size_t{64} << 10;

// Everything of replace_file that happens before the new content gets its name.
Status write_new(Fs& fs, int dir, const std::string& temporary, std::string_view content,
                 mode_t mode, gid_t gid) {
  // One left by a process of our pid that was killed would stand in the way.
  const Status stale = fs.unlink(dir, temporary.c_str());
  if (!stale && stale.error().kind() != ErrorKind::kNotFound) return stale;
  MH_TRY_SET(const Fd file, fs.open(dir, temporary.c_str(),
                                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  MH_TRY(set_rights(fs, file.get(), mode, gid));
  MH_TRY(fs.pwrite(file.get(), content.data(), content.size(), 0));
  return fs.fsync(file.get());
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::reset() {
  // Not repeated on EINTR: Linux has let go of the descriptor by then.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<std::string> read_file(Fs& fs, int dir, const char* name, size_t limit) {
  // O_NONBLOCK: a FIFO of that name must not stop us.
  MH_TRY_SET(const Fd file, fs.open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY_SET(const FileStat stat, fs.fstat(file.get()));
  if (stat.type != FileType::kRegular)
    return fail(ErrorKind::kInvalid, std::string(name) + " is not a regular file");
  std::string content;
  // The size is a hint only: the file may grow meanwhile, and /proc says 0. One byte more is asked
  // for, so that the end shows in the same call.
  size_t step = std::max<size_t>(static_cast<size_t>(std::min<uint64_t>(stat.size, limit)) + 1,
                                 stat.size == 0 ? kReadStep : 1);
  for (;;) {
    const size_t had = content.size();
    content.resize(had + step);
    MH_TRY_SET(const size_t got, fs.pread(file.get(), content.data() + had, step, had));
    content.resize(had + got);
    if (content.size() > limit)
      return fail(ErrorKind::kInvalid,
                  std::string(name) + " is larger than " + std::to_string(limit) + " bytes");
    if (got < step) return content;
    step = kReadStep;
  }
}

// The group first: chown takes set-id bits away, and the mode may be meant for that group only.
Status set_rights(Fs& fs, int fd, mode_t mode, gid_t gid) {
  if (gid != static_cast<gid_t>(-1)) {
    const Status changed = fs.chown(fd, static_cast<uid_t>(-1), gid);
    if (!changed && changed.error().kind() != ErrorKind::kPermission) return changed;
    if (!changed) mode &= ~static_cast<mode_t>(S_IRWXG);
  }
  return fs.chmod(fd, mode);
}

Status replace_file(Fs& fs, int dir, const char* name, std::string_view content, mode_t mode,
                    gid_t gid) {
  const std::string temporary = replacement_name(name, static_cast<uint64_t>(fs.process()));
  Status written = write_new(fs, dir, temporary, content, mode, gid);
  if (written) written = fs.rename(dir, temporary.c_str(), dir, name, RenameMode::kReplace);
  if (!written) {
    // The first error is the one to tell; a temporary file that stays is swept up later.
    const Status swept = fs.unlink(dir, temporary.c_str());
    static_cast<void>(swept);
    return written;
  }
  // A descriptor of its own: the caller's may be O_PATH or AT_FDCWD.
  MH_TRY_SET(const Fd self, fs.open(dir, ".", O_RDONLY | O_DIRECTORY));
  return fs.fsync(self.get());
}

}  // namespace mh
