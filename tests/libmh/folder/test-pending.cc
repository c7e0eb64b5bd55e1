// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Changes of flags while the sequences file cannot be had, and an index that is lost meanwhile.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/folder-test.h"

namespace mh {
namespace {

using test::FolderClient;
using test::FsCall;
using ::testing::IsEmpty;

class PendingTest : public test::FolderTest {
 protected:
  void start() { FolderTest::start(4, "unseen: 2 4\nflagged: 3\nmine: 1\n"); }
  void lock() {
    held_ = Fd(::open(at(".mh_sequences").c_str(), O_RDWR));
    must(Fs::posix().set_lock(held_.get(), Lock::kWrite));
  }
  void unlock() { held_.reset(); }
  // The changes that a client makes, and how the folder is then.
  void store(FolderClient& client) {
    client.store(1, "\\Flagged", true);
    client.store(2, "\\Seen", true);
    client.store(3, "\\Flagged", false);
    client.store(4, "$Label1", true);
    client.store(1, "mine", false);
    must(client.sync());
  }
  void expect_stored(FolderClient& client) {
    EXPECT_EQ("1", sequence("flagged").print_uids());
    EXPECT_EQ("4", sequence("unseen").print_uids());
    EXPECT_THAT(sequence("mine").print_uids(), IsEmpty());
    EXPECT_TRUE(client.flagged(1, "\\Flagged"));
    EXPECT_TRUE(client.seen(2));
    EXPECT_FALSE(client.flagged(3, "\\Flagged"));
    EXPECT_TRUE(client.flagged(4, "$Label1"));
    EXPECT_FALSE(client.flagged(1, "mine"));
  }

  Fd held_;
};

TEST_F(PendingTest, ChangesThatHaveWaitedForAMinuteSurviveTheLossOfTheIndex) {
  start();
  lock();
  store(client_);
  fs_.shift_clocks(61 * kSecond);
  must(client_.sync());
  client_.lose_index();
  unlock();
  client_.reopen();
  must(client_.sync());
  expect_stored(client_);
  expect_sane(client_);
}

TEST_F(PendingTest, AnotherProcessWritesThemDownWhenTheMinuteIsOver) {
  start();
  client_.keep_index_in(temp_.path("index"));
  lock();
  store(client_);
  fs_.shift_clocks(61 * kSecond);
  FolderClient later(fs_, temp_.path("Mail"), "inbox");
  later.keep_index_in(temp_.path("index"));
  must(later.sync());
  client_.lose_index();
  unlock();
  client_.reopen();
  must(client_.sync());
  expect_stored(client_);
}

TEST_F(PendingTest, TheLossOfTheIndexWhileTheLockIsStillHeldLosesNothing) {
  start();
  lock();
  store(client_);
  fs_.shift_clocks(61 * kSecond);
  must(client_.sync());
  client_.lose_index();
  client_.reopen();
  must(client_.sync());
  client_.lose_index();
  client_.reopen();
  unlock();
  must(client_.sync());
  expect_stored(client_);
}

TEST_F(PendingTest, TheyAreNotMadeAgainOverWhatOthersHaveChangedSince) {
  start();
  lock();
  store(client_);
  fs_.shift_clocks(61 * kSecond);
  must(client_.sync());
  unlock();
  must(client_.sync());
  expect_stored(client_);
  temp_.write("Mail/inbox/.mh_sequences", "unseen: 2 4\nflagged: 3\n");
  client_.lose_index();
  client_.reopen();
  must(client_.sync());
  EXPECT_EQ("3", sequence("flagged").print_uids());
  EXPECT_FALSE(client_.seen(2));
  EXPECT_FALSE(client_.flagged(1, "\\Flagged"));
}

TEST_F(PendingTest, AFileThatCannotBeWrittenKeepsThemWaitingToo) {
  start();
  client_.store(1, "\\Flagged", true);
  const auto sync_on_a_bad_disk = [&] {
    fs_.reset();
    // First the journal is told what is to be written.
    fs_.fail(FsCall::kPwrite, 2, EIO);
    must(client_.sync());
  };
  sync_on_a_bad_disk();
  ASSERT_FALSE(sequence("flagged").contains(1));
  fs_.shift_clocks(61 * kSecond);
  sync_on_a_bad_disk();
  ASSERT_FALSE(sequence("flagged").contains(1));
  client_.lose_index();
  client_.reopen();
  fs_.reset();
  must(client_.sync());
  EXPECT_TRUE(sequence("flagged").contains(1));
  EXPECT_TRUE(client_.flagged(1, "\\Flagged"));
}

TEST_F(PendingTest, ForLessThanAMinuteTheJournalHearsNothing) {
  start();
  lock();
  store(client_);
  fs_.shift_clocks(50 * kSecond);
  fs_.reset();
  must(client_.sync());
  EXPECT_EQ(0, fs_.count(FsCall::kFdatasync) + fs_.count(FsCall::kFsync));
  unlock();
  must(client_.sync());
  expect_stored(client_);
}

}  // namespace
}  // namespace mh
