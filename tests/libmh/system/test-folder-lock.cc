// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/folder-lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "libmh/system/filename.h"
#include "libmh/system/waiting.h"
#include "tests/support/child.h"
#include "tests/support/fault-fs.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::Child;
using test::FaultFs;
using test::FsCall;
using test::TempDir;

class FolderLockTest : public ::testing::Test {
 protected:
  Result<FolderLock> acquire(Nanoseconds timeout = 0, mode_t mode = 0600) {
    FolderLock::Options options;
    options.timeout = timeout;
    options.mode = mode;
    return FolderLock::acquire(Fs::posix(), dir_.fd(), "lock", options);
  }
  int hold_in(Child& child, const char* command) {
    ::prctl(PR_SET_NAME, command);
    auto lock = acquire();
    if (!lock) return 1;
    child.ready();
    return 0;
  }
  TempDir dir_;
};

TEST_F(FolderLockTest, ExcludesAndIsGivenBack) {
  auto one = acquire();
  ASSERT_TRUE(one) << one.error().message();
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  FolderLock moved = std::move(*one);
  EXPECT_FALSE(one->held());
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  moved.release();
  EXPECT_TRUE(acquire());
  EXPECT_TRUE(acquire());  // given back at the end of its scope
}

TEST_F(FolderLockTest, NamesWhoHoldsItAndHowLongWeWaited) {
  Child child([&](Child& self) { return hold_in(self, "imap"); });
  ASSERT_TRUE(child.wait_until_ready());
  const auto refused = acquire(300 * kMillisecond);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(refused.error().message(), dir_.path("lock") + " is locked by pid " +
                                           std::to_string(child.pid()) + " (imap), waited 0.3 s");
}

TEST_F(FolderLockTest, IsGotAsSoonAsTheHolderLetsGoOrDies) {
  for (const bool killed : {false, true}) {
    Child child([&](Child& self) { return hold_in(self, "imap"); });
    ASSERT_TRUE(child.wait_until_ready());
    if (killed)
      ::kill(child.pid(), SIGKILL);
    else
      child.go();
    const Nanoseconds before = Fs::posix().monotonic();
    EXPECT_TRUE(acquire(10 * kSecond));
    EXPECT_LT(Fs::posix().monotonic() - before, 5 * kSecond);
  }
}

TEST_F(FolderLockTest, AChildThatLivesOnDoesNotKeepIt) {
  auto lock = acquire();
  ASSERT_TRUE(lock);
  Child child([](Child& self) { return self.ready(), 0; });
  ASSERT_TRUE(child.wait_until_ready());
  lock->release();
  EXPECT_TRUE(acquire());
}

TEST_F(FolderLockTest, IsMadeWithModeAndGroupWhateverTheUmask) {
  const mode_t mask = ::umask(077);
  EXPECT_TRUE(acquire(0, 0660));
  ::umask(mask);
  EXPECT_EQ(Fs::posix().stat(dir_.fd(), "lock", Follow::kNo)->mode & 07777, 0660u);
  EXPECT_EQ(dir_.names(), std::vector<std::string>{"lock"});
}

TEST_F(FolderLockTest, ALockOnAFileThatLostItsNameIsNoLock) {
  // Between our open and our lock the file is replaced, and somebody locks the new one.
  ASSERT_TRUE(acquire());
  std::optional<FolderLock> other;
  FaultFs fs;
  fs.before(FsCall::kSetLock, 1, [&] {
    ASSERT_EQ(::unlinkat(dir_.fd(), "lock", 0), 0);
    auto lock = acquire();
    ASSERT_TRUE(lock);
    other = std::move(*lock);
  });
  EXPECT_EQ(FolderLock::acquire(fs, dir_.fd(), "lock", {}).error().kind(), ErrorKind::kBusy);
  other.reset();
  fs.reset();
  fs.before(FsCall::kSetLock, 1, [&] { ASSERT_EQ(::unlinkat(dir_.fd(), "lock", 0), 0); });
  FolderLock::Options patient;
  patient.timeout = kSecond;
  const auto mine = FolderLock::acquire(fs, dir_.fd(), "lock", patient);
  ASSERT_TRUE(mine);
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);  // what we hold is what the name means
}

TEST_F(FolderLockTest, TwoWhoMakeTheFileAtOnceMakeOne) {
  FaultFs fs;
  std::optional<Child> other;
  fs.before(FsCall::kLink, 1, [&] {
    other.emplace([&](Child& self) { return hold_in(self, "imap"); });
    ASSERT_TRUE(other->wait_until_ready());
  });
  EXPECT_EQ(FolderLock::acquire(fs, dir_.fd(), "lock", {}).error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(dir_.names(), std::vector<std::string>{"lock"});
}

TEST_F(FolderLockTest, WhateverCallFailsWeEitherHoldItOrNobodyDoes) {
  FaultFs fs;
  ASSERT_TRUE(FolderLock::acquire(fs, dir_.fd(), "lock", {}));
  const int calls = fs.count();
  for (const int error : {ENOSPC, EIO, EDQUOT, EROFS}) {
    for (int n = 1; n <= calls; ++n) {
      for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
        ::unlinkat(dir_.fd(), "lock", 0);
        fs.reset();
        fs.fail_at(n, error, times);
        {
          const auto lock = FolderLock::acquire(fs, dir_.fd(), "lock", {});
          if (lock) {
            EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy) << "after call " << n;
          }
        }
        fs.reset();
        EXPECT_TRUE(acquire());
      }
    }
  }
}

TEST_F(FolderLockTest, IsNotMisledByASymlinkOrAFifo) {
  dir_.write("victim", "precious");
  ASSERT_EQ(::symlinkat("victim", dir_.fd(), "lock"), 0);
  EXPECT_FALSE(acquire());
  EXPECT_EQ(dir_.read("victim"), "precious");
  ASSERT_EQ(::unlinkat(dir_.fd(), "lock", 0), 0);
  ASSERT_EQ(::mkfifoat(dir_.fd(), "lock", 0600), 0);
  EXPECT_FALSE(acquire());  // and does not hang
}

TEST_F(FolderLockTest, SharedItIsHadByAllWhoReadAndByNoneWhoWrites) {
  const auto acquire_shared = [&] {
    return FolderLock::acquire(Fs::posix(), dir_.fd(), "lock", {.shared = true});
  };
  EXPECT_EQ(acquire_shared().error().kind(), ErrorKind::kNotFound) << "it is not made for that";
  EXPECT_TRUE(acquire());
  {
    const auto one = acquire_shared();
    const auto two = acquire_shared();
    ASSERT_TRUE(one && two);
    EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  }
  const auto writer = acquire();
  ASSERT_TRUE(writer);
  EXPECT_EQ(acquire_shared().error().kind(), ErrorKind::kBusy);
}

TEST_F(FolderLockTest, SaysThatTheDirectoryIsGone) {
  ASSERT_EQ(::rmdir(dir_.path().c_str()), 0);
  EXPECT_EQ(acquire(10 * kSecond).error().kind(), ErrorKind::kNotFound);
}

TEST_F(FolderLockTest, WhatAKilledMakerLeftIsNoObstacle) {
  dir_.write(replacement_name("lock", static_cast<uint64_t>(::getpid())), "");
  EXPECT_TRUE(acquire());
  EXPECT_EQ(dir_.names(), std::vector<std::string>{"lock"});
}

TEST(NameProcess, ShowsNoControlCharacters) {
  Child child([](Child& self) {
    ::prctl(PR_SET_NAME, "a\nb\x1b[1m\xff");
    self.ready();
    return 0;
  });
  ASSERT_TRUE(child.wait_until_ready());
  const pid_t pid = child.pid();
  EXPECT_EQ(name_process(Fs::posix(), pid), "pid " + std::to_string(pid) + " (a?b?[1m?)");
  child.go();
  child.wait();
  EXPECT_EQ(name_process(Fs::posix(), pid), "pid " + std::to_string(pid));
}

}  // namespace
}  // namespace mh
