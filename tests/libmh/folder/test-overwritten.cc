// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a program that locks nothing undoes is put back; what it means is not.
#include "libmh/folder/overwritten.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using ::testing::IsEmpty;

TEST(SequencesWriteTest, IsReadBackAsItWasWritten) {
  const SequencesWrite write = {5 * kSecond, true, 17, 3 * kSecond, "a: 1\n", "a: 1-2\n"};
  const PendingSequences printed = print_sequences_write(write);
  const std::string text = printed.head + printed.before + printed.after;
  const auto read = parse_sequences_write(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(write.at, read->at);
  EXPECT_TRUE(read->mended);
  EXPECT_EQ(17u, read->inode);
  EXPECT_EQ(write.birth, read->birth);
  EXPECT_EQ("a: 1\n", read->before);
  EXPECT_EQ("a: 1-2\n", read->after);
  EXPECT_FALSE(parse_sequences_write(text.substr(0, 79)));
  EXPECT_FALSE(parse_sequences_write(std::string(80, 'f')));
  EXPECT_FALSE(parse_sequences_write(""));
}

// A client of ours, one of another process that shares its index, and exmh.
class OverwrittenTest : public ::testing::Test {
 protected:
  OverwrittenTest() : client_(fs_, temp_.path("Mail"), "inbox") {
    temp_.make_dir("Mail");
    temp_.make_dir("Mail/inbox");
    fs_.sleep_in_no_time();
    for (int i = 1; i <= 4; ++i) {
      temp_.write("Mail/inbox/" + std::to_string(i), "Subject: " + std::to_string(i) + "\n\n.\n");
      run("touch -d '1 hour ago' Mail/inbox/" + std::to_string(i));
    }
    temp_.write("Mail/inbox/.mh_sequences", "unseen: 2\nflagged: 3\n");
    client_.keep_index_in(temp_.path("index"));
    must(client_.sync());
  }

  void run(const std::string& command) {
    ASSERT_EQ(0, std::system(("cd " + temp_.path() + " && " + command).c_str())) << command;
  }
  static void must(const Status& done) {
    if (!done) ADD_FAILURE() << done.error().message();
  }
  void store(uint32_t uid, const std::string& flag, bool on) {
    client_.store(uid, flag, on);
    must(client_.sync());
  }
  Sequences text() const { return Sequences::parse(temp_.read("Mail/inbox/.mh_sequences")); }
  std::string in(const std::string& name) const {
    const Sequences all = text();
    const NumberSet* found = all.find(name);
    return found == nullptr ? "" : found->print_uids();
  }
  // As exmh, mutt and Claws do.
  void rename_over(const Sequences& sequences) {
    temp_.write("Mail/inbox/.mh_sequences.new", sequences.print());
    run("mv Mail/inbox/.mh_sequences.new Mail/inbox/.mh_sequences");
  }
  // It looks after a moment, for whoever stores is not the one who finds out.
  FolderClient other() {
    FolderClient client(fs_, temp_.path("Mail"), "inbox");
    client.keep_index_in(temp_.path("index"));
    return client;
  }

  test::TempDir temp_;
  FaultFs fs_;
  FolderClient client_;
};

TEST_F(OverwrittenTest, AFlagStoredWhileItHeldAnOlderVersionIsPutBack) {
  Sequences held = text();
  store(1, "\\Flagged", true);
  store(3, "\\Flagged", false);
  store(4, "work", true);
  held.set("unseen").remove(2);
  held.set_cur(2);
  rename_over(held);
  FolderClient second = other();
  must(second.sync());
  EXPECT_EQ("1", in("flagged"));
  EXPECT_EQ("4", in("work"));
  EXPECT_EQ("", in("unseen")) << "what it did itself stays done";
  EXPECT_TRUE(second.flagged(1, "\\Flagged"));
  EXPECT_FALSE(second.flagged(3, "\\Flagged"));
  EXPECT_TRUE(second.flagged(4, "work"));
  EXPECT_TRUE(second.seen(2));
}

TEST_F(OverwrittenTest, WhatItReadAfterTheFirstOfTwoChangesLacksTheSecond) {
  store(1, "\\Flagged", true);
  Sequences held = text();
  store(2, "\\Flagged", true);
  held.set("seenbyx").add(4);
  rename_over(held);
  must(other().sync());
  EXPECT_EQ("1-3", in("flagged"));
  EXPECT_EQ("4", in("seenbyx"));
}

TEST_F(OverwrittenTest, OnlyOnceForWhoeverTakesItAwayAgainMeansIt) {
  const Sequences held = text();
  store(1, "\\Flagged", true);
  rename_over(held);
  must(client_.sync());
  ASSERT_EQ("1,3", in("flagged"));
  rename_over(held);
  must(client_.sync());
  EXPECT_EQ("3", in("flagged"));
  EXPECT_FALSE(client_.flagged(1, "\\Flagged"));
}

TEST_F(OverwrittenTest, WhatIsWrittenInPlaceIsMeant) {
  const Sequences held = text();
  store(1, "\\Flagged", true);
  temp_.write("Mail/inbox/.mh_sequences", held.print());
  must(client_.sync());
  EXPECT_EQ("3", in("flagged"));
}

TEST_F(OverwrittenTest, WhatIsWrittenMuchLaterIsMeant) {
  const Sequences held = text();
  store(1, "\\Flagged", true);
  temp_.write("Mail/inbox/.mh_sequences.new", held.print());
  run("touch -d '10 seconds' Mail/inbox/.mh_sequences.new");
  run("mv Mail/inbox/.mh_sequences.new Mail/inbox/.mh_sequences");
  must(client_.sync());
  EXPECT_EQ("3", in("flagged"));
}

// Its numbers are not those of the version that would be carried on.
TEST_F(OverwrittenTest, NothingIsPutBackAfterMessagesWereRenumbered) {
  store(4, "\\Flagged", true);
  Sequences held = text();
  store(3, "\\Answered", true);
  run("mv Mail/inbox/3 Mail/inbox/9");
  must(client_.sync());
  ASSERT_EQ("9", in("replied"));
  held.set("flagged").remove(3);
  held.set("flagged").add(9);
  rename_over(held);
  must(client_.sync());
  EXPECT_EQ("", in("replied"));
  EXPECT_EQ("4,9", in("flagged"));
}

// What is saved next finds the older version, too.
TEST_F(OverwrittenTest, ASaveDoesNotMakeItGood) {
  const Sequences held = text();
  store(1, "\\Flagged", true);
  rename_over(held);
  FolderClient::Mail mail;
  mail.text = "Subject: 5\n\n.\n";
  ASSERT_TRUE(client_.append({mail}));
  must(client_.sync());
  EXPECT_EQ("1,3", in("flagged"));
  EXPECT_EQ("2,6", in("unseen")) << "a number further, for the file is new";
  EXPECT_THAT(client_.violations(), IsEmpty());
}

}  // namespace
}  // namespace mh
