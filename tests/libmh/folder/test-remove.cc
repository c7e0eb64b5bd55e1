// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages that a client has asked to remove, beside others who rename, replace and remove.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "libmh/folder/folder.h"
#include "libmh/system/filename.h"
#include "tests/support/child.h"
#include "tests/support/folder-test.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using test::FsCall;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class RemoveTest : public test::FolderTest {
 protected:
  void start() { FolderTest::start(5, "unseen: 2 4\nflagged: 3-4\n"); }
};

TEST_F(RemoveTest, TheFileGoesAndSoDoItsSequences) {
  start();
  client_.expunge({2, 3});
  must(client_.sync());
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 2", "EXPUNGE 3"));
  EXPECT_THAT(client_.uids(), ElementsAre(1, 4, 5));
  EXPECT_FALSE(exists("2"));
  EXPECT_FALSE(exists("3"));
  EXPECT_FALSE(exists(",2"));
  EXPECT_EQ("4", sequence("unseen").print_uids());
  EXPECT_EQ("4", sequence("flagged").print_uids());
  expect_sane(client_);
}

TEST_F(RemoveTest, AsBackupItStaysUnderAComma) {
  client_.settings.backup = true;
  start();
  client_.expunge({2});
  must(client_.sync());
  EXPECT_FALSE(exists("2"));
  EXPECT_EQ(text(2), read(",2"));
  run("mv " + at(",2") + " " + at("2"));
  must(client_.sync());
  const uint32_t back = client_.uid_of(2);
  EXPECT_EQ(6u, back);
  EXPECT_EQ(text(2), client_.fetch(back).value_or(""));
  EXPECT_FALSE(client_.seen(back)) << "its flags come back with it";
  expect_sane(client_);
}

TEST_F(RemoveTest, WithoutRenameNoReplaceAMismatchIsStillPutBack) {
  start();
  client_.expunge({2});
  // Another message is under that number at the last moment.
  fs_.before(FsCall::kRename, 1,
             [&] { run("cd " + at(".") + " && rm 2 && printf 'another\\n' > x && mv x 2"); });
  fs_.fail(FsCall::kRename, 2, EINVAL);
  must(client_.sync());
  EXPECT_EQ("another\n", read("2"));
  EXPECT_THAT(workshop(), IsEmpty());
  must(client_.sync());
  EXPECT_FALSE(client_.messages().contains(2)) << "its file was removed by somebody else";
  expect_sane(client_);
}

TEST_F(RemoveTest, AMessageThatCameUnderTheNumberStays) {
  start();
  client_.expunge({2});
  fs_.before(FsCall::kRename, 1, [&] { run("cd " + at(".") + " && mv 5 x && rm 2 && mv x 2"); });
  must(client_.sync());
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 2")) << "the listing no longer held";
  EXPECT_EQ(text(5), client_.fetch(5).value_or(""));
  EXPECT_EQ(2u, client_.messages().at(5).hint.number);
  EXPECT_EQ(text(5), read("2"));
  expect_sane(client_);
}

TEST_F(RemoveTest, WhatCannotGoBackUnderItsNumberGetsANewOne) {
  start();
  client_.expunge({2});
  fs_.before(FsCall::kRename, 1, [&] { run("cd " + at(".") + " && mv 5 x && rm 2 && mv x 2"); });
  fs_.before(FsCall::kRename, 2, [&] { run("printf 'third\\n' > " + at("2")); });
  must(client_.sync());
  EXPECT_EQ("third\n", read("2"));
  EXPECT_EQ(text(5), client_.fetch(5).value_or(""));
  EXPECT_NE("third\n", client_.fetch(5).value_or(""));
}

TEST_F(RemoveTest, NothingIsRemovedWhileNmhHoldsItsLockAndAllAfterwards) {
  start();
  {
    const Fd held(::open(at(".mh_sequences").c_str(), O_RDWR));
    must(Fs::posix().set_lock(held.get(), Lock::kWrite));
    client_.expunge({2});
    must(client_.sync());
    EXPECT_TRUE(exists("2"));
    EXPECT_TRUE(client_.messages().contains(2));
  }
  must(client_.sync());
  EXPECT_FALSE(exists("2"));
  EXPECT_FALSE(client_.messages().contains(2));
  expect_sane(client_);
}

TEST_F(RemoveTest, ARenumberedMessageIsRemovedUnderItsNewNumber) {
  start();
  run("cd " + at(".") +
      " && rm 1 && mv 2 1 && mv 3 2 && mv 4 3 && mv 5 4 && "
      "printf 'unseen: 1 3\\nflagged: 2-3\\n' > .mh_sequences");
  client_.expunge({4});
  must(client_.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(2, 3, 5));
  EXPECT_FALSE(exists("3"));
  EXPECT_EQ(text(5), read("4"));
  expect_sane(client_);
}

TEST_F(RemoveTest, OneThatCannotBeRemovedStaysAndTheOthersGoLater) {
  start();
  client_.expunge({2, 3});
  fs_.fail(FsCall::kRename, 2, EIO);
  must(client_.sync());
  EXPECT_FALSE(exists("2"));
  EXPECT_TRUE(exists("3"));
  EXPECT_TRUE(client_.messages().contains(3));
  EXPECT_FALSE(client_.messages().contains(2));
}

// A pack at work: the listing that is to find the message is old before it is used.
TEST_F(RemoveTest, AMessageThatMovesWhileItIsLookedForIsNotGone) {
  start();
  run("cd " + at(".") + " && mv 5 9");
  fs_.after(FsCall::kList, 1, [&] { run("cd " + at(".") + " && mv 9 7"); });
  const auto found = client_.fetch(5);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(text(5), *found);
}

// ---- A process that dies in it --------------------------------------------------------------

// Leaves message 2 in the workshop, not removed yet.
TEST_F(RemoveTest, AnotherSessionThatIsAlreadyOpenPutsAnInterruptedRemovalBack) {
  start();
  FolderClient session(fs_, temp_.path("Mail"), "inbox");
  must(session.sync());
  session.events();
  const int end = test::run_in_child([&] {
    FaultFs fs;
    FolderClient dying(fs, temp_.path("Mail"), "inbox");
    must(dying.sync());
    dying.expunge({2});
    fs.reset();
    fs.after(FsCall::kRename, 1, [] { ::kill(::getpid(), SIGKILL); });
    must(dying.sync());
    return 0;
  });
  ASSERT_EQ(-SIGKILL, end);
  ASSERT_FALSE(exists("2"));
  must(session.sync());
  EXPECT_THAT(session.events(), IsEmpty()) << "it was not removed";
  EXPECT_EQ(text(2), session.fetch(2).value_or(""));
  EXPECT_EQ(text(2), read("2"));
  expect_sane(session);
}

TEST_F(RemoveTest, AMessageThatWasPutBackByLinkAndNotYetUnlinkedIsNotDoubled) {
  start();
  const std::string state = client_.folder().location().state_dir;
  run("mkdir -p " + state + "/tmp && ln " + at("2") + " " + state + "/tmp/" + outgoing_name(2, 7));
  client_.reopen();
  must(client_.sync(true));
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(text(2), client_.fetch(2).value_or(""));
  expect_sane(client_);
}

TEST_F(RemoveTest, ASweepThatFailedIsDoneByTheNextSync) {
  start();
  const int end = test::run_in_child([&] {
    FaultFs fs;
    FolderClient dying(fs, temp_.path("Mail"), "inbox");
    must(dying.sync());
    dying.expunge({2});
    fs.reset();
    fs.after(FsCall::kRename, 1, [] { ::kill(::getpid(), SIGKILL); });
    must(dying.sync());
    return 0;
  });
  ASSERT_EQ(-SIGKILL, end);
  client_.reopen();
  fs_.reset();
  fs_.fail(FsCall::kRename, 1, EIO);
  EXPECT_FALSE(client_.sync());
  must(client_.sync());
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
  expect_sane(client_);
}

}  // namespace
}  // namespace mh
