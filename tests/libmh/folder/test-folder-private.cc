// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flags in nmh's context: of a folder without a sequences file, and of one that is only read.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
using ::testing::IsEmpty;

class FolderPrivateTest : public ::testing::Test {
 protected:
  FolderPrivateTest() : client_(fs_, temp_.path("Mail"), "inbox") {
    client_.settings.context = temp_.path("Mail/context");
    client_.settings.name_in_context = "/home/u/Mail/inbox";
    run("mkdir -p Mail/inbox");
    for (int i = 1; i <= 4; ++i) put(std::to_string(i));
  }

  void all_private() { client_.settings.sequences_name.clear(); }
  // As of a folder of somebody else's, whoever runs this: in the next sync of a folder that has its
  // state the second lock, that of the sequences, is refused.
  void refuse_the_sequences() {
    fs_.reset();
    fs_.fail(FsCall::kSetLock, 2, EACCES, FaultFs::Times::kOnce);
  }
  std::string at(const std::string& name) const { return temp_.path("Mail/inbox/" + name); }
  void put(const std::string& name) {
    std::ofstream(at(name)) << "Subject: " << name << "\n\ntext\n";
    run("touch -d '1 hour ago' Mail/inbox/" + name);
  }
  void put_context(const std::string& text) { std::ofstream(temp_.path("Mail/context")) << text; }
  std::string context() const {
    std::ifstream file(temp_.path("Mail/context"));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void run(const std::string& command) {
    ASSERT_EQ(0, std::system(("cd " + temp_.path() + " && " + command).c_str())) << command;
  }
  void sync() {
    const Status done = client_.sync();
    ASSERT_TRUE(done) << done.error().message();
  }

  test::TempDir temp_;
  FaultFs fs_;
  FolderClient client_;
};

TEST_F(FolderPrivateTest, WithoutASequencesFileTheContextHasTheFlags) {
  all_private();
  put_context("A: b\natr-unseen-/home/u/Mail/inbox: 2\natr-flagged-/home/u/Mail/inbox: 3\n");
  sync();
  EXPECT_FALSE(client_.seen(2));
  EXPECT_TRUE(client_.seen(1));
  EXPECT_TRUE(client_.flagged(3, "\\Flagged"));
  client_.store(4, "\\Flagged", true);
  client_.store(2, "\\Seen", true);
  sync();
  EXPECT_EQ("A: b\natr-flagged-/home/u/Mail/inbox: 3-4\n", context());
  run("test ! -e Mail/inbox/.mh_sequences");
  EXPECT_THAT(client_.warnings(), IsEmpty());
}

TEST_F(FolderPrivateTest, AnUnchangedContextCostsOneMoreStat) {
  all_private();
  put_context("atr-flagged-/home/u/Mail/inbox: 3\n");
  sync();
  fs_.shift_clocks(10 * kSecond);
  sync();
  fs_.reset();
  sync();
  EXPECT_EQ(1, fs_.count(FsCall::kStat));
  EXPECT_EQ(1, fs_.count(FsCall::kFstat));
  EXPECT_EQ(2, fs_.count());
  put_context("atr-flagged-/home/u/Mail/inbox: 4\n");
  sync();
  EXPECT_TRUE(client_.flagged(4, "\\Flagged"));
  EXPECT_FALSE(client_.flagged(3, "\\Flagged"));
}

TEST_F(FolderPrivateTest, AnOrdinaryFolderNeverLooksAtTheContext) {
  put_context("atr-flagged-/home/u/Mail/inbox: 3\n");
  std::ofstream(at(".mh_sequences")) << "flagged: 1\n";
  sync();
  client_.store(2, "\\Flagged", true);
  sync();
  EXPECT_FALSE(client_.flagged(3, "\\Flagged"));
  EXPECT_EQ("atr-flagged-/home/u/Mail/inbox: 3\n", context());
  for (const std::string& call : fs_.trace()) {
    EXPECT_EQ(call.find("context"), std::string::npos) << call;
  }
}

// nmh empties its context before it has the lock, and waits a second when it does not get it.
TEST_F(FolderPrivateTest, AContextThatWasEmptiedAMomentAgoIsNotBelieved) {
  all_private();
  put_context("atr-flagged-/home/u/Mail/inbox: 3\n");
  sync();
  client_.events();
  put_context("");
  sync();
  client_.store(2, "work", true);
  sync();
  EXPECT_TRUE(client_.flagged(3, "\\Flagged"));
  EXPECT_EQ("", context());
  put_context("Current-Folder: inbox\natr-flagged-/home/u/Mail/inbox: 3\n");
  sync();
  EXPECT_EQ(
      "Current-Folder: inbox\natr-flagged-/home/u/Mail/inbox: 3\n"
      "atr-work-/home/u/Mail/inbox: 2\n",
      context());
  put_context("");
  fs_.shift_clocks(10 * kSecond);
  sync();
  EXPECT_FALSE(client_.flagged(3, "\\Flagged")) << "it stayed empty";
}

TEST_F(FolderPrivateTest, AContextThatIsWrittenWhileWeWriteIsMergedAgain) {
  all_private();
  put_context("atr-flagged-/home/u/Mail/inbox: 3\n");
  sync();
  client_.store(2, "work", true);
  fs_.reset();
  fs_.before(FsCall::kPwrite, 1,
             [&] { put_context("Current-Folder: inbox\natr-flagged-/home/u/Mail/inbox: 4\n"); });
  const int writes = fs_.count(FsCall::kPwrite);
  sync();
  sync();
  EXPECT_EQ(0, writes);
  EXPECT_TRUE(client_.flagged(4, "\\Flagged"));
  EXPECT_TRUE(client_.flagged(2, "work"));
}

// A command of nmh that had read the context before we wrote it writes all of it when it ends.
TEST_F(FolderPrivateTest, WhatACommandOverwritesIsWrittenOnceMore) {
  all_private();
  const std::string before = "atr-unseen-/home/u/Mail/inbox: 1-4\n";
  put_context(before);
  sync();
  client_.store(2, "\\Flagged", true);
  client_.store(3, "\\Seen", true);
  sync();
  const std::string after = context();
  client_.events();
  put_context(before + "Current-Folder: inbox\n");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(
      "atr-unseen-/home/u/Mail/inbox: 1-2 4\nCurrent-Folder: inbox\n"
      "atr-flagged-/home/u/Mail/inbox: 2\n",
      context());
  put_context(before);
  sync();
  EXPECT_EQ(before, context()) << "once: who takes it off again means it";
  EXPECT_FALSE(client_.flagged(2, "\\Flagged"));
  EXPECT_FALSE(client_.seen(3));
}

TEST_F(FolderPrivateTest, WhatIsTakenOffLaterOrInPartStaysOff) {
  all_private();
  sync();
  client_.store(2, "\\Flagged", true);
  client_.store(3, "\\Flagged", true);
  sync();
  put_context("atr-flagged-/home/u/Mail/inbox: 2\n");
  sync();
  EXPECT_FALSE(client_.flagged(3, "\\Flagged")) << "whoever wrote this had read what we wrote";
  fs_.shift_clocks(10 * kSecond);
  put_context("A: b\n");
  sync();
  EXPECT_FALSE(client_.flagged(2, "\\Flagged"));
  EXPECT_EQ("A: b\n", context());
}

TEST_F(FolderPrivateTest, WhatAClientTakesOffAgainStaysOff) {
  all_private();
  sync();
  client_.store(2, "\\Flagged", true);
  sync();
  client_.store(2, "\\Flagged", false);
  sync();
  put_context("A: b\n");
  sync();
  EXPECT_FALSE(client_.flagged(2, "\\Flagged"));
  EXPECT_EQ("A: b\n", context());
}

TEST_F(FolderPrivateTest, AFolderThatIsOnlyReadHasThePrivateOverThePublicOnes) {
  sync();
  std::ofstream(at(".mh_sequences")) << "unseen: 1-4\nflagged: 1\n";
  put_context("atr-unseen-/home/u/Mail/inbox: 2\n");
  refuse_the_sequences();
  sync();
  EXPECT_FALSE(client_.seen(2));
  EXPECT_TRUE(client_.seen(1));
  EXPECT_TRUE(client_.flagged(1, "\\Flagged"));
  client_.store(1, "\\Flagged", false);
  client_.store(2, "\\Seen", true);
  client_.store(3, "work", true);
  refuse_the_sequences();
  sync();
  EXPECT_EQ(
      "atr-unseen-/home/u/Mail/inbox: \natr-flagged-/home/u/Mail/inbox: \n"
      "atr-work-/home/u/Mail/inbox: 3\n",
      context());
  EXPECT_TRUE(client_.seen(2));
  EXPECT_FALSE(client_.flagged(1, "\\Flagged"));
  put_context(context() + "atr-mine-/home/u/Mail/inbox: 4\n");
  refuse_the_sequences();
  sync();
  EXPECT_TRUE(client_.flagged(4, "mine")) << "a change of the context was not seen";
  client_.lose_index();
  refuse_the_sequences();
  sync();
  EXPECT_TRUE(client_.seen(1));
  EXPECT_TRUE(client_.flagged(3, "work"));
}

TEST_F(FolderPrivateTest, NothingIsMadeForAUserWhoHasNoContext) {
  sync();
  std::ofstream(at(".mh_sequences")) << "unseen: 1-4\n";
  refuse_the_sequences();
  sync();
  client_.store(2, "\\Seen", true);
  refuse_the_sequences();
  sync();
  run("test ! -e Mail/context");
}

TEST_F(FolderPrivateTest, WithoutAContextTheIndexAloneHasTheFlags) {
  all_private();
  client_.settings.context.clear();
  sync();
  client_.store(2, "\\Flagged", true);
  sync();
  sync();
  EXPECT_TRUE(client_.flagged(2, "\\Flagged"));
  EXPECT_THAT(client_.warnings(), IsEmpty());
}

}  // namespace
}  // namespace mh
