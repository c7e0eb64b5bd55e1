// SPDX-License-Identifier: LGPL-2.1-or-later
//
// NOTIFY (RFC 5465) about folders that nobody has open.
//
// Dovecot reads what it tells from its list index, and that learns of a change when some session
// looks at the folder. MH programs cause no session to look. So, as long as a client wants to be
// told, the directories of all folders are watched, and a folder in which something happened is
// synced. Its sync writes the list index, and the rest is Dovecot's.
//
// The watches hang on a descriptor of their own: a second io_add_notify() on a directory would take
// away the watch of the session that has the folder selected. Where inotify tells nothing,
// mh-notify-hook may: see mh-idle.h.
#pragma once

#include <set>

#include "libmh/system/path-watch.h"
#include "plugin/dovecot.h"

namespace mh {

class FolderWatcher {
 public:
  FolderWatcher(struct mailbox_list* list, PathWatch watch);
  ~FolderWatcher();
  FolderWatcher(const FolderWatcher&) = delete;
  FolderWatcher& operator=(const FolderWatcher&) = delete;

 private:
  static void on_event(FolderWatcher* self) noexcept;
  static void on_time(FolderWatcher* self) noexcept;
  void take_events();
  void take_hint(std::string_view name);
  void look_at_what_is_due();
  void look_at(const std::string& name);
  void list_again();
  void watch_folders();
  void due(const std::string& name, Nanoseconds when);
  void set_timer();

  struct mailbox_list* list_;
  PathWatch watch_;
  std::multimap<int, std::string> names_;                  // of the folders, by number of the watch
  std::map<std::string, Nanoseconds> due_;                 // when to look at a folder
  int hints_place_ = -1;                                   // of mh_notify_dir
  std::multimap<std::string, std::string> names_by_hint_;  // of the folders
  std::set<std::string> hinted_;                           // of those that are due
  bool tree_changed_ = false;
  struct io* io_ = nullptr;
  struct timeout* timer_ = nullptr;
};

// Puts the functions of a list that watch in the place of those that do not, where there are any.
void fill_list_notify(struct mailbox_list_vfuncs* v);

}  // namespace mh
