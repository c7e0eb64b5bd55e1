// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/flags.h"

#include <algorithm>
#include <iterator>

#include "libmh/format/component-text.h"

namespace mh {
namespace {

constexpr std::string_view kEncoded = "kwz";
constexpr std::string_view kForwardedKeyword = "$Forwarded";
constexpr std::string_view kForwardedSequence = "forwarded";
constexpr std::string_view kDefaultUnseen = "unseen";

struct FlagName {
  std::string_view sequence;
  SystemFlag flag;
  bool primary;
};
constexpr FlagName kFlagNames[] = {
    {"replied", kAnswered, true}, {"flagged", kFlagged, true}, {"deleted", kDeleted, true},
    {"Deleted", kDeleted, false}, {"draft", kDraft, true},     {"Draft", kDraft, false},
};
constexpr std::pair<SystemFlag, std::string_view> kSystemFlags[] = {{kAnswered, "\\Answered"},
                                                                    {kFlagged, "\\Flagged"},
                                                                    {kDeleted, "\\Deleted"},
                                                                    {kSeen, "\\Seen"},
                                                                    {kDraft, "\\Draft"}};
constexpr std::string_view kCur = "cur";
// Read as nothing at all.
constexpr std::string_view kMeaningless[] = {kCur, "Recent", "Seen", "#"};
// What nmh takes for something else than a sequence.
constexpr std::string_view kNmhWords[] = {"new", "all", "first", "last", "prev", "next"};

bool begins_with(std::string_view text, std::string_view start) {
  return equal_ignoring_case(text.substr(0, start.size()), start);
}

// Whether just this name is where a flag or an encoded keyword is kept.
bool holds_flag(std::string_view name) {
  const auto is_name = [name](std::string_view other) { return name == other; };
  return std::ranges::any_of(kFlagNames, is_name, &FlagName::sequence) ||
         name == kForwardedSequence || name.starts_with(kEncoded);
}

// An IMAP keyword: an atom (RFC 3501 section 9, as Dovecot takes it).
bool is_keyword(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < 0x7f && std::string_view("(){%*\"\\]").find(c) == std::string_view::npos;
  });
}

std::string encoded(std::string_view keyword) {
  std::string name(kEncoded);
  for (const char c : keyword) {
    if (c != 'z' && (is_alpha(c) || is_digit(c))) {
      name.push_back(c);
      continue;
    }
    name.push_back('z');
    const auto byte = static_cast<uint8_t>(c);
    if (c == 'z') {
      name.push_back('z');
    } else {
      append_hex(name, &byte, 1);
    }
  }
  return name;
}

// Of a name in encoded form; any byte may be written as hex.
std::optional<std::string> decoded(std::string_view name) {
  if (!name.starts_with(kEncoded)) return std::nullopt;
  std::string keyword;
  for (size_t i = kEncoded.size(); i < name.size(); ++i) {
    if (name[i] != 'z') {
      keyword.push_back(name[i]);
    } else if (name.substr(i + 1, 1) == "z") {
      keyword.push_back('z');
      ++i;
    } else {
      uint8_t byte = 0;
      if (!parse_hex(name.substr(i + 1, 2), &byte, 1)) return std::nullopt;
      keyword.push_back(static_cast<char>(byte));
      i += 2;
    }
  }
  if (!is_keyword(keyword)) return std::nullopt;
  return keyword;
}

}  // namespace

bool FlagMap::Target::operator==(const Target& other) const {
  return flag == other.flag && equal_ignoring_case(keyword, other.keyword);
}

Result<FlagMap> FlagMap::make(const FlagOptions& options) {
  FlagMap map;
  map.take_profile(options);
  MH_TRY(map.take_settings(options));
  return map;
}

void FlagMap::take_profile(const FlagOptions& options) {
  for (const FlagName& name : kFlagNames) reserved_.emplace(name.sequence);
  reserved_.insert(std::begin(kMeaningless), std::end(kMeaningless));
  reserved_.insert(std::begin(kNmhWords), std::end(kNmhWords));
  reserved_.emplace(kForwardedSequence);
  reserved_.emplace(kDefaultUnseen);
  negation_ = options.negation;
  hidden_.insert(std::begin(kMeaningless), std::end(kMeaningless));
  for (const std::string& name : options.unseen_names) {
    if (std::ranges::find(unseen_, name) != unseen_.end()) continue;
    if (!is_nmh_sequence_name(name) || holds_flag(name) || name == kCur) {
      notes_.push_back("Unseen-Sequence " + quoted(name) + " cannot be used, it is passed over");
      continue;
    }
    unseen_.push_back(name);
  }
  if (unseen_.empty()) unseen_.emplace_back(kDefaultUnseen);
  reserved_.insert(unseen_.begin(), unseen_.end());
  for (const std::string& name : options.previous_names) {
    if (holds_flag(name) || std::ranges::find(unseen_, name) != unseen_.end()) {
      notes_.push_back("Previous-Sequence " + quoted(name) + " holds a flag, nmh overwrites it");
      continue;
    }
    hidden_.insert(name);
    reserved_.insert(name);
  }
}

Status FlagMap::take_settings(const FlagOptions& options) {
  for (const std::string& name : options.hidden) {
    if (holds_flag(name) || name == kDefaultUnseen) {
      return fail(ErrorKind::kInvalid, "sequence " + quoted(name) +
                                           " holds a flag or a keyword: "
                                           "it cannot be hidden");
    }
    if (std::ranges::find(unseen_, name) != unseen_.end()) {
      notes_.push_back("hidden sequence " + quoted(name) + " is an Unseen-Sequence: not hidden");
      continue;
    }
    hidden_.insert(name);
    reserved_.insert(name);
  }
  for (const auto& [keyword, sequence] : options.keyword_map) {
    MH_TRY(take_mapping(keyword, sequence));
  }
  return {};
}

Status FlagMap::take_mapping(const std::string& keyword, const std::string& sequence) {
  const std::string what = quoted(keyword) + " cannot be mapped to " + quoted(sequence) + ": ";
  if (!is_keyword(keyword)) return fail(ErrorKind::kInvalid, what + "not an IMAP keyword");
  if (equal_ignoring_case(keyword, kForwardedKeyword)) {
    return fail(ErrorKind::kInvalid, what + "it is always kept in \"forwarded\"");
  }
  if (!is_nmh_sequence_name(sequence) || sequence.size() > kMaxComponentName) {
    return fail(ErrorKind::kInvalid, what + "not a name that nmh can make");
  }
  const auto is_sequence = [&](std::string_view name) {
    return equal_ignoring_case(name, sequence);
  };
  const auto is_mapped = [&](const auto& mapped) { return is_sequence(mapped.first); };
  if (std::ranges::any_of(mapped_of_sequence_, is_mapped) ||
      sequence_of_mapped_.contains(keyword)) {
    return fail(ErrorKind::kInvalid, what + "one of the two is mapped already");
  }
  if (std::ranges::any_of(kFlagNames, is_sequence, &FlagName::sequence) ||
      std::ranges::any_of(kMeaningless, is_sequence) ||
      std::ranges::any_of(kNmhWords, is_sequence) || is_sequence(kForwardedSequence) ||
      is_sequence(kDefaultUnseen) || begins_with(sequence, kEncoded)) {
    return fail(ErrorKind::kInvalid, what + "that sequence means something else");
  }
  if (reserved_.contains(sequence) || (!negation_.empty() && begins_with(sequence, negation_))) {
    notes_.push_back(what + "the profile or mh_hidden_sequences uses that name");
    return {};
  }
  sequence_of_mapped_.emplace(keyword, sequence);
  mapped_of_sequence_.emplace(sequence, keyword);
  reserved_.insert(sequence);
  return {};
}

FlagMap::Target FlagMap::target_of(std::string_view sequence) const {
  if (std::ranges::find(unseen_, sequence) != unseen_.end()) return {kSeen, {}};
  for (const FlagName& name : kFlagNames) {
    if (name.sequence == sequence) return {name.flag, {}};
  }
  if (sequence == kForwardedSequence) return {kNoFlag, std::string(kForwardedKeyword)};
  if (hidden_.contains(sequence)) return {};
  const auto mapped = mapped_of_sequence_.find(sequence);
  if (mapped != mapped_of_sequence_.end()) return {kNoFlag, mapped->second};
  if (auto keyword = decoded(sequence)) return {kNoFlag, std::move(*keyword)};
  if (!negation_.empty() && sequence.starts_with(negation_)) return {};
  return {kNoFlag, is_keyword(sequence) ? std::string(sequence) : std::string()};
}

std::optional<std::string> FlagMap::keyword_of(std::string_view sequence) const {
  Target target = target_of(sequence);
  if (target.keyword.empty()) return std::nullopt;
  return std::move(target.keyword);
}

std::string FlagMap::sequence_of(std::string_view keyword) const {
  if (equal_ignoring_case(keyword, kForwardedKeyword)) return std::string(kForwardedSequence);
  const auto mapped = sequence_of_mapped_.find(keyword);
  if (mapped != sequence_of_mapped_.end()) return mapped->second;
  if (!is_keyword(keyword)) return {};
  const bool free = is_nmh_sequence_name(keyword) && !begins_with(keyword, kEncoded) &&
                    !reserved_.contains(keyword) &&
                    (negation_.empty() || !begins_with(keyword, negation_));
  std::string name = free ? std::string(keyword) : encoded(keyword);
  return name.size() <= kMaxComponentName ? name : std::string();
}

FlagSets FlagMap::read(const Sequences& sequences) const {
  FlagSets sets;
  for (const std::string_view name : sequences.names()) {
    const NumberSet& numbers = *sequences.find(name);
    const Target target = target_of(name);
    switch (target.flag) {
      case kSeen:
        sets.unseen.unite(numbers);
        break;
      case kAnswered:
        sets.answered.unite(numbers);
        break;
      case kFlagged:
        sets.flagged.unite(numbers);
        break;
      case kDeleted:
        sets.deleted.unite(numbers);
        break;
      case kDraft:
        sets.draft.unite(numbers);
        break;
      case kNoFlag:
        if (!target.keyword.empty()) sets.keywords[target.keyword].unite(numbers);
        break;
    }
  }
  return sets;
}

// The first name of the file that a keyword could be written under is kept on being used, so that
// "Work" and "work" do not become two sequences.
std::string FlagMap::name_for_adding(const Sequences& sequences, const Target& target) const {
  for (const FlagName& name : kFlagNames) {
    if (name.flag == target.flag && name.primary) return std::string(name.sequence);
  }
  for (const std::string_view name : sequences.names()) {
    const Target found = target_of(name);
    if (found == target && sequence_of(found.keyword) == name) return std::string(name);
  }
  return sequence_of(target.keyword);
}

void FlagMap::apply_seen(Sequences& sequences, const FlagChange& change) const {
  for (const std::string& name : unseen_) {
    if (sequences.find(name) != nullptr) sequences.set(name).subtract(change.add);
    if (!change.remove.empty()) sequences.set(name).unite(change.remove);
  }
}

bool FlagMap::apply(Sequences& sequences, const FlagChange& change) const {
  if (change.flag == kSeen) {
    apply_seen(sequences, change);
    return true;
  }
  const Target target{change.flag, change.flag == kNoFlag ? change.keyword : std::string()};
  const std::string adding = name_for_adding(sequences, target);
  if (!change.remove.empty()) {
    for (const std::string_view name : sequences.names()) {
      if (target_of(name) == target) sequences.set(name).subtract(change.remove);
    }
  }
  if (change.add.empty()) return true;
  if (adding.empty()) return false;
  sequences.set(adding).unite(change.add);
  return true;
}

std::string_view name_of(SystemFlag flag) {
  for (const auto& [known, name] : kSystemFlags) {
    if (known == flag) return name;
  }
  return {};
}

void for_each_flag(std::string_view text,
                   const std::function<void(SystemFlag flag, std::string_view name)>& each) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view name = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (name.empty()) continue;
    SystemFlag flag = kNoFlag;
    for (const auto& [known, its_name] : kSystemFlags) {
      if (its_name == name) flag = known;
    }
    each(flag, name);
  }
}

}  // namespace mh
