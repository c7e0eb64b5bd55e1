// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-storage.h"

#include <unistd.h>

#include "libmh/system/filename.h"
#include "plugin/guard.h"
#include "plugin/mh-list.h"
#include "plugin/mh-mailbox.h"
#include "plugin/mh-settings-24.h"
#include "plugin/mh-user.h"

namespace mh {
namespace {

struct mail_storage* mh_storage_alloc() noexcept {
  pool_t pool = pool_alloconly_create("mh storage", 1024);
  auto* storage = p_new(pool, struct mail_storage, 1);
  *storage = mh_storage_class;
  storage->pool = pool;
  return storage;
}

int refuse(const char** error_r, const char* text) {
  *error_r = text;
  return -1;
}

int mh_storage_create(struct mail_storage* storage, struct mail_namespace* ns,
                      const char** error_r) noexcept {
  const struct mailbox_list* list = ns->list;
  if (strcmp(list->name, MAILBOX_LIST_NAME_FS) != 0) {
    return refuse(error_r,
                  t_strdup_printf("the layout %s cannot show an MH tree, whose folders are "
                                  "plain directories: only fs can",
                                  list->name));
  }
  if (const char* setting = list_foreign_setting(list)) {
    return refuse(error_r, t_strdup_printf("%s cannot be used: the messages of an MH folder lie in "
                                           "the folder itself",
                                           setting));
  }
  try {
    const UserState& user = UserState::of(storage->user);
    if (!user.options_error().empty()) {
      return refuse(error_r, t_strdup(user.options_error().c_str()));
    }
  } catch (const std::exception& exception) {
    return refuse(error_r, t_strdup(exception.what()));
  }
  storage->unique_root_dir = p_strdup(storage->pool, list_root_dir(list));
  // Dovecot's acl plugin then keeps dovecot-acl with the control files and not in the MH folder. Of
  // this one storage only, after its list was made: the class has a root.
  storage->class_flags = static_cast<enum mail_storage_class_flags>(
      storage->class_flags | MAIL_STORAGE_CLASS_FLAG_NO_ROOT);
  return 0;
}

#if !MH_DOVECOT_24
// Where no state can be written, or there is no place for it at all, the indexes are in memory:
// Dovecot 2.3.19 ends with a panic on an index of the mailbox list that can only be read.
bool is_unwritable(const char* state_root) {
  return *state_root == '\0' || (access(state_root, W_OK) < 0 && errno != ENOENT);
}

void mh_get_list_settings(const struct mail_namespace* ns,
                          struct mailbox_list_settings* set) noexcept {
  if (set->layout == nullptr) set->layout = MAILBOX_LIST_NAME_FS;
  // The fs layout hides what has this name in the root, wherever the file itself lies; but a folder
  // may have it. No directory entry equals this one, and the path is the same.
  if (set->subscription_fname == nullptr) set->subscription_fname = "./subscriptions";
  set->utf8 = TRUE;
  std::string state_root;
  try {
    state_root = UserState::of(ns->user).state_root_of(set->root_dir);
  } catch (const std::exception& exception) {
    e_error(ns->user->event, "mh: %s", exception.what());
    return;
  }
  const char* where = t_strdup(state_root.c_str());
  if (set->index_dir == nullptr) set->index_dir = is_unwritable(where) ? "" : where;
  if (set->control_dir == nullptr && !state_root.empty()) set->control_dir = where;
}
#endif

struct mail_storage make_class() {
  struct mail_storage storage = {};
  storage.name = "mh";
  storage.class_flags = static_cast<enum mail_storage_class_flags>(
      MAIL_STORAGE_CLASS_FLAG_UNIQUE_ROOT | MAIL_STORAGE_CLASS_FLAG_FILE_PER_MSG |
      MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_GUIDS | MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_SAVE_GUIDS |
      MAIL_STORAGE_CLASS_FLAG_HAVE_MAIL_GUID128);
  storage.event_category = &mh_event_category;
  storage.v.alloc = mh_storage_alloc;
  storage.v.create = mh_storage_create;
  storage.v.destroy = index_storage_destroy;
  storage.v.add_list = mh_list_added;
#if MH_DOVECOT_24
  storage.set_info = &mh_setting_parser_info;
#else
  storage.v.get_list_settings = mh_get_list_settings;
#endif
  storage.v.mailbox_alloc = mh_mailbox_alloc;
  storage.v.list_index_rebuild = mail_storage_list_index_rebuild;
  return storage;
}

struct event_category make_category() {
  struct event_category category = {};
  category.name = "mh";
  category.parent = &event_category_storage;
  return category;
}

}  // namespace

struct event_category mh_event_category = make_category();
struct mail_storage mh_storage_class = make_class();

}  // namespace mh
