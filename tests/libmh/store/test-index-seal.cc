// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/index-seal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <limits>

#include "tests/support/fault-fs.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

constexpr gid_t kAnyGroup = static_cast<gid_t>(-1);

IndexSeal some_seal() { return {77, 3, 1000, 5, 4096, 900}; }

IndexSeal changed(void (*change)(IndexSeal&)) {
  IndexSeal seal = some_seal();
  change(seal);
  return seal;
}

TEST(IndexSealTest, AnIndexThatWentOnIsNotOlder) {
  EXPECT_FALSE(is_older(some_seal(), some_seal()));
  EXPECT_FALSE(is_older(changed([](IndexSeal& now) {
                          now.log_size += 100;
                          now.highest_modseq += 2;
                        }),
                        some_seal()));
}

TEST(IndexSealTest, ARotatedLogIsAnotherFileOfAHigherSequence) {
  EXPECT_FALSE(is_older(changed([](IndexSeal& now) {
                          now.log_seq += 1;
                          now.log_inode = 2000;
                          now.log_birth = 9;
                          now.log_size = 40;
                        }),
                        some_seal()));
}

TEST(IndexSealTest, WhateverWentBackIsOlder) {
  for (const auto& change : std::initializer_list<void (*)(IndexSeal&)>{
           [](IndexSeal& now) { now.index_id = 78; }, [](IndexSeal& now) { now.log_inode = 1001; },
           [](IndexSeal& now) { now.log_birth = 6; }, [](IndexSeal& now) { now.log_size -= 1; },
           [](IndexSeal& now) { now.highest_modseq -= 1; },
           [](IndexSeal& now) { now.log_seq -= 1; },
           [](IndexSeal& now) {
             now.log_seq += 1;
             now.highest_modseq -= 1;
           }}) {
    EXPECT_TRUE(is_older(changed(change), some_seal()));
  }
}

TEST(IndexSealTest, LineAndBack) {
  constexpr auto kMax64 = std::numeric_limits<uint64_t>::max();
  const IndexSeal seal{UINT32_MAX, UINT32_MAX - 1, kMax64, std::numeric_limits<int64_t>::min(),
                       kMax64 - 1, kMax64 - 2};
  std::string line;
  print_index_seal(line, seal);
  line.pop_back();
  EXPECT_EQ(seal, parse_index_seal(line));
  for (size_t i = 0; i < line.size(); ++i) {
    std::string damaged = line;
    damaged[i] ^= 1;
    EXPECT_FALSE(parse_index_seal(damaged)) << i;
    EXPECT_FALSE(parse_index_seal(line.substr(0, i))) << i;
  }
}

TEST(IndexSealTest, ALongerOneBeforeItDoesNotShowThrough) {
  const TempDir dir;
  Fs& fs = Fs::posix();
  EXPECT_FALSE(read_index_seal(fs, dir.fd()));
  IndexSeal longer = some_seal();
  longer.highest_modseq = std::numeric_limits<uint64_t>::max();
  ASSERT_TRUE(write_index_seal(fs, dir.fd(), longer, 0640, kAnyGroup));
  EXPECT_EQ(longer, read_index_seal(fs, dir.fd()));
  ASSERT_TRUE(write_index_seal(fs, dir.fd(), some_seal(), 0640, kAnyGroup));
  EXPECT_EQ(some_seal(), read_index_seal(fs, dir.fd()));
  EXPECT_EQ(0640U, fs.stat(dir.fd(), "index.seal", Follow::kNo)->mode & 07777U);
}

TEST(IndexSealTest, ATornWriteIsNoSealOrOneOfBoth) {
  for (size_t bytes = 0; bytes < 40; ++bytes) {
    const TempDir dir;
    FaultFs fs;
    ASSERT_TRUE(write_index_seal(fs, dir.fd(), some_seal(), 0600, kAnyGroup));
    fs.reset();
    fs.select({FsCall::kPwrite});
    fs.cut_at(1, bytes, EIO);
    IndexSeal next = some_seal();
    next.log_size = 9999;
    EXPECT_FALSE(write_index_seal(fs, dir.fd(), next, 0600, kAnyGroup));
    const auto seal = read_index_seal(fs, dir.fd());
    EXPECT_TRUE(!seal || *seal == some_seal() || *seal == next) << bytes;
  }
}

TEST(IndexSealTest, WhatIsNoRegularFileHangsNobody) {
  const TempDir dir;
  ASSERT_EQ(0, ::mkfifo(dir.path("index.seal").c_str(), 0600));
  EXPECT_FALSE(read_index_seal(Fs::posix(), dir.fd()));
  EXPECT_FALSE(write_index_seal(Fs::posix(), dir.fd(), some_seal(), 0600, kAnyGroup));
}

}  // namespace
}  // namespace mh::test
