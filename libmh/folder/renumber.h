// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Renumbering a folder, as far as it can be thought without touching it. Pure.
//
// The hard part is what the sequences mean when the renumbering was cut off. They are in old
// numbers while some files have new ones already; and before anybody of ours comes, a command of
// nmh may have read them so, dropped the numbers that it found no message for, changed a flag, and
// written all of it back. Three things are known: what they said before, for each message its old
// number and the one it has now, and what they say now. For each message that gives
//
//   what it had        its old number was in the sequence before
//   what it showed     the number under which nmh found it was in the sequence that nmh read
//   what it has now    its number is in the sequence now
//
// Where the last two are the same, nobody has touched this flag, and it is what it had; where they
// differ somebody has set it or taken it away, and so it stays. Which number nmh found it under is
// plain as long as it has either the old number or the new one. If it has a third one (sortm came
// between), then files were renamed in order, so up to some message all had their new number and
// the others the old one: of all these points the one is taken from which the least was changed.
// Had the sequences been written in new numbers by then, what was shown is what they had.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/format/number-set.h"
#include "libmh/format/sequences.h"
#include "libmh/store/renumbering.h"

namespace mh {

// A file that bears a number.
struct NumberedFile {
  uint32_t number = 0;
  uint32_t uid = 0;  // 0: not known well enough, and stays where it is
};

// The moves that make the numbers 1, 2, 3 …, in the order in which they can be made: each goes
// down, onto a number that is free by then. `in_the_way` are numbers that something has which is no
// message (a folder `7`, a link); they are passed over. A file that stays keeps its place in the
// order: nothing above it comes below it. `files` in number order.
std::vector<MessageMove> plan_pack(std::span<const NumberedFile> files,
                                   const NumberSet& in_the_way);

struct PackPlan {
  std::vector<MessageMove> moves;
  uint64_t stay = 0;  // files that are not known well enough
};
// Of a folder. `records` as of this listing, in UID order.
PackPlan plan_pack(const Listing& listing, std::span<const Record> records);
// What bears a number in it and is no message.
NumberSet in_the_way(const Listing& listing);

// What the sequences say of these numbers alone; "cur" as it is.
Sequences restricted_to(const Sequences& sequences, uint32_t first, uint32_t last);

struct MovedMessage {
  uint32_t from = 0;
  uint32_t to = 0;   // where it was to come
  uint32_t now = 0;  // where it is; 0: it is gone
};

// The sequences for the numbers that these messages have now. `found` is the file as it is,
// `before` what it said before the first rename, restricted to the numbers touched or not;
// `written` whether it had been written in new numbers before somebody else wrote it, if somebody
// has. Other messages' numbers stay.
Sequences carry_sequences(const Sequences& found, const Sequences& before,
                          std::span<const MovedMessage> messages, bool written);

}  // namespace mh
