// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Overwritten: what a program that locks nothing has undone by putting an older version of the
// sequences in place.
//
// exmh, mutt and Claws read .mh_sequences, change what they have read, write it into a new file and
// rename that over the old one. What was written in between is gone with the old file, and nothing
// in the new one says so. But the journal has the versions that we have replaced and written, and
// when: the new file is then taken for one that was made from the version of the last seconds that
// it is most like, and what came after that version is done to it once more.
//
// Only what was renamed into place counts: nmh writes in place, under the lock, and means what it
// says. And only once: whoever takes a flag away that we have just put back means that, too. The
// versions speak of numbers, so the journal forgets them when a message gets another number, or
// goes.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "libmh/format/sequences.h"
#include "libmh/store/journal.h"
#include "libmh/system/fs.h"

namespace mh {

// How long a program may hold what it has read, and for how long a change of its own may be taken
// for one.
inline constexpr Nanoseconds kHeldVersion = 5 * kSecond;

// One write of ours, as the journal has it: PendingSequences, whose head has all but the texts.
struct SequencesWrite {
  Nanoseconds at = 0;
  bool mended = false;  // what was overwritten was put back by it: versions before it are void
  uint64_t inode = 0;   // of the file written to
  Nanoseconds birth = 0;
  std::string_view before;
  std::string_view after;
};
PendingSequences print_sequences_write(const SequencesWrite& write);
// From JournalState::pending_sequences; views of that text.
std::optional<SequencesWrite> parse_sequences_write(std::string_view text);

// What `found`, read from a file with these stamps, should say; nullopt when nothing is missing.
// `recent` are our last writes, oldest first.
std::optional<Sequences> mend_sequences(std::span<const std::string> recent, const FileStat& file,
                                        const Sequences& found);

}  // namespace mh
