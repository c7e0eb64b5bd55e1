// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Is what the mailbox list index knows about a folder (STATUS without opening it) still true?
// Dovecot looks at dovecot.index.log only, which no MH tool writes: so the folder and its sequences
// are stat'ed too, and compared with a record of our own in the list index.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// The stamps of an open folder, as a hash: as its index has them from the last sync of any process,
// and as they are now.
std::optional<uint64_t> recorded_stamps(struct mailbox* box);
std::optional<uint64_t> present_stamps(struct mailbox* box);

// For struct mailbox_vfuncs.
int mh_list_index_has_changed(struct mailbox* box, struct mail_index_view* list_view, uint32_t seq,
                              bool quick, const char** reason_r) noexcept;
void mh_list_index_update_sync(struct mailbox* box, struct mail_index_transaction* trans,
                               uint32_t seq) noexcept;

}  // namespace mh
