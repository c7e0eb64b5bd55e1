// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What copies of a message have in sequences goes to the message that is kept. Pure.
//
// It gets every sequence that any of them is in, with two exceptions:
//
//   unseen    \Seen is the flag, and it is united: the message was read if any copy of it was. It
//             stays unseen only if all were.
//   deleted   is a request to remove this copy and says nothing of the others: the message has it
//             only if all had it. Else an EXPUNGE would take the last one, of which somebody had
//             said nothing but that he needs it once.
//
// "cur" follows within a folder; that of another folder stays where it is, as after rmm. Sequences
// that are no flags (Previous-Sequence, names with Sequence-Negation) go along within a folder, and
// not to another, where they would mean other messages.
//
// Doing it again changes nothing, so a run that was interrupted before a copy went is just
// repeated.
#pragma once

#include <cstdint>
#include <span>

#include "libmh/format/flags.h"
#include "libmh/format/sequences.h"

namespace mh {

struct KeptAndCopy {
  uint32_t kept = 0;
  uint32_t copy = 0;
};

enum class SameFolder : bool { kNo, kYes };

// `copies` are the sequences of the folder of the copies, `kept` those of the other (or the same)
// folder.
void unite_sequences(const FlagMap& map, std::span<const KeptAndCopy> pairs,
                     const Sequences& copies, SameFolder same, Sequences* kept);

// A message that goes to another folder takes along what is a flag; what was known there of its new
// number goes.
void carry_sequences(const FlagMap& map, std::span<const NumberMove> moves, const Sequences& from,
                     Sequences* to);

}  // namespace mh
