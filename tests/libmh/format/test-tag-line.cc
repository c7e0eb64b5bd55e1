// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/tag-line.h"

#include <gtest/gtest.h>

namespace mh {
namespace {

constexpr TagKey kKey = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

Tag sample() {
  Tag tag;
  tag.uidvalidity = 1700000000;
  tag.uid = 42;
  for (size_t i = 0; i < tag.guid.size(); ++i) tag.guid[i] = static_cast<uint8_t>(0xf0 + i);
  tag.internal_date = 1600000000;
  tag.saved = 7;
  tag.length = 4294967295;
  tag.hash = 0x0123456789abcdef;
  return tag;
}

TEST(TagLine, HasTheFormThatTheFileFormatPromises) {
  const std::string line = format_tag(sample(), kKey);
  ASSERT_EQ(line.size(), kTagLineSize);
  EXPECT_EQ(
      line.substr(0, kTagLineSize - 17),
      "X-MH-UID: 1700000000.0000000042 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff 1600000000 0000000007 "
      "4294967295 0123456789abcdef ");
  EXPECT_EQ(line.back(), '\n');
}

// Computed by another implementation (Python, the reference SipHash-2-4): the check of files that
// exist must never change.
TEST(TagLine, CheckIsSipHash24OfTheTextBeforeIt) {
  EXPECT_EQ(format_tag(sample(), kKey).substr(kTagLineSize - 17, 16), "ab8e07fb702f52f7");
}

TEST(TagLine, WhatIsWrittenIsReadBackAndVerifies) {
  for (const uint32_t value : {1u, 10u, 2147483648u, 4294967295u}) {
    Tag tag = sample();
    tag.uid = tag.uidvalidity = value;
    tag.internal_date = tag.saved = tag.length = value - 1;
    const auto parsed = parse_tag(format_tag(tag, kKey));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->tag, tag);
    EXPECT_TRUE(verify(*parsed, kKey));
  }
}

TEST(TagLine, AnotherSecretOrAnyOtherFieldDoesNotVerify) {
  const std::string line = format_tag(sample(), kKey);
  TagKey other = kKey;
  other[15] ^= 1;
  EXPECT_FALSE(verify(*parse_tag(line), other));
  int changed = 0;
  for (size_t at = 10; at + 1 < line.size(); ++at) {
    std::string forged = line;
    forged[at] = forged[at] == '1' ? '2' : '1';
    if (const auto parsed = parse_tag(forged)) {
      EXPECT_FALSE(verify(*parsed, kKey)) << at;
      ++changed;
    }
  }
  EXPECT_GT(changed, 100);
}

TEST(TagLine, AnyOtherFormIsNoTag) {
  const std::string line = format_tag(sample(), kKey);
  ASSERT_TRUE(parse_tag(line));
  EXPECT_FALSE(parse_tag(""));
  EXPECT_FALSE(parse_tag(line.substr(0, line.size() - 1)));
  EXPECT_FALSE(parse_tag(line + "\n"));
  EXPECT_FALSE(parse_tag(" " + line));
  EXPECT_FALSE(parse_tag(line.substr(0, line.size() - 1) + " "));
  EXPECT_FALSE(parse_tag(line.substr(0, line.size() - 2) + "\r\n"));
  const auto with = [&](size_t at, std::string_view text) {
    std::string changed = line;
    return changed.replace(at, text.size(), text);
  };
  EXPECT_FALSE(parse_tag(with(0, "x")));            // the name in another case
  EXPECT_FALSE(parse_tag(with(10, "9999999999")));  // over 32 bits
  EXPECT_FALSE(parse_tag(with(10, "4294967296")));
  EXPECT_TRUE(parse_tag(with(10, "4294967295")));
  EXPECT_FALSE(parse_tag(with(10, "0000000000")));  // no UIDVALIDITY is 0
  EXPECT_FALSE(parse_tag(with(21, "0000000000")));  // no UID is 0
  EXPECT_FALSE(parse_tag(with(10, " 700000000")));
  EXPECT_FALSE(parse_tag(with(10, "+700000000")));
  EXPECT_FALSE(parse_tag(with(20, " ")));
  EXPECT_FALSE(parse_tag(with(32, "F")));  // upper-case hex
  EXPECT_FALSE(parse_tag(with(32, "g")));
  EXPECT_FALSE(parse_tag(with(32, std::string_view("\0", 1))));
  EXPECT_FALSE(parse_tag(with(99, "A")));
  EXPECT_FALSE(parse_tag(with(64, "\t")));
}

TEST(TagLine, PlaceholderIsAFieldOfTheSameLengthAndNoTag) {
  EXPECT_EQ(tag_placeholder().size(), kTagLineSize);
  EXPECT_EQ(tag_placeholder().substr(0, 10), "X-MH-UID: ");
  EXPECT_EQ(tag_placeholder().find('\n'), kTagLineSize - 1);
  EXPECT_FALSE(parse_tag(tag_placeholder()));
  EXPECT_TRUE(is_tag_placeholder(tag_placeholder()));
  EXPECT_FALSE(is_tag_placeholder(format_tag(sample(), kKey)));
  EXPECT_FALSE(is_tag_placeholder(tag_placeholder().substr(0, kTagLineSize - 1)));
}

}  // namespace
}  // namespace mh
