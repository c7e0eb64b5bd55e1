// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libmh/system/filename.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::TempDir;

TEST(Fd, ClosesOnceAndMoves) {
  Fd one(::open("/", O_RDONLY | O_CLOEXEC));
  const int number = one.get();
  Fd two(std::move(one));
  EXPECT_FALSE(one);  // NOLINT(bugprone-use-after-move): that is the question
  two = Fd();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(ReadFile, ReadsAllUpToTheLimitAndNotAByteMore) {
  TempDir dir;
  for (const size_t size : {0u, 1u, 65535u, 65536u, 65537u, 200000u}) {
    const std::string text(size, 'x');
    dir.write("f", text);
    EXPECT_EQ(*read_file(Fs::posix(), dir.fd(), "f", size), text);
    if (size > 0) {
      EXPECT_EQ(read_file(Fs::posix(), dir.fd(), "f", size - 1).error().kind(),
                ErrorKind::kInvalid);
    }
  }
}

TEST(ReadFile, ReadsWhatSaysThatItIsEmpty) {
  // As do all files of /proc.
  EXPECT_NE(read_file(Fs::posix(), AT_FDCWD, "/proc/self/status", 1 << 20)->find("Name:"),
            std::string::npos);
}

TEST(ReadFile, RefusesWhatIsNoRegularFileWithoutWaiting) {
  TempDir dir;
  dir.write("f", "x");
  dir.make_dir("d");
  ASSERT_EQ(::mkfifoat(dir.fd(), "p", 0600), 0);
  ASSERT_EQ(::symlinkat("f", dir.fd(), "l"), 0);
  EXPECT_EQ(read_file(Fs::posix(), dir.fd(), "d", 10).error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(read_file(Fs::posix(), dir.fd(), "p", 10).error().kind(), ErrorKind::kInvalid);
  EXPECT_FALSE(read_file(Fs::posix(), dir.fd(), "l", 10));
  EXPECT_EQ(read_file(Fs::posix(), dir.fd(), "n", 10).error().kind(), ErrorKind::kNotFound);
}

TEST(ReplaceFile, ReplacesAndLeavesNothingBeside) {
  TempDir dir;
  const mode_t mask = ::umask(077);  // the mode given counts, not the umask
  EXPECT_TRUE(replace_file(Fs::posix(), dir.fd(), "f", "one", 0640));
  ::umask(mask);
  EXPECT_EQ(dir.read("f"), "one");
  EXPECT_EQ(Fs::posix().stat(dir.fd(), "f", Follow::kNo)->mode & 07777, 0640u);
  EXPECT_TRUE(replace_file(Fs::posix(), dir.fd(), "f", "", 0600, ::getegid()));
  EXPECT_EQ(dir.read("f"), "");
  EXPECT_EQ(dir.names(), std::vector<std::string>{"f"});
}

TEST(ReplaceFile, IsNotStoppedByWhatAKilledProcessLeft) {
  TempDir dir;
  dir.write(replacement_name("f", static_cast<uint64_t>(::getpid())), "half");
  ASSERT_TRUE(replace_file(Fs::posix(), dir.fd(), "f", "whole", 0600));
  EXPECT_EQ(dir.read("f"), "whole");
  EXPECT_EQ(dir.names(), std::vector<std::string>{"f"});
}

TEST(ReplaceFile, ReplacesASymlinkNotItsTarget) {
  TempDir dir;
  dir.write("victim", "precious");
  ASSERT_EQ(::symlinkat("victim", dir.fd(), "f"), 0);
  ASSERT_TRUE(replace_file(Fs::posix(), dir.fd(), "f", "x", 0600));
  EXPECT_EQ(dir.read("victim"), "precious");
  EXPECT_EQ(Fs::posix().stat(dir.fd(), "f", Follow::kNo)->type, FileType::kRegular);
}

}  // namespace
}  // namespace mh
