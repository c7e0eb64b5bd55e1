// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What this version does not do: put messages into a folder, remove them, delete and rename
// folders. Each says so clearly, to the client that asked, and changes nothing: no message is
// marked as gone that is still there, and none is acknowledged that was not stored.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// The entries of struct mailbox_vfuncs for creating, updating, deleting, renaming, saving and
// committing.
void fill_refused(struct mailbox_vfuncs* v);

// For struct mail_vfuncs.expunge: makes the commit of its transaction fail.
}  // namespace mh
