// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Profile: what ~/.mh_profile and the context file say, as nmh reads them.
//
// Without a profile everything has nmh's default. A bad profile never fails: bad lines are left
// out and told.
//
// nmh searches one list, the profile's components and then the context's, in which the first of a
// name counts, in any case; only "context" and "mh-sequences" are found by their exact lower-case
// name, and of these the last one counts (sbr/readconfig.c, measured with 1.8).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/format/component-text.h"

namespace mh {

enum class DataLocking { kFcntl, kDot, kFlock, kLockf };

class Profile {
 public:
  Profile() = default;
  static Profile parse(std::string_view text);
  // Puts the components of a context file behind those that are there.
  void append(const Profile& context);

  const std::vector<Component>& components() const { return components_; }
  const std::vector<std::string>& problems() const { return problems_; }
  // The value of the first component of that name, in any case; null when there is none.
  const std::string* find(std::string_view name) const;

  // "" when not set. Relative to the home directory unless it begins with '/'.
  std::string path() const { return value_or("Path", ""); }
  // A folder name; taken as it stands, as nmh does: "+inbox" is a folder with a plus in its name.
  std::string inbox() const { return value_or("Inbox", "inbox"); }
  // A folder name, without the '+'; "" when not set. "@name" is relative to the current folder.
  std::string draft_folder() const;
  // As nmh splits them, at blanks. When the profile names none, "unseen", and nmh itself then never
  // marks anything unseen.
  std::vector<std::string> unseen_sequences() const;
  bool unseen_configured() const { return !split("Unseen-Sequence").empty(); }
  std::vector<std::string> previous_sequences() const { return split("Previous-Sequence"); }
  std::string sequence_negation() const { return value_or("Sequence-Negation", ""); }
  // Name of the sequences file in each folder; "" when the profile says that there is none: then
  // all sequences are private.
  std::string sequences_file() const { return exact_or("mh-sequences", ".mh_sequences"); }
  // Relative to Path unless it begins with '/'; "/dev/null" means that there is none.
  std::string context_file() const { return exact_or("context", "context"); }
  // Permission bits of new messages and folders.
  uint32_t msg_protect() const { return octal_or("Msg-Protect", 0600); }
  uint32_t folder_protect() const { return octal_or("Folder-Protect", 0700); }
  // An unknown word, with which every nmh command fails, counts as fcntl and is among problems().
  DataLocking datalocking() const;

 private:
  std::string value_or(std::string_view name, std::string_view otherwise) const;
  std::string exact_or(std::string_view name, std::string_view otherwise) const;
  uint32_t octal_or(std::string_view name, uint32_t otherwise) const;
  std::vector<std::string> split(std::string_view name) const;

  std::vector<Component> components_;
  std::vector<std::string> problems_;
};

}  // namespace mh
