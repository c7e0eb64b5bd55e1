// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/state-root.h"

#include <fcntl.h>
#include <sodium.h>

#include <algorithm>

#include "libmh/format/journal-line.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kSecretLimit = 256;
constexpr size_t kCatalogueLimit = 256u << 20;
// A catalogue with this many lines more than states is written anew.
constexpr uint64_t kSpareLines = 1000;

std::pair<uint64_t, Nanoseconds> key_of(const DirectoryIdentity& directory) {
  return {directory.inode, directory.birth};
}

std::string state_line(const Guid& guid, const DirectoryIdentity& directory) {
  std::string line;
  JournalLineWriter(line, 'F')
      .bytes(guid)
      .number(directory.inode)
      .number(directory.birth)
      .text(directory.handle)
      .text(directory.path)
      .end();
  return line;
}

std::string removal_line(const Guid& guid) {
  std::string line;
  JournalLineWriter(line, 'R').bytes(guid).end();
  return line;
}

std::string non_folder_line(const DirectoryIdentity& directory, bool is_folder) {
  std::string line;
  JournalLineWriter(line, 'S')
      .number(directory.inode)
      .number(directory.birth)
      .text(directory.handle)
      .text(directory.path)
      .number(is_folder ? 0U : 1U)
      .end();
  return line;
}

// Everything in a directory of ours, whatever it is, and the directory itself.
Status remove_tree(Fs& fs, int parent, const std::string& name) {
  {
    auto dir = fs.open(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!dir) return dir.error().kind() == ErrorKind::kNotFound ? Status() : pass_on(dir);
    std::vector<DirEntry> entries;
    MH_TRY(fs.list(dir->get(), [&](const DirEntry& entry) {
      entries.push_back(entry);
      return true;
    }));
    // What says that this is a state goes first: the rest is rubbish then, whatever happens.
    std::stable_partition(entries.begin(), entries.end(),
                          [](const DirEntry& entry) { return entry.name == kJournalFile; });
    for (const DirEntry& entry : entries) {
      const Status gone = entry.type == FileType::kDirectory
                              ? remove_tree(fs, dir->get(), entry.name)
                              : fs.unlink(dir->get(), entry.name.c_str());
      if (!gone && gone.error().kind() != ErrorKind::kNotFound) return gone;
    }
  }
  return fs.rmdir(parent, name.c_str());
}

std::string validity_line(uint32_t uidvalidity) {
  std::string line;
  JournalLineWriter(line, 'V').number(uidvalidity).end();
  return line;
}

}  // namespace

std::string guid_text(const Guid& guid) {
  std::string text;
  append_hex(text, guid.data(), guid.size());
  return text;
}

Result<std::unique_ptr<StateRoot>> StateRoot::open(Fs& fs, std::string path, bool create,
                                                   mode_t mode, gid_t gid) {
  std::unique_ptr<StateRoot> root(new StateRoot(fs, std::move(path)));
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  auto dir = fs.open(AT_FDCWD, root->path_.c_str(), kFlags);
  if (!dir && dir.error().kind() == ErrorKind::kNotFound && create) {
    const Status made = fs.mkdir(AT_FDCWD, root->path_.c_str(), mode);
    if (!made && made.error().kind() != ErrorKind::kExists) return pass_on(made);
    dir = fs.open(AT_FDCWD, root->path_.c_str(), kFlags);
    if (dir && made) {
      MH_TRY(set_rights(fs, dir->get(), mode, gid));
      const std::string parent = root->path_.substr(0, root->path_.rfind('/') + 1);
      MH_TRY_SET(const Fd above, fs.open(AT_FDCWD, parent.c_str(), O_RDONLY | O_DIRECTORY));
      MH_TRY(fs.fsync(above.get()));
    }
  }
  if (!dir) return pass_on(dir);
  root->dir_ = std::move(*dir);
  root->file_mode_ = mode & 0666;
  root->gid_ = gid;
  MH_TRY(root->load_secret());
  MH_TRY(root->reload());
  return root;
}

Result<std::unique_ptr<StateRoot>> StateRoot::look(Fs& fs, std::string path) {
  std::unique_ptr<StateRoot> root(new StateRoot(fs, std::move(path)));
  MH_TRY_SET(root->dir_,
             fs.open(AT_FDCWD, root->path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (const auto text = read_file(fs, root->dir_.get(), kSecretFile.data(), kSecretLimit)) {
    root->take_secret(*text);
  }
  MH_TRY(root->reload());
  return root;
}

bool StateRoot::take_secret(std::string_view text) {
  return text.size() >= 2 * key_.size() &&
         parse_hex(text.substr(0, 2 * key_.size()), key_.data(), key_.size());
}

Status StateRoot::load_secret() {
  auto text = read_file(*fs_, dir_.get(), kSecretFile.data(), kSecretLimit);
  const auto lock_file =
      fs_->open(dir_.get(), kLockFile.data(), O_RDWR | O_CREAT | O_NOFOLLOW, file_mode_);
  writable_ = lock_file.has_value();
  // Anything else will pass: for its sake no folder may be served under another UIDVALIDITY.
  if (!lock_file && lock_file.error().kind() != ErrorKind::kPermission &&
      lock_file.error().kind() != ErrorKind::kReadOnly &&
      lock_file.error().kind() != ErrorKind::kNoSpace) {
    return pass_on(lock_file);
  }
  if (text && take_secret(*text)) return {};
  if (text && !text->empty()) {
    return fail(ErrorKind::kCorrupt, path_ + "/secret" +
                                         " is damaged: restore it from a backup, or remove it "
                                         "(tags written so far are then no longer recognised)");
  }
  if (!text && text.error().kind() != ErrorKind::kNotFound) return pass_on(text);
  if (!writable_) {
    return fail(ErrorKind::kReadOnly,
                path_ + " holds no " + kSecretFile.data() + " and is read-only");
  }
  MH_TRY_SET(const FolderLock held, lock(10 * kSecond));
  // Another process may have made it while we waited for the lock.
  text = read_file(*fs_, dir_.get(), kSecretFile.data(), kSecretLimit);
  if (text && take_secret(*text)) return {};
  randombytes_buf(key_.data(), key_.size());
  std::string fresh;
  append_hex(fresh, key_.data(), key_.size());
  return replace_file(*fs_, dir_.get(), kSecretFile.data(), fresh + "\n", file_mode_, gid_);
}

Result<FolderLock> StateRoot::lock(Nanoseconds timeout) {
  return FolderLock::acquire(*fs_, dir_.get(), kLockFile.data(), {file_mode_, gid_, timeout});
}

Status StateRoot::reload() {
  const auto stat = fs_->stat(dir_.get(), kCatalogueFile.data(), Follow::kNo);
  if (!stat) {
    if (stat.error().kind() != ErrorKind::kNotFound) return pass_on(stat);
    if (seen_.inode != 0) {
      seen_ = {};
      states_.clear();
      by_identity_.clear();
      non_folders_.clear();
      earlier_.clear();
    }
    return {};
  }
  const FileIdentity now = FileIdentity::of(*stat);
  if (now == seen_) return {};
  MH_TRY_SET(const std::string text,
             read_file(*fs_, dir_.get(), kCatalogueFile.data(), kCatalogueLimit));
  states_.clear();
  by_identity_.clear();
  non_folders_.clear();
  earlier_.clear();
  apply(text);
  seen_ = now;
  return {};
}

void StateRoot::apply(std::string_view text) {
  lines_ = 0;
  torn_ = !text.empty() && text.back() != '\n';
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (!apply_line(text.substr(begin, end - begin))) torn_ = true;
    ++lines_;
    begin = end + 1;
  }
  for (const auto& [guid, directory] : states_) by_identity_[key_of(directory)].push_back(guid);
}

bool StateRoot::apply_line(std::string_view text) {
  JournalLineReader line(text);
  Guid guid{};
  DirectoryIdentity directory;
  uint32_t uidvalidity = 0;
  switch (line.kind()) {
    case 'V':
      if (!line.number(uidvalidity).end()) return false;
      last_uidvalidity_ = std::max(last_uidvalidity_, uidvalidity);
      return true;
    case 'F':
      line.bytes(guid).number(directory.inode).number(directory.birth);
      if (!line.text(directory.handle).text(directory.path).end()) return false;
      if (const auto known = states_.find(guid);
          known != states_.end() && known->second.path != directory.path) {
        earlier_[known->second.path].insert(guid);
      }
      states_[guid] = std::move(directory);
      return true;
    case 'R':
      if (!line.bytes(guid).end()) return false;
      states_.erase(guid);
      return true;
    case 'S': {
      uint32_t no_folder = 0;
      line.number(directory.inode).number(directory.birth).text(directory.handle);
      if (!line.text(directory.path).number(no_folder).end()) return false;
      if (no_folder != 0) {
        non_folders_[key_of(directory)] = std::move(directory);
      } else {
        non_folders_.erase(key_of(directory));
      }
      return true;
    }
    default:
      return false;
  }
}

bool StateRoot::is_folder(const DirectoryIdentity& directory) const {
  const auto found = non_folders_.find(key_of(directory));
  return found == non_folders_.end() || found->second.handle != directory.handle;
}

const Guid* StateRoot::find(const DirectoryIdentity& directory) const {
  const auto found = by_identity_.find(key_of(directory));
  if (found == by_identity_.end()) return nullptr;
  for (const Guid& guid : found->second) {
    if (states_.at(guid).handle == directory.handle) return &guid;
  }
  return nullptr;
}

std::vector<Guid> StateRoot::last_seen_at(const std::string& path) const {
  std::vector<Guid> guids;
  for (const auto& [guid, directory] : states_) {
    if (directory.path == path) guids.push_back(guid);
  }
  return guids;
}

std::vector<Guid> StateRoot::once_seen_at(const std::string& path) const {
  std::vector<Guid> guids = last_seen_at(path);
  const auto found = earlier_.find(path);
  if (found == earlier_.end()) return guids;
  for (const Guid& guid : found->second) {
    const bool is_told = std::ranges::find(guids, guid) != guids.end();
    if (!is_told && states_.contains(guid)) guids.push_back(guid);
  }
  return guids;
}

std::vector<Guid> StateRoot::all() const {
  std::vector<Guid> guids;
  for (const auto& [guid, directory] : states_) guids.push_back(guid);
  return guids;
}

const DirectoryIdentity* StateRoot::directory_of(const Guid& guid) const {
  const auto found = states_.find(guid);
  return found == states_.end() ? nullptr : &found->second;
}

std::string StateRoot::folder_path(const DirectoryIdentity& directory) const {
  if (directory.path.starts_with('/')) return directory.path;
  const std::string base = path_.substr(0, path_.rfind('/'));
  return directory.path.empty() ? base : base + "/" + directory.path;
}

std::optional<Guid> StateRoot::with_uidvalidity(uint32_t uidvalidity) {
  const auto known = by_uidvalidity_.find(uidvalidity);
  if (known != by_uidvalidity_.end()) return known->second;
  if (!reload()) return std::nullopt;
  for (const auto& [guid, directory] : states_) {
    if (!asked_.insert(guid).second) continue;
    const auto dir = fs_->open(dir_.get(), guid_text(guid).c_str(), O_RDONLY | O_DIRECTORY);
    if (!dir) continue;
    if (const auto header = Journal::header_of(*fs_, dir->get())) {
      by_uidvalidity_[header->uidvalidity] = guid;
    }
  }
  const auto found = by_uidvalidity_.find(uidvalidity);
  return found == by_uidvalidity_.end() ? std::nullopt : std::optional(found->second);
}

Result<bool> StateRoot::read_unlisted() {
  MH_TRY(reload());
  std::vector<Guid> unlisted;
  MH_TRY(fs_->list(dir_.get(), [&](const DirEntry& entry) {
    Guid guid{};
    if (parse_hex(entry.name, guid.data(), guid.size()) && !states_.contains(guid)) {
      unlisted.push_back(guid);
    }
    return true;
  }));
  bool found = false;
  for (const Guid& guid : unlisted) {
    const auto dir = fs_->open(dir_.get(), guid_text(guid).c_str(), O_RDONLY | O_DIRECTORY);
    if (!dir) continue;
    const auto journal = Journal::open(*fs_, dir->get());
    if (!journal) continue;  // a state directory whose making was interrupted
    states_[guid] = journal->state().directory;
    last_uidvalidity_ = std::max(last_uidvalidity_, journal->state().header.uidvalidity);
    found = true;
  }
  if (found) MH_TRY(rewrite());
  return found;
}

void StateRoot::leave_listing(const Guid& guid, Listing listing) {
  left_listing_.emplace(guid, std::move(listing));
}

const Listing* StateRoot::left_listing(const Guid& guid) const {
  return left_listing_ && left_listing_->first == guid ? &left_listing_->second : nullptr;
}

Status StateRoot::record(const Guid& guid, const DirectoryIdentity& directory) {
  MH_TRY(reload());
  return append(state_line(guid, directory), false);
}

Status StateRoot::forget(const Guid& guid) {
  MH_TRY(reload());
  MH_TRY(append(removal_line(guid), false));
  return remove_tree(*fs_, dir_.get(), guid_text(guid));
}

Status StateRoot::set_folder(const DirectoryIdentity& directory, bool is_folder) {
  MH_TRY(reload());
  return append(non_folder_line(directory, is_folder), false);
}

Status StateRoot::note_uidvalidity(uint32_t uidvalidity) {
  MH_TRY(reload());
  if (uidvalidity <= last_uidvalidity_) return {};
  return append(validity_line(uidvalidity), true);
}

Result<uint32_t> StateRoot::new_uidvalidity(uint32_t above) {
  MH_TRY(reload());
  // The highest in use is known only when no journal is left out.
  MH_TRY(read_unlisted());
  const auto now = static_cast<uint32_t>(
      std::clamp<Nanoseconds>(fs_->now() / kSecond - uidvalidity_lag_, 1, UINT32_MAX - 1));
  const uint32_t floor = std::max(last_uidvalidity_, above);
  if (floor == UINT32_MAX) {
    return fail(ErrorKind::kCorrupt, path_ + ": no UIDVALIDITY is left to be given");
  }
  const uint32_t fresh = std::max(now, floor + 1);
  MH_TRY(append(validity_line(fresh), true));
  return fresh;
}

Status StateRoot::append(const std::string& lines, bool flush) {
  if (torn_ || lines_ > states_.size() + kSpareLines) MH_TRY(rewrite());
  MH_TRY_SET(const Fd file, fs_->open(dir_.get(), kCatalogueFile.data(),
                                      O_WRONLY | O_CREAT | O_NOFOLLOW, file_mode_));
  MH_TRY_SET(const FileStat before, fs_->fstat(file.get()));
  if (before.size == 0) MH_TRY(set_rights(*fs_, file.get(), file_mode_, gid_));
  const Status written = fs_->pwrite(file.get(), lines.data(), lines.size(), before.size);
  if (!written) {
    (void)fs_->truncate(file.get(), before.size);
    return written;
  }
  if (flush) MH_TRY(fs_->fdatasync(file.get()));
  return reload();
}

Status StateRoot::rewrite() {
  std::string text = validity_line(last_uidvalidity_);
  for (const auto& [guid, directory] : states_) text += state_line(guid, directory);
  for (const auto& [key, directory] : non_folders_) text += non_folder_line(directory, false);
  MH_TRY(replace_file(*fs_, dir_.get(), kCatalogueFile.data(), text, file_mode_, gid_));
  return reload();
}

}  // namespace mh
