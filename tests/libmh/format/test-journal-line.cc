// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/journal-line.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "libmh/format/fingerprint.h"

namespace mh {
namespace {

// A line around `body` whose check is right.
std::string with_check(const std::string& body) {
  std::string line = body + " ";
  append_hex64(line, fingerprint(body));
  return line;
}

std::string without_newline(std::string line) {
  EXPECT_EQ('\n', line.back());
  line.pop_back();
  EXPECT_EQ(std::string::npos, line.find('\n'));
  return line;
}

std::string text_line(std::string_view text) {
  std::string line;
  JournalLineWriter(line, 'S').text(text).end();
  return without_newline(line);
}

TEST(JournalLine, HasThisText) {
  std::string line;
  const std::array<uint8_t, 3> bytes{0, 0xab, 0xff};
  JournalLineWriter writer(line, 'X');
  writer.number(uint32_t{7}).number(int64_t{-5}).hash(0xabc).bytes(bytes).text("a b%").text("");
  writer.end();
  EXPECT_EQ(with_check("X 7 -5 0000000000000abc 00abff a%20b%25 %") + "\n", line);
}

TEST(JournalLine, ReadsWhatWasWritten) {
  std::string line;
  const std::array<uint8_t, 16> bytes{1, 2, 3};
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte.push_back(static_cast<char>(i));
  JournalLineWriter(line, 'I')
      .number(std::numeric_limits<uint32_t>::max())
      .number(std::numeric_limits<uint64_t>::max())
      .number(std::numeric_limits<int64_t>::min())
      .hash(std::numeric_limits<uint64_t>::max())
      .bytes(bytes)
      .text(every_byte)
      .text("")
      .end();
  uint32_t a = 0;
  uint64_t b = 0;
  int64_t c = 0;
  uint64_t d = 0;
  std::array<uint8_t, 16> e{};
  std::string f;
  std::string g = "old";
  const std::string text = without_newline(line);
  JournalLineReader reader(text);
  EXPECT_EQ('I', reader.kind());
  reader.number(a).number(b).number(c).hash(d).bytes(e).text(f).text(g);
  EXPECT_TRUE(reader.end());
  EXPECT_EQ(std::numeric_limits<uint32_t>::max(), a);
  EXPECT_EQ(std::numeric_limits<uint64_t>::max(), b);
  EXPECT_EQ(std::numeric_limits<int64_t>::min(), c);
  EXPECT_EQ(std::numeric_limits<uint64_t>::max(), d);
  EXPECT_EQ(bytes, e);
  EXPECT_EQ(every_byte, f);
  EXPECT_EQ("", g);
}

TEST(JournalLine, SeveralLinesInOneBufferHaveEachTheirOwnCheck) {
  std::string lines = "before\n";
  JournalLineWriter(lines, 'N').number(1U).end();
  JournalLineWriter(lines, 'N').number(2U).end();
  EXPECT_EQ("before\n" + with_check("N 1") + "\n" + with_check("N 2") + "\n", lines);
}

TEST(JournalLine, AnyFlippedBitIsFound) {
  std::string line;
  JournalLineWriter(line, 'T').number(123456U).text("\\Seen $Forwarded").end();
  line = without_newline(line);
  for (size_t bit = 0; bit < line.size() * 8; ++bit) {
    std::string flipped = line;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    JournalLineReader reader(flipped);
    uint32_t number = 0;
    std::string text;
    reader.number(number).text(text);
    EXPECT_FALSE(reader.end()) << "bit " << bit;
  }
}

TEST(JournalLine, AnyTornLineIsFound) {
  const std::string line = text_line("unseen: 1-5");
  for (size_t size = 0; size < line.size(); ++size) {
    EXPECT_EQ(0, JournalLineReader(std::string_view(line).substr(0, size)).kind()) << size;
  }
}

// Under a check that is right, as only a writer of another opinion would make it.
TEST(JournalLine, HasOneSpellingOnly) {
  const auto number_is_read = [](const std::string& field) {
    uint32_t value = 0;
    const std::string line = with_check("N" + field);
    return JournalLineReader(line).number(value).end();
  };
  EXPECT_TRUE(number_is_read(" 7"));
  for (const char* field : {"", " ", "  7", " 7 ", " 07", " +7", " -7", " 7x", " 4294967296", "7"})
    EXPECT_FALSE(number_is_read(field)) << '"' << field << '"';
  const auto text_is_read = [](const std::string& field) {
    std::string value;
    const std::string line = with_check("S " + field);
    return JournalLineReader(line).text(value).end();
  };
  EXPECT_TRUE(text_is_read("%"));
  EXPECT_TRUE(text_is_read("a%0ab"));
  for (const char* field : {"", "%%", "a%", "a%0", "%0A", "%41", "%zz", "a\nb", "\x80", "a b"})
    EXPECT_FALSE(text_is_read(field)) << '"' << field << '"';
}

TEST(JournalLine, FieldsThatAreMissingOrTooManyAreFound) {
  const std::string line = with_check("N 1 2");
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  EXPECT_FALSE(JournalLineReader(line).number(a).end());
  EXPECT_TRUE(JournalLineReader(line).number(a).number(b).end());
  EXPECT_FALSE(JournalLineReader(line).number(a).number(b).number(c).end());
}

TEST(JournalLine, RandomBytesAreNoLine) {
  std::mt19937 random(testing::UnitTest::GetInstance()->random_seed());
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 80, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    JournalLineReader reader(bytes);
    std::string text;
    EXPECT_FALSE(reader.text(text).end());
  }
}

}  // namespace
}  // namespace mh
