// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/fingerprint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace mh {
namespace {

std::string pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

// Values of "xxhsum -H3" on the same bytes: what is stored in files must never change its meaning.
TEST(Fingerprint, IsXxh3With64BitsAndSeedZero) {
  EXPECT_EQ(fingerprint(""), 0x2d06800538d394c2u);
  EXPECT_EQ(fingerprint("a"), 0xe6c632b61e964e1fu);
  EXPECT_EQ(fingerprint("Subject: x\n\nbody\n"), 0x93f6eb778c63a0c8u);
  EXPECT_EQ(fingerprint(pattern(5000)), 0x4e7333784a5bbdd6u);
}

TEST(Fingerprint, DoesNotDependOnWhereTheBytesWereCut) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (const size_t size : {0u, 1u, 16u, 17u, 240u, 241u, 1024u, 5000u, 200000u}) {
    const std::string bytes = pattern(size);
    Fingerprint pieces;
    for (size_t at = 0; at < size;) {
      const size_t length = std::min<size_t>(size - at, random() % 700);
      pieces.add(std::string_view(bytes).substr(at, length));
      at += length;
    }
    EXPECT_EQ(pieces.value(), fingerprint(bytes)) << size;
    EXPECT_EQ(pieces.value(), fingerprint(bytes)) << "asked twice";
  }
}

TEST(Fingerprint, CanBeResetAndMoved) {
  Fingerprint first;
  first.add("abc");
  Fingerprint second = std::move(first);
  EXPECT_EQ(second.value(), fingerprint("abc"));
  second.reset();
  EXPECT_EQ(second.value(), fingerprint(""));
}

}  // namespace
}  // namespace mh
