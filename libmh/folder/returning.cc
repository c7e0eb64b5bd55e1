// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/returning.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace mh {

Returning::Graves::Graves(const JournalState& facts) {
  for (const auto& [uid, tombstone] : facts.tombstones) {
    const FileIdentity& file = tombstone.file;
    by_guid[tombstone.guid] = &tombstone;
    if (file.inode == 0) continue;
    by_content[{file.inode, static_cast<uint64_t>(file.birth), file.size,
                static_cast<uint64_t>(file.mtime)}] = &tombstone;
  }
}

Returning::Found Returning::find(const Addition& added) {
  Found found;
  if (!graves_) graves_.emplace(*here_);
  if (!added.origin) {
    const FileIdentity& file = added.record.file;
    const auto grave = graves_->by_content.find({file.inode, static_cast<uint64_t>(file.birth),
                                                 file.size, static_cast<uint64_t>(file.mtime)});
    if (grave != graves_->by_content.end()) found.tombstone = grave->second;
    return found;
  }
  // Where it was last knows more than where it was before.
  if (Folder* left = folder_left(added.origin_uidvalidity)) {
    const auto grave = left->graves->by_guid.find(*added.origin);
    if (grave != left->graves->by_guid.end()) {
      found.tombstone = grave->second;
    } else {
      found.departed = departed(*left, added);
    }
    if (found.tombstone != nullptr || found.departed) return found;
  }
  const auto grave = graves_->by_guid.find(*added.origin);
  if (grave != graves_->by_guid.end()) found.tombstone = grave->second;
  return found;
}

// Null for this folder itself and for none that is known.
Returning::Folder* Returning::folder_left(uint32_t uidvalidity) {
  if (root_ == nullptr || uidvalidity == 0 || uidvalidity == here_->header.uidvalidity) {
    return nullptr;
  }
  const auto [known, fresh] = folders_.try_emplace(uidvalidity);
  std::optional<Folder>& folder = known->second;
  if (fresh) {
    if (const auto guid = root_->with_uidvalidity(uidvalidity)) folder = open(*guid);
    if (folder && folder->journal->state().header.uidvalidity != uidvalidity) folder.reset();
    if (folder) folder->graves.emplace(folder->journal->state());
  }
  return folder ? &*folder : nullptr;
}

std::optional<Returning::Folder> Returning::open(const Guid& guid) {
  Folder folder;
  folder.state_path = root_->state_dir(guid);
  auto dir = fs_->open(AT_FDCWD, folder.state_path.c_str(), O_RDONLY | O_DIRECTORY);
  if (!dir) return std::nullopt;
  folder.state_dir = std::move(*dir);
  auto journal = Journal::open(*fs_, folder.state_dir.get());
  if (!journal) return std::nullopt;
  folder.journal.emplace(std::move(*journal));
  folder.directory = folder.journal->state().directory;
  if (const DirectoryIdentity* last = root_->directory_of(guid)) folder.directory = *last;
  return folder;
}

std::optional<Departed> Returning::departed(Folder& left, const Addition& added) {
  const auto record = record_of(left, added.origin_uid);
  if (!record || record->guid != *added.origin || still_there(left, *record)) return std::nullopt;
  return Departed{left.state_path, left.directory.path, record->uid};
}

std::optional<Record> Returning::record_of(Folder& folder, uint32_t uid) {
  const JournalState& facts = folder.journal->state();
  if (!facts.alive.contains(uid)) return std::nullopt;
  const auto found = facts.records.find(uid);
  if (found != facts.records.end()) return found->second;
  if (!folder.store) {
    folder.store = open_bdb_store(*fs_, folder.state_dir.get(), folder.state_path, S_IRUSR,
                                  static_cast<gid_t>(-1));  // for reading
  }
  const auto header = folder.store->header();
  if (!header || header->generation != facts.header.generation) return std::nullopt;
  const auto stored = folder.store->get(uid);
  return stored ? *stored : std::nullopt;
}

bool Returning::still_there(const Folder& folder, const Record& record) {
  const std::string path =
      root_->folder_path(folder.directory) + "/" + std::to_string(record.number);
  const auto stat = fs_->stat(AT_FDCWD, path.c_str(), Follow::kNo);
  if (!stat) return stat.error().kind() != ErrorKind::kNotFound;
  return FileIdentity::of(*stat).same_file(record.file);
}

}  // namespace mh
