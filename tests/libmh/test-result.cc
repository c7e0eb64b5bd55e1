// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace mh {
namespace {

TEST(Error, FromErrnoNamesCallObjectAndReason) {
  const Error error = Error::from_errno("open", "/a/b", ENOENT);
  EXPECT_EQ(error.message(), "open(/a/b) failed: No such file or directory");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.sys_errno(), ENOENT);
}

TEST(Error, EveryFullDiskIsNoSpace) {
  EXPECT_EQ(error_kind_of(ENOSPC), ErrorKind::kNoSpace);
  EXPECT_EQ(error_kind_of(EDQUOT), ErrorKind::kNoSpace);
}

TEST(Error, AnUnknownErrnoIsAnIoError) { EXPECT_EQ(error_kind_of(0x7fff), ErrorKind::kIo); }

Result<int> half(int number) {
  if (number % 2 != 0) return fail(ErrorKind::kInvalid, "odd");
  return number / 2;
}

Status check_even(int number) {
  MH_TRY(half(number));
  return {};
}

Result<int> quarter(int number) {
  MH_TRY_SET(const int once, half(number));
  MH_TRY_SET(const int twice, half(once));
  return twice;
}

TEST(Try, PassesTheErrorOnUnchanged) {
  EXPECT_TRUE(check_even(4).has_value());
  const Status failed = check_even(3);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(failed.error().message(), "odd");
}

TEST(TrySet, GivesTheValueOrReturns) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().message(), "odd");
}

Result<std::unique_ptr<int>> boxed(int number) { return std::make_unique<int>(number); }

Result<int> unboxed(int number) {
  MH_TRY_SET(std::unique_ptr<int> box, boxed(number));
  return *box;
}

TEST(TrySet, MovesWhatCannotBeCopied) { EXPECT_EQ(unboxed(7).value(), 7); }

}  // namespace
}  // namespace mh
