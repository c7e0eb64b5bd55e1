// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/journal-facts.h"

#include <gtest/gtest.h>

#include <limits>

#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr auto kMax32 = std::numeric_limits<uint32_t>::max();
constexpr auto kMax64 = std::numeric_limits<uint64_t>::max();
constexpr auto kMin64 = std::numeric_limits<int64_t>::min();

Record record_of(uint32_t uid) {
  Record record;
  record.uid = uid;
  record.number = uid + 1;
  record.file = {uint64_t{1000} + uid, 2, 3, 4, 5};
  record.prefix = 132;
  record.flags = Record::kTagged | Record::kVerified;
  record.first_hash = 6;
  record.hash = 7;
  record.internal_date = 8;
  record.saved = 9;
  record.guid = {1, 2, 3};
  return record;
}

Tombstone tombstone_of(uint32_t uid) {
  return {uid, 9, 10, {4, 5}, {11, 12, 13, 14, 15}, 16, 17, "\\Seen $Label1"};
}

// Applies every line of `lines`; false when one of them is bad.
bool apply_all(std::string_view lines, JournalState& state) {
  bool good = true;
  while (!lines.empty()) {
    const size_t newline = lines.find('\n');
    if (newline == std::string_view::npos) return false;
    good = apply_line(lines.substr(0, newline), state).good && good;
    lines.remove_prefix(newline + 1);
  }
  return good;
}

// A line whose check is right.
std::string line_of(const std::string& body) {
  std::string line = body + " ";
  append_hex64(line, fingerprint(body));
  return line;
}

TEST(JournalFacts, EveryFieldOfARecordComesBackWithItsExtremes) {
  Record record = record_of(kMaxUidNext - 1);
  record.number = kMax32;
  record.file = {kMax64, kMin64, kMax64, kMin64, std::numeric_limits<int64_t>::max()};
  record.prefix = kMax32;
  record.flags = kMax32;
  record.first_hash = kMax64;
  record.hash = kMax64 - 1;
  record.internal_date = kMax32;
  record.saved = kMax32;
  record.guid.fill(0xff);
  std::string line;
  print_record(line, record);
  JournalState state;
  ASSERT_TRUE(apply_all(line, state));
  EXPECT_EQ(record, state.records.at(record.uid));
}

TEST(JournalFacts, AllFactsComeBack) {
  JournalState state;
  state.uidnext_limit = 5000;
  state.modseq_floor = uint64_t{1} << 40;
  state.directory = {1, kMin64, "1:00ff", "Mail/with blank\n\xff%"};
  state.records[7] = record_of(7);
  state.records[9] = record_of(9);
  state.alive = NumberSet{1, 2, 3, 7, 9, 11};
  state.tombstones[4] = tombstone_of(4);
  state.pending_sequences = std::string("unseen: 1-5\nbad\0line\n", 21);
  state.pending_flags = {"one", "two", "one"};
  state.undecided = {3, 4, 9};
  state.renumbered = {{5, {{7, 8, 6, 1}, {9, 10, 8, 2}}, {1, 2, 3}, {4, 5, 6}},
                      {7, {{7, 6, 5, 1}}, {}, {}}};
  state.renumbering = {8, {{7, 5, 4, 1}}, {7, 8, 9}, "unseen: 1\n", "mine: 2\n"};
  state.options = {"notag", "other option"};
  state.untold[7] = {7, 4, false, true, std::nullopt, "", "", 0};
  state.untold[9] = {9, 0, true, false, "", "0123", "work/old stuff", 12};
  state.untold[11] = {11, 0, false, false, "\\Seen $Label1", "", "", 0};
  std::string lines;
  print_facts(lines, state);
  JournalState read;
  ASSERT_TRUE(apply_all(lines, read));
  EXPECT_EQ(state.uidnext_limit, read.uidnext_limit);
  EXPECT_EQ(state.modseq_floor, read.modseq_floor);
  EXPECT_EQ(state.directory, read.directory);
  EXPECT_EQ(state.records, read.records);
  EXPECT_EQ(state.alive, read.alive);
  EXPECT_EQ(state.tombstones, read.tombstones);
  EXPECT_EQ(state.pending_sequences, read.pending_sequences);
  EXPECT_EQ(state.pending_flags, read.pending_flags);
  EXPECT_EQ(state.undecided, read.undecided);
  EXPECT_EQ(state.renumbered, read.renumbered);
  EXPECT_EQ(state.renumbering, read.renumbering);
  EXPECT_EQ(state.options, read.options);
  EXPECT_EQ(state.untold, read.untold);
  EXPECT_FALSE(read.rolled_back);
}

TEST(JournalFacts, WhatAnIndexHasBeenToldOrIsGoneIsUntoldNoMore) {
  JournalState state;
  std::string lines;
  print_untold(lines, {7, 4, true, false, std::nullopt, "", "", 0});
  print_untold(lines, {8, 5, true, false, std::nullopt, "", "", 0});
  print_tombstone(lines, tombstone_of(7));
  print_untold(lines, {7, 4, true, false, std::nullopt, "", "", 0});
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ(1U, state.untold.size());
  EXPECT_TRUE(state.untold.contains(8));
  lines.clear();
  print_told(lines);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_TRUE(state.untold.empty());
}

TEST(JournalFacts, ARenumberingEndsWithItsLineAndIsForgottenWhenKnown) {
  JournalState state;
  std::string lines;
  print_renumbering(lines, {3, {{1, 2, 1, 1}}, {}, "a: 1", ""});
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_TRUE(state.renumbering);
  lines.clear();
  print_renumbered(lines, {3, {{1, 2, 1, 1}}, {}, {}});
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_FALSE(state.renumbering);
  EXPECT_EQ(1U, state.renumbered.size());
  lines.clear();
  print_renumbering(lines, {4, {{1, 2, 1, 1}}, {}, "a: 1", ""});
  print_renumbered(lines, {4, {}, {}, {}});
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_FALSE(state.renumbering);
  EXPECT_EQ(1U, state.renumbered.size()) << "nothing was moved";
  lines.clear();
  print_renumbered_known(lines, 2);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ(1U, state.renumbered.size());
  lines.clear();
  print_renumbered_known(lines, 3);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_TRUE(state.renumbered.empty());
  EXPECT_FALSE(apply_all(line_of("R 1 % 0 0 0 % %") + "\n", state)) << "without a move";
}

TEST(JournalFacts, EmptyTextsAndOptionsTurnedOffClear) {
  JournalState state;
  std::string lines;
  print_pending_sequences(lines, "unseen: 1");
  print_pending_flags(lines, "a");
  print_pending_flags(lines, "b");
  print_option(lines, "notag", true);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ(2U, state.pending_flags.size());
  lines.clear();
  print_pending_sequences(lines, "");
  print_pending_flags(lines, "");
  print_option(lines, "notag", false);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ("", state.pending_sequences);
  EXPECT_TRUE(state.pending_flags.empty());
  EXPECT_TRUE(state.options.empty());
}

TEST(JournalFacts, AWriteOfTheSequencesIsToldAsAnEditOfTheOneBefore) {
  std::string numbers = "unseen:";
  for (int i = 1; i < 5000; i += 2) numbers += " " + std::to_string(i);
  const std::string flagged = "\nflagged: 7\n";
  const PendingSequences writes[] = {
      {"first ", "", numbers + flagged},
      {"second ", numbers + flagged, numbers + " 5001" + flagged},
      {"third ", numbers + " 5001" + flagged, numbers + "\nflagged: 7     \n"},
      {"removed ", numbers + "\nflagged: 7     \n",
       numbers.substr(0, 7) + numbers.substr(9) + "\nflagged: 7       \n"},
      {"fourth ", "others wrote this\n", "a\na\na\n"},
      {"fifth ", "a\na\na\n", "a\na\n"},
      {"sixth ", "a\na\n", ""},
      {"seventh ", "", "%"},
  };
  JournalState state;
  for (const PendingSequences& write : writes) {
    std::string line;
    print_pending_sequences(line, state.sequences_base, write);
    ASSERT_TRUE(apply_all(line, state)) << write.head;
    EXPECT_EQ(write.head + write.before + write.after, state.pending_sequences);
    EXPECT_EQ(write.after, state.sequences_base);
    EXPECT_TRUE(write.head == "first " || line.size() < 120) << line;
  }
  EXPECT_EQ(std::size(writes), state.recent_sequences.size());
}

TEST(JournalFacts, AnEditOfATextThatIsLostTellsNothing) {
  JournalState state;
  std::string lost, line, next;
  print_pending_sequences(lost, "", {"1 ", "", "unseen: 1\n"});
  print_pending_sequences(line, "unseen: 1\n", {"2 ", "unseen: 1\n", "unseen: 1-2\n"});
  print_pending_sequences(next, "unseen: 1-2\n", {"3 ", "unseen: 1-2\n", "unseen: 1-3\n"});
  ASSERT_TRUE(apply_all(line + next, state));
  EXPECT_EQ("", state.pending_sequences);
  EXPECT_TRUE(state.recent_sequences.empty());
  ASSERT_TRUE(apply_all(lost + line + next, state));
  EXPECT_EQ("3 unseen: 1-2\nunseen: 1-3\n", state.pending_sequences);
  std::string too_much = "E ";
  append_hex64(too_much, fingerprint(state.sequences_base));
  EXPECT_FALSE(apply_all(line_of(too_much + " % 10 10 % % 0 0 % %") + "\n", state));
  EXPECT_EQ("3 unseen: 1-2\nunseen: 1-3\n", state.pending_sequences) << "a bad line is none";
}

TEST(JournalFacts, ADroppedUidNeverReturns) {
  JournalState state;
  std::string lines;
  print_record(lines, record_of(7));
  print_tombstone(lines, tombstone_of(7));
  print_record(lines, record_of(7));
  print_alive(lines, NumberSet{6, 7, 8});
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ((NumberSet{6, 8}), state.alive);
  EXPECT_TRUE(state.records.empty());
  EXPECT_TRUE(state.tombstones.contains(7));
}

TEST(JournalFacts, LimitAndFloorNeverGoDown) {
  JournalState state;
  std::string lines;
  print_uidnext_limit(lines, 2000);
  print_uidnext_limit(lines, 1000);
  print_modseq_floor(lines, 500);
  print_modseq_floor(lines, 400);
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ(2000U, state.uidnext_limit);
  EXPECT_EQ(500U, state.modseq_floor);
}

// The line that raised the limit may be the one that was lost.
TEST(JournalFacts, WhateverNamesAUidRaisesTheLimitAboveIt) {
  for (int kind = 0; kind < 3; ++kind) {
    JournalState state;
    std::string line;
    if (kind == 0) print_record(line, record_of(7000));
    if (kind == 1) print_tombstone(line, tombstone_of(7000));
    if (kind == 2) print_alive(line, NumberSet{1, 7000});
    ASSERT_TRUE(apply_all(line, state));
    EXPECT_EQ(7001U, state.uidnext_limit) << kind;
  }
}

TEST(JournalFacts, ImpossibleFactsAreBadLinesAndChangeNothing) {
  std::string lines;
  print_record(lines, record_of(0));
  print_record(lines, record_of(kMaxUidNext));
  print_tombstone(lines, tombstone_of(0));
  print_tombstone(lines, tombstone_of(kMaxUidNext));
  print_uidnext_limit(lines, 0);
  print_modseq_floor(lines, kMax64);
  for (const char* body :
       {"L 0-5", "L 5-4294967295", "L 7-5", "L %", "O notag 2", "Z 1", "N", "N 1 2", "H 1", ""}) {
    lines += line_of(body) + "\n";
  }
  JournalState state;
  size_t count = 0;
  for (std::string_view rest = lines; !rest.empty(); ++count) {
    const size_t newline = rest.find('\n');
    EXPECT_FALSE(apply_line(rest.substr(0, newline), state).good) << rest.substr(0, newline);
    rest.remove_prefix(newline + 1);
  }
  EXPECT_EQ(16U, count);
  EXPECT_EQ(1U, state.uidnext_limit);
  EXPECT_EQ(0U, state.modseq_floor);
  EXPECT_TRUE(state.alive.empty() && state.records.empty() && state.tombstones.empty());
  EXPECT_TRUE(state.options.empty());
}

// 4 billion UIDs in one line must neither allocate nor loop.
TEST(JournalFacts, AHugeRangeIsOneRange) {
  JournalState state;
  ASSERT_TRUE(apply_line(line_of("L 1-4294967294"), state).good);
  EXPECT_EQ(kMaxUidNext, state.uidnext_limit);
  EXPECT_EQ(4294967294U, state.alive.count());
}

TEST(JournalFacts, ManyRangesAreSeveralLinesOfBoundedLength) {
  NumberSet uids;
  for (uint32_t uid = 1; uid < 200000; uid += 2) uids.add(uid);
  std::string lines;
  print_alive(lines, uids);
  JournalState state;
  ASSERT_TRUE(apply_all(lines, state));
  EXPECT_EQ(uids, state.alive);
  size_t longest = 0;
  for (size_t at = 0; at < lines.size();) {
    const size_t newline = lines.find('\n', at);
    longest = std::max(longest, newline - at);
    at = newline + 1;
  }
  EXPECT_LT(longest, size_t{64} << 10);
}

TEST(JournalFacts, TheHeaderComesBack) {
  HeaderLine header;
  header.header = {0xfedcba9876543210, {1, 2}, 1700000000, -1};
  header.own = {kMax64, kMin64, "129:00 ff"};
  std::string line;
  print_header(line, header);
  line.pop_back();
  const Result<HeaderLine> read = parse_header(line);
  ASSERT_TRUE(read);
  EXPECT_EQ(header.own, read->own);
  EXPECT_EQ(header.header.generation, read->header.generation);
  EXPECT_EQ(header.header.mailbox_guid, read->header.mailbox_guid);
  EXPECT_EQ(header.header.uidvalidity, read->header.uidvalidity);
  EXPECT_EQ(header.header.created, read->header.created);
}

TEST(JournalFacts, ANewerVersionIsUnsupportedNotDamaged) {
  EXPECT_EQ(ErrorKind::kUnsupported, parse_header(line_of("H 2 whatever")).error().kind());
  EXPECT_EQ(ErrorKind::kCorrupt, parse_header(line_of("H 1 whatever")).error().kind());
  EXPECT_EQ(ErrorKind::kCorrupt, parse_header(line_of("H 0 whatever")).error().kind());
  EXPECT_EQ(ErrorKind::kCorrupt, parse_header(line_of("N 2")).error().kind());
  EXPECT_EQ(ErrorKind::kCorrupt, parse_header("H 2 whatever").error().kind());
  EXPECT_EQ(ErrorKind::kCorrupt, parse_header("").error().kind());
}

TEST(JournalFacts, TheSealComesBackAndNothingElseIsOne) {
  const Seal seal{kMax64, kMin64, 0xabcdef, kMax64, kMin64 + 1, kMax64 - 2, kMin64 + 2};
  std::string line;
  print_seal(line, seal);
  line.pop_back();
  EXPECT_EQ(seal, parse_seal(line));
  EXPECT_EQ(std::nullopt, parse_seal(line + " "));
  EXPECT_EQ(std::nullopt, parse_seal(line_of("N 1")));
  EXPECT_EQ(std::nullopt, parse_seal(""));
}

TEST(JournalFacts, AJumpStopsAtTheEnd) {
  JournalState state;
  state.uidnext_limit = 1000;
  state.modseq_floor = 10;
  jump(state, 0);
  EXPECT_TRUE(state.rolled_back);
  EXPECT_EQ(1000 + kJump, state.uidnext_limit);
  EXPECT_EQ(uint64_t{10} + kJump, state.modseq_floor);
  state.uidnext_limit = kMaxUidNext - 5;
  state.modseq_floor = std::numeric_limits<int64_t>::max() - 5;
  for (int i = 0; i < 2; ++i) {
    jump(state, std::numeric_limits<int64_t>::max());
    EXPECT_EQ(kMaxUidNext, state.uidnext_limit);
    EXPECT_EQ(uint64_t{std::numeric_limits<int64_t>::max()}, state.modseq_floor);
  }
}

TEST(JournalFacts, OfTwoJumpsFromOneBackupTheLaterOneGoesFurther) {
  JournalState backup;
  backup.header.created = 1700000000;
  backup.uidnext_limit = 1000;
  backup.modseq_floor = 1000;
  constexpr int64_t kAge = 10 * 365 * 24 * 3600;
  JournalState first = backup;
  jump(first, (backup.header.created + kAge) * kSecond);
  JournalState second = backup;
  jump(second, (backup.header.created + kAge + 3600) * kSecond);
  EXPECT_EQ(first.uidnext_limit + 3600, second.uidnext_limit);
  EXPECT_EQ(first.modseq_floor + 3600 * uint64_t{kSecond} / 64, second.modseq_floor);
  JournalState before_its_time = backup;
  jump(before_its_time, 5 * kSecond);
  EXPECT_EQ(1000 + kJump, before_its_time.uidnext_limit);
}

}  // namespace
}  // namespace mh
