// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/directory-watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/temp-dir.h"

namespace mh {
namespace {

class DirectoryWatchTest : public ::testing::Test {
 protected:
  DirectoryWatchTest() : watch_(*DirectoryWatch::open()) {
    dir_.make_dir("one");
    dir_.make_dir("two");
    one_ = *watch_.add(dir_.path("one"));
    two_ = *watch_.add(dir_.path("two"));
  }

  test::TempDir dir_;
  DirectoryWatch watch_;
  int one_ = 0;
  int two_ = 0;
};

TEST_F(DirectoryWatchTest, TellsInWhichDirectorySomethingHappened) {
  EXPECT_TRUE(watch_.read().directories.empty());
  dir_.write("one/1", "x");
  EXPECT_EQ(watch_.read().directories, std::set<int>{one_});
  ASSERT_EQ(::rename(dir_.path("one/1").c_str(), dir_.path("two/1").c_str()), 0);
  EXPECT_EQ(watch_.read().directories, (std::set<int>{one_, two_}));
  ASSERT_EQ(::unlink(dir_.path("two/1").c_str()), 0);
  const auto changes = watch_.read();
  EXPECT_EQ(changes.directories, std::set<int>{two_});
  EXPECT_FALSE(changes.tree);
  EXPECT_FALSE(changes.all);
}

TEST_F(DirectoryWatchTest, ReadingIsNoChange) {
  dir_.write("one/1", "x");
  (void)watch_.read();
  EXPECT_EQ(dir_.read("one/1"), "x");
  EXPECT_TRUE(watch_.read().directories.empty());
}

TEST_F(DirectoryWatchTest, ADirectoryHasOneNumberUntilItIsGone) {
  EXPECT_EQ(*watch_.add(dir_.path("one")), one_);
  ASSERT_EQ(::rmdir(dir_.path("one").c_str()), 0);
  EXPECT_TRUE(watch_.read().tree);
  dir_.make_dir("one");
  EXPECT_NE(*watch_.add(dir_.path("one")), one_);
}

TEST_F(DirectoryWatchTest, TellsOfDirectoriesThatComeAndGo) {
  dir_.make_dir("one/sub");
  EXPECT_TRUE(watch_.read().tree);
  ASSERT_EQ(::rename(dir_.path("one/sub").c_str(), dir_.path("one/new").c_str()), 0);
  EXPECT_TRUE(watch_.read().tree);
  ASSERT_EQ(::rmdir(dir_.path("one/new").c_str()), 0);
  EXPECT_TRUE(watch_.read().tree);
}

TEST_F(DirectoryWatchTest, WhatIsNoDirectoryIsNotWatched) {
  EXPECT_EQ(watch_.add(dir_.path("none")).error().kind(), ErrorKind::kNotFound);
  dir_.write("file", "x");
  EXPECT_FALSE(watch_.add(dir_.path("file")));
}

TEST_F(DirectoryWatchTest, SaysWhenTheQueueWasFull) {
  long limit = 0;
  if (FILE* file = std::fopen("/proc/sys/fs/inotify/max_queued_events", "r")) {
    if (std::fscanf(file, "%ld", &limit) != 1) limit = 0;
    std::fclose(file);
  }
  if (limit == 0 || limit > 100000) GTEST_SKIP() << "the kernel's queue is too long to be filled";
  dir_.write("one/1", "");
  dir_.write("two/1", "");
  const Fd files[] = {Fd(::open(dir_.path("one/1").c_str(), O_WRONLY)),
                      Fd(::open(dir_.path("two/1").c_str(), O_WRONLY))};
  // In turn: the kernel makes one of equal events that follow each other.
  for (long i = 0; i <= limit; ++i) ASSERT_EQ(::pwrite(files[i % 2].get(), "x", 1, 0), 1);
  EXPECT_TRUE(watch_.read().all);
}

}  // namespace
}  // namespace mh
