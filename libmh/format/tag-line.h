// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The tag line: the one line that we put at the top of a message file, so that its identity goes
// wherever the file goes.
//
//   X-MH-UID: <uidvalidity>.<uid> <guid> <internal date> <saved> <length> <hash> <check>\n
//
// Decimal fields have ten digits, guid 32 hex digits, hash and check 16: the length of the line is
// fixed, so that it can be reserved before its content is known. Length and hash are of the visible
// bytes, which begin right behind the line. Check is a keyed hash (SipHash-2-4) of all text before
// it, under a secret of the mail root: what verifies was written by us for some message of this
// root. It does not say that this is that message (files are copied, and a tag leaves the root
// when its file is forwarded raw): length and hash say that. Which tag line of a file counts is
// decided in visible-part.h.
//
// A message of 4 GiB or more has no tag: its length does not fit. It stays in the journal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mh {

using TagKey = std::array<uint8_t, 16>;

struct Tag {
  uint32_t uidvalidity = 0;
  uint32_t uid = 0;
  std::array<uint8_t, 16> guid{};
  uint32_t internal_date = 0;  // seconds since the epoch
  uint32_t saved = 0;          // likewise
  uint32_t length = 0;         // of the visible bytes
  uint64_t hash = 0;           // XXH3-64 of the visible bytes
  bool operator==(const Tag&) const = default;
};

inline constexpr size_t kTagLineSize = 132;  // with its newline
inline constexpr uint64_t kMaxTaggedLength = 0xffffffff;

// A tag as it was read: whether its check is right is another question.
struct ParsedTag {
  Tag tag;
  uint64_t check = 0;
  bool operator==(const ParsedTag&) const = default;
};

// kTagLineSize bytes, the newline among them.
std::string format_tag(const Tag& tag, const TagKey& key);

// Only the exact text that format_tag() writes for some key: this length, these widths, lower-case
// hex, newline at the end (no CR before it), UIDVALIDITY and UID not 0.
std::optional<ParsedTag> parse_tag(std::string_view line_with_newline);

bool verify(const ParsedTag& parsed, const TagKey& key);

// What stands in a new file until its UID is known: of the same length, no tag, but a header field
// that hides nothing and breaks no reader.
std::string_view tag_placeholder();
bool is_tag_placeholder(std::string_view line_with_newline);

}  // namespace mh
