// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A whole Folder, each of whose calls fails, once and from then on. What must hold when the fault
// is over is in tests/support/folder-cases.h.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/folder-cases.h"

namespace mh::test {
namespace {

class FolderFailed : public ::testing::TestWithParam<FolderCase> {};

std::string name_of(const ::testing::TestParamInfo<FolderCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Folder, FolderFailed, ::testing::ValuesIn(folder_cases(Loss::kProcess)),
                         name_of);

TEST_P(FolderFailed, AtEveryCall) {
  if (std::getenv("MH_TEST_LONG") != nullptr) {
    EXPECT_GT(fail_at_every_call(GetParam().steps, {ENOSPC, EIO, EDQUOT, EINTR}), 300);
  } else {
    EXPECT_GT(fail_at_every_call(GetParam().steps, {EIO}), 50);
  }
}

}  // namespace
}  // namespace mh::test
