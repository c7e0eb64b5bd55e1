// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/sequences.h"

#include <gtest/gtest.h>

#include <chrono>

namespace mh {
namespace {

using namespace std::string_literals;

std::string rewritten(std::string_view text) { return Sequences::parse(text).print(); }
std::vector<std::string> problems(std::string_view text) {
  std::vector<std::string> found;
  Sequences::parse(text, &found);
  return found;
}

// What nmh 1.8 left in the file after it was given this text and changed something else.
TEST(Sequences, AreReadAndWrittenAsNmhDoes) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"", ""},
           {"\n", ""},
           {"a: 1-4 9\n", "a: 1-4 9\n"},
           {"b: 2\ncur: 3\na: 1\n", "cur: 3\nb: 2\na: 1\n"},
           {"a: 1\t3\r\nb:4\nc : 5\n", "a: 1 3\nb: 4\nc: 5\n"},
           {"a: 1\nb: 3\na: 5\n", "a: 5\nb: 3\n"},
           {"a: 1\nA: 2\n", "a: 1\nA: 2\n"},
           {"$Forwarded: 1\nfoo_bar: 2\n1foo: 3\na b: 4\nall: 5\n",
            "$Forwarded: 1\nfoo_bar: 2\n1foo: 3\na b: 4\nall: 5\n"},
           {": 1 2\na: 2\n", ": 1-2\na: 2\n"},
           {"a: 3- x 1,2\nb: 1\n", "b: 1\n"},
           {"a:\nb: 1\n", "b: 1\n"},
           {"#: remark\na: 1\n", "a: 1\n"},
           {"#: 1 2 remark\na: 2\n", "#: 1-2\na: 2\n"},
           {"a: 1\n   \nb: 2\n", "a: 1\nb: 2\n"},
           {"a b: 1\n\tfoo: 2 3\n", "a b: 1-3\n"},
           {"cur: 99\n", "cur: 99\n"},
           {"cur: 1 2 3\n", "cur: 3\n"},
           {"cur: 2-4\n", "cur: 2\n"},
           {"cur: 3-\n", "cur: 3\n"},
           {"cur: 5-3\n", "cur: 5\n"},
           {"cur: 4\ncur: x\n", "cur: 4\n"},
           {"cur: 4\ncur: 5\n", "cur: 5\n"},
           {"cur:\n", ""}}) {
    EXPECT_EQ(rewritten(text), expected) << text;
  }
}

TEST(Sequences, WhatKillsNmhIsHealedByTheNextWrite) {
  for (const auto& text : {"a: 1\n\nb: 2\n"s, "a: 1\njunk\nb: 2\n"s, "# remark\na: 1\nb: 2\n"s,
                           "\n\na: 1\nb: 2\n"s, "-x: 1\na: 1\nb: 2\n"s, "  \na: 1\nb: 2\n"s,
                           std::string(1000, 'n') + ": 5\na: 1\nb: 2\n", "a: 1\nb: 2\n\n\n"s}) {
    EXPECT_EQ(rewritten(text), "a: 1\nb: 2\n") << text;
    EXPECT_FALSE(problems(text).empty()) << text;
  }
}

TEST(Sequences, ProblemsAreTold) {
  EXPECT_TRUE(problems("cur: 1\na: 1-3\nb: 4\n").empty());
  EXPECT_EQ(problems("a: 1\na: 2\n"),
            std::vector<std::string>{"sequence \"a\": is there twice: the later one holds"});
  EXPECT_EQ(problems("a: 1 x\n").size(), 1u);
  EXPECT_EQ(problems("#: some text\n"),
            std::vector<std::string>{"sequence \"#\": is a comment: the next write drops it"});
  EXPECT_EQ(problems("a: 1\0 2\n"s).size(), 1u);
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "s" + std::to_string(i) + ": x\n";
  EXPECT_EQ(problems(many).size(), 21u);
}

TEST(Sequences, AnEmptyOneDoesNotExist) {
  Sequences sequences = Sequences::parse("a: 1\nb: x\n");
  EXPECT_EQ(sequences.find("b"), nullptr);
  EXPECT_EQ(sequences.find("c"), nullptr);
  ASSERT_NE(sequences.find("a"), nullptr);
  EXPECT_EQ(*sequences.find("a"), NumberSet{1});
  sequences.set("c");
  EXPECT_EQ(sequences.names(), std::vector<std::string_view>{"a"});
  sequences.erase("a");
  sequences.erase("never there");
  EXPECT_EQ(sequences.find("a"), nullptr);
  EXPECT_EQ(sequences.print(), "");
}

TEST(Sequences, CurIsNoSet) {
  Sequences sequences = Sequences::parse("cur: 4\na: 1\n");
  EXPECT_EQ(sequences.cur(), 4u);
  EXPECT_EQ(sequences.find("cur"), nullptr);
  EXPECT_EQ(sequences.names(), std::vector<std::string_view>{"a"});
  sequences.set("cur").add(9);
  EXPECT_EQ(sequences.print(), "cur: 4\na: 1\n");
  sequences.set_cur(0);
  EXPECT_EQ(sequences.print(), "a: 1\n");
}

TEST(Sequences, ReferencesAndCopiesSurviveGrowth) {
  Sequences sequences;
  NumberSet& first = sequences.set("first0");
  for (int i = 0; i < 1000; ++i) sequences.set("s" + std::to_string(i)).add(7);
  first.add(1);
  EXPECT_EQ(*sequences.find("first0"), NumberSet{1});
  Sequences copy = sequences;
  sequences = Sequences();
  EXPECT_EQ(copy.names().size(), 1001u);
  EXPECT_EQ(*copy.find("s999"), NumberSet{7});
}

TEST(Sequences, RenumberMovesAllAtOnce) {
  Sequences sequences = Sequences::parse("cur: 2\na: 1-3 9\nb: 2\nc: 100\n");
  const std::vector<NumberMove> moves = {{2, 1}, {1, 2}, {9, 4}, {50, 51}};
  sequences.renumber(moves, false);
  EXPECT_EQ(sequences.print(), "cur: 2\na: 1-4\nb: 1\nc: 100\n");
  sequences.renumber(moves, true);
  EXPECT_EQ(sequences.cur(), 1u);
  sequences.set_cur(3);
  sequences.renumber(moves, true);
  EXPECT_EQ(sequences.cur(), 3u);
}

TEST(Sequences, RemovedNumbersLeaveCurAlone) {
  Sequences sequences = Sequences::parse("cur: 2\na: 1-3\nb: 2\n");
  sequences.remove_numbers(NumberSet{2, 7});
  EXPECT_EQ(sequences.print(), "cur: 2\na: 1 3\n");
}

TEST(Sequences, PaddingMakesTheTextAsLongAsTheFile) {
  const Sequences sequences = Sequences::parse("a: 1\nb: 2\n");
  EXPECT_EQ(sequences.print_padded(0, "unseen"), "a: 1\nb: 2\n");
  EXPECT_EQ(sequences.print_padded(10, "unseen"), "a: 1\nb: 2\n");
  EXPECT_EQ(sequences.print_padded(13, "unseen"), "a: 1\nb: 2   \n");
  EXPECT_EQ(rewritten(sequences.print_padded(13, "unseen")), "a: 1\nb: 2\n");
}

TEST(Sequences, WithNothingToSayTheFileStillIsOneThatNmhReads) {
  const Sequences none;
  EXPECT_EQ(none.print_padded(0, "unseen"), "");
  EXPECT_EQ(none.print_padded(3, "unseen"), "unseen:\n");  // longer, but never a line of blanks
  EXPECT_EQ(none.print_padded(8, "unseen"), "unseen:\n");
  EXPECT_EQ(none.print_padded(12, "unseen"), "unseen:    \n");
  EXPECT_TRUE(problems("unseen:    \n").empty());
}

TEST(Sequences, WhatIsWrittenIsReadBackWhateverTheNames) {
  const auto hostile = {"a:b"s, "a\nb"s, "a\0b"s, "-a"s,  " a"s,
                        "\ta"s, "a "s,   "a\t"s,  "cur"s, std::string(997, 'n'),
                        "\n"s,  ":"s,    "\0"s};
  for (const std::string& name : hostile) {
    Sequences sequences = Sequences::parse("a: 1\n");
    sequences.set(name).add(5);
    EXPECT_EQ(sequences.print(), "a: 1\n") << name;
  }
  for (const std::string& name : {"\va"s, "a b"s, ""s, "\x80"s, "#"s, std::string(996, 'n')}) {
    Sequences sequences = Sequences::parse("a: 1\n");
    sequences.set(name).add(5);
    std::vector<std::string> found;
    const Sequences again = Sequences::parse(sequences.print(), &found);
    ASSERT_NE(again.find(name), nullptr) << name;
    EXPECT_EQ(again.print(), sequences.print());
    EXPECT_EQ(found.size(), name == "#" ? 1u : 0u);
  }
}

TEST(Sequences, HashTellsTheSetsAndNothingElse) {
  const auto hash = [](std::string_view text) { return Sequences::parse(text).hash_without_cur(); };
  const uint64_t base = hash("a: 1-3\nb: 2\n");
  EXPECT_EQ(hash("cur: 5\nb: 2\na: 1 2 3\nempty:\n"), base);
  EXPECT_NE(hash("a: 1-4\nb: 2\n"), base);
  EXPECT_NE(hash("A: 1-3\nb: 2\n"), base);
  EXPECT_NE(hash("a: 1-3\n"), base);
  EXPECT_NE(hash("a: 2\nb: 1-3\n"), base);
  EXPECT_EQ(hash(""), hash("cur: 1\n"));
}

TEST(Sequences, NamesThatNmhCanMake) {
  for (const char* name : {"a", "Z9", "unseen", "cur", "ALL", "New", "kwzz24Junk"}) {
    EXPECT_TRUE(is_nmh_sequence_name(name)) << name;
  }
  for (const char* name : {"", "1a", "a_b", "$a", "a b", "new", "all", "first", "last", "prev",
                           "next", "\xc3\xa9", "a\xe9"}) {
    EXPECT_FALSE(is_nmh_sequence_name(name)) << name;
  }
}

TEST(Sequences, LongLinesAndManyNamesTakeMilliseconds) {
  std::string text = "unseen:";
  for (int n = 1; n <= 100000; ++n) text += ' ' + std::to_string(2 * n);
  text += '\n';
  for (int i = 0; i < 20000; ++i) text += "s" + std::to_string(i) + ": 200000\n";
  std::vector<NumberMove> moves;
  for (uint32_t n = 100000; n >= 1; --n) moves.push_back({2 * n, n});
  const auto start = std::chrono::steady_clock::now();
  Sequences sequences = Sequences::parse(text);
  EXPECT_EQ(sequences.print(), text);
  sequences.renumber(moves, true);
  const auto spent = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(sequences.find("unseen")->print_nmh(), "1-100000");
  EXPECT_LT(spent, std::chrono::seconds(2));  // far less without sanitizers
}

}  // namespace
}  // namespace mh
