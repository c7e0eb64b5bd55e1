// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/path-watch.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tuple>
#include <vector>

#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Kind = PathWatch::Kind;
using Told = std::tuple<Kind, int, std::string>;

class PathWatchTest : public ::testing::Test {
 protected:
  PathWatchTest() : watch_(*PathWatch::open()) {
    dir_.make_dir("one");
    dir_.make_dir("two");
    one_ = *watch_.add_directory(dir_.path("one"));
    two_ = *watch_.add_directory(dir_.path("two"));
  }

  std::vector<Told> read() {
    std::vector<Told> told;
    watch_.read([&](const PathWatch::Event& event) {
      told.emplace_back(event.kind, event.place, std::string(event.name));
    });
    return told;
  }

  test::TempDir dir_;
  PathWatch watch_;
  int one_ = 0;
  int two_ = 0;
};

TEST_F(PathWatchTest, TellsWhatHappenedToWhichNameInWhichDirectory) {
  EXPECT_THAT(read(), IsEmpty());
  dir_.write("one/1", "x");
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kEntry, one_, "1"), Told(Kind::kWritten, one_, "1"),
                                  Told(Kind::kClosed, one_, "1")));
  ASSERT_EQ(::rename(dir_.path("one/1").c_str(), dir_.path("two/2").c_str()), 0);
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kEntry, one_, "1"), Told(Kind::kEntry, two_, "2")));
  ASSERT_EQ(::unlink(dir_.path("two/2").c_str()), 0);
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kEntry, two_, "2")));
}

TEST_F(PathWatchTest, AFileOpenForWritingIsToldOfWhenItIsClosed) {
  dir_.write("one/1", "x");
  (void)read();
  Fd file(::open(dir_.path("one/1").c_str(), O_WRONLY));
  EXPECT_THAT(read(), IsEmpty());
  file = Fd();
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kClosed, one_, "1")));
}

TEST_F(PathWatchTest, ReadingIsNoChange) {
  dir_.write("one/1", "x");
  (void)read();
  EXPECT_EQ(dir_.read("one/1"), "x");
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(PathWatchTest, ADirectoryHasOneNumberUntilItIsGone) {
  EXPECT_EQ(*watch_.add_directory(dir_.path("one")), one_);
  ASSERT_EQ(::rmdir(dir_.path("one").c_str()), 0);
  EXPECT_THAT(read(), Contains(Told(Kind::kTree, one_, "")));
  dir_.make_dir("one");
  EXPECT_NE(*watch_.add_directory(dir_.path("one")), one_);
}

TEST_F(PathWatchTest, TellsOfDirectoriesThatComeAndGo) {
  dir_.make_dir("one/sub");
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kTree, one_, "sub")));
  ASSERT_EQ(::rename(dir_.path("one/sub").c_str(), dir_.path("one/new").c_str()), 0);
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kTree, one_, "sub"), Told(Kind::kTree, one_, "new")));
  ASSERT_EQ(::rmdir(dir_.path("one/new").c_str()), 0);
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kTree, one_, "new")));
}

TEST_F(PathWatchTest, OfAFileItTellsThatItIsWrittenRenamedOrRemoved) {
  dir_.write("file", "x");
  const int file = *watch_.add_file(dir_.path("file"));
  (void)Fd(::open(dir_.path("file").c_str(), O_WRONLY));
  EXPECT_THAT(read(), IsEmpty());
  dir_.write("file", "y");
  const auto written = read();
  EXPECT_FALSE(written.empty());
  EXPECT_THAT(written, Each(Told(Kind::kWritten, file, "")));
  ASSERT_EQ(::rename(dir_.path("file").c_str(), dir_.path("other").c_str()), 0);
  EXPECT_THAT(read(), ElementsAre(Told(Kind::kTree, file, "")));
  ASSERT_EQ(::unlink(dir_.path("other").c_str()), 0);
  EXPECT_THAT(read(), Contains(Told(Kind::kTree, file, "")));
}

TEST_F(PathWatchTest, WhatIsNotThereOrNoDirectoryIsNotWatched) {
  EXPECT_EQ(watch_.add_directory(dir_.path("none")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(watch_.add_file(dir_.path("none")).error().kind(), ErrorKind::kNotFound);
  dir_.write("file", "x");
  EXPECT_FALSE(watch_.add_directory(dir_.path("file")));
}

TEST_F(PathWatchTest, SaysWhenTheQueueWasFull) {
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
  EXPECT_THAT(read(), Contains(Told(Kind::kLost, -1, "")));
}

}  // namespace
}  // namespace mh
