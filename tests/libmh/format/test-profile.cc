// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/profile.h"

#include <gtest/gtest.h>

namespace mh {
namespace {

using Names = std::vector<std::string>;

TEST(Profile, WithoutOneEverythingHasNmhsDefault) {
  const Profile none;
  EXPECT_EQ(none.path(), "");
  EXPECT_EQ(none.inbox(), "inbox");
  EXPECT_EQ(none.draft_folder(), "");
  EXPECT_EQ(none.unseen_sequences(), Names{"unseen"});
  EXPECT_FALSE(none.unseen_configured());
  EXPECT_TRUE(none.previous_sequences().empty());
  EXPECT_EQ(none.sequence_negation(), "");
  EXPECT_EQ(none.sequences_file(), ".mh_sequences");
  EXPECT_EQ(none.context_file(), "context");
  EXPECT_EQ(none.msg_protect(), 0600u);
  EXPECT_EQ(none.folder_protect(), 0700u);
  EXPECT_EQ(none.datalocking(), DataLocking::kFcntl);
}

TEST(Profile, TellsWhatIsSet) {
  const Profile profile = Profile::parse(
      "#: my profile\nPath: Mail\nINBOX: in\ndraft-folder: +drafts\n"
      "Unseen-Sequence: unseen\n\tneu\nprevious-sequence: pseq last2\nSequence-Negation: not\n"
      "mh-sequences: .seq\ncontext: ctx\nMsg-Protect: 644\nFolder-Protect: 0755\n"
      "DataLocking: LockF\n");
  EXPECT_TRUE(profile.problems().empty());
  EXPECT_EQ(profile.path(), "Mail");
  EXPECT_EQ(profile.inbox(), "in");
  EXPECT_EQ(profile.draft_folder(), "drafts");
  EXPECT_EQ(profile.unseen_sequences(), (Names{"unseen", "neu"}));
  EXPECT_TRUE(profile.unseen_configured());
  EXPECT_EQ(profile.previous_sequences(), (Names{"pseq", "last2"}));
  EXPECT_EQ(profile.sequence_negation(), "not");
  EXPECT_EQ(profile.sequences_file(), ".seq");
  EXPECT_EQ(profile.context_file(), "ctx");
  EXPECT_EQ(profile.msg_protect(), 0644u);
  EXPECT_EQ(profile.folder_protect(), 0755u);
  EXPECT_EQ(profile.datalocking(), DataLocking::kLockf);
  ASSERT_NE(profile.find("PATH"), nullptr);
  EXPECT_EQ(profile.find("nothing"), nullptr);
  EXPECT_EQ(profile.components().size(), 12u);
}

TEST(Profile, TheFirstOfTwoHoldsAndTheContextComesLast) {
  Profile profile = Profile::parse("Inbox: a\ninbox: b\n#: x\n#: y\n");
  EXPECT_EQ(profile.inbox(), "a");
  EXPECT_EQ(profile.problems(), Names{"\"inbox\" is there twice: the first holds"});
  profile.append(Profile::parse("Inbox: c\nDraft-Folder: d\n\nx: y\n"));
  EXPECT_EQ(profile.inbox(), "a");
  EXPECT_EQ(profile.draft_folder(), "d");
  EXPECT_EQ(profile.problems().size(), 2u);
}

// Measured: "Mh-Sequences: foo" is passed over, of two the second is used.
TEST(Profile, TheNamesOfTheTwoFilesAreFoundAsNmhFindsThem) {
  const Profile profile = Profile::parse(
      "Mh-Sequences: foo\nmh-sequences: foo2\nmh-sequences: bar\n"
      "Context: c1\ncontext: c2\ncontext: c3\n");
  EXPECT_EQ(profile.sequences_file(), "bar");
  EXPECT_EQ(profile.context_file(), "c3");
  EXPECT_EQ(Profile::parse("Mh-Sequences: foo\n").sequences_file(), ".mh_sequences");
  EXPECT_EQ(Profile::parse("mh-sequences:\n").sequences_file(), "");
}

TEST(Profile, EmptyValuesAreDefaults) {
  const Profile profile = Profile::parse(
      "Inbox:\nUnseen-Sequence:\nMsg-Protect:\nFolder-Protect:\nSequence-Negation:\n");
  EXPECT_EQ(profile.inbox(), "inbox");
  EXPECT_EQ(profile.unseen_sequences(), Names{"unseen"});
  EXPECT_FALSE(profile.unseen_configured());
  EXPECT_EQ(profile.msg_protect(), 0600u);
  EXPECT_EQ(profile.folder_protect(), 0700u);
}

// Measured: with "Inbox: +other" nmh works on a folder named "+other".
TEST(Profile, FolderNamesAreReadAsNmhReadsThem) {
  EXPECT_EQ(Profile::parse("Inbox: +other\n").inbox(), "+other");
  EXPECT_EQ(Profile::parse("Draft-Folder: +d\n").draft_folder(), "d");
  EXPECT_EQ(Profile::parse("Draft-Folder: d\n").draft_folder(), "d");
  EXPECT_EQ(Profile::parse("Draft-Folder: @d\n").draft_folder(), "@d");
}

TEST(Profile, ModesAreTheOctalDigitsAtTheStart) {
  EXPECT_EQ(Profile::parse("Msg-Protect: 0640x\n").msg_protect(), 0640u);
  EXPECT_EQ(Profile::parse("Msg-Protect: 0\n").msg_protect(), 0u);
  EXPECT_EQ(Profile::parse("Msg-Protect: rw\n").msg_protect(), 0600u);
  EXPECT_EQ(Profile::parse("Msg-Protect: 9\n").msg_protect(), 0600u);
  EXPECT_EQ(Profile::parse("Msg-Protect: 777777777777777600\n").msg_protect(), 07600u);
}

TEST(Profile, LockingIsOneOfFourWordsInAnyCase) {
  EXPECT_EQ(Profile::parse("datalocking: DOT\n").datalocking(), DataLocking::kDot);
  EXPECT_EQ(Profile::parse("datalocking: flock\n").datalocking(), DataLocking::kFlock);
  EXPECT_EQ(Profile::parse("datalocking: fcntl\n").datalocking(), DataLocking::kFcntl);
  const Profile unknown = Profile::parse("datalocking: lock\n");
  EXPECT_EQ(unknown.datalocking(), DataLocking::kFcntl);
  EXPECT_EQ(unknown.problems().size(), 1u);
}

TEST(Profile, ABadProfileHoldsInItsGoodLines) {
  const Profile profile = Profile::parse("Path: Mail\n\n# remark\nInbox: in\n");
  EXPECT_EQ(profile.path(), "Mail");
  EXPECT_EQ(profile.inbox(), "in");
  EXPECT_EQ(profile.problems().size(), 2u);
}

}  // namespace
}  // namespace mh
