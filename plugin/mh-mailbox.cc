// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-mailbox.h"

#include <fcntl.h>
#include <unistd.h>

#include "plugin/guard.h"
#include "plugin/index-sync.h"
#include "plugin/mh-folders.h"
#include "plugin/mh-idle.h"
#include "plugin/mh-mail.h"
#include "plugin/mh-save.h"
#include "plugin/mh-status.h"
#include "plugin/mh-storage.h"
#include "plugin/mh-sync.h"

namespace mh {
namespace {

// .mhsync and other hidden directories are no folders, whoever asks.
bool is_hidden(const struct mailbox* box) {
  return box->name[0] == '.' || strstr(box->name, "/.") != nullptr;
}

int not_found(struct mailbox* box) {
  mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND,
                         T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
  return -1;
}

int mh_mailbox_exists(struct mailbox* box, bool auto_boxes,
                      enum mailbox_existence* existence_r) noexcept {
  return guard(box, [&] {
    *existence_r = MAILBOX_EXISTENCE_SELECT;
    if (auto_boxes && mailbox_is_autocreated(box)) return 0;
    const char* path;
    const int ret = mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_MAILBOX, &path);
    if (ret < 0) return -1;
    if (ret > 0 && !is_hidden(box)) {
      const auto stat = Fs::posix().stat(AT_FDCWD, path, Follow::kYes);
      if (stat && stat->type == FileType::kDirectory) {
        ListState& list = list_state(box->list);
        if (list.is_noselect(list.folder_path(box->name))) {
          *existence_r = MAILBOX_EXISTENCE_NOSELECT;
        }
        return 0;
      }
      if (!stat && stat.error().kind() != ErrorKind::kNotFound &&
          stat.error().kind() != ErrorKind::kPermission) {
        return set_error(box, stat.error(), "looking for the folder");
      }
    }
    *existence_r = MAILBOX_EXISTENCE_NONE;
    return 0;
  });
}

// Whether this is the index that was written here last: only then its UIDNEXT is all that clients
// were told.
bool is_current(struct mail_index_view* view, const char* dir, const char* prefix,
                const Location& location) {
  const auto now = seal_of_index(view, dir, prefix);
  Fs& fs = Fs::posix();
  const auto state = fs.open(AT_FDCWD, location.state_dir.c_str(), O_RDONLY | O_DIRECTORY);
  const auto sealed = state ? read_index_seal(fs, state->get()) : std::nullopt;
  return now && sealed && !is_older(*now, *sealed);
}

// What dovecot.index still knows about a folder whose journal is lost.
Hints hints_of_index(struct mailbox* box, const Location& location) {
  Hints hints;
  list_state(box->list).remember(list_state(box->list).folder_path(box->name), location.state_dir);
  const char* dir;
  if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0) return hints;
  const OtherIndex index(box, dir);
  if (index.view() == nullptr || !is_current(index.view(), dir, box->index_prefix, location)) {
    return hints;
  }
  const struct mail_index_header* header = mail_index_get_header(index.view());
  hints.uidvalidity = header->uid_validity;
  hints.uidnext = header->next_uid;
  hints.highest_modseq = mail_index_modseq_get_highest(index.view());
  for (uint32_t seq = 1; seq <= header->messages_count; ++seq) {
    uint32_t uid;
    mail_index_lookup_uid(index.view(), seq, &uid);
    hints.uids.add(uid);
  }
  return hints;
}

FolderSettings settings_for(struct mailbox* box) {
  ListState& list = list_state(box->list);
  FolderSettings settings =
      list.user().folder_settings(list.mail_root(), list.folder_path(box->name));
  const Options::Guard guard = list.user().options().inc_guard;
  settings.inc_guard =
      guard == Options::Guard::kAll ||
      (guard == Options::Guard::kInbox && list.folder_path(box->name) == list.inbox());
  settings.flush = box->storage->set->parsed_fsync_mode != FSYNC_MODE_NEVER;
  struct event* event = box->event;
  settings.warn = [event](const std::string& text) { e_warning(event, "mh: %s", text.c_str()); };
  return settings;
}

bool tree_exists(ListState& list) {
  const auto stat = Fs::posix().stat(AT_FDCWD, list.mail_root().c_str(), Follow::kYes);
  return stat && stat->type == FileType::kDirectory;
}

int open_folder(struct mailbox* box) {
  ListState& list = list_state(box->list);
  const auto tree = list.root();
  if (!tree && tree_exists(list)) {
    mailbox_set_critical(box, "mh: no state can be kept: %s", tree.error().message().c_str());
    return -1;
  }
  if (!tree) return set_error(box, tree.error(), "opening the mail tree");
  const std::string path = list.folder_path(box->name);
  auto folder = Folder::open(Fs::posix(), **tree, path, settings_for(box),
                             [box](const Location& where) { return hints_of_index(box, where); });
  if (!folder) return set_error(box, folder.error(), "opening the folder");
  mailbox_state(box).folder = std::move(*folder);
  list.remember(path, mailbox_state(box).folder->location().state_dir);
  return 0;
}

bool is_writable(const std::string& path) { return access(path.c_str(), W_OK) == 0; }

// An index that can be read and not written is good for a start; Dovecot would refuse to sync it.
int leave_unwritable_index(struct mailbox* box) {
  const char* dir;
  if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0) return 0;
  const std::string log = std::string(dir) + "/" + box->index_prefix + ".log";
  if (is_writable(log) || errno == ENOENT || mail_index_is_in_memory(box->index)) return 0;
  if (mail_index_move_to_memory(box->index) == 0) return 0;
  mailbox_set_index_error(box);
  return -1;
}

int mh_mailbox_open(struct mailbox* box) noexcept {
  return guard(box, [&] {
    ListState& list = list_state(box->list);
    if (is_hidden(box) || list.is_noselect(list.folder_path(box->name))) return not_found(box);
    MailboxState& state = mailbox_state(box);
    if (open_folder(box) < 0) return -1;
    if (index_storage_mailbox_open(box, FALSE) < 0) {
      state.folder.reset();
      return -1;
    }
    state.extension.attach(box->index);
    return leave_unwritable_index(box);
  });
}

void close_state(struct mailbox* box) {
  MailboxState& state = mailbox_state(box);
  timeout_remove(&state.idle_work);
  state.watch.reset();
  state.folder.reset();
  state.writable.reset();
  state.synced = false;
  state.index_checked = false;
}

void mh_mailbox_close(struct mailbox* box) noexcept {
  close_state(box);
  index_storage_mailbox_close(box);
}

void mh_mailbox_free(struct mailbox* box) noexcept {
  close_state(box);
  delete &mailbox_state(box);
  index_storage_mailbox_free(box);
}

// Whether flags could be brought to the sequences file, which is written in place, or to the user's
// private sequences.
bool sequences_writable(struct mailbox* box) {
  const std::string folder = mailbox_get_path(box);
  const FolderSettings& settings = mailbox_state(box).folder->settings();
  const std::string& context = settings.context;
  if (settings.sequences_name.empty()) {
    if (context.empty() || is_writable(context)) return true;
    return errno == ENOENT && is_writable(context.substr(0, context.rfind('/')));
  }
  if (is_writable(folder + "/" + settings.sequences_name)) return true;
  if (errno == ENOENT && is_writable(folder)) return true;
  return !context.empty() && is_writable(context);
}

bool mh_mailbox_is_readonly(struct mailbox* box) noexcept {
  if (index_storage_is_readonly(box)) return true;
  if (!box->opened) return false;
  return guard(
      box,
      [&] {
        MailboxState& state = mailbox_state(box);
        if (!state.writable) state.writable = sequences_writable(box);
        return !*state.writable || state.folder->read_only();
      },
      true);
}

int mh_mailbox_get_metadata(struct mailbox* box, enum mailbox_metadata_items items,
                            struct mailbox_metadata* metadata_r) noexcept {
  return guard(box, [&] {
    if (index_mailbox_get_metadata(box, items, metadata_r) < 0) return -1;
    if ((items & MAILBOX_METADATA_GUID) == 0) return 0;
    if (!box->opened && mailbox_open(box) < 0) return -1;
    const auto guid = mailbox_state(box).folder->mailbox_guid();
    if (!guid) return set_error(box, guid.error(), "reading the GUID of the folder");
    static_assert(sizeof(metadata_r->guid) == sizeof(*guid));
    memcpy(metadata_r->guid, guid->data(), guid->size());
    return 0;
  });
}

// A client whose folder is gone is told to go, too: in IDLE it would wait for ever.
bool mh_mailbox_is_inconsistent(struct mailbox* box) noexcept {
  return box->mailbox_deleted || index_storage_is_inconsistent(box);
}

struct mailbox_vfuncs make_vfuncs() {
  struct mailbox_vfuncs v = {};
  v.is_readonly = mh_mailbox_is_readonly;
  v.enable = index_storage_mailbox_enable;
  v.exists = mh_mailbox_exists;
  v.open = mh_mailbox_open;
  v.close = mh_mailbox_close;
  v.free = mh_mailbox_free;
  v.get_status = index_storage_get_status;
  v.get_metadata = mh_mailbox_get_metadata;
  v.set_subscribed = index_storage_set_subscribed;
  v.attribute_set = index_storage_attribute_set;
  v.attribute_get = index_storage_attribute_get;
  v.attribute_iter_init = index_storage_attribute_iter_init;
  v.attribute_iter_next = index_storage_attribute_iter_next;
  v.attribute_iter_deinit = index_storage_attribute_iter_deinit;
  v.list_index_has_changed = mh_list_index_has_changed;
  v.list_index_update_sync = mh_list_index_update_sync;
  v.sync_init = mh_sync_init;
  v.sync_next = index_mailbox_sync_next;
  v.sync_deinit = index_mailbox_sync_deinit;
  v.notify_changes = mh_notify_changes;
  v.transaction_begin = index_transaction_begin;
  v.transaction_commit = index_transaction_commit;
  v.transaction_rollback = index_transaction_rollback;
  v.mail_alloc = index_mail_alloc;
  v.search_init = index_storage_search_init;
  v.search_deinit = index_storage_search_deinit;
  v.search_next_nonblock = index_storage_search_next_nonblock;
  v.search_next_update_seq = index_storage_search_next_update_seq;
  v.search_next_match_mail = index_storage_search_next_match_mail;
  v.is_inconsistent = mh_mailbox_is_inconsistent;
  fill_folders(&v);
  fill_saving(&v);
  return v;
}

}  // namespace

struct mailbox* mh_mailbox_alloc(struct mail_storage* storage, struct mailbox_list* list,
                                 const char* vname, enum mailbox_flags flags) noexcept {
  static const struct mailbox_vfuncs vfuncs = make_vfuncs();
  pool_t pool = pool_alloconly_create("mh mailbox", 1024 * 3);
  auto* mailbox = p_new(pool, MhMailbox, 1);
  mailbox->box.v = vfuncs;
  mailbox->box.pool = pool;
  mailbox->box.storage = storage;
  mailbox->box.list = list;
  mailbox->box.mail_vfuncs = &mh_mail_vfuncs;
  mailbox->state = new MailboxState;
  index_storage_mailbox_alloc(&mailbox->box, vname, flags, MAIL_INDEX_PREFIX);
  event_add_category(mailbox->box.event, &mh_event_category);
  return &mailbox->box;
}

}  // namespace mh
