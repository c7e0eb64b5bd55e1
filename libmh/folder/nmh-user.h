// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a user's MH profile means for the folders of a mail tree: where nmh keeps its context, how
// it spells a folder there, which folder holds drafts. Dovecot's sessions and the tools must have
// the same answers, or they would look for flags in different places.
#pragma once

#include <string>

#include "libmh/folder/folder.h"
#include "libmh/format/profile.h"

namespace mh {

struct NmhUser {
  std::string home;  // absolute
  Profile profile;

  // The directory of the mail folders, spelled as nmh spells it, with a '/' at the end; "" when the
  // profile names none.
  std::string mail_path() const;
  // nmh's context file; "" when there is none. It need not exist.
  std::string context(Fs& fs) const;
  // The folder as nmh spells it in its context: as "+folder" where nmh has the same mail root, else
  // as when it is called by its path.
  std::string name_in_context(Fs& fs, const std::string& mail_root,
                              const std::string& folder) const;
  // Where state is kept for this user alone when the tree's own cannot be written.
  std::string private_root(const std::string& mail_root) const;
  bool is_draft_folder(const std::string& mail_root, const std::string& folder) const;

  // Names of sequences and what they mean; the caller adds settings of his own.
  FlagOptions flag_options() const;
  // How the folder at this path below the mail root is to be treated, as far as the profile says.
  FolderSettings folder_settings(Fs& fs, FlagMap flags, const std::string& mail_root,
                                 const std::string& folder) const;
};

}  // namespace mh
