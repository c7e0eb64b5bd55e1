// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A folder as a client sees it over time: syncs with changes by others in between, before and after
// the messages bear tags.
#include "libmh/folder/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "libmh/format/tag-line.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::FolderClient;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string mail(const std::string& subject) {
  return "From: somebody@example.org\nSubject: " + subject + "\n\nThis is " + subject + ".\n";
}

// The parameter: whether the messages have been given tags before anything happens to them.
class FolderTest : public ::testing::TestWithParam<bool> {
 protected:
  FolderTest() : client_(fs_, temp_.path("Mail"), "inbox") {
    run("mkdir -p " + temp_.path("Mail/inbox"));
  }

  std::string at(const std::string& name) const { return temp_.path("Mail/inbox/" + name); }
  void put(const std::string& name, const std::string& text) {
    std::ofstream(at(name), std::ios::binary) << text;
    // Old enough that nobody is thought to be writing it still.
    run("touch -d '1 hour ago' " + at(name));
  }
  std::string read(const std::string& name) const {
    std::ifstream file(at(name), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void run(const std::string& command) {
    ASSERT_EQ(0, std::system(("cd " + temp_.path() + " && " + command).c_str())) << command;
  }
  void in_folder(const std::string& command) { run("cd Mail/inbox && " + command); }
  void sync() {
    const Status done = client_.sync();
    ASSERT_TRUE(done) << done.error().message();
  }
  // Four messages, known to the client and, if so asked, tagged.
  void start() {
    for (int i = 1; i <= 4; ++i) put(std::to_string(i), mail("message " + std::to_string(i)));
    put_sequences("unseen: 2\nflagged: 3\n");
    sync();
    if (GetParam()) {
      const Status done = client_.adopt_all();
      ASSERT_TRUE(done) << done.error().message();
      ASSERT_THAT(read("1"), ::testing::StartsWith("X-MH-UID: "));
    }
    client_.events();
    EXPECT_THAT(client_.violations(), IsEmpty());
  }
  void put_sequences(const std::string& text) { std::ofstream(at(".mh_sequences")) << text; }
  std::string sequences() const { return read(".mh_sequences"); }
  // After the client has looked: nothing wrong, and a second look finds nothing new.
  void expect_sane() {
    EXPECT_THAT(client_.violations(), IsEmpty());
    client_.events();
    sync();
    EXPECT_THAT(client_.events(), IsEmpty()) << "the second sync had something to tell";
  }
  std::string bytes(uint32_t uid) {
    const auto text = client_.fetch(uid);
    return text ? *text : "ERROR " + text.error().message();
  }

  test::TempDir temp_;
  test::FaultFs fs_;
  FolderClient client_;
};

INSTANTIATE_TEST_SUITE_P(Untagged, FolderTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Tagged, FolderTest, ::testing::Values(true));

TEST_P(FolderTest, ShowsWhatIsThere) {
  start();
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(mail("message 3"), bytes(3));
  EXPECT_FALSE(client_.seen(2));
  EXPECT_TRUE(client_.seen(3));
  EXPECT_TRUE(client_.flagged(3, "\\Flagged"));
  EXPECT_EQ("unseen: 2\nflagged: 3\n", sequences());
  expect_sane();
}

TEST_P(FolderTest, NothingOfOursLiesInTheFolder) {
  start();
  in_folder("test \"$(ls -A | sort | tr '\\n' ' ')\" = '.mh_sequences 1 2 3 4 '");
}

TEST_P(FolderTest, PackKeepsUidsAndTellsNothing) {
  start();
  in_folder("rm 1 2");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 1", "EXPUNGE 2"));
  in_folder("mv 3 1 && mv 4 2 && printf 'flagged: 1\\n' > .mh_sequences");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(mail("message 4"), bytes(4));
  EXPECT_EQ(3u, client_.uid_of(1));
  expect_sane();
}

TEST_P(FolderTest, MoveByHandCarriesTheFlags) {
  start();
  in_folder("mv 3 50");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_THAT(sequences(), ::testing::StartsWith("unseen: 2\nflagged: 50"));
  expect_sane();
}

TEST_P(FolderTest, SwapKeepsUids) {
  start();
  in_folder("mv 1 x && mv 3 1 && mv x 3");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(mail("message 1"), bytes(1));
  EXPECT_EQ(mail("message 3"), bytes(3));
  EXPECT_EQ(3u, client_.uid_of(1));
  expect_sane();
}

TEST_P(FolderTest, FetchAfterASwapThatNoSyncHasSeenGivesTheRightMessage) {
  start();
  in_folder("mv 1 x && mv 3 1 && mv x 3");
  EXPECT_EQ(mail("message 1"), bytes(1));
  EXPECT_EQ(mail("message 3"), bytes(3));
  sync();
  expect_sane();
}

TEST_P(FolderTest, NewMessageGetsTheNextUid) {
  start();
  put("5", mail("five"));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  EXPECT_FALSE(client_.seen(5));
  expect_sane();
}

TEST_P(FolderTest, RemovedAndMadeAgainIsAnotherMessage) {
  start();
  in_folder("rm 2");
  put("2", mail("another"));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5", "EXPUNGE 2"));
  EXPECT_EQ(mail("another"), bytes(5));
  expect_sane();
}

TEST_P(FolderTest, EditInPlaceGivesANewUidAndKeepsFlags) {
  start();
  put("3", read("3") + "P.S. more\n");
  EXPECT_THAT(bytes(3), ::testing::StartsWith("ERROR")) << "from the first open on";
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5", "EXPUNGE 3"));
  EXPECT_EQ(mail("message 3") + "P.S. more\n", bytes(5));
  EXPECT_TRUE(client_.flagged(5, "\\Flagged"));
  EXPECT_TRUE(client_.seen(5));
  expect_sane();
}

TEST_P(FolderTest, EditOfTheSameLengthIsNeverServedUnderTheOldUid) {
  start();
  in_folder("sed 's/This/THIS/' 3 > x && cat x > 3 && rm x");
  EXPECT_THAT(bytes(3), ::testing::StartsWith("ERROR"));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5", "EXPUNGE 3"));
  expect_sane();
}

TEST_P(FolderTest, SedGivesANewUid) {
  start();
  in_folder("sed -i 's/This/That/' 3");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5", "EXPUNGE 3"));
  expect_sane();
}

TEST_P(FolderTest, AnnotationInPlaceShowsNoChangeButTheFlag) {
  start();
  in_folder("{ echo 'Replied: Mon, 23 Nov 2026 03:00:00 +0000'; cat 1; } > x && cat x > 1 && rm x");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("FLAGS 1 +\\Answered"));
  EXPECT_EQ(mail("message 1"), bytes(1));
  client_.store(1, "\\Answered", false);
  sync();
  EXPECT_FALSE(client_.flagged(1, "\\Answered")) << "an annotation sets the flag once";
  expect_sane();
}

TEST_P(FolderTest, AnnotationByANewFileShowsNoChangeButTheFlag) {
  start();
  in_folder("{ echo 'Forwarded: to you'; cat 1; } > x && mv 1 ,1 && mv x 1");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("FLAGS 1 +$Forwarded"));
  EXPECT_EQ(mail("message 1"), bytes(1));
  expect_sane();
}

TEST_P(FolderTest, TouchAndChmodShowNothing) {
  start();
  in_folder("touch -d '2 days ago' 1 && chmod 400 2");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  expect_sane();
}

TEST_P(FolderTest, RestoreByCopyShowsNothing) {
  start();
  run("cp -a Mail/inbox backup && rm Mail/inbox/[1-4] && cp -a backup/[1-4] Mail/inbox/");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(mail("message 4"), bytes(4));
  expect_sane();
}

TEST_P(FolderTest, CopyIsAMessageOfItsOwn) {
  start();
  in_folder("cp -p 2 9");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  EXPECT_EQ(mail("message 2"), bytes(5));
  EXPECT_EQ(2u, client_.uid_of(2));
  expect_sane();
}

TEST_P(FolderTest, SecondNameIsAMessageOfItsOwn) {
  start();
  in_folder("ln 2 9");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  EXPECT_EQ(2u, client_.uid_of(2));
  EXPECT_EQ(5u, client_.uid_of(9));
  expect_sane();
}

TEST_P(FolderTest, UndeletedMessageIsNewAndHasItsFlagsBack) {
  start();
  in_folder("mv 3 ,3 && printf 'unseen: 2\\n' > .mh_sequences");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 3"));
  in_folder("mv ,3 3");
  sync();
  EXPECT_THAT(client_.events(), ::testing::Contains("EXISTS 5"));
  EXPECT_TRUE(client_.flagged(5, "\\Flagged"));
  expect_sane();
}

TEST_P(FolderTest, FlagsGoToTheSequences) {
  start();
  client_.store(2, "\\Seen", true);
  client_.store(4, "\\Answered", true);
  client_.store(4, "mine", true);
  sync();
  EXPECT_THAT(sequences(), ::testing::HasSubstr("replied: 4\n"));
  EXPECT_THAT(sequences(), ::testing::HasSubstr("mine: 4\n"));
  EXPECT_THAT(sequences(), ::testing::Not(::testing::HasSubstr("unseen: 2")));
  expect_sane();
}

TEST_P(FolderTest, FlagsComeFromTheSequences) {
  start();
  put_sequences("unseen: 4\nflagged: 3\nmine: 1\n");
  sync();
  EXPECT_THAT(client_.events(), ::testing::UnorderedElementsAre(
                                    "FLAGS 2 +\\Seen", "FLAGS 4 -\\Seen", "FLAGS 1 +mine"));
  expect_sane();
}

TEST_P(FolderTest, JournalKnowsWhichArrivalsNobodyHasDecidedAbout) {
  start();
  EXPECT_EQ(NumberSet(), client_.folder().undecided()) << "what is there at first is no arrival";
  put("5", mail("five"));
  put("6", mail("six"));
  sync();
  EXPECT_EQ((NumberSet{5, 6}), client_.folder().undecided());
  put_sequences("unseen: 2 6\nflagged: 3\n");
  client_.reopen();
  sync();
  EXPECT_EQ(NumberSet(), client_.folder().undecided());
  expect_sane();
}

TEST_P(FolderTest, BackupRestoredTwiceGivesNoUidTwice) {
  start();
  run("cp -a Mail/.mhsync yesterday");
  const auto restore = [&] {
    run("rm -r Mail/.mhsync && cp -a yesterday Mail/.mhsync");
    client_.reopen();
  };
  restore();
  for (const char* number : {"5", "6", "7"}) put(number, mail(number));
  sync();
  ASSERT_TRUE(client_.adopt_all());
  sync();
  const uint32_t validity = client_.uidvalidity();
  EXPECT_LE(1u << 20, client_.uid_of(7));
  in_folder("rm 6");
  sync();
  fs_.shift_clocks(kSecond);  // no more than one message was given a UID each second
  restore();
  put("8", mail("eight"));
  sync();
  EXPECT_LT(validity, client_.uidvalidity()) << "the tag of 7 tells";
  expect_sane();
}

TEST_P(FolderTest, LossOfTheStoreChangesNothing) {
  start();
  run("rm -f Mail/.mhsync/*/store.db");
  client_.reopen();
  in_folder("mv 4 44");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(mail("message 4"), bytes(4));
  expect_sane();
}

TEST_P(FolderTest, LossOfTheJournalKeepsUidvalidityAndNeverReusesAUid) {
  start();
  const uint32_t validity = client_.uidvalidity();
  run("rm Mail/.mhsync/*/journal");
  client_.reopen();
  put("5", mail("five"));
  sync();
  EXPECT_EQ(validity, client_.uidvalidity());
  const std::vector<uint32_t> uids = client_.uids();
  ASSERT_FALSE(uids.empty());
  EXPECT_LE(1u << 20, uids.back()) << "what the lost journal gave out is jumped over";
  EXPECT_EQ(GetParam(), uids.front() == 1) << "a tag tells its UID";
  expect_sane();
}

TEST_P(FolderTest, LossOfAllStateGivesANewUidvalidity) {
  start();
  const uint32_t validity = client_.uidvalidity();
  run("rm -r Mail/.mhsync");
  fs_.shift_clocks(kSecond);  // nothing else tells what was given before
  client_.reopen();
  client_.lose_index();  // it lies in there as well
  sync();
  EXPECT_LT(validity, client_.uidvalidity());
  expect_sane();
}

TEST_P(FolderTest, RestoredJournalJumps) {
  start();
  run("cp -a Mail/.mhsync/*/journal yesterday");
  put("5", mail("five"));
  sync();
  in_folder("rm 5");
  sync();
  run("rm Mail/.mhsync/*/journal && cp -a yesterday $(echo Mail/.mhsync/*/)journal");
  client_.reopen();
  put("6", mail("six"));
  sync();
  EXPECT_LE(1u << 20, client_.uid_of(6));
  expect_sane();
}

TEST_P(FolderTest, JumpIsNotForgottenWithTheNextWrite) {
  start();
  run("cp -a Mail/.mhsync/*/journal yesterday");
  run("rm Mail/.mhsync/*/journal && cp -a yesterday $(echo Mail/.mhsync/*/)journal");
  client_.reopen();
  in_folder("mv 4 44");
  sync();  // writes, but gives out no UID
  client_.reopen();
  put("50", mail("fifty"));
  sync();
  EXPECT_LE(1u << 20, client_.uid_of(50));
  expect_sane();
}

TEST_P(FolderTest, EverythingAtOnceIsSortedOut) {
  start();
  in_folder("mv 1 10 && rm 2 && sed -i 's/This/That/' 3 && mv 4 1");
  put("2", mail("another two"));
  put("11", mail("eleven"));
  sync();
  EXPECT_EQ(1u, client_.uid_of(10));
  EXPECT_EQ(4u, client_.uid_of(1));
  EXPECT_EQ(mail("another two"), bytes(client_.uid_of(2)));
  expect_sane();
}

TEST_P(FolderTest, ForceResyncKeepsEverything) {
  start();
  ASSERT_TRUE(client_.sync(true));
  EXPECT_THAT(client_.events(), IsEmpty());
  expect_sane();
}

TEST_P(FolderTest, UnreadableMessageIsKept) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read anything";
  start();
  in_folder("chmod 000 2");
  client_.reopen();
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  in_folder("chmod 600 2");
  sync();
  EXPECT_EQ(mail("message 2"), bytes(2));
  expect_sane();
}

class AdoptionTest : public FolderTest {};
INSTANTIATE_TEST_SUITE_P(Tagged, AdoptionTest, ::testing::Values(true));

TEST_P(AdoptionTest, LeavesTheMessageTheTimesAndTheMode) {
  put("1", mail("one"));
  in_folder("chmod 640 1 && touch -d '2001-02-03 04:05:06' 1");
  sync();
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_EQ(mail("one"), read("1").substr(kTagLineSize));
  struct stat st {};
  ASSERT_EQ(0, stat(at("1").c_str(), &st));
  EXPECT_EQ(0640u, st.st_mode & 0777u);
  in_folder("test \"$(date -d @$(stat -c %Y 1) +%Y-%m-%dT%H:%M:%S)\" = 2001-02-03T04:05:06");
  expect_sane();
}

TEST_P(AdoptionTest, TellsTheClientNothing) {
  put("1", mail("one"));
  sync();
  client_.events();
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(mail("one"), bytes(1));
}

TEST_P(AdoptionTest, KeepsTheFromLineFirst) {
  put("1", "From somebody Mon Nov 23 03:00:00 2026\n" + mail("one"));
  sync();
  EXPECT_EQ(mail("one"), bytes(1));
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_THAT(read("1"),
              ::testing::StartsWith("From somebody Mon Nov 23 03:00:00 2026\nX-MH-UID:"));
  EXPECT_EQ(mail("one"), bytes(1));
  expect_sane();
}

TEST_P(AdoptionTest, NeverStacksTags) {
  put("1", mail("one"));
  sync();
  ASSERT_TRUE(client_.adopt_all());
  run("mkdir Mail/other && mv Mail/inbox/1 Mail/other/1");
  FolderClient other(Fs::posix(), temp_.path("Mail"), "other");
  ASSERT_TRUE(other.sync());
  ASSERT_TRUE(other.adopt_all());
  std::ifstream file(temp_.path("Mail/other/1"));
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(kTagLineSize + mail("one").size(), text.str().size());
  const auto shown = other.fetch(1);
  ASSERT_TRUE(shown);
  EXPECT_EQ(mail("one"), *shown);
}

TEST_P(AdoptionTest, PartsHardLinksAndLeavesTheOtherAlone) {
  put("1", mail("one"));
  run("ln Mail/inbox/1 elsewhere");
  sync();
  ASSERT_TRUE(client_.adopt_all());
  std::ifstream file(temp_.path("elsewhere"));
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(mail("one"), text.str());
}

// By a name elsewhere that goes: the directory shows nothing of it.
TEST_P(AdoptionTest, TagsAMessageWhoseChangeTimeMovedUnseen) {
  put("1", mail("one"));
  run("ln Mail/inbox/1 elsewhere");
  sync();
  run("rm elsewhere");
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_EQ(mail("one"), read("1")) << "whoever moved it may have been a writer";
  client_.reopen();
  sync();
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_EQ(mail("one"), read("1").substr(kTagLineSize));
  expect_sane();
}

TEST_P(AdoptionTest, WaitsForAWriter) {
  put("1", mail("one"));
  sync();
  std::ofstream writer(at("1"), std::ios::app);
  (void)client_.folder().adopt(100, kSecond);
  writer << "more\n" << std::flush;
  writer.close();
  EXPECT_EQ(mail("one") + "more\n", read("1"));
}

TEST_P(AdoptionTest, StopsWhereAnotherProgramTakesTheTagsAway) {
  for (int i = 1; i <= 4; ++i) put(std::to_string(i), mail("message " + std::to_string(i)));
  sync();
  ASSERT_TRUE(client_.adopt_all());
  client_.events();
  in_folder("for i in 1 2 3 4; do tail -c +" + std::to_string(kTagLineSize + 1) +
            " $i > x && cat x > $i; done; rm x");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  ASSERT_TRUE(client_.adopt_all());
  EXPECT_EQ(mail("message 1"), read("1"));
  EXPECT_EQ(1, std::count_if(client_.warnings().begin(), client_.warnings().end(),
                             [](const std::string& line) {
                               return line.find("no more are written here") != std::string::npos;
                             }));
}

// Four messages are a big folder here, and the pass over the directory is due at the next sync.
class BigFolderTest : public FolderTest {
 protected:
  BigFolderTest() {
    client_.settings.big_folder = 4;
    client_.settings.pass_delay = 0;
  }
};

INSTANTIATE_TEST_SUITE_P(Untagged, BigFolderTest, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Tagged, BigFolderTest, ::testing::Values(true));

TEST_P(BigFolderTest, ArrivalsComeFirstAndAllElseWithThePass) {
  start();
  put("6", mail("message 6"));
  in_folder("rm 2 && mv 3 2 && printf 'unseen: 6\\nflagged: 2\\n' > .mh_sequences");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  EXPECT_EQ(mail("message 6"), bytes(5));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 2"));
  EXPECT_FALSE(client_.seen(5));
  EXPECT_TRUE(client_.flagged(3, "\\Flagged"));
  EXPECT_EQ(mail("message 3"), bytes(3));
  expect_sane();
}

TEST_P(BigFolderTest, AFlagWaitsForThePass) {
  start();
  put("5", mail("message 5"));
  client_.store(1, "\\Flagged", true);
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5", "FLAGS 1 +\\Flagged"));
  EXPECT_EQ("unseen: 2\nflagged: 3\n", sequences());
  sync();
  EXPECT_THAT(sequences(), ::testing::HasSubstr("flagged: 1 3\n"));
  EXPECT_THAT(client_.events(), IsEmpty());
  expect_sane();
}

TEST_P(BigFolderTest, AMessageThatMovedToTheNextNumberIsNoArrival) {
  start();
  in_folder("mv 2 5");
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(2u, client_.uid_of(5));
  expect_sane();
}

TEST_P(BigFolderTest, ThePassIsNotDueBeforeItsTime) {
  client_.settings.pass_delay = 3600 * kSecond;
  start();
  put("5", mail("message 5"));  // before the removal: it must not get that inode
  in_folder("rm 1");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  sync();
  EXPECT_THAT(client_.events(), IsEmpty());
  // Another change that is no arrival is not put off.
  in_folder("rm 3");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 1", "EXPUNGE 3"));
  expect_sane();
}

TEST_P(BigFolderTest, WhatArrivedAndWentBeforeThePassIsExpunged) {
  start();
  put("5", mail("message 5"));
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXISTS 5"));
  in_folder("rm 5");
  sync();
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 5"));
  expect_sane();
}

}  // namespace
}  // namespace mh
