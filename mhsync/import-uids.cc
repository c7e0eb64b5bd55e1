// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync import-uids: UIDs of the IMAP server that a user had before, so that his clients need not
// fetch everything again. What may be taken over is told in libmh/folder/import.h.
#include <fcntl.h>

#include "libmh/folder/import.h"
#include "libmh/folder/inspect.h"
#include "mhsync/asimap-database.h"
#include "mhsync/command.h"

namespace mh {
namespace {

constexpr size_t kMostProperties = 1 << 20;

Result<std::optional<ForeignUids>> read_asimap(Job& job, const std::string& path, int dir,
                                               const Listing& listing) {
  const bool named = !job.options.database.empty();
  const std::string file = named ? job.options.database : job.tree.mail_root() + "/asimap.db";
  std::optional<AsimapFolder> row;
  auto database = AsimapDatabase::open(job.tree.fs(), file);
  if (database) {
    MH_TRY_SET(row, database->folder(path));
    if (!row) return std::optional<ForeignUids>();
  } else if (named || database.error().kind() != ErrorKind::kNotFound) {
    return pass_on(database);
  }
  return asimap_uids(row, read_asimap_fields(job.tree.fs(), dir, listing), listing,
                     job.options.trust_numbers);
}

Result<std::optional<ForeignUids>> read_mailutils(Job& job, int dir, const Listing& listing) {
  const auto text = read_file(job.tree.fs(), dir, kMailutilsFile, kMostProperties);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return std::optional<ForeignUids>();
  if (!text) return pass_on(text);
  return mailutils_uids(*text, listing);
}

ExitCode tell(Job& job, const std::string& folder, const ForeignUids& foreign,
              const TakenOver& outcome) {
  const bool dry_run = job.options.dry_run;
  if (!outcome.refused.empty()) {
    job.printer.problem("import-uids", folder,
                        {{"taken", uint64_t{0}}, {"refused", outcome.refused}}, folder,
                        "nothing was taken over: " + outcome.refused);
    return ExitCode::kProblems;
  }
  const std::string would = dry_run ? "would be " : "";
  std::string words = folder + ": ";
  if (outcome.before) {
    words += "taken over before; nothing was done";
  } else {
    words += counted(outcome.taken, "UID ", "UIDs ") + would + "taken over, " +
             counted(outcome.given, "new one", "new ones") + "; UIDVALIDITY " +
             std::to_string(foreign.uidvalidity);
  }
  job.printer.result("import-uids", folder,
                     {{"taken", outcome.taken},
                      {"given", outcome.given},
                      {"before", outcome.before},
                      {"uidvalidity", uint64_t{foreign.uidvalidity}},
                      {"dry_run", dry_run}},
                     words);
  return ExitCode::kClean;
}

}  // namespace

Result<ExitCode> import_folder(Job& job, const std::string& path) {
  Fs& fs = job.tree.fs();
  const std::string folder = Tree::display(path);
  const std::string where = job.tree.mail_root() + (path.empty() ? "" : "/" + path);
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, where.c_str(), O_RDONLY | O_DIRECTORY));
  MH_TRY_SET(const Listing listing, scan_folder(fs, dir.get()));
  const bool mailutils = job.options.from == "mailutils";
  MH_TRY_SET(const auto foreign, mailutils ? read_mailutils(job, dir.get(), listing)
                                           : read_asimap(job, path, dir.get(), listing));
  if (!foreign) {
    job.printer.result("import-uids", folder,
                       {{"taken", uint64_t{0}}, {"dry_run", job.options.dry_run}},
                       folder + ": " + job.options.from + " has left nothing to take over");
    return ExitCode::kClean;
  }
  if (mailutils && !job.options.trust_numbers) {
    TakenOver refused;
    refused.refused =
        "mailutils takes a message's number for its UID; if no message was renumbered since it "
        "served this folder last, say --trust-numbers";
    return tell(job, folder, *foreign, refused);
  }
  TakenOver outcome;
  if (job.options.dry_run) {
    outcome.taken = foreign->uids.size();
    outcome.given = listing.entries.size() - outcome.taken;
    return tell(job, folder, *foreign, outcome);
  }
  MH_TRY_SET(const std::unique_ptr<Folder> opened, job.tree.open_folder(path));
  MH_TRY_SET(outcome, opened->take_over_uids(*foreign));
  return tell(job, folder, *foreign, outcome);
}

}  // namespace mh
