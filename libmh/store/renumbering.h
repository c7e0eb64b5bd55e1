// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the journal holds of a renumbering of ours (a pack): which message went from which number to
// which, and what the sequences said before.
//
// Its intent (Renumbering) is on disk before the first file is renamed, and is void when the
// sequences speak of the new numbers and all of it is on disk. What remains of it (Renumbered) is
// for an index that was merged with the sequences before: it learns that numbers and sequences have
// changed together, and that nobody has changed a flag.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mh {

// Neighbours that move alike: message uid + i from number from + i to number to + i.
struct MoveRun {
  uint32_t uid = 0;
  uint32_t from = 0;
  uint32_t to = 0;
  uint32_t count = 0;
  bool operator==(const MoveRun&) const = default;
};

// One message of a run.
struct MessageMove {
  uint32_t uid = 0;
  uint32_t from = 0;
  uint32_t to = 0;
  bool operator==(const MessageMove&) const = default;
};

std::vector<MoveRun> runs_of(std::span<const MessageMove> moves);
std::vector<MessageMove> moves_of(std::span<const MoveRun> runs);

// "uid:from>to+count", separated by commas. The parser takes what is possible and nothing else:
// UIDs and numbers from 1 to the highest that there are.
std::string print_runs(std::span<const MoveRun> runs);
std::optional<std::vector<MoveRun>> parse_runs(std::string_view text);

// What an index remembers of a sequences file; libmh/folder/flag-merge.h.
struct SequencesMark {
  uint64_t hash = 0;
  uint64_t unseen_hash = 0;
  uint32_t cur = 0;
  bool operator==(const SequencesMark&) const = default;
};

struct Renumbering {
  uint64_t serial = 0;  // a later one has a higher
  std::vector<MoveRun> moves;
  SequencesMark before;       // of the whole file
  std::string sequences;      // as they were, of the numbers that are touched alone
  std::string own_sequences;  // the same of the private ones
  bool operator==(const Renumbering&) const = default;
};

struct Renumbered {
  uint64_t serial = 0;
  std::vector<MoveRun> moves;  // to where the messages have come; none: nothing was moved
  SequencesMark before;
  SequencesMark after;
  bool operator==(const Renumbered&) const = default;
};

}  // namespace mh
