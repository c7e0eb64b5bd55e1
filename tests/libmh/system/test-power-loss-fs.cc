// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The model of power loss itself: it must be as cruel as a disk may be, and no more.
#include "tests/support/power-loss-fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>
#include <set>
#include <string>

#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

constexpr uint64_t kSeeds = 120;

class PowerLossFsTest : public ::testing::Test {
 protected:
  // What the outcomes look like, each as "name=content name=content".
  std::set<std::string> outcomes(uint64_t first = 0, uint64_t last = kSeeds) {
    std::set<std::string> seen;
    for (uint64_t seed = first; seed <= last; ++seed) {
      const TempDir left;
      fs_->leave(left.path(), seed);
      std::string text;
      for (const std::string& name : left.names())
        text += (text.empty() ? "" : " ") + name + "=" + left.read(name);
      seen.insert(text);
    }
    return seen;
  }
  void start() { fs_.emplace(dir_.path()); }
  Fd make(const char* name, const std::string& content) {
    auto fd = fs_->open(dir_.fd(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
    EXPECT_TRUE(fd && fs_->pwrite(fd->get(), content.data(), content.size(), 0));
    return std::move(*fd);
  }
  using Outcomes = std::set<std::string>;

  TempDir dir_;
  std::optional<PowerLossFs> fs_;
};

TEST_F(PowerLossFsTest, WhatIsFlushedStays) {
  dir_.write("old", "1");
  start();
  const Fd file = make("new", "2");
  ASSERT_TRUE(fs_->fsync(file.get()));
  ASSERT_TRUE(fs_->fsync(dir_.fd()));
  EXPECT_EQ(outcomes(), (Outcomes{"new=2 old=1"}));
}

TEST_F(PowerLossFsTest, AFlushedFileWithoutItsNameMayBeGone) {
  start();
  ASSERT_TRUE(fs_->fsync(make("f", "x").get()));
  EXPECT_EQ(outcomes(), (Outcomes{"", "f=x"}));
}

TEST_F(PowerLossFsTest, ANameWithoutItsContentMayBeEmptyOrZeros) {
  start();
  const Fd file = make("f", "x");
  ASSERT_TRUE(fs_->fsync(dir_.fd()));
  EXPECT_EQ(outcomes(), (Outcomes{"f=", "f=x", std::string("f=\0", 3)}));
}

TEST_F(PowerLossFsTest, PlainSeeds) {
  dir_.write("old", "1");
  start();
  const Fd file = make("new", "2");
  auto old = fs_->open(dir_.fd(), "old", O_RDWR, 0);
  ASSERT_TRUE(fs_->pwrite(old->get(), "3", 1, 0));
  EXPECT_EQ(outcomes(0, 0), (Outcomes{"old=1"}));
  EXPECT_EQ(outcomes(1, 1), (Outcomes{"new=2 old=3"}));
  EXPECT_EQ(outcomes(2, 2), (Outcomes{"new= old=1"}));
  EXPECT_EQ(outcomes(3, 3), (Outcomes{"old=3"}));
}

TEST_F(PowerLossFsTest, AWriteMayBeTornBetweenBlocks) {
  dir_.write("f", std::string(1024, 'a'));
  start();
  auto file = fs_->open(dir_.fd(), "f", O_RDWR, 0);
  const std::string text(1000, 'b');
  ASSERT_TRUE(fs_->pwrite(file->get(), text.data(), text.size(), 24));
  const std::string a(488, 'a'), b(488, 'b'), head(24, 'a'), a2(512, 'a'), b2(512, 'b');
  EXPECT_EQ(outcomes(), (Outcomes{"f=" + head + a + a2, "f=" + head + b + b2, "f=" + head + a + b2,
                                  "f=" + head + b + a2}));
}

TEST_F(PowerLossFsTest, AnAppendMayBeShort) {
  dir_.write("f", "1\n");
  start();
  auto file = fs_->open(dir_.fd(), "f", O_RDWR, 0);
  ASSERT_TRUE(fs_->pwrite(file->get(), "2\n", 2, 2));
  ASSERT_TRUE(fs_->pwrite(file->get(), "3\n", 2, 4));
  const auto seen = outcomes();
  EXPECT_TRUE(seen.contains("f=1\n"));
  EXPECT_TRUE(seen.contains("f=1\n2\n"));
  EXPECT_TRUE(seen.contains("f=1\n2\n3\n"));
  EXPECT_TRUE(seen.contains(std::string("f=1\n\0\0003\n", 8)));  // a hole: the later write alone
}

TEST_F(PowerLossFsTest, ATruncatedFileMayStillBeLong) {
  dir_.write("f", "old");
  start();
  auto file = fs_->open(dir_.fd(), "f", O_RDWR, 0);
  ASSERT_TRUE(fs_->truncate(file->get(), 0));
  const auto seen = outcomes();
  EXPECT_TRUE(seen.contains("f=old"));
  EXPECT_TRUE(seen.contains("f="));
}

TEST_F(PowerLossFsTest, ARenameMayLeaveEitherNameOrBothButNeverNone) {
  dir_.write("a", "1");
  start();
  ASSERT_TRUE(fs_->rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kNoReplace));
  EXPECT_EQ(outcomes(), (Outcomes{"a=1", "b=1", "a=1 b=1"}));
  ASSERT_TRUE(fs_->fsync(dir_.fd()));
  EXPECT_EQ(outcomes(), (Outcomes{"b=1"}));
}

TEST_F(PowerLossFsTest, ARenameOverAnotherMayNotHaveHappened) {
  dir_.write("f", "old");
  start();
  ASSERT_TRUE(fs_->fsync(make("t", "new").get()));
  ASSERT_TRUE(fs_->rename(dir_.fd(), "t", dir_.fd(), "f", RenameMode::kReplace));
  EXPECT_EQ(outcomes(), (Outcomes{"f=old", "f=new", "f=old t=new", "f=new t=new"}));
}

TEST_F(PowerLossFsTest, AnExchangeLosesNeither) {
  dir_.write("a", "1");
  dir_.write("b", "2");
  start();
  ASSERT_TRUE(fs_->rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kExchange));
  EXPECT_EQ(outcomes(), (Outcomes{"a=1 b=2", "a=2 b=1"}));
}

TEST_F(PowerLossFsTest, AnUnlinkedFileMayComeBack) {
  dir_.write("f", "1");
  start();
  ASSERT_TRUE(fs_->unlink(dir_.fd(), "f"));
  EXPECT_EQ(outcomes(), (Outcomes{"", "f=1"}));
  // And another one made under its name, perhaps with the same inode number, is another one.
  const Fd file = make("f", "2");
  ASSERT_TRUE(fs_->fsync(file.get()));
  EXPECT_EQ(outcomes(), (Outcomes{"", "f=1", "f=2"}));
}

TEST_F(PowerLossFsTest, ANamelessFileHasNothingUntilItIsLinkedAndItsNameFlushed) {
  start();
  auto file = fs_->open(dir_.fd(), ".", O_TMPFILE | O_RDWR, 0600);
  if (!file) GTEST_SKIP() << file.error().message();
  ASSERT_TRUE(fs_->pwrite(file->get(), "x", 1, 0));
  ASSERT_TRUE(fs_->fsync(file->get()));
  EXPECT_EQ(outcomes(), (Outcomes{""}));
  ASSERT_TRUE(fs_->link_fd(file->get(), dir_.fd(), "1"));
  EXPECT_EQ(outcomes(), (Outcomes{"", "1=x"}));
  ASSERT_TRUE(fs_->fsync(dir_.fd()));
  EXPECT_EQ(outcomes(), (Outcomes{"1=x"}));
}

TEST_F(PowerLossFsTest, DirectoriesAreFlushedOneByOneAndSyncfsFlushesAll) {
  dir_.make_dir("sub");
  start();
  auto sub = fs_->open(dir_.fd(), "sub", O_RDONLY | O_DIRECTORY, 0);
  const Fd file = make("sub/f", "x");
  const auto sizes = [&] {
    std::set<int> seen;
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const TempDir left;
      fs_->leave(left.path(), seed);
      EXPECT_TRUE(left.exists("sub"));
      seen.insert(!left.exists("sub/f") ? -1 : static_cast<int>(left.read("sub/f").size()));
    }
    return seen;
  };
  EXPECT_EQ(sizes(), (std::set<int>{-1, 0, 1}));
  ASSERT_TRUE(fs_->fsync(dir_.fd()));
  EXPECT_EQ(sizes(), (std::set<int>{-1, 0, 1}));
  ASSERT_TRUE(fs_->fsync(sub->get()));
  EXPECT_EQ(sizes(), (std::set<int>{0, 1}));
  ASSERT_TRUE(fs_->syncfs(dir_.fd()));
  EXPECT_EQ(sizes(), (std::set<int>{1}));
}

TEST_F(PowerLossFsTest, AMovedDirectoryTakesWhatIsInIt) {
  dir_.make_dir("a");
  dir_.write("a/f", "x");
  start();
  ASSERT_TRUE(fs_->rename(dir_.fd(), "a", dir_.fd(), "b", RenameMode::kNoReplace));
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const TempDir left;
    fs_->leave(left.path(), seed);
    ASSERT_EQ(left.names().size(), 1u);  // a directory has one name
    seen.insert(left.names()[0]);
    EXPECT_EQ(left.read(left.names()[0] + "/f"), "x");
  }
  EXPECT_EQ(seen, (std::set<std::string>{"a", "b"}));
}

TEST_F(PowerLossFsTest, TheSameSeedLeavesTheSame) {
  start();
  const Fd file = make("f", std::string(5000, 'x'));
  for (uint64_t seed = 0; seed < 20; ++seed) EXPECT_EQ(outcomes(seed, seed), outcomes(seed, seed));
}

}  // namespace
}  // namespace mh::test
