// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The store in a file: damaged, replaced, half written.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "libmh/store/store.h"
#include "libmh/system/filename.h"
#include "tests/support/child.h"
#include "tests/support/fault-fs.h"
#include "tests/support/killed-child.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

constexpr gid_t kAnyGroup = static_cast<gid_t>(-1);
constexpr uint32_t kCount = 200;  // some seven pages, one above the others

std::vector<Record> make_records(uint32_t number) {
  std::vector<Record> records(kCount);
  uint32_t uid = 0;
  for (Record& record : records) {
    record.uid = ++uid;
    record.number = number;
    record.hash = uid * 0x9e3779b97f4a7c15;
  }
  return records;
}

// Generation g holds records whose numbers are g, so that a mix of two would show.
StoreHeader header_of(uint32_t generation) {
  StoreHeader header;
  header.generation = generation;
  return header;
}

class BdbStoreTest : public testing::Test {
 protected:
  std::unique_ptr<Store> store(Fs& fs = Fs::posix()) {
    return open_bdb_store(fs, dir_.fd(), dir_.path(), 0600, kAnyGroup);
  }
  void fill(uint32_t generation) {
    ASSERT_TRUE(store()->replace(header_of(generation), make_records(generation)));
  }
  // The generation of a store that is whole; 0 when there is none.
  uint32_t generation_now() {
    const auto now = store();
    const auto header = now->header();
    if (!header && header.error().kind() == ErrorKind::kNotFound) return 0;
    EXPECT_TRUE(header) << header.error().message();
    const auto records = now->load();
    EXPECT_TRUE(records) << records.error().message();
    if (!header || !records) return UINT32_MAX;
    const auto generation = static_cast<uint32_t>(header->generation);
    EXPECT_EQ(make_records(generation), *records);
    return generation;
  }
  void expect_corrupt() {
    const auto now = store();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(ErrorKind::kCorrupt, now->header().error().kind());
      EXPECT_EQ(ErrorKind::kCorrupt, now->load().error().kind());
      EXPECT_EQ(ErrorKind::kCorrupt, now->get(7).error().kind());
    }
  }

  TempDir dir_;
};

// ---- Another process ------------------------------------------------------------------------

TEST_F(BdbStoreTest, SeesThatAnotherProcessReplacedIt) {
  fill(1);
  const auto ours = store();
  EXPECT_EQ(1U, (*ours->get(5))->number);
  fill(2);
  EXPECT_EQ(2U, (*ours->get(5))->number);
  EXPECT_EQ(2U, ours->header()->generation);
  ASSERT_TRUE(store()->remove());
  EXPECT_EQ(ErrorKind::kNotFound, ours->get(5).error().kind());
}

TEST_F(BdbStoreTest, OpensOnlyTheFileThatItHasChecked) {
  fill(1);
  FaultFs fs;
  const auto ours = store(fs);
  // Replaced after the check, before libdb comes by its path: the next try gets it right.
  fs.before(FsCall::kFstat, 1, [&] { fill(2); });
  EXPECT_EQ(2U, (*ours->get(5))->number);
  EXPECT_EQ(4, fs.count(FsCall::kFstat)) << "one file and another, twice";
}

TEST_F(BdbStoreTest, APathThatLeadsElsewhereIsNotBelieved) {
  fill(1);
  const TempDir other;
  const auto wrong = open_bdb_store(Fs::posix(), other.fd(), dir_.path(), 0600, kAnyGroup);
  EXPECT_EQ(ErrorKind::kNotFound, wrong->get(1).error().kind());
  ASSERT_TRUE(open_bdb_store(Fs::posix(), other.fd(), other.path(), 0600, kAnyGroup)
                  ->replace(header_of(2), make_records(2)));
  EXPECT_EQ(ErrorKind::kBusy, wrong->get(1).error().kind());
  EXPECT_FALSE(wrong->replace(header_of(3), make_records(3)));
  EXPECT_EQ(1U, generation_now());
}

TEST_F(BdbStoreTest, AnUnchangedStoreCostsOneCall) {
  fill(1);
  FaultFs fs;
  const auto ours = store(fs);
  ASSERT_TRUE(ours->get(5));
  fs.reset();
  ASSERT_TRUE(ours->get(6));
  EXPECT_EQ(std::vector<std::string>{"stat store.db"}, fs.trace());
}

TEST_F(BdbStoreTest, HasTheRightsItWasGiven) {
  const mode_t mask = ::umask(077);
  EXPECT_TRUE(open_bdb_store(Fs::posix(), dir_.fd(), dir_.path(), 0660, ::getegid())
                  ->replace(header_of(1), make_records(1)));
  ::umask(mask);
  const auto stat = Fs::posix().stat(dir_.fd(), "store.db", Follow::kNo);
  EXPECT_EQ(0660U, stat->mode & 07777U);
  FaultFs fs;
  fs.fail(FsCall::kChown, 1, EPERM);
  EXPECT_TRUE(open_bdb_store(fs, dir_.fd(), dir_.path(), 0660, 12345)
                  ->replace(header_of(1), make_records(1)));
  EXPECT_EQ(0600U, Fs::posix().stat(dir_.fd(), "store.db", Follow::kNo)->mode & 07777U);
}

// ---- Damage ---------------------------------------------------------------------------------

// In a child, so that a crash of libdb is a failure here and not the end of all tests.
TEST_F(BdbStoreTest, AnyFlippedBitIsCorruptNeverWrongNeverACrash) {
  fill(1);
  const std::string good = dir_.read("store.db");
  const auto seed = static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE("seed " + std::to_string(seed));
  const int code = run_in_child([&] {
    std::mt19937 random(seed);
    for (int i = 0; i < 2000; ++i) {
      std::string bad = good;
      for (size_t flips = 1 + random() % 3; flips > 0; --flips)
        bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      if (bad == good) continue;
      dir_.write("store.db", bad);
      const auto damaged = store();
      if (damaged->load() || damaged->header() || damaged->get(random() % kCount)) return 1;
      if (damaged->load().error().kind() != ErrorKind::kCorrupt) return 2;
    }
    return 0;
  });
  EXPECT_EQ(0, code);
}

TEST_F(BdbStoreTest, AnyOtherLengthIsCorrupt) {
  fill(1);
  const std::string good = dir_.read("store.db");
  ASSERT_EQ(0U, good.size() % 4096);
  for (size_t size = 0; size < good.size(); size += 512) {
    dir_.write("store.db", good.substr(0, size));
    expect_corrupt();
  }
  dir_.write("store.db", good + "x");
  expect_corrupt();
  dir_.write("store.db", good + std::string(4096, '\0'));
  expect_corrupt();
  dir_.write("store.db", good);
  EXPECT_EQ(1U, generation_now());
}

TEST_F(BdbStoreTest, WhatIsNoStoreIsCorruptOrRefusedAndHangsNobody) {
  for (const std::string& content :
       {std::string(), std::string("x"), std::string(8192, '\0'), std::string(40960, 'x')}) {
    dir_.write("store.db", content);
    expect_corrupt();
  }
  const std::string path = dir_.path("store.db");
  ::unlink(path.c_str());
  ASSERT_EQ(0, ::mkfifo(path.c_str(), 0600));
  expect_corrupt();
  ::unlink(path.c_str());
  ASSERT_EQ(0, ::mkdir(path.c_str(), 0700));
  expect_corrupt();
  ::rmdir(path.c_str());
  ASSERT_EQ(0, ::symlink("/etc/passwd", path.c_str()));
  EXPECT_FALSE(store()->load());
}

TEST_F(BdbStoreTest, ACorruptStoreIsReplaced) {
  dir_.write("store.db", "garbage");
  fill(2);
  EXPECT_EQ(2U, generation_now());
  EXPECT_EQ(std::vector<std::string>{"store.db"}, dir_.names());
}

// Whoever runs imap reads its stderr in the log; libdb must not write there.
TEST_F(BdbStoreTest, LibdbSaysNothingOnStderr) {
  fill(1);
  testing::internal::CaptureStderr();
  std::string bad = dir_.read("store.db");
  bad[20] ^= 1;
  dir_.write("store.db", bad);
  EXPECT_FALSE(store()->load());
  const auto nowhere = open_bdb_store(Fs::posix(), dir_.fd(), "/nonexistent", 0600, kAnyGroup);
  EXPECT_FALSE(nowhere->replace(header_of(2), make_records(2)));
  EXPECT_EQ("", testing::internal::GetCapturedStderr());
}

// ---- Half written ---------------------------------------------------------------------------

TEST_F(BdbStoreTest, LeftoversOfKilledWritersAreRemovedAndNothingElse) {
  dir_.write(replacement_name("store.db", 4711), "left over");
  dir_.write("__db." + replacement_name("store.db", 4711), "left over");
  dir_.write(replacement_name("journal", 4711), "not ours");
  dir_.write("store.database", "not ours");
  fill(1);
  EXPECT_EQ(
      (std::vector<std::string>{replacement_name("journal", 4711), "store.database", "store.db"}),
      dir_.names());
}

TEST_F(BdbStoreTest, WhicheverCallFailsTheStoreIsOldOrNew) {
  int calls = 0;
  {
    FaultFs fs;
    ASSERT_TRUE(store(fs)->replace(header_of(1), make_records(1)));
    calls = fs.count();
  }
  for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
    for (int n = 1; n <= calls; ++n) {
      fill(1);
      FaultFs fs;
      fs.fail_at(n, ENOSPC, times);
      const Status replaced = store(fs)->replace(header_of(2), make_records(2));
      SCOPED_TRACE(fs.trace()[static_cast<size_t>(n) - 1]);
      const uint32_t now = generation_now();
      EXPECT_TRUE(now == 2 || (now == 1 && !replaced)) << now;
      if (!replaced) {
        EXPECT_EQ(ErrorKind::kNoSpace, replaced.error().kind());
      }
      fill(3);
      EXPECT_EQ(3U, generation_now());
      EXPECT_EQ(std::vector<std::string>{"store.db"}, dir_.names());
    }
  }
}

TEST_F(BdbStoreTest, WhicheverCallFailsWhileReadingTheNextOneReads) {
  fill(1);
  int calls = 0;
  {
    FaultFs fs;
    ASSERT_TRUE(store(fs)->load());
    calls = fs.count();
  }
  for (const int error : {EIO, EMFILE, EACCES}) {
    for (int n = 1; n <= calls; ++n) {
      FaultFs fs;
      fs.fail_at(n, error);
      const auto now = store(fs);
      EXPECT_FALSE(now->load()) << fs.trace()[static_cast<size_t>(n) - 1];
      const auto again = now->load();
      ASSERT_TRUE(again) << again.error().message();
      EXPECT_EQ(make_records(1), *again);
    }
  }
}

TEST_F(BdbStoreTest, KilledAtAnyCallOfTheWriterItIsOldOrNew) {
  for (const Kill kill : {Kill::kBefore, Kill::kInside}) {
    for (int n = 1;; ++n) {
      fill(1);
      const Ended ended = run_and_kill(
          n, kill, [&] { return store()->replace(header_of(2), make_records(2)) ? 0 : 1; });
      if (ended == Ended::kCannot) GTEST_SKIP() << "no process can be traced here";
      ASSERT_NE(Ended::kFailed, ended);
      SCOPED_TRACE(n);
      const uint32_t now = generation_now();
      if (ended == Ended::kByItself) {
        EXPECT_EQ(2U, now);
        EXPECT_GT(n, 20) << "libdb's own calls are among them";
        break;
      }
      EXPECT_TRUE(now == 1 || now == 2) << now;
      ASSERT_LT(n, 500);
    }
    fill(3);
    EXPECT_EQ(3U, generation_now());
    EXPECT_EQ(std::vector<std::string>{"store.db"}, dir_.names());
  }
}

// What the power loses: pages that were never flushed. Any of them, all of them.
TEST_F(BdbStoreTest, AFileWithPagesOfZerosIsCorrupt) {
  fill(1);
  const std::string good = dir_.read("store.db");
  for (size_t at = 0; at < good.size(); at += 4096) {
    std::string bad = good;
    bad.replace(at, 4096, 4096, '\0');
    dir_.write("store.db", bad);
    expect_corrupt();
  }
}

}  // namespace
}  // namespace mh::test
