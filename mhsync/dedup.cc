// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync dedup: messages that are there more than once.
//
// What is a copy is found first, without locks; then copies go, some dozens at a time. Stopped
// anywhere, what was done holds, and the next run finds and does the rest.
#include <algorithm>
#include <map>

#include "libmh/folder/dedup.h"
#include "libmh/folder/folder.h"
#include "mhsync/command.h"
#include "mhsync/progress.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

// The locks of a batch are held for some milliseconds.
constexpr size_t kBatch = 64;

enum class Action { kMove, kBackup, kDelete, kShare };

Action action_of(const Options& options) {
  if (options.share) return Action::kShare;
  if (options.remove) return Action::kDelete;
  return options.rmm ? Action::kBackup : Action::kMove;
}

DedupBy by_of(const Options& options) {
  if (options.by == "message-id") return DedupBy::kMessageId;
  return options.by == "content" ? DedupBy::kContent : DedupBy::kExact;
}

DedupKeep keep_of(const Options& options) {
  if (options.keep == "newest") return DedupKeep::kNewest;
  return options.keep == "oldest" ? DedupKeep::kOldest : DedupKeep::kFirstFolder;
}

struct Sum {
  uint64_t groups = 0;
  uint64_t copies = 0;
  uint64_t bytes = 0;  // of the copies, as files
  uint64_t done = 0;
  uint64_t left = 0;
  uint64_t shared = 0;  // bytes
};

// One run over some folders.
class Dedup {
 public:
  Dedup(Job& job, std::vector<std::string> paths)
      : job_(job),
        action_(action_of(job.options)),
        finder_(job.tree.fs(), by_of(job.options)),
        asked_(std::move(paths)) {}

  Result<ExitCode> run();

 private:
  // A copy by its place in groups_.
  struct Task {
    uint32_t kept_folder = 0;
    uint32_t folder = 0;
    uint32_t group = 0;
    uint32_t copy = 0;
    auto operator<=>(const Task&) const = default;
  };

  Status find_target();
  Status find_groups();
  Status add(const std::string& path);
  Status put_back(const std::string& path);
  DuplicateFinder::Progress progress_of(Progress& progress) const;
  std::vector<Task> tasks() const;
  Status move_all();
  Status move_batch(std::span<const Task> batch);
  Status share_all();
  Result<Folder*> open(std::unique_ptr<Folder>* slot, uint32_t* is_open, uint32_t folder);

  void tell_groups();
  void tell_copy(const ComparedMessage& kept, const ComparedMessage& copy, const std::string& fate,
                 uint32_t moved_to);
  void tell_sum();
  ExitCode note(const std::string& path, const Error& error);
  std::string name_of(const ComparedMessage& message) const;
  std::string path_of(const ComparedMessage& message) const;

  Job& job_;
  Action action_;
  DuplicateFinder finder_;
  std::vector<std::string> asked_;
  std::vector<std::string> paths_;  // by the finder's numbers
  std::optional<std::string> target_path_;
  std::vector<DuplicateGroup> groups_;
  std::unique_ptr<Folder> kept_in_, copies_in_, target_;
  uint32_t kept_open_ = UINT32_MAX, copies_open_ = UINT32_MAX;
  Sum sum_;
  ExitCode worst_ = ExitCode::kClean;
};

std::string Dedup::name_of(const ComparedMessage& message) const {
  return Tree::display(paths_[message.folder]) + " " + std::to_string(message.number);
}

std::string Dedup::path_of(const ComparedMessage& message) const {
  return job_.tree.mail_root() + "/" + paths_[message.folder] + "/" +
         std::to_string(message.number);
}

ExitCode Dedup::note(const std::string& path, const Error& error) {
  const ExitCode code = exit_code_of(error);
  job_.printer.error(Tree::display(path), code, error.message());
  worst_ = graver(worst_, code);
  return code;
}

// ---- Finding ----------------------------------------------------------------------------------

Status Dedup::find_target() {
  if (action_ != Action::kMove) return {};
  const bool make = !job_.options.dry_run;
  MH_TRY_SET(target_path_, job_.tree.new_folder_path(job_.options.to, make));
  const size_t before = asked_.size();
  std::erase(asked_, *target_path_);
  if (asked_.empty() && before != 0) {
    return fail(ErrorKind::kInvalid, Tree::display(*target_path_) +
                                         " is where copies go: name another folder with --to");
  }
  return {};
}

DuplicateFinder::Progress Dedup::progress_of(Progress& progress) const {
  return [&progress](uint64_t done, uint64_t of) {
    progress.show(done, of);
    return !stop_asked();
  };
}

// What a run that died has left in the workshop.
Status Dedup::put_back(const std::string& path) {
  if (job_.options.dry_run || action_ == Action::kShare) return {};
  MH_TRY_SET(Root* const root, job_.tree.root(false));
  const auto known = root->find(path);
  if (!known && known.error().kind() == ErrorKind::kNotFound) return {};
  MH_TRY_SET(const std::unique_ptr<Folder> folder, job_.tree.open_folder(path));
  return folder->put_back_interrupted();
}

Status Dedup::add(const std::string& path) {
  MH_TRY_SET(Root* const root, job_.tree.root(job_.options.dry_run));
  MH_TRY(put_back(path));
  const auto location = root->find(path);
  const bool has_key = location && location->root != nullptr;
  Progress progress(job_.tree.fs(), !job_.options.quiet && !job_.options.json, Tree::display(path));
  const std::string where =
      path.empty() ? job_.tree.mail_root() : job_.tree.mail_root() + "/" + path;
  MH_TRY_SET(const bool added, finder_.add_folder(where, has_key ? location->root->key() : TagKey{},
                                                  progress_of(progress)));
  if (added) paths_.push_back(path);
  return {};
}

Status Dedup::find_groups() {
  for (const std::string& path : asked_) {
    if (stop_asked()) return {};
    if (const Status added = add(path); !added) {
      if (asked_.size() == 1) return added;
      note(path, added.error());
    }
  }
  Progress progress(job_.tree.fs(), !job_.options.quiet && !job_.options.json, "comparing");
  MH_TRY_SET(groups_, finder_.find(keep_of(job_.options), progress_of(progress)));
  sum_.groups = groups_.size();
  for (const DuplicateGroup& group : groups_) {
    sum_.copies += group.size() - 1;
    for (size_t i = 1; i < group.size(); ++i) sum_.bytes += group[i].file.size;
  }
  return {};
}

// ---- What becomes of them ---------------------------------------------------------------------

std::vector<Dedup::Task> Dedup::tasks() const {
  std::vector<Task> tasks;
  tasks.reserve(sum_.copies);
  for (uint32_t group = 0; group < groups_.size(); ++group) {
    for (uint32_t copy = 1; copy < groups_[group].size(); ++copy) {
      tasks.push_back({groups_[group][0].folder, groups_[group][copy].folder, group, copy});
    }
  }
  std::ranges::sort(tasks);
  return tasks;
}

Result<Folder*> Dedup::open(std::unique_ptr<Folder>* slot, uint32_t* is_open, uint32_t folder) {
  if (*is_open != folder) {
    slot->reset();
    *is_open = UINT32_MAX;
    MH_TRY_SET(*slot, job_.tree.open_folder(paths_[folder]));
    *is_open = folder;
  }
  return slot->get();
}

Status Dedup::move_batch(std::span<const Task> batch) {
  MH_TRY_SET(Folder* const kept_in, open(&kept_in_, &kept_open_, batch[0].kept_folder));
  Folder* copies_in = kept_in;
  if (batch[0].folder != batch[0].kept_folder) {
    MH_TRY_SET(copies_in, open(&copies_in_, &copies_open_, batch[0].folder));
  }
  if (target_path_ && !target_) {
    MH_TRY_SET(Root* const root, job_.tree.root(false));
    MH_TRY_SET(target_, job_.tree.open_folder(*target_path_));
    MH_TRY(root->make_folder(*target_path_));
  }
  std::vector<CopyToRemove> items(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    items[i].kept = groups_[batch[i].group][0];
    items[i].copy = groups_[batch[i].group][batch[i].copy];
  }
  const CopyGoes goes = action_ == Action::kMove     ? CopyGoes::kToFolder
                        : action_ == Action::kBackup ? CopyGoes::kToBackup
                                                     : CopyGoes::kAway;
  const Status done = Folder::remove_copies(*kept_in, *copies_in, target_.get(), goes, items);
  for (const CopyToRemove& item : items) {
    const bool gone = item.fate == CopyToRemove::Fate::kGone;
    (gone ? sum_.done : sum_.left) += 1;
    tell_copy(item.kept, item.copy, gone ? "gone" : "left", gone ? item.moved_to : 0);
  }
  return done;
}

Status Dedup::move_all() {
  const std::vector<Task> all = tasks();
  Progress progress(job_.tree.fs(), !job_.options.quiet && !job_.options.json, "removing copies");
  for (size_t begin = 0; begin < all.size() && !stop_asked();) {
    size_t end = begin;
    while (end < all.size() && end - begin < kBatch &&
           all[end].kept_folder == all[begin].kept_folder && all[end].folder == all[begin].folder) {
      ++end;
    }
    const Status done = move_batch(std::span(all).subspan(begin, end - begin));
    if (!done) note(paths_[all[begin].folder], done.error());
    progress.show(end, all.size());
    begin = end;
  }
  return {};
}

Status Dedup::share_all() {
  for (const DuplicateGroup& group : groups_) {
    for (size_t i = 1; i < group.size(); ++i) {
      if (stop_asked()) return {};
      const auto shared =
          share(job_.tree.fs(), path_of(group[0]), group[0], path_of(group[i]), group[i]);
      if (!shared && shared.error().kind() == ErrorKind::kUnsupported) {
        return fail(ErrorKind::kUnsupported,
                    "files cannot share bytes here, nothing was changed (btrfs can, and XFS made "
                    "with reflink=1): " +
                        shared.error().message());
      }
      const bool done = shared && shared->bytes == shared->possible && shared->possible != 0;
      if (shared) sum_.shared += shared->bytes;
      (done ? sum_.done : sum_.left) += 1;
      tell_copy(group[0], group[i], done ? "shared" : "left", 0);
    }
  }
  return {};
}

// ---- What is said -----------------------------------------------------------------------------

void Dedup::tell_copy(const ComparedMessage& kept, const ComparedMessage& copy,
                      const std::string& fate, uint32_t moved_to) {
  if (!job_.options.json) {
    if (fate != "left" || action_ == Action::kShare) return;
    job_.printer.problem("copy", "", {}, name_of(copy),
                         "left where it is, for it or " + name_of(kept) +
                             " was changed, moved or removed meanwhile, or is locked");
    return;
  }
  Fields fields = {{"number", uint64_t{copy.number}},
                   {"bytes", copy.file.size},
                   {"kept_folder", Tree::display(paths_[kept.folder])},
                   {"kept_number", uint64_t{kept.number}},
                   {"fate", fate}};
  if (action_ == Action::kShare) fields.emplace_back("shareable", shareable(kept, copy));
  if (moved_to != 0) {
    fields.emplace_back("moved_to", Tree::display(*target_path_));
    fields.emplace_back("moved_number", uint64_t{moved_to});
  }
  job_.printer.result("copy", Tree::display(paths_[copy.folder]), fields, "");
}

void Dedup::tell_groups() {
  for (const DuplicateGroup& group : groups_) {
    std::string words = name_of(group[0]) + " would be kept, copies are";
    for (size_t i = 1; i < group.size(); ++i) {
      tell_copy(group[0], group[i], "planned", 0);
      words += (i == 1 ? " " : ", ") + name_of(group[i]) + " (" +
               std::to_string(group[i].file.size) + " bytes)";
      if (action_ == Action::kShare) sum_.shared += shareable(group[0], group[i]);
    }
    if (!job_.options.json) job_.printer.result("group", "", {}, words);
  }
}

void Dedup::tell_sum() {
  const bool dry = job_.options.dry_run;
  const std::string folder = asked_.size() == 1 ? Tree::display(asked_[0]) : "";
  const Fields fields = {{"messages", finder_.messages()},
                         {"groups", sum_.groups},
                         {"copies", sum_.copies},
                         {"bytes", sum_.bytes},
                         {"done", sum_.done},
                         {"left", sum_.left},
                         {"shared_bytes", sum_.shared},
                         {"passed_over", finder_.passed_over()},
                         {"bytes_read", finder_.bytes_read()},
                         {"dry_run", dry}};
  std::string words = folder.empty() ? "" : folder + ": ";
  words += counted(finder_.messages(), "message, ", "messages, ") +
           counted(sum_.copies, "copy of ", "copies of ") + std::to_string(sum_.groups) +
           " of them, " + counted(sum_.bytes, "byte", "bytes");
  const std::string count = dry ? "they would be " : std::to_string(sum_.done) + " ";
  if (sum_.copies != 0) {
    words += "; " + count;
    if (action_ == Action::kMove) words += "moved to " + Tree::display(*target_path_);
    if (action_ == Action::kBackup) words += "removed, each left as \",N\"";
    if (action_ == Action::kDelete) words += "removed for good";
    if (action_ == Action::kShare) {
      words += "given shared bytes, " + counted(sum_.shared, "byte", "bytes") + " in all";
    }
  }
  if (sum_.left != 0) words += ", " + std::to_string(sum_.left) + " left as they are";
  if (finder_.passed_over() != 0) {
    words += "; " + std::to_string(finder_.passed_over()) + " unreadable or being written";
  }
  job_.printer.result("dedup", folder, fields, words);
}

Result<ExitCode> Dedup::run() {
  MH_TRY(find_target());
  MH_TRY(find_groups());
  if (stop_asked()) return worst_;
  if (job_.options.dry_run) {
    tell_groups();
  } else if (action_ == Action::kShare) {
    MH_TRY(share_all());
  } else {
    MH_TRY(move_all());
  }
  tell_sum();
  const bool problems = sum_.left != 0 && action_ != Action::kShare;
  return graver(worst_, problems ? ExitCode::kProblems : ExitCode::kClean);
}

}  // namespace

Result<ExitCode> dedup_folder(Job& job, const std::string& path) {
  return Dedup(job, {path}).run();
}

Result<ExitCode> dedup_across(Job& job, const std::vector<std::string>& paths) {
  return Dedup(job, paths).run();
}

}  // namespace mh
