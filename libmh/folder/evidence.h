// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the reading of one file proves about one record. The single judgements of reconcile().
#pragma once

#include <cstdint>
#include <vector>

#include "libmh/folder/reconcile.h"
#include "libmh/folder/scan.h"
#include "libmh/store/record.h"

namespace mh {

// The tag that counts in this file names this message: its UID, under this UIDVALIDITY, and its
// GUID. Whether the bytes below it are the message is another question.
bool names_record(const Probe& probe, const Record& record, uint32_t uidvalidity);

// GUID and dates of the file's tag may be taken over.
bool tag_is_trusted(const Probe& probe);
// A trusted tag whose length is right: only the hash can tell whether the bytes are its own.
bool tag_may_fit(const Probe& probe);
// The visible bytes, all of which were read, are those that the trusted tag speaks of.
bool tag_fits(const Probe& probe);

enum class Comparison { kSame, kOther, kReadWhole };

// Are the visible bytes those of the record? Proof is the hash, or the first block where that is
// all of the message. Failing these (never tagged, never read as a whole): length, first block and
// an unmoved mtime; of a file known by identity also that lines above the message changed, which is
// what nmh does to files. A longer message that was merely touched cannot be told from an edited
// one: kOther.
Comparison compare_visible(const Record& record, const Probe& probe, bool known_by_identity,
                           uint32_t uidvalidity);

// The record after its message was found, with the bytes proven, in the file that was read.
// kTagged is kept or set exactly if the file bears the tag of this record.
Record found_record(const Record& record, uint32_t number, const Probe& probe,
                    uint32_t uidvalidity);

// The record of a message whose record was lost and whose tag fits.
Record record_of_tag(uint32_t number, const Probe& probe);

// A new message. `entry` stands for files that cannot be read. GUID and origin are the tag's, where
// one is to be had; keeps_guid is the caller's to say.
Addition new_message(const Entry& entry, const Probe& probe, uint32_t now);

// Takes keeps_guid from every addition whose GUID is in use, or is wanted by an earlier one too:
// that is a copy. Where it is not set the GUID is cleared.
void give_guids(std::vector<Addition>& added, std::vector<Guid> used);

}  // namespace mh
