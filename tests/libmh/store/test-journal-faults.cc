// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The journal when calls fail, when the disk is full, and when others look while it is written.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "libmh/store/journal.h"
#include "tests/support/fault-fs.h"
#include "tests/support/journal-test.h"

namespace mh::test {
namespace {

class JournalFaultTest : public JournalTest {
 protected:
  Journal open_faulty() {
    Result<Journal> journal = Journal::open(faults_, dir_.fd());
    if (!journal) ADD_FAILURE() << journal.error().message();
    return std::move(*journal);
  }
  void start_afresh() {
    for (const std::string& name : dir_.names()) ::unlink(dir_.path(name).c_str());
    faults_.reset();
  }
  bool content_has(std::string_view text) {
    return dir_.read("journal").find(text) != std::string::npos;
  }

  FaultFs faults_;
};

void damage_uid_2(const TempDir& dir) {
  std::string content = dir.read("journal");
  const size_t at = content.find("\nI 2 ") + 20;
  const Fd fd(::open(dir.path("journal").c_str(), O_WRONLY));
  ASSERT_EQ(1, ::pwrite(fd.get(), "x", 1, static_cast<off_t>(at)));
}

// ---- Cost -----------------------------------------------------------------------------------

TEST_F(JournalFaultTest, AnUnchangedJournalCostsOneCall) {
  create_with(3);
  Journal journal = open_faulty();
  faults_.reset();
  EXPECT_FALSE(*journal.refresh());
  EXPECT_TRUE(journal.append());
  EXPECT_TRUE(journal.flush());
  EXPECT_EQ(std::vector<std::string>{"stat journal"}, faults_.trace());
}

TEST_F(JournalFaultTest, AppendIsOneWriteAndFlushIsOneFlush) {
  create_with(3);
  Journal journal = open_faulty();
  faults_.reset();
  for (uint32_t uid = 4; uid < 1000; ++uid) journal.add_record(record_of(uid));
  ASSERT_TRUE(journal.append());
  EXPECT_EQ(1, faults_.count(FsCall::kPwrite));
  EXPECT_EQ(0, faults_.count(FsCall::kFdatasync));
  ASSERT_TRUE(journal.flush());
  EXPECT_EQ(1, faults_.count(FsCall::kFdatasync));
  EXPECT_EQ(0, faults_.count(FsCall::kFsync));
  EXPECT_LE(faults_.count(), 7);
  const int before = faults_.count();
  EXPECT_FALSE(*journal.refresh());
  EXPECT_TRUE(journal.flush());
  EXPECT_EQ(before + 1, faults_.count());
}

// ---- A call fails ---------------------------------------------------------------------------

// What one sync does; true when the facts may be told.
bool sync(Journal& journal) {
  if (!journal.refresh()) return false;
  journal.add_uidnext_limit(9000);
  journal.add_record(record_of(4));
  journal.add_tombstone(tombstone_of(1));
  journal.add_record(record_of(5));
  const bool told = journal.append() && journal.flush();
  journal.discard_pending();
  return told;
}

TEST_F(JournalFaultTest, WhicheverCallFailsNothingIsToldThatIsNotThereAndAllRecovers) {
  int calls = 0;
  {
    create_with(3);
    Journal journal = open_faulty();
    faults_.reset();
    ASSERT_TRUE(sync(journal));
    calls = faults_.count();
  }
  for (const int error : {ENOSPC, EIO, EDQUOT}) {
    for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
      for (int n = 1; n <= calls; ++n) {
        start_afresh();
        create_with(3);
        Journal journal = open_faulty();
        faults_.reset();
        faults_.fail_at(n, error, times);
        const bool told = sync(journal);
        SCOPED_TRACE(faults_.trace()[static_cast<size_t>(n) - 1] + ", errno " +
                     std::to_string(error));
        {
          const Journal other = open();
          EXPECT_FALSE(other.state().rolled_back);
          if (told) {
            EXPECT_EQ((NumberSet{2, 3, 4, 5}), other.state().alive);
            EXPECT_EQ(9000U, other.state().uidnext_limit);
          }
        }
        faults_.reset();
        EXPECT_TRUE(sync(journal)) << "later it goes on";
        EXPECT_EQ((NumberSet{2, 3, 4, 5}), journal.state().alive);
        EXPECT_EQ((NumberSet{2, 3, 4, 5}), open().state().alive);
        EXPECT_FALSE(open().state().rolled_back);
      }
    }
  }
}

TEST_F(JournalFaultTest, AFullDiskChangesNothing) {
  create_with(3);
  const std::string before = dir_.read("journal");
  for (const size_t written : {size_t{0}, size_t{1}, size_t{250}, size_t{500}}) {
    Journal journal = open_faulty();
    faults_.reset();
    faults_.select({FsCall::kPwrite});
    faults_.cut_at(1, written, ENOSPC);
    for (uint32_t uid = 4; uid < 10; ++uid) journal.add_record(record_of(uid));
    const Status full = journal.append();
    ASSERT_FALSE(full);
    EXPECT_EQ(ErrorKind::kNoSpace, full.error().kind());
    EXPECT_TRUE(journal.has_pending());
    EXPECT_EQ((NumberSet{1, 2, 3}), journal.state().alive);
    EXPECT_EQ(before.size(), journal.offset());
    EXPECT_EQ(before, dir_.read("journal")) << "cut off again";
    EXPECT_FALSE(open().state().rolled_back) << "though its ctime moved";
    EXPECT_FALSE(*journal.refresh());
    journal.discard_pending();
  }
}

// The disk is full and what was written cannot be cut off either: whole lines of it are there for
// everyone, so they count for us as well, from the next look on.
TEST_F(JournalFaultTest, LinesThatCannotBeCutOffCountForAll) {
  Journal probe = create_with(3);
  const uint64_t end = probe.offset();
  probe.add_record(record_of(4));
  ASSERT_TRUE(probe.append());
  const size_t line = probe.offset() - end;
  start_afresh();
  create_with(3);
  Journal journal = open_faulty();
  faults_.reset();
  faults_.select({FsCall::kPwrite, FsCall::kTruncate});
  faults_.cut_at(1, line + 10, ENOSPC);
  faults_.fail(FsCall::kTruncate, 1, EIO);
  journal.add_record(record_of(4));
  journal.add_record(record_of(5));
  EXPECT_FALSE(journal.append());
  EXPECT_EQ((NumberSet{1, 2, 3}), journal.state().alive);
  EXPECT_EQ(ErrorKind::kBusy, journal.append().error().kind()) << "look first";
  journal.discard_pending();
  const Journal other = open();
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), other.state().alive);
  EXPECT_TRUE(*journal.refresh());
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), journal.state().alive);
  journal.add_record(record_of(6));
  ASSERT_TRUE(journal.append());
  EXPECT_EQ((NumberSet{1, 2, 3, 4, 6}), open().state().alive);
  EXPECT_FALSE(open().state().rolled_back);
}

// After a failed fsync the kernel thinks the pages clean: the next one succeeds and proves nothing.
TEST_F(JournalFaultTest, AFailedFlushIsNotRepeatedButWrittenAnew) {
  create_with(3);
  Journal journal = open_faulty();
  const uint64_t generation = journal.state().header.generation;
  faults_.reset();
  faults_.fail(FsCall::kFdatasync, 1, EIO);
  journal.add_record(record_of(4));
  ASSERT_TRUE(journal.append());
  journal.add_record(record_of(5));
  ASSERT_TRUE(journal.flush());
  EXPECT_EQ(2, faults_.count(FsCall::kFsync)) << "new file and its directory";
  EXPECT_NE(generation, journal.state().header.generation);
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), open().state().alive);
  EXPECT_TRUE(journal.has_pending());
  ASSERT_TRUE(journal.append());
  EXPECT_EQ((NumberSet{1, 2, 3, 4, 5}), open().state().alive);
}

TEST_F(JournalFaultTest, AFailedFlushStaysFailedUntilTheNewFileIsThere) {
  create_with(3);
  Journal journal = open_faulty();
  faults_.reset();
  faults_.fail(FsCall::kFdatasync, 1, EIO);
  faults_.fail(FsCall::kFsync, 1, EIO);
  faults_.fail(FsCall::kFsync, 2, EIO);
  journal.add_record(record_of(4));
  ASSERT_TRUE(journal.append());
  EXPECT_FALSE(journal.flush());
  EXPECT_FALSE(journal.flush()) << "a second fdatasync would succeed";
  EXPECT_EQ(1, faults_.count(FsCall::kFdatasync));
  ASSERT_TRUE(journal.flush());
  EXPECT_EQ((NumberSet{1, 2, 3, 4}), open().state().alive);
}

// The writer was killed between append and flush. Whoever announces its lines must flush them.
TEST_F(JournalFaultTest, LinesOfAKilledWriterAreFlushedByTheNext) {
  Journal killed = create_with(3);
  killed.add_record(record_of(4));
  ASSERT_TRUE(killed.append());
  Journal opened = open_faulty();
  faults_.reset();
  EXPECT_TRUE(opened.flush());
  EXPECT_EQ(1, faults_.count(FsCall::kFdatasync));
  killed.add_record(record_of(5));
  ASSERT_TRUE(killed.append());
  EXPECT_TRUE(*opened.refresh());
  EXPECT_TRUE(opened.flush());
  EXPECT_EQ(2, faults_.count(FsCall::kFdatasync));
  EXPECT_TRUE(opened.flush());
  Journal third = open_faulty();
  EXPECT_TRUE(third.flush());
  EXPECT_EQ(2, faults_.count(FsCall::kFdatasync)) << "the seal says that it was done";
}

TEST_F(JournalFaultTest, CreateFailsAtAnyCallAndLeavesOldOrNew) {
  int calls = 0;
  {
    const JournalState old = create_with(3).state();
    ASSERT_TRUE(Journal::create(faults_, dir_.fd(), old, 0600, kAnyGroup, true));
    calls = faults_.count();
  }
  for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
    for (int n = 1; n <= calls; ++n) {
      start_afresh();
      JournalState facts = create_with(3).state();
      const uint64_t generation = facts.header.generation;
      facts.alive.add(4);
      faults_.fail_at(n, ENOSPC, times);
      const Result<Journal> created =
          Journal::create(faults_, dir_.fd(), facts, 0600, kAnyGroup, true);
      SCOPED_TRACE(faults_.trace()[static_cast<size_t>(n) - 1]);
      const Journal now = open();
      const bool is_new = now.state().header.generation != generation;
      EXPECT_TRUE(is_new || !created);
      EXPECT_EQ(is_new, now.state().alive.contains(4));
      EXPECT_FALSE(now.state().rolled_back);
      faults_.reset();
      ASSERT_TRUE(Journal::create(faults_, dir_.fd(), facts, 0600, kAnyGroup, true));
      EXPECT_TRUE(open().state().alive.contains(4));
      EXPECT_EQ((std::vector<std::string>{"journal", "journal.seal"}), dir_.names());
    }
  }
}

TEST_F(JournalFaultTest, ARepairThatFailsLeavesAllAsItWas) {
  create_with(3);
  damage_uid_2(dir_);
  for (int n = 1;; ++n) {
    Journal journal = open_faulty();
    ASSERT_TRUE(journal.state().rolled_back);
    journal.add_record(record_of(4));
    faults_.reset();
    faults_.fail_at(n, EIO);
    if (journal.append()) break;
    EXPECT_TRUE(journal.has_pending());
    EXPECT_EQ((NumberSet{1, 3}), journal.state().alive);
    const Journal other = open();
    EXPECT_EQ(kUidBlock + kJump, other.state().uidnext_limit);
    if (!other.state().rolled_back) break;  // the new file was there already
    ASSERT_LT(n, 30);
  }
  EXPECT_FALSE(open().state().rolled_back);
}

// ---- Rights and file systems ----------------------------------------------------------------

TEST_F(JournalFaultTest, WithoutTheRightToWriteItIsReadOnly) {
  create_with(2);
  for (const int error : {EACCES, EPERM, EROFS}) {
    faults_.reset();
    faults_.select({FsCall::kOpen});
    faults_.fail_at(2, error);  // the first one opens the seal
    Journal journal = open_faulty();
    EXPECT_FALSE(journal.writable());
    EXPECT_EQ((NumberSet{1, 2}), journal.state().alive);
    journal.add_record(record_of(3));
    EXPECT_EQ(ErrorKind::kReadOnly, journal.append().error().kind());
  }
}

TEST_F(JournalFaultTest, AnOpenThatFailsOtherwiseIsNoReasonToReadOnly) {
  create_with(2);
  faults_.select({FsCall::kOpen});
  faults_.fail_at(2, EMFILE);
  EXPECT_FALSE(Journal::open(faults_, dir_.fd()));
}

TEST_F(JournalFaultTest, AGroupThatIsRefusedToUsGivesNoRightsToAnother) {
  faults_.fail(FsCall::kChown, 1, EPERM);
  ASSERT_TRUE(Journal::create(faults_, dir_.fd(), new_folder(), 0664, 12345, false));
  EXPECT_EQ(0604U, fs_.stat(dir_.fd(), "journal", Follow::kNo)->mode & 07777U);
}

TEST_F(JournalFaultTest, WithoutNoReplaceALinkTakesTheName) {
  faults_.fail(FsCall::kRename, 1, EOPNOTSUPP, FaultFs::Times::kFromThenOn);
  ASSERT_TRUE(Journal::create(faults_, dir_.fd(), new_folder(), 0600, kAnyGroup, false));
  EXPECT_EQ((std::vector<std::string>{"journal", "journal.seal"}), dir_.names());
  EXPECT_FALSE(open().state().rolled_back);
  const Result<Journal> again =
      Journal::create(faults_, dir_.fd(), new_folder(), 0600, kAnyGroup, false);
  ASSERT_FALSE(again);
  EXPECT_EQ(ErrorKind::kExists, again.error().kind());
}

// A file system without birth times; inode numbers that its next mount makes up anew.
class MadeUpFs final : public FaultFs {
 public:
  Result<FileStat> stat(int dir, const char* name, Follow follow) override {
    return changed(FaultFs::stat(dir, name, follow));
  }
  Result<FileStat> fstat(int fd) override { return changed(FaultFs::fstat(fd)); }
  Result<std::string> handle(int fd) override {
    if (!handles_) return fail_errno("handle", "fd", EOPNOTSUPP);
    return FaultFs::handle(fd);
  }
  void mount_again() { shift_ += 1000000; }
  void with_handles() { handles_ = true; }

 private:
  Result<FileStat> changed(Result<FileStat> stat) const {
    if (stat) stat->birth = 0;
    if (stat) stat->inode += shift_;
    return stat;
  }
  uint64_t shift_ = 0;
  bool handles_ = false;
};

TEST_F(JournalFaultTest, WithoutBirthTimesTheSealDecides) {
  MadeUpFs fs;
  ASSERT_TRUE(Journal::create(fs, dir_.fd(), new_folder(), 0600, kAnyGroup, false));
  EXPECT_FALSE(Journal::open(fs, dir_.fd())->state().rolled_back);
  fs.mount_again();
  EXPECT_FALSE(Journal::open(fs, dir_.fd())->state().rolled_back) << "untouched since";
  const TempDir copy;
  const auto ctime = [&](const TempDir& dir) {
    return fs_.stat(dir.fd(), "journal", Follow::kNo)->ctime;
  };
  // The kernel's clock ticks every few milliseconds: a copy made within one tick has the ctime of
  // the original. It lacks nothing that the original had then, and is believed.
  do {
    for (const char* name : {"journal", "journal.seal"}) copy.write(name, dir_.read(name));
  } while (ctime(copy) == ctime(dir_));
  EXPECT_TRUE(Journal::open(fs, copy.fd())->state().rolled_back);
  ASSERT_EQ(0, ::unlink(dir_.path("journal.seal").c_str()));
  EXPECT_TRUE(Journal::open(fs, dir_.fd())->state().rolled_back) << "nothing speaks for it";
}

TEST_F(JournalFaultTest, WithoutBirthTimesTheHandleTellsARestoredFile) {
  MadeUpFs fs;
  fs.with_handles();
  ASSERT_TRUE(Journal::create(fs, dir_.fd(), new_folder(), 0600, kAnyGroup, false));
  if (dir_.read("journal").find(" % ") < dir_.read("journal").find('\n'))
    GTEST_SKIP() << "this file system has no handles";
  EXPECT_FALSE(Journal::open(fs, dir_.fd())->state().rolled_back);
  // The inode number of the removed file is given to the next one at once, as ext4 does: only the
  // handle, which holds the generation of the inode, differs.
  dir_.write("restored", dir_.read("journal"));
  ASSERT_EQ(0, ::rename(dir_.path("restored").c_str(), dir_.path("journal").c_str()));
  ASSERT_EQ(0, ::unlink(dir_.path("journal.seal").c_str()));
  EXPECT_TRUE(Journal::open(fs, dir_.fd())->state().rolled_back);
}

// ---- Others look while it is written --------------------------------------------------------

// Whatever a reader without the lock sees in between, it never takes it for damage.
TEST_F(JournalFaultTest, AReaderNeverTakesAWriterForDamage) {
  for (const bool compact : {false, true}) {
    for (int n = 1; n < 20; ++n) {
      start_afresh();
      create_with(3);
      Journal writer = open_faulty();
      faults_.reset();
      Journal reader = open();
      faults_.before(n, [&] {
        EXPECT_FALSE(open().state().rolled_back) << faults_.trace().back();
        EXPECT_TRUE(reader.refresh());
        EXPECT_FALSE(reader.state().rolled_back) << faults_.trace().back();
      });
      if (compact) {
        ASSERT_TRUE(Journal::create(faults_, dir_.fd(), writer.state(), 0600, kAnyGroup, true));
      } else {
        ASSERT_TRUE(sync(writer));
        ASSERT_TRUE(sync(writer));
      }
      EXPECT_TRUE(reader.refresh());
      EXPECT_EQ(open().state().alive, reader.state().alive);
      EXPECT_FALSE(reader.state().rolled_back);
    }
  }
}

TEST_F(JournalFaultTest, AReaderBetweenAWriteThatFailsAndItsCutIsPutRight) {
  create_with(3);
  Journal writer = open_faulty();
  Journal reader = open();
  faults_.reset();
  faults_.select({FsCall::kPwrite});
  faults_.cut_at(1, 200, ENOSPC);  // one line and a part of the next
  faults_.before(FsCall::kTruncate, 1, [&] {
    EXPECT_TRUE(*reader.refresh());
    EXPECT_EQ((NumberSet{1, 2, 3, 4}), reader.state().alive);
  });
  writer.add_record(record_of(4));
  writer.add_record(record_of(5));
  EXPECT_FALSE(writer.append());
  EXPECT_TRUE(*reader.refresh());
  EXPECT_EQ((NumberSet{1, 2, 3}), reader.state().alive);
  EXPECT_FALSE(reader.state().rolled_back);
}

}  // namespace
}  // namespace mh::test
