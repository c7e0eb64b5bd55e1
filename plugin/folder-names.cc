// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/folder-names.h"

#include "plugin/dovecot.h"
#include "plugin/guard.h"

namespace mh {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte that "%xx" at `at` stands for, or -1.
int escaped_byte(std::string_view text, size_t at, char separator) {
  if (at + 2 >= text.size() || text[at] != '%') return -1;
  const int high = hex_value(text[at + 1]);
  const int low = hex_value(text[at + 2]);
  if (high < 0 || low < 0) return -1;
  const int byte = high * 16 + low;
  const bool ours = byte >= 0x80 || byte == '%' || byte == '&' ||
                    (separator != '/' && byte == static_cast<unsigned char>(separator));
  return ours ? byte : -1;
}

void append_escaped(std::string& out, char c) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

// The text that a component in modified UTF-7 stands for; "" when it is none, or plain ASCII.
std::string from_utf7(const std::string& name) {
  if (name.find('&') == std::string::npos) return {};
  const DataStackFrame frame;
  string_t* text = t_str_new(128);
  if (imap_utf7_to_utf8(name.c_str(), text) < 0 || is_ascii(str_c(text))) return {};
  return str_c(text);
}

std::string to_utf7(const std::string& name) {
  const DataStackFrame frame;
  string_t* text = t_str_new(128);
  return imap_utf8_to_utf7(name.c_str(), text) < 0 ? std::string() : std::string(str_c(text));
}

std::string escaped(const std::string& name, char separator, bool escape_ampersand) {
  std::string out;
  for (size_t at = 0; at < name.size();) {
    const char c = name[at];
    unichar_t character;
    const int size = uni_utf8_get_char_n(name.data() + at, name.size() - at, &character);
    if (size <= 0 || (c == separator && separator != '/') || (c == '&' && escape_ampersand) ||
        (c == '%' && escaped_byte(name, at, separator) >= 0)) {
      append_escaped(out, c);
      ++at;
    } else {
      out.append(name, at, static_cast<size_t>(size));
      at += static_cast<size_t>(size);
    }
  }
  return out;
}

}  // namespace

std::string imap_name(const std::string& disk_name, char separator, const NameExists& exists) {
  const std::string decoded = from_utf7(disk_name);
  if (decoded.empty()) return escaped(disk_name, separator, false);
  if (exists(decoded)) return escaped(disk_name, separator, true);
  return escaped(decoded, separator, false);
}

std::string disk_name(const std::string& name, char separator, const NameExists& exists) {
  std::string raw;
  for (size_t at = 0; at < name.size();) {
    const int byte = escaped_byte(name, at, separator);
    raw += byte >= 0 ? static_cast<char>(byte) : name[at];
    at += byte >= 0 ? 3 : 1;
  }
  if (raw == "." || raw == "..") return name;
  if (is_ascii(raw) || !uni_utf8_str_is_valid(raw.c_str()) || exists(raw)) return raw;
  const std::string encoded = to_utf7(raw);
  return !encoded.empty() && exists(encoded) ? encoded : raw;
}

}  // namespace mh
