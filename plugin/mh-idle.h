// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How an idle client comes to hear of a change.
//
// Dovecot watches paths for a mailbox (mailbox_watch_add): by inotify, after which it waits for
// half a second, and by stat every mailbox_idle_check_interval, where inotify tells nothing. When a
// session hibernates, the same paths are watched for it by imap-hibernate, and only they. We give
// it the folder, the transaction log of the index and, where flags come from it, nmh's context.
//
// Half a second is long for somebody who looks at the screen, and it is time in which a session may
// hibernate although a change waits to be told. So the same paths are watched by an inotify
// descriptor of our own, that calls after some milliseconds. It is never one more io_add_notify:
// two watches of one inode in one descriptor are one, and one of the two then hears nothing.
//
// What we write ourselves, we hear too. So after each sync what came meanwhile is read away, and
// the folder and the index are looked at once more instead: a change of somebody else during our
// sync is seen by that.
//
// A session must not hibernate while something is due that comes without an event: a file that is
// half written, a stamp that may hide a change, tags to be written. Dovecot asks nobody, but it
// does not hibernate a session when one of its paths is missing: while something is due, one is. It
// tries again after the next sync.
//
// Between the last look of a session that hibernates and the watch that stands in for it a change
// might slip through. Our own descriptor has heard of it: then the session, when it ends, writes
// into a file of the folder's state that is watched, too.
//
// What another machine does to a file system on the network is told by no inotify here. There
// mh-notify-hook, which nmh calls, writes into a file of mh_notify_dir that is named by the number
// of the directory: that is watched as well. What is told so may be ahead of what the kernel here
// still believes of the folder, so no stamp is believed then.
#pragma once

#include <optional>
#include <string>

#include "libmh/system/path-watch.h"
#include "plugin/dovecot.h"

namespace mh {

// While box->notify_callback is set; calls it, and may then be gone.
class Watch {
 public:
  explicit Watch(struct mailbox* box);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // After each sync, with whether something is due that comes without an event.
  void synced(bool work_is_due);

 private:
  static void on_event(Watch* watch) noexcept;
  static void on_time(Watch* watch) noexcept;
  void watch_by_dovecot();
  void listen();
  void read_events();
  void take(const PathWatch::Event& event);
  bool is_settled();
  void call_soon();
  void make_hint();
  void make_notice();
  void write_notice();

  struct mailbox* box_;
  std::string folder_;
  std::string log_;
  std::string context_;      // "": none
  std::string hint_;         // of mh-notify-hook, "": none
  std::string notice_;       // "": none
  std::string never_there_;  // the path that is missing
  bool may_hibernate_ = true;
  std::optional<PathWatch> watch_;
  int folder_place_ = -1;
  int hint_place_ = -1;
  struct io* io_ = nullptr;
  struct timeout* soon_ = nullptr;
  bool heard_ = false;         // since the last sync
  bool heard_folder_ = false;  // not of the index alone
  unsigned int in_a_row_ = 0;  // syncs that found the folder changed again
};

// For struct mailbox_vfuncs.
void mh_notify_changes(struct mailbox* box) noexcept;

}  // namespace mh
