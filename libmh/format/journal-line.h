// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One line of a journal: a kind, fields, a check.
//
//   <kind, one letter> <field> <field> ... <check, 16 hex>\n
//
// One blank before each field. A field is a decimal, hex of a fixed width, or text: of text, every
// byte that is a control character, a blank, '%' or not ASCII is %xx, and no bytes at all are a
// single '%'. So a line holds no newline but its own, whatever it tells, can be read by a human,
// and has one spelling. Check is the XXH3-64 of all bytes before its blank: it finds damage, not
// malice. What the kinds mean stands in libmh/store/journal.h; here is only text.
//
// Both classes work in place: no allocation per field, for a folder has 100,000 lines.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "libmh/format/text.h"

namespace mh {

// Appends one line to `out`. Call end() last.
class JournalLineWriter {
 public:
  JournalLineWriter(std::string& out, char kind) : out_(out), start_(out.size()) {
    out_.push_back(kind);
  }
  template <std::integral T>
  JournalLineWriter& number(T value) {
    out_.push_back(' ');
    append_decimal(out_, value);
    return *this;
  }
  JournalLineWriter& hash(uint64_t value);
  JournalLineWriter& bytes(std::span<const uint8_t> value);
  JournalLineWriter& text(std::string_view value);
  void end();

 private:
  std::string& out_;
  size_t start_;
};

// Reads one line, its newline taken off. Whatever is wrong - the check, a field that is missing,
// has another spelling than the writer's, or is too much - is told once, by end(); what was read
// until then must not be used when it says false.
class JournalLineReader {
 public:
  explicit JournalLineReader(std::string_view line);

  char kind() const { return kind_; }  // 0 when the check is wrong
  template <std::integral T>
  JournalLineReader& number(T& to) {
    const auto value = parse_decimal<T>(next());
    good_ = good_ && value;
    to = value.value_or(0);
    return *this;
  }
  JournalLineReader& hash(uint64_t& to);
  JournalLineReader& bytes(std::span<uint8_t> to);
  JournalLineReader& text(std::string& to);
  // Everything was well and nothing is left.
  bool end() const { return good_ && rest_.empty(); }

 private:
  std::string_view next();

  std::string_view rest_;  // begins with the blank of the next field
  char kind_ = 0;
  bool good_ = false;
};

}  // namespace mh
