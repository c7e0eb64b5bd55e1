// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What differs between Dovecot 2.3 and 2.4, but for the settings of this plugin
// (plugin/mh-settings-23.cc, plugin/mh-settings-24.cc). Included by plugin/dovecot.h only.
#pragma once

#define MH_DOVECOT_24 DOVECOT_PREREQ(2, 4, 0)

namespace mh {

// INDEX_STORAGE_CONTEXT() of 2.3 does not compile as C++.
inline struct index_mailbox_context* index_context(struct mailbox* box) {
  return static_cast<struct index_mailbox_context*>(MODULE_CONTEXT(box, index_storage_module));
}

// Where a list's files are, as the admin said it: null when he said nothing. The index directory is
// "" for indexes in memory.
inline const char* list_root_dir(const struct mailbox_list* list) {
#if MH_DOVECOT_24
  return list->mail_set->mail_path;
#else
  return list->set.root_dir;
#endif
}

inline const char* list_index_dir(const struct mailbox_list* list) {
#if MH_DOVECOT_24
  const char* path = list->mail_set->mail_index_path;
  if (path[0] == '\0') return nullptr;
  return strcmp(path, MAIL_INDEX_PATH_MEMORY) == 0 ? "" : path;
#else
  return list->set.index_dir;
#endif
}

inline const char* list_control_dir(const struct mailbox_list* list) {
#if MH_DOVECOT_24
  const char* path = list->mail_set->mail_control_path;
  return path[0] == '\0' ? nullptr : path;
#else
  return list->set.control_dir;
#endif
}

// Settings that put a directory of their own between a folder's name and its messages, or look for
// folders elsewhere: an MH tree has none.
inline const char* list_foreign_setting(const struct mailbox_list* list) {
#if MH_DOVECOT_24
  const struct mail_storage_settings* set = list->mail_set;
  if (set->mailbox_directory_name[0] != '\0') return "mailbox_directory_name";
  if (set->mailbox_root_directory_name[0] != '\0') return "mailbox_root_directory_name";
  if (set->mailbox_list_iter_from_index_dir) return "mailbox_list_iter_from_index_dir";
#else
  if (list->set.maildir_name[0] != '\0') return "DIRNAME";
  if (list->set.mailbox_dir_name[0] != '\0') return "MAILBOXDIR";
  if (list->set.iter_from_index_dir) return "ITERINDEX";
#endif
  return nullptr;
}

}  // namespace mh
