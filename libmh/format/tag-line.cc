// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/tag-line.h"

#include <sodium.h>

#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr std::string_view kStart = "X-MH-UID: ";
constexpr size_t kDecimalWidth = 10;
constexpr size_t kHex64Width = 16;

static_assert(kTagLineSize == kStart.size() + 2 * kDecimalWidth + 1 + 1 + 32 +
                                  3 * (1 + kDecimalWidth) + 2 * (1 + kHex64Width) + 1);
static_assert(crypto_shorthash_KEYBYTES == sizeof(TagKey));
static_assert(crypto_shorthash_BYTES == sizeof(uint64_t));

void append_padded(std::string& out, uint32_t value) {
  std::array<char, kDecimalWidth> digits;
  for (size_t i = digits.size(); i-- > 0; value /= 10) {
    digits[i] = static_cast<char>('0' + value % 10);
  }
  out.append(digits.data(), digits.size());
}

// Takes fields off the front of a line of known length; once one was wrong, all that follow are.
class FieldReader {
 public:
  explicit FieldReader(std::string_view line) : rest_(line) {}

  void literal(std::string_view expected) {
    good_ = good_ && rest_.substr(0, expected.size()) == expected;
    if (good_) rest_.remove_prefix(expected.size());
  }
  uint32_t decimal() {
    const std::string_view digits = take(kDecimalWidth);
    uint64_t value = 0;
    for (const char c : digits) {
      good_ = good_ && is_digit(c);
      value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    good_ = good_ && value <= UINT32_MAX;
    return good_ ? static_cast<uint32_t>(value) : 0;
  }
  uint64_t hex64() {
    const auto value = parse_hex64(take(kHex64Width));
    good_ = good_ && value.has_value();
    return good_ ? *value : 0;
  }
  void guid(std::array<uint8_t, 16>& bytes) {
    good_ = parse_hex(take(2 * bytes.size()), bytes.data(), bytes.size()) && good_;
  }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  std::string_view take(size_t size) {
    if (rest_.size() < size) good_ = false;
    if (!good_) return {};
    const std::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
  bool good_ = true;
};

std::string checked_text(const Tag& tag) {
  std::string line;
  line.reserve(kTagLineSize);
  line.append(kStart);
  append_padded(line, tag.uidvalidity);
  line.push_back('.');
  append_padded(line, tag.uid);
  line.push_back(' ');
  append_hex(line, tag.guid.data(), tag.guid.size());
  for (const uint32_t field : {tag.internal_date, tag.saved, tag.length}) {
    line.push_back(' ');
    append_padded(line, field);
  }
  line.push_back(' ');
  append_hex64(line, tag.hash);
  line.push_back(' ');
  return line;
}

// libsodium's SipHash needs no sodium_init().
uint64_t check_of(std::string_view text, const TagKey& key) {
  std::array<uint8_t, crypto_shorthash_BYTES> bytes;
  crypto_shorthash(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                   key.data());
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

// "X-MH-UID: ----...": parse_tag() refuses it at the first digit.
constexpr std::array<char, kTagLineSize> kPlaceholder = [] {
  std::array<char, kTagLineSize> line;
  line.fill('-');
  for (size_t i = 0; i < kStart.size(); ++i) line[i] = kStart[i];
  line.back() = '\n';
  return line;
}();

}  // namespace

std::string format_tag(const Tag& tag, const TagKey& key) {
  std::string line = checked_text(tag);
  append_hex64(line, check_of(line, key));
  line.push_back('\n');
  return line;
}

std::optional<ParsedTag> parse_tag(std::string_view line_with_newline) {
  if (line_with_newline.size() != kTagLineSize) return std::nullopt;
  FieldReader reader(line_with_newline);
  ParsedTag parsed;
  Tag& tag = parsed.tag;
  reader.literal(kStart);
  tag.uidvalidity = reader.decimal();
  reader.literal(".");
  tag.uid = reader.decimal();
  reader.literal(" ");
  reader.guid(tag.guid);
  for (uint32_t* field : {&tag.internal_date, &tag.saved, &tag.length}) {
    reader.literal(" ");
    *field = reader.decimal();
  }
  reader.literal(" ");
  tag.hash = reader.hex64();
  reader.literal(" ");
  parsed.check = reader.hex64();
  reader.literal("\n");
  if (!reader.finished() || tag.uidvalidity == 0 || tag.uid == 0) return std::nullopt;
  return parsed;
}

bool verify(const ParsedTag& parsed, const TagKey& key) {
  return check_of(checked_text(parsed.tag), key) == parsed.check;
}

std::string_view tag_placeholder() { return {kPlaceholder.data(), kPlaceholder.size()}; }

bool is_tag_placeholder(std::string_view line_with_newline) {
  return line_with_newline == tag_placeholder();
}

}  // namespace mh
