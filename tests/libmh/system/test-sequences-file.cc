// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/sequences-file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/fault-fs.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::Child;
using test::FaultFs;
using test::FsCall;
using test::run_in_child;
using test::TempDir;

constexpr const char* kName = ".mh_sequences";

class SequencesFileTest : public ::testing::Test {
 protected:
  SequencesFile file() { return SequencesFile(fs_, dir_.fd(), options_); }
  Result<SequencesFile::Hold> acquire(Nanoseconds timeout = 0) { return file().acquire(timeout); }
  FileStat stat(const char* name = kName) {
    return *Fs::posix().stat(dir_.fd(), name, Follow::kNo);
  }
  // What was written is old enough to be believed.
  void settle() { Fs::posix().sleep(60 * kMillisecond); }
  // Replaces the file as exmh and Claws do.
  void replace(const std::string& text) {
    dir_.write(".mh_sequences.new", text);
    ASSERT_EQ(::renameat(dir_.fd(), ".mh_sequences.new", dir_.fd(), kName), 0);
  }
  // A process that holds a POSIX lock, as nmh does.
  int hold_as_nmh(Child& child, const char* command = "scan") {
    ::prctl(PR_SET_NAME, command);
    const int fd = ::open(dir_.path(kName).c_str(), O_RDWR);
    struct flock range {};
    range.l_type = F_WRLCK;
    if (fd < 0 || ::fcntl(fd, F_SETLK, &range) != 0) return 1;
    child.ready();
    return 0;
  }

  TempDir dir_;
  FaultFs fs_;
  SequencesFile::Options options_;
};

TEST_F(SequencesFileTest, IsReadAndWrittenInPlace) {
  dir_.write(kName, "cur: 1\nunseen: 1-3\n");
  const uint64_t inode = stat().inode;
  auto hold = acquire();
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_FALSE(hold->made());
  auto read = hold->read();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->text, "cur: 1\nunseen: 1-3\n");
  EXPECT_TRUE(read->exists);
  fs_.reset();
  const auto written = hold->write("cur: 2\nunseen: 1-3 7\n");
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(dir_.read(kName), "cur: 2\nunseen: 1-3 7\n");
  EXPECT_EQ(stat().inode, inode);
  EXPECT_EQ(written->mtime, stat().mtime);
  EXPECT_EQ(written->ctime, stat().ctime);
  EXPECT_EQ(fs_.count(FsCall::kPwrite), 1);  // one write, all of it
  for (const FsCall call : {FsCall::kTruncate, FsCall::kRename, FsCall::kUnlink, FsCall::kOpen})
    EXPECT_EQ(fs_.count(call), 0) << test::name_of(call);
  EXPECT_EQ(dir_.names(), std::vector<std::string>{kName});
}

TEST_F(SequencesFileTest, NeverGetsShorterAndIsNotWrittenUnread) {
  dir_.write(kName, "unseen: 1-3\n");
  auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_EQ(hold->write("unseen: 1-3\n").error().kind(), ErrorKind::kInvalid);
  ASSERT_TRUE(hold->read());
  EXPECT_EQ(hold->write("unseen:\n").error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(dir_.read(kName), "unseen: 1-3\n");
  EXPECT_TRUE(hold->write("unseen:    \n"));
  EXPECT_EQ(hold->write("unseen: 1\n").error().kind(), ErrorKind::kInvalid);
  EXPECT_TRUE(hold->write("unseen: 1  \n"));
  EXPECT_EQ(dir_.read(kName), "unseen: 1  \n");
}

TEST_F(SequencesFileTest, EveryWriteShowsInTheWholeSecondOfMtimeAtMostOneAhead) {
  dir_.write(kName, "a: 1\n");
  auto hold = acquire();
  ASSERT_TRUE(hold);
  ASSERT_TRUE(hold->read());
  Nanoseconds before = stat().mtime / kSecond;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(hold->write("a: " + std::to_string(i % 10) + "\n"));
    const FileStat now = stat();
    EXPECT_NE(now.mtime / kSecond, before);
    EXPECT_LE(now.mtime, Fs::posix().now() + kSecond);
    before = now.mtime / kSecond;
  }
}

TEST_F(SequencesFileTest, AStampFromTheFarFutureIsNotCarriedOn) {
  dir_.write(kName, "a: 1\n");
  const timespec times[2] = {{0, UTIME_OMIT}, {4'000'000'000, 0}};
  ASSERT_EQ(::utimensat(dir_.fd(), kName, times, 0), 0);
  auto hold = acquire();
  ASSERT_TRUE(hold->read());
  ASSERT_TRUE(hold->write("a: 2\n"));
  EXPECT_LE(stat().mtime, Fs::posix().now() + kSecond);
}

TEST_F(SequencesFileTest, IsMadeWithModeAndGroupAndSaysSo) {
  options_.mode = 0660;
  const mode_t mask = ::umask(077);
  {
    auto hold = acquire();
    ASSERT_TRUE(hold) << hold.error().message();
    EXPECT_TRUE(hold->made());
    EXPECT_EQ(hold->read()->text, "");
    EXPECT_TRUE(hold->write("unseen: 1\n"));
  }
  ::umask(mask);
  EXPECT_EQ(stat().mode & 07777, 0660u);
  EXPECT_EQ(dir_.names(), std::vector<std::string>{kName});
  EXPECT_FALSE(acquire()->made());
}

TEST_F(SequencesFileTest, IsMadeWhereThereAreNoNamelessFiles) {
  options_.mode = 0640;
  settle();
  fs_.fail(FsCall::kOpen, 2, EOPNOTSUPP);
  auto hold = acquire();
  ASSERT_TRUE(hold) << hold.error().message();
  EXPECT_TRUE(hold->made());
  EXPECT_EQ(stat().mode & 07777, 0640u);
}

TEST_F(SequencesFileTest, AnotherWhoMakesItAtTheSameMomentWins) {
  Fs::posix().sleep(60 * kMillisecond);
  fs_.before(FsCall::kLinkFd, 1, [&] { dir_.write(kName, "unseen: 5\n"); });
  auto hold = acquire(kSecond);
  ASSERT_TRUE(hold);
  EXPECT_FALSE(hold->made());
  EXPECT_EQ(hold->read()->text, "unseen: 5\n");
}

TEST_F(SequencesFileTest, WaitsForNmhAndNamesIt) {
  dir_.write(kName, "unseen: 1\n");
  Child child([&](Child& self) { return hold_as_nmh(self); });
  ASSERT_TRUE(child.wait_until_ready());
  const auto refused = acquire(200 * kMillisecond);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(refused.error().message(), dir_.path(kName) + " is locked by pid " +
                                           std::to_string(child.pid()) + " (scan), waited 0.2 s");
  child.go();
  EXPECT_TRUE(acquire(10 * kSecond));
}

TEST_F(SequencesFileTest, ExcludesPosixLocksAndItself) {
  dir_.write(kName, "unseen: 1\n");
  auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_EQ(run_in_child([&] {
              Child self([&](Child& inner) { return hold_as_nmh(inner); });
              return self.wait();
            }),
            1);
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  SequencesFile::Hold moved = std::move(*hold);
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  Child sleeper([](Child& self) { return self.ready(), 0; });  // has inherited the descriptor
  ASSERT_TRUE(sleeper.wait_until_ready());
  moved.release();
  EXPECT_TRUE(acquire());
}

// ---- Others that lock nothing ---------------------------------------------------------------

TEST_F(SequencesFileTest, ALockOnAFileThatWasReplacedBetweenOpenAndLockIsNotBelieved) {
  dir_.write(kName, "unseen: 1\n");
  fs_.before(FsCall::kSetLock, 1, [&] { replace("unseen: 1-2\n"); });
  auto hold = acquire(kSecond);
  ASSERT_TRUE(hold);
  EXPECT_EQ(hold->read()->text, "unseen: 1-2\n");
  EXPECT_TRUE(hold->is_current());
}

TEST_F(SequencesFileTest, WhateverSomebodyWritesBetweenOurReadAndTheEndOfOurWriteIsTold) {
  const std::string ours = "unseen: 1-9\n";
  // Of the calls of write(): by rename, in place, removed.
  const std::function<void()> others[] = {
      [&] { replace("unseen: 1-4\n"); },
      [&] { dir_.write(kName, "unseen: 1-4 7\n"); },
      [&] { ASSERT_EQ(::unlinkat(dir_.fd(), kName, 0), 0); },
  };
  for (const auto& other : others) {
    dir_.write(kName, "unseen: 1-3\n");
    settle();
    fs_.reset();
    auto dry = acquire(kSecond);
    ASSERT_TRUE(dry->read());
    fs_.reset();
    ASSERT_TRUE(dry->write(ours));
    const int calls = fs_.count();
    dry->release();
    for (int n = 1; n <= calls; ++n) {
      dir_.write(kName, "unseen: 1-3\n");
      settle();
      fs_.reset();
      auto hold = acquire(kSecond);
      ASSERT_TRUE(hold);
      ASSERT_TRUE(hold->read());
      fs_.reset();
      fs_.before(n, other);
      const auto written = hold->write(ours);
      const std::string now = dir_.exists(kName) ? dir_.read(kName) : "";
      // Told, or what they wrote came before ours and was seen in no read: never "written" and
      // gone.
      if (written) {
        EXPECT_EQ(now, ours) << "before call " << n << ": " << fs_.trace()[size_t(n) - 1];
      }
    }
  }
}

TEST_F(SequencesFileTest, AnUnlockedWriteBeforeOursIsNotOverwritten) {
  dir_.write(kName, "unseen: 1-3\n");
  auto hold = acquire();
  ASSERT_TRUE(hold->read());
  dir_.write(kName, "unseen: 2-4\n");  // same length, in place
  EXPECT_EQ(hold->write("unseen: 1-3 9\n").error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(dir_.read(kName), "unseen: 2-4\n");
}

TEST_F(SequencesFileTest, AFileReplacedUnderTheLockEndsTheHold) {
  dir_.write(kName, "unseen: 1\n");
  auto hold = acquire();
  EXPECT_TRUE(hold->is_current());
  replace("unseen: 2\n");
  EXPECT_EQ(hold->is_current().error().kind(), ErrorKind::kBusy);
  ASSERT_EQ(::unlinkat(dir_.fd(), kName, 0), 0);
  EXPECT_EQ(hold->is_current().error().kind(), ErrorKind::kBusy);
}

TEST_F(SequencesFileTest, AFileAbsentSinceAMomentAgoIsNotMadeAtOnce) {
  // mutt: unlink, then rename.
  dir_.write(".mutt-tmp", "unseen: 1-3\n");
  dir_.write(kName, "unseen: 1\n");
  settle();
  ASSERT_EQ(::unlinkat(dir_.fd(), kName, 0), 0);
  fs_.before(FsCall::kSleep, 1,
             [&] { ASSERT_EQ(::renameat(dir_.fd(), ".mutt-tmp", dir_.fd(), kName), 0); });
  auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_FALSE(hold->made());
  EXPECT_EQ(hold->read()->text, "unseen: 1-3\n");
}

TEST_F(SequencesFileTest, AFileEmptySinceAMomentAgoGetsASecondLook) {
  // Python: truncates, then writes.
  dir_.write(kName, "unseen: 1\n");
  settle();
  dir_.write(kName, "");
  fs_.before(FsCall::kSleep, 1, [&] { dir_.write(kName, "unseen: 1-3\n"); });
  EXPECT_EQ(acquire()->read()->text, "unseen: 1-3\n");
}

TEST_F(SequencesFileTest, AFileEmptyForLongCostsNoWait) {
  dir_.write(kName, "");
  settle();
  EXPECT_EQ(acquire()->read()->text, "");
  EXPECT_EQ(fs_.count(FsCall::kSleep), 0);
}

TEST_F(SequencesFileTest, AFileThatIsEmptiedAgainAndAgainIsNotWaitedForForEver) {
  for (int i = 1; i < 100; ++i) fs_.after(FsCall::kSleep, i, [&] { dir_.write(kName, ""); });
  dir_.write(kName, "");
  EXPECT_TRUE(acquire(kSecond));
}

// ---- replace() ------------------------------------------------------------------------------

TEST_F(SequencesFileTest, AShorterTextReplacesAllOfALongerOneAndIsWholeAtEachInstant) {
  const std::string old_text = "A: 1\nB: a long line that goes\nC: 3\n";
  for (const std::string text : {"A: 1\nC: 3\n", "A: 1", "", "A: 1\nC: 3\nD: 4567890\n\n"}) {
    dir_.write(kName, old_text);
    auto hold = acquire();
    ASSERT_TRUE(hold);
    ASSERT_TRUE(hold->read());
    fs_.reset();
    for (int call = 1; call <= 20; ++call) {
      fs_.before(call, [&] {
        const std::string now = dir_.read(kName);
        std::string cut = now;
        while (!cut.empty() && (cut.back() == ' ' || cut.back() == '\n')) cut.pop_back();
        std::string whole = text;
        while (!whole.empty() && whole.back() == '\n') whole.pop_back();
        EXPECT_TRUE(now == old_text || cut == whole) << now;
      });
    }
    const auto done = hold->replace(text);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(dir_.read(kName), text);
    EXPECT_TRUE(hold->replace(old_text)) << "and may be replaced again";
    EXPECT_EQ(dir_.read(kName), old_text);
    fs_.reset();
  }
}

TEST_F(SequencesFileTest, ReplaceSeesAWriterThatKnowsNoLock) {
  dir_.write(kName, "A: 1\nB: 2\n");
  auto hold = acquire();
  ASSERT_TRUE(hold);
  ASSERT_TRUE(hold->read());
  fs_.reset();
  fs_.before(FsCall::kStat, 4, [&] { dir_.write(kName, "theirs: 1\n"); });
  EXPECT_FALSE(hold->replace("A: 1\n"));
}

// ---- datalocking ----------------------------------------------------------------------------

TEST_F(SequencesFileTest, PythonsDotLockIsRespectedWhileFresh) {
  dir_.write(kName, "unseen: 1\n");
  dir_.write(".mh_sequences.lock", "");
  const auto refused = acquire(100 * kMillisecond);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find(".mh_sequences.lock"), std::string::npos)
      << refused.error().message();
  // Nobody is kept waiting by our own lock meanwhile.
  Child nmh([&](Child& self) { return hold_as_nmh(self); });
  EXPECT_TRUE(nmh.wait_until_ready());
  nmh.go();
  nmh.wait();
  // Stale after five minutes: the clock goes on, the file stays.
  fs_.sleep_in_no_time();
  fs_.sleep(301 * kSecond);
  const auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_TRUE(hold->passed_stale_lock());
  EXPECT_TRUE(dir_.exists(".mh_sequences.lock"));  // with fcntl it is not ours to remove
}

Status set_mtime_of(int dir, const char* name, Nanoseconds mtime) {
  MH_TRY_SET(const Fd file, Fs::posix().open(dir, name, O_WRONLY));
  return Fs::posix().set_times(file.get(), kLeaveTime, mtime);
}

// A dot lock is as old as its mtime says: nmh touches a live one, a restored one has a new ctime.
TEST_F(SequencesFileTest, ADotLockIsStaleByItsMtime) {
  dir_.write(kName, "unseen: 1\n");
  dir_.write(".mh_sequences.lock", "");
  for (const Nanoseconds age : {310 * kSecond, -400 * kSecond}) {  // too old, and from the future
    ASSERT_TRUE(set_mtime_of(dir_.fd(), ".mh_sequences.lock", fs_.now() - age));
    const auto hold = acquire();
    ASSERT_TRUE(hold) << age;
    EXPECT_TRUE(hold->passed_stale_lock());
  }
  for (const Nanoseconds age : {290 * kSecond, -200 * kSecond}) {  // a file server's clock differs
    ASSERT_TRUE(set_mtime_of(dir_.fd(), ".mh_sequences.lock", fs_.now() - age));
    EXPECT_FALSE(acquire()) << age;
  }
  ::unlinkat(dir_.fd(), ".mh_sequences.lock", 0);
  const auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_FALSE(hold->passed_stale_lock());
}

TEST_F(SequencesFileTest, WithFcntlNoFileIsMadeBeside) {
  dir_.write(kName, "unseen: 1\n");
  auto hold = acquire();
  EXPECT_EQ(dir_.names(), std::vector<std::string>{kName});
}

TEST_F(SequencesFileTest, WithDotTheLockFileIsMadeAndRemoved) {
  options_.locking = DataLocking::kDot;
  dir_.write(kName, "unseen: 1\n");
  {
    auto hold = acquire();
    ASSERT_TRUE(hold);
    EXPECT_TRUE(dir_.exists(".mh_sequences.lock"));
    auto moved = std::move(*hold);
    EXPECT_TRUE(dir_.exists(".mh_sequences.lock"));
  }
  EXPECT_FALSE(dir_.exists(".mh_sequences.lock"));
  // Another's is waited for, and not removed by who did not make it.
  dir_.write(".mh_sequences.lock", "");
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(dir_.exists(".mh_sequences.lock"));
  fs_.sleep_in_no_time();
  fs_.sleep(301 * kSecond);
  EXPECT_TRUE(acquire());
  EXPECT_FALSE(dir_.exists(".mh_sequences.lock"));
}

TEST_F(SequencesFileTest, WithDotOneMadeBetweenOurLookAndOursCounts) {
  options_.locking = DataLocking::kDot;
  dir_.write(kName, "unseen: 1\n");
  fs_.after(FsCall::kStat, 2, [&] { dir_.write(".mh_sequences.lock", ""); });
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(dir_.exists(".mh_sequences.lock"));
}

TEST_F(SequencesFileTest, WithFlockThatLockIsTakenToo) {
  dir_.write(kName, "unseen: 1\n");
  const auto try_flock = [&] {
    const Fd fd(::open(dir_.path(kName).c_str(), O_RDWR));
    return ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
  };
  {
    auto hold = acquire();
    EXPECT_TRUE(try_flock());
  }
  options_.locking = DataLocking::kFlock;
  auto hold = acquire();
  ASSERT_TRUE(hold);
  EXPECT_FALSE(try_flock());
  hold->release();
  const Fd other(::open(dir_.path(kName).c_str(), O_RDWR));
  ASSERT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kBusy);
}

// ---- Where there is no lock -----------------------------------------------------------------

TEST_F(SequencesFileTest, WhatCannotBeWrittenIsToldAndCanBeRead) {
  dir_.write(kName, "unseen: 1-3\n");
  fs_.fail(FsCall::kOpen, 1, EACCES);
  EXPECT_EQ(acquire(kSecond).error().kind(), ErrorKind::kPermission);
  fs_.reset();
  fs_.fail(FsCall::kOpen, 1, EROFS);
  EXPECT_EQ(acquire(kSecond).error().kind(), ErrorKind::kReadOnly);
  fs_.reset();
  const auto read = file().read_unlocked(kSecond);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->text, "unseen: 1-3\n");
  EXPECT_EQ(read->stat.ctime, stat().ctime);
}

TEST_F(SequencesFileTest, WithoutLockOnlyATextThatStoodStillIsBelieved) {
  // Somebody truncates and writes: whatever of our calls he comes before, we see old or new.
  dir_.write(kName, "unseen: 1-3\n");
  settle();
  ASSERT_TRUE(file().read_unlocked(kSecond));
  const int calls = fs_.count();
  for (int n = 1; n <= calls; ++n) {
    for (const bool by_rename : {false, true}) {
      dir_.write(kName, "unseen: 1-3\n");
      settle();
      fs_.reset();
      fs_.before(n, [&] { by_rename ? replace("cur: 1\nunseen: 4\n") : dir_.write(kName, ""); });
      fs_.before(n + 1, [&] { dir_.write(kName, "cur: 1\nunseen: 4\n"); });
      const auto read = file().read_unlocked(2 * kSecond);
      ASSERT_TRUE(read) << read.error().message();
      EXPECT_TRUE(read->text == "unseen: 1-3\n" || read->text == "cur: 1\nunseen: 4\n")
          << n << ": " << read->text;
      // What is returned as current has the stamps that go with it.
      EXPECT_EQ(read->text.size(), read->stat.size);
    }
  }
}

TEST_F(SequencesFileTest, WithoutLockATextThatIsBeingWrittenIsWaitedFor) {
  dir_.write(kName, "cur: 1\nunse");
  fs_.before(FsCall::kSleep, 1, [&] { dir_.write(kName, "cur: 1\nunseen: 4\n"); });
  EXPECT_EQ(file().read_unlocked(kSecond)->text, "cur: 1\nunseen: 4\n");
}

TEST_F(SequencesFileTest, StampsFromTheFutureAreNotWaitedFor) {
  // The clock was set back by an hour after the file was written.
  dir_.write(kName, "");
  fs_.shift_clocks(-3600 * kSecond);
  EXPECT_TRUE(file().read_unlocked(0));
  EXPECT_TRUE(acquire());
  EXPECT_EQ(fs_.count(FsCall::kSleep), 0);
}

TEST_F(SequencesFileTest, WithoutLockAnAbsentFileIsBelievedAtTheSecondLook) {
  dir_.write(".mutt-tmp", "unseen: 1-3\n");
  fs_.before(FsCall::kSleep, 1,
             [&] { ASSERT_EQ(::renameat(dir_.fd(), ".mutt-tmp", dir_.fd(), kName), 0); });
  EXPECT_EQ(file().read_unlocked(kSecond)->text, "unseen: 1-3\n");
  ASSERT_EQ(::unlinkat(dir_.fd(), kName, 0), 0);
  const auto gone = file().read_unlocked(kSecond);
  ASSERT_TRUE(gone);
  EXPECT_FALSE(gone->exists);
  EXPECT_FALSE(dir_.exists(kName));
}

TEST_F(SequencesFileTest, WithoutLockAFileThatNeverStandsStillIsGivenUp) {
  dir_.write(kName, "a: 1\n");
  for (int i = 1; i < 200; ++i) fs_.after(FsCall::kSleep, i, [&] { dir_.write(kName, "a: 1\n"); });
  EXPECT_EQ(file().read_unlocked(300 * kMillisecond).error().kind(), ErrorKind::kBusy);
}

// ---- Strange input --------------------------------------------------------------------------

TEST_F(SequencesFileTest, NamesThatLeadElsewhereAreRefused) {
  dir_.make_dir("sub");
  dir_.write("5", "a message");
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("../x"), std::string("sub/x"), std::string("/tmp/x"),
                                  std::string("5"), std::string("7"), std::string("a\0b", 3)}) {
    options_.name = name;
    EXPECT_EQ(acquire().error().kind(), ErrorKind::kInvalid) << name;
    EXPECT_EQ(file().read_unlocked(0).error().kind(), ErrorKind::kInvalid) << name;
  }
  options_.name = "my sequences";
  EXPECT_TRUE(acquire());
  EXPECT_TRUE(dir_.exists("my sequences"));
}

TEST_F(SequencesFileTest, WhatIsNoFileIsRefusedWithoutHanging) {
  ASSERT_EQ(::mkfifoat(dir_.fd(), kName, 0600), 0);
  EXPECT_EQ(acquire().error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(file().read_unlocked(0).error().kind(), ErrorKind::kInvalid);
  ASSERT_EQ(::unlinkat(dir_.fd(), kName, 0), 0);
  dir_.make_dir(kName);
  EXPECT_FALSE(acquire());
  EXPECT_FALSE(file().read_unlocked(0));
  ASSERT_EQ(::unlinkat(dir_.fd(), kName, AT_REMOVEDIR), 0);
  dir_.write("victim", "precious");
  ASSERT_EQ(::symlinkat("victim", dir_.fd(), kName), 0);
  EXPECT_FALSE(acquire());
  EXPECT_FALSE(file().read_unlocked(0));
  EXPECT_EQ(dir_.read("victim"), "precious");
}

TEST_F(SequencesFileTest, ALargeFileIsWrittenInOneGoAndAHugeOneRefused) {
  std::string text = "unseen:";
  for (int i = 1; i < 40'000; i += 2) text += " " + std::to_string(i);
  text += "\n";  // some 200 KB in one line
  dir_.write(kName, text);
  auto hold = acquire();
  EXPECT_EQ(hold->read()->text, text);
  fs_.reset();
  EXPECT_TRUE(hold->write("cur: 1\n" + text));
  EXPECT_EQ(fs_.count(FsCall::kPwrite), 1);
  hold->release();
  ASSERT_EQ(::truncate(dir_.path(kName).c_str(), off_t{1} << 40), 0);
  auto huge = acquire();
  ASSERT_TRUE(huge);
  EXPECT_EQ(huge->read().error().kind(), ErrorKind::kInvalid);
  settle();
  EXPECT_EQ(file().read_unlocked(0).error().kind(), ErrorKind::kInvalid);
}

TEST_F(SequencesFileTest, SaysThatTheFolderIsGone) {
  ASSERT_EQ(::rmdir(dir_.path().c_str()), 0);
  const auto gone = acquire(kSecond);
  EXPECT_EQ(gone.error().kind(), ErrorKind::kNotFound) << gone.error().message();
}

// ---- Failures -------------------------------------------------------------------------------

TEST_F(SequencesFileTest, AWriteCutShortByAFullDiskIsUndone) {
  const std::string old = "cur: 1\nunseen: 1-3\n";
  const std::string text = "cur: 17\nflagged: 1\nunseen: 1-3 7\n";
  for (size_t written = 0; written <= text.size(); ++written) {
    dir_.write(kName, old);
    auto hold = acquire(kSecond);
    ASSERT_TRUE(hold->read());
    fs_.reset();
    fs_.select({FsCall::kPwrite});
    fs_.cut_at(1, written, ENOSPC);
    const auto result = hold->write(text);
    EXPECT_EQ(result.error().kind(), ErrorKind::kNoSpace);
    EXPECT_EQ(dir_.read(kName), old) << written;
    fs_.reset();
    fs_.select({});
  }
}

TEST_F(SequencesFileTest, AWriteThatCannotBeUndoneSaysThatTheFileMayBeDamaged) {
  dir_.write(kName, "cur: 1\nunseen: 1-3\n");
  auto hold = acquire();
  ASSERT_TRUE(hold->read());
  fs_.reset();
  fs_.fail(FsCall::kPwrite, 1, ENOSPC, FaultFs::Times::kFromThenOn);
  const auto result = hold->write("cur: 2\nunseen: 1-9\n");
  EXPECT_EQ(result.error().kind(), ErrorKind::kIo);
  EXPECT_NE(result.error().message().find("damaged"), std::string::npos);
}

TEST_F(SequencesFileTest, AnyFailureLeavesOldOrNewContentAndNoLock) {
  const std::string old = "unseen: 1-3\n";
  const std::string text = "flagged: 2\nunseen: 1-3\n";
  for (const DataLocking locking : {DataLocking::kFcntl, DataLocking::kDot, DataLocking::kFlock}) {
    options_.locking = locking;
    const auto work = [&]() -> Status {
      MH_TRY_SET(auto hold, acquire(kSecond));
      MH_TRY(hold.read());
      MH_TRY(hold.write(text));
      return {};
    };
    dir_.write(kName, old);
    fs_.reset();
    ASSERT_TRUE(work());
    const int calls = fs_.count();
    for (int n = 1; n <= calls; ++n) {
      for (const int error : {ENOSPC, EIO, EDQUOT, EROFS}) {
        for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
          dir_.write(kName, old);
          fs_.reset();
          fs_.fail_at(n, error, times);
          const Status result = work();
          const std::string call = fs_.trace()[size_t(n) - 1];
          const std::string now = dir_.read(kName);
          if (result) {
            EXPECT_EQ(now, text) << call;
          }
          EXPECT_TRUE(now == text || now == old) << call << ": " << now;
          fs_.reset();
          // A dot lock that could not be removed is the one thing that may stay.
          if (locking == DataLocking::kDot) ::unlinkat(dir_.fd(), ".mh_sequences.lock", 0);
          EXPECT_TRUE(acquire()) << call;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mh
