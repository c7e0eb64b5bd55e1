// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/filename.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mh {
namespace {

constexpr std::string_view kIncomingPrefix = ".mhsync-in.";
constexpr std::string_view kKeptPrefix = "kept-";
constexpr std::string_view kOutgoingPrefix = ".mhsync-out.";
constexpr std::string_view kAdoptionPrefix = ".mhsync-tag.";
constexpr std::string_view kReplacementMark = ".new.";
constexpr std::string_view kBdbPrefix = "__db.";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}
bool all_hex(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_hex);
}

std::string hex(uint64_t value) {
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return std::string(digits.data(), end);
}

// mkstemp(3) of nmh: the prefix and six letters or digits.
bool is_mkstemp_of(std::string_view prefix, std::string_view name) {
  constexpr size_t kRandom = 6;
  return name.size() == prefix.size() + kRandom && name.starts_with(prefix) &&
         std::all_of(name.end() - kRandom, name.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
         });
}

bool is_backup(std::string_view name) {
  if (!name.starts_with(',') && !name.starts_with('#')) return false;
  name.remove_prefix(1);
  if (name.ends_with(".orig")) name.remove_suffix(5);  // nmh's send leaves `,5.orig` among drafts
  return all_digits(name);
}

bool is_temporary(std::string_view name) {
  return is_mkstemp_of("rcvstore", name) || is_mkstemp_of("annotate", name) ||  // nmh
         is_mkstemp_of("LCK.", name) || is_mkstemp_of(",LCK.", name) ||         // nmh, dot locking
         name.starts_with(".mutt-") || name.starts_with(".neomutt-") ||         //
         name == ".mh_sequences.new";                                           // exmh, Claws
}

NameKind classify_digits(std::string_view name) {
  if (std::all_of(name.begin(), name.end(), [](char c) { return c == '0'; }))
    return NameKind::kZero;
  if (name.front() == '0') return NameKind::kLeadingZero;
  return message_number(name) ? NameKind::kMessage : NameKind::kTooLarge;
}

}  // namespace

std::optional<uint32_t> message_number(std::string_view name) {
  constexpr size_t kMostDigits = 10;
  if (name.empty() || name.size() > kMostDigits || name.front() == '0') return std::nullopt;
  uint64_t number = 0;
  for (const char c : name) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number > kHighestMessageNumber) return std::nullopt;
  return static_cast<uint32_t>(number);
}

NameKind classify_name(std::string_view name) {
  if (all_digits(name)) return classify_digits(name);
  if (is_backup(name)) return NameKind::kBackup;
  if (name == kDefaultSequencesFile) return NameKind::kSequences;
  if (name.starts_with(kDefaultSequencesFile) &&
      name.substr(kDefaultSequencesFile.size()) == kSequencesLockSuffix)
    return NameKind::kSequencesLock;
  if (parse_our_name(name)) return NameKind::kOurs;
  if (is_temporary(name)) return NameKind::kTemporary;
  return name.starts_with('.') ? NameKind::kHidden : NameKind::kOther;
}

std::string incoming_name(uint64_t unique) { return std::string(kIncomingPrefix) + hex(unique); }

std::string kept_name(uint32_t uid) { return std::string(kKeptPrefix) + std::to_string(uid); }

std::optional<uint32_t> parse_kept_name(std::string_view name) {
  if (!name.starts_with(kKeptPrefix)) return std::nullopt;
  name.remove_prefix(kKeptPrefix.size());
  uint32_t uid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), uid);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return uid;
}

std::string outgoing_name(uint32_t number, uint64_t unique) {
  return std::string(kOutgoingPrefix) + std::to_string(number) + "." + hex(unique);
}

std::string adoption_name(const AdoptionName& name) {
  return std::string(kAdoptionPrefix) + hex(name.uid) + "." + hex(name.inode) + "." +
         hex(name.size) + "." + hex(static_cast<uint64_t>(name.mtime));
}

std::optional<AdoptionName> parse_adoption_name(std::string_view text) {
  if (!text.starts_with(kAdoptionPrefix)) return std::nullopt;
  text.remove_prefix(kAdoptionPrefix.size());
  std::array<uint64_t, 4> fields{};
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t dot = i + 1 < fields.size() ? text.find('.') : text.size();
    if (dot == std::string_view::npos || !all_hex(text.substr(0, dot))) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + dot, fields[i], 16);
    if (error != std::errc() || end != text.data() + dot) return std::nullopt;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  if (fields[0] > UINT32_MAX) return std::nullopt;
  return AdoptionName{static_cast<uint32_t>(fields[0]), fields[1], fields[2],
                      static_cast<int64_t>(fields[3])};
}

std::optional<OurName> parse_our_name(std::string_view name) {
  if (parse_adoption_name(name)) return OurName{false, 0};
  if (name.starts_with(kIncomingPrefix)) {
    if (!all_hex(name.substr(kIncomingPrefix.size()))) return std::nullopt;
    return OurName{false, 0};
  }
  if (!name.starts_with(kOutgoingPrefix)) return std::nullopt;
  name.remove_prefix(kOutgoingPrefix.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || !all_hex(name.substr(dot + 1))) return std::nullopt;
  const auto number = message_number(name.substr(0, dot));
  if (!number) return std::nullopt;
  return OurName{true, *number};
}

bool is_state_dir_name(std::string_view name) { return name.size() == 32 && all_hex(name); }

std::string replacement_name(std::string_view name, uint64_t unique) {
  return std::string(name).append(kReplacementMark).append(hex(unique));
}

bool is_leftover_of_state(std::string_view name) {
  if (name.starts_with(kBdbPrefix)) return true;
  const size_t mark = name.rfind(kReplacementMark);
  return mark != std::string_view::npos && mark > 0 &&
         all_hex(name.substr(mark + kReplacementMark.size()));
}

}  // namespace mh
