// SPDX-License-Identifier: LGPL-2.1-or-later
//
// StateRoot: one .mhsync directory - its secret, its catalogue, the UIDVALIDITYs it has given.
//
//   secret      key of the tags' check value, 32 hex digits
//   folders     the catalogue: one checksummed line per fact (libmh/format/journal-line.h):
//                 F  GUID, directory inode, birth, handle, path: a later line of a GUID replaces it
//                 V  highest UIDVALIDITY given
//                 R  GUID of a state that was removed
//                 S  a directory that is no folder (1) or one again (0): inode, birth, handle, path
//   lock        the list lock
//   <guid>/     state of one folder, with that folder's mode and group
//
// The catalogue repeats what stands in the D lines of the journals, so that finding a folder does
// not mean reading them all. It is a cache: before a folder is declared unknown, the journals of
// all state directories that the catalogue does not list are read (read_unlisted). So a lost, old
// or torn catalogue costs time and nothing else. Lines are appended under the list lock; a torn or
// overlong catalogue is replaced as a whole.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/format/tag-line.h"
#include "libmh/result.h"
#include "libmh/store/journal.h"
#include "libmh/system/folder-lock.h"
#include "libmh/system/fs.h"

namespace mh {

std::string guid_text(const Guid& guid);

// UIDVALIDITYs follow the clock, so those of all trees lie near now. What only one user or session
// sees, because the tree's own state cannot be written, must never look like them: a state of one
// user's own lags behind by so much, one in memory is below kPrivateUidvalidities. So the tree's
// own are greater, if it gets any one day.
inline constexpr uint32_t kPrivateUidvalidityLag = 1u << 30;
inline constexpr uint32_t kPrivateUidvalidities = 1u << 29;

class StateRoot {
 public:
  // Opens the .mhsync at `path`; with `create`, makes it with this mode and gid when it is absent
  // (the parent must exist). kNotFound, kPermission.
  static Result<std::unique_ptr<StateRoot>> open(Fs& fs, std::string path, bool create, mode_t mode,
                                                 gid_t gid);
  // The same for who only looks: nothing is made or written, not even the lock's file. Where there
  // is no secret no tag can be told to be ours.
  static Result<std::unique_ptr<StateRoot>> look(Fs& fs, std::string path);
  // This is a private one: what it gives is told to one user alone.
  void set_private() { uidvalidity_lag_ = kPrivateUidvalidityLag; }

  const std::string& path() const { return path_; }
  const TagKey& key() const { return key_; }
  bool writable() const { return writable_; }
  // Whether a UIDVALIDITY was ever given here, as far as is known.
  bool has_given() const { return last_uidvalidity_ != 0; }
  std::string state_dir(const Guid& guid) const { return path_ + "/" + guid_text(guid); }
  int dir() const { return dir_.get(); }

  // Reads what others have written since; one stat when nothing.
  Status reload();
  // The state of the directory with this identity, whatever its path.
  const Guid* find(const DirectoryIdentity& directory) const;
  // All states last seen under this path.
  std::vector<Guid> last_seen_at(const std::string& path) const;
  // The same, of all paths that the catalogue still tells of.
  std::vector<Guid> once_seen_at(const std::string& path) const;
  const DirectoryIdentity* directory_of(const Guid& guid) const;
  // Whether there is any directory that is no folder, and whether this one is.
  bool has_non_folders() const { return !non_folders_.empty(); }
  bool is_folder(const DirectoryIdentity& directory) const;
  std::vector<Guid> all() const;
  // Absolute path under which a folder was last seen.
  std::string folder_path(const DirectoryIdentity& directory) const;
  // The state that has given UIDs under this UIDVALIDITY. Reads the first line of each journal that
  // was not asked about before; the caller checks what it opens, for a lost journal may have been
  // replaced since.
  std::optional<Guid> with_uidvalidity(uint32_t uidvalidity);

  // The last listing of the folder that was closed last, for who opens it again in this process:
  // Dovecot does so for each MOVE. One, for it is as large as the folder.
  void leave_listing(const Guid& guid, Listing listing);
  const Listing* left_listing(const Guid& guid) const;

  // --- under the list lock ---
  Result<FolderLock> lock(Nanoseconds timeout);
  // Takes in the states that the catalogue has lost. Returns whether there were any.
  Result<bool> read_unlisted();
  // Records that this state belongs to that directory now.
  Status record(const Guid& guid, const DirectoryIdentity& directory);
  // Removes the state of a folder that is gone. A crash leaves a part of it without a journal.
  Status forget(const Guid& guid);
  // A directory that stays only because something else lies in it: \Noselect.
  Status set_folder(const DirectoryIdentity& directory, bool is_folder);
  // Remembers one that was not given by new_uidvalidity().
  Status note_uidvalidity(uint32_t uidvalidity);
  // Greater than all given here and than `above`, and not below now, but see set_private(). Durable
  // before it is returned.
  Result<uint32_t> new_uidvalidity(uint32_t above);

 private:
  StateRoot(Fs& fs, std::string path) : fs_(&fs), path_(std::move(path)) {}
  Status load_secret();
  bool take_secret(std::string_view text);
  void apply(std::string_view text);
  bool apply_line(std::string_view text);
  Status append(const std::string& lines, bool flush);
  Status rewrite();

  Fs* fs_;
  std::string path_;
  Fd dir_;
  bool writable_ = false;
  mode_t file_mode_ = 0600;
  gid_t gid_ = static_cast<gid_t>(-1);
  TagKey key_{};
  FileIdentity seen_;  // the catalogue as it was read last
  bool torn_ = false;
  uint64_t lines_ = 0;
  uint32_t last_uidvalidity_ = 0;
  uint32_t uidvalidity_lag_ = 0;
  std::map<Guid, DirectoryIdentity> states_;
  std::map<std::string, std::set<Guid>> earlier_;  // by path
  std::map<std::pair<uint64_t, Nanoseconds>, DirectoryIdentity> non_folders_;
  std::map<std::pair<uint64_t, Nanoseconds>, std::vector<Guid>> by_identity_;
  std::map<uint32_t, Guid> by_uidvalidity_;  // as far as asked about
  std::set<Guid> asked_;
  std::optional<std::pair<Guid, Listing>> left_listing_;
};

}  // namespace mh
