// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/folder-lock.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <string>

#include "libmh/system/filename.h"
#include "libmh/system/waiting.h"

namespace mh {
namespace {

// Fixed width, so that one write replaces what an earlier holder left.
constexpr size_t kPidWidth = 11;

std::string pid_text(pid_t pid) {
  std::string text = std::to_string(pid);
  text.resize(kPidWidth - 1, ' ');
  return text + "\n";
}

// The lock file comes into being with its mode and group: made under another name and linked. Were
// it opened to others by a later chmod, a crash in between would shut them out for ever.
Status make_file(Fs& fs, int dir, const char* name, const FolderLock::Options& options) {
  const std::string temporary = replacement_name(name, static_cast<uint64_t>(fs.process()));
  const Status stale = fs.unlink(dir, temporary.c_str());
  if (!stale && stale.error().kind() != ErrorKind::kNotFound) return stale;
  MH_TRY_SET(const Fd file, fs.open(dir, temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                                    S_IRUSR | S_IWUSR));
  Status made = set_rights(fs, file.get(), options.mode, options.gid);
  if (made) made = fs.link(dir, temporary.c_str(), dir, name);
  if (!made && made.error().kind() == ErrorKind::kExists) made = Status();  // another was first
  const Status swept = fs.unlink(dir, temporary.c_str());
  return made ? swept : made;
}

Result<Fd> open_file(Fs& fs, int dir, const char* name, const FolderLock::Options& options) {
  const int flags = (options.shared ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK;
  auto file = fs.open(dir, name, flags);
  if (file || options.shared || file.error().kind() != ErrorKind::kNotFound) return file;
  MH_TRY(make_file(fs, dir, name, options));
  return fs.open(dir, name, flags);
}

std::string holder_of(Fs& fs, int file) {
  const auto locked_by = fs.lock_holder(file);
  if (locked_by && *locked_by > 0) return name_process(fs, *locked_by);
  char text[kPidWidth];
  const auto got = fs.pread(file, text, sizeof(text), 0);
  int pid = 0;
  if (got && std::from_chars(text, text + *got, pid).ec == std::errc() && pid > 0)
    return name_process(fs, pid);
  return "another process";
}

// True when we hold the lock and the file is still the one of that name.
Result<bool> try_lock(Fs& fs, int dir, const char* name, int file, Lock lock) {
  const Status locked = fs.set_lock(file, lock);
  if (!locked && locked.error().kind() == ErrorKind::kBusy) return false;
  if (!locked) return pass_on(locked);
  MH_TRY_SET(const FileStat mine, fs.fstat(file));
  if (mine.type != FileType::kRegular)
    return fail(ErrorKind::kInvalid, path_for_message(fs, dir, name) + " is not a regular file");
  const auto named = fs.stat(dir, name, Follow::kNo);
  if (!named && named.error().kind() == ErrorKind::kNotFound) return false;
  if (!named) return pass_on(named);
  return named->inode == mine.inode && named->device == mine.device;
}

}  // namespace

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  if (this != &other) {
    release();
    fs_ = std::exchange(other.fs_, nullptr);
    file_ = std::move(other.file_);
  }
  return *this;
}

void FolderLock::release() {
  if (!file_) return;
  // Not by closing alone: a child forked meanwhile shares the open file, and the lock with it.
  const Status unlocked = fs_->set_lock(file_.get(), Lock::kNone);
  static_cast<void>(unlocked);
  file_.reset();
}

Result<FolderLock> FolderLock::acquire(Fs& fs, int dir, const char* name, const Options& options) {
  Backoff backoff(fs, options.timeout);
  Fd file;
  do {
    MH_TRY_SET(file, open_file(fs, dir, name, options));
    MH_TRY_SET(const bool locked,
               try_lock(fs, dir, name, file.get(), options.shared ? Lock::kRead : Lock::kWrite));
    if (locked && options.shared) return FolderLock(fs, std::move(file));
    if (locked) {
      const std::string pid = pid_text(fs.process());
      // For messages only: a full disk must not keep us from working.
      const Status noted = fs.pwrite(file.get(), pid.data(), pid.size(), 0);
      static_cast<void>(noted);
      return FolderLock(fs, std::move(file));
    }
  } while (backoff.wait());
  return fail_busy(path_for_message(fs, dir, name), holder_of(fs, file.get()), backoff.waited());
}

}  // namespace mh
