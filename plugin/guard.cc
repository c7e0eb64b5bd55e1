// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/guard.h"

namespace mh {

int set_error(struct mailbox* box, const Error& error, const char* what) {
  const char* text = error.message().c_str();
  switch (error.kind()) {
    case ErrorKind::kNotFound:
      mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND,
                             T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
      break;
    case ErrorKind::kBusy:
      e_warning(box->event, "mh: %s: %s", what, text);
      mail_storage_set_error(box->storage, MAIL_ERROR_INUSE,
                             "The folder is in use by another program, try again");
      break;
    case ErrorKind::kNoSpace:
      e_error(box->event, "mh: %s: %s: make room, then it works again", what, text);
      mail_storage_set_error(box->storage, MAIL_ERROR_NOQUOTA, "No space left for mail");
      break;
    case ErrorKind::kPermission:
      e_error(box->event, "mh: %s: %s: check owner and mode", what, text);
      mail_storage_set_error(box->storage, MAIL_ERROR_PERM, MAIL_ERRSTR_NO_PERMISSION);
      break;
    case ErrorKind::kReadOnly:
      e_error(box->event, "mh: %s: %s", what, text);
      mail_storage_set_error(box->storage, MAIL_ERROR_PERM, "The folder is read-only");
      break;
    default:
      mailbox_set_critical(box, "mh: %s: %s", what, text);
      break;
  }
  return -1;
}

}  // namespace mh
