// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/dedup-flags.h"

#include <algorithm>
#include <string_view>

namespace mh {
namespace {

enum class Meaning { kNoFlag, kUnseen, kDeleted, kOther };

Meaning meaning_of(const FlagMap& map, std::string_view name) {
  Sequences alone;
  alone.set(name).add(1);
  const FlagSets flags = map.read(alone);
  const auto& unseen = map.unseen_names();
  if (std::ranges::find(unseen, name) != unseen.end()) return Meaning::kUnseen;
  if (!flags.deleted.empty()) return Meaning::kDeleted;
  const bool is_flag = !flags.answered.empty() || !flags.flagged.empty() || !flags.draft.empty() ||
                       !flags.keywords.empty();
  return is_flag ? Meaning::kOther : Meaning::kNoFlag;
}

// Off all sequences of that meaning where the copy is in none.
void keep_if_both(const FlagMap& map, Meaning meaning, std::span<const KeptAndCopy> pairs,
                  const Sequences& copies, Sequences* kept) {
  NumberSet in_copies;
  for (const std::string_view name : copies.names()) {
    if (meaning_of(map, name) == meaning) in_copies.unite(*copies.find(name));
  }
  for (const std::string_view name : kept->names()) {
    if (meaning_of(map, name) != meaning) continue;
    for (const KeptAndCopy& pair : pairs) {
      if (!in_copies.contains(pair.copy) && kept->find(name)->contains(pair.kept)) {
        kept->set(name).remove(pair.kept);
      }
      if (kept->find(name) == nullptr) break;
    }
  }
}

}  // namespace

void unite_sequences(const FlagMap& map, std::span<const KeptAndCopy> pairs,
                     const Sequences& copies, SameFolder same, Sequences* kept) {
  keep_if_both(map, Meaning::kUnseen, pairs, copies, kept);
  keep_if_both(map, Meaning::kDeleted, pairs, copies, kept);
  for (const std::string_view name : copies.names()) {
    const Meaning meaning = meaning_of(map, name);
    const bool along =
        meaning == Meaning::kOther || (meaning == Meaning::kNoFlag && same == SameFolder::kYes);
    if (!along) continue;
    const NumberSet& of_copies = *copies.find(name);
    for (const KeptAndCopy& pair : pairs) {
      if (of_copies.contains(pair.copy)) kept->set(name).add(pair.kept);
    }
  }
  if (same == SameFolder::kNo) return;
  for (const KeptAndCopy& pair : pairs) {
    if (kept->cur() == pair.copy) kept->set_cur(pair.kept);
  }
}

void carry_sequences(const FlagMap& map, std::span<const NumberMove> moves, const Sequences& from,
                     Sequences* to) {
  NumberSet numbers;
  for (const NumberMove& move : moves) numbers.add(move.to);
  to->remove_numbers(numbers);
  for (const std::string_view name : from.names()) {
    if (meaning_of(map, name) == Meaning::kNoFlag) continue;
    const NumberSet& set = *from.find(name);
    for (const NumberMove& move : moves) {
      if (set.contains(move.from)) to->set(name).add(move.to);
    }
  }
}

}  // namespace mh
