// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The records of a folder, out of the two places where they are kept: the store has all of them as
// of a point of the journal, the journal what came since.
#pragma once

#include <vector>

#include "libmh/format/number-set.h"
#include "libmh/store/journal.h"
#include "libmh/store/store.h"

namespace mh {

// All records that are alive, in UID order. A store that does not belong to this journal, or cannot
// be read, counts for nothing: messages whose tag is on disk may then be without a record.
std::vector<Record> all_records(const Journal& journal, Store& store);

// Brings records up to date for these UIDs.
void update_records(const JournalState& facts, const NumberSet& changed,
                    std::vector<Record>* records);

}  // namespace mh
