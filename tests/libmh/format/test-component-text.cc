// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/component-text.h"

#include <gtest/gtest.h>

namespace mh {
namespace {

using namespace std::string_literals;

// "name=value|name=value" of what was read.
std::string read(std::string_view text) {
  std::string out;
  for (const Component& component : parse_components(text).components) {
    if (!out.empty()) out += '|';
    out += component.name + '=' + component.value;
  }
  return out;
}
size_t problems(std::string_view text) { return parse_components(text).problems.size(); }

TEST(ComponentText, ReadsWhatNmhReadsWithoutComplaint) {
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"", ""},
           {"\n", ""},
           {"a: 1\n", "a=1"},
           {"a: 1", "a=1"},
           {"a: 1\n\n", "a=1"},
           {"a:1\nb :\t2 \n", "a=1|b=2"},
           {"a:\n", "a="},
           {"a: 1\r\nb: 2\r\n", "a=1|b=2"},
           {"a: 1\n\t2\n 3\n", "a=1  2  3"},
           {"a:\n 1\n", "a=1"},
           {"a: 1\n   \nb: 2\n", "a=1|b=2"},
           {"a b: x:y\n", "a b=x:y"},
           {": 1\n", "=1"},
           {"A: 1\na: 2\nA: 3\n", "A=1|a=2|A=3"},
           {"#: any text\n", "#=any text"},
           {"a: x\v\ty\n", "a=x  y"},
           {"\xc3\xa9: \xc3\xa9\n", "\xc3\xa9=\xc3\xa9"}}) {
    EXPECT_EQ(read(text), expected) << text;
    EXPECT_EQ(problems(text), 0u) << text;
  }
}

TEST(ComponentText, WhatKillsNmhIsLeftOutAndTold) {
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string, std::string>>{{"a: 1\n\nb: 2\n", "a=1|b=2"},
                                                        {"a: 1\n\n\n", "a=1"},
                                                        {"a: 1\r\n\r\nb: 2\r\n", "a=1|b=2"},
                                                        {"   \na: 1\n", "a=1"},
                                                        {"junk\na: 1\n", "a=1"},
                                                        {"a: 1\njunk", "a=1"},
                                                        {"junk\n b: 2\na: 1\n", "a=1"},
                                                        {"-b: 2\na: 1\n", "a=1"},
                                                        {" a: 1\nb: 2\n", "a=1|b=2"},
                                                        {"\n a: 1\n", "a=1"},
                                                        {"a:", "a="},
                                                        {"a: 1\0 2\nb: 3\n"s, "a=1|b=3"},
                                                        {"a: 1\n 2\0 3\n 4\n"s, "a=1  2"},
                                                        {"a\0b: 1\n"s, "a=1"},
                                                        {"a \0b: 1\n"s, "a=1"}}) {
    EXPECT_EQ(read(text), expected) << text;
    EXPECT_GE(problems(text), 1u) << text;
  }
}

TEST(ComponentText, NamesHaveTheLengthThatNmhReads) {
  EXPECT_EQ(parse_components(std::string(996, 'n') + ": 1\n").components.size(), 1u);
  const ComponentText text = parse_components(std::string(997, 'n') + ": 1\n 2\nb: 1\n");
  ASSERT_EQ(text.components.size(), 1u);
  EXPECT_EQ(text.components[0].name, "b");
  EXPECT_EQ(text.problems.size(), 1u);
}

TEST(ComponentText, ProblemsTellTheLine) {
  EXPECT_EQ(parse_components("a: 1\n\nb: 1\n").problems[0],
            "line 2 is blank: every nmh command stops at it");
}

TEST(ComponentText, ProblemsAreFewHoweverManyLinesAreBad) {
  EXPECT_EQ(problems(std::string(100000, '\n')), 21u);
}

TEST(ComponentText, LongLinesAreReadWhole) {
  const std::string value(200000, '7');
  EXPECT_EQ(read("a: " + value + "\nb: 1\n"), "a=" + value + "|b=1");
}

}  // namespace
}  // namespace mh
