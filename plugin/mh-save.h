// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages that come in through Dovecot: APPEND, deliveries, COPY and MOVE, dsync.
//
// A transaction collects files that have no name yet. commit_pre() waits until they are on disk,
// then takes the folder lock, brings the index up to date, assigns UIDs and lets libmh bring the
// files in; Dovecot commits the transaction; commit_post() ends the sync of the index and gives the
// lock back. libmh/folder/folder-save.cc says what a crash in between leaves.
#pragma once

#include "libmh/folder/new-message.h"
#include "plugin/dovecot.h"

namespace mh {

// Fills in the functions for saving and copying.
void fill_saving(struct mailbox_vfuncs* v);

// The file of a message that is being saved in this transaction, null when `mail` is none.
const NewMessage* saving_message(struct mail* mail);

}  // namespace mh
