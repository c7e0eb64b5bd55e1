// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/tree.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kMaxProfile = 1 << 20;
constexpr int kDeepest = 128;
// nmh's lock is waited for longer than in a session, where a client waits too.
constexpr Nanoseconds kSequencesWait = 2 * kSecond;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void cut_slashes(std::string* path) {
  while (path->size() > 1 && path->ends_with('/')) path->pop_back();
}

Result<std::string> absolute(Fs& fs, const std::string& path) {
  if (path.starts_with('/')) return path;
  MH_TRY_SET(const std::string here, fs.real_path("."));
  return path.empty() || path == "." ? here : here + "/" + path;
}

Status switch_to(const passwd& account) {
  if (initgroups(account.pw_name, account.pw_gid) != 0 || setgid(account.pw_gid) != 0 ||
      setuid(account.pw_uid) != 0) {
    return fail(ErrorKind::kPermission, std::string("cannot become ") + account.pw_name);
  }
  return {};
}

}  // namespace

Result<std::string> become_user(const Options& options) {
  const uid_t self = geteuid();
  const passwd* account = options.user.empty() ? getpwuid(self) : getpwnam(options.user.c_str());
  if (!options.user.empty() && account == nullptr) {
    return fail(ErrorKind::kInvalid, "there is no user " + options.user);
  }
  const uid_t wanted = account == nullptr ? self : account->pw_uid;
  if (wanted == 0) {
    return fail(ErrorKind::kPermission,
                "root reads nobody's mail: name its owner with --user, or call it as him");
  }
  if (wanted != self) {
    if (self != 0) return fail(ErrorKind::kPermission, "only root can work as another user");
    const std::string home = account->pw_dir;
    MH_TRY(switch_to(*account));
    return home;
  }
  std::string home = environment("HOME");
  if (home.empty() && account != nullptr) home = account->pw_dir;
  return home;
}

Result<Tree> Tree::open(Fs& fs, const Options& options, std::string home, Printer& printer) {
  Tree tree(fs, printer);
  tree.user_.home = std::move(home);
  tree.lock_timeout_ = options.lock_timeout;
  tree.profile_path_ = tree.user_.home + "/.mh_profile";
  // As nmh has it. Another user's environment is none of his.
  if (const std::string named = environment("MH"); !named.empty() && options.user.empty()) {
    MH_TRY_SET(tree.profile_path_, absolute(fs, named));
  }
  MH_TRY(tree.read_profile());
  MH_TRY(tree.find_root(options.root));
  MH_TRY_SET(FlagMap flags, FlagMap::make(tree.user_.flag_options()));
  tree.flags_.emplace(std::move(flags));
  return tree;
}

Status Tree::read_profile() {
  const auto stat = fs_->stat(AT_FDCWD, profile_path_.c_str(), Follow::kYes);
  if (!stat) {
    if (stat.error().kind() == ErrorKind::kNotFound) return {};
    return pass_on(stat);
  }
  MH_TRY_SET(const std::string text, read_file(*fs_, AT_FDCWD, profile_path_.c_str(), kMaxProfile));
  user_.profile = Profile::parse(text);
  has_profile_ = true;
  return {};
}

Status Tree::find_root(const std::string& asked) {
  if (!asked.empty()) {
    MH_TRY_SET(mail_root_, absolute(*fs_, asked));
  } else if (has_profile_ && !user_.profile.path().empty()) {
    mail_root_ = user_.mail_path();
  } else {
    return fail(ErrorKind::kInvalid, has_profile_
                                         ? profile_path_ + " names no Path: say --root"
                                         : "there is no " + profile_path_ + ": say --root");
  }
  cut_slashes(&mail_root_);
  const auto stat = fs_->stat(AT_FDCWD, mail_root_.c_str(), Follow::kYes);
  if (!stat && stat.error().kind() != ErrorKind::kNotFound) return pass_on(stat);
  if (stat && stat->type == FileType::kDirectory) return {};
  return fail(ErrorKind::kInvalid, mail_root_ + (stat ? " is no directory" : " is not there"));
}

Result<Root*> Tree::root(bool look) {
  std::unique_ptr<Root>& root = look ? looking_ : root_;
  if (!root) {
    const std::string alone = user_.private_root(mail_root_);
    MH_TRY_SET(root,
               look ? Root::look(*fs_, mail_root_, alone) : Root::open(*fs_, mail_root_, alone));
  }
  return root.get();
}

Result<std::string> Tree::folder_path(const std::string& name) const {
  std::string path;
  if (name.starts_with('+')) {
    path = name.substr(1);
    cut_slashes(&path);
  } else {
    MH_TRY_SET(const std::string at, absolute(*fs_, name));
    const auto real = fs_->real_path(at);
    if (!real && real.error().kind() == ErrorKind::kNotFound) {
      return fail(ErrorKind::kNotFound,
                  at + " is not there; a folder of the tree is named +" + name);
    }
    if (!real) return pass_on(real);
    MH_TRY_SET(const std::string top, fs_->real_path(mail_root_));
    if (*real != top && !real->starts_with(top + "/")) {
      return fail(ErrorKind::kNotFound, *real + " is not in the tree " + top);
    }
    path = *real == top ? "" : real->substr(top.size() + 1);
  }
  const std::string parts = "/" + path + "/";
  if (path.starts_with('/') || parts.find("/.") != std::string::npos ||
      (!path.empty() && parts.find("//") != std::string::npos)) {
    return fail(ErrorKind::kNotFound, name + " is no name of a folder in the tree");
  }
  const std::string where = path.empty() ? mail_root_ : mail_root_ + "/" + path;
  const auto stat = fs_->stat(AT_FDCWD, where.c_str(), Follow::kYes);
  if (!stat && stat.error().kind() != ErrorKind::kNotFound) return pass_on(stat);
  if (!stat || stat->type != FileType::kDirectory) {
    return fail(ErrorKind::kNotFound, "there is no folder " + where);
  }
  return path;
}

Result<std::string> Tree::new_folder_path(const std::string& name, bool make) const {
  auto there = folder_path(name);
  if (there || there.error().kind() != ErrorKind::kNotFound || !name.starts_with('+')) return there;
  std::string path = name.substr(1);
  cut_slashes(&path);
  const std::string parts = "/" + path + "/";
  const bool is_number = path.find_first_not_of("0123456789/") == std::string::npos;
  if (path.starts_with('/') || parts.find("/.") != std::string::npos ||
      parts.find("//") != std::string::npos || is_number) {
    return fail(ErrorKind::kNotFound, name + " is no name of a folder in the tree");
  }
  if (!make) return path;
  MH_TRY_SET(const FileStat top, fs_->stat(AT_FDCWD, mail_root_.c_str(), Follow::kYes));
  for (size_t end = path.find('/'); true; end = path.find('/', end + 1)) {
    const std::string where = mail_root_ + "/" + path.substr(0, end);
    const Status made = fs_->mkdir(AT_FDCWD, where.c_str(), top.mode & 0777);
    if (!made && made.error().kind() != ErrorKind::kExists) return pass_on(made);
    if (end == std::string::npos) break;
  }
  return folder_path(name);
}

Result<std::vector<std::string>> Tree::all_folders() const {
  std::vector<std::string> found;
  std::vector<std::pair<std::string, int>> todo{{"", 0}};
  while (!todo.empty()) {
    const auto [path, depth] = todo.back();
    todo.pop_back();
    const std::string where = path.empty() ? mail_root_ : mail_root_ + "/" + path;
    const auto dir = fs_->open(AT_FDCWD, where.c_str(), O_RDONLY | O_DIRECTORY);
    // One that cannot be read is named all the same: its own failure will tell.
    if (!path.empty()) found.push_back(path);
    if (!dir && path.empty()) return pass_on(dir);
    if (!dir || depth >= kDeepest) continue;
    std::vector<std::string> below;
    const Status listed = fs_->list(dir->get(), [&](const DirEntry& entry) {
      if (!entry.name.starts_with('.')) below.push_back(entry.name);
      return true;
    });
    if (!listed) printer_->warning(listed.error().message());
    for (const std::string& name : below) {
      const auto stat = fs_->stat(dir->get(), name.c_str(), Follow::kNo);
      if (!stat || stat->type != FileType::kDirectory) continue;
      todo.emplace_back(path.empty() ? name : path + "/" + name, depth + 1);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

FolderSettings Tree::settings(const std::string& path) const {
  FolderSettings settings = user_.folder_settings(*fs_, *flags_, mail_root_, path);
  settings.lock_timeout = lock_timeout_;
  settings.sequences_wait = std::min(kSequencesWait, lock_timeout_);
  settings.warn = [printer = printer_](const std::string& text) { printer->warning(text); };
  settings.tell = [printer = printer_](const std::string& text) { printer->detail(text); };
  return settings;
}

Result<bool> Tree::is_noselect(const std::string& path) {
  MH_TRY_SET(Root* const changing, root(false));
  return changing->is_noselect(path);
}

Result<std::unique_ptr<Folder>> Tree::open_folder(const std::string& path) {
  MH_TRY_SET(Root* const changing, root(false));
  return Folder::open(*fs_, *changing, path, settings(path), {});
}

Result<FolderView> Tree::look_at(const std::string& path) {
  MH_TRY_SET(Root* const looking, root(true));
  return look_at_folder(*fs_, *looking, path, settings(path));
}

}  // namespace mh
