// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/returning.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "libmh/system/filename.h"

namespace mh {
namespace {

// Between birth and last change of a file that a mail program writes and links, a tick of the clock
// or two; and between the two stamps of one rename.
constexpr Nanoseconds kWriting = kSecond / 100;
constexpr Nanoseconds kMoment = kSecond / 20;
// Of journals that are read for files without a tag, in one sync.
constexpr uint64_t kMostJournals = 4 << 20;

// When the first folder of the tree got its state. What was moved before is known nowhere, and the
// first look at a large tree need not search for it.
Nanoseconds beginning_of(Fs& fs, const StateRoot& root) {
  const std::string secret(kSecretFile);
  const auto stat = fs.stat(root.dir(), secret.c_str(), Follow::kNo);
  return stat ? stat->mtime : 0;
}

bool same_directory(const DirectoryIdentity& a, const DirectoryIdentity& b) {
  return a.inode == b.inode && a.birth == b.birth && a.handle == b.handle;
}

}  // namespace

Returning::Content Returning::content_of(const FileIdentity& file) {
  return {file.inode, static_cast<uint64_t>(file.birth), file.size,
          static_cast<uint64_t>(file.mtime)};
}

Returning::Graves::Graves(const JournalState& facts) {
  for (const auto& [uid, tombstone] : facts.tombstones) {
    by_guid[tombstone.guid] = &tombstone;
    if (tombstone.file.inode != 0) by_content[content_of(tombstone.file)] = &tombstone;
  }
}

Returning::Found Returning::find(const Addition& added) {
  Found found;
  if (!graves_) graves_.emplace(*here_);
  if (!added.origin) return find_by_identity(added.record.file);
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

Returning::Found Returning::find_by_identity(const FileIdentity& file) {
  const Content content = content_of(file);
  const auto here = graves_->by_content.find(content);
  if (here != graves_->by_content.end()) return {here->second, std::nullopt};
  const Nanoseconds born = file.birth != 0 ? file.birth : file.mtime;
  if (root_ == nullptr || file.ctime - born < kWriting) return {};
  if (file.ctime < beginning_of(*fs_, *root_)) return {};
  if (!candidates_) list_candidates();
  for (const Candidate& each : *candidates_) {
    if (each.changed + kMoment < file.ctime) continue;
    Folder* left = candidate(each.guid);
    if (left == nullptr) continue;
    const auto grave = left->graves->by_content.find(content);
    if (grave != left->graves->by_content.end()) return {grave->second, std::nullopt};
    const auto alive = left->untagged.find(content);
    if (alive == left->untagged.end()) continue;
    return {nullptr, departed(*left, left->journal->state().records.at(alive->second))};
  }
  return {};
}

void Returning::list_candidates() {
  candidates_.emplace();
  for (const Guid& guid : root_->all()) {
    const DirectoryIdentity* directory = root_->directory_of(guid);
    if (directory == nullptr || same_directory(*directory, here_->directory)) continue;
    const auto stat = fs_->stat(AT_FDCWD, root_->folder_path(*directory).c_str(), Follow::kYes);
    if (stat) candidates_->push_back({stat->mtime, guid});
  }
  std::sort(candidates_->begin(), candidates_->end(),
            [](const Candidate& a, const Candidate& b) { return a.changed < b.changed; });
}

// Null when it cannot be read, or enough has been read.
Returning::Folder* Returning::candidate(const Guid& guid) {
  const auto [known, fresh] = candidate_folders_.try_emplace(guid);
  std::optional<Folder>& folder = known->second;
  if (fresh) {
    const std::string journal = root_->state_dir(guid) + "/" + std::string(kJournalFile);
    const auto stat = fs_->stat(AT_FDCWD, journal.c_str(), Follow::kNo);
    if (!stat || stat->size > kMostJournals - journals_size_) return nullptr;
    journals_size_ += stat->size;
    folder = open(guid);
  }
  if (!folder) return nullptr;
  if (!folder->graves) {
    const JournalState& facts = folder->journal->state();
    folder->graves.emplace(facts);
    for (const auto& [uid, record] : facts.records) {
      if (facts.alive.contains(uid)) folder->untagged[content_of(record.file)] = uid;
    }
  }
  return &*folder;
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
  if (!record || record->guid != *added.origin) return std::nullopt;
  return departed(left, *record);
}

std::optional<Departed> Returning::departed(const Folder& left, const Record& record) {
  if (still_there(left, record)) return std::nullopt;
  return Departed{left.state_path, left.directory.path, record.uid, record.internal_date,
                  record.saved};
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

std::optional<std::string> flags_when_dropped(Fs& fs, const Departed& departed) {
  const auto dir = fs.open(AT_FDCWD, departed.state_dir.c_str(), O_RDONLY | O_DIRECTORY);
  if (!dir) return std::nullopt;
  const auto journal = Journal::open(fs, dir->get());
  if (!journal) return std::nullopt;
  const auto& graves = journal->state().tombstones;
  const auto grave = graves.find(departed.uid);
  if (grave == graves.end()) return std::nullopt;
  return grave->second.flags;
}

}  // namespace mh
