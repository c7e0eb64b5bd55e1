// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/private-sequences.h"

#include <gtest/gtest.h>

namespace mh {
namespace {

constexpr std::string_view kIn = "/home/u/Mail/in";

Sequences over(std::string_view context, std::string_view public_text = "",
               std::string_view folder = kIn) {
  return with_private_sequences(context, folder, Sequences::parse(public_text));
}

// What is to be said by the context of kIn, over what is public.
std::string set(std::string_view context, std::string_view wanted,
                std::string_view public_text = "") {
  const std::string text =
      set_private_sequences(context, kIn, Sequences::parse(public_text), Sequences::parse(wanted));
  EXPECT_EQ(over(text, public_text).hash_without_cur(), Sequences::parse(wanted).hash_without_cur())
      << text;
  return text;
}

TEST(PrivateSequences, AreThoseOfJustThatFolder) {
  constexpr std::string_view kContext =
      "atr-foo-/home/u/Mail/in: 2 4-5\natr-cur-/home/u/Mail/in: 7\natr-foo-/home/u/Mail/inbox: 1\n"
      "atr-a-b-/home/u/Mail/in: 3\nATR-x-/home/u/Mail/in: 9\natr--/home/u/Mail/in: 9\n"
      "atr-/home/u/Mail/in: 9\natr-y/home/u/Mail/in: 9\natr-foo-/home/u/Mail/in: 6\n"
      "Current-Folder: in\n";
  EXPECT_EQ(over(kContext).print(), "cur: 7\nfoo: 6\na-b: 3\n");
  EXPECT_EQ(over(kContext, "", "/home/u/Mail/inbox").print(), "foo: 1\n");
  EXPECT_EQ(over(kContext, "", "/home/u/Mail").print(), "");
  EXPECT_EQ(over(kContext, "", "").print(), "");
}

TEST(PrivateSequences, StandForThePublicOnesOfTheirNames) {
  constexpr std::string_view kPublic = "cur: 2\nunseen: 1-3\nwork: 4\nflagged: 1\n";
  EXPECT_EQ(over("atr-unseen-/home/u/Mail/in: 2\natr-mine-/home/u/Mail/in: 9\n", kPublic).print(),
            "cur: 2\nunseen: 2\nwork: 4\nflagged: 1\nmine: 9\n");
  EXPECT_EQ(over("atr-unseen-/home/u/Mail/in: \n", kPublic).print(),
            "cur: 2\nwork: 4\nflagged: 1\n")
      << "without numbers it clears the public one";
}

TEST(PrivateSequences, AreAddedBehindAllOtherLines) {
  EXPECT_EQ(set("", "work: 3 5-6\n"), "atr-work-/home/u/Mail/in: 3 5-6\n");
  EXPECT_EQ(set("Current-Folder: in\n", "work: 3\n"),
            "Current-Folder: in\natr-work-/home/u/Mail/in: 3\n");
  EXPECT_EQ(set("Current-Folder: in", "work: 3\n"),
            "Current-Folder: in\natr-work-/home/u/Mail/in: 3\n");
}

// A blank line that was the last must not come to stand in the middle: nmh stops at it.
TEST(PrivateSequences, ABlankLineAtTheEndStaysThere) {
  EXPECT_EQ(set("Current-Folder: in\n\n", "work: 3\n"),
            "Current-Folder: in\natr-work-/home/u/Mail/in: 3\n\n");
  EXPECT_EQ(set("\n", "work: 3\n"), "atr-work-/home/u/Mail/in: 3\n\n");
}

TEST(PrivateSequences, AreChangedInPlaceWithTheirContinuationLines) {
  EXPECT_EQ(set("A: 1\natr-work-/home/u/Mail/in: 1\n\t2\n 3\nB:\n  folded\n", "work: 1-2\n"),
            "A: 1\natr-work-/home/u/Mail/in: 1-2\nB:\n  folded\n");
}

TEST(PrivateSequences, GoWhenTheyAreEmptyAndNothingPublicShowsThrough) {
  EXPECT_EQ(set("A: 1\natr-work-/home/u/Mail/in: 1\nB: 2\n", ""), "A: 1\nB: 2\n");
  EXPECT_EQ(set("atr-work-/home/u/Mail/in: 1\n", ""), "");
  EXPECT_EQ(set("A: 1\natr-work-/home/u/Mail/in: 1\n", "", "work: 1 2\n"),
            "A: 1\natr-work-/home/u/Mail/in: \n");
}

TEST(PrivateSequences, DoubledLinesBecomeOne) {
  EXPECT_EQ(set("atr-work-/home/u/Mail/in: 1\nA: 1\natr-work-/home/u/Mail/in: 2\n", "work: 3\n"),
            "atr-work-/home/u/Mail/in: 3\nA: 1\n");
}

TEST(PrivateSequences, EveryOtherLineStaysByteForByte) {
  constexpr std::string_view kOthers =
      "Current-Folder:in \r\natr-work-/home/u/Mail/inbox: 9 9 9\n#: remark\nno colon\n"
      "atr-same-/home/u/Mail/in:  2   1\nodd \t: \x01\xff\n";
  EXPECT_EQ(set(std::string(kOthers) + "atr-work-/home/u/Mail/in: 1\n", "same: 1-2\nwork: 2\n"),
            std::string(kOthers) + "atr-work-/home/u/Mail/in: 2\n");
}

TEST(PrivateSequences, WhatIsPublicAlreadyIsNotMadePrivate) {
  EXPECT_EQ(set("A: 1\n", "unseen: 1-3\nwork: 4\n", "unseen: 1-3\n"),
            "A: 1\natr-work-/home/u/Mail/in: 4\n");
}

TEST(PrivateSequences, CurIsOneOfThem) {
  EXPECT_EQ(set("atr-cur-/home/u/Mail/in: 7\n", "cur: 9\n"), "atr-cur-/home/u/Mail/in: 9\n");
  EXPECT_EQ(set("atr-cur-/home/u/Mail/in: 7\n", "cur: 7\nwork: 1\n"),
            "atr-cur-/home/u/Mail/in: 7\natr-work-/home/u/Mail/in: 1\n");
}

TEST(PrivateSequences, NamesThatMakeNoLineAreLeftOut) {
  Sequences wanted;
  wanted.set("a:b").add(1);
  wanted.set("a\nb").add(1);
  wanted.set(std::string(2000, 'x')).add(1);
  wanted.set("good").add(1);
  EXPECT_EQ(set_private_sequences("", kIn, Sequences(), wanted), "atr-good-/home/u/Mail/in: 1\n");
}

TEST(PrivateSequences, NotEveryFolderCanHaveThem) {
  EXPECT_TRUE(can_have_private_sequences(kIn));
  EXPECT_TRUE(can_have_private_sequences("/home/u/My Mail/\xc3\xa4"));
  for (const std::string_view folder : {"", "/home/u/a:b", "/home/u/a ", "/home/u/a\nb"}) {
    EXPECT_FALSE(can_have_private_sequences(folder)) << folder;
  }
  EXPECT_FALSE(can_have_private_sequences("/" + std::string(990, 'x')));
}

TEST(PrivateSequences, FollowAFolderThatIsRenamed) {
  constexpr std::string_view kContext =
      "Current-Folder: in\natr-foo-/home/u/Mail/in : 2\n  4-5\natr-a-b-/home/u/Mail/in/sub: 7\n"
      "atr-foo-/home/u/Mail/inbox: 1\natr-bar-/home/u/Mail: 3\n";
  EXPECT_EQ(move_private_sequences(kContext, kIn, "/home/u/Mail/x/new"),
            "Current-Folder: in\natr-foo-/home/u/Mail/x/new: 2\n  4-5\n"
            "atr-a-b-/home/u/Mail/x/new/sub: 7\n"
            "atr-foo-/home/u/Mail/inbox: 1\natr-bar-/home/u/Mail: 3\n");
  EXPECT_EQ(move_private_sequences(kContext, kIn, ""),
            "Current-Folder: in\natr-foo-/home/u/Mail/inbox: 1\natr-bar-/home/u/Mail: 3\n");
  EXPECT_EQ(move_private_sequences(kContext, "/home/u/Mail/other", "/x"), kContext);
}

}  // namespace
}  // namespace mh
