// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/number-set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <random>
#include <set>

namespace mh {
namespace {

constexpr uint32_t kTop = 4294967295;

NumberSet nmh(std::string_view text) { return NumberSet::parse_nmh(text); }

std::set<uint32_t> elements(const NumberSet& set) {
  std::set<uint32_t> out;
  set.for_each([&](uint32_t number) { out.insert(number); });
  return out;
}

// Ranges ascend, neither overlap nor touch: what every operation must leave behind.
void expect_sound(const NumberSet& set) {
  uint64_t next_allowed = 0;
  for (const NumberRange& range : set.ranges()) {
    EXPECT_LE(range.first, range.last);
    EXPECT_GE(range.first, next_allowed);
    next_allowed = uint64_t{range.last} + 2;
  }
}

TEST(NumberSet, EmptyHoldsNothing) {
  const NumberSet set;
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(set.count(), 0u);
  EXPECT_FALSE(set.contains(0));
  EXPECT_FALSE(set.contains(kTop));
  EXPECT_EQ(set.print_nmh(), "");
}

TEST(NumberSet, AddingJoinsWhatTouches) {
  NumberSet set;
  set.add(3);
  set.add(1);
  EXPECT_EQ(set.print_nmh(), "1 3");
  set.add(2);
  EXPECT_EQ(set.print_nmh(), "1-3");
  EXPECT_EQ(set.ranges().size(), 1u);
  set.add_range(10, 5);
  EXPECT_EQ(set.print_nmh(), "1-3");
  EXPECT_EQ(set.min(), 1u);
  EXPECT_EQ(set.max(), 3u);
}

TEST(NumberSet, ReachesTheLargestNumberWithoutWrapping) {
  NumberSet set;
  set.add(kTop);
  set.add_range(kTop - 2, kTop - 1);
  EXPECT_EQ(set.ranges().size(), 1u);
  EXPECT_EQ(set.count(), 3u);
  EXPECT_EQ(elements(set).size(), 3u);
  set.remove(kTop);
  EXPECT_EQ(set.max(), kTop - 1);
  set.add_range(0, kTop);
  EXPECT_EQ(set.count(), 4294967296u);
  NumberSet all = set;
  all.subtract(NumberSet{kTop});
  EXPECT_EQ(all.count(), 4294967295u);
  all.unite(NumberSet{kTop});
  EXPECT_EQ(all, set);
  set.remove_range(0, kTop);
  EXPECT_TRUE(set.empty());
}

TEST(NumberSet, RemovingSplitsARange) {
  NumberSet set = nmh("1-10 20");
  set.remove_range(4, 5);
  EXPECT_EQ(set.print_nmh(), "1-3 6-10 20");
  set.remove_range(3, 20);
  EXPECT_EQ(set.print_nmh(), "1-2");
  set.remove(1);
  set.remove(7);
  EXPECT_EQ(set.print_nmh(), "2");
}

TEST(NumberSet, EveryOperationAgreesWithAPlainSet) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    NumberSet sets[2];
    std::set<uint32_t> models[2];
    for (int step = 0; step < 40; ++step) {
      const size_t which = random() % 2;
      const auto first = static_cast<uint32_t>(1 + random() % 60);
      const auto last = static_cast<uint32_t>(first + random() % 6);
      if (random() % 3 != 0) {
        sets[which].add_range(first, last);
        for (uint32_t n = first; n <= last; ++n) models[which].insert(n);
      } else {
        sets[which].remove_range(first, last);
        for (uint32_t n = first; n <= last; ++n) models[which].erase(n);
      }
      expect_sound(sets[which]);
    }
    ASSERT_EQ(elements(sets[0]), models[0]);
    EXPECT_EQ(sets[0].count(), models[0].size());
    for (uint32_t n = 0; n < 70; ++n) EXPECT_EQ(sets[0].contains(n), models[0].contains(n)) << n;

    NumberSet united = sets[0], subtracted = sets[0], intersected = sets[0];
    united.unite(sets[1]);
    subtracted.subtract(sets[1]);
    intersected.intersect(sets[1]);
    std::set<uint32_t> expected[3];
    const auto &a = models[0], &b = models[1];
    std::ranges::set_union(a, b, std::inserter(expected[0], expected[0].end()));
    std::ranges::set_difference(a, b, std::inserter(expected[1], expected[1].end()));
    std::ranges::set_intersection(a, b, std::inserter(expected[2], expected[2].end()));
    ASSERT_EQ(elements(united), expected[0]);
    ASSERT_EQ(elements(subtracted), expected[1]);
    ASSERT_EQ(elements(intersected), expected[2]);
    for (const NumberSet& set : {united, subtracted, intersected}) {
      expect_sound(set);
      EXPECT_EQ(nmh(set.print_nmh()), set);
      EXPECT_EQ(NumberSet::parse_uids(set.print_uids()), set);
    }
  }
}

TEST(NumberSet, PrintsAsNmhDoes) {
  EXPECT_EQ((NumberSet{9, 1, 2, 3, 4}).print_nmh(), "1-4 9");
  EXPECT_EQ((NumberSet{2, 3}).print_nmh(), "2-3");
  EXPECT_EQ((NumberSet{5}).print_nmh(), "5");
}

TEST(NumberSet, ReadsWhatNmhReads) {
  EXPECT_EQ(nmh("1-4 9"), (NumberSet{1, 2, 3, 4, 9}));
  EXPECT_EQ(nmh("002"), (NumberSet{2}));
  EXPECT_EQ(nmh("03-05"), (NumberSet{3, 4, 5}));
  EXPECT_EQ(nmh("9 1\t2\r\n 3\v4\f5 "), (NumberSet{1, 2, 3, 4, 5, 9}));
  EXPECT_EQ(nmh("3-3"), (NumberSet{3}));
  EXPECT_EQ(nmh(""), NumberSet());
  EXPECT_EQ(nmh("2147483647"), (NumberSet{2147483647}));
}

TEST(NumberSet, IgnoresTheTokensThatNmhIgnores) {
  for (const char* token :
       {"3-", "-3", "5-3", "1,2", "x", "2y", "1-2-3", "+4", "0", "0-5", "-", "--", "1-x"}) {
    std::vector<std::string> problems;
    EXPECT_EQ(NumberSet::parse_nmh(std::string("7 ") + token + " 8", &problems), nmh("7-8"))
        << token;
    ASSERT_EQ(problems.size(), 1u) << token;
    EXPECT_NE(problems[0].find(token), std::string::npos) << problems[0];
  }
  std::vector<std::string> problems;
  NumberSet::parse_nmh("1-4 09", &problems);
  EXPECT_TRUE(problems.empty());
}

TEST(NumberSet, NumbersThatWouldWrapInNmhAreIgnored) {
  for (const char* token : {"2147483648", "4294967298", "18446744073709551618", "1-4294967298",
                            "99999999999999999999999999999999", "4294967298-5"}) {
    std::vector<std::string> problems;
    EXPECT_EQ(NumberSet::parse_nmh(std::string("5 ") + token, &problems), (NumberSet{5})) << token;
    EXPECT_EQ(problems.size(), 1u) << token;
  }
}

TEST(NumberSet, NulEndsTheText) {
  std::vector<std::string> problems;
  EXPECT_EQ(NumberSet::parse_nmh(std::string_view("1 2\0 3", 6), &problems), (NumberSet{1, 2}));
  EXPECT_EQ(problems.size(), 1u);
}

TEST(NumberSet, ManyFaultsAreOneProblemOfPrintableText) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "\x01x ";
  std::vector<std::string> problems;
  EXPECT_TRUE(NumberSet::parse_nmh(text, &problems).empty());
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], "what is neither number nor range ignored: \"?x\" and 99999 more");
}

TEST(NumberSet, CurIsTheStartOfTheLastTokenThatStartsWithANumber) {
  EXPECT_EQ(parse_nmh_cur("99"), 99u);
  EXPECT_EQ(parse_nmh_cur("1 2 3"), 3u);
  EXPECT_EQ(parse_nmh_cur("2-4"), 2u);
  EXPECT_EQ(parse_nmh_cur("3-"), 3u);
  EXPECT_EQ(parse_nmh_cur("5-3"), 5u);
  EXPECT_EQ(parse_nmh_cur("4 x"), 4u);
  EXPECT_EQ(parse_nmh_cur(""), std::nullopt);
  EXPECT_EQ(parse_nmh_cur("x -3 0"), std::nullopt);
  EXPECT_EQ(parse_nmh_cur("7 4294967298"), 7u);
}

TEST(NumberSet, UidsAreReadOnlyInTheirOneSpelling) {
  EXPECT_EQ(NumberSet::parse_uids(""), NumberSet());
  EXPECT_EQ(NumberSet::parse_uids("1-5,7,4294967295"), (NumberSet{1, 2, 3, 4, 5, 7, kTop}));
  for (const char* text :
       {"1,", ",1", "1,,2", "1-", "-1", "2-1", "1-1", "01", "1,2", "3,1", "1-3,2", "1-3,4", " 1",
        "1 ", "1;2", "4294967296", "1-4294967296", "x", ","}) {
    const auto set = NumberSet::parse_uids(text);
    ASSERT_FALSE(set) << text;
    EXPECT_EQ(set.error().kind(), ErrorKind::kInvalid);
  }
}

TEST(NumberSet, HundredThousandNumbersInAnyOrderTakeMilliseconds) {
  std::vector<uint32_t> numbers;
  for (uint32_t n = 1; n <= 100000; ++n) numbers.push_back(2 * n);
  std::shuffle(numbers.begin(), numbers.end(), std::mt19937(1));
  std::string text;
  for (const uint32_t n : numbers) text += std::to_string(n) + ' ';
  const auto start = std::chrono::steady_clock::now();
  const NumberSet set = nmh(text);
  const std::string printed = set.print_nmh();
  const auto spent = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(set.ranges().size(), 100000u);
  EXPECT_EQ(nmh(printed), set);
  EXPECT_LT(spent, std::chrono::seconds(1));  // tens of milliseconds; far more under sanitizers
}

}  // namespace
}  // namespace mh
