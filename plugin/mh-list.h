// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What counts as a folder, where it lies, and where its state lies: the fs layout with these
// differences.
//
//  * INBOX is the folder that the profile calls Inbox, at any depth, its children included. Another
//    directory that IMAP would have to call INBOX is hidden, and said once.
//  * Every directory whose name does not begin with a dot is a folder that can be selected.
//  * Index and control files of a folder lie in its state directory, which follows the directory
//    and not the name (libmh/folder/root.h), unless INDEX= or CONTROL= say otherwise.
//  * A symlink into the tree is a folder without children, or a loop would make the tree infinite.
#pragma once

#include "libmh/folder/root.h"
#include "plugin/dovecot.h"
#include "plugin/mh-user.h"
#include "plugin/tree-stamps.h"

namespace mh {

class FolderWatcher;

class ListState {
 public:
  ListState(struct mailbox_list* list, UserState& user);
  ~ListState();

  UserState& user() { return user_; }
  // The tree; opened when first needed, tried again as long as it does not exist.
  Result<Root*> root();
  const std::string& mail_root() const { return mail_root_; }
  // Path of a folder below the mail root, by its storage name ("INBOX" is one).
  std::string folder_path(const std::string& storage_name);
  // The profile's Inbox, relative to the mail root; "INBOX" in a namespace that has no inbox.
  const std::string& inbox();

  // Whether this is the profile's Draft-Folder, by its storage name.
  bool is_draft_folder(const std::string& storage_name);
  // The same by its path below the mail root, or an absolute one.
  bool is_draft_path(const std::string& path);

  // Index or control directory of the folder at this path, "" when its state is in memory only. For
  // a folder that has no state yet, or does not exist, a path that does not exist.
  std::string state_path(const std::string& path, std::string_view subdirectory);
  // The index directory of the folder with this state, whatever lies under its path by now.
  std::string index_path(const std::string& state_dir, const std::string& path);
  // Tells where the state of a folder lies, as its opening found it.
  void remember(const std::string& path, const std::string& state_dir);
  // Folders were made, removed or renamed by us: what was remembered is void.
  void forget_paths() { remembered_.clear(); }
  // Whether the directory at this path is there for its children's sake only.
  bool is_noselect(const std::string& path);
  // Says once that this directory is hidden by the INBOX.
  void warn_hidden_inbox(const char* name);

  bool owns_index = false;  // no INDEX= was given: it lies in the state directory
  bool owns_control = false;
  bool listing = false;    // an iteration is being set up: see mh-list.cc
  TreeStamps tree_stamps;  // as it was read last
  struct mailbox_list_vfuncs super = {};
  // Of the clients that asked to be told of this list's folders (plugin/mh-notify.h).
  std::map<struct mailbox_list_notify*, std::unique_ptr<FolderWatcher>> watchers;

 private:
  struct Remembered {
    std::string state_dir;
    struct timeval when;
  };
  struct mailbox_list* list_;
  UserState& user_;
  std::string mail_root_;
  std::map<std::string, Remembered> remembered_;
  std::string inbox_;
  bool warned_inbox_ = false;
};

// The state of a list that mh_list_added() has seen.
ListState& list_state(struct mailbox_list* list);

// For struct mail_storage_vfuncs.add_list.
void mh_list_added(struct mail_storage* storage, struct mailbox_list* list) noexcept;

}  // namespace mh
