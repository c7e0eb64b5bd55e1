// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder::pack_some() and order_by_number() beside a client that has the folder open, and beside
// others who change it meanwhile. Killed and failed at every call they are in test-folder-crash.cc
// and test-folder-faults.cc.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>

#include "libmh/folder/folder.h"
#include "libmh/format/sequences.h"
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

constexpr Nanoseconds kLater = 7200 * kSecond;

class PackTest : public ::testing::Test {
 protected:
  PackTest() : client_(fs_, temp_.path("Mail"), "inbox") {
    temp_.make_dir("Mail");
    temp_.make_dir("Mail/inbox");
    fs_.sleep_in_no_time();
    client_.settings.context = temp_.path("Mail/context");
    client_.settings.name_in_context = "/home/u/Mail/inbox";
  }

  static std::string text(int i) {
    return "Subject: message " + std::to_string(i) + "\n\nThis is " + std::to_string(i) + ".\n";
  }
  void put(int i, uint32_t number) {
    const std::string name = "Mail/inbox/" + std::to_string(number);
    temp_.write(name, text(i));
    run("touch -d '1 hour ago' " + name);
  }
  void run(const std::string& command) {
    ASSERT_EQ(0, std::system(("cd " + temp_.path() + " && " + command).c_str())) << command;
  }
  static void must(const Status& done) {
    if (!done) ADD_FAILURE() << done.error().message();
  }
  void sync() { must(client_.sync()); }
  // Messages 1 to 6 under 2 3 5 7 8 20, known to the client; an hour ago.
  void start(const std::string& sequences = "cur: 7\nunseen: 3 8\nflagged: 20\nmine: 2-8\n") {
    int i = 0;
    for (const uint32_t number : {2u, 3u, 5u, 7u, 8u, 20u}) put(++i, number);
    temp_.write("Mail/inbox/.mh_sequences", sequences);
    fs_.shift_clocks(kLater);
    sync();
    client_.events();
    fs_.reset();
  }
  void pack(uint64_t wanted) {
    const auto moved = client_.pack();
    ASSERT_TRUE(moved) << moved.error().message();
    EXPECT_EQ(wanted, *moved);
  }
  std::string sequences() const { return temp_.read("Mail/inbox/.mh_sequences"); }
  // Without blanks at the ends of lines.
  std::string said() const { return Sequences::parse(sequences()).print(); }
  std::string names() const {
    const Fd dir(::open(temp_.path("Mail/inbox").c_str(), O_RDONLY | O_DIRECTORY));
    std::set<std::string> names;
    must(Fs::posix().list(dir.get(), [&](const DirEntry& entry) {
      if (entry.name != ".mh_sequences") names.insert(entry.name);
      return true;
    }));
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
    return all;
  }
  std::string holder(uint32_t number) const {
    return temp_.read("Mail/inbox/" + std::to_string(number));
  }
  // The client is told nothing, now and later.
  void expect_silence() {
    sync();
    EXPECT_THAT(client_.events(), IsEmpty());
    fs_.shift_clocks(kLater);
    sync();
    EXPECT_THAT(client_.events(), IsEmpty());
    EXPECT_THAT(client_.violations(), IsEmpty());
  }

  test::TempDir temp_;
  FaultFs fs_;
  FolderClient client_;
};

TEST_F(PackTest, NumbersSequencesAndCurFollowAndTheClientIsToldNothing) {
  start();
  pack(6);
  EXPECT_EQ("1 2 3 4 5 6", names());
  for (int i = 1; i <= 6; ++i) EXPECT_EQ(text(i), holder(static_cast<uint32_t>(i)));
  EXPECT_EQ("cur: 4\nunseen: 2 5\nflagged: 6\nmine: 1-5\n", said());
  expect_silence();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(client_.warnings(), IsEmpty());
  pack(0);
}

TEST_F(PackTest, ARenameByUsIsNoReasonToReadAMessageAgain) {
  start();
  must(client_.adopt_all());
  for (const uint32_t uid : client_.uids()) ASSERT_TRUE(client_.fetch(uid));
  fs_.shift_clocks(kLater);
  sync();
  pack(6);
  sync();
  fs_.reset();
  ASSERT_TRUE(client_.fetch(3));
  EXPECT_EQ(1, fs_.count(FsCall::kPread)) << "the message, and nothing to compare it";
}

TEST_F(PackTest, PrivateSequencesFollow) {
  temp_.write("Mail/context",
              "Current-Folder: inbox\natr-my-/home/u/Mail/inbox: 3 8\n"
              "atr-my-/home/u/Mail/other: 3 8\natr-cur-/home/u/Mail/inbox: 20\n");
  start();
  pack(6);
  EXPECT_EQ(
      "Current-Folder: inbox\natr-my-/home/u/Mail/inbox: 2 5\n"
      "atr-my-/home/u/Mail/other: 3 8\natr-cur-/home/u/Mail/inbox: 6\n",
      temp_.read("Mail/context"));
  expect_silence();
}

TEST_F(PackTest, AFlagClearedBeforeThePackStaysCleared) {
  start("flagged: 8\n");
  // The last flag that anything has: nothing is left by which a client could see that numbers and
  // sequences were changed together.
  temp_.write("Mail/inbox/.mh_sequences", "unseen:\n");
  pack(6);
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("FLAGS 5 -\\Flagged"));
  expect_silence();
}

TEST_F(PackTest, AFlagClearedAfterThePackStaysCleared) {
  start("flagged: 8\n");
  pack(6);
  EXPECT_EQ("flagged: 5\n", said());
  temp_.write("Mail/inbox/.mh_sequences", "unseen:\n");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("FLAGS 5 -\\Flagged"));
  expect_silence();
}

TEST_F(PackTest, AMessageRenamedByHandBeforeThePackKeepsItsFlags) {
  start("flagged: 8\nmine: 3\n");
  run("mv Mail/inbox/8 Mail/inbox/30");
  pack(6);
  expect_silence();
  EXPECT_EQ("mine: 2\nflagged: 6\n", said());
}

TEST_F(PackTest, AnArrivalIsNotTakenForSeenBecauseOfAPack) {
  start();
  put(7, 21);  // by procmail, which never says unseen
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 7"));
  EXPECT_FALSE(client_.seen(7));
  pack(7);
  sync();
  EXPECT_FALSE(client_.seen(7));
  expect_silence();
  EXPECT_FALSE(client_.seen(7));
}

TEST_F(PackTest, APackThatNoIndexHasSeenIsFollowedByTheNext) {
  start("flagged: 8\n");
  pack(6);
  run("rm Mail/inbox/2");
  temp_.write("Mail/inbox/.mh_sequences", "unseen:\n");
  pack(4);
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 2", "FLAGS 5 -\\Flagged"));
  expect_silence();
}

TEST_F(PackTest, WhatAnIndexKnowsIsForgotten) {
  start();
  pack(6);
  sync();
  run("touch Mail/inbox/.mh_sequences");
  fs_.shift_clocks(kLater);
  sync();
  const std::string state = client_.folder().location().state_dir;
  run("grep -q '^C ' " + state + "/journal");
  run("grep -q '^V ' " + state + "/journal");
}

TEST_F(PackTest, NumbersThatVanishedAMomentAgoMayBeGivenAgain) {
  start();
  client_.expunge({6});
  sync();
  pack(5);
  sync();
  client_.events();
  const auto uids = client_.append({{.text = text(7)}});
  ASSERT_TRUE(uids);
  EXPECT_EQ("1 2 3 4 5 6", names());
}

TEST_F(PackTest, WhatIsInTheWayStaysAndNothingIsOverwritten) {
  start();
  run("cd Mail/inbox && mkdir 1 && ln -s 20 4 && echo deleted > ,6 && echo x > 007");
  fs_.shift_clocks(kLater);
  pack(3);
  EXPECT_EQ(",6 007 1 2 3 4 5 6 7 8", names());
  EXPECT_EQ(text(6), holder(8));
  EXPECT_EQ("deleted\n", temp_.read("Mail/inbox/,6"));
  expect_silence();
}

TEST_F(PackTest, AHalfWrittenFileStaysAndNothingComesBelowIt) {
  start();
  const Fd writer(::open(temp_.path("Mail/inbox/9").c_str(), O_WRONLY | O_CREAT, 0600));
  ASSERT_EQ(3, ::write(writer.get(), "Sub", 3));
  sync();
  pack(6);
  EXPECT_EQ("1 10 2 3 4 5 9", names());
  sync();
}

TEST_F(PackTest, AFolderWhoseSequencesAreNewIsNotPacked) {
  put(1, 3);
  temp_.write("Mail/inbox/.mh_sequences", "flagged: 3\n");
  sync();
  auto moved = client_.pack();
  ASSERT_FALSE(moved);
  EXPECT_EQ(ErrorKind::kBusy, moved.error().kind());
  EXPECT_THAT(moved.error().message(), HasSubstr("a moment ago"));
  EXPECT_EQ("3", names());
  fs_.shift_clocks(61 * kSecond);
  pack(1);
}

TEST_F(PackTest, WithoutASequencesFileThereIsNoPack) {
  client_.settings.sequences_name.clear();
  put(1, 3);
  fs_.shift_clocks(kLater);
  sync();
  const auto moved = client_.pack();
  ASSERT_FALSE(moved);
  EXPECT_EQ(ErrorKind::kInvalid, moved.error().kind());
  EXPECT_EQ("3", names());
}

TEST_F(PackTest, WhereNothingCanBeRenamedSafelyThereIsNoPack) {
  start();
  fs_.fail(FsCall::kRename, 1, EINVAL, FaultFs::Times::kFromThenOn);
  const auto moved = client_.pack();
  ASSERT_FALSE(moved);
  fs_.reset();
  EXPECT_EQ("2 20 3 5 7 8", names());
  expect_silence();
  pack(6);
  expect_silence();
}

TEST_F(PackTest, AStrangerThatTakesANumberAtTheLastMomentKeepsIt) {
  start();
  fs_.before(FsCall::kRename, 3, [&] { put(7, 3); });
  const auto moved = client_.pack();
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ("1 2 3 4 5 6 7", names());
  EXPECT_EQ(text(7), holder(3));
  EXPECT_EQ(text(3), holder(4));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 7"));
  EXPECT_EQ("cur: 5\nunseen: 2 6\nflagged: 7\nmine: 1-2 4-6\n", said());
  fs_.shift_clocks(kLater);
  sync();
}

TEST_F(PackTest, AMessageThatIsReplacedAtTheLastMomentIsNotMovedForIt) {
  start();
  bool done = false;
  fs_.after(FsCall::kRename, 1, [&] {
    done = true;
    run("cd Mail/inbox && rm 3 && mv 20 3");
  });
  const auto moved = client_.pack();
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_TRUE(done);
  EXPECT_EQ("1 2 3 4 5", names());
  EXPECT_EQ(text(6), holder(2));
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 3, 4, 5, 6));
  EXPECT_THAT(client_.violations(), IsEmpty());
}

TEST_F(PackTest, AWriterThatKnowsNoLockLosesNothing) {
  start();
  // While the files are renamed, exmh flags what is 5 by then.
  fs_.after(FsCall::kRename, 6, [&] {
    run("cd Mail/inbox && sed 's/flagged: 20/flagged: 20 5/' .mh_sequences > x && "
        "mv x .mh_sequences");
  });
  const auto moved = client_.pack();
  if (!moved) {
    EXPECT_EQ(ErrorKind::kBusy, moved.error().kind()) << moved.error().message();
  }
  fs_.shift_clocks(kLater);
  sync();
  EXPECT_EQ("cur: 4\nunseen: 2 5\nflagged: 5-6\nmine: 1-5\n", said());
}

TEST_F(PackTest, WhileNmhSitsInItsLockTheHolderIsNamedAndNothingIsDone) {
  start();
  const Fd held(::open(temp_.path("Mail/inbox/.mh_sequences").c_str(), O_RDWR));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(0, ::fcntl(held.get(), F_OFD_SETLK, &lock));
  const auto moved = client_.pack();
  ASSERT_FALSE(moved);
  EXPECT_EQ(ErrorKind::kBusy, moved.error().kind());
  EXPECT_EQ("2 20 3 5 7 8", names());
}

TEST_F(PackTest, StoppedInTheMiddleNothingIsMergedOrSavedUntilTheSequencesAreRight) {
  start();
  // The fourth rename fails, and no write succeeds after that.
  fs_.before(FsCall::kRename, 4, [&] {
    fs_.fail(FsCall::kPwrite, fs_.count(FsCall::kPwrite) + 1, EIO, FaultFs::Times::kFromThenOn);
    fs_.fail(FsCall::kRename, 4, EIO);
  });
  ASSERT_FALSE(client_.pack());
  fs_.reset();
  EXPECT_EQ("1 2 20 3 7 8", names());
  {
    const Fd held(::open(temp_.path("Mail/inbox/.mh_sequences").c_str(), O_RDWR));
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    ASSERT_EQ(0, ::fcntl(held.get(), F_OFD_SETLK, &lock));
    client_.store(1, "\\Flagged", true);
    sync();
    EXPECT_EQ("cur: 7\nunseen: 3 8\nflagged: 20\nmine: 2-8\n", said());
    EXPECT_FALSE(client_.append({{.text = text(7)}})) << "flags of it could not be written";
  }
  client_.events();
  sync();
  EXPECT_EQ("cur: 7\nunseen: 2 8\nflagged: 1 20\nmine: 1-3 7-8\n", said());
  expect_silence();
  EXPECT_TRUE(client_.append({{.text = text(7)}}));
}

TEST_F(PackTest, ABigFolderIsPackedInSlices) {
  constexpr int kMany = 2500;
  for (int i = 1; i <= kMany; ++i) {
    temp_.write("Mail/inbox/" + std::to_string(i + 1), text(i));
  }
  run("touch -d '1 hour ago' Mail/inbox/*");
  temp_.write("Mail/inbox/.mh_sequences", "cur: 2501\nflagged: 2 1000-1010 2400\n");
  fs_.shift_clocks(kLater);
  sync();
  client_.events();
  pack(kMany);
  EXPECT_EQ("cur: 2500\nflagged: 1 999-1009 2399\n", said());
  expect_silence();
}

// ---- New UIDs in the order of the numbers ----------------------------------------------------

TEST_F(PackTest, NewUidsAreInTheOrderOfTheNumbers) {
  start();
  must(client_.adopt_all());
  run("cd Mail/inbox && mv 2 30 && sed -i 's/mine: 2-8/mine: 3-8 30/' .mh_sequences");
  fs_.shift_clocks(kLater);
  sync();
  client_.events();
  const uint32_t validity = client_.uidvalidity();
  const auto ordered = client_.order_by_number();
  ASSERT_TRUE(ordered) << ordered.error().message();
  EXPECT_TRUE(*ordered);
  sync();
  EXPECT_GT(client_.uidvalidity(), validity);
  EXPECT_THAT(client_.uids(), ElementsAre(7, 8, 9, 10, 11, 12)) << "none is that of another day";
  for (uint32_t uid = 7; uid <= 12; ++uid) {
    const int i = uid == 12 ? 1 : static_cast<int>(uid) - 5;
    EXPECT_EQ(text(i), client_.fetch(uid).value_or("")) << uid;
  }
  EXPECT_TRUE(client_.flagged(11, "\\Flagged"));
  EXPECT_FALSE(client_.seen(7));
  EXPECT_TRUE(client_.flagged(12, "mine"));
  must(client_.adopt_all());
  client_.events();
  expect_silence();
  const auto again = client_.order_by_number();
  ASSERT_TRUE(again);
  EXPECT_FALSE(*again);
  expect_silence();
}

TEST_F(PackTest, UidsThatAreInOrderStay) {
  start();
  const auto ordered = client_.order_by_number();
  ASSERT_TRUE(ordered) << ordered.error().message();
  EXPECT_FALSE(*ordered);
  expect_silence();
}

TEST_F(PackTest, AMessageThatLeftBeforeTheNewUidsIsNotThere) {
  start();
  run("cd Mail/inbox && rm 5 && mv 2 30");
  const auto ordered = client_.order_by_number();
  ASSERT_TRUE(ordered) << ordered.error().message();
  EXPECT_TRUE(*ordered);
  sync();
  EXPECT_THAT(client_.uids(), ElementsAre(7, 8, 9, 10, 11));
}

}  // namespace
}  // namespace mh
