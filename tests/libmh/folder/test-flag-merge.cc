// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flags between the sequences file and the index, when both may have changed and numbers moved.
#include "libmh/folder/flag-merge.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace mh {
namespace {

FlagMap make_map(std::vector<std::string> unseen = {"unseen"}) {
  FlagOptions options;
  options.unseen_names = std::move(unseen);
  auto map = FlagMap::make(options);
  EXPECT_TRUE(map) << map.error().message();
  return std::move(*map);
}

FlagChange system_change(SystemFlag flag, NumberSet add, NumberSet remove = {}) {
  FlagChange change;
  change.flag = flag;
  change.add = std::move(add);
  change.remove = std::move(remove);
  return change;
}

FlagChange keyword_change(const std::string& keyword, NumberSet add, NumberSet remove = {}) {
  FlagChange change;
  change.keyword = keyword;
  change.add = std::move(add);
  change.remove = std::move(remove);
  return change;
}

// A folder seen from both sides. Messages 1, 2, 3 with the UIDs 11, 12, 13; all seen.
class FlagMergeTest : public ::testing::Test {
 protected:
  FlagMergeTest() : map_(make_map()) {
    input_.map = &map_;
    input_.messages = {{11, 1, 1}, {12, 2, 2}, {13, 3, 3}};
    file_is("");
    agreed();
  }

  void file_is(const std::string& text) {
    file_ = Sequences::parse(text);
    input_.file = &file_;
  }
  // What the file says now is what both sides knew at the last merge.
  void agreed() {
    FlagMergeInput first = input_;
    first.memory = {};
    const FlagMergeOutput output = merge_flags(first);
    input_.memory = output.memory;
  }
  FlagMergeOutput merge() {
    FlagMergeOutput output = merge_flags(input_);
    written_ = output.to_file ? output.to_file->print() : "(unchanged)";
    told_.clear();
    for (const FlagChange& change : output.to_index) {
      const std::string name =
          change.keyword.empty() ? std::to_string(change.flag) : change.keyword;
      told_[name] = "+" + change.add.print_uids() + " -" + change.remove.print_uids();
    }
    return output;
  }
  static std::string flag(SystemFlag flag) { return std::to_string(flag); }

  FlagMap map_;
  Sequences file_;
  FlagMergeInput input_;
  std::string written_;
  std::map<std::string, std::string> told_;
};

TEST_F(FlagMergeTest, NothingChangedTellsNobody) {
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, FirstSightBelievesTheFile) {
  file_is("unseen: 2\nflagged: 1-2\nmine: 3\n");
  input_.memory = {};
  input_.base.unseen = {11, 12, 13};  // the index is new: nothing is \Seen in it
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+11,13 -", told_[flag(kSeen)]);
  EXPECT_EQ("+11-12 -", told_[flag(kFlagged)]);
  EXPECT_EQ("+13 -", told_["mine"]);
}

TEST_F(FlagMergeTest, ChangeOfTheFileGoesToTheIndex) {
  file_is("flagged: 2\n");
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+12 -", told_[flag(kFlagged)]);
}

TEST_F(FlagMergeTest, CurTellsNobody) {
  file_is("cur: 2\n");
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, PendingGoesToTheFileAndLeavesTheRest) {
  file_is("cur: 2\nmine: 1 3\n");
  input_.base.keywords["mine"] = {11, 13};
  agreed();
  input_.pending = {system_change(kFlagged, {12}), keyword_change("mine", {}, {13})};
  merge();
  EXPECT_EQ("cur: 2\nmine: 1\nflagged: 2\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, SeenTakesTheMessageOutOfEveryUnseenSequence) {
  map_ = make_map({"unseen", "todo"});
  file_is("unseen: 1-2\ntodo: 1\n");
  input_.base.unseen = {11, 12};
  agreed();
  input_.pending = {system_change(kSeen, {11})};
  merge();
  EXPECT_EQ("unseen: 2\n", written_);
}

TEST_F(FlagMergeTest, BothSidesChangeDifferentMessages) {
  file_is("flagged: 1\n");
  input_.pending = {system_change(kFlagged, {13})};
  merge();
  EXPECT_EQ("flagged: 1 3\n", written_);
  EXPECT_EQ("+11 -", told_[flag(kFlagged)]);
}

TEST_F(FlagMergeTest, PendingWinsOverTheFile) {
  file_is("flagged: 1\n");
  input_.base.flagged = {11};
  agreed();
  file_is("");
  input_.pending = {system_change(kFlagged, {11})};
  merge();
  EXPECT_EQ("flagged: 1\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, LaterPendingChangeWins) {
  input_.pending = {system_change(kFlagged, {11}), system_change(kFlagged, {}, {11})};
  merge();
  EXPECT_EQ("(unchanged)", written_);
}

TEST_F(FlagMergeTest, BaseWithPendingAppliedGivesTheSame) {
  input_.base.flagged = {12};
  input_.pending = {system_change(kFlagged, {12})};
  merge();
  EXPECT_EQ("flagged: 2\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, KeywordThatCanBeNoSequenceStaysInTheIndex) {
  const std::string endless(2000, 'k');
  input_.base.keywords[endless] = {11};
  merge();
  EXPECT_TRUE(told_.empty());
}

// --- Numbers that moved.

TEST_F(FlagMergeTest, RenamedWithoutRewriteCarriesEverySequence) {
  file_is("cur: 1\nflagged: 1\nmine: 1-2\n");
  input_.base.flagged = {11};
  input_.base.keywords["mine"] = {11, 12};
  agreed();
  input_.messages = {{12, 2, 2}, {13, 3, 3}, {11, 50, 1}};  // mv 1 50
  merge();
  EXPECT_EQ("cur: 1\nflagged: 50\nmine: 2 50\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, SwapWithoutRewriteSwapsTheFlags) {
  file_is("flagged: 1\n");
  input_.base.flagged = {11};
  agreed();
  input_.messages = {{12, 1, 2}, {11, 2, 1}, {13, 3, 3}};
  merge();
  EXPECT_EQ("flagged: 2\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, PackWithRewriteIsBelieved) {
  file_is("unseen: 3\nflagged: 3\n");
  input_.base.flagged = {13};
  input_.base.unseen = {13};
  agreed();
  file_is("flagged: 2\nunseen: 2\n");  // message 1 removed, pack: 2 -> 1, 3 -> 2
  input_.messages = {{12, 1, 2}, {13, 2, 3}};
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, FlagClearedBeforeAPackStaysCleared) {
  file_is("unseen: 2-3\n");
  input_.base.unseen = {12, 13};
  agreed();
  file_is("cur: 2\nunseen: 1\n");  // show 3; rm 1; pack
  input_.messages = {{12, 1, 2}, {13, 2, 3}};
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+13 -", told_[flag(kSeen)]);
}

TEST_F(FlagMergeTest, NumberThatNmhDroppedAfterAMoveKeepsItsFlags) {
  file_is("flagged: 1\nunseen: 1\n");
  input_.base.flagged = {11};
  input_.base.unseen = {11};
  agreed();
  file_is("mine: 2\n");  // mv 1 50; mark 2 -sequence mine: nmh knows no 1 any more
  input_.messages = {{12, 2, 2}, {13, 3, 3}, {11, 50, 1}};
  merge();
  EXPECT_EQ("mine: 2\nunseen: 50\nflagged: 50\n", written_);
  EXPECT_EQ(1u, told_.size());
  EXPECT_EQ("+12 -", told_["mine"]);
}

TEST_F(FlagMergeTest, StaleEntryDoesNotFlagTheArrivalUnderItsNumber) {
  file_is("flagged: 3\n");
  input_.base.flagged = {};
  agreed();
  input_.messages = {{11, 1, 1}, {12, 2, 2}, {14, 3, 0}};  // rm 3; procmail delivers 3
  input_.base.unseen = {14};
  const auto output = merge();
  EXPECT_EQ("unseen:", written_.empty() ? "unseen:" : written_.substr(0, 7));
  EXPECT_EQ(0u, told_.count(flag(kFlagged)));
  EXPECT_TRUE(output.undecided.contains(14));
}

TEST_F(FlagMergeTest, ArrivalUnderTheOldNumberOfAMovedMessageDoesNotTakeItsFlags) {
  file_is("flagged: 1\n");
  input_.base.flagged = {11};
  agreed();
  input_.messages = {{14, 1, 0}, {12, 2, 2}, {13, 3, 3}, {11, 50, 1}};
  input_.base.unseen = {14};
  merge();
  EXPECT_EQ("flagged: 50\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(FlagMergeTest, EditedMessageKeepsItsFlags) {
  file_is("flagged: 2\n");
  agreed();
  input_.messages = {{11, 1, 1}, {20, 2, 2}, {13, 3, 3}};  // 12 was edited in place
  input_.base.flagged = {20};
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
}

// --- Arrivals.

class ArrivalTest : public FlagMergeTest {
 protected:
  ArrivalTest() {
    input_.messages = {{11, 1, 1}, {12, 2, 2}, {13, 3, 3}, {14, 4, 0}};
    input_.base.unseen = {14};  // the index knows it without \Seen
  }
  // The next merge: it is no arrival any more, but still undecided.
  void later() {
    const FlagMergeOutput output = merge();
    input_.memory = output.memory;
    input_.undecided = output.undecided;
    input_.messages[3].old_number = 4;
  }
};

TEST_F(ArrivalTest, CountsAsUnseenWithoutTouchingTheFile) {
  const auto output = merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.contains(14));
}

TEST_F(ArrivalTest, NamedUnseenByIncIsDecided) {
  file_is("cur: 4\nunseen: 4\n");
  const auto output = merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.empty());
}

TEST_F(ArrivalTest, ReadInMhBeforeTheGraceIsOver) {
  later();
  file_is("cur: 4\n");  // show 4
  const auto output = merge();
  EXPECT_EQ("+14 -", told_[flag(kSeen)]);
  EXPECT_TRUE(output.undecided.empty());
}

TEST_F(ArrivalTest, OtherMovesOfCurDecideNothing) {
  later();
  file_is("cur: 2\n");
  const auto output = merge();
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.contains(14));
}

TEST_F(ArrivalTest, ForeignChangeOfTheUnseenSetDecides) {
  later();
  file_is("unseen: 2\n");
  const auto output = merge();
  EXPECT_EQ("+14 -12", told_[flag(kSeen)]);
  EXPECT_TRUE(output.undecided.empty());
}

TEST_F(ArrivalTest, ChangeThatCameTogetherWithItDecidesNothing) {
  file_is("unseen: 2\n");
  const auto output = merge();
  EXPECT_EQ("+ -12", told_[flag(kSeen)]);
  EXPECT_TRUE(output.undecided.contains(14));
}

TEST_F(ArrivalTest, OurOwnWriteDecidesNothing) {
  later();
  input_.pending = {system_change(kSeen, {}, {12}), system_change(kFlagged, {11})};
  input_.base.unseen = {12, 14};
  later();
  EXPECT_EQ("unseen: 2\nflagged: 1\n", written_);
  file_is(written_);
  input_.pending = {};
  input_.base.flagged = {11};
  const auto output = merge();
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.contains(14));
}

TEST_F(ArrivalTest, IsAddedToUnseenWhenTheGraceIsOver) {
  later();
  input_.expired = {14};
  const auto output = merge();
  EXPECT_EQ("unseen: 4\n", written_);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.empty());
}

TEST_F(ArrivalTest, IsNoneWithoutAMemoryButWhereItIsTold) {
  input_.memory = {};
  input_.base.unseen = {11, 12, 13, 14};  // as an index made anew has them
  auto output = merge();
  EXPECT_EQ("+11-14 -", told_[flag(kSeen)]);
  EXPECT_TRUE(output.undecided.empty());
  input_.undecided = {14};
  output = merge();
  EXPECT_EQ("+11-13 -", told_[flag(kSeen)]);
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ(NumberSet{14}, output.undecided);
}

TEST_F(ArrivalTest, IsLeftToMhWhenThePolicySaysSo) {
  later();
  input_.expired = {14};
  input_.policy = NewMail::kAsMh;
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+14 -", told_[flag(kSeen)]);
}

TEST_F(ArrivalTest, ReadOverImapBeforeTheGraceIsOver) {
  later();
  input_.pending = {system_change(kSeen, {14})};
  input_.base.unseen = {};
  const auto output = merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
  EXPECT_TRUE(output.undecided.empty());
}

TEST_F(ArrivalTest, WithFlagsOfItsOwnIsNotAskedAbout) {
  input_.pending = {system_change(kSeen, {14}), system_change(kFlagged, {14})};
  input_.base.unseen = {};
  const auto output = merge();
  EXPECT_EQ("flagged: 4\n", written_);
  EXPECT_TRUE(output.undecided.empty());
}

class DraftFolderTest : public FlagMergeTest {
 protected:
  DraftFolderTest() { input_.all_drafts = true; }
};

TEST_F(DraftFolderTest, EveryMessageIsADraftAndTheFileIsNotTold) {
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+11-13 -", told_[flag(kDraft)]);
}

TEST_F(DraftFolderTest, WhatIsKnownIsNotToldAgain) {
  input_.base.draft = {11, 12, 13};
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(DraftFolderTest, OtherFlagsAreWrittenWithoutTheDrafts) {
  input_.base.draft = {11, 12, 13};
  file_is("draft: 2\n");
  agreed();
  input_.pending = {system_change(kFlagged, {12}), system_change(kDraft, {13})};
  merge();
  EXPECT_EQ("draft: 2\nflagged: 2\n", written_);
  EXPECT_TRUE(told_.empty());
}

TEST_F(DraftFolderTest, AClientCannotTakeItAway) {
  input_.base.draft = {11, 12, 13};
  input_.pending = {system_change(kDraft, {}, {12})};
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+12 -", told_[flag(kDraft)]);
}

TEST_F(DraftFolderTest, InAnotherFolderTheFlagOfTheIndexGoesAgain) {
  input_.all_drafts = false;
  input_.base.draft = {11, 12, 13};
  merge();
  EXPECT_EQ("+ -11-13", told_[flag(kDraft)]);
}

// It was there, flagged by its maker, when a merge did not know it yet: half-written, or the disk
// was full.
TEST_F(FlagMergeTest, FlagsOfAFileThatIsNotAnnouncedYetAreNotStale) {
  input_.files_untold = true;
  file_is("flagged: 4\nunseen: 4\n");
  agreed();
  merge();
  EXPECT_EQ("(unchanged)", written_);
  input_.files_untold = false;
  input_.messages.push_back({14, 4, 0});
  merge();
  EXPECT_EQ("(unchanged)", written_);
  EXPECT_EQ("+14 -", told_[flag(kFlagged)]);
}

// Without such a file they are those of a message that is gone.
TEST_F(FlagMergeTest, FlagsThatNobodyBoreAreStaleForAnArrival) {
  file_is("flagged: 4\n");
  agreed();
  input_.messages.push_back({14, 4, 0});
  merge();
  EXPECT_FALSE(told_.contains(flag(kFlagged)));
}

std::string many_sequences(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += "s" + std::to_string(i) + ": 1\n";
  return text;
}

TEST_F(FlagMergeTest, SequencesBeyondTheLimitAreNoKeywordsAndStay) {
  const std::string text = many_sequences(kMostKeywords + 7) + "flagged: 2\n";
  file_is(text);
  input_.pending = {system_change(kFlagged, {13})};
  EXPECT_EQ(merge().passed_over, 7u);
  EXPECT_EQ(told_.size(), kMostKeywords + 1);
  std::string expected = text;
  expected.replace(expected.find("flagged: 2"), 10, "flagged: 2-3");
  EXPECT_EQ(written_, expected);
}

TEST_F(FlagMergeTest, KeywordsInUseComeBeforeNewOnes) {
  for (size_t i = 0; i < kMostKeywords; ++i) {
    input_.base.keywords["used" + std::to_string(i)] = {11};
  }
  std::string text;
  for (size_t i = 0; i < kMostKeywords; ++i) text += "used" + std::to_string(i) + ": 1\n";
  file_is(text);
  agreed();
  file_is("a: 2\nb: 2 3\n" + text);
  EXPECT_EQ(merge().passed_over, 2u);
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(written_, "(unchanged)");
  input_.pending = {keyword_change("b", {11})};
  EXPECT_EQ(merge().passed_over, 1u);
  EXPECT_EQ(told_["b"], "+12-13 -");
  EXPECT_NE(written_.find("b: 1-3\n"), std::string::npos);
  EXPECT_NE(written_.find("a: 2\n"), std::string::npos);
}

TEST_F(FlagMergeTest, AMessageThatBringsItsFlagsIsUnseenIfThatWasSaidOfItHere) {
  input_.messages.push_back({14, 4, 0});
  input_.messages.push_back({15, 5, 0});
  input_.pending = {system_change(kSeen, {14, 15}), system_change(kAnswered, {14})};
  file_is("unseen: 4\n");
  input_.base.unseen = {14, 15};  // appended without flags
  input_.brought = {14, 15};
  merge();
  EXPECT_EQ(written_, "unseen: 4\nreplied: 4\n");
  EXPECT_EQ(told_[flag(kSeen)], "+ -14");
}

// ---- Messages that came while a command of nmh waited for its lock ----

class LateMessagesTest : public FlagMergeTest {
 protected:
  LateMessagesTest() {
    input_.messages.push_back({14, 4, 4});
    input_.messages.push_back({15, 5, 5});
    input_.late = {14, 15};
  }
  void both_sides_know(const std::string& text) {
    file_is(text);
    agreed();
    const FlagSets sets = map_.read(file_);
    input_.base.unseen = as_uids(sets.unseen);
    for (const auto& [keyword, numbers] : sets.keywords) {
      input_.base.keywords[keyword] = as_uids(numbers);
    }
  }
  static NumberSet as_uids(const NumberSet& numbers) {
    NumberSet uids;
    numbers.for_each([&](uint32_t number) { uids.add(number + 10); });
    return uids;
  }
};

TEST_F(LateMessagesTest, KeepTheirFlagsWhereTheWriterDidNotKnowThem) {
  both_sides_know("unseen: 1 4\nwork: 5\n");
  file_is("unseen: 1 3\n");  // an inc that brought 3
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+ -13");
  EXPECT_EQ(told_.size(), 1u);
  EXPECT_EQ(written_, "unseen: 1 3-4\nwork: 5\n");
}

TEST_F(LateMessagesTest, AreSeenWhenSomebodyHasReadThem) {
  both_sides_know("unseen: 1 4-5\n");
  file_is("unseen: 1\ncur: 4\n");
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+14-15 -");
}

TEST_F(LateMessagesTest, AreBelievedToBeKnownWhereOneBehindThemIsSpokenOf) {
  both_sides_know("unseen: 1 4-5\n");
  file_is("unseen: 1 5\nwork: 2\n");
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+14 -");
}

TEST_F(LateMessagesTest, AndWhereCurStandsOnTheLastOne) {
  both_sides_know("unseen: 1 4-5\n");
  file_is("unseen: 1\nwork: 2\ncur: 5\n");
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+14-15 -");
}

TEST_F(LateMessagesTest, KeepMoreThanUnseenWhereNothingButCurHasChanged) {
  both_sides_know("unseen: 4-5\nwork: 5\n");
  file_is("cur: 2\n");
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+14 -");
  EXPECT_EQ(told_.count("work"), 0u);
  EXPECT_EQ(written_, "cur: 2\nunseen: 5\nwork: 5\n");
}

TEST_F(LateMessagesTest, KeepTheirFlagsWhereTwoAreGoneAtOnce) {
  both_sides_know("unseen: 5\nwork: 5\n");
  file_is("");
  merge();
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(written_, "unseen: 5\nwork: 5\n");
}

TEST_F(LateMessagesTest, LoseAFlagThatWasTakenOff) {
  both_sides_know("work: 5\n");
  file_is("");
  merge();
  EXPECT_EQ(told_["work"], "+ -15");
}

TEST_F(LateMessagesTest, KeepTheirFlagsBeforeThoseThatWereSavedSince) {
  both_sides_know("unseen: 1 4\n");
  file_is("unseen: 1 3 5\n");
  input_.base.unseen.add(15);
  input_.unmerged = {5, 5};
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+ -13");
  EXPECT_EQ(written_, "unseen: 1 3-5\n");
}

TEST_F(LateMessagesTest, KeepTheirFlagsAlsoWhenTheyWereSavedSince) {
  both_sides_know("unseen: 1 4-5\n");
  file_is("unseen: 1 3\n");
  input_.unmerged = {5, 5};
  merge();
  EXPECT_EQ(written_, "unseen: 1 3-5\n");
}

TEST_F(LateMessagesTest, KeepTheirFlagsWhereCurHasStoodOnThemBefore) {
  both_sides_know("cur: 5\nwork: 5\n");
  file_is("cur: 5\nflagged: 2\n");
  merge();
  EXPECT_EQ(told_.count("work"), 0u);
}

TEST_F(LateMessagesTest, OlderOnesAreKnownToEveryWriter) {
  both_sides_know("unseen: 1 4\nwork: 5\n");
  input_.late = {15};
  file_is("unseen: 1 3\nflagged: 2\n");
  merge();
  EXPECT_EQ(told_[flag(kSeen)], "+14 -13");
  EXPECT_EQ(told_.count("work"), 0u);
}

TEST_F(LateMessagesTest, NobodyHasDecidedAboutThemBecauseOfThat) {
  both_sides_know("work: 5\n");
  input_.base.unseen = {15};
  input_.undecided = {15};
  file_is("flagged: 2\n");
  EXPECT_EQ(merge().undecided, NumberSet{15});
  EXPECT_EQ(written_, "flagged: 2\nwork: 5\n");
}

}  // namespace
}  // namespace mh
