// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/posix-fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <set>
#include <string>

#include "tests/support/child.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::Child;
using test::run_in_child;
using test::TempDir;

class PosixFsTest : public ::testing::Test {
 protected:
  Fd open(const char* name, int flags = O_RDWR | O_CREAT, mode_t mode = 0600) {
    auto fd = fs_.open(dir_.fd(), name, flags, mode);
    EXPECT_TRUE(fd) << fd.error().message();
    return fd ? std::move(*fd) : Fd();
  }
  Fs& fs_ = Fs::posix();
  TempDir dir_;
};

TEST_F(PosixFsTest, WritesAtAnOffsetAndReadsBackUntilTheFileEnds) {
  const Fd fd = open("f");
  ASSERT_TRUE(fs_.pwrite(fd.get(), "hello", 5, 3));
  char buffer[32];
  auto got = fs_.pread(fd.get(), buffer, sizeof(buffer), 0);
  ASSERT_TRUE(got);
  EXPECT_EQ(std::string(buffer, *got), std::string("\0\0\0hello", 8));
  ASSERT_TRUE(fs_.truncate(fd.get(), 4));
  EXPECT_EQ(fs_.fstat(fd.get())->size, 4u);
}

TEST_F(PosixFsTest, DescriptorsCloseOnExec) {
  const Fd fd = open("f");
  EXPECT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(PosixFsTest, AnErrorNamesTheFileByItsPath) {
  dir_.write("ro", "x", 0400);
  const Fd fd = open("ro", O_RDONLY);
  const auto failed = fs_.pwrite(fd.get(), "x", 1, 0);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find(dir_.path("ro")), std::string::npos)
      << failed.error().message();
  EXPECT_EQ(failed.error().sys_errno(), EBADF);
}

TEST_F(PosixFsTest, KindsSayWhatToDo) {
  EXPECT_EQ(fs_.open(dir_.fd(), "no", O_RDONLY).error().kind(), ErrorKind::kNotFound);
  dir_.write("a", "1");
  dir_.write("b", "2");
  EXPECT_EQ(fs_.open(dir_.fd(), "a", O_CREAT | O_EXCL | O_RDWR).error().kind(), ErrorKind::kExists);
  EXPECT_EQ(fs_.link(dir_.fd(), "a", dir_.fd(), "b").error().kind(), ErrorKind::kExists);
  EXPECT_EQ(fs_.rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kNoReplace).error().kind(),
            ErrorKind::kExists);
  dir_.make_dir("d");
  EXPECT_EQ(fs_.open(dir_.fd(), "d", O_WRONLY).error().kind(), ErrorKind::kInvalid);
}

TEST_F(PosixFsTest, ASymlinkAndAFifoNeitherMisleadNorBlock) {
  dir_.write("a", "1");
  ASSERT_EQ(::symlinkat("a", dir_.fd(), "l"), 0);
  ASSERT_EQ(::mkfifoat(dir_.fd(), "p", 0600), 0);
  EXPECT_FALSE(fs_.open(dir_.fd(), "l", O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  auto fifo = fs_.open(dir_.fd(), "p", O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  ASSERT_TRUE(fifo);
  EXPECT_EQ(fs_.fstat(fifo->get())->type, FileType::kOther);
  EXPECT_EQ(fs_.stat(dir_.fd(), "l", Follow::kNo)->type, FileType::kSymlink);
  EXPECT_EQ(fs_.stat(dir_.fd(), "l", Follow::kYes)->type, FileType::kRegular);
}

TEST_F(PosixFsTest, StatTellsWhatTheKernelTells) {
  dir_.write("a", "12345", 0640);
  struct stat plain {};
  ASSERT_EQ(::stat(dir_.path("a").c_str(), &plain), 0);
  const FileStat found = *fs_.stat(dir_.fd(), "a", Follow::kNo);
  EXPECT_EQ(found.inode, plain.st_ino);
  EXPECT_EQ(found.size, 5u);
  EXPECT_EQ(found.mode, plain.st_mode);
  EXPECT_EQ(found.nlink, 1u);
  EXPECT_EQ(found.uid, ::geteuid());
  EXPECT_EQ(found.mtime, plain.st_mtim.tv_sec * kSecond + plain.st_mtim.tv_nsec);
  EXPECT_EQ(found.ctime, plain.st_ctim.tv_sec * kSecond + plain.st_ctim.tv_nsec);
  EXPECT_LE(found.birth, found.ctime);
}

TEST_F(PosixFsTest, ASecondFileUnderTheSameInodeNumberHasAnotherBirthTime) {
  // ext4 hands an inode number out again at once; where it does, birth must tell them apart.
  dir_.write("a", "1");
  const FileStat first = *fs_.stat(dir_.fd(), "a", Follow::kNo);
  if (first.birth == 0) GTEST_SKIP() << "no birth times here";
  ASSERT_TRUE(fs_.unlink(dir_.fd(), "a"));
  fs_.sleep(20 * kMillisecond);  // a tick of the coarse clock at any HZ
  dir_.write("a", "1");
  const FileStat second = *fs_.stat(dir_.fd(), "a", Follow::kNo);
  EXPECT_NE(first.birth, second.birth);
}

TEST_F(PosixFsTest, NowIsTheClockThatStampsFiles) {
  // Never ahead of the stamp of a file written after it was read.
  for (int i = 0; i < 200; ++i) {
    const Nanoseconds before = fs_.now();
    dir_.write("f", std::to_string(i));
    ASSERT_LE(before, fs_.stat(dir_.fd(), "f", Follow::kNo)->mtime);
  }
}

TEST_F(PosixFsTest, ListsEveryNameOfABigDirectoryOnceWithFewCalls) {
  constexpr int kMany = 5000;
  for (int i = 1; i <= kMany; ++i)
    ASSERT_TRUE(fs_.open(dir_.fd(), std::to_string(i).c_str(), O_CREAT | O_WRONLY, 0600));
  dir_.make_dir("sub");
  std::set<std::string> seen;
  for (int round = 0; round < 2; ++round) {  // from the start each time
    seen.clear();
    ASSERT_TRUE(fs_.list(dir_.fd(), [&](const DirEntry& entry) {
      EXPECT_TRUE(seen.insert(entry.name).second) << entry.name;
      if (entry.name == "17") {
        EXPECT_EQ(entry.inode, fs_.stat(dir_.fd(), "17", Follow::kNo)->inode);
        EXPECT_TRUE(entry.type == FileType::kRegular || entry.type == FileType::kUnknown);
      }
      return true;
    }));
    EXPECT_EQ(seen.size(), kMany + 1u);
  }
  int called = 0;
  ASSERT_TRUE(fs_.list(dir_.fd(), [&](const DirEntry&) { return ++called < 3; }));
  EXPECT_EQ(called, 3);
}

TEST_F(PosixFsTest, ListingsMayBeNested) {
  for (int i = 0; i < 5; ++i) dir_.write(std::to_string(i), "");
  int pairs = 0;
  ASSERT_TRUE(fs_.list(dir_.fd(), [&](const DirEntry&) {
    EXPECT_TRUE(fs_.list(dir_.fd(), [&](const DirEntry&) { return ++pairs, true; }));
    return true;
  }));
  EXPECT_EQ(pairs, 25);
}

TEST_F(PosixFsTest, ExchangeSwapsTwoNames) {
  dir_.write("a", "1");
  dir_.write("b", "2");
  ASSERT_TRUE(fs_.rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kExchange));
  EXPECT_EQ(dir_.read("a") + dir_.read("b"), "21");
  ASSERT_TRUE(fs_.rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kReplace));
  EXPECT_EQ(dir_.read("b"), "2");
}

TEST_F(PosixFsTest, ANamelessFileGetsANameButNeverATakenOne) {
  auto fd = fs_.open(dir_.fd(), ".", O_TMPFILE | O_WRONLY, 0600);
  if (!fd) GTEST_SKIP() << fd.error().message();
  ASSERT_TRUE(fs_.pwrite(fd->get(), "x", 1, 0));
  dir_.write("1", "other");
  EXPECT_EQ(fs_.link_fd(fd->get(), dir_.fd(), "1").error().kind(), ErrorKind::kExists);
  ASSERT_TRUE(fs_.link_fd(fd->get(), dir_.fd(), "2"));
  EXPECT_EQ(dir_.read("1") + dir_.read("2"), "otherx");
}

TEST_F(PosixFsTest, CopyRangeCopiesOrSaysThatItCannot) {
  const std::string text(300'000, 'm');
  dir_.write("a", text);
  const Fd from = open("a", O_RDONLY);
  const Fd to = open("b");
  size_t done = 0;
  while (done < text.size()) {
    auto copied = fs_.copy_range(from.get(), done, to.get(), 100 + done, text.size() - done);
    if (!copied) {
      ASSERT_EQ(copied.error().kind(), ErrorKind::kUnsupported) << copied.error().message();
      GTEST_SKIP() << copied.error().message();
    }
    ASSERT_GT(*copied, 0u);
    done += *copied;
  }
  EXPECT_EQ(dir_.read("b"), std::string(100, '\0') + text);
  EXPECT_EQ(*fs_.copy_range(from.get(), text.size(), to.get(), 0, 10), 0u);
}

TEST_F(PosixFsTest, SharesBytesWhereTheFileSystemCanAndSaysSoWhereItCannot) {
  const std::string text(8192, 'x');
  dir_.write("a", text);
  dir_.write("same", text);
  dir_.write("other", std::string(8192, 'y'));
  const Fd from = open("a", O_RDONLY);
  for (const char* name : {"same", "other"}) {
    const Fd to = open(name, O_RDONLY);
    const auto shared = fs_.share_range(from.get(), 0, to.get(), 0, text.size());
    if (!shared) {
      ASSERT_EQ(shared.error().kind(), ErrorKind::kUnsupported) << shared.error().message();
      GTEST_SKIP() << shared.error().message();
    }
    EXPECT_EQ(*shared, dir_.read(name) == text ? text.size() : 0);
  }
  EXPECT_EQ(dir_.read("other"), std::string(8192, 'y'));
}

TEST_F(PosixFsTest, StampsAreSetToTheNanosecondAndEachMayBeLeft) {
  const Fd fd = open("f");
  ASSERT_TRUE(fs_.set_times(fd.get(), kLeaveTime, 1'234'567'890'123'456'789));
  EXPECT_EQ(fs_.fstat(fd.get())->mtime, 1'234'567'890'123'456'789);
  ASSERT_TRUE(fs_.set_times(fd.get(), kLeaveTime, -1'500'000'000));  // before 1970
  EXPECT_EQ(fs_.fstat(fd.get())->mtime, -1'500'000'000);
  ASSERT_TRUE(fs_.set_times(fd.get(), 5 * kSecond, kLeaveTime));
  EXPECT_EQ(fs_.fstat(fd.get())->mtime, -1'500'000'000);
}

// Once a sum overflowed: a file of the year 2446, the last that ext4 can say.
TEST_F(PosixFsTest, TimesOfTheFarFutureAreSeenAsTheLastOne) {
  const Fd fd = open("f");
  const timespec late[2] = {{15'032'385'535, 0}, {15'032'385'535, 0}};
  ASSERT_EQ(::futimens(fd.get(), late), 0);
  struct stat plain {};
  ASSERT_EQ(::fstat(fd.get(), &plain), 0);
  EXPECT_EQ(fs_.fstat(fd.get())->mtime,
            std::min<Nanoseconds>(plain.st_mtim.tv_sec, kLastTime / kSecond) * kSecond);
}

TEST_F(PosixFsTest, ExtendedAttributesAreCopied) {
  const Fd from = open("a");
  const Fd to = open("b");
  if (::fsetxattr(from.get(), "user.note", "text", 4, 0) != 0) GTEST_SKIP() << "no xattrs here";
  ASSERT_EQ(::fsetxattr(from.get(), "user.empty", "", 0, 0), 0);
  ASSERT_TRUE(fs_.copy_xattrs(from.get(), to.get()));
  char value[8];
  EXPECT_EQ(::fgetxattr(to.get(), "user.note", value, sizeof(value)), 4);
  EXPECT_EQ(::fgetxattr(to.get(), "user.empty", value, sizeof(value)), 0);
}

TEST_F(PosixFsTest, AHandleSurvivesRenamingAndIsNotReused) {
  Fd fd = open("a");
  const auto first = fs_.handle(fd.get());
  if (!first) GTEST_SKIP() << first.error().message();
  ASSERT_TRUE(fs_.rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kReplace));
  EXPECT_EQ(*fs_.handle(open("b").get()), *first);
  fd.reset();
  ASSERT_TRUE(fs_.unlink(dir_.fd(), "b"));
  EXPECT_NE(*fs_.handle(open("a").get()), *first);
}

TEST_F(PosixFsTest, ALockExcludesOtherDescriptorsAndPosixLocksOfOthers) {
  const Fd one = open("f");
  const Fd two = open("f");
  ASSERT_TRUE(fs_.set_lock(one.get(), Lock::kWrite));
  EXPECT_EQ(fs_.set_lock(two.get(), Lock::kRead).error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(*fs_.lock_holder(two.get()), -1);  // an OFD lock is nobody's
  EXPECT_EQ(run_in_child([&] {
              const int fd = ::open(dir_.path("f").c_str(), O_RDWR);
              struct flock range {};
              range.l_type = F_WRLCK;
              return ::fcntl(fd, F_SETLK, &range) == 0 ? 1 : 0;
            }),
            0);
  // Closing another descriptor of the file leaves the lock alone (POSIX locks would be gone).
  { const Fd three = open("f"); }
  EXPECT_FALSE(fs_.set_lock(two.get(), Lock::kWrite));
  ASSERT_TRUE(fs_.set_lock(one.get(), Lock::kNone));
  EXPECT_TRUE(fs_.set_lock(two.get(), Lock::kWrite));
}

TEST_F(PosixFsTest, TheHolderOfAPosixLockIsNamed) {
  const Fd mine = open("f");
  Child child([&](Child& self) {
    const int fd = ::open(dir_.path("f").c_str(), O_RDWR);
    struct flock range {};
    range.l_type = F_WRLCK;
    if (::fcntl(fd, F_SETLK, &range) != 0) return 1;
    self.ready();
    return 0;
  });
  ASSERT_TRUE(child.wait_until_ready());
  EXPECT_EQ(*fs_.lock_holder(mine.get()), child.pid());
  EXPECT_FALSE(fs_.set_lock(mine.get(), Lock::kWrite));
  child.go();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(*fs_.lock_holder(mine.get()), 0);
}

TEST_F(PosixFsTest, FlockIsItsOwnKind) {
  const Fd one = open("f");
  const Fd two = open("f");
  ASSERT_TRUE(fs_.set_flock(one.get(), Lock::kWrite));
  EXPECT_EQ(fs_.set_flock(two.get(), Lock::kWrite).error().kind(), ErrorKind::kBusy);
  EXPECT_TRUE(fs_.set_lock(two.get(), Lock::kWrite));
}

TEST_F(PosixFsTest, ALeaseIsRefusedWhileTheFileIsBeingWritten) {
  dir_.write("f", "x");
  ignore_lease_signal();
  const Fd writer = open("f", O_WRONLY);
  const Fd reader = open("f", O_RDONLY);
  const auto refused = fs_.set_lease(reader.get(), Lease::kRead);
  if (!refused && refused.error().kind() == ErrorKind::kUnsupported) GTEST_SKIP();
  EXPECT_EQ(refused.error().kind(), ErrorKind::kBusy);
}

// Run in a child, as the signal's disposition belongs to the whole process.
int break_a_lease(const TempDir& dir, bool ignore_signal) {
  Fs& fs = Fs::posix();
  if (ignore_signal) ignore_lease_signal();
  auto reader = fs.open(dir.fd(), "f", O_RDONLY);
  if (!reader || !fs.set_lease(reader->get(), Lease::kRead)) return 2;
  if (*fs.get_lease(reader->get()) != Lease::kRead) return 3;
  const pid_t writer = ::fork();
  if (writer == 0) {
    reader->reset();  // else the lease outlives a killed parent, and this waits for itself
    ::_exit(fs.open(dir.fd(), "f", O_WRONLY) ? 0 : 1);  // waits for the parent
  }
  for (int i = 0; i < 500 && *fs.get_lease(reader->get()) != Lease::kNone; ++i)
    fs.sleep(10 * kMillisecond);
  const bool pending_seen = *fs.get_lease(reader->get()) == Lease::kNone;
  int status = 0;
  const bool still_waiting = ::waitpid(writer, &status, WNOHANG) == 0;
  if (!fs.set_lease(reader->get(), Lease::kNone)) return 5;  // lets the writer in
  ::waitpid(writer, &status, 0);
  return pending_seen && still_waiting && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 4;
}

TEST_F(PosixFsTest, APendingBreakOfALeaseShowsAndTheWriterWaitsForUs) {
  dir_.write("f", "x");
  const int code = run_in_child([&] { return break_a_lease(dir_, true); });
  if (code == 2) GTEST_SKIP() << "no leases here";
  EXPECT_EQ(code, 0);
}

TEST_F(PosixFsTest, WithoutIgnoringTheSignalABreakKills) {
  dir_.write("f", "x");
  const int code = run_in_child([&] {
    ::signal(SIGIO, SIG_DFL);
    return break_a_lease(dir_, false);
  });
  if (code == 2) GTEST_SKIP() << "no leases here";
  EXPECT_EQ(code, -SIGIO);
}

TEST_F(PosixFsTest, AHandlerForTheLeaseSignalIsLeftAlone) {
  EXPECT_EQ(run_in_child([] {
              ::signal(SIGIO, [](int) {});
              ignore_lease_signal();
              struct sigaction now {};
              ::sigaction(SIGIO, nullptr, &now);
              return now.sa_handler == SIG_IGN || now.sa_handler == SIG_DFL ? 1 : 0;
            }),
            0);
}

TEST_F(PosixFsTest, RealPathSeesThroughSymlinks) {
  dir_.make_dir("d");
  ASSERT_EQ(::symlinkat("d", dir_.fd(), "l"), 0);
  EXPECT_EQ(*fs_.real_path(dir_.path("l")), dir_.path("d"));
  EXPECT_EQ(fs_.real_path(dir_.path("no")).error().kind(), ErrorKind::kNotFound);
}

TEST_F(PosixFsTest, DurabilityCallsWorkOnFilesAndDirectories) {
  const Fd fd = open("f");
  ASSERT_TRUE(fs_.pwrite(fd.get(), "x", 1, 0));
  EXPECT_TRUE(fs_.start_writeback(fd.get()));
  EXPECT_TRUE(fs_.fdatasync(fd.get()));
  EXPECT_TRUE(fs_.fsync(fd.get()));
  EXPECT_TRUE(fs_.fsync(dir_.fd()));
  const Status all = fs_.syncfs(dir_.fd());
  EXPECT_TRUE(all || all.error().kind() == ErrorKind::kUnsupported);
}

TEST_F(PosixFsTest, SleepsAtLeastAsLongAsAsked) {
  const Nanoseconds before = fs_.monotonic();
  fs_.sleep(5 * kMillisecond);
  EXPECT_GE(fs_.monotonic() - before, 5 * kMillisecond);
  fs_.sleep(-1);
}

}  // namespace
}  // namespace mh
