// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FlagMap: the one table between IMAP flags and MH sequences.
//
//   not \Seen    every name of the profile's Unseen-Sequence; seen = in none of them
//   \Answered    replied              \Deleted   deleted, also read: Deleted
//   \Flagged     flagged              \Draft     draft, also read: Draft
//   $Forwarded   forwarded, also read: $Forwarded
//   any keyword  the sequence of that name, where nmh can make it and it means nothing else;
//                otherwise "kwz" and the bytes, an illegal one as "z" and two hex digits, "z" as
//                "zz" ($Junk -> kwzz24Junk); or the name that the admin mapped it to.
//                Also read: the raw name, and spellings that differ in case (IMAP does not tell
//                them apart, MH does).
//
// Never keywords: cur, Recent and Seen (asimap writes these two), "#", what Previous-Sequence,
// Sequence-Negation and the admin's list hide, and names that are no IMAP atom. They are left as
// they are.
//
// A keyword that is written and read again is the same keyword, and never lands on a name that
// means something else. What is removed is removed from every name that would be read as it.
//
// Works on whole sets, so that a folder of 100,000 messages is compared and changed in one pass.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libmh/format/number-set.h"
#include "libmh/format/sequences.h"
#include "libmh/format/text.h"
#include "libmh/result.h"

namespace mh {

// The values are those of Dovecot's enum mail_flags and of the IMAP flags in its index.
enum SystemFlag : uint8_t {
  kNoFlag = 0,
  kAnswered = 0x01,
  kFlagged = 0x02,
  kDeleted = 0x04,
  kSeen = 0x08,
  kDraft = 0x10,
};

struct FlagOptions {
  // Of the user's profile: what does not fit the table is passed over, with a note.
  std::vector<std::string> unseen_names = {"unseen"};
  std::vector<std::string> previous_names;
  std::string negation;
  // The admin's settings: what does not fit is an error.
  std::vector<std::string> hidden;
  std::vector<std::pair<std::string, std::string>> keyword_map;  // keyword, sequence
};

// "\\Answered" and so on; "" for kNoFlag.
std::string_view name_of(SystemFlag flag);
// Flags and keywords as text, separated by blanks: calls `each` with flag and name, kNoFlag for a
// keyword.
void for_each_flag(std::string_view text,
                   const std::function<void(SystemFlag flag, std::string_view name)>& each);

using KeywordSets = std::map<std::string, NumberSet, LessIgnoringCase>;

struct FlagSets {
  NumberSet unseen, answered, flagged, deleted, draft;
  KeywordSets keywords;  // none empty; spelled as in the file
};

// For one flag or keyword: the messages that get it and those that lose it. No number is in both.
struct FlagChange {
  SystemFlag flag = kNoFlag;
  std::string keyword;  // if flag is kNoFlag
  NumberSet add;
  NumberSet remove;
};

class FlagMap {
 public:
  // kInvalid, in words for the admin, for a keyword that is no IMAP keyword, a sequence name that
  // nmh cannot make or that means something else, and for anything mapped twice.
  static Result<FlagMap> make(const FlagOptions& options);

  // What of the profile was passed over.
  const std::vector<std::string>& notes() const { return notes_; }
  // At least one; the first is what an empty file names.
  const std::vector<std::string>& unseen_names() const { return unseen_; }

  FlagSets read(const Sequences& sequences) const;

  // False when the keyword can be no sequence (see sequence_of()): then nothing was added.
  bool apply(Sequences& sequences, const FlagChange& change) const;

  // Nothing for a name that is a system flag or never a keyword.
  std::optional<std::string> keyword_of(std::string_view sequence) const;
  // Where a keyword is written, unless the file has it in another spelling already. Empty for what
  // is no IMAP atom, and for one so long that nmh could not read its name (kMaxComponentName; the
  // encoding triples a byte at most): such a keyword lives in Dovecot's index only.
  std::string sequence_of(std::string_view keyword) const;

 private:
  struct Target {
    SystemFlag flag = kNoFlag;
    std::string keyword;
    bool operator==(const Target&) const;
  };
  using Names = std::set<std::string, LessIgnoringCase>;

  FlagMap() = default;
  Target target_of(std::string_view sequence) const;
  std::string name_for_adding(const Sequences& sequences, const Target& target) const;
  void apply_seen(Sequences& sequences, const FlagChange& change) const;

  void take_profile(const FlagOptions& options);
  Status take_settings(const FlagOptions& options);
  Status take_mapping(const std::string& keyword, const std::string& sequence);

  std::vector<std::string> unseen_;
  std::set<std::string, std::less<>> hidden_;  // exactly these are not read
  std::string negation_;
  std::map<std::string, std::string, LessIgnoringCase> sequence_of_mapped_;
  std::map<std::string, std::string, std::less<>> mapped_of_sequence_;
  Names reserved_;  // no keyword is written under these, in whatever case
  std::vector<std::string> notes_;
};

}  // namespace mh
