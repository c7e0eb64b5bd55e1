// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/root.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "libmh/folder/probe.h"
#include "libmh/folder/scan.h"
#include "libmh/store/random.h"
#include "libmh/store/store.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr Nanoseconds kListLockTimeout = 30 * kSecond;
constexpr int kDeepest = 128;          // levels of folders that are looked through
constexpr size_t kTagsToCompare = 32;  // files whose tags are read as evidence

std::string joined(const std::string& base, const std::string& path) {
  return path.empty() ? base : base + "/" + path;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? std::string("/") : path.substr(0, slash);
}

// `path` relative to `base` when it lies below it, else as it is.
std::string relative_to(const std::string& base, const std::string& path) {
  if (path.size() > base.size() + 1 && path.compare(0, base.size(), base) == 0 &&
      path[base.size()] == '/') {
    return path.substr(base.size() + 1);
  }
  return path;
}

std::string base_of(const StateRoot& root) { return parent_of(root.path()); }

Result<Fd> open_directory(Fs& fs, const std::string& path) {
  return fs.open(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY);
}

Status make_path(Fs& fs, const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const Status made = fs.mkdir(AT_FDCWD, path.substr(0, slash).c_str(), 0700);
    if (!made && made.error().kind() != ErrorKind::kExists &&
        made.error().kind() != ErrorKind::kPermission) {
      return made;
    }
    if (slash == std::string::npos) return {};
  }
}

bool has_identity(const DirectoryIdentity& directory) {
  return directory.birth != 0 || !directory.handle.empty();
}

bool same_directory(const DirectoryIdentity& a, const DirectoryIdentity& b) {
  return a.inode == b.inode && a.birth == b.birth && a.handle == b.handle;
}

}  // namespace

Result<std::unique_ptr<Root>> Root::open(Fs& fs, const std::string& mail_root,
                                         const std::string& private_root) {
  std::unique_ptr<Root> root(new Root(fs, mail_root));
  root->private_path_ = private_root;
  MH_TRY_SET(const FileStat stat, fs.stat(AT_FDCWD, mail_root.c_str(), Follow::kYes));
  if (stat.type != FileType::kDirectory) {
    return fail(ErrorKind::kInvalid, mail_root + " is not a directory");
  }
  const std::string path = mail_root + "/" + std::string(kStateDir);
  auto own = StateRoot::open(fs, path, true, stat.mode & 0777, stat.gid);
  if (own) {
    root->own_ = own->get();
    root->roots_[path] = std::move(*own);
  } else if (own.error().kind() == ErrorKind::kPermission ||
             own.error().kind() == ErrorKind::kReadOnly) {
    root->own_ = root->private_root();
  } else {
    return pass_on(own);
  }
  root->above_[mail_root] = root->own_;
  return root;
}

Result<std::unique_ptr<Root>> Root::look(Fs& fs, const std::string& mail_root,
                                         const std::string& private_root) {
  std::unique_ptr<Root> root(new Root(fs, mail_root));
  root->only_looks_ = true;
  root->private_path_ = private_root;
  MH_TRY_SET(const FileStat stat, fs.stat(AT_FDCWD, mail_root.c_str(), Follow::kYes));
  if (stat.type != FileType::kDirectory) {
    return fail(ErrorKind::kInvalid, mail_root + " is not a directory");
  }
  const std::string path = mail_root + "/" + std::string(kStateDir);
  auto own = StateRoot::look(fs, path);
  if (own) {
    root->own_ = own->get();
    root->roots_[path] = std::move(*own);
  } else if (own.error().kind() != ErrorKind::kNotFound) {
    return pass_on(own);
  }
  root->above_[mail_root] = root->own_;
  return root;
}

StateRoot* Root::private_root() {
  if (private_ != nullptr || private_path_.empty()) return private_;
  if (!only_looks_ && !make_path(*fs_, private_path_)) return nullptr;
  auto opened = only_looks_
                    ? StateRoot::look(*fs_, private_path_)
                    : StateRoot::open(*fs_, private_path_, true, 0700, static_cast<gid_t>(-1));
  if (!opened || (!only_looks_ && !(*opened)->writable())) return nullptr;
  private_ = opened->get();
  private_->set_private();
  roots_[private_path_] = std::move(*opened);
  return private_;
}

Result<Location> Root::describe(const std::string& path) {
  Location location;
  location.folder = joined(mail_root_, path);
  MH_TRY_SET(const FileStat stat, fs_->stat(AT_FDCWD, location.folder.c_str(), Follow::kYes));
  if (stat.type != FileType::kDirectory) {
    return fail(ErrorKind::kNotFound, location.folder + " is not a directory");
  }
  location.directory.inode = stat.inode;
  location.directory.birth = stat.birth;
  if (stat.birth == 0) {
    if (const auto dir = open_directory(*fs_, location.folder)) {
      if (auto handle = fs_->handle(dir->get())) location.directory.handle = std::move(*handle);
    }
  }
  location.directory_mode = (stat.mode & 0777) | 0700;
  location.gid = stat.gid;
  MH_TRY(place(path, &location));
  return location;
}

// The .mhsync inside the directory `base`, if there is one.
StateRoot* Root::root_above(const std::string& base) {
  const auto found = above_.find(base);
  if (found != above_.end()) return found->second;
  StateRoot* root = nullptr;
  const std::string path = base + "/" + std::string(kStateDir);
  auto opened = only_looks_ ? StateRoot::look(*fs_, path)
                            : StateRoot::open(*fs_, path, false, 0700, static_cast<gid_t>(-1));
  if (opened) {
    root = opened->get();
    roots_[path] = std::move(*opened);
  }
  above_[base] = root;
  return root;
}

// Without a symlink on the way the real path is the path: only the levels between are looked at.
Status Root::place(const std::string& path, Location* location) {
  location->root = own_;
  for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
    const std::string level = joined(mail_root_, path.substr(0, slash));
    MH_TRY_SET(const FileStat stat, fs_->stat(AT_FDCWD, level.c_str(), Follow::kNo));
    if (stat.type == FileType::kSymlink) return place_by_real_path(location);
    if (slash == std::string::npos) break;
    if (StateRoot* nearer = root_above(level)) location->root = nearer;
  }
  const bool is_private = location->root != nullptr && location->root == private_;
  if (is_private) location->may_tag = false;
  location->directory.path = is_private || location->root == nullptr
                                 ? location->folder
                                 : relative_to(base_of(*location->root), location->folder);
  return {};
}

Status Root::place_by_real_path(Location* location) {
  MH_TRY_SET(const std::string real, fs_->real_path(location->folder));
  MH_TRY_SET(const FileStat folder, fs_->stat(AT_FDCWD, real.c_str(), Follow::kNo));
  MH_TRY_SET(const std::string real_root, fs_->real_path(mail_root_));
  location->directory.path = real;
  for (std::string base = parent_of(real); base != "/"; base = parent_of(base)) {
    StateRoot* root = base == real_root ? own_ : root_above(base);
    const auto stat = fs_->stat(AT_FDCWD, base.c_str(), Follow::kYes);
    if (root == nullptr || !stat || stat->device != folder.device) continue;
    location->root = root;
    location->directory.path = root == private_ ? real : relative_to(base, real);
    return {};
  }
  location->may_tag = false;
  return {};
}

void Root::take(const Guid& guid, Location* location) {
  location->guid = guid;
  location->state_dir = location->root->state_dir(guid);
}

Result<bool> Root::known(Location* location) {
  MH_TRY(location->root->reload());
  const Guid* guid = location->root->find(location->directory);
  if (guid == nullptr) return false;
  const Guid found = *guid;
  if (!has_identity(location->directory)) {
    // A bare inode number may have been given to another directory since.
    MH_TRY_SET(const bool same, holds_messages_of(*location, found));
    if (!same) return false;
  }
  take(found, location);
  const DirectoryIdentity* recorded = location->root->directory_of(found);
  if (recorded->path == location->directory.path || !location->root->writable()) return true;
  // Moved - or reached by another way: then the recorded path still leads to it.
  const std::string old_path = location->root->folder_path(*recorded);
  const auto old_stat = fs_->stat(AT_FDCWD, old_path.c_str(), Follow::kYes);
  if (!old_stat || old_stat->inode != location->directory.inode) {
    MH_TRY_SET(const FolderLock held, location->root->lock(kListLockTimeout));
    MH_TRY(location->root->record(found, location->directory));
  }
  return true;
}

Result<Location> Root::find(const std::string& path) {
  MH_TRY_SET(Location location, describe(path));
  for (StateRoot* root : {location.root, private_root()}) {
    if (root == nullptr) continue;
    location.root = root;
    MH_TRY_SET(const bool found, known(&location));
    if (found) return location;
  }
  return fail(ErrorKind::kNotFound, location.folder + " has no state yet");
}

Result<Location> Root::find_or_create(const std::string& path) {
  MH_TRY_SET(Location location, describe(path));
  if (location.root != nullptr) {
    MH_TRY_SET(const bool found, known(&location));
    if (found) return location;
    if (!location.root->writable()) {
      location.root = private_root();
      location.directory.path = location.folder;
      location.may_tag = false;
    }
  }
  if (location.root == nullptr) {
    location.guid = random_guid();
    return location;
  }
  MH_TRY_SET(const FolderLock held, location.root->lock(kListLockTimeout));
  MH_TRY(location.root->read_unlisted());
  const Guid* guid = location.root->find(location.directory);
  if (guid != nullptr && has_identity(location.directory)) {
    take(*guid, &location);
    return location;
  }
  MH_TRY_SET(const bool is_restored, restored(&location));
  if (!is_restored) MH_TRY(make_state(&location));
  return location;
}

Result<bool> Root::restored(Location* location) {
  for (const Guid& guid : location->root->last_seen_at(location->directory.path)) {
    const DirectoryIdentity old = *location->root->directory_of(guid);
    if (!same_directory(old, location->directory) && lives_elsewhere(*location, old)) continue;
    MH_TRY_SET(const bool holds, holds_messages_of(*location, guid));
    if (!holds) continue;
    MH_TRY(location->root->record(guid, location->directory));
    take(guid, location);
    return true;
  }
  return false;
}

bool Root::lives_elsewhere(const Location& location, const DirectoryIdentity& directory) {
  struct Level {
    std::string path;
    int depth;
  };
  const bool is_private = location.root == private_;
  std::vector<Level> todo{{is_private ? mail_root_ : base_of(*location.root), 0}};
  while (!todo.empty()) {
    const Level level = std::move(todo.back());
    todo.pop_back();
    const auto stat = fs_->stat(AT_FDCWD, level.path.c_str(), Follow::kNo);
    if (!stat || stat->type != FileType::kDirectory) continue;
    if (stat->inode == directory.inode && stat->birth == directory.birth &&
        level.path != location.folder) {
      return true;
    }
    const auto dir = open_directory(*fs_, level.path);
    if (!dir || level.depth >= kDeepest) continue;
    (void)fs_->list(dir->get(), [&](const DirEntry& entry) {
      const bool maybe = entry.type == FileType::kDirectory || entry.type == FileType::kUnknown;
      if (maybe && !entry.name.starts_with('.')) {
        todo.push_back({level.path + "/" + entry.name, level.depth + 1});
      }
      return true;
    });
  }
  return false;
}

Result<bool> Root::holds_messages_of(const Location& location, const Guid& guid) {
  const std::string path = location.root->state_dir(guid);
  const auto state_dir = open_directory(*fs_, path);
  if (!state_dir) return false;
  const auto journal = Journal::open(*fs_, state_dir->get());
  if (!journal) return false;
  MH_TRY_SET(const Fd dir, open_directory(*fs_, location.folder));
  MH_TRY_SET(const Listing listing, scan_folder(*fs_, dir.get()));
  std::map<uint32_t, FileIdentity> recorded;
  const auto store = open_bdb_store(*fs_, state_dir->get(), path, 0600, static_cast<gid_t>(-1));
  if (const auto records = store->load()) {
    for (const Record& record : *records) recorded[record.number] = record.file;
  }
  for (const auto& [uid, record] : journal->state().records) recorded[record.number] = record.file;
  for (const Entry& entry : listing.entries) {
    const auto found = recorded.find(entry.number);
    if (found != recorded.end() && found->second.size == entry.file.size &&
        found->second.mtime == entry.file.mtime) {
      return true;
    }
  }
  const size_t most = std::min(listing.entries.size(), kTagsToCompare);
  for (size_t i = 0; i < most; ++i) {
    const Entry& entry = listing.entries[i];
    ProbeRequest request;
    request.number = entry.number;
    request.file = entry.file;
    const Probe probe = read_probe(*fs_, dir.get(), request, location.root->key());
    if (probe.tag_kind == Probe::TagKind::kVerified &&
        probe.tag.uidvalidity == journal->state().header.uidvalidity) {
      return true;
    }
  }
  return false;
}

// The highest UIDVALIDITY that the folder has plausibly had: tags of a state that is lost tell it.
// Some messages are enough, so the folder is not listed to its end.
uint32_t Root::earlier_uidvalidity(const Location& location) {
  const auto dir = open_directory(*fs_, location.folder);
  if (!dir) return 0;
  std::vector<std::string> names;
  (void)fs_->list(dir->get(), [&](const DirEntry& entry) {
    if (message_number(entry.name)) names.push_back(entry.name);
    return names.size() < kTagsToCompare;
  });
  const Nanoseconds latest = fs_->now() / kSecond + kPlausibleAhead;
  uint32_t highest = 0;
  for (const std::string& name : names) {
    const auto stat = fs_->stat(dir->get(), name.c_str(), Follow::kNo);
    if (!stat || stat->type != FileType::kRegular) continue;
    ProbeRequest request;
    request.number = *message_number(name);
    request.file = FileIdentity::of(*stat);
    const Probe probe = read_probe(*fs_, dir->get(), request, location.root->key());
    const uint32_t told = probe.tag_kind == Probe::TagKind::kNone ? 0 : probe.tag.uidvalidity;
    if (told <= latest) highest = std::max(highest, told);
  }
  return highest;
}

Status Root::make_state(Location* location) {
  const Guid guid = random_guid();
  JournalState state;
  const bool told_by_tags = location->root != private_ && !location->root->has_given();
  const uint32_t earlier = told_by_tags ? earlier_uidvalidity(*location) : 0;
  MH_TRY_SET(state.header.uidvalidity, location->root->new_uidvalidity(earlier));
  state.header.mailbox_guid = guid;
  state.header.created = fs_->now() / kSecond;
  state.directory = location->directory;
  state.options.emplace(kFirstSight);
  take(guid, location);
  const mode_t mode = location->directory_mode;
  MH_TRY(fs_->mkdir(location->root->dir(), guid_text(guid).c_str(), mode));
  MH_TRY_SET(const Fd dir, open_directory(*fs_, location->state_dir));
  MH_TRY(set_rights(*fs_, dir.get(), mode, location->gid));
  // Dovecot's acl plugin makes a file in here, and no directory for it.
  MH_TRY(fs_->mkdir(dir.get(), kControlDir.data(), mode));
  MH_TRY_SET(const Fd control, fs_->open(dir.get(), kControlDir.data(), O_RDONLY | O_DIRECTORY));
  MH_TRY(set_rights(*fs_, control.get(), mode, location->gid));
  MH_TRY(Journal::create(*fs_, dir.get(), std::move(state), mode & 0666, location->gid, false));
  MH_TRY(fs_->fsync(location->root->dir()));  // its name: soon UIDs are told
  return location->root->record(guid, location->directory);
}

namespace {

// Whether rmf would remove a file of this name without a word.
bool rmf_removes(const DirEntry& entry) {
  if (entry.type == FileType::kDirectory) return false;
  const char first = entry.name.front();
  return first == '.' || first == ',' || first == '#';
}

}  // namespace

Result<bool> Root::remove_folder(const std::string& path) {
  MH_TRY_SET(const Location described, describe(path));
  auto known_state = find(path);
  StateRoot* root = known_state ? known_state->root : described.root;
  // Whoever is about to save a message here waits, and then finds no folder.
  std::optional<FolderLock> list;
  std::optional<FolderLock> folder;
  if (root != nullptr && root->writable()) {
    MH_TRY_SET(FolderLock held, root->lock(kListLockTimeout));
    list.emplace(std::move(held));
  }
  if (list && known_state) {
    MH_TRY_SET(const Fd state, open_directory(*fs_, known_state->state_dir));
    const FolderLock::Options options{known_state->directory_mode & 0666, known_state->gid,
                                      kListLockTimeout};
    MH_TRY_SET(FolderLock held, FolderLock::acquire(*fs_, state.get(), kLockFile.data(), options));
    folder.emplace(std::move(held));
  }
  std::vector<std::string> removable;
  std::vector<std::string> ours;
  bool others = false;
  bool messages = false;
  {
    MH_TRY_SET(const Fd dir, open_directory(*fs_, described.folder));
    MH_TRY(fs_->list(dir.get(), [&](const DirEntry& entry) {
      const NameKind kind = classify_name(entry.name);
      const bool mine = kind == NameKind::kSequences || kind == NameKind::kSequencesLock ||
                        kind == NameKind::kOurs;
      messages |= kind == NameKind::kMessage && entry.type == FileType::kRegular;
      others |= !mine && !rmf_removes(entry);
      (mine ? ours : removable).push_back(entry.name);
      return true;
    }));
    if (messages) {
      return fail(ErrorKind::kExists, described.folder + " has messages");
    }
    for (const std::string& name : ours) MH_TRY(fs_->unlink(dir.get(), name.c_str()));
    for (const std::string& name : removable) {
      if (!others) MH_TRY(fs_->unlink(dir.get(), name.c_str()));
    }
  }
  const Status gone = fs_->rmdir(AT_FDCWD, described.folder.c_str());
  if (!list) return gone.has_value();
  if (known_state) MH_TRY(root->forget(known_state->guid));
  if (!gone) MH_TRY(root->set_folder(described.directory, false));
  return gone.has_value();
}

Result<bool> Root::is_noselect(const std::string& path) {
  if (own_ == nullptr) return false;
  MH_TRY(own_->reload());
  if (!own_->has_non_folders()) return false;
  const auto location = describe(path);
  if (!location || location->root == nullptr || location->root->is_folder(location->directory)) {
    return false;
  }
  MH_TRY_SET(const Fd dir, open_directory(*fs_, location->folder));
  MH_TRY_SET(const uint32_t highest, highest_number(*fs_, dir.get()));
  return highest == 0;
}

Status Root::make_folder(const std::string& path) {
  MH_TRY_SET(const Location location, describe(path));
  if (location.root == nullptr || location.root->is_folder(location.directory)) return {};
  MH_TRY_SET(const FolderLock held, location.root->lock(kListLockTimeout));
  return location.root->set_folder(location.directory, true);
}

}  // namespace mh
