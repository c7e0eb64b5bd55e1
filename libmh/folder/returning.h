// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Returning: what an arrival had where it was before - its flags and dates.
//
// A message that is put back (`mv ,5 5`), or comes from another folder of the tree (`refile`), is
// known by the tag in its file: GUID, and the UIDVALIDITY and UID under which it was last tagged.
// No two folders of a root share a UIDVALIDITY, so the tag names the folder that was left, and only
// that folder's state is opened, for reading, without its lock. Two cases:
//
//   - it has been synced since: the tombstone has the flags;
//   - it has not: the message still counts as alive there, and its flags stand in that folder's
//     index alone, for nmh took the number out of the sequences. The caller reads them there
//     (Departed). That the file has left is told by one stat of its last number: the original of a
//     copy, or of a message that was linked, is still there, and a copy has flags of its own.
//
// A file without a tag is known by its identity: inode and birth time stay what they are when it is
// renamed. Which folder it may have left, its times tell: a rename sets those of the directory it
// leaves and its own ctime. So nothing is read for new mail, whose ctime is that of its birth; else
// the journals of folders that changed when it came or later, the nearest first, and not more than
// a few megabytes of them.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libmh/folder/reconcile.h"
#include "libmh/folder/state-root.h"
#include "libmh/store/journal.h"
#include "libmh/store/store.h"

namespace mh {

// A message that left a folder which has not been synced since.
struct Departed {
  std::string state_dir;  // of that folder
  std::string path;       // of that folder, as in DirectoryIdentity
  uint32_t uid = 0;
  uint32_t internal_date = 0;
  uint32_t saved = 0;
};

// The flags of such a message, when a sync of that folder has dropped it since: then they are no
// longer in its index. Unset when it has not.
std::optional<std::string> flags_when_dropped(Fs& fs, const Departed& departed);

class Returning {
 public:
  // `root` may be null. `here` is the state of the folder that the arrivals are in; both must stay
  // as they are. Nothing is read before the first find().
  Returning(Fs& fs, StateRoot* root, const JournalState& here)
      : fs_(&fs), root_(root), here_(&here) {}

  struct Found {
    const Tombstone* tombstone = nullptr;  // valid as long as this object
    std::optional<Departed> departed;
  };
  // Neither, when nothing is known or the state that was left cannot be read.
  Found find(const Addition& added);

 private:
  // Inode, birth, size and mtime of a file: what no rename changes.
  using Content = std::array<uint64_t, 4>;
  static Content content_of(const FileIdentity& file);
  // Tombstones by what a returning message is known by. Of several the last one counts.
  struct Graves {
    explicit Graves(const JournalState& facts);
    std::map<Guid, const Tombstone*> by_guid;
    std::map<Content, const Tombstone*> by_content;
  };
  struct Folder {
    Fd state_dir;
    std::string state_path;
    DirectoryIdentity directory;
    std::optional<Journal> journal;
    std::optional<Graves> graves;
    std::map<Content, uint32_t> untagged;  // UIDs of those that count as alive
    std::unique_ptr<Store> store;
  };
  // A folder of the tree, and when its directory changed.
  struct Candidate {
    Nanoseconds changed = 0;
    Guid guid{};
  };

  Found find_by_identity(const FileIdentity& file);
  void list_candidates();
  Folder* candidate(const Guid& guid);
  Folder* folder_left(uint32_t uidvalidity);
  std::optional<Folder> open(const Guid& guid);
  std::optional<Departed> departed(Folder& left, const Addition& added);
  std::optional<Departed> departed(const Folder& left, const Record& record);
  std::optional<Record> record_of(Folder& folder, uint32_t uid);
  bool still_there(const Folder& folder, const Record& record);

  Fs* fs_;
  StateRoot* root_;
  const JournalState* here_;
  std::optional<Graves> graves_;
  std::map<uint32_t, std::optional<Folder>> folders_;  // by UIDVALIDITY
  std::optional<std::vector<Candidate>> candidates_;   // in the order of their change
  std::map<Guid, std::optional<Folder>> candidate_folders_;
  uint64_t journals_size_ = 0;  // of those read for candidates
};

}  // namespace mh
