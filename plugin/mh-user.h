// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is read once per user and session: the settings, the profile, the mail roots. Lives until
// the user's deinit, after all lists and mailboxes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "libmh/folder/folder.h"
#include "libmh/folder/nmh-user.h"
#include "libmh/folder/root.h"
#include "plugin/dovecot.h"
#include "plugin/mh-settings.h"

namespace mh {

class UserState {
 public:
  // Made at the first call for this user.
  static UserState& of(struct mail_user* user);

  struct mail_user* user() const {
    return user_;
  }
  const Options& options() const { return options_; }
  // Not "": why the settings cannot be used.
  const std::string& options_error() const { return options_error_; }

  // The tree at this absolute path. An error is not remembered: the tree may come to exist.
  Result<Root*> root(const std::string& mail_root);
  // Where that tree keeps its state (to be); "" when in memory only.
  std::string state_root_of(const std::string& mail_root);

  // The profile of this user; read again when the file changed (looked at once a second at most).
  // Faults in it are logged once for each state of the file.
  const Profile& profile();
  bool is_draft_folder(const std::string& mail_root, const std::string& folder);
  // Where mh-notify-hook tells of changes; made when it is missing. "" when there is no such
  // setting, or when others could write there: then nothing it told could be believed.
  std::string notify_dir();
  // nmh's context file; "" when there is none. It need not exist.
  std::string context();
  // How the folder at this path below that mail root is to be treated, by settings and profile.
  FolderSettings folder_settings(const std::string& mail_root, const std::string& folder);

 private:
  explicit UserState(struct mail_user* user);
  const NmhUser& nmh_user();
  void read_profile();
  std::string full_path(const std::string& path) const;  // of a setting
  void read_changed_profile();

  struct mail_user* user_;
  Options options_;
  std::string options_error_;
  std::map<std::string, std::unique_ptr<Root>> roots_;
  NmhUser nmh_;
  std::optional<FlagMap> flags_;  // of profile and options
  std::optional<FileStat> profile_stat_;
  time_t profile_checked_ = 0;
  bool profile_read_ = false;
};

}  // namespace mh
