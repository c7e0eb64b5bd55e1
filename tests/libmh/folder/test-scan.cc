// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/scan.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "libmh/system/filename.h"
#include "tests/support/fault-fs.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

std::vector<uint32_t> numbers(const Listing& listing) {
  std::vector<uint32_t> found;
  for (const Entry& entry : listing.entries) found.push_back(entry.number);
  return found;
}

template <typename T>
std::vector<T> sorted(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  return values;
}

using Numbers = std::vector<uint32_t>;
using Names = std::vector<std::string>;

// A file system whose readdir does not say what a name is.
class UntoldFs : public FaultFs {
 public:
  Status list(int dir, const std::function<bool(const DirEntry&)>& each) override {
    return FaultFs::list(dir, [&](const DirEntry& entry) {
      return each({entry.inode, FileType::kUnknown, entry.name});
    });
  }
};

// The clock stands where the test puts it.
class StoppedFs : public FaultFs {
 public:
  Nanoseconds stopped_at = 0;
  Nanoseconds now() override { return stopped_at; }
  void sleep(Nanoseconds) override { ++slept; }
  int slept = 0;
};

class ScanTest : public ::testing::Test {
 protected:
  void fill() {
    for (const char* name : {"10", "9", "1", "2147483546"}) dir.write(name, "x\n");
    for (const char* name : {"0", "007", "2147483547", "99999999999", ",5", "#6", ".mh_sequences",
                             "README", "5x", "-1"}) {
      dir.write(name, "x\n");
    }
    for (const char* name : {"sub", "77", "with space", ".hidden"}) dir.make_dir(name);
    ASSERT_EQ(::mkfifo(dir.path("20").c_str(), 0600), 0);
    ASSERT_EQ(::symlink("1", dir.path("21").c_str()), 0);
    ASSERT_EQ(::symlink("sub", dir.path("link").c_str()), 0);
  }
  void move(const char* from, const char* to) {
    ASSERT_EQ(::rename(dir.path(from).c_str(), dir.path(to).c_str()), 0);
  }

  TempDir dir;
  FaultFs fs;
};

TEST_F(ScanTest, MessagesAreRegularFilesUnderPlainNumbers) {
  fill();
  UntoldFs untold;
  for (FaultFs* with : {&fs, static_cast<FaultFs*>(&untold)}) {
    const Listing listing = *scan_folder(*with, dir.fd());
    EXPECT_TRUE(listing.whole);
    EXPECT_EQ(numbers(listing), (Numbers{1, 9, 10, 2147483546}));
    EXPECT_EQ(listing.highest(), kHighestMessageNumber);
    EXPECT_EQ(sorted(listing.junk), (Names{"0", "007", "20", "21", "2147483547", "99999999999"}));
    EXPECT_EQ(sorted(listing.subfolders), (Names{"77", "sub", "with space"}));
  }
}

TEST_F(ScanTest, AnEntryTellsWhatStatTells) {
  dir.write("3", "hello\n", 0640);
  ASSERT_EQ(::link(dir.path("3").c_str(), dir.path(",1").c_str()), 0);
  const Listing listing = *scan_folder(fs, dir.fd());
  ASSERT_EQ(listing.entries.size(), 1u);
  const FileStat stat = *fs.stat(dir.fd(), "3", Follow::kNo);
  EXPECT_EQ(listing.entries[0].file, FileIdentity::of(stat));
  EXPECT_EQ(listing.entries[0].nlink, 2u);
  EXPECT_EQ(listing.entries[0].mode & 0777, 0640u);
  EXPECT_EQ(listing.entries[0].owner, ::geteuid());
  EXPECT_EQ(listing.directory, DirectoryStamp::of(*fs.fstat(dir.fd())));
}

TEST_F(ScanTest, AnEmptyFolderIsWhole) {
  const Listing listing = *scan_folder(fs, dir.fd());
  EXPECT_TRUE(listing.whole);
  EXPECT_TRUE(listing.entries.empty());
  EXPECT_EQ(listing.highest(), 0u);
}

TEST_F(ScanTest, CostsOneStatPerMessage) {
  for (int i = 1; i <= 500; ++i) dir.write(std::to_string(i), "x");
  fs.sleep(kSecond / 10);
  fs.reset();
  EXPECT_EQ(scan_folder(fs, dir.fd())->entries.size(), 500u);
  EXPECT_EQ(fs.count(FsCall::kStat), 500);
  EXPECT_EQ(fs.count(FsCall::kList), 1);
  EXPECT_EQ(fs.count(FsCall::kFstat), 2);
}

TEST_F(ScanTest, ARenameMeanwhileMakesItListAgain) {
  for (const char* name : {"1", "2", "3"}) dir.write(name, "x");
  fs.after(FsCall::kList, 1, [&] { move("2", "5"); });
  const Listing listing = *scan_folder(fs, dir.fd());
  EXPECT_TRUE(listing.whole);
  EXPECT_EQ(numbers(listing), (Numbers{1, 3, 5}));
}

TEST_F(ScanTest, AFileThatVanishesBeforeItsStatIsLeftOut) {
  for (const char* name : {"1", "2", "3"}) dir.write(name, "x");
  fs.before(FsCall::kStat, 2, [&] { ::unlink(dir.path("2").c_str()); });
  const Listing listing = *scan_folder(fs, dir.fd());
  EXPECT_TRUE(listing.whole);
  EXPECT_EQ(numbers(listing), (Numbers{1, 3}));
}

TEST_F(ScanTest, AFolderThatNeverRestsIsNotWhole) {
  dir.write("1", "x");
  for (int i = 1; i <= 10; ++i) {
    fs.after(FsCall::kList, i,
             [&] { move(dir.exists("1") ? "1" : "2", dir.exists("1") ? "2" : "1"); });
  }
  EXPECT_FALSE(scan_folder(fs, dir.fd())->whole);
  EXPECT_LE(fs.count(FsCall::kList), 5);
}

TEST_F(ScanTest, AChangeWithinTheTickOfTheStartMayHideAnother) {
  dir.write("1", "x");
  StoppedFs stopped;
  const Nanoseconds changed = (*stopped.fstat(dir.fd())).ctime;
  stopped.stopped_at = changed;
  EXPECT_FALSE(scan_folder(stopped, dir.fd())->whole);
  EXPECT_GT(stopped.slept, 0) << "it waits for the tick to end";
  EXPECT_LT(stopped.slept, 100) << "but not for ever";
  stopped.stopped_at = changed - 5 * kMillisecond;  // stamps may be ahead of the coarse clock
  EXPECT_FALSE(scan_folder(stopped, dir.fd())->whole);
  stopped.stopped_at = changed + 1;
  EXPECT_TRUE(scan_folder(stopped, dir.fd())->whole);
  stopped.stopped_at = changed - kSecond;  // the clock was set back
  EXPECT_TRUE(scan_folder(stopped, dir.fd())->whole);
}

TEST_F(ScanTest, AFreshFolderIsWholeAfterAMoment) {
  dir.write("1", "x");
  const Listing listing = *scan_folder(fs, dir.fd());
  EXPECT_TRUE(listing.whole);
  EXPECT_FALSE(listing.settled());
}

TEST(DirectoryStampTest, IsSettledASecondAfterTheLastChange) {
  const Nanoseconds changed = 1700000000 * kSecond;
  DirectoryStamp stamp{1, changed, changed};
  EXPECT_FALSE(stamp.settled_at(changed));
  EXPECT_FALSE(stamp.settled_at(changed + kSettle));
  EXPECT_TRUE(stamp.settled_at(changed + kSettle + 1));
  EXPECT_FALSE(stamp.settled_at(changed - 5 * kSecond)) << "a server whose clock is ahead";
  EXPECT_TRUE(stamp.settled_at(changed - 2 * kClockSkew)) << "our clock was set back";
  stamp.mtime = changed + 24 * 3600 * kSecond;  // touch
  EXPECT_TRUE(stamp.settled_at(changed + kSettle + 1));
}

TEST_F(ScanTest, AMessageThatTheDiskHidesIsNotTakenForRemoved) {
  for (const char* name : {"1", "2", "3"}) dir.write(name, "x");
  fs.fail(FsCall::kStat, 2, EIO);
  const Listing listing = *scan_folder(fs, dir.fd());
  EXPECT_FALSE(listing.whole);
  EXPECT_EQ(numbers(listing), (Numbers{1, 3}));
}

TEST_F(ScanTest, AFolderThatMayNotBeSearchedIsAnError) {
  for (const char* name : {"1", "2"}) dir.write(name, "x");
  fs.fail(FsCall::kStat, 1, EACCES, FaultFs::Times::kFromThenOn);
  const auto listing = scan_folder(fs, dir.fd());
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().kind(), ErrorKind::kPermission);
}

TEST_F(ScanTest, EachFailingCallIsAnErrorOrAListingThatIsNotWhole) {
  for (const char* name : {"1", "2", "3"}) dir.write(name, "x");
  fs.sleep(kSecond / 10);
  fs.reset();
  ASSERT_TRUE(scan_folder(fs, dir.fd()));
  const int calls = fs.count();
  for (int n = 1; n <= calls; ++n) {
    fs.reset();
    fs.fail_at(n, EIO);
    const auto listing = scan_folder(fs, dir.fd());
    EXPECT_TRUE(!listing || !listing->whole)
        << "call " << n << ": " << fs.trace()[static_cast<size_t>(n - 1)];
  }
}

TEST_F(ScanTest, ProbingFindsWhatWasAppended) {
  for (const char* name : {"1", "4", "5", "8", "12"}) dir.write(name, "x");
  fs.reset();
  const Listing listing = *probe_after(fs, dir.fd(), 3);
  EXPECT_FALSE(listing.whole);
  EXPECT_EQ(numbers(listing), (Numbers{4, 5, 8})) << "three missing in a row end it";
  EXPECT_EQ(fs.count(FsCall::kStat), 8);
  EXPECT_EQ(fs.count(FsCall::kList), 0);
  fs.reset();
  EXPECT_TRUE(probe_after(fs, dir.fd(), 12)->entries.empty());
  EXPECT_EQ(fs.count(), 4);
}

TEST_F(ScanTest, NamesAndInodesTellWhetherTheMessagesAreThoseOfAListing) {
  for (const char* name : {"2", "1", "12", ",3", "README"}) dir.write(name, "x");
  dir.make_dir("3");
  const Listing listing = *scan_folder(fs, dir.fd());
  fs.reset();
  EXPECT_TRUE(*is_as_listed(fs, dir.fd(), listing));
  EXPECT_EQ(0, fs.count(FsCall::kStat)) << "no message is looked at";
  Listing renamed = listing;
  renamed.entries.back().number = 13;
  EXPECT_FALSE(*is_as_listed(fs, dir.fd(), renamed));
  Listing replaced = listing;
  ++replaced.entries.front().file.inode;
  EXPECT_FALSE(*is_as_listed(fs, dir.fd(), replaced));
  Listing shorter = listing;
  shorter.entries.pop_back();
  EXPECT_FALSE(*is_as_listed(fs, dir.fd(), shorter));
  UntoldFs untold;
  EXPECT_FALSE(*is_as_listed(untold, dir.fd(), listing));
  fs.before(FsCall::kFstat, fs.count(FsCall::kFstat) + 2, [&] { dir.write("5", "x"); });
  EXPECT_FALSE(*is_as_listed(fs, dir.fd(), listing)) << "it changed while it was read";
  EXPECT_FALSE(*is_as_listed(fs, dir.fd(), listing));
}

TEST_F(ScanTest, ProbingSkipsWhatIsNoMessage) {
  dir.make_dir("2");
  ASSERT_EQ(::mkfifo(dir.path("3").c_str(), 0600), 0);
  dir.write("4", "x");
  EXPECT_EQ(numbers(*probe_after(fs, dir.fd(), 1)), (Numbers{4}));
}

TEST_F(ScanTest, ProbingEndsAtTheHighestNumber) {
  dir.write("2147483546", "x");
  dir.write("2147483547", "x");
  EXPECT_EQ(numbers(*probe_after(fs, dir.fd(), 2147483544)), (Numbers{2147483546}));
  EXPECT_TRUE(probe_after(fs, dir.fd(), 2147483546)->entries.empty());
  EXPECT_TRUE(probe_after(fs, dir.fd(), 4294967295)->entries.empty());
}

}  // namespace
}  // namespace mh::test
