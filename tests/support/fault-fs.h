// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FaultFs: an Fs that does the real thing, until a test wants it otherwise.
//
// It counts the calls that are selected (all at first, but for clocks) and can fail the n-th with
// any errno, once or from then on; do a part of the n-th write and then fail; and call back before
// or after the n-th, where the test plays another process: the one race that it asks about, forced.
// Calls made inside such a callback are neither counted nor failed.
//
//   FaultFs fs;                             FaultFs fs;
//   work(fs);                               fs.before(FsCall::kSetLock, 1, [&] { replace(...); });
//   for (int n = fs.count(); n > 0; --n)    EXPECT_TRUE(acquire(fs, ...));
//     ... fs.reset(); fs.fail_at(n, ENOSPC); work(fs); check();
#pragma once

#include <functional>
#include <initializer_list>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "libmh/system/fs.h"

namespace mh::test {

enum class FsCall {
  kOpen,
  kPread,
  kPwrite,
  kTruncate,
  kCopyRange,
  kShareRange,
  kFsync,
  kFdatasync,
  kStartWriteback,
  kSyncfs,
  kStat,
  kFstat,
  kList,
  kRename,
  kLink,
  kLinkFd,
  kUnlink,
  kMkdir,
  kRmdir,
  kRealPath,
  kChmod,
  kChown,
  kSetTimes,
  kCopyXattrs,
  kHandle,
  kSetLock,
  kLockHolder,
  kSetFlock,
  kSetLease,
  kGetLease,
  kSleep,
};
const char* name_of(FsCall call);

class FaultFs : public Fs {
 public:
  using Hook = std::function<void()>;
  enum class Times { kOnce, kFromThenOn };

  explicit FaultFs(Fs& real = Fs::posix()) : real_(real) {}

  // What is counted, and so can fail by number. Hooks by kind work for all calls.
  void select(std::initializer_list<FsCall> calls) { selected_ = calls; }
  // Those that change something on disk or make it durable.
  void select_changing();

  int count() const { return static_cast<int>(trace_.size()); }
  // "open 5", "pwrite 4096", in order: says which call number n was.
  const std::vector<std::string>& trace() const { return trace_; }
  // Of this kind, selected or not.
  int count(FsCall call) const;

  void fail_at(int n, int error, Times times = Times::kOnce);
  // The n-th call, when it is a pwrite, writes only `bytes` and then fails with `error`; when it is
  // a pread, it ends after so many bytes; any other call fails.
  void cut_at(int n, size_t bytes, int error);
  // The process dies of SIGKILL before the n-th call; when that is a pwrite, after `bytes` of it.
  void kill_at(int n, size_t bytes = 0);
  void fail(FsCall call, int nth, int error, Times times = Times::kOnce);
  void before(int n, Hook hook);
  void before(FsCall call, int nth, Hook hook);
  void after(FsCall call, int nth, Hook hook);
  // Forgets counts, faults and hooks, not the selection.
  void reset();
  // From now on sleep() takes no time, but the clocks say it did.
  void sleep_in_no_time() { no_time_ = true; }
  // Sets both clocks forward or back; files get their stamps from the real one.
  void shift_clocks(Nanoseconds by) { skipped_ += by; }

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
  Nanoseconds now() override { return real_.now() + skipped_; }
  Nanoseconds monotonic() override { return real_.monotonic() + skipped_; }
  void sleep(Nanoseconds duration) override;
  uid_t user() override { return real_.user(); }
  pid_t process() override { return real_.process(); }

 private:
  static constexpr size_t kNoCut = std::numeric_limits<size_t>::max();

  // Of one call. `any` counts the selected ones, else `call` those of its kind.
  struct Rule {
    bool any = false;
    FsCall call = FsCall::kOpen;
    int nth = 0;
    bool after = false;
    int error = 0;
    Times times = Times::kOnce;
    size_t cut = kNoCut;
    bool kill = false;
    Hook hook;
  };
  struct Verdict {
    int error = 0;
    size_t cut = kNoCut;
    bool kill = false;
  };
  Verdict begin(FsCall call, const std::string& object);
  void end(FsCall call);
  bool applies(const Rule& rule, FsCall call, bool selected) const;
  void run_hooks(FsCall call, bool after);
  template <typename Call>
  auto around(FsCall call, const std::string& object, Call real) -> decltype(real());

  Fs& real_;
  std::set<FsCall> selected_;  // empty: all
  std::vector<std::string> trace_;
  std::vector<FsCall> seen_;
  std::vector<Rule> rules_;
  bool last_selected_ = false;
  bool in_hook_ = false;
  bool no_time_ = false;
  Nanoseconds skipped_ = 0;
};

}  // namespace mh::test
