// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the tests of the journal share: facts to write, and a journal in a directory of its own.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "libmh/store/journal.h"
#include "tests/support/temp-dir.h"

namespace mh::test {

inline constexpr gid_t kAnyGroup = static_cast<gid_t>(-1);

inline Record record_of(uint32_t uid) {
  Record record;
  record.uid = uid;
  record.number = uid;
  record.file = {uint64_t{1000} + uid, 1, 2, 3, 4};
  record.flags = Record::kVerified;
  record.internal_date = 1700000000;
  record.guid = {static_cast<uint8_t>(uid), static_cast<uint8_t>(uid >> 8), 1};
  return record;
}

inline Tombstone tombstone_of(uint32_t uid) {
  Tombstone tombstone;
  tombstone.uid = uid;
  tombstone.dropped_at = 1700000000;
  return tombstone;
}

inline JournalState new_folder() {
  JournalState state;
  state.header.mailbox_guid = {7, 7};
  state.header.uidvalidity = 1234;
  state.header.created = 4102444800;  // not yet: a jump is not by its age
  state.directory = {5, 6, "", "inbox"};
  state.uidnext_limit = kUidBlock;
  state.modseq_floor = kModseqReserve;
  return state;
}

class JournalTest : public testing::Test {
 protected:
  Journal create(JournalState state = new_folder(), bool replace = false) {
    Result<Journal> journal =
        Journal::create(fs_, dir_.fd(), std::move(state), 0600, kAnyGroup, replace);
    if (!journal) ADD_FAILURE() << journal.error().message();
    return std::move(*journal);
  }
  Journal open() {
    Result<Journal> journal = Journal::open(fs_, dir_.fd());
    if (!journal) ADD_FAILURE() << journal.error().message();
    return std::move(*journal);
  }
  // A journal with the UIDs 1 to `count`, flushed, one line each.
  Journal create_with(uint32_t count) {
    Journal journal = create();
    for (uint32_t uid = 1; uid <= count; ++uid) journal.add_record(record_of(uid));
    EXPECT_TRUE(journal.append());
    EXPECT_TRUE(journal.flush());
    return journal;
  }

  Fs& fs_ = Fs::posix();
  TempDir dir_;
};

}  // namespace mh::test
