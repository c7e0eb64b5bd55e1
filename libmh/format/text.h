// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Numbers as text, ASCII case, and text of strangers made fit for a log.
//
// Numbers are read strictly: decimal without sign, blank or leading zero ("0" itself is fine), or
// hex of a fixed width in lower case. What our own files hold has one spelling for each value: a
// field that could be read in two ways is how a damaged line passes for a good one.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mh {

inline constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
// Only ASCII: neither parsing nor comparing names may depend on the user's locale.
inline constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
// isspace() of the C locale, by which nmh splits and trims.
inline constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline constexpr std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}
// Of a line of a header: it continues the one before.
inline constexpr bool begins_with_blank(std::string_view line) {
  return !line.empty() && (line[0] == ' ' || line[0] == '\t');
}

// "-" is accepted for signed types only; "-0" never.
template <std::integral T>
std::optional<T> parse_decimal(std::string_view text) {
  const size_t sign = !text.empty() && text[0] == '-' ? 1 : 0;
  if (text.size() <= sign || !is_digit(text[sign])) return std::nullopt;
  if (text[sign] == '0' && (sign != 0 || text.size() > 1)) return std::nullopt;
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}
inline std::optional<uint32_t> parse_u32(std::string_view text) {
  return parse_decimal<uint32_t>(text);
}
inline std::optional<uint64_t> parse_u64(std::string_view text) {
  return parse_decimal<uint64_t>(text);
}
inline std::optional<int64_t> parse_i64(std::string_view text) {
  return parse_decimal<int64_t>(text);
}

template <std::integral T>
void append_decimal(std::string& out, T value) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), static_cast<size_t>(end - digits.data()));
}

// Two lower-case hex digits for each byte.
inline void append_hex(std::string& out, const uint8_t* bytes, size_t size) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const size_t start = out.size();
  out.resize(start + 2 * size);
  char* to = out.data() + start;
  for (size_t i = 0; i < size; ++i) {
    *to++ = kDigits[bytes[i] >> 4];
    *to++ = kDigits[bytes[i] & 15];
  }
}
// By a table: digits of a hash are random, and a branch for each would be guessed wrong half the
// time, a hundred times a line.
inline constexpr std::array<int8_t, 256> kHexValues = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (int8_t i = 0; i < 10; ++i) values[static_cast<size_t>('0' + i)] = i;
  for (int8_t i = 0; i < 6; ++i) values[static_cast<size_t>('a' + i)] = static_cast<int8_t>(10 + i);
  return values;
}();
inline constexpr int hex_value(char c) { return kHexValues[static_cast<uint8_t>(c)]; }
// False unless `text` is exactly the hex of `size` bytes.
inline bool parse_hex(std::string_view text, uint8_t* bytes, size_t size) {
  if (text.size() != 2 * size) return false;
  int bad = 0;
  for (size_t i = 0; i < size; ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    bad |= high | low;  // negative when one of them is
    bytes[i] = static_cast<uint8_t>((high & 15) << 4 | (low & 15));
  }
  return bad >= 0;
}

// Sixteen hex digits, most significant first.
inline void append_hex64(std::string& out, uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
  append_hex(out, bytes.data(), bytes.size());
}
inline std::optional<uint64_t> parse_hex64(std::string_view text) {
  std::array<uint8_t, 8> bytes;
  if (!parse_hex(text, bytes.data(), bytes.size())) return std::nullopt;
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

// ASCII case only: header, component and IMAP keyword names are compared so.
inline constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
inline constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}
struct LessIgnoringCase {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const {
    const size_t common = a.size() < b.size() ? a.size() : b.size();
    for (size_t i = 0; i < common; ++i) {
      const auto x = static_cast<unsigned char>(to_lower(a[i]));
      const auto y = static_cast<unsigned char>(to_lower(b[i]));
      if (x != y) return x < y;
    }
    return a.size() < b.size();
  }
};

// Text of a stranger, for a log line: printable ASCII, at most `limit` bytes of it, in quotes.
inline std::string quoted(std::string_view text, size_t limit = 40) {
  std::string out = "\"";
  for (const char c : text.substr(0, limit)) out.push_back(c >= ' ' && c < 0x7f ? c : '?');
  out.append(text.size() > limit ? "...\"" : "\"");
  return out;
}

// Adds to a list of what is wrong with a file. A hostile file has as many faults as lines: after
// the twentieth it only says that there are more.
inline void note_problem(std::vector<std::string>& problems, std::string text) {
  constexpr size_t kMax = 20;
  if (problems.size() < kMax) {
    problems.push_back(std::move(text));
  } else if (problems.size() == kMax) {
    problems.push_back("and more");
  }
}

}  // namespace mh
