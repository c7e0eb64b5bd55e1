// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/nmh-user.h"

#include <fcntl.h>

#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"

namespace mh {

std::string NmhUser::mail_path() const {
  std::string path = profile.path();
  if (path.empty()) return path;
  if (!path.starts_with('/')) path.insert(0, home + "/");
  if (!path.ends_with('/')) path.push_back('/');
  return path;
}

// A name that begins with "./" or "../" would be relative to where an nmh command is called.
std::string NmhUser::context(Fs& fs) const {
  std::string name = profile.context_file();
  const std::string root = mail_path();
  if (name.empty() || name == "/dev/null" || name.starts_with("./") || name.starts_with("../") ||
      root.empty()) {
    return "";
  }
  if (!name.starts_with('/')) name.insert(0, root);
  // nmh writes in place, so a link stays one; we open no links.
  const auto real = fs.real_path(name);
  return real ? *real : name;
}

std::string NmhUser::name_in_context(Fs& fs, const std::string& mail_root,
                                     const std::string& folder) const {
  const std::string root = mail_path();
  const auto ours = fs.stat(AT_FDCWD, mail_root.c_str(), Follow::kYes);
  const auto theirs = fs.stat(AT_FDCWD, root.c_str(), Follow::kYes);
  const bool same =
      ours && theirs && ours->inode == theirs->inode && ours->device == theirs->device;
  return same ? root + folder : mail_root + "/" + folder;
}

std::string NmhUser::private_root(const std::string& mail_root) const {
  if (home.empty()) return "";
  std::string path = home + "/" + std::string(kStateDir) + "-elsewhere/";
  append_hex64(path, fingerprint(mail_root));
  return path;
}

bool NmhUser::is_draft_folder(const std::string& mail_root, const std::string& folder) const {
  std::string drafts = profile.draft_folder();
  while (drafts.ends_with('/')) drafts.pop_back();
  const auto absolute = [&](const std::string& name) {
    return name.starts_with('/') ? name : mail_root + "/" + name;
  };
  return !drafts.empty() && absolute(drafts) == absolute(folder);
}

FlagOptions NmhUser::flag_options() const {
  FlagOptions options;
  options.unseen_names = profile.unseen_sequences();
  options.previous_names = profile.previous_sequences();
  options.negation = profile.sequence_negation();
  return options;
}

FolderSettings NmhUser::folder_settings(Fs& fs, FlagMap flags, const std::string& mail_root,
                                        const std::string& folder) const {
  FolderSettings settings{.flags = std::move(flags), .warn = {}};
  settings.sequences_name = profile.sequences_file();
  settings.context = context(fs);
  if (!settings.context.empty()) {
    settings.name_in_context = name_in_context(fs, mail_root, folder);
  }
  settings.locking = profile.datalocking();
  settings.drafts = is_draft_folder(mail_root, folder);
  if (profile.find("Msg-Protect") != nullptr) settings.message_mode = profile.msg_protect() & 0666;
  return settings;
}

}  // namespace mh
