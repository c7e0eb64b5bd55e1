// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Bringing folder and index together, once: the work of plugin/mh-sync.h, without what surrounds
// it.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// Does nothing when nothing has changed; goes over the folder again when it moves meanwhile.
// `thorough` reads every message again. 0 or -1, with the error set.
int run_sync_passes(struct mailbox* box, bool thorough);

// The same under the folder lock, which the caller holds; next to nothing when nothing changed.
int run_locked_sync(struct mailbox* box);

// After each commit of the index under the folder lock: see libmh/store/index-seal.h.
void seal_index(struct mailbox* box);

}  // namespace mh
