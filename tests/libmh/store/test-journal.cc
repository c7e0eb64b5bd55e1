// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "libmh/format/journal-line.h"
#include "libmh/store/journal-facts.h"
#include "libmh/system/filename.h"
#include "tests/support/journal-test.h"

namespace mh::test {
namespace {

// As a strange program would: over the old content, in the same file.
void overwrite(const TempDir& dir, const std::string& content, const char* name = "journal") {
  const int fd = ::open(dir.path(name).c_str(), O_WRONLY | O_TRUNC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(static_cast<ssize_t>(content.size()), ::write(fd, content.data(), content.size()));
  ::close(fd);
}

void flip(std::string& content, size_t at) { content[at] = static_cast<char>(content[at] ^ 4); }

// The stamps of the kernel are coarse: a change at once after another may look like none.
void let_the_clock_tick() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

void expect_jumped(const JournalState& state) {
  EXPECT_TRUE(state.rolled_back);
  EXPECT_EQ(kUidBlock + kJump, state.uidnext_limit);
  EXPECT_EQ(kModseqReserve + kJump, state.modseq_floor);
}

// ---- Creating and reading -------------------------------------------------------------------

TEST_F(JournalTest, WhatWasCreatedIsRead) {
  JournalState facts = new_folder();
  facts.records[3] = record_of(3);
  facts.alive = NumberSet{1, 2, 3};
  facts.tombstones[4] = tombstone_of(4);
  facts.options = {"notag"};
  const Journal created = create(facts);
  const Journal opened = open();
  for (const JournalState* state : {&created.state(), &opened.state()}) {
    EXPECT_EQ(facts.header.mailbox_guid, state->header.mailbox_guid);
    EXPECT_EQ(facts.header.uidvalidity, state->header.uidvalidity);
    EXPECT_EQ(facts.header.created, state->header.created);
    EXPECT_NE(0U, state->header.generation);
    EXPECT_EQ(facts.directory, state->directory);
    EXPECT_EQ(facts.uidnext_limit, state->uidnext_limit);
    EXPECT_EQ(facts.modseq_floor, state->modseq_floor);
    EXPECT_EQ(facts.records, state->records);
    EXPECT_EQ(facts.alive, state->alive);
    EXPECT_EQ(facts.tombstones, state->tombstones);
    EXPECT_EQ(facts.options, state->options);
    EXPECT_FALSE(state->rolled_back);
  }
  EXPECT_EQ(created.state().header.generation, opened.state().header.generation);
  EXPECT_EQ(created.state().lines, opened.state().lines);
  EXPECT_EQ(created.offset(), opened.offset());
  EXPECT_TRUE(opened.writable());
}

TEST_F(JournalTest, NoneIsNotFound) {
  EXPECT_EQ(ErrorKind::kNotFound, Journal::open(fs_, dir_.fd()).error().kind());
}

TEST_F(JournalTest, CreateRefusesToReplaceUnlessTold) {
  create_with(3);
  const Result<Journal> second =
      Journal::create(fs_, dir_.fd(), new_folder(), 0600, kAnyGroup, false);
  ASSERT_FALSE(second);
  EXPECT_EQ(ErrorKind::kExists, second.error().kind());
  EXPECT_EQ((NumberSet{1, 2, 3}), open().state().alive);
  EXPECT_EQ((std::vector<std::string>{"journal", "journal.seal"}), dir_.names());
}

TEST_F(JournalTest, CompactionKeepsTheFactsAndGetsANewGeneration) {
  Journal journal = create_with(3);
  JournalState facts = journal.state();
  facts.records.erase(2);  // its tag is on disk: alive it stays
  const Journal compacted = create(facts, true);
  EXPECT_NE(journal.state().header.generation, compacted.state().header.generation);
  EXPECT_EQ((NumberSet{1, 2, 3}), open().state().alive);
  EXPECT_EQ(2U, open().state().records.size());
  EXPECT_EQ((std::vector<std::string>{"journal", "journal.seal"}), dir_.names());
}

TEST_F(JournalTest, ImpossibleFactsAreRefusedAndLeaveNothingBehind) {
  JournalState facts = new_folder();
  facts.alive = NumberSet{0, 1};
  const Result<Journal> refused = Journal::create(fs_, dir_.fd(), facts, 0600, kAnyGroup, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(ErrorKind::kInvalid, refused.error().kind());
  EXPECT_TRUE(dir_.names().empty());
  Journal journal = create();
  journal.add_record(record_of(0));
  EXPECT_EQ(ErrorKind::kInvalid, journal.append().error().kind());
  journal.discard_pending();
  journal.add_record(record_of(1));
  EXPECT_TRUE(journal.append());
  EXPECT_EQ((NumberSet{1}), open().state().alive);
  EXPECT_FALSE(open().state().rolled_back);
}

TEST_F(JournalTest, HasTheRightsItWasGiven) {
  const mode_t mask = ::umask(077);
  EXPECT_TRUE(Journal::create(fs_, dir_.fd(), new_folder(), 0660, ::getegid(), false));
  ::umask(mask);
  for (const char* name : {"journal", "journal.seal"}) {
    const Result<FileStat> stat = fs_.stat(dir_.fd(), name, Follow::kNo);
    ASSERT_TRUE(stat);
    EXPECT_EQ(0660U, stat->mode & 07777U) << name;
    EXPECT_EQ(::getegid(), stat->gid) << name;
  }
}

TEST_F(JournalTest, ALeftoverOfOurPidIsNoObstacle) {
  dir_.write(replacement_name(kJournalFile, static_cast<uint64_t>(fs_.process())), "left over");
  create_with(1);
  EXPECT_EQ((std::vector<std::string>{"journal", "journal.seal"}), dir_.names());
}

// ---- Appending ------------------------------------------------------------------------------

TEST_F(JournalTest, WhatWasAppendedIsStateAndIsReadAgain) {
  Journal journal = create();
  journal.add_uidnext_limit(9000);
  journal.add_modseq_floor(uint64_t{1} << 50);
  journal.add_directory({8, 9, "h", "elsewhere"});
  journal.add_record(record_of(1));
  journal.add_record(record_of(2));
  journal.add_tombstone(tombstone_of(1));
  journal.add_pending_sequences({"head ", "unseen: 1\n", "unseen: 2\n"});
  journal.add_pending_flags("x");
  journal.add_option("notag", true);
  EXPECT_TRUE(journal.has_pending());
  EXPECT_TRUE(journal.state().alive.empty());
  ASSERT_TRUE(journal.append());
  EXPECT_FALSE(journal.has_pending());
  ASSERT_TRUE(journal.flush());
  const Journal again = open();
  for (const JournalState* state : {&journal.state(), &again.state()}) {
    EXPECT_EQ(9000U, state->uidnext_limit);
    EXPECT_EQ(uint64_t{1} << 50, state->modseq_floor);
    EXPECT_EQ("elsewhere", state->directory.path);
    EXPECT_EQ((NumberSet{2}), state->alive);
    EXPECT_EQ(record_of(2), state->records.at(2));
    EXPECT_EQ(tombstone_of(1), state->tombstones.at(1));
    EXPECT_EQ("head unseen: 1\nunseen: 2\n", state->pending_sequences);
    EXPECT_EQ(std::vector<std::string>{"x"}, state->pending_flags);
    EXPECT_TRUE(state->options.contains("notag"));
    EXPECT_FALSE(state->rolled_back);
  }
  EXPECT_EQ(journal.offset(), again.offset());
  EXPECT_EQ(journal.state().lines, again.state().lines);
}

TEST_F(JournalTest, NothingPendingAppendsNothing) {
  Journal journal = create();
  const std::string before = dir_.read("journal");
  EXPECT_TRUE(journal.append());
  EXPECT_TRUE(journal.flush());
  journal.add_record(record_of(1));
  journal.discard_pending();
  EXPECT_TRUE(journal.append());
  EXPECT_EQ(before, dir_.read("journal"));
}

TEST_F(JournalTest, ReservesUidsAheadAndOnlyWhenNeeded) {
  Journal journal = create();
  ASSERT_TRUE(journal.reserve_uids(1, kUidBlock - 1));
  EXPECT_FALSE(journal.has_pending());
  ASSERT_TRUE(journal.reserve_uids(1, kUidBlock));
  ASSERT_TRUE(journal.append());
  EXPECT_EQ(1 + 2 * kUidBlock, journal.state().uidnext_limit);
}

TEST_F(JournalTest, UidsThatAreUsedUpAreAnErrorAndNeverWrap) {
  Journal journal = create();
  ASSERT_TRUE(journal.reserve_uids(kMaxUidNext - 10, 10));
  ASSERT_TRUE(journal.append());
  EXPECT_EQ(kMaxUidNext, journal.state().uidnext_limit);
  EXPECT_EQ(ErrorKind::kInvalid, journal.reserve_uids(kMaxUidNext - 10, 11).error().kind());
  EXPECT_EQ(ErrorKind::kInvalid, journal.reserve_uids(kMaxUidNext, 1).error().kind());
  EXPECT_EQ(ErrorKind::kInvalid, journal.reserve_uids(1, UINT32_MAX).error().kind());
  EXPECT_FALSE(journal.has_pending());
}

// ---- Two processes --------------------------------------------------------------------------

TEST_F(JournalTest, RefreshReadsWhatOthersAppended) {
  Journal ours = create_with(2);
  Journal theirs = open();
  EXPECT_FALSE(*ours.refresh());
  theirs.add_record(record_of(3));
  theirs.add_tombstone(tombstone_of(1));
  theirs.add_uidnext_limit(5000);
  ASSERT_TRUE(theirs.append());
  NumberSet changed{77};
  EXPECT_TRUE(*ours.refresh(&changed));
  EXPECT_EQ((NumberSet{1, 3, 77}), changed);
  EXPECT_EQ((NumberSet{2, 3}), ours.state().alive);
  EXPECT_EQ(5000U, ours.state().uidnext_limit);
  EXPECT_EQ(theirs.offset(), ours.offset());
  EXPECT_FALSE(*ours.refresh());
}

TEST_F(JournalTest, RefreshFollowsACompaction) {
  Journal ours = create_with(3);
  ours.add_tombstone(tombstone_of(3));
  ASSERT_TRUE(ours.append());
  JournalState facts = ours.state();
  facts.tombstones.clear();
  Journal theirs = create(facts, true);
  theirs.add_record(record_of(4));
  ASSERT_TRUE(theirs.append());
  NumberSet changed;
  EXPECT_TRUE(*ours.refresh(&changed));
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), changed);
  EXPECT_EQ((NumberSet{1, 2, 4}), ours.state().alive);
  EXPECT_EQ(theirs.state().header.generation, ours.state().header.generation);
  ours.add_record(record_of(5));
  ASSERT_TRUE(ours.append());
  EXPECT_TRUE(*theirs.refresh());
  EXPECT_EQ((NumberSet{1, 2, 4, 5}), theirs.state().alive);
}

TEST_F(JournalTest, AppendWithoutRefreshOverwritesNobody) {
  Journal ours = create_with(1);
  Journal theirs = open();
  theirs.add_record(record_of(2));
  ASSERT_TRUE(theirs.append());
  ours.add_record(record_of(3));
  EXPECT_EQ(ErrorKind::kBusy, ours.append().error().kind());
  EXPECT_TRUE(ours.has_pending());
  EXPECT_TRUE(*ours.refresh());
  ASSERT_TRUE(ours.append());
  EXPECT_EQ((NumberSet{1, 2, 3}), open().state().alive);
}

TEST_F(JournalTest, ChangedSinceTellsTheUidsBehindAnOffset) {
  Journal journal = create_with(2);
  const uint64_t folded = journal.offset();
  EXPECT_TRUE(journal.changed_since(folded)->empty());
  journal.add_record(record_of(3));
  journal.add_uidnext_limit(7000);
  journal.add_tombstone(tombstone_of(1));
  ASSERT_TRUE(journal.append());
  EXPECT_EQ((NumberSet{1, 3}), *journal.changed_since(folded));
  EXPECT_EQ((NumberSet{1, 3}), *open().changed_since(folded));
  EXPECT_EQ(ErrorKind::kNotFound, journal.changed_since(folded + 1).error().kind());
  EXPECT_EQ(ErrorKind::kNotFound, journal.changed_since(0).error().kind());
  EXPECT_EQ(ErrorKind::kNotFound, journal.changed_since(UINT64_MAX).error().kind());
}

// ---- What a crash leaves --------------------------------------------------------------------

TEST_F(JournalTest, ATornTailIsNoDamageAndIsCutOffByTheNextWriter) {
  create_with(2);
  const std::string whole = dir_.read("journal");
  std::string next_line;
  {
    Journal journal = open();
    journal.add_record(record_of(3));
    ASSERT_TRUE(journal.append());
    next_line = dir_.read("journal").substr(whole.size());
  }
  for (const std::string& tail : {next_line.substr(0, 1), next_line.substr(0, next_line.size() - 1),
                                  std::string(300, '\0'), std::string("garbage\nmore garbage\n")}) {
    overwrite(dir_, whole + tail);
    Journal journal = open();
    EXPECT_FALSE(journal.state().rolled_back);
    EXPECT_EQ((NumberSet{1, 2}), journal.state().alive);
    EXPECT_EQ(whole.size(), journal.offset());
    EXPECT_FALSE(*journal.refresh()) << "nothing new";
    EXPECT_EQ(whole + tail, dir_.read("journal")) << "reading changes nothing";
    journal.add_record(record_of(4));
    ASSERT_TRUE(journal.append());
    EXPECT_EQ(whole.size() + next_line.size(), dir_.read("journal").size());
    EXPECT_EQ((NumberSet{1, 2, 4}), open().state().alive);
    EXPECT_FALSE(open().state().rolled_back);
  }
}

TEST_F(JournalTest, AReaderSeesThatATornTailWasReplacedByAsManyBytes) {
  create_with(2);
  const std::string whole = dir_.read("journal");
  Journal writer = open();
  writer.add_record(record_of(3));
  ASSERT_TRUE(writer.append());
  const std::string after = dir_.read("journal");
  overwrite(dir_, whole + std::string(after.size() - whole.size(), 'x'));
  Journal reader = open();
  EXPECT_EQ((NumberSet{1, 2}), reader.state().alive);
  overwrite(dir_, after);
  EXPECT_TRUE(*reader.refresh());
  EXPECT_EQ((NumberSet{1, 2, 3}), reader.state().alive);
  EXPECT_FALSE(reader.state().rolled_back);
}

TEST_F(JournalTest, WhatIsMissingBehindTheSealWasNeverTold) {
  Journal journal = create_with(2);
  const std::string flushed = dir_.read("journal");
  journal.add_record(record_of(3));
  ASSERT_TRUE(journal.append());  // not flushed: the power may take it
  const std::string appended = dir_.read("journal");
  for (size_t size = flushed.size() + 1; size <= appended.size(); ++size) {
    overwrite(dir_, appended.substr(0, size));
    const Journal read = open();
    EXPECT_FALSE(read.state().rolled_back) << size;
    EXPECT_EQ(size == appended.size(), read.state().alive.contains(3)) << size;
  }
}

// ---- Facts that may be missing --------------------------------------------------------------

// The lines before it may be flushed then, the seal says nothing of them: what is missing behind
// the sealed end is no damage.
TEST_F(JournalTest, ATornTailIsNeverSealed) {
  create_with(2);
  const std::string seal = dir_.read("journal.seal");
  std::string line;
  print_record(line, record_of(3));
  const std::string whole = dir_.read("journal");
  overwrite(dir_, whole + line + line.substr(0, 30));
  Journal journal = open();
  EXPECT_FALSE(journal.state().rolled_back);
  EXPECT_EQ((NumberSet{1, 2, 3}), journal.state().alive);
  EXPECT_TRUE(journal.flush());
  EXPECT_EQ(seal, dir_.read("journal.seal"));
  overwrite(dir_, whole + line);
  EXPECT_FALSE(open().state().rolled_back);
  journal = open();
  journal.add_record(record_of(4));
  EXPECT_TRUE(journal.append());
  EXPECT_TRUE(journal.flush());
  EXPECT_NE(seal, dir_.read("journal.seal"));
  EXPECT_FALSE(open().state().rolled_back);
}

TEST_F(JournalTest, OtherRightsCostAJumpAtMostAndNoFact) {
  create_with(3);
  const JournalState before = open().state();
  let_the_clock_tick();
  ASSERT_EQ(0, ::chmod(dir_.path("journal").c_str(), 0640));
  Journal journal = open();
  EXPECT_EQ(before.alive, journal.state().alive);
  EXPECT_EQ(before.records, journal.state().records);
  EXPECT_LE(before.uidnext_limit, journal.state().uidnext_limit);
  EXPECT_GE(before.uidnext_limit + kJump, journal.state().uidnext_limit);
  journal.add_record(record_of(4));
  EXPECT_TRUE(journal.append());
  EXPECT_TRUE(journal.flush());
  EXPECT_FALSE(open().state().rolled_back);
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), open().state().alive);
  EXPECT_EQ(0640U, fs_.stat(dir_.fd(), "journal", Follow::kNo)->mode & 07777U) << "as was wished";
}

TEST_F(JournalTest, ABadLineInTheMiddleKeepsAllOtherFactsAndJumps) {
  create_with(5);
  std::string content = dir_.read("journal");
  flip(content, content.find("\nI 3 ") + 20);
  overwrite(dir_, content);
  const Journal journal = open();
  expect_jumped(journal.state());
  EXPECT_EQ((NumberSet{1, 2, 4, 5}), journal.state().alive);
}

TEST_F(JournalTest, EveryFlippedByteIsNoticed) {
  create_with(4);
  const std::string good = dir_.read("journal");
  const size_t header = good.find('\n') + 1;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    flip(bad, at);
    overwrite(dir_, bad);
    const Result<Journal> journal = Journal::open(fs_, dir_.fd());
    if (at < header) {
      ASSERT_FALSE(journal) << at;
      EXPECT_EQ(ErrorKind::kCorrupt, journal.error().kind()) << at;
    } else {
      ASSERT_TRUE(journal) << at;
      EXPECT_TRUE(journal->state().rolled_back) << at;
      EXPECT_GT(journal->state().uidnext_limit, kJump) << at;
    }
  }
}

TEST_F(JournalTest, AJournalCutBeforeItsSealJumps) {
  create_with(4);
  const std::string good = dir_.read("journal");
  for (size_t size = good.find('\n') + 1; size < good.size(); ++size) {
    overwrite(dir_, good.substr(0, size));
    EXPECT_TRUE(open().state().rolled_back) << size;
  }
  overwrite(dir_, "");
  EXPECT_EQ(ErrorKind::kCorrupt, Journal::open(fs_, dir_.fd()).error().kind());
}

TEST_F(JournalTest, ARestoredFileJumps) {
  create_with(2);
  const std::string yesterday = dir_.read("journal");
  {
    Journal journal = open();
    journal.add_record(record_of(3));
    ASSERT_TRUE(journal.append());
    ASSERT_TRUE(journal.flush());
  }
  dir_.write("restored", yesterday);
  ASSERT_EQ(0, ::rename(dir_.path("restored").c_str(), dir_.path("journal").c_str()));
  expect_jumped(open().state());
}

TEST_F(JournalTest, AJournalCopiedOverItselfJumps) {
  create_with(2);
  const std::string yesterday = dir_.read("journal");
  Journal journal = open();
  journal.add_record(record_of(3));
  ASSERT_TRUE(journal.append());
  ASSERT_TRUE(journal.flush());
  overwrite(dir_, yesterday);  // cp: the same inode, the same birth time
  expect_jumped(open().state());
  EXPECT_TRUE(*journal.refresh());
  expect_jumped(journal.state());
}

TEST_F(JournalTest, AStateCopiedOverItselfWithItsTimesJumps) {
  create_with(2);
  let_the_clock_tick();
  const std::string journal = dir_.read("journal");
  const std::string seal = dir_.read("journal.seal");
  const Result<FileStat> stat = fs_.stat(dir_.fd(), "journal", Follow::kNo);
  ASSERT_TRUE(stat);
  {
    Journal today = open();
    today.add_record(record_of(3));
    ASSERT_TRUE(today.append());
    ASSERT_TRUE(today.flush());
  }
  overwrite(dir_, journal);  // cp -a over all of it
  overwrite(dir_, seal, "journal.seal");
  const Fd fd(::open(dir_.path("journal").c_str(), O_WRONLY));
  ASSERT_TRUE(fs_.set_times(fd.get(), kLeaveTime, stat->mtime));
  expect_jumped(open().state());
}

TEST_F(JournalTest, ACopyOfTheWholeStateJumpsAndTheOriginalDoesNot) {
  create_with(2);
  const TempDir copy;
  for (const char* name : {"journal", "journal.seal"}) copy.write(name, dir_.read(name));
  const Result<Journal> journal = Journal::open(fs_, copy.fd());
  ASSERT_TRUE(journal);
  expect_jumped(journal->state());
  EXPECT_FALSE(open().state().rolled_back);
}

TEST_F(JournalTest, JumpsOnceNotAtEachOpen) {
  create_with(3);
  std::string content = dir_.read("journal");
  flip(content, content.find("\nI 2 ") + 20);
  overwrite(dir_, content);
  for (int i = 0; i < 3; ++i) expect_jumped(open().state());
  EXPECT_EQ(content, dir_.read("journal")) << "who only reads, repairs nothing";
  Journal writer = open();
  Journal reader = open();
  const uint64_t generation = writer.state().header.generation;
  writer.add_record(record_of(4));
  ASSERT_TRUE(writer.append());
  ASSERT_TRUE(writer.flush());
  EXPECT_NE(generation, writer.state().header.generation);
  for (int i = 0; i < 3; ++i) {
    const Journal repaired = open();
    EXPECT_FALSE(repaired.state().rolled_back);
    EXPECT_EQ(kUidBlock + kJump, repaired.state().uidnext_limit);
    EXPECT_EQ(kModseqReserve + kJump, repaired.state().modseq_floor);
    EXPECT_EQ((NumberSet{1, 3, 4}), repaired.state().alive);
  }
  EXPECT_TRUE(*reader.refresh());
  EXPECT_FALSE(reader.state().rolled_back);
  EXPECT_EQ(writer.offset(), reader.offset());
}

// Two have opened it, both would repair it: the second must not throw away what the first wrote.
TEST_F(JournalTest, ARepairWithoutRefreshOverwritesNobody) {
  create_with(3);
  std::string content = dir_.read("journal");
  flip(content, content.find("\nI 2 ") + 20);
  overwrite(dir_, content);
  Journal first = open();
  Journal second = open();
  first.add_record(record_of(4));
  ASSERT_TRUE(first.append());
  second.add_record(record_of(5));
  EXPECT_EQ(ErrorKind::kBusy, second.append().error().kind());
  EXPECT_TRUE(*second.refresh());
  ASSERT_TRUE(second.append());
  EXPECT_EQ((NumberSet{1, 3, 4, 5}), open().state().alive);
}

TEST_F(JournalTest, OnlyTheSealThatWasWrittenHereTellsOfALostJournal) {
  const Journal journal = create_with(3);
  const std::string text = dir_.read("journal.seal");
  ASSERT_EQ(0, ::unlink(dir_.path("journal").c_str()));
  const auto seal = read_own_seal(fs_, dir_.fd());
  ASSERT_TRUE(seal);
  EXPECT_EQ(journal.state().header.generation, seal->generation);
  EXPECT_EQ(journal.offset(), seal->offset);
  dir_.write("restored", text);
  ASSERT_EQ(0, ::rename(dir_.path("restored").c_str(), dir_.path("journal.seal").c_str()));
  EXPECT_FALSE(read_own_seal(fs_, dir_.fd()));
  ASSERT_EQ(0, ::unlink(dir_.path("journal.seal").c_str()));
  EXPECT_FALSE(read_own_seal(fs_, dir_.fd()));
}

TEST_F(JournalTest, AMissingOrDamagedSealIsNoDamage) {
  create_with(2);
  overwrite(dir_, "E garbage\n", "journal.seal");
  EXPECT_FALSE(open().state().rolled_back);
  ASSERT_EQ(0, ::unlink(dir_.path("journal.seal").c_str()));
  Journal journal = open();
  EXPECT_FALSE(journal.state().rolled_back);
  ASSERT_TRUE(journal.flush());
  EXPECT_TRUE(dir_.exists("journal.seal"));
}

TEST_F(JournalTest, ANewerVersionIsLeftAlone) {
  create_with(1);
  std::string content = dir_.read("journal");
  std::string header;
  JournalLineWriter(header, 'H').number(2U).text("who knows").end();
  content.replace(0, content.find('\n') + 1, header);
  overwrite(dir_, content);
  EXPECT_EQ(ErrorKind::kUnsupported, Journal::open(fs_, dir_.fd()).error().kind());
}

// ---- Strange files --------------------------------------------------------------------------

TEST_F(JournalTest, WhatIsNoRegularFileIsRefusedAndHangsNobody) {
  const std::string path = dir_.path("journal");
  ASSERT_EQ(0, ::mkfifo(path.c_str(), 0600));
  EXPECT_EQ(ErrorKind::kCorrupt, Journal::open(fs_, dir_.fd()).error().kind());
  ASSERT_EQ(0, ::unlink(path.c_str()));
  ASSERT_EQ(0, ::symlink("/etc/passwd", path.c_str()));
  EXPECT_FALSE(Journal::open(fs_, dir_.fd()));
  ASSERT_EQ(0, ::unlink(path.c_str()));
  dir_.make_dir("journal");
  EXPECT_FALSE(Journal::open(fs_, dir_.fd()));
}

TEST_F(JournalTest, AnEndlessLineIsSkipped) {
  create_with(2);
  const std::string good = dir_.read("journal");
  Journal writer = open();
  writer.add_record(record_of(3));
  ASSERT_TRUE(writer.append());
  const std::string line = "\n" + dir_.read("journal").substr(good.size());
  const Fd fd(::open(dir_.path("journal").c_str(), O_WRONLY));
  const off_t end = static_cast<off_t>(good.size()) + (off_t{150} << 20);
  ASSERT_EQ(0, ::ftruncate(fd.get(), end));
  ASSERT_EQ(static_cast<ssize_t>(line.size()), ::pwrite(fd.get(), line.data(), line.size(), end));
  const Journal journal = open();
  expect_jumped(journal.state());
  EXPECT_EQ((NumberSet{1, 2, 3}), journal.state().alive);
}

TEST_F(JournalTest, AWriteOfTheSequencesIsAnEditOfWhatStandsThereWhenItIsAppended) {
  Journal journal = create();
  Journal other = open();
  const std::string text(10000, 'x');
  journal.add_pending_sequences({"", "", text});
  ASSERT_TRUE(journal.append());
  other.add_pending_sequences({"", text, text + "y"});
  EXPECT_FALSE(other.append()) << "it was not read again";
  ASSERT_TRUE(other.refresh());
  journal.add_pending_sequences({"", text, text + "z"});
  ASSERT_TRUE(other.append());
  ASSERT_TRUE(journal.refresh());
  ASSERT_TRUE(journal.append());
  EXPECT_EQ(text + text + "z", journal.state().pending_sequences);
  EXPECT_EQ(journal.state().pending_sequences, open().state().pending_sequences);
  EXPECT_EQ(text + text + "y", open().state().recent_sequences.at(1));
  EXPECT_LT(dir_.read("journal").size(), 11000u);
}

TEST_F(JournalTest, LongTextsSurvive) {
  Journal journal = create();
  std::string text;
  for (int i = 0; i < 3 << 20; ++i) text.push_back(static_cast<char>(i * 7));
  journal.add_pending_sequences({"", text, ""});
  ASSERT_TRUE(journal.append());
  EXPECT_TRUE(open().state().pending_sequences == text);
}

}  // namespace
}  // namespace mh::test
