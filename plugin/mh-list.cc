// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-list.h"

#include <fcntl.h>

#include "libmh/system/filename.h"
#include "plugin/folder-names.h"
#include "plugin/guard.h"
#include "plugin/mh-folders.h"
#include "plugin/mh-notify.h"

namespace mh {
namespace {

struct MhMailboxList {
  union mailbox_list_module_context module_ctx;
  ListState* state;
};

MODULE_CONTEXT_DEFINE_INIT(mh_mailbox_list_module, &mailbox_list_module_register);

MhMailboxList* context_of(struct mailbox_list* list) {
  return static_cast<MhMailboxList*>(MODULE_CONTEXT(list, mh_mailbox_list_module));
}

constexpr std::string_view kInbox = "INBOX";

// Whether `path` is `base` or lies below it.
bool is_within(std::string_view path, std::string_view base) {
  return path.starts_with(base) && (path.size() == base.size() || path[base.size()] == '/');
}

std::string replace_base(std::string_view path, std::string_view base, std::string_view by) {
  return std::string(by) + std::string(path.substr(base.size()));
}

bool has_inbox(const struct mailbox_list* list) {
  return (list->ns->flags & (NAMESPACE_FLAG_INBOX_USER | NAMESPACE_FLAG_INBOX_ANY)) != 0;
}

// A name that the fs layout treats in ways of its own: the root, or (full file system access) a
// path.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name[0] != '/' && name[0] != '~';
}

// Applies `convert` to each component of a path. Tells it what lies beside the component on disk.
using Convert = std::string (*)(const std::string& part, char separator, const NameExists& exists);
std::string convert_path(ListState& state, char separator, const std::string& path, Convert convert,
                         bool result_is_disk) {
  std::string directory = state.mail_root();
  std::string result;
  for (size_t at = 0; at <= path.size();) {
    const size_t slash = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, slash - at);
    std::string converted = convert(part, separator, [&](const std::string& name) {
      return static_cast<bool>(
          Fs::posix().stat(AT_FDCWD, (directory + "/" + name).c_str(), Follow::kNo));
    });
    directory += "/" + (result_is_disk ? converted : part);
    if (at > 0) result += '/';
    result += converted;
    at = slash + 1;
  }
  return result;
}

const char* mh_list_get_storage_name(struct mailbox_list* list, const char* vname) noexcept {
  ListState& state = *context_of(list)->state;
  const char* name = state.super.get_storage_name(list, vname);
  return guard_list(
      list,
      [&]() -> const char* {
        if (!is_plain_name(name)) return name;
        const bool in_inbox = has_inbox(list) && is_within(name, kInbox);
        const std::string wanted =
            in_inbox ? replace_base(name, kInbox, state.inbox()) : std::string(name);
        const std::string on_disk =
            convert_path(state, mail_namespace_get_sep(list->ns), wanted, disk_name, true);
        // An iteration opens its roots by storage name, past get_path: it is given the true path.
        if (!in_inbox || state.listing) return t_strdup(on_disk.c_str());
        return t_strdup(replace_base(on_disk, state.inbox(), kInbox).c_str());
      },
      name);
}

const char* mh_list_get_vname(struct mailbox_list* list, const char* storage_name) noexcept {
  ListState& state = *context_of(list)->state;
  return guard_list(
      list,
      [&]() -> const char* {
        if (!is_plain_name(storage_name)) return state.super.get_vname(list, storage_name);
        const std::string path = state.folder_path(storage_name);
        std::string name =
            convert_path(state, mail_namespace_get_sep(list->ns), path, imap_name, false);
        if (has_inbox(list) && is_within(path, state.inbox())) {
          const std::string inbox = convert_path(state, mail_namespace_get_sep(list->ns),
                                                 state.inbox(), imap_name, false);
          name = replace_base(name, inbox, kInbox);
        }
        return state.super.get_vname(list, t_strdup(name.c_str()));  // may return its argument
      },
      storage_name);
}

int mh_list_get_path(struct mailbox_list* list, const char* name, enum mailbox_list_path_type type,
                     const char** path_r) noexcept {
  ListState& state = *context_of(list)->state;
  return guard_list(list, [&] {
    const bool index =
        type == MAILBOX_LIST_PATH_TYPE_INDEX || type == MAILBOX_LIST_PATH_TYPE_INDEX_CACHE;
    if (name == nullptr || !is_plain_name(name)) {
      return state.super.get_path(list, name, type, path_r);
    }
    const std::string path = state.folder_path(name);
    if ((index && state.owns_index) ||
        (type == MAILBOX_LIST_PATH_TYPE_CONTROL && state.owns_control)) {
      const std::string where = state.state_path(path, index ? kIndexDir : kControlDir);
      if (where.empty()) return 0;
      *path_r = t_strdup(where.c_str());
      return 1;
    }
    return state.super.get_path(list, path.c_str(), type, path_r);
  });
}

// A symlinked directory may have children only where it leads out of the tree, once: inside, they
// are listed under their own names, and a loop would never end.
bool symlink_may_have_children(ListState& state, const std::string& directory,
                               const std::string& path) {
  Fs& fs = Fs::posix();
  const auto root = fs.real_path(state.mail_root());
  const auto target = fs.real_path(path);
  const auto parent = fs.real_path(directory);
  return root && target && parent && is_within(*parent, *root) && !is_within(*target, *root) &&
         !is_within(*root, *target);
}

int mh_list_get_mailbox_flags(struct mailbox_list* list, const char* dir, const char* fname,
                              enum mailbox_list_file_type type,
                              enum mailbox_info_flags* flags_r) noexcept {
  ListState& state = *context_of(list)->state;
  return guard_list(list, [&] {
    unsigned int flags = MAILBOX_NOSELECT | MAILBOX_NONEXISTENT;
    *flags_r = static_cast<enum mailbox_info_flags>(flags);
    if (fname[0] == '.') return 0;
    if (has_inbox(list) && strcasecmp(fname, kInbox.data()) == 0 && state.inbox() != fname &&
        state.mail_root() == dir) {
      state.warn_hidden_inbox(fname);
      return 0;
    }
    const int ret = state.super.get_mailbox_flags(list, dir, fname, type, flags_r);
    if (ret <= 0 || (*flags_r & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT)) != 0) return ret;
    const std::string path = std::string(dir) + "/" + fname;
    state.tree_stamps.note(path);
    if (path.size() > state.mail_root().size() &&
        state.is_noselect(path.substr(state.mail_root().size() + 1))) {
      *flags_r = static_cast<enum mailbox_info_flags>(*flags_r | MAILBOX_NOSELECT);
      return 1;
    }
    flags = *flags_r | MAILBOX_SELECT;
    if (type == MAILBOX_LIST_FILE_TYPE_SYMLINK || type == MAILBOX_LIST_FILE_TYPE_UNKNOWN) {
      const auto stat = Fs::posix().stat(AT_FDCWD, path.c_str(), Follow::kNo);
      if (stat && stat->type == FileType::kSymlink &&
          !symlink_may_have_children(state, dir, path)) {
        flags &= ~static_cast<unsigned int>(MAILBOX_CHILDREN | MAILBOX_NOCHILDREN);
        flags |= MAILBOX_NOINFERIORS;
      }
    }
    *flags_r = static_cast<enum mailbox_info_flags>(flags);
    return ret;
  });
}

// The list index believes that nobody but Dovecot makes folders. It is brought up to date at once,
// not by mailbox_list_index_refresh_later(): under that flag NOTIFY would tell nothing of what is
// new.
void follow_tree(struct mailbox_list* list) {
  ListState& state = *context_of(list)->state;
  const auto* index = static_cast<const struct mailbox_list_index*>(
      MODULE_CONTEXT(list, mailbox_list_index_module));
  if (index == nullptr || index->syncing || state.tree_stamps.current()) return;
  state.tree_stamps.begin(state.mail_root());
  (void)mailbox_list_index_sync(list, true);
}

struct mailbox_list_iterate_context* mh_list_iter_init(
    struct mailbox_list* list, const char* const* patterns,
    enum mailbox_list_iter_flags flags) noexcept {
  ListState& state = *context_of(list)->state;
  // The list index itself iterates so, when it reads the tree.
  if ((flags & MAILBOX_LIST_ITER_RAW_LIST) == 0) {
    guard_list(list, [list] {
      follow_tree(list);
      return 0;
    });
  }
  state.listing = true;
  struct mailbox_list_iterate_context* ctx = state.super.iter_init(list, patterns, flags);
  state.listing = false;
  return ctx;
}

void mh_list_deinit(struct mailbox_list* list) noexcept {
  const std::unique_ptr<ListState> state(context_of(list)->state);
  state->super.deinit(list);
}

bool same_moment(const struct timeval& a, const struct timeval& b) {
  return a.tv_sec == b.tv_sec && a.tv_usec == b.tv_usec;
}

// The profile's Inbox, when it is a path that can lie below the mail root.
bool is_usable_inbox(const std::string& path) {
  if (!is_plain_name(path) || path.ends_with('/')) return false;
  const std::string parts = "/" + path + "/";
  return parts.find("//") == std::string::npos && parts.find("/.") == std::string::npos;
}

}  // namespace

ListState& list_state(struct mailbox_list* list) { return *context_of(list)->state; }

ListState::ListState(struct mailbox_list* list, UserState& user)
    : list_(list), user_(user), mail_root_(list_root_dir(list)) {}

ListState::~ListState() = default;

Result<Root*> ListState::root() { return user_.root(mail_root_); }

const std::string& ListState::inbox() {
  if (!inbox_.empty()) return inbox_;
  inbox_ = kInbox;
  if (!has_inbox(list_)) return inbox_;
  inbox_ = user_.profile().inbox();
  if (!is_usable_inbox(inbox_)) {
    e_warning(list_->ns->user->event,
              "mh: the profile's Inbox is %s, which is no folder below %s: INBOX is %s/inbox",
              inbox_.c_str(), mail_root_.c_str(), mail_root_.c_str());
    inbox_ = "inbox";
  }
  return inbox_;
}

std::string ListState::folder_path(const std::string& storage_name) {
  return has_inbox(list_) && is_within(storage_name, kInbox)
             ? replace_base(storage_name, kInbox, inbox())
             : storage_name;
}

bool ListState::is_draft_folder(const std::string& storage_name) {
  return is_draft_path(folder_path(storage_name));
}

bool ListState::is_draft_path(const std::string& path) {
  return user_.is_draft_folder(mail_root_, path);
}

void ListState::warn_hidden_inbox(const char* name) {
  if (std::exchange(warned_inbox_, true)) return;
  e_warning(list_->ns->user->event,
            "mh: %s/%s is not served: to IMAP it would be the INBOX, and that is %s/%s. Rename it, "
            "or put \"Inbox: %s\" into %s",
            mail_root_.c_str(), name, mail_root_.c_str(), inbox().c_str(), name,
            user_.options().profile.c_str());
}

bool ListState::is_noselect(const std::string& path) {
  const auto tree = root();
  if (!tree) return false;
  const auto found = (*tree)->is_noselect(path);
  return found && *found;
}

void ListState::remember(const std::string& path, const std::string& state_dir) {
  remembered_[path] = {state_dir, ioloop_timeval};
}

// One command asks for the same path several times; between two commands the folder may have moved.
std::string ListState::state_path(const std::string& path, std::string_view subdirectory) {
  const auto known = remembered_.find(path);
  std::string state_dir;
  if (known != remembered_.end() && same_moment(known->second.when, ioloop_timeval)) {
    state_dir = known->second.state_dir;
  } else {
    remembered_.erase(path);
    const auto tree = root();
    const auto found = tree ? (*tree)->find(path) : Result<Location>(pass_on(tree));
    if (found) {
      state_dir = found->state_dir;
      remember(path, state_dir);
    } else {
      const std::string base = tree ? (*tree)->state_root() : std::string();
      state_dir = (base.empty() ? mail_root_ + "/" + std::string(kStateDir) : base) + "/none";
    }
  }
  return state_dir.empty() ? std::string() : state_dir + "/" + std::string(subdirectory);
}

std::string ListState::index_path(const std::string& state_dir, const std::string& path) {
  if (owns_index) return state_dir + "/" + std::string(kIndexDir);
  const char* dir;
  const int ret = super.get_path(list_, path.c_str(), MAILBOX_LIST_PATH_TYPE_INDEX, &dir);
  return ret > 0 ? std::string(dir) : state_dir + "/none";
}

void mh_list_added(struct mail_storage* storage, struct mailbox_list* list) noexcept {
  auto* context = p_new(list->pool, MhMailboxList, 1);
  context->state = new ListState(list, UserState::of(storage->user));
  ListState& state = *context->state;
  const std::string ours = state.mail_root() + "/" + std::string(kStateDir);
  const char* index = list_index_dir(list);
  const char* control = list_control_dir(list);
  const std::string chosen = state.user().state_root_of(state.mail_root());
  state.owns_index = index == nullptr || index == ours || index == chosen;
  state.owns_control = control == nullptr || control == ours || control == chosen;
  state.super = list->v;
  list->v.get_storage_name = mh_list_get_storage_name;
  list->v.get_vname = mh_list_get_vname;
  list->v.get_path = mh_list_get_path;
  list->v.get_mailbox_flags = mh_list_get_mailbox_flags;
  list->v.iter_init = mh_list_iter_init;
  list->v.deinit = mh_list_deinit;
  fill_folder_list(&list->v);
  fill_list_notify(&list->v);
  MODULE_CONTEXT_SET(list, mh_mailbox_list_module, context);
}

}  // namespace mh
