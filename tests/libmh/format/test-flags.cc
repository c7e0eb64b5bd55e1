// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/flags.h"

#include <gtest/gtest.h>

#include <random>

namespace mh {
namespace {

FlagMap map_of(const FlagOptions& options = {}) {
  auto map = FlagMap::make(options);
  EXPECT_TRUE(map) << map.error().message();
  return std::move(*map);
}
FlagOptions with_map(std::vector<std::pair<std::string, std::string>> keyword_map) {
  FlagOptions options;
  options.keyword_map = std::move(keyword_map);
  return options;
}
std::string applied(const FlagMap& map, std::string_view file, const FlagChange& change) {
  Sequences sequences = Sequences::parse(file);
  EXPECT_TRUE(map.apply(sequences, change));
  return sequences.print();
}
std::string keywords(const FlagMap& map, std::string_view file) {
  std::string out;
  for (const auto& [name, numbers] : map.read(Sequences::parse(file)).keywords) {
    out += name + ": " + numbers.print_nmh() + "\n";
  }
  return out;
}

TEST(Flags, SystemFlagsAreReadFromTheirSequencesAndAliases) {
  const FlagSets sets = map_of().read(Sequences::parse(
      "cur: 9\nunseen: 1\nreplied: 2\nflagged: 3\ndeleted: 4\nDeleted: 5\ndraft: 6\nDraft: 7\n"
      "Recent: 8\nSeen: 1-9\n"));
  EXPECT_EQ(sets.unseen, NumberSet{1});
  EXPECT_EQ(sets.answered, NumberSet{2});
  EXPECT_EQ(sets.flagged, NumberSet{3});
  EXPECT_EQ(sets.deleted, (NumberSet{4, 5}));
  EXPECT_EQ(sets.draft, (NumberSet{6, 7}));
  EXPECT_TRUE(sets.keywords.empty());
}

TEST(Flags, UnseenIsInAnyOfTheProfilesNamesAndSeenInNone) {
  FlagOptions options;
  options.unseen_names = {"unseen", "neu"};
  const FlagMap map = map_of(options);
  EXPECT_EQ(map.read(Sequences::parse("unseen: 1 2\nneu: 2 3\n")).unseen, (NumberSet{1, 2, 3}));
  EXPECT_EQ(applied(map, "unseen: 1 2\nneu: 2 3\n", {kSeen, "", {2, 3}, {7}}),
            "unseen: 1 7\nneu: 7\n");
  EXPECT_EQ(applied(map, "", {kSeen, "", {1}, {}}), "");
}

TEST(Flags, RemovingReallyRemovesAddingUsesThePrimaryName) {
  const FlagMap map = map_of();
  EXPECT_EQ(applied(map, "deleted: 1\nDeleted: 1-2\n", {kDeleted, "", {3}, {1}}),
            "deleted: 3\nDeleted: 2\n");
  EXPECT_EQ(applied(map, "Draft: 1\n", {kDraft, "", {2}, {}}), "Draft: 1\ndraft: 2\n");
  EXPECT_EQ(applied(map, "$Forwarded: 1-2\nforwarded: 1\n", {kNoFlag, "$FORWARDED", {}, {1}}),
            "$Forwarded: 2\n");
  EXPECT_EQ(applied(map, "Work: 1 5\nwork: 1\n", {kNoFlag, "WORK", {3}, {1}}), "Work: 3 5\n");
  EXPECT_EQ(applied(map, "$Junk: 1-2\nkwzz24Junk: 1\nkwzz24junk: 1\n", {kNoFlag, "$Junk", {}, {1}}),
            "$Junk: 2\n");
  EXPECT_EQ(applied(map, "", {kAnswered, "", {1}, {}}), "replied: 1\n");
  EXPECT_EQ(applied(map, "", {kFlagged, "", {1}, {}}), "flagged: 1\n");
}

TEST(Flags, AKeywordStaysInTheSpellingThatTheFileHas) {
  const FlagMap map = map_of();
  EXPECT_EQ(applied(map, "Work: 1\n", {kNoFlag, "work", {2}, {}}), "Work: 1-2\n");
  EXPECT_EQ(applied(map, "kwzz24JUNK: 1\n", {kNoFlag, "$Junk", {2}, {}}), "kwzz24JUNK: 1-2\n");
  // ... unless nmh could not clear it there.
  EXPECT_EQ(applied(map, "$junk: 1\n", {kNoFlag, "$Junk", {2}, {}}), "$junk: 1\nkwzz24Junk: 2\n");
}

TEST(Flags, KeywordsAreReadMergedFromEverySpelling) {
  EXPECT_EQ(keywords(map_of(),
                     "Work: 1\nwork: 2\nkwzz24Junk: 3\n$junk: 4\nforwarded: 5\n"
                     "$Forwarded: 6\nkwz: 7\nkwzz2: 8\n"),
            "$Forwarded: 5-6\n$Junk: 3-4\nkwz: 7\nkwzz2: 8\nWork: 1-2\n");
}

TEST(Flags, WhatIsNoKeywordIsHiddenButKept) {
  FlagOptions options;
  options.previous_names = {"pseq"};
  options.hidden = {"private"};
  options.negation = "not";
  const FlagMap map = map_of(options);
  const std::string file =
      "cur: 1\npseq: 1\nprivate: 2\nnotwork: 3\na b: 4\n\xc3\xa9: 5\n#: 6\n"
      "\\Seen: 7\na]: 8\n: 9\nkwzz00: 1\nkwzz20: 2\n";
  EXPECT_EQ(keywords(map, file), "kwzz00: 1\nkwzz20: 2\n");
  EXPECT_EQ(applied(map, file, {kFlagged, "", {1}, {}}),
            Sequences::parse(file).print() + "flagged: 1\n");
}

TEST(Flags, KeywordsHaveTheNamesThatTheTableSays) {
  const FlagMap map = map_of();
  EXPECT_EQ(map.sequence_of("NonJunk"), "NonJunk");
  EXPECT_EQ(map.sequence_of("$Junk"), "kwzz24Junk");
  EXPECT_EQ(map.sequence_of("a_b"), "kwzaz5fb");
  EXPECT_EQ(map.sequence_of("1st"), "kwz1st");
  EXPECT_EQ(map.sequence_of("$zz"), "kwzz24zzzz");
  EXPECT_EQ(map.sequence_of("zz"), "zz");
  EXPECT_EQ(map.sequence_of("$forwarded"), "forwarded");
  for (const char* taken :
       {"unseen", "Replied", "flagged", "DELETED", "draft", "forwarded", "cur", "Recent", "seen",
        "new", "ALL", "first", "last", "prev", "next", "kwzx", "KWZ"}) {
    EXPECT_EQ(map.sequence_of(taken).substr(0, 3), "kwz") << taken;
    EXPECT_EQ(map.keyword_of(map.sequence_of(taken)), taken);
  }
  for (const char* impossible : {"", "a b", "\\Seen", "a\x80", "a(b", "a]", "\x7f", "a\n"}) {
    EXPECT_EQ(map.sequence_of(impossible), "") << impossible;
  }
}

TEST(Flags, AKeywordTooLongForNmhIsNoSequence) {
  const FlagMap map = map_of();
  EXPECT_EQ(map.sequence_of(std::string(996, 'a')).size(), 996u);
  EXPECT_EQ(map.sequence_of(std::string(997, 'a')), "");
  EXPECT_EQ(map.sequence_of(std::string(331, '$')).size(), 996u);
  EXPECT_EQ(map.sequence_of(std::string(332, '$')), "");
  Sequences sequences = Sequences::parse("a: 1\n");
  EXPECT_FALSE(map.apply(sequences, {kNoFlag, std::string(997, 'a'), {1}, {}}));
  EXPECT_FALSE(map.apply(sequences, {kNoFlag, "a b", {1}, {}}));
  EXPECT_TRUE(map.apply(sequences, {kNoFlag, "a b", {}, {1}}));
  EXPECT_EQ(sequences.print(), "a: 1\n");
}

TEST(Flags, TheAdminsMapIsOneToOne) {
  const FlagMap map = map_of(with_map({{"$Junk", "junk"}, {"$NotJunk", "ham"}}));
  EXPECT_EQ(map.sequence_of("$JUNK"), "junk");
  EXPECT_EQ(map.keyword_of("junk"), "$Junk");
  EXPECT_EQ(map.sequence_of("junk"), "kwzjunk");
  EXPECT_EQ(map.keyword_of("kwzjunk"), "junk");
  EXPECT_EQ(map.sequence_of("HAM"), "kwzHAM");
  EXPECT_EQ(keywords(map, "junk: 1\n$Junk: 2\nkwzz24Junk: 3\nJunk: 4\n"), "$Junk: 1-3\nJunk: 4\n");
  EXPECT_EQ(applied(map, "junk: 1-2\nkwzz24Junk: 1\n", {kNoFlag, "$junk", {5}, {1}}),
            "junk: 2 5\n");
}

TEST(Flags, BadSettingsAreErrors) {
  for (const auto& [keyword, sequence] :
       std::vector<std::pair<std::string, std::string>>{{"\\Flagged", "star"},
                                                        {"", "star"},
                                                        {"a b", "star"},
                                                        {"$Forwarded", "passed"},
                                                        {"$forwarded", "passed"},
                                                        {"$Junk", "ju_nk"},
                                                        {"$Junk", ""},
                                                        {"$Junk", "all"},
                                                        {"$Junk", "ALL"},
                                                        {"$Junk", "cur"},
                                                        {"$Junk", "unseen"},
                                                        {"$Junk", "Replied"},
                                                        {"$Junk", "forwarded"},
                                                        {"$Junk", "recent"},
                                                        {"$Junk", "kwzx"},
                                                        {"$Junk", "KwzX"}}) {
    const auto map = FlagMap::make(with_map({{keyword, sequence}}));
    ASSERT_FALSE(map) << keyword << " " << sequence;
    EXPECT_EQ(map.error().kind(), ErrorKind::kInvalid);
  }
  EXPECT_FALSE(FlagMap::make(with_map({{"$Junk", "a"}, {"$junk", "b"}})));
  EXPECT_FALSE(FlagMap::make(with_map({{"$Junk", "a"}, {"$Ham", "A"}})));
  for (const char* hidden : {"flagged", "unseen", "kwzz24Junk", "Draft", "forwarded"}) {
    FlagOptions options;
    options.hidden = {hidden};
    EXPECT_FALSE(FlagMap::make(options)) << hidden;
  }
  FlagOptions options;
  options.hidden = {"cur", "work", "recent", "Flagged"};
  EXPECT_TRUE(FlagMap::make(options));
}

// A profile is the user's: whatever it says, his folders work.
TEST(Flags, AStrangeProfileIsPassedOverWithNotes) {
  FlagOptions options;
  options.unseen_names = {"flagged", "1new", "all", "kwzx", "neu", "neu"};
  options.previous_names = {"deleted", "neu", "kwzy", "prevseq"};
  options.hidden = {"neu"};
  options.keyword_map = {{"$Junk", "neu"}, {"$Ham", "prevseq"}, {"$A", "xa"}};
  options.negation = "x";
  const FlagMap map = map_of(options);
  EXPECT_EQ(map.unseen_names(), std::vector<std::string>{"neu"});
  EXPECT_EQ(map.notes().size(), 4u + 3u + 1u + 3u);
  EXPECT_EQ(map.read(Sequences::parse("flagged: 1\nneu: 2\n")).flagged, NumberSet{1});
  EXPECT_EQ(map.sequence_of("$Junk"), "kwzz24Junk");
  EXPECT_EQ(map.sequence_of("prevseq"), "kwzprevseq");
  options.unseen_names = {"replied"};
  options.keyword_map.clear();
  options.hidden.clear();
  EXPECT_EQ(map_of(options).unseen_names(), std::vector<std::string>{"unseen"});
}

TEST(Flags, ANegationThatIsAPrefixOfEverythingStillLetsFlagsWork) {
  FlagOptions options;
  options.negation = "k";
  options.unseen_names = {"kunseen"};
  const FlagMap map = map_of(options);
  EXPECT_EQ(map.read(Sequences::parse("kunseen: 1\n")).unseen, NumberSet{1});
  EXPECT_EQ(keywords(map, "kwzz24Junk: 1\nkxx: 2\n"), "$Junk: 1\n");
  EXPECT_EQ(map.sequence_of("Kxx"), "kwzKxx");
}

// The property on which everything stands, for any keyword and any options.
TEST(Flags, EveryKeywordIsReadBackAsItselfFromANameThatMeansNothingElse) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string_view alphabet = "kwzKWZz24aAbnot$_.-1!&/unseen";
  const std::vector<std::string> words = {"unseen", "neu",    "work",  "junk", "replied",
                                          "draft",  "cur",    "all",   "pseq", "not",
                                          "kwz",    "Recent", "kwzz24"};
  const auto word = [&] {
    std::string text = random() % 2 == 0 ? words[random() % words.size()] : "";
    for (size_t n = random() % 5; n > 0; --n) text += alphabet[random() % alphabet.size()];
    if (random() % 8 == 0) text += static_cast<char>(random() % 256);
    return text;
  };
  int tried = 0;
  for (int round = 0; round < 3000; ++round) {
    FlagOptions options;
    options.unseen_names = {word(), word()};
    options.previous_names = {word(), word()};
    options.hidden = {word()};
    if (random() % 2 == 0) options.negation = word().substr(0, 1 + random() % 3);
    options.keyword_map = {{word(), word()}};
    if (!FlagMap::make(options)) options.keyword_map.clear();
    if (!FlagMap::make(options)) options.hidden.clear();
    const FlagMap map = map_of(options);
    for (int i = 0; i < 10; ++i) {
      const std::string keyword = word();
      const std::string sequence = map.sequence_of(keyword);
      if (sequence.empty()) continue;
      ++tried;
      const auto back = map.keyword_of(sequence);
      ASSERT_TRUE(back) << keyword << " -> " << sequence;
      ASSERT_TRUE(equal_ignoring_case(*back, keyword)) << keyword << " -> " << sequence;
      ASSERT_TRUE(is_nmh_sequence_name(sequence)) << sequence;
      for (const auto& names : {options.previous_names, options.hidden}) {
        for (const auto& name : names) {
          ASSERT_TRUE(sequence != name || name.starts_with("kwz")) << name;
        }
      }
      Sequences sequences;
      ASSERT_TRUE(map.apply(sequences, {kNoFlag, keyword, {1, 2}, {}}));
      const FlagSets sets = map.read(Sequences::parse(sequences.print()));
      ASSERT_EQ(sets.keywords.size(), 1u) << keyword;
      ASSERT_TRUE(sets.unseen.empty() && sets.answered.empty() && sets.flagged.empty() &&
                  sets.deleted.empty() && sets.draft.empty());
      ASSERT_EQ(sets.keywords.at(keyword), (NumberSet{1, 2}));
      ASSERT_TRUE(map.apply(sequences, {kNoFlag, keyword, {}, {1, 2}}));
      ASSERT_EQ(sequences.print(), "");
    }
  }
  EXPECT_GT(tried, 1000);
}

}  // namespace
}  // namespace mh
