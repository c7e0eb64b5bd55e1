// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Whose mail tree it is, and which of its folders are meant.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libmh/folder/folder.h"
#include "libmh/folder/inspect.h"
#include "libmh/folder/nmh-user.h"
#include "libmh/folder/root.h"
#include "libmh/result.h"
#include "mhsync/options.h"
#include "mhsync/printer.h"

namespace mh {

// Becomes the user whose mail it is: --user, else who we are. Refused for root. Gives his home.
Result<std::string> become_user(const Options& options);

class Tree {
 public:
  // kInvalid: no tree is named, or the profile cannot be used.
  static Result<Tree> open(Fs& fs, const Options& options, std::string home, Printer& printer);

  Fs& fs() const { return *fs_; }
  const std::string& mail_root() const { return mail_root_; }
  const NmhUser& user() const { return user_; }
  const std::string& profile_path() const { return profile_path_; }
  const FlagMap& flags() const { return *flags_; }

  // Made at the first call; `look`: one that only looks.
  Result<Root*> root(bool look);
  // Something was changed: the next root that only looks has it.
  void look_anew() { looking_.reset(); }

  // Paths relative to the mail root. kNotFound: there is no such folder; kInvalid: not of this
  // tree.
  Result<std::string> folder_path(const std::string& name) const;
  // The same for a folder that need not be there yet. `make`: it is then.
  Result<std::string> new_folder_path(const std::string& name, bool make) const;
  // All directories but those of a hidden name. Links are not followed.
  Result<std::vector<std::string>> all_folders() const;
  // "+work/2024"
  static std::string display(const std::string& path) { return "+" + path; }

  FolderSettings settings(const std::string& path) const;
  // Whether it is no folder for IMAP.
  Result<bool> is_noselect(const std::string& path);
  Result<std::unique_ptr<Folder>> open_folder(const std::string& path);
  // What is there and in its state, without changing anything; see FolderView for what was wrong.
  Result<FolderView> look_at(const std::string& path);

 private:
  explicit Tree(Fs& fs, Printer& printer) : fs_(&fs), printer_(&printer) {}
  Status read_profile();
  Status find_root(const std::string& asked);

  Fs* fs_;
  Printer* printer_;
  NmhUser user_;
  std::string profile_path_;
  bool has_profile_ = false;
  std::string mail_root_;
  std::optional<FlagMap> flags_;
  std::unique_ptr<Root> root_;
  std::unique_ptr<Root> looking_;
  Nanoseconds lock_timeout_ = 0;
};

}  // namespace mh
