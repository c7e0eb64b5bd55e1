// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-user.h"

#include <fcntl.h>

#include <set>

#include "libmh/system/filename.h"

namespace mh {
namespace {

struct MhMailUser {
  union mail_user_module_context module_ctx;
  UserState* state;
  void (*super_deinit)(struct mail_user* user);
};

MODULE_CONTEXT_DEFINE_INIT(mh_mail_user_module, &mail_user_module_register);

MhMailUser* context_of(struct mail_user* user) {
  return static_cast<MhMailUser*>(MODULE_CONTEXT(user, mh_mail_user_module));
}

void mh_mail_user_deinit(struct mail_user* user) noexcept {
  MhMailUser* context = context_of(user);
  const std::unique_ptr<UserState> state(context->state);
  context->super_deinit(user);
}

// A profile is a page of text; more is none.
constexpr size_t kMaxProfile = 1 << 20;

// Of a process that serves many users, each text once is enough.
bool first_time(const std::string& text) {
  static std::set<std::string> said;
  return said.insert(text).second;
}

std::string home_of(struct mail_user* user) {
  const char* home;
  return mail_user_get_home(user, &home) > 0 ? std::string(home) : std::string();
}

FlagOptions flag_options(const NmhUser& nmh, const Options& options) {
  FlagOptions flags = nmh.flag_options();
  flags.hidden = options.hidden_sequences;
  flags.keyword_map = options.keyword_map;
  return flags;
}

bool same_file(const FileStat& a, const FileStat& b) {
  return a.inode == b.inode && a.size == b.size && a.mtime == b.mtime && a.ctime == b.ctime;
}

}  // namespace

UserState& UserState::of(struct mail_user* user) {
  MhMailUser* context = context_of(user);
  if (context == nullptr) {
    context = p_new(user->pool, MhMailUser, 1);
    context->state = new UserState(user);
    context->super_deinit = user->v.deinit;
    user->v.deinit = mh_mail_user_deinit;
    MODULE_CONTEXT_SET(user, mh_mail_user_module, context);
  }
  return *context->state;
}

UserState::UserState(struct mail_user* user) : user_(user) {
  std::vector<std::string> warnings;
  auto checked = check_settings(read_settings(user), &warnings);
  for (const std::string& warning : warnings) {
    if (first_time(warning)) e_warning(user->event, "mh: %s", warning.c_str());
  }
  if (!checked) {
    options_error_ = checked.error().message();
    return;
  }
  options_ = std::move(*checked);
  if (const auto flags = FlagMap::make(flag_options(nmh_, options_)); !flags) {
    options_error_ = flags.error().message();
  }
}

Result<Root*> UserState::root(const std::string& mail_root) {
  const auto known = roots_.find(mail_root);
  if (known != roots_.end()) return known->second.get();
  auto opened = Root::open(Fs::posix(), mail_root, nmh_user().private_root(mail_root));
  if (!opened) return pass_on(opened);
  return (roots_[mail_root] = std::move(*opened)).get();
}

std::string UserState::state_root_of(const std::string& mail_root) {
  const auto tree = root(mail_root);
  return tree ? (*tree)->state_root() : mail_root + "/" + std::string(kStateDir);
}

std::string UserState::full_path(const std::string& path) const {
  return path.starts_with("~/") ? home_of(user_) + path.substr(1) : path;
}

void UserState::read_changed_profile() {
  if (profile_checked_ != ioloop_time || !profile_read_) {
    profile_checked_ = ioloop_time;
    const auto stat = Fs::posix().stat(AT_FDCWD, full_path(options_.profile).c_str(), Follow::kYes);
    const bool same =
        stat ? profile_stat_ && same_file(*stat, *profile_stat_) : !profile_stat_ && profile_read_;
    if (!same) {
      profile_stat_ = stat ? std::optional<FileStat>(*stat) : std::nullopt;
      read_profile();
    }
  }
}

void UserState::read_profile() {
  profile_read_ = true;
  const std::string path = full_path(options_.profile);
  std::string text;
  if (profile_stat_) {
    auto content = read_file(Fs::posix(), AT_FDCWD, path.c_str(), kMaxProfile);
    if (content) {
      text = std::move(*content);
    } else {
      e_warning(user_->event, "mh: %s: the defaults of nmh hold instead",
                content.error().message().c_str());
    }
  }
  nmh_.profile = Profile::parse(text);
  std::vector<std::string> problems = nmh_.profile.problems();
  auto flags = FlagMap::make(flag_options(nmh_, options_));
  if (flags) {
    problems.insert(problems.end(), flags->notes().begin(), flags->notes().end());
    flags_ = std::move(*flags);
  }
  for (const std::string& problem : problems) {
    if (first_time(path + problem)) {
      e_warning(user_->event, "mh: %s: %s", path.c_str(), problem.c_str());
    }
  }
}

const NmhUser& UserState::nmh_user() {
  if (nmh_.home.empty()) nmh_.home = home_of(user_);
  return nmh_;
}

const Profile& UserState::profile() {
  read_changed_profile();
  return nmh_user().profile;
}

bool UserState::is_draft_folder(const std::string& mail_root, const std::string& folder) {
  read_changed_profile();
  return nmh_user().is_draft_folder(mail_root, folder);
}

std::string UserState::context() {
  read_changed_profile();
  return nmh_user().context(Fs::posix());
}

std::string UserState::notify_dir() {
  if (options_.notify_dir.empty()) return "";
  Fs& fs = Fs::posix();
  const std::string path = full_path(options_.notify_dir);
  const Status made = fs.mkdir(AT_FDCWD, path.c_str(), 0700);
  const auto stat = fs.stat(AT_FDCWD, path.c_str(), Follow::kNo);
  std::string problem;
  if (!stat) {
    problem = made ? stat.error().message() : made.error().message();
  } else if (stat->type != FileType::kDirectory || stat->uid != fs.user() ||
             (stat->mode & 022) != 0) {
    problem = path + " must be a directory of this user's own that nobody else can write to";
  } else {
    return path;
  }
  if (first_time(problem)) {
    e_warning(user_->event, "mh: mh_notify_dir does nothing: %s", problem.c_str());
  }
  return "";
}

FolderSettings UserState::folder_settings(const std::string& mail_root, const std::string& folder) {
  read_changed_profile();
  FolderSettings settings = nmh_user().folder_settings(Fs::posix(), *flags_, mail_root, folder);
  settings.lock_timeout = options_.lock_timeout;
  settings.unseen_grace = options_.unseen_grace;
  settings.new_mail = options_.new_mail;
  settings.backup = options_.backup;
  return settings;
}

}  // namespace mh
