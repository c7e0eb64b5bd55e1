// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder and dovecot.index brought together, in the shape that libmh/folder/folder.h gives. Lock
// order: folder lock, vsize lock, index sync, nmh's lock on the sequences. The journal is durable
// before the index is committed; a crash between the two is made up for by the next sync, since the
// index remembers up to where it has followed the journal.
//
// When nmh's lock is busy the arrivals are committed all the same, and the flag records of the
// index stay unconsumed: the next sync gets them again.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// For struct mailbox_vfuncs.
struct mailbox_sync_context* mh_sync_init(struct mailbox* box,
                                          enum mailbox_sync_flags flags) noexcept;

// While a client is idle: sees to it that tags are written in small batches, and that what had just
// changed is looked at again, as the folder's memory asks. No timer runs when neither is to be
// done.
void schedule_idle_work(struct mailbox* box);

// When a watch begins: what changed between the last sync and the watch is looked at at once. (With
// NOTIFY, Dovecot begins to watch a second after a command, and does not look.)
void look_at_what_was_missed(struct mailbox* box);

}  // namespace mh
