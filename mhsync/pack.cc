// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync pack: the messages get the numbers 1, 2, 3 ... in their order.
//
// Stopped anywhere, it has packed a part, which holds; the next run does the rest.
#include "libmh/folder/inspect.h"
#include "libmh/folder/renumber.h"
#include "mhsync/command.h"
#include "mhsync/progress.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

struct Done {
  uint64_t moved = 0;
  uint64_t to_move = 0;
  uint64_t stay = 0;
};

ExitCode tell(Job& job, const std::string& folder, const Done& done) {
  const bool dry_run = job.options.dry_run;
  job.printer.result(
      "pack", folder,
      {{"moved", done.moved},
       {"remaining", done.to_move},
       {"left", done.stay},
       {"dry_run", dry_run}},
      folder + ": " + counted(done.moved, "message ", "messages ") +
          (dry_run ? "would be renumbered" : "renumbered") +
          (done.to_move != 0 ? ", " + std::to_string(done.to_move) + " still to be" : "") +
          (done.stay != 0 ? ", " + std::to_string(done.stay) +
                                " left where they are: being written, or for the next IMAP session"
                          : ""));
  return done.to_move != 0 || done.stay != 0 ? ExitCode::kProblems : ExitCode::kClean;
}

// All that will have a UID by then.
Result<ExitCode> tell_what_would_be(Job& job, const std::string& path) {
  MH_TRY_SET(const FolderView view, job.tree.look_at(path));
  if (view.journal_error) return tl::unexpected(*view.journal_error);
  std::vector<NumberedFile> files;
  for (const Entry& entry : view.listing.entries) files.push_back({entry.number, 1});
  Done done;
  done.moved = plan_pack(files, in_the_way(view.listing)).size();
  return tell(job, Tree::display(path), done);
}

// As far as it is worth it.
Status fold(Folder& folder) {
  MH_TRY(folder.lock());
  const FolderUnlock unlock(folder);
  return folder.maintain();
}

}  // namespace

Result<ExitCode> pack_folder(Job& job, const std::string& path) {
  if (job.options.dry_run) return tell_what_would_be(job, path);
  MH_TRY_SET(const bool no_folder, job.tree.is_noselect(path));
  if (no_folder) return ExitCode::kClean;
  MH_TRY_SET(const std::unique_ptr<Folder> folder, job.tree.open_folder(path));
  Done done;
  {
    Progress progress(job.tree.fs(), !job.options.quiet && !job.options.json, Tree::display(path));
    for (bool more = true; more && !stop_asked();) {
      MH_TRY_SET(const Folder::Packed packed, folder->pack_some());
      done.moved += packed.moved;
      done.to_move = packed.to_move;
      done.stay = packed.stay;
      more = packed.more;
      progress.show(done.moved, done.moved + done.to_move);
    }
  }
  if (done.moved != 0) MH_TRY(fold(*folder));
  return tell(job, Tree::display(path), done);
}

}  // namespace mh
