// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/visible-part.h"

#include <gtest/gtest.h>

namespace mh {
namespace {

using Kind = TagChoice::Kind;
using namespace std::string_literals;

constexpr TagKey kKey = {1, 2, 3};
constexpr TagKey kForeignKey = {9};
const std::string kContent = "Subject: x\n\nbody\n";

Tag tag_of(uint32_t uid) {
  Tag tag;
  tag.uidvalidity = 1000;
  tag.uid = uid;
  tag.guid.fill(static_cast<uint8_t>(uid));
  tag.length = 17;
  return tag;
}
std::string ours(uint32_t uid) { return format_tag(tag_of(uid), kKey); }
std::string forged(uint32_t uid) { return format_tag(tag_of(uid), kForeignKey); }

TagChoice choose(std::string_view file, const Tag* recorded = nullptr, bool refuted = false) {
  return choose_tag(scan_prefix(file, true), kKey, recorded, refuted);
}
// Asserts that the file splits into `hidden` and `shown`.
void expect_split(const TagChoice& choice, Kind kind, std::string_view hidden) {
  EXPECT_EQ(choice.kind, kind) << hidden;
  EXPECT_EQ(choice.visible_offset, hidden.size()) << hidden;
}

TEST(VisiblePart, AnUntaggedFileIsShownWhole) {
  for (const char* file : {"", "Subject: x\n\nbody\n", "\n\n", "no header\n", " x: y\n", "From",
                           "x", "Replied", ": x\n", ">From a\nSubject: x\n\n", "\nReplied: x\n"}) {
    expect_split(choose(file), Kind::kNone, "");
  }
}

TEST(VisiblePart, TheFromLineIsHidden) {
  for (const std::string& from :
       {"From a@b Mon Jan  1 00:00:00 2001\n"s, "From \n"s, "From x\r\n"s}) {
    expect_split(choose(from + kContent), Kind::kNone, from);
    EXPECT_EQ(scan_prefix(from + kContent, true).from_line, from.size());
    expect_split(choose(from), Kind::kNone, from);
    expect_split(choose(from + ours(1) + kContent), Kind::kVerified, from + ours(1));
  }
  expect_split(choose("From: x\n"), Kind::kNone, "");
  expect_split(choose("from x\nSubject: y\n"), Kind::kNone, "");
  expect_split(choose("From x\nFrom y\nSubject: z\n"), Kind::kNone, "From x\n");
}

TEST(VisiblePart, LeadingAnnotationsAreHiddenAndTold) {
  const std::string lines = "Replied: x\nforwarded:\tx\n\ty\n z\nRESENT: x\r\n";
  TagChoice choice = choose(lines + kContent);
  expect_split(choice, Kind::kNone, lines);
  EXPECT_TRUE(choice.replied);
  EXPECT_TRUE(choice.forwarded);
  choice = choose("Resent: x\nSubject: y\nReplied: x\nForwarded: x\n\n");
  expect_split(choice, Kind::kNone, "Resent: x\n");
  EXPECT_FALSE(choice.replied);
  EXPECT_FALSE(choice.forwarded);
  expect_split(choose("From x\nReplied: y\n" + ours(1) + kContent), Kind::kVerified,
               "From x\nReplied: y\n" + ours(1));
  for (const std::string& other : {"Replied-By: x\n"s, "Resent-From: x\n"s, "Replie: x\n"s,
                                   "Replied : x\n"s, "Replied\n"s, "Replied x: y\n"s}) {
    expect_split(choose(other + kContent), Kind::kNone, "");
  }
}

TEST(VisiblePart, TheFromLineIsHiddenBelowWhatAnnoPrepended) {
  const std::string above = "Replied: x\nForwarded: y\n z\nFrom a@b\n";
  TagChoice choice = choose(above + kContent);
  expect_split(choice, Kind::kNone, above);
  EXPECT_TRUE(choice.replied);
  EXPECT_EQ(scan_prefix(above + kContent, true).from_line, 0u);
  expect_split(choose(above + "Resent: x\n" + kContent), Kind::kNone, above + "Resent: x\n");
  expect_split(choose(above + ours(1) + kContent), Kind::kVerified, above + ours(1));
  const std::string noted = "X-Note: x\nFrom a@b\n";
  expect_split(choose(noted + kContent), Kind::kNone, "");
  choice = choose(noted + ours(1) + kContent);
  expect_split(choice, Kind::kVerified, noted + ours(1));
  EXPECT_TRUE(choice.must_match_content);
  // There is one only, and none behind the end of the header.
  expect_split(choose("From x\nReplied: y\nFrom z\n" + kContent), Kind::kNone,
               "From x\nReplied: y\n");
  expect_split(choose(above + "From z\n" + kContent), Kind::kNone, above);
  expect_split(choose("Replied: y\n\nFrom z\n"), Kind::kNone, "Replied: y\n");
  expect_split(choose("Replied: y\nFrom z"), Kind::kNone, "Replied: y\n");
}

TEST(VisiblePart, AnUnfinishedLineIsNotHidden) {
  expect_split(choose("Replied: x"), Kind::kNone, "");
  expect_split(choose("Replied: x\n y"), Kind::kNone, "");
  expect_split(choose("From x"), Kind::kNone, "");
  expect_split(choose("Replied: x\n"), Kind::kNone, "Replied: x\n");
  expect_split(choose("Replied: x\nReplied: y"), Kind::kNone, "Replied: x\n");
}

TEST(VisiblePart, OurTagHidesItselfAndWhateverFieldsAreAboveIt) {
  expect_split(choose(ours(1) + kContent), Kind::kVerified, ours(1));
  expect_split(choose(ours(1)), Kind::kVerified, ours(1));
  TagChoice choice = choose("Replied: x\n" + ours(1) + "Forwarded: x\n" + kContent);
  expect_split(choice, Kind::kVerified, "Replied: x\n" + ours(1));
  EXPECT_TRUE(choice.replied);
  EXPECT_FALSE(choice.forwarded);
  EXPECT_FALSE(choice.must_match_content);
  EXPECT_TRUE(choice.take_guid_and_dates);
  EXPECT_EQ(choice.tag, tag_of(1));
  choice = choose("Note: x\nForwarded: x\n" + ours(1) + kContent);
  expect_split(choice, Kind::kVerified, "Note: x\nForwarded: x\n" + ours(1));
  EXPECT_TRUE(choice.forwarded);
}

TEST(VisiblePart, AMessageThatBeginsWithABlankKeepsItsFirstLine) {
  const std::string tagged = ours(1) + " body without header\n";
  expect_split(choose(tagged), Kind::kVerified, ours(1));
  const Tag recorded = tag_of(1);
  expect_split(choose(tagged, &recorded), Kind::kRecorded, ours(1));
  expect_split(choose(forged(1) + "\tbody\n"), Kind::kUnverified, forged(1));
}

TEST(VisiblePart, TheRecordedTagCountsWhereverItIs) {
  const Tag recorded = tag_of(2);
  const std::string above = "Note: x\n" + ours(1) + "Replied: y\n";
  const TagChoice choice = choose(above + ours(2) + kContent, &recorded);
  expect_split(choice, Kind::kRecorded, above + ours(2));
  EXPECT_TRUE(choice.replied);
  EXPECT_FALSE(choice.must_match_content);
  expect_split(choose(ours(2) + ours(2) + kContent, &recorded), Kind::kRecorded, ours(2));
  // Not recorded any more: the topmost that verifies.
  const Tag other = tag_of(3);
  expect_split(choose(ours(1) + ours(2) + kContent, &other), Kind::kVerified, ours(1));
}

// A sender knows no tag that verifies; what he writes is content unless it comes first.
TEST(VisiblePart, AForgedTagBelowOtherFieldsIsContent) {
  expect_split(choose("Received: x\n" + forged(1) + kContent), Kind::kNone, "");
  expect_split(choose("Replied: x\nReceived: x\n" + forged(1) + kContent), Kind::kNone,
               "Replied: x\n");
  expect_split(choose(ours(1) + forged(2) + kContent), Kind::kVerified, ours(1));
  expect_split(choose(kContent + forged(2)), Kind::kNone, "");
  expect_split(choose(kContent + ours(2)), Kind::kNone, "");
}

TEST(VisiblePart, AForgedTagAtTheTopHidesOneLineOnly) {
  TagChoice choice = choose(forged(1) + forged(2) + kContent);
  expect_split(choice, Kind::kUnverified, forged(1));
  EXPECT_TRUE(choice.take_guid_and_dates);
  EXPECT_EQ(choice.tag, tag_of(1));
  EXPECT_FALSE(choice.must_match_content);
  choice = choose("From x\n" + forged(1) + kContent);
  expect_split(choice, Kind::kUnverified, "From x\n" + forged(1));
  EXPECT_TRUE(choice.take_guid_and_dates);
  choice = choose("Replied: x\n" + forged(1) + kContent);
  expect_split(choice, Kind::kUnverified, "Replied: x\n" + forged(1));
  EXPECT_FALSE(choice.take_guid_and_dates);
  EXPECT_TRUE(choice.replied);
}

// A genuine tag that leaked, below the trace fields of a new mail: it must not hide them.
TEST(VisiblePart, AReplayedTagBelowOtherFieldsMustMatchItsContent) {
  const std::string file = "Received: x\n" + ours(1) + "From: somebody else\n\nbody\n";
  const TagChoice choice = choose(file);
  EXPECT_EQ(choice.kind, Kind::kVerified);
  EXPECT_TRUE(choice.must_match_content);
  expect_split(choose(file, nullptr, true), Kind::kNone, "");
  // Refuting says nothing against a tag at the top, nor against the recorded one.
  expect_split(choose(ours(2) + file, nullptr, true), Kind::kVerified, ours(2));
  const Tag recorded = tag_of(1);
  EXPECT_EQ(choose(file, &recorded, true).kind, Kind::kRecorded);
  expect_split(choose(forged(2) + file, nullptr, true), Kind::kUnverified, forged(2));
}

TEST(VisiblePart, OnlyOurExactLineIsATag) {
  std::string crlf = ours(1);
  crlf.insert(crlf.size() - 1, "\r");
  expect_split(choose(crlf + kContent), Kind::kNone, "");
  expect_split(choose("x" + ours(1) + kContent), Kind::kNone, "");
  expect_split(choose("Note: x\n " + ours(1) + kContent), Kind::kNone, "");  // a continuation
  expect_split(choose(ours(1).substr(0, kTagLineSize - 1)), Kind::kNone, "");
}

TEST(VisiblePart, NothingBelowAnIllFormedLineCounts) {
  for (const std::string& line :
       {"no colon\n"s, "\n"s, "\r\n"s, "a b: c\n"s, ": c\n"s, "\x80: c\n"s, "a: \0\n"s,
        "a: b\n c\0d\n"s, "\0a: b\n"s, ">From x\n"s, "-\n"s}) {
    expect_split(choose(line + ours(1) + kContent), Kind::kNone, "");
  }
  for (const std::string& line : {"a: \x80\n"s, "a:\n"s, "!~: x\r\n"s, "a: b\n \n"s, "-a: b\n"s}) {
    EXPECT_EQ(choose(line + ours(1) + kContent).kind, Kind::kVerified) << line;
  }
}

TEST(VisiblePart, APlaceholderIsHiddenAndTellsNothing) {
  const std::string placeholder(tag_placeholder());
  const TagChoice choice = choose("From x\n" + placeholder + kContent);
  expect_split(choice, Kind::kUnverified, "From x\n" + placeholder);
  EXPECT_FALSE(choice.take_guid_and_dates);
  EXPECT_EQ(choice.tag, Tag());
  expect_split(choose("Received: x\n" + placeholder + kContent), Kind::kNone, "");
}

// Whatever part of a file is given, the answer is the final one or more is asked for; a choice that
// is settled is that of the whole file.
TEST(VisiblePart, APartOfAFileNeverGivesAnotherAnswerThanTheWhole) {
  const Tag recorded = tag_of(2);
  const Tag absent = tag_of(7);
  const std::string files[] = {
      "From x\nReplied: a\n b\nForwarded: c\n" + ours(1) + kContent,
      ours(2) + kContent,
      "Note: x\n y\n" + ours(2) + kContent,
      forged(1) + ours(1) + kContent,
      ours(1) + ours(2) + kContent,
      "Replied: a\nSubject: x\n\n" + ours(1),
      "Replied: a\n" + std::string(tag_placeholder()),
      "Fromage\n" + ours(1),
      "Replied: x\n\ty",
  };
  for (const std::string& file : files) {
    for (const Tag* known : {static_cast<const Tag*>(nullptr), &recorded, &absent}) {
      const TagChoice final_choice = choose(file, known);
      EXPECT_TRUE(final_choice.settled);
      for (size_t size = 0; size <= file.size(); ++size) {
        const PrefixScan scan = scan_prefix(std::string_view(file).substr(0, size), false);
        const TagChoice choice = choose_tag(scan, kKey, known);
        if (!choice.settled) {
          EXPECT_TRUE(scan.more_needed);
          continue;
        }
        EXPECT_EQ(choice.kind, final_choice.kind) << size << " of " << file;
        EXPECT_EQ(choice.visible_offset, final_choice.visible_offset) << size << " of " << file;
        EXPECT_EQ(choice.replied, final_choice.replied);
        EXPECT_EQ(choice.forwarded, final_choice.forwarded);
      }
      const PrefixScan whole = scan_prefix(file, true);
      for (size_t size = 0; size <= file.size(); ++size) {
        const PrefixScan scan = scan_prefix(std::string_view(file).substr(0, size), false);
        EXPECT_LE(scan.untagged_offset, size);
        if (scan.prefix_open) {
          EXPECT_TRUE(scan.more_needed);
        } else {
          EXPECT_EQ(scan.untagged_offset, whole.untagged_offset) << size;
        }
      }
    }
  }
}

TEST(VisiblePart, ATagIsKnownBeforeTheLineBelowItWasRead) {
  const PrefixScan scan = scan_prefix(ours(1), false);
  EXPECT_TRUE(scan.more_needed);
  EXPECT_TRUE(choose_tag(scan, kKey, nullptr).settled);
}

TEST(VisiblePart, NothingIsAskedForBeyondTheLimit) {
  std::string file;
  while (file.size() < kMaxPrefix) file += "Received: from a by b\n";
  EXPECT_TRUE(scan_prefix(std::string_view(file).substr(0, kMaxPrefix - 1), false).more_needed);
  const PrefixScan scan = scan_prefix(file + ours(1), false);
  EXPECT_FALSE(scan.more_needed);
  EXPECT_TRUE(scan.candidates.empty());
  const std::string endless = "From " + std::string(2 * kMaxPrefix, 'x');
  EXPECT_FALSE(scan_prefix(endless, false).more_needed);
  EXPECT_EQ(scan_prefix(endless, false).untagged_offset, 0u);
}

TEST(VisiblePart, AHeaderFullOfForgedTagsIsContent) {
  std::string file = "Received: x\n";
  while (file.size() < kMaxPrefix) file += forged(static_cast<uint32_t>(file.size()));
  expect_split(choose(file), Kind::kNone, "");
}

}  // namespace
}  // namespace mh
