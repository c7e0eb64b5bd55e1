// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-refuse.h"

#include "plugin/guard.h"

namespace mh {
namespace {

int refuse(struct mailbox* box, const char* what) {
  mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
                         t_strdup_printf("%s is not supported in MH folders yet", what));
  return -1;
}

// ---- Folders.

int mh_mailbox_create(struct mailbox* box, const struct mailbox_update* update,
                      bool directory) noexcept {
  // Making a directory is all there is to it; its state is made when it is opened.
  if (update != nullptr && (update->uid_validity != 0 || !guid_128_is_empty(update->mailbox_guid) ||
                            update->min_next_uid != 0 || update->min_highest_modseq != 0)) {
    return refuse(box, "Creating a folder with a given identity");
  }
  if (box->name[0] == '.' || strstr(box->name, "/.") != nullptr) {
    mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
                           "The name of an MH folder cannot begin with a dot");
    return -1;
  }
  enum mailbox_existence existence;
  if (mailbox_exists(box, FALSE, &existence) < 0) return -1;
  if (existence == MAILBOX_EXISTENCE_SELECT) {
    mail_storage_set_error(box->storage, MAIL_ERROR_EXISTS, "Mailbox already exists");
    return -1;
  }
  const int ret = index_storage_mailbox_create(box, directory);
  return ret <= 0 ? ret : mailbox_open(box);
}

int mh_mailbox_update(struct mailbox* box, const struct mailbox_update* update) noexcept {
  if (update->uid_validity != 0 || !guid_128_is_empty(update->mailbox_guid) ||
      update->min_next_uid != 0 || update->min_highest_modseq != 0) {
    return refuse(box, "Changing the identity of a folder");
  }
  if (!box->opened && mailbox_open(box) < 0) return -1;
  return index_storage_mailbox_update_common(box, update);
}

int mh_mailbox_delete(struct mailbox* box) noexcept { return refuse(box, "Deleting a folder"); }

int mh_mailbox_rename(struct mailbox* source, struct mailbox*) noexcept {
  return refuse(source, "Renaming a folder");
}

}  // namespace

void fill_refused(struct mailbox_vfuncs* v) {
  v->create_box = mh_mailbox_create;
  v->update_box = mh_mailbox_update;
  v->delete_box = mh_mailbox_delete;
  v->rename_box = mh_mailbox_rename;
}

}  // namespace mh
