// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/fault-fs.h"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace mh::test {

const char* name_of(FsCall call) {
  static constexpr const char* kNames[] = {
      "open",      "pread",     "pwrite",      "truncate", "copy_range", "share_range", "fsync",
      "fdatasync", "writeback", "syncfs",      "stat",     "fstat",      "list",        "rename",
      "link",      "link_fd",   "unlink",      "mkdir",    "rmdir",      "real_path",   "chmod",
      "chown",     "set_times", "copy_xattrs", "handle",   "set_lock",   "lock_holder", "set_flock",
      "set_lease", "get_lease", "sleep",
  };
  return kNames[static_cast<size_t>(call)];
}

void FaultFs::select_changing() {
  select({FsCall::kOpen, FsCall::kPwrite, FsCall::kTruncate, FsCall::kCopyRange, FsCall::kFsync,
          FsCall::kFdatasync, FsCall::kStartWriteback, FsCall::kSyncfs, FsCall::kRename,
          FsCall::kLink, FsCall::kLinkFd, FsCall::kUnlink, FsCall::kMkdir, FsCall::kRmdir,
          FsCall::kChmod, FsCall::kChown, FsCall::kSetTimes, FsCall::kCopyXattrs});
}

int FaultFs::count(FsCall call) const {
  return static_cast<int>(std::count(seen_.begin(), seen_.end(), call));
}

void FaultFs::fail_at(int n, int error, Times times) {
  rules_.push_back({.any = true, .nth = n, .error = error, .times = times, .hook = {}});
}
void FaultFs::cut_at(int n, size_t bytes, int error) {
  rules_.push_back({.any = true, .nth = n, .error = error, .cut = bytes, .hook = {}});
}
void FaultFs::kill_at(int n, size_t bytes) {
  rules_.push_back({.any = true, .nth = n, .cut = bytes, .kill = true, .hook = {}});
}
void FaultFs::fail(FsCall call, int nth, int error, Times times) {
  rules_.push_back({.call = call, .nth = nth, .error = error, .times = times, .hook = {}});
}
void FaultFs::before(int n, Hook hook) {
  rules_.push_back({.any = true, .nth = n, .hook = std::move(hook)});
}
void FaultFs::before(FsCall call, int nth, Hook hook) {
  rules_.push_back({.call = call, .nth = nth, .hook = std::move(hook)});
}
void FaultFs::after(FsCall call, int nth, Hook hook) {
  rules_.push_back({.call = call, .nth = nth, .after = true, .hook = std::move(hook)});
}

void FaultFs::reset() {
  trace_.clear();
  seen_.clear();
  rules_.clear();
}

bool FaultFs::applies(const Rule& rule, FsCall call, bool selected) const {
  if (rule.any ? !selected : rule.call != call) return false;
  const int n = rule.any ? count() : count(call);
  return n == rule.nth || (n > rule.nth && rule.times == Times::kFromThenOn);
}

void FaultFs::run_hooks(FsCall call, bool after) {
  std::vector<Hook> hooks;  // a hook may set rules, which moves them
  for (const Rule& rule : rules_)
    if (rule.hook && rule.after == after && applies(rule, call, last_selected_))
      hooks.push_back(rule.hook);
  in_hook_ = true;
  for (const Hook& hook : hooks) hook();
  in_hook_ = false;
}

FaultFs::Verdict FaultFs::begin(FsCall call, const std::string& object) {
  seen_.push_back(call);
  last_selected_ =
      selected_.empty() ? call != FsCall::kSleep : selected_.find(call) != selected_.end();
  if (last_selected_) trace_.push_back(std::string(name_of(call)) + " " + object);
  run_hooks(call, false);
  for (const Rule& rule : rules_)
    if (!rule.hook && applies(rule, call, last_selected_)) return {rule.error, rule.cut, rule.kill};
  return {};
}

void FaultFs::end(FsCall call) { run_hooks(call, true); }

template <typename Call>
auto FaultFs::around(FsCall call, const std::string& object, Call real) -> decltype(real()) {
  if (in_hook_) return real();
  const Verdict verdict = begin(call, object);
  if (verdict.kill) ::raise(SIGKILL);
  if (verdict.error != 0) return fail_errno(name_of(call), object, verdict.error);
  auto result = real();
  end(call);
  return result;
}

Result<Fd> FaultFs::open(int dir, const char* name, int flags, mode_t mode) {
  return around(FsCall::kOpen, name, [&] { return real_.open(dir, name, flags, mode); });
}

Result<size_t> FaultFs::pread(int fd, void* to, size_t size, uint64_t offset) {
  if (in_hook_) return real_.pread(fd, to, size, offset);
  const Verdict verdict = begin(FsCall::kPread, std::to_string(size));
  if (verdict.kill) ::raise(SIGKILL);
  if (verdict.error != 0 && verdict.cut == kNoCut)
    return fail_errno("pread", std::to_string(fd), verdict.error);
  auto result = real_.pread(fd, to, std::min(size, verdict.cut), offset);
  end(FsCall::kPread);
  return result;
}

Status FaultFs::pwrite(int fd, const void* from, size_t size, uint64_t offset) {
  if (in_hook_) return real_.pwrite(fd, from, size, offset);
  const Verdict verdict = begin(FsCall::kPwrite, std::to_string(size));
  if (verdict.cut != kNoCut && verdict.cut > 0)
    MH_TRY(real_.pwrite(fd, from, std::min(size, verdict.cut), offset));
  if (verdict.kill) ::raise(SIGKILL);
  if (verdict.error != 0) return fail_errno("pwrite", std::to_string(fd), verdict.error);
  auto result = real_.pwrite(fd, from, size, offset);
  end(FsCall::kPwrite);
  return result;
}

Status FaultFs::truncate(int fd, uint64_t size) {
  return around(FsCall::kTruncate, std::to_string(size), [&] { return real_.truncate(fd, size); });
}

Result<uint64_t> FaultFs::share_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                      uint64_t size) {
  return around(FsCall::kShareRange, std::to_string(size),
                [&] { return real_.share_range(from, from_offset, to, to_offset, size); });
}

Result<size_t> FaultFs::copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                   size_t size) {
  return around(FsCall::kCopyRange, std::to_string(size),
                [&] { return real_.copy_range(from, from_offset, to, to_offset, size); });
}

Status FaultFs::fsync(int fd) {
  return around(FsCall::kFsync, std::to_string(fd), [&] { return real_.fsync(fd); });
}
Status FaultFs::fdatasync(int fd) {
  return around(FsCall::kFdatasync, std::to_string(fd), [&] { return real_.fdatasync(fd); });
}
Status FaultFs::start_writeback(int fd) {
  return around(FsCall::kStartWriteback, std::to_string(fd),
                [&] { return real_.start_writeback(fd); });
}
Status FaultFs::syncfs(int fd) {
  return around(FsCall::kSyncfs, std::to_string(fd), [&] { return real_.syncfs(fd); });
}

Result<FileStat> FaultFs::stat(int dir, const char* name, Follow follow) {
  return around(FsCall::kStat, name, [&] { return real_.stat(dir, name, follow); });
}
Result<FileStat> FaultFs::fstat(int fd) {
  return around(FsCall::kFstat, std::to_string(fd), [&] { return real_.fstat(fd); });
}
Status FaultFs::list(int dir, const std::function<bool(const DirEntry&)>& each) {
  return around(FsCall::kList, std::to_string(dir), [&] { return real_.list(dir, each); });
}
Status FaultFs::rename(int from_dir, const char* from, int to_dir, const char* to,
                       RenameMode mode) {
  return around(FsCall::kRename, std::string(from) + " " + to,
                [&] { return real_.rename(from_dir, from, to_dir, to, mode); });
}
Status FaultFs::link(int from_dir, const char* from, int to_dir, const char* to) {
  return around(FsCall::kLink, std::string(from) + " " + to,
                [&] { return real_.link(from_dir, from, to_dir, to); });
}
Status FaultFs::link_fd(int fd, int to_dir, const char* to) {
  return around(FsCall::kLinkFd, to, [&] { return real_.link_fd(fd, to_dir, to); });
}
Status FaultFs::unlink(int dir, const char* name) {
  return around(FsCall::kUnlink, name, [&] { return real_.unlink(dir, name); });
}
Status FaultFs::mkdir(int dir, const char* name, mode_t mode) {
  return around(FsCall::kMkdir, name, [&] { return real_.mkdir(dir, name, mode); });
}
Status FaultFs::rmdir(int dir, const char* name) {
  return around(FsCall::kRmdir, name, [&] { return real_.rmdir(dir, name); });
}
Result<std::string> FaultFs::real_path(const std::string& path) {
  return around(FsCall::kRealPath, path, [&] { return real_.real_path(path); });
}

Status FaultFs::chmod(int fd, mode_t mode) {
  return around(FsCall::kChmod, std::to_string(fd), [&] { return real_.chmod(fd, mode); });
}
Status FaultFs::chown(int fd, uid_t uid, gid_t gid) {
  return around(FsCall::kChown, std::to_string(fd), [&] { return real_.chown(fd, uid, gid); });
}
Status FaultFs::set_times(int fd, Nanoseconds atime, Nanoseconds mtime) {
  return around(FsCall::kSetTimes, std::to_string(fd),
                [&] { return real_.set_times(fd, atime, mtime); });
}
Status FaultFs::copy_xattrs(int from, int to) {
  return around(FsCall::kCopyXattrs, std::to_string(to),
                [&] { return real_.copy_xattrs(from, to); });
}
Result<std::string> FaultFs::handle(int fd) {
  return around(FsCall::kHandle, std::to_string(fd), [&] { return real_.handle(fd); });
}

Status FaultFs::set_lock(int fd, Lock lock) {
  return around(FsCall::kSetLock, std::to_string(fd), [&] { return real_.set_lock(fd, lock); });
}
Result<pid_t> FaultFs::lock_holder(int fd) {
  return around(FsCall::kLockHolder, std::to_string(fd), [&] { return real_.lock_holder(fd); });
}
Status FaultFs::set_flock(int fd, Lock lock) {
  return around(FsCall::kSetFlock, std::to_string(fd), [&] { return real_.set_flock(fd, lock); });
}
Status FaultFs::set_lease(int fd, Lease lease) {
  return around(FsCall::kSetLease, std::to_string(fd), [&] { return real_.set_lease(fd, lease); });
}
Result<Lease> FaultFs::get_lease(int fd) {
  return around(FsCall::kGetLease, std::to_string(fd), [&] { return real_.get_lease(fd); });
}

void FaultFs::sleep(Nanoseconds duration) {
  if (in_hook_) return real_.sleep(duration);
  begin(FsCall::kSleep, std::to_string(duration));
  if (no_time_)
    skipped_ += std::max<Nanoseconds>(duration, 0);
  else
    real_.sleep(duration);
  end(FsCall::kSleep);
}

}  // namespace mh::test
