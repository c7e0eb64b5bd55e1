// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync reindex: UIDs for what is new, X-MH-UID lines for what has none, the store made anew.
//
// Stopped anywhere, it has done a part, which holds; the next run does the rest.
#include <algorithm>

#include "libmh/folder/inspect.h"
#include "mhsync/command.h"
#include "mhsync/progress.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

constexpr Nanoseconds kSlice = kSecond / 2;  // of work between two looks at signals
constexpr size_t kPart = 8192;               // new messages that are looked at together

struct Done {
  uint64_t given = 0;  // UIDs
  uint64_t tagged = 0;
  uint64_t untagged = 0;
  uint64_t waiting = 0;  // half-written
  uint64_t left = 0;     // to Dovecot
  uint64_t refused = 0;  // files that are not ours to replace
  bool ordered = false;  // all UIDs are new ones
};

// Under the lock, after a look.
Status give_uids_now(Folder& folder, bool thorough, Done* done) {
  MH_TRY(folder.lock());
  const FolderUnlock unlock(folder);
  if (folder.read_only()) {
    return fail(ErrorKind::kPermission, "the state of " + folder.location().folder +
                                            " cannot be written: nothing was done");
  }
  MH_TRY_SET(const FilesOutcome files, folder.sync_arrivals(thorough));
  if (files.deferred) {
    return fail(ErrorKind::kNoSpace, "its journal could not be written: new messages wait");
  }
  done->given += files.added.size();
  done->waiting = files.waiting;
  done->left = files.left;
  return {};
}

Status give_uids(Folder& folder, bool thorough, Done* done) {
  MH_TRY(folder.look(false));
  return give_uids_now(folder, thorough, done);
}

Status write_tags(Job& job, Folder& folder, const std::string& path, Done* done) {
  MH_TRY_SET(const uint64_t untagged, folder.count_untagged());
  const uint64_t all = done->tagged + untagged;
  Progress progress(job.tree.fs(), !job.options.quiet && !job.options.json, Tree::display(path));
  for (bool more = true; more && !stop_asked();) {
    MH_TRY_SET(const Folder::Adopted adopted, folder.adopt(SIZE_MAX, kSlice));
    done->tagged += adopted.done;
    done->refused += adopted.refused;
    more = adopted.more;
    progress.show(done->tagged, all);
  }
  return {};
}

// Under the lock, after all changes.
Status rebuild_store(Folder& folder) {
  MH_TRY(folder.lock());
  const FolderUnlock unlock(folder);
  MH_TRY_SET(const auto records, folder.records());
  static_cast<void>(records);
  return folder.maintain(true);
}

// Of many new messages, a part after the other: what is known of those that are done is in the
// store, and not in memory.
Status work_in_parts(Job& job, Folder& folder, const std::string& path, Done* done) {
  while (!stop_asked()) {
    MH_TRY_SET(const bool more, folder.look_at_part(kPart));
    if (!more) break;
    MH_TRY(give_uids_now(folder, false, done));
    MH_TRY(write_tags(job, folder, path, done));
    MH_TRY(rebuild_store(folder));
  }
  return {};
}

Status with_lock(Folder& folder, const std::function<Status()>& what) {
  MH_TRY(folder.lock());
  const FolderUnlock unlock(folder);
  return what();
}

Status work(Job& job, Folder& folder, const std::string& path, Done* done) {
  if (job.options.restored) {
    MH_TRY(with_lock(folder, [&] { return folder.pass_over_lost_uids(); }));
  }
  if (!job.options.thorough && !job.options.remove_tags) {
    MH_TRY(work_in_parts(job, folder, path, done));
  }
  MH_TRY(give_uids(folder, job.options.thorough, done));
  if (job.options.by_number) {
    MH_TRY_SET(done->ordered, folder.order_by_number());
  }
  if (job.options.remove_tags) {
    MH_TRY(with_lock(folder, [&] { return folder.set_tagging(false); }));
    MH_TRY_SET(const uint64_t all, folder.count_tagged());
    Progress progress(job.tree.fs(), !job.options.quiet && !job.options.json, Tree::display(path));
    for (bool more = true; more && !stop_asked();) {
      MH_TRY_SET(const Folder::Adopted removed, folder.remove_tags(SIZE_MAX, kSlice));
      done->untagged += removed.done;
      done->refused += removed.refused;
      more = removed.more;
      progress.show(done->untagged, all);
    }
  } else {
    if (job.options.tag) MH_TRY(with_lock(folder, [&] { return folder.set_tagging(true); }));
    MH_TRY(write_tags(job, folder, path, done));
  }
  return rebuild_store(folder);
}

void tell(Job& job, const std::string& folder, const Done& done, uint64_t remaining) {
  const bool remove = job.options.remove_tags;
  Fields fields = {{"given", done.given},
                   {"waiting", done.waiting},
                   {"left", done.left},
                   {"refused", done.refused}};
  fields.emplace_back(remove ? "untagged" : "tagged", remove ? done.untagged : done.tagged);
  fields.emplace_back("remaining", remaining);
  if (job.options.by_number) fields.emplace_back("ordered", done.ordered);
  fields.emplace_back("dry_run", job.options.dry_run);
  const std::string would = job.options.dry_run ? "would be " : "";
  std::string words = folder + ": " + counted(done.given, "UID ", "UIDs ") + would + "given, ";
  words += remove ? counted(done.untagged, "line ", "lines ") + would + "removed"
                  : counted(done.tagged, "line ", "lines ") + would + "written";
  if (remaining != 0) words += ", " + std::to_string(remaining) + " not possible now";
  if (done.ordered) {
    words += job.options.dry_run ? ", new UIDs would be given in the order of the folder"
                                 : ", new UIDs in the order of the folder";
  }
  if (done.refused != 0) {
    words += ", " + std::to_string(done.refused) + " left alone: of another owner or group";
  }
  if (done.waiting != 0) words += ", " + std::to_string(done.waiting) + " being written by others";
  if (done.left != 0) words += ", " + std::to_string(done.left) + " left to the next IMAP session";
  job.printer.result("reindex", folder, fields, words);
}

Result<ExitCode> tell_what_would_be(Job& job, const std::string& path) {
  MH_TRY_SET(const FolderView view, job.tree.look_at(path));
  if (view.journal_error) return tl::unexpected(*view.journal_error);
  Done done;
  done.given = view.without_uid().count();
  NumberSet untagged = view.untagged();
  untagged.intersect(view.numbers());
  const bool tags = !view.facts.options.contains(kNoTags) || job.options.tag;
  if (job.options.remove_tags) {
    done.untagged = view.records.size() - view.untagged().count();
  } else if (tags) {
    done.tagged = untagged.count() + done.given;
  }
  tell(job, Tree::display(path), done, 0);
  return ExitCode::kClean;
}

}  // namespace

Result<ExitCode> reindex_folder(Job& job, const std::string& path) {
  if (job.options.dry_run) return tell_what_would_be(job, path);
  MH_TRY_SET(const bool no_folder, job.tree.is_noselect(path));
  if (no_folder) return ExitCode::kClean;
  MH_TRY_SET(const std::unique_ptr<Folder> folder, job.tree.open_folder(path));
  Done done;
  MH_TRY(work(job, *folder, path, &done));
  MH_TRY_SET(uint64_t remaining,
             job.options.remove_tags ? folder->count_tagged() : folder->count_untagged());
  remaining -= std::min(remaining, done.left);  // they are told of as that
  tell(job, Tree::display(path), done, remaining);
  return remaining != 0 || done.waiting != 0 ? ExitCode::kProblems : ExitCode::kClean;
}

Status reindex_quietly(Job& job, const std::string& path) {
  MH_TRY_SET(const std::unique_ptr<Folder> folder, job.tree.open_folder(path));
  Done done;
  MH_TRY(give_uids(*folder, false, &done));
  MH_TRY(write_tags(job, *folder, path, &done));
  return rebuild_store(*folder);
}

}  // namespace mh
