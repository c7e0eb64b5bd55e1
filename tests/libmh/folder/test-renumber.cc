// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/renumber.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>

namespace mh {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

NumberSet numbers_of(const std::string& text) { return NumberSet::parse_nmh(text); }

std::vector<MessageMove> planned(const std::vector<NumberedFile>& files,
                                 const std::string& in_the_way = "") {
  return plan_pack(files, numbers_of(in_the_way));
}

TEST(PlanPack, APackedFolderNeedsNothing) {
  EXPECT_THAT(planned({}), IsEmpty());
  EXPECT_THAT(planned({{1, 5}, {2, 6}, {3, 4}}), IsEmpty());
}

TEST(PlanPack, EachMessageGoesDownToTheNextFreeNumber) {
  EXPECT_THAT(planned({{1, 1}, {3, 2}, {4, 9}, {10, 3}}),
              ElementsAre(MessageMove{2, 3, 2}, MessageMove{9, 4, 3}, MessageMove{3, 10, 4}));
}

TEST(PlanPack, WhatIsNoMessageIsPassedOver) {
  EXPECT_THAT(planned({{3, 1}, {5, 2}, {6, 3}}, "1 4"),
              ElementsAre(MessageMove{1, 3, 2}, MessageMove{2, 5, 3}, MessageMove{3, 6, 5}));
}

TEST(PlanPack, AFileThatStaysKeepsItsPlaceInTheOrder) {
  EXPECT_THAT(planned({{2, 1}, {5, 0}, {8, 2}, {9, 3}}),
              ElementsAre(MessageMove{1, 2, 1}, MessageMove{2, 8, 6}, MessageMove{3, 9, 7}));
}

Listing listing_of(const std::vector<std::pair<uint32_t, uint64_t>>& files) {
  Listing listing;
  for (const auto& [number, inode] : files) {
    Entry entry;
    entry.number = number;
    entry.file.inode = inode;
    listing.entries.push_back(entry);
  }
  return listing;
}

Record record_of(uint32_t uid, uint32_t number, uint64_t inode) {
  Record record;
  record.uid = uid;
  record.number = number;
  record.file.inode = inode;
  return record;
}

TEST(PlanPack, OfAFolderOnlyFilesThatRecordsKnowAreMoved) {
  Listing listing = listing_of({{3, 30}, {5, 50}, {6, 60}, {7, 70}});
  listing.subfolders = {"1", "old"};
  listing.junk = {"4", "007", "9999999999"};
  // Message 5 was replaced since; message 9, which had number 6, is gone and not buried yet.
  const std::vector<Record> records = {record_of(1, 3, 30), record_of(2, 5, 51),
                                       record_of(8, 6, 60), record_of(9, 6, 61),
                                       record_of(10, 7, 70)};
  const PackPlan plan = plan_pack(listing, records);
  EXPECT_EQ(1u, plan.stay);
  EXPECT_THAT(plan.moves, ElementsAre(MessageMove{1, 3, 2}));
  listing.entries.front().number = 2;
  EXPECT_EQ("1 4", in_the_way(listing).print_nmh());
}

TEST(Runs, AreOfNeighboursThatMoveAlike) {
  const std::vector<MessageMove> moves = {{5, 7, 6}, {6, 8, 7}, {8, 9, 8}, {9, 11, 9}};
  const auto runs = runs_of(moves);
  EXPECT_THAT(runs, ElementsAre(MoveRun{5, 7, 6, 2}, MoveRun{8, 9, 8, 1}, MoveRun{9, 11, 9, 1}));
  EXPECT_EQ(moves, moves_of(runs));
  EXPECT_EQ("5:7>6+2,8:9>8+1,9:11>9+1", print_runs(runs));
  EXPECT_EQ(runs, parse_runs(print_runs(runs)));
}

TEST(Runs, ThatCannotBeAreRefused) {
  for (const char* bad :
       {"x", "1:2>3", "1:2>3+", "1:2>3+0", "0:2>3+1", "1:0>3+1", "1:2>0+1", "4294967294:1>2+2",
        "1:2147483546>1+2", "1:2>3+1,", ",1:2>3+1", "1:2>3+1;", "1:2>3+4294967295"}) {
    EXPECT_FALSE(parse_runs(bad)) << bad;
  }
  EXPECT_TRUE(parse_runs(""));
}

TEST(CarrySequences, WhatHasMovedHasItsFlagsAtItsNewNumber) {
  const Sequences before = Sequences::parse("cur: 7\nunseen: 3 8\nflagged: 20 30\n");
  const std::vector<MovedMessage> messages = {
      {2, 1, 1}, {3, 2, 2}, {7, 3, 3}, {8, 4, 4}, {20, 5, 5}};
  const Sequences carried = carry_sequences(before, before, messages, false);
  EXPECT_EQ("cur: 3\nunseen: 2 4\nflagged: 5 30\n", carried.print());
  EXPECT_EQ(carried.print(), carry_sequences(carried, before, messages, true).print());
}

TEST(CarrySequences, WhatHasNotMovedStays) {
  const Sequences before = Sequences::parse("cur: 5\nunseen: 3 5\n");
  EXPECT_EQ("cur: 5\nunseen: 2 5\n",
            carry_sequences(before, before, std::vector<MovedMessage>{{3, 2, 2}, {5, 3, 5}}, false)
                .print());
}

TEST(CarrySequences, AStaleEntryIsNobodys) {
  const Sequences before = Sequences::parse("unseen: 1 4\n");
  // 1 was a gap.
  EXPECT_EQ("unseen: 3\n",
            carry_sequences(before, before,
                            std::vector<MovedMessage>{{2, 1, 1}, {3, 2, 2}, {4, 3, 3}}, false)
                .print());
}

TEST(CarrySequences, NmhDroppedNumbersThatItFoundNoMessageFor) {
  const Sequences before = Sequences::parse("mine: 2 4\n");
  // 2 and 3 had come to 1 and 2, 4 not yet to 3, when mark flagged what is 1 now.
  const Sequences found = Sequences::parse("mine: 2 4\nflagged: 1\n");
  const std::vector<MovedMessage> messages = {{2, 1, 1}, {3, 2, 2}, {4, 3, 4}};
  EXPECT_EQ("mine: 1 4\nflagged: 1\n", carry_sequences(found, before, messages, false).print());
}

TEST(CarrySequences, WhatCameUnderANumberThatWasLeftKeepsWhatWasSaidOfIt) {
  const Sequences before = Sequences::parse("unseen: 3\n");
  const Sequences found = Sequences::parse("unseen: 3-4\n");
  // 4 has come to 3, and something new to 4.
  EXPECT_EQ("unseen: 2 4\n",
            carry_sequences(found, before, std::vector<MovedMessage>{{3, 2, 2}, {4, 3, 3}}, false)
                .print());
}

// ---- Any renumbering, cut off anywhere, with or without a command of nmh after it -------------

struct World {
  std::map<int, uint32_t> number;  // by message
  std::map<int, std::set<std::string>> flags;
  int current = 0;
  Sequences file;
};

const std::vector<std::string> kNames = {"unseen", "flagged", "mine"};

Sequences file_of(const World& world) {
  Sequences file;
  if (world.current != 0) file.set_cur(world.number.at(world.current));
  for (const auto& [message, flags] : world.flags) {
    for (const std::string& name : flags) file.set(name).add(world.number.at(message));
  }
  return file;
}

// What nmh believes when it reads the file: numbers that exist.
Sequences as_nmh_reads(const World& world) {
  Sequences read = world.file;
  NumberSet there;
  for (const auto& [message, number] : world.number) there.add(number);
  for (const std::string& name : kNames) {
    if (read.find(name) != nullptr) read.set(name).intersect(there);
  }
  return read;
}

class Interrupted {
 public:
  explicit Interrupted(uint32_t seed) : random_(seed) { make(); }

  void pack(size_t done) {
    before_ = world_.file;
    for (size_t i = 0; i < done; ++i) world_.number[messages_[i]] = moves_[i].to;
  }
  void write_new() {
    world_.file = carry_sequences(world_.file, before_, moved(), false);
    written_ = true;
  }
  void forget_that_it_was_written() { written_ = false; }
  // No two files come under one number: from some message on all of them are as before.
  void lose_renames() {
    const size_t kept = static_cast<size_t>(pick(static_cast<int>(moves_.size()) + 1));
    for (size_t i = kept; i < moves_.size(); ++i) world_.number[messages_[i]] = moves_[i].from;
  }
  // Somebody sets a flag or clears one, as he sees them.
  void mark() {
    world_.file = as_nmh_reads(world_);
    change(pick(2) == 0);
  }
  // Numbers are dealt anew, and what nmh sees follows them.
  void sort() {
    const Sequences read = as_nmh_reads(world_);
    std::vector<uint32_t> numbers;
    for (const auto& [message, number] : world_.number) numbers.push_back(number);
    std::vector<uint32_t> dealt = numbers;
    std::shuffle(dealt.begin(), dealt.end(), random_);
    std::map<uint32_t, uint32_t> to;
    for (size_t i = 0; i < numbers.size(); ++i) to[numbers[i]] = dealt[i];
    for (auto& [message, number] : world_.number) number = to.at(number);
    Sequences next;
    next.set_cur(read.cur());
    for (const std::string& name : kNames) {
      const NumberSet* set = read.find(name);
      if (set == nullptr) continue;
      set->for_each([&](uint32_t number) { next.set(name).add(to.at(number)); });
    }
    world_.file = next;
  }
  std::vector<MovedMessage> moved() const {
    std::vector<MovedMessage> all;
    for (size_t i = 0; i < moves_.size(); ++i) {
      all.push_back({moves_[i].from, moves_[i].to, world_.number.at(messages_[i])});
    }
    return all;
  }
  std::string flags_after() const {
    const Sequences result = carry_sequences(world_.file, before_, moved(), written_);
    return text_of([&](int message, const std::string& name) {
      const NumberSet* set = result.find(name);
      return set != nullptr && set->contains(world_.number.at(message));
    });
  }
  std::string flags_wanted() const {
    return text_of([&](int message, const std::string& name) {
      return world_.flags.at(message).contains(name);
    });
  }
  size_t moves() const { return moves_.size(); }
  bool looks_unsorted() const {
    return std::ranges::all_of(moved(), [](const MovedMessage& message) {
      return message.now == message.from || message.now == message.to;
    });
  }
  // Nothing tells then that somebody has written it.
  bool looks_untouched() const {
    NumberSet touched;
    for (const MessageMove& move : moves_) touched.unite({move.from, move.to});
    const auto same = [&](const Sequences& one, const Sequences& other) {
      return std::ranges::all_of(kNames, [&](const std::string& name) {
        NumberSet a = one.find(name) != nullptr ? *one.find(name) : NumberSet();
        NumberSet b = other.find(name) != nullptr ? *other.find(name) : NumberSet();
        a.intersect(touched);
        b.intersect(touched);
        return a == b;
      });
    };
    if (same(world_.file, before_)) return true;
    std::vector<MovedMessage> all;
    for (const MessageMove& move : moves_) all.push_back({move.from, move.to, move.from});
    return std::ranges::any_of(all, [&](MovedMessage& message) {
      message.now = message.to;
      return same(world_.file, carry_sequences(before_, before_, all, false));
    });
  }
  bool is_idempotent() const {
    const Sequences once = carry_sequences(world_.file, before_, moved(), written_);
    return once.print() == carry_sequences(once, before_, moved(), true).print();
  }
  uint32_t current_after() const {
    return carry_sequences(world_.file, before_, moved(), written_).cur();
  }
  uint32_t current_wanted() const {
    return world_.current == 0 ? 0 : world_.number.at(world_.current);
  }
  int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

 private:
  void make() {
    uint32_t number = 0;
    std::vector<NumberedFile> files;
    const int count = 2 + pick(8);
    for (int i = 1; i <= count; ++i) {
      number += 1 + static_cast<uint32_t>(pick(3) == 0 ? pick(3) : 0);
      world_.number[i] = number;
      world_.flags[i];
      for (const std::string& name : kNames) {
        if (pick(3) == 0) world_.flags[i].insert(name);
      }
      files.push_back({number, static_cast<uint32_t>(i)});
    }
    world_.current = pick(count + 1);
    world_.file = file_of(world_);
    moves_ = plan_pack(files, {});
    for (const MessageMove& move : moves_) messages_.push_back(static_cast<int>(move.uid));
  }
  void change(bool on) {
    const int message = 1 + pick(static_cast<int>(world_.number.size()));
    const std::string& name = kNames[static_cast<size_t>(pick(3))];
    NumberSet& set = world_.file.set(name);
    const uint32_t number = world_.number.at(message);
    // What he sees to be so already he leaves as it is.
    if (set.contains(number) == on) return;
    on ? set.add(number) : set.remove(number);
    on ? (void)world_.flags[message].insert(name) : (void)world_.flags[message].erase(name);
  }
  template <typename Has>
  std::string text_of(Has has) const {
    std::string text;
    for (const auto& [message, number] : world_.number) {
      text += std::to_string(message) + ":";
      for (const std::string& name : kNames) {
        if (has(message, name)) text += " " + name;
      }
      text += "\n";
    }
    return text;
  }

  std::mt19937 random_;
  World world_;
  Sequences before_;
  std::vector<MessageMove> moves_;
  std::vector<int> messages_;
  bool written_ = false;
};

constexpr uint32_t kWorlds = 4000;

uint32_t first_seed() {
  static const uint32_t seed = std::random_device{}() / 2;
  return seed;
}

TEST(CarrySequences, CutOffAnywhereEachMessageKeepsItsFlags) {
  for (uint32_t seed = first_seed(); seed < first_seed() + kWorlds; ++seed) {
    Interrupted world(seed);
    world.pack(static_cast<size_t>(world.pick(static_cast<int>(world.moves()) + 1)));
    ASSERT_EQ(world.flags_wanted(), world.flags_after()) << "seed " << seed;
    ASSERT_EQ(world.current_wanted(), world.current_after()) << "seed " << seed;
    ASSERT_TRUE(world.is_idempotent()) << "seed " << seed;
  }
}

TEST(CarrySequences, CutOffAfterTheWriteItIsDone) {
  for (uint32_t seed = first_seed(); seed < first_seed() + kWorlds; ++seed) {
    Interrupted world(seed);
    world.pack(world.moves());
    world.write_new();
    ASSERT_EQ(world.flags_wanted(), world.flags_after()) << "seed " << seed;
    ASSERT_EQ(world.current_wanted(), world.current_after()) << "seed " << seed;
  }
}

TEST(CarrySequences, AfterALossOfPowerAnyFileMayHaveItsOldNumberAgain) {
  for (uint32_t seed = first_seed(); seed < first_seed() + kWorlds; ++seed) {
    Interrupted world(seed);
    world.pack(static_cast<size_t>(world.pick(static_cast<int>(world.moves()) + 1)));
    world.write_new();
    if (world.pick(2) == 0) world.forget_that_it_was_written();
    world.lose_renames();
    ASSERT_EQ(world.flags_wanted(), world.flags_after()) << "seed " << seed;
  }
}

TEST(CarrySequences, MarkCameBeforeAnybodyOfOurs) {
  for (uint32_t seed = first_seed(); seed < first_seed() + kWorlds; ++seed) {
    Interrupted world(seed);
    if (world.pick(3) == 0) {
      world.pack(world.moves());
      world.write_new();
    } else {
      world.pack(static_cast<size_t>(world.pick(static_cast<int>(world.moves()) + 1)));
    }
    world.mark();
    if (world.looks_untouched()) continue;
    ASSERT_EQ(world.flags_wanted(), world.flags_after()) << "seed " << seed;
  }
}

TEST(CarrySequences, SortmCameBeforeAnybodyOfOurs) {
  uint32_t sorted = 0;
  for (uint32_t seed = first_seed(); seed < first_seed() + kWorlds; ++seed) {
    Interrupted world(seed);
    if (world.pick(3) == 0) {
      world.pack(world.moves());
      world.write_new();
    } else {
      world.pack(static_cast<size_t>(world.pick(static_cast<int>(world.moves()) + 1)));
    }
    world.sort();
    if (world.looks_untouched() || world.looks_unsorted()) continue;
    ASSERT_EQ(world.flags_wanted(), world.flags_after()) << "seed " << seed;
    ++sorted;
  }
  EXPECT_GT(sorted, kWorlds / 4);
}

}  // namespace
}  // namespace mh
