// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flags between .mh_sequences (the truth, by number) and the merge base (Dovecot's index, by UID).
//
// Pure. Three versions meet: the base, i.e. what both sides agreed on when they last met; the file
// as it is now, which any MH tool may have rewritten; and our pending changes, made over IMAP
// since. What the file changed against the base goes to the index; what is pending goes to the
// file; where both touch the same flag of the same message, the pending change wins. Comparing
// parsed sets, not time stamps, because `cur` moves with every command of nmh.
//
// The hard part is that the file speaks of numbers, and numbers move:
//
//  * The file, cur aside, is as we last saw it, but messages were renamed (mv, a script): it is in
//    old numbers. Every sequence is carried to the new numbers, and a number that names an arrival
//    now is a stale entry of whatever bore it before: cleared.
//  * The file was rewritten: it is in new numbers. But nmh drops numbers that it finds no message
//    for: a message that moved and whose number stands in no sequence any more, old or new, keeps
//    the flags of the base - unless `cur` stands on it or the writer has visibly carried other
//    moved messages' flags to their new numbers (pack, sortm): then the file is believed.
//  * nmh lists a folder before it takes its lock, for which it waits up to a minute. A message that
//    came in between is none to it, and its flags are gone from what it writes. So when a file that
//    was written in place says nothing any more of messages not older than that, nor of any behind
//    them, and speaks anew of others, they keep the flags of the base. (That others were added to
//    a sequence must be seen; or that cur has moved, where more than `unseen` is gone; or that two
//    sequences are. Else somebody has just read the message, or taken the flag off.)
//  * No base: the file is believed as it stands.
//
// In the draft folder every message is a draft because it is there. That is no sequence: the file
// is told nothing of \Draft, and a client cannot take it away.
//
// Arrivals: inc and rcvstore write the file first and `unseen` last; procmail and cp never do. An
// arrival counts as unseen, undecided, until a foreign write changed the set of unseen messages or
// put cur on it; when nobody does within the grace time, the policy decides. Without a memory of
// the file there are no arrivals but those that are told to be undecided.
//
// Keywords: Dovecot writes the list of all keywords of a folder anew with each one that is added
// and tells each client all of them, so ten thousand sequences would cost seconds and megabytes.
// Beyond kMostKeywords a sequence is no keyword, and stays in the file as it is. Those that
// messages bear already, or that a client asks for, come first, then the others by name: so the
// choice does not change from merge to merge.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libmh/format/flags.h"
#include "libmh/format/number-set.h"
#include "libmh/format/sequences.h"
#include "libmh/system/fs.h"

namespace mh {

inline constexpr size_t kMostKeywords = 1000;

enum class NewMail { kUnseen, kAsMh };

// A message as the merge sees it.
struct NumberedMessage {
  uint32_t uid = 0;
  uint32_t number = 0;
  uint32_t old_number = 0;  // at the last merge; 0: an arrival
  bool operator==(const NumberedMessage&) const = default;
};

// What is remembered of the file between two merges.
struct SequencesMemory {
  bool known = false;
  uint64_t hash = 0;         // Sequences::hash_without_cur()
  uint64_t unseen_hash = 0;  // of the set of unseen numbers alone
  uint32_t cur = 0;
  bool operator==(const SequencesMemory&) const = default;
};

struct FlagMergeInput {
  const FlagMap* map = nullptr;
  const Sequences* file = nullptr;
  std::vector<NumberedMessage> messages;  // all alive ones, in number order
  FlagSets base;                          // by UID; an edited message has its predecessor's
  std::vector<FlagChange> pending;        // by UID, in order
  SequencesMemory memory;
  NumberSet undecided;  // UIDs of arrivals that nobody has decided yet
  NumberSet expired;    // those of them whose grace time is over
  NumberSet brought;    // UIDs of arrivals whose pending flags are those that they had elsewhere
  // UIDs of messages that came so late that whoever wrote the file, without making a new one, may
  // not know them.
  NumberSet late;
  NumberRange unmerged;  // numbers that we have added to the file since it was merged last
  NewMail policy = NewMail::kUnseen;
  bool all_drafts = false;  // the draft folder: see above
  // There are files that are not among the messages yet: half-written, unreadable, not journalled.
  // What the file says of their numbers is theirs, and not stale, when they come.
  bool files_untold = false;
};

struct FlagMergeOutput {
  std::vector<FlagChange> to_index;  // by UID: what the other side changed
  std::optional<Sequences> to_file;  // unset: the file is right as it is
  NumberSet undecided;               // still, and newly
  SequencesMemory memory;            // of the file after to_file is written
  size_t passed_over = 0;            // sequences that are too many to be keywords
};

FlagMergeOutput merge_flags(const FlagMergeInput& input);

// What to remember of a file that says this.
SequencesMemory memory_of(const FlagMap& map, const Sequences& file);

}  // namespace mh
