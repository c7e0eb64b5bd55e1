// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One message: its bytes, dates, sizes and identity. What IMAP shows is the file from the end of
// its hidden lines on. A message whose file is gone is expunged; one that cannot be read fails with
// a reason and stays.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

extern struct mail_vfuncs mh_mail_vfuncs;

}  // namespace mh
