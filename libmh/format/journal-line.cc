// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/journal-line.h"

#include <algorithm>

#include "libmh/format/fingerprint.h"

namespace mh {
namespace {

constexpr size_t kCheckSize = 17;  // with its blank
constexpr std::string_view kNoBytes = "%";

constexpr bool is_plain(char c) { return c > ' ' && c < 0x7f && c != '%'; }

// False when `text` is not what JournalLineWriter::text() prints for some bytes.
bool decode(std::string_view text, std::string& to) {
  to.clear();
  if (text == kNoBytes) return true;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_plain(text[end])) ++end;
    to.append(text.substr(i, end - i));
    if (end == text.size()) return true;
    uint8_t byte = 0;
    if (text[end] != '%' || !parse_hex(text.substr(end + 1, 2), &byte, 1)) return false;
    const char c = static_cast<char>(byte);
    if (is_plain(c)) return false;
    to.push_back(c);
    i = end + 3;
  }
  return !to.empty();
}

}  // namespace

JournalLineWriter& JournalLineWriter::hash(uint64_t value) {
  out_.push_back(' ');
  append_hex64(out_, value);
  return *this;
}

JournalLineWriter& JournalLineWriter::bytes(std::span<const uint8_t> value) {
  out_.push_back(' ');
  append_hex(out_, value.data(), value.size());
  return *this;
}

JournalLineWriter& JournalLineWriter::text(std::string_view value) {
  out_.push_back(' ');
  if (value.empty()) out_.append(kNoBytes);
  for (size_t i = 0; i < value.size(); ++i) {
    size_t end = i;
    while (end < value.size() && is_plain(value[end])) ++end;
    out_.append(value.substr(i, end - i));
    i = end;
    if (i == value.size()) break;
    const auto byte = static_cast<uint8_t>(value[i]);
    out_.push_back('%');
    append_hex(out_, &byte, 1);
  }
  return *this;
}

void JournalLineWriter::end() {
  hash(fingerprint(std::string_view(out_).substr(start_)));
  out_.push_back('\n');
}

JournalLineReader::JournalLineReader(std::string_view line) {
  if (line.size() < 1 + kCheckSize) return;
  const std::string_view body = line.substr(0, line.size() - kCheckSize);
  const std::string_view check = line.substr(body.size());
  if (check[0] != ' ' || parse_hex64(check.substr(1)) != fingerprint(body)) return;
  kind_ = body[0];
  rest_ = body.substr(1);
  good_ = true;
}

std::string_view JournalLineReader::next() {
  if (rest_.empty() || rest_[0] != ' ') {
    good_ = false;
    return {};
  }
  const size_t end = std::min(rest_.find(' ', 1), rest_.size());
  const std::string_view field = rest_.substr(1, end - 1);
  rest_.remove_prefix(end);
  return field;
}

JournalLineReader& JournalLineReader::hash(uint64_t& to) {
  const auto value = parse_hex64(next());
  good_ = good_ && value;
  to = value.value_or(0);
  return *this;
}

JournalLineReader& JournalLineReader::bytes(std::span<uint8_t> to) {
  good_ = parse_hex(next(), to.data(), to.size()) && good_;
  return *this;
}

JournalLineReader& JournalLineReader::text(std::string& to) {
  const std::string_view field = next();
  good_ = good_ && decode(field, to);
  return *this;
}

}  // namespace mh
