// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The settings of this plugin: few, since MH's own profile says most of what is to be known.
//
//   mh_expunge           unlink | backup: what remains of a message that is removed (unlink)
//   mh_hidden_sequences  names of sequences that are no keywords
//   mh_inc_guard         inbox | all | none: where new messages are kept from nmh's inc (inbox)
//   mh_keyword_map       "keyword=sequence ...": IMAP keywords under sequence names of one's choice
//   mh_lock_timeout      how long to wait for a folder's lock (20s)
//   mh_new_mail          unseen | as-mh: what new mail is that no MH tool decides about (unseen)
//   mh_notify_dir        where mh-notify-hook tells of changes that inotify does not (nowhere)
//   mh_profile           path of the profile (~/.mh_profile)
//   mh_refile_flags      yes | no: a message that comes back keeps its flags (yes)
//   mh_unseen_grace      how long to wait for an MH tool to decide about new mail (10s)
//
// Dovecot 2.3 takes any name in its plugin section without a word: a misspelt one would silently do
// nothing. So every value is checked when the session begins, and every unknown mh_ name is said.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "libmh/folder/flag-merge.h"
#include "libmh/system/fs.h"

struct mail_user;

namespace mh {

struct Options {
  std::string profile = "~/.mh_profile";
  NewMail new_mail = NewMail::kUnseen;
  Nanoseconds unseen_grace = 10 * kSecond;
  Nanoseconds lock_timeout = 20 * kSecond;
  std::vector<std::pair<std::string, std::string>> keyword_map;  // keyword, sequence
  std::vector<std::string> hidden_sequences;
  bool backup = false;  // mh_expunge
  enum class Guard { kNone, kInbox, kAll } inc_guard = Guard::kInbox;
  bool refile_flags = true;
  std::string notify_dir = {};  // "": none
};

// Name to value, of all settings whose name begins with mh_.
using RawSettings = std::map<std::string, std::string>;

// As the configuration has them: mh-settings-23.cc, mh-settings-24.cc.
RawSettings read_settings(struct mail_user* user);

// kInvalid names the setting, its value and what it may be. Unknown names become `warnings`.
Result<Options> check_settings(const RawSettings& raw, std::vector<std::string>* warnings);

}  // namespace mh
