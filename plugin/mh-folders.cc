// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-folders.h"

#include "plugin/guard.h"
#include "plugin/mh-mailbox.h"

namespace mh {
namespace {

// Why a folder of this path cannot be made, null when it can.
const char* reason_against(std::string_view path) {
  for (size_t at = 0; at < path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    if (part.starts_with('.')) return "The name of an MH folder cannot begin with a dot";
    const bool digits = part.find_first_not_of("0123456789") == std::string_view::npos;
    if (at > 0 && digits && !part.empty()) {
      return "A folder inside a folder cannot have a name of digits alone: MH programs would take "
             "it "
             "for a message";
    }
    at = slash + 1;
  }
  return nullptr;
}

// A name that would be listed as another one (`%26` as `&`, see folder-names.h) is not taken: the
// client would look for its folder in vain, and a replica would make it again and again.
const char* reason_against(struct mailbox* box) {
  const char* listed = mailbox_list_get_vname(box->list, box->name);
  if (strcasecmp(listed, box->vname) != 0) {  // any case of INBOX/ is one name
    return t_strdup_printf("That name stands for the folder %s", listed);
  }
  return reason_against(list_state(box->list).folder_path(box->name));
}

int refuse(struct mailbox* box, const char* reason) {
  mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE, reason);
  return -1;
}

Root* root_of(ListState& list) {
  const auto tree = list.root();
  return tree ? *tree : nullptr;
}

Folder::Identity wanted_identity(const struct mailbox_update& update) {
  Folder::Identity wanted;
  memcpy(wanted.guid.data(), update.mailbox_guid, wanted.guid.size());
  wanted.uidvalidity = update.uid_validity;
  wanted.uidnext = update.min_next_uid;
  wanted.highest_modseq = update.min_highest_modseq;
  return wanted;
}

int write_identity(struct mailbox* box, const Folder::Identity& wanted) {
  const Status done = mailbox_state(box).folder->change_identity(wanted);
  mailbox_state(box).compare_all = true;
  return done ? 0 : set_error(box, done.error(), "changing the identity of the folder");
}

bool changes_identity(const struct mailbox_update& update) {
  return update.uid_validity != 0 || !guid_128_is_empty(update.mailbox_guid) ||
         update.min_next_uid != 0 || update.min_highest_modseq != 0;
}

int mh_mailbox_update(struct mailbox* box, const struct mailbox_update* update) noexcept {
  return guard(box, [&] {
    if (!box->opened && mailbox_open(box) < 0) return -1;
    if (changes_identity(*update) && write_identity(box, wanted_identity(*update)) < 0) return -1;
    return index_storage_mailbox_update(box, update);
  });
}

int mh_mailbox_create(struct mailbox* box, const struct mailbox_update* update,
                      bool directory) noexcept {
  return guard(box, [&] {
    ListState& list = list_state(box->list);
    const std::string path = list.folder_path(box->name);
    if (const char* reason = reason_against(box)) return refuse(box, reason);
    enum mailbox_existence existence;
    if (mailbox_exists(box, FALSE, &existence) < 0) return -1;
    if (existence == MAILBOX_EXISTENCE_SELECT) {
      mail_storage_set_error(box->storage, MAIL_ERROR_EXISTS, "Mailbox already exists");
      return -1;
    }
    const int ret = index_storage_mailbox_create(box, directory);
    if (ret <= 0) return ret;
    list.forget_paths();
    if (Root* root = root_of(list)) {
      const Status made = root->make_folder(path);
      if (!made) return set_error(box, made.error(), "making the folder");
    }
    if (mailbox_open(box) < 0) return -1;
    return update == nullptr ? 0 : mh_mailbox_update(box, update);
  });
}

// -- renaming -------------------------------------------------------------------------------------

// What of the messages is moved by renaming the INBOX (RFC 3501 6.3.5): all of them, and no folder.
int move_all(struct mailbox* from, struct mailbox* to) {
  if (mailbox_sync(from, MAILBOX_SYNC_FLAG_FULL_READ) < 0) return -1;
  struct mail_search_args* args = mail_search_build_init();
  mail_search_build_add_all(args);
  struct mailbox_transaction_context* source =
      mailbox_transaction_begin(from, static_cast<enum mailbox_transaction_flags>(0), "rename");
  struct mailbox_transaction_context* target =
      mailbox_transaction_begin(to, MAILBOX_TRANSACTION_FLAG_EXTERNAL, "rename");
  struct mail_search_context* search =
      mailbox_search_init(source, args, nullptr, static_cast<enum mail_fetch_field>(0), nullptr);
  mail_search_args_unref(&args);
  int ret = 0;
  struct mail* mail;
  while (ret == 0 && mailbox_search_next(search, &mail)) {
    struct mail_save_context* save = mailbox_save_alloc(target);
    mailbox_save_copy_flags(save, mail);
    ret = mailbox_move(&save, mail);
  }
  if (mailbox_search_deinit(&search) < 0) ret = -1;
  if (ret < 0) {
    mailbox_transaction_rollback(&target);
    mailbox_transaction_rollback(&source);
    return -1;
  }
  if (mailbox_transaction_commit(&target) < 0) {
    mailbox_transaction_rollback(&source);
    return -1;
  }
  if (mailbox_transaction_commit(&source) < 0) return -1;
  return mailbox_sync(from, static_cast<enum mailbox_sync_flags>(0));
}

int rename_inbox(struct mailbox* from, struct mailbox* to) {
  if (mailbox_open(from) < 0) return -1;
  if (mailbox_create(to, nullptr, FALSE) < 0) {
    mail_storage_set_error(from->storage, mailbox_get_last_mail_error(to),
                           mailbox_get_last_error(to, nullptr));
    return -1;
  }
  if (mailbox_open(to) < 0 || move_all(from, to) < 0) {
    mail_storage_set_error(from->storage, MAIL_ERROR_TEMP,
                           "Not all messages could be moved: INBOX still has them");
    return -1;
  }
  return 0;
}

bool is_inbox(const struct mailbox* box) {
  return box->inbox_user || (box->list->ns->flags & NAMESPACE_FLAG_INBOX_ANY) != 0
             ? strcmp(box->name, "INBOX") == 0
             : false;
}

// Where nmh's context cannot be had the folder is renamed or removed all the same.
void move_private(struct mailbox_list* list, const std::string& from, const std::string& to) {
  ListState& state = list_state(list);
  const FolderSettings settings = state.user().folder_settings(state.mail_root(), from);
  if (settings.context.empty()) return;
  const std::string target =
      to.empty() ? "" : state.user().folder_settings(state.mail_root(), to).name_in_context;
  const Status moved = move_in_context(Fs::posix(), settings, settings.name_in_context, target);
  if (!moved) {
    e_warning(list->ns->user->event, "mh: private sequences of %s: %s", from.c_str(),
              moved.error().message().c_str());
  }
}

int mh_mailbox_rename(struct mailbox* from, struct mailbox* to) noexcept {
  return guard(from, [&] {
    ListState& list = list_state(from->list);
    if (const char* reason = reason_against(to)) {
      return refuse(from, reason);
    }
    if (is_inbox(from)) return rename_inbox(from, to);
    const int ret = index_storage_mailbox_rename(from, to);
    list.forget_paths();
    if (ret == 0)
      move_private(from->list, list.folder_path(from->name), list.folder_path(to->name));
    return ret;
  });
}

// -- removing -------------------------------------------------------------------------------------

int mh_list_delete_mailbox(struct mailbox_list* list, const char* name) noexcept {
  return guard_list(list, [&] {
    ListState& state = list_state(list);
    const auto tree = state.root();
    auto removed = tree ? (*tree)->remove_folder(state.folder_path(name)) : pass_on(tree);
    state.forget_paths();
    if (removed) {
      move_private(list, state.folder_path(name), "");
      return 0;
    }
    if (removed.error().kind() == ErrorKind::kNotFound) {
      mailbox_list_set_error(list, MAIL_ERROR_NOTFOUND, T_MAILBOX_LIST_ERR_NOT_FOUND(list, name));
    } else if (removed.error().kind() == ErrorKind::kExists) {
      mailbox_list_set_error(list, MAIL_ERROR_INUSE,
                             "New mails were added to mailbox during deletion");
    } else if (removed.error().kind() == ErrorKind::kPermission) {
      mailbox_list_set_error(list, MAIL_ERROR_PERM, MAIL_ERRSTR_NO_PERMISSION);
    } else {
      mailbox_list_set_critical(list, "mh: %s", removed.error().message().c_str());
    }
    return -1;
  });
}

// A directory that is no folder for Dovecot: \Noselect, or one whose removal was interrupted.
// What is left in that would keep it for ever.
int mh_list_delete_dir(struct mailbox_list* list, const char* name) noexcept {
  return guard_list(list, [&] {
    ListState& state = list_state(list);
    if (const auto tree = state.root()) {
      const auto removed = (*tree)->remove_folder(state.folder_path(name));
      state.forget_paths();
      if (removed && *removed) return 0;
    }
    return state.super.delete_dir(list, name);
  });
}

}  // namespace

void fill_folders(struct mailbox_vfuncs* v) {
  v->create_box = mh_mailbox_create;
  v->update_box = mh_mailbox_update;
  v->delete_box = index_storage_mailbox_delete;
  v->rename_box = mh_mailbox_rename;
}

void fill_folder_list(struct mailbox_list_vfuncs* v) {
  v->delete_mailbox = mh_list_delete_mailbox;
  v->delete_dir = mh_list_delete_dir;
}

}  // namespace mh
