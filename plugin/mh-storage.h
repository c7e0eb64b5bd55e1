// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The storage class `mh`: what Dovecot knows by that name. Mailboxes are in mh-mailbox.h.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// To be registered with mail_storage_class_register().
extern struct mail_storage mh_storage_class;
// Child of "storage"; on everything that this driver logs.
extern struct event_category mh_event_category;

}  // namespace mh
