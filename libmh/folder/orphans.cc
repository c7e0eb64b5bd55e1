// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/orphans.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr int kDeepest = 128;
constexpr Nanoseconds kRest = kTombstoneSeconds * kSecond;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

// Where the folder was, its nearest ancestor that is still there is on this file system.
bool lies_within(Fs& fs, const std::string& base, std::string path) {
  const auto top = fs.stat(AT_FDCWD, base.c_str(), Follow::kYes);
  while (top && path.size() > base.size()) {
    path = parent_of(path);
    const auto stat = fs.stat(AT_FDCWD, path.c_str(), Follow::kNo);
    if (stat) return stat->type == FileType::kDirectory && stat->device == top->device;
    if (stat.error().kind() != ErrorKind::kNotFound) return false;
  }
  return false;
}

// When anything in the state was written last; Dovecot's own files count.
Nanoseconds last_use(Fs& fs, const std::string& path, int depth = 0) {
  const auto dir = fs.open(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  Nanoseconds latest = dir ? 0 : fs.now();
  if (!dir) return latest;
  std::vector<DirEntry> entries;
  if (!fs.list(dir->get(), [&](const DirEntry& entry) {
        entries.push_back(entry);
        return true;
      })) {
    return fs.now();
  }
  for (const DirEntry& entry : entries) {
    const auto stat = fs.stat(dir->get(), entry.name.c_str(), Follow::kNo);
    if (!stat) continue;
    const bool deeper = stat->type == FileType::kDirectory && depth < 3;
    latest =
        std::max(latest, deeper ? last_use(fs, path + "/" + entry.name, depth + 1) : stat->mtime);
  }
  return latest;
}

std::string why_not(Fs& fs, const StateRoot& states, const Directories& directories,
                    const Guid& guid, const DirectoryIdentity& directory) {
  if (!directories.whole) return "a part of the tree cannot be read";
  const std::string base = parent_of(states.path());
  const std::string place = states.folder_path(directory);
  if (!place.starts_with(base + "/")) return "the folder lay outside of the tree";
  if (!lies_within(fs, base, place)) return "the folder lay on another file system";
  if (last_use(fs, states.state_dir(guid)) + kRest > fs.now()) {
    return "it was in use less than 30 days ago, and the folder may be restored";
  }
  return "";
}

}  // namespace

Result<Directories> find_directories(Fs& fs, const std::string& mail_root) {
  Directories found;
  std::vector<std::pair<std::string, int>> todo{{"", 0}};
  while (!todo.empty()) {
    const auto [path, depth] = todo.back();
    todo.pop_back();
    const std::string where = path.empty() ? mail_root : mail_root + "/" + path;
    const Follow follow = path.empty() ? Follow::kYes : Follow::kNo;
    const auto stat = fs.stat(AT_FDCWD, where.c_str(), follow);
    if (stat && stat->type != FileType::kDirectory) continue;
    const auto dir = fs.open(AT_FDCWD, where.c_str(), O_RDONLY | O_DIRECTORY);
    if (path.empty() && (!stat || !dir)) return stat ? pass_on(dir) : pass_on(stat);
    if (stat) found.path_of[{stat->inode, stat->birth}] = path;
    if (!stat || !dir || depth >= kDeepest) {
      found.whole = false;
      continue;
    }
    const Status listed = fs.list(dir->get(), [&, &path = path, &depth = depth](const auto& entry) {
      const bool maybe = entry.type == FileType::kDirectory || entry.type == FileType::kUnknown;
      if (maybe && entry.name != kStateDir) {
        todo.emplace_back(path.empty() ? entry.name : path + "/" + entry.name, depth + 1);
      }
      return true;
    });
    found.whole &= listed.has_value();
  }
  return found;
}

std::vector<Orphan> find_orphans(Fs& fs, const StateRoot& states, const Directories& directories) {
  std::vector<Orphan> orphans;
  for (const Guid& guid : states.all()) {
    const DirectoryIdentity& directory = *states.directory_of(guid);
    if (directories.path_of.contains({directory.inode, directory.birth})) continue;
    // Elsewhere, behind a link; or restored, which the next session finds out.
    if (fs.stat(AT_FDCWD, states.folder_path(directory).c_str(), Follow::kYes)) continue;
    orphans.push_back({guid, directory.path, why_not(fs, states, directories, guid, directory)});
  }
  return orphans;
}

Status remove_orphan(Fs& fs, StateRoot& states, const std::string& mail_root, const Guid& guid,
                     Nanoseconds lock_timeout) {
  MH_TRY_SET(const FolderLock list, states.lock(lock_timeout));
  MH_TRY(states.reload());
  MH_TRY_SET(const Directories directories, find_directories(fs, mail_root));
  const std::vector<Orphan> orphans = find_orphans(fs, states, directories);
  const auto found = std::ranges::find(orphans, guid, &Orphan::guid);
  if (found == orphans.end()) {
    return fail(ErrorKind::kExists, states.state_dir(guid) + " is the state of a folder");
  }
  if (!found->why_not.empty()) return fail(ErrorKind::kExists, found->why_not);
  const std::string path = states.state_dir(guid);
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  MH_TRY_SET(const FolderLock folder, FolderLock::acquire(fs, dir.get(), kLockFile.data(),
                                                          {.mode = 0600, .timeout = lock_timeout}));
  return states.forget(guid);
}

std::optional<std::string> path_now(const StateRoot& states, const Directories& directories,
                                    const std::string& path) {
  std::string rest;
  for (std::string level = path; !level.empty();) {
    std::set<std::string> places;
    for (const Guid& guid : states.once_seen_at(level)) {
      const DirectoryIdentity& directory = *states.directory_of(guid);
      const auto there = directories.path_of.find({directory.inode, directory.birth});
      if (there != directories.path_of.end()) places.insert(there->second);
    }
    if (places.size() > 1) return std::nullopt;
    if (places.size() == 1) {
      const std::string now = *places.begin() + rest;
      const bool exists = std::ranges::any_of(
          directories.path_of, [&](const auto& directory) { return directory.second == now; });
      return exists && now != path ? std::optional(now) : std::nullopt;
    }
    const size_t slash = level.rfind('/');
    rest = level.substr(slash == std::string::npos ? 0 : slash) + rest;
    level = slash == std::string::npos ? "" : level.substr(0, slash);
  }
  return std::nullopt;
}

}  // namespace mh
