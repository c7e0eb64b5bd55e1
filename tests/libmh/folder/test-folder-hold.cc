// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flags under each way in which the profile may say that sequences are locked. With "dot" the lock
// is a file in the folder: it must neither look like a change by others nor hide one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using test::FsCall;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Long enough for stamps of the kernel to count as settled.
constexpr Nanoseconds kLongAfter = 10 * kSecond;

class FolderHoldTest : public ::testing::TestWithParam<DataLocking> {
 protected:
  FolderHoldTest() : client_(fs_, temp_.path("Mail"), "inbox") {
    client_.settings.locking = GetParam();
    run("mkdir -p Mail/inbox");
    for (int i = 1; i <= 4; ++i) put(std::to_string(i));
    std::ofstream(at(".mh_sequences")) << "unseen: 2\nflagged: 3\n";
    sync();
    fs_.shift_clocks(kLongAfter);
    sync();
    client_.events();
    fs_.reset();
  }

  std::string at(const std::string& name) const { return temp_.path("Mail/inbox/" + name); }
  void put(const std::string& name) {
    std::ofstream(at(name)) << "Subject: " << name << "\n\ntext\n";
    run("touch -d '1 hour ago' Mail/inbox/" + name);
  }
  void run(const std::string& command) {
    ASSERT_EQ(0, std::system(("cd " + temp_.path() + " && " + command).c_str())) << command;
  }
  void sync() {
    const Status done = client_.sync();
    ASSERT_TRUE(done) << done.error().message();
  }
  std::string sequences() const {
    std::ifstream file(at(".mh_sequences"));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  DirectoryStamp directory() {
    const auto stat = Fs::posix().stat(AT_FDCWD, temp_.path("Mail/inbox").c_str(), Follow::kYes);
    return stat ? DirectoryStamp::of(*stat) : DirectoryStamp();
  }

  test::TempDir temp_;
  FaultFs fs_;
  FolderClient client_;
};

INSTANTIATE_TEST_SUITE_P(Locking, FolderHoldTest,
                         ::testing::Values(DataLocking::kFcntl, DataLocking::kDot,
                                           DataLocking::kFlock, DataLocking::kLockf));

TEST_P(FolderHoldTest, FlagsGoBothWays) {
  client_.store(1, "\\Flagged", true);
  sync();
  EXPECT_THAT(sequences(), HasSubstr("flagged: 1 3\n"));
  std::ofstream(at(".mh_sequences")) << "flagged: 3-4\n";
  sync();
  EXPECT_FALSE(client_.flagged(1, "\\Flagged"));
  EXPECT_TRUE(client_.flagged(4, "\\Flagged"));
  EXPECT_TRUE(client_.seen(2));
  run("test ! -e Mail/inbox/.mh_sequences.lock");
}

// Else each sync would ask for the next one, and wake everybody who watches the folder.
TEST_P(FolderHoldTest, ASyncThatMergesNothingLeavesTheDirectoryAlone) {
  fs_.shift_clocks(-kLongAfter);  // what happens now has just happened
  client_.store(1, "\\Flagged", true);
  sync();
  const DirectoryStamp stored = directory();
  sync();
  fs_.shift_clocks(kLongAfter);
  sync();
  sync();
  EXPECT_EQ(stored, directory());
  fs_.reset();
  sync();
  EXPECT_EQ(0, fs_.count(FsCall::kSetLock)) << "unchanged, yet synced";
  EXPECT_THAT(sequences(), HasSubstr("flagged: 1 3\n"));
}

TEST_P(FolderHoldTest, ARenameBetweenTheListingAndTheLockIsSeen) {
  client_.store(3, "work", true);
  // The first lock is the folder's own, the second that of the sequences.
  fs_.before(FsCall::kSetLock, 2, [&] { run("cd Mail/inbox && mv 3 50"); });
  sync();
  EXPECT_THAT(sequences(), HasSubstr("work: 50\n"));
  EXPECT_THAT(sequences(), HasSubstr("flagged: 50\n"));
  EXPECT_EQ(3u, client_.uid_of(50));
}

TEST_P(FolderHoldTest, AnArrivalUnderOurLockIsSeenByTheNextSync) {
  client_.store(3, "work", true);
  fs_.before(FsCall::kPwrite, 2, [&] { put("5"); });
  sync();
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
}

class FolderDotLockTest : public FolderHoldTest {};
INSTANTIATE_TEST_SUITE_P(Dot, FolderDotLockTest, ::testing::Values(DataLocking::kDot));

TEST_P(FolderDotLockTest, AnArrivalJustBeforeTheLockGoesIsSeen) {
  client_.store(3, "work", true);
  fs_.before(FsCall::kUnlink, 1, [&] { put("5"); });
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4)) << "it came too late for this sync";
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_P(FolderDotLockTest, AnArrivalJustAfterTheLockIsGoneIsSeen) {
  client_.store(3, "work", true);
  fs_.after(FsCall::kUnlink, 1, [&] { put("5"); });
  sync();
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_P(FolderDotLockTest, WhatChangedInTheTickOfTheLastLookIsFoundByTheNext) {
  client_.store(3, "work", true);
  sync();
  std::ofstream(at(".mh_sequences")) << "flagged: 4\n";
  fs_.shift_clocks(kLongAfter);
  sync();
  EXPECT_TRUE(client_.flagged(4, "\\Flagged"));
  EXPECT_FALSE(client_.flagged(3, "work"));
}

TEST_P(FolderDotLockTest, ALiveLockOfAnotherKeepsWhatIsPending) {
  std::ofstream(at(".mh_sequences.lock")) << "0";
  client_.store(1, "\\Flagged", true);
  sync();
  EXPECT_EQ("unseen: 2\nflagged: 3\n", sequences());
  run("rm Mail/inbox/.mh_sequences.lock");
  sync();
  EXPECT_THAT(sequences(), HasSubstr("flagged: 1 3\n"));
  EXPECT_THAT(client_.warnings(), IsEmpty());
}

TEST_P(FolderHoldTest, AStaleDotLockStopsNobodyAndIsSaidOnce) {
  std::ofstream(at(".mh_sequences.lock")) << "0";
  run("touch -d '2001-01-01' Mail/inbox/.mh_sequences.lock");
  client_.store(1, "\\Flagged", true);
  sync();
  EXPECT_THAT(sequences(), HasSubstr("flagged: 1 3\n"));
  client_.store(1, "\\Flagged", false);
  sync();
  EXPECT_THAT(client_.warnings(), ElementsAre(HasSubstr(".mh_sequences.lock was left")));
}

}  // namespace
}  // namespace mh
