// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Root: a mail tree, and which state belongs to which of its folders.
//
// State belongs to a directory, not to a path: a folder that was moved or swapped by hand takes its
// state along. It lies in the .mhsync of the nearest ancestor of the folder's real path that has
// one on the same file system, else in that of this tree: so two trees that share a folder by a
// symlink, or a tree within a tree, agree about its UIDs.
//
// Within a .mhsync the state is found by the identity of the directory (inode and birth time, else
// handle). When no state has that identity, the state last seen under this path is taken, provided
// that its own directory lives nowhere in the tree any more, and that the messages say that this is
// the folder, restored: one under the same number with the same size and mtime as recorded, or
// bearing a verified tag of that UIDVALIDITY. A directory that was removed and made again holds no
// such message and gets a new state with a new UIDVALIDITY; so does a copy, whose original lives.
//
// A tree without state that we cannot write is served from a private root of this user, if one is
// given, else from memory: never under a UIDVALIDITY that others may see too.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "libmh/folder/state-root.h"
#include "libmh/format/number-set.h"
#include "libmh/result.h"
#include "libmh/system/fs.h"

namespace mh {

// Where the state of a folder lies.
struct Location {
  std::string folder;         // absolute path of the MH folder
  std::string state_dir;      // absolute path; "" when there is only memory
  StateRoot* root = nullptr;  // null when there is only memory
  Guid guid{};
  DirectoryIdentity directory;
  mode_t directory_mode = 0700;  // permissions of the folder: its state gets the same
  gid_t gid = static_cast<gid_t>(-1);
  bool may_tag = true;  // false: the folder really lies outside the tree of this state
};

// UIDVALIDITYs, in seconds, run ahead of the clock by at most the number of folders made in a
// burst.
inline constexpr Nanoseconds kPlausibleAhead = 1 << 20;

class Root {
 public:
  // `mail_root` is the absolute path of the tree; `private_root` an absolute directory of this
  // user, made when needed, or "". Makes .mhsync where it may. kNotFound: no such tree.
  static Result<std::unique_ptr<Root>> open(Fs& fs, const std::string& mail_root,
                                            const std::string& private_root);

  // The same for who only looks: nothing is made or written, find() is the only thing to be asked.
  static Result<std::unique_ptr<Root>> look(Fs& fs, const std::string& mail_root,
                                            const std::string& private_root);

  const std::string& mail_root() const { return mail_root_; }
  // The .mhsync (or private root) of the tree itself; "" when there is only memory.
  std::string state_root() const { return own_ ? own_->path() : std::string(); }

  // The state of the folder at this path relative to the mail root. kNotFound: there is no such
  // folder, or it has no state yet.
  Result<Location> find(const std::string& path);
  // The same, making state for a folder that has none: GUID, UIDVALIDITY, journal. After a crash in
  // it there is no state or a whole one.
  Result<Location> find_or_create(const std::string& path);

  // The folder is to go: removes what rmf removes (messages that are left, sequences, names that
  // begin with a comma or a dot), unless it has children or other files; then only the sequences.
  // True when the directory is gone; false when it stays, \Noselect from now on. State goes with
  // it. kExists: there are messages.
  Result<bool> remove_folder(const std::string& path);
  // Whether a directory is \Noselect: its folder was removed, other things stayed, and no message
  // came since.
  Result<bool> is_noselect(const std::string& path);
  // It is a folder (again).
  Status make_folder(const std::string& path);

 private:
  Root(Fs& fs, std::string mail_root) : fs_(&fs), mail_root_(std::move(mail_root)) {}

  Result<Location> describe(const std::string& path);
  Status place(const std::string& path, Location* location);
  Status place_by_real_path(Location* location);
  StateRoot* root_above(const std::string& base);
  StateRoot* private_root();
  Result<bool> known(Location* location);
  Result<bool> restored(Location* location);
  bool lives_elsewhere(const Location& location, const DirectoryIdentity& directory);
  Result<bool> holds_messages_of(const Location& location, const Guid& guid);
  uint32_t earlier_uidvalidity(const Location& location);
  Status make_state(Location* location);
  void take(const Guid& guid, Location* location);

  Fs* fs_;
  bool only_looks_ = false;
  std::string mail_root_;
  StateRoot* own_ = nullptr;
  std::string private_path_;
  StateRoot* private_ = nullptr;
  std::map<std::string, std::unique_ptr<StateRoot>> roots_;  // by path of the .mhsync
  std::map<std::string, StateRoot*> above_;  // by directory: the .mhsync in it, null for none
};

}  // namespace mh
