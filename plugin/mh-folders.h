// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folders as such: made, removed, renamed, given another identity by replication.
//
// A folder is a directory, and its state finds it by the directory's identity: so a rename is a
// rename of the directory. What is our own business here: names that MH would take for messages,
// folders that have children or files of others in them when they are removed, and the INBOX, which
// a client renames without taking it away.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// Fills in the functions for folders of a mailbox, and those of its list.
void fill_folders(struct mailbox_vfuncs* v);
void fill_folder_list(struct mailbox_list_vfuncs* v);

}  // namespace mh
