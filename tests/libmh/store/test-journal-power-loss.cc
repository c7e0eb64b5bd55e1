// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The journal when the power goes: at each call that changes something, in each of many ways that a
// disk may be left. A tree that was left is made of new files, so a journal in it always counts as
// restored: it jumps. What must hold all the same is that no fact is missing that was told.
#include <sys/stat.h>

#include <optional>

#include "tests/support/fault-fs.h"
#include "tests/support/journal-test.h"
#include "tests/support/power-loss-fs.h"

namespace mh::test {
namespace {

constexpr uint64_t kSeeds = 24;

class JournalPowerLossTest : public JournalTest {
 protected:
  // What was flushed, as the owner of the journal believes: it may be told from now on.
  void tell(const Journal& journal) { told_ = journal.state(); }

  void check_what_is_left() {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      SCOPED_TRACE(seed);
      const TempDir left;
      disk_->leave(left.path(), seed);
      const Result<Journal> journal = Journal::open(fs_, left.fd());
      if (!told_) {
        EXPECT_TRUE(journal || journal.error().kind() == ErrorKind::kNotFound);
        continue;
      }
      ASSERT_TRUE(journal) << journal.error().message();
      const JournalState& state = journal->state();
      NumberSet missing = told_->alive;
      missing.subtract(state.alive);
      for (const auto& [uid, tombstone] : state.tombstones) missing.remove(uid);
      EXPECT_EQ(NumberSet(), missing);
      for (const auto& [uid, tombstone] : told_->tombstones) {
        EXPECT_FALSE(state.alive.contains(uid)) << uid;
      }
      EXPECT_GE(state.uidnext_limit, told_->uidnext_limit);
      EXPECT_GE(state.modseq_floor, told_->modseq_floor);
      EXPECT_EQ(told_->header.uidvalidity, state.header.uidvalidity);
    }
  }

  // Runs `work` once undisturbed, then again with a look before each call that changes something
  // and one at the end. Each time `prepare` makes what is there, flushed, before.
  template <typename Prepare, typename Work>
  void at_each_call(Prepare&& prepare, Work&& work) {
    int calls = 0;
    for (int n = 0; n <= calls; ++n) {
      const TempDir dir;
      told_.reset();
      prepare(dir);
      disk_.emplace(dir.path());
      FaultFs faults(*disk_);
      faults.select_changing();
      if (n > 0) faults.before(n, [&] { check_what_is_left(); });
      work(faults, dir);
      if (n == 0) calls = faults.count();
      if (n > 0) SCOPED_TRACE(faults.trace()[static_cast<size_t>(n) - 1]);
      check_what_is_left();
    }
    EXPECT_GT(calls, 1);
  }

  void prepare_journal(const TempDir& dir, uint32_t count) {
    Result<Journal> journal = Journal::create(fs_, dir.fd(), new_folder(), 0600, kAnyGroup, false);
    ASSERT_TRUE(journal);
    for (uint32_t uid = 1; uid <= count; ++uid) journal->add_record(record_of(uid));
    ASSERT_TRUE(journal->append());
    ASSERT_TRUE(journal->flush());
    tell(*journal);
  }

  std::optional<PowerLossFs> disk_;
  std::optional<JournalState> told_;
};

TEST_F(JournalPowerLossTest, Create) {
  at_each_call([](const TempDir&) {},
               [&](Fs& fs, const TempDir& dir) {
                 const Result<Journal> journal =
                     Journal::create(fs, dir.fd(), new_folder(), 0600, kAnyGroup, false);
                 ASSERT_TRUE(journal);
                 tell(*journal);
               });
}

TEST_F(JournalPowerLossTest, AppendAndFlush) {
  at_each_call([&](const TempDir& dir) { prepare_journal(dir, 3); },
               [&](Fs& fs, const TempDir& dir) {
                 Result<Journal> journal = Journal::open(fs, dir.fd());
                 ASSERT_TRUE(journal);
                 for (uint32_t round = 0; round < 3; ++round) {
                   journal->add_uidnext_limit(5000 * (round + 1));
                   journal->add_modseq_floor(kModseqReserve * (round + 2));
                   // Several blocks of the disk, each of which may be there or not.
                   for (uint32_t uid = 10; uid < 20; ++uid) {
                     journal->add_record(record_of(uid + 100 * round));
                   }
                   journal->add_tombstone(tombstone_of(round + 1));
                   ASSERT_TRUE(journal->append());
                   ASSERT_TRUE(journal->flush());
                   tell(*journal);
                 }
               });
}

TEST_F(JournalPowerLossTest, Compaction) {
  at_each_call([&](const TempDir& dir) { prepare_journal(dir, 30); },
               [&](Fs& fs, const TempDir& dir) {
                 Result<Journal> journal = Journal::open(fs, dir.fd());
                 ASSERT_TRUE(journal);
                 journal->add_tombstone(tombstone_of(7));
                 ASSERT_TRUE(journal->append());
                 ASSERT_TRUE(journal->flush());
                 tell(*journal);
                 Result<Journal> compacted =
                     Journal::create(fs, dir.fd(), journal->state(), 0600, kAnyGroup, true);
                 ASSERT_TRUE(compacted);
                 tell(*compacted);
                 compacted->add_record(record_of(40));
                 ASSERT_TRUE(compacted->append());
                 ASSERT_TRUE(compacted->flush());
                 tell(*compacted);
               });
}

// One that was damaged is replaced at its next append.
TEST_F(JournalPowerLossTest, Repair) {
  at_each_call(
      [&](const TempDir& dir) {
        prepare_journal(dir, 3);
        std::string text = dir.read("journal");
        text[text.find("\nI 2 ") + 20] ^= 1;
        dir.write("journal", text);
        told_->alive.remove(2);
      },
      [&](Fs& fs, const TempDir& dir) {
        Result<Journal> journal = Journal::open(fs, dir.fd());
        ASSERT_TRUE(journal);
        EXPECT_TRUE(journal->state().rolled_back);
        journal->add_record(record_of(9));
        ASSERT_TRUE(journal->append());
        ASSERT_TRUE(journal->flush());
        tell(*journal);
      });
}

}  // namespace
}  // namespace mh::test
