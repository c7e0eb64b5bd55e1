// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A whole Folder whose process is killed, or whose machine loses power, at every call and inside of
// writes. What must hold then is in tests/support/folder-checks.h. What a disk keeps of what was
// not flushed is drawn by lot, anew in each run: MH_TEST_SEED=<seed> repeats one.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/support/folder-cases.h"

namespace mh::test {
namespace {

uint64_t seed() {
  const char* given = std::getenv("MH_TEST_SEED");
  static const uint64_t seed = given ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  return seed;
}

uint64_t outcomes() { return std::getenv("MH_TEST_LONG") != nullptr ? 12 : 5; }

class FolderKilled : public ::testing::TestWithParam<FolderCase> {};
class FolderWithoutPower : public ::testing::TestWithParam<FolderCase> {};
class FolderNeverFlushed : public ::testing::TestWithParam<FolderCase> {};

std::string name_of(const ::testing::TestParamInfo<FolderCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Folder, FolderKilled, ::testing::ValuesIn(folder_cases(Loss::kProcess)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Folder, FolderWithoutPower,
                         ::testing::ValuesIn(folder_cases(Loss::kPower)), name_of);

INSTANTIATE_TEST_SUITE_P(Folder, FolderNeverFlushed,
                         ::testing::ValuesIn(folder_cases(Loss::kPowerUnflushed)), name_of);

TEST_P(FolderKilled, AtEveryCall) { EXPECT_GT(kill_at_every_call(GetParam().steps), 30); }

TEST_P(FolderWithoutPower, AtEveryCall) {
  EXPECT_GT(lose_power_at_every_call(GetParam().steps, outcomes(), seed()), 100);
}

TEST_P(FolderNeverFlushed, KeepsWhatWasThereBefore) {
  EXPECT_GT(lose_power_at_every_call(GetParam().steps, outcomes(), seed()), 100);
}

}  // namespace
}  // namespace mh::test
