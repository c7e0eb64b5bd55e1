// SPDX-License-Identifier: LGPL-2.1-or-later
#include <exception>
#include <iostream>
#include <map>

#include "mhsync/command.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

using Command = Result<ExitCode> (*)(Job& job, const std::string& path);

Command command_of(const std::string& name) {
  if (name == "status") return status_folder;
  if (name == "pack") return pack_folder;
  if (name == "dedup") return dedup_folder;
  if (name == "import-uids") return import_folder;
  return name == "check" ? check_folder : reindex_folder;
}

ExitCode tell(Printer& printer, const std::string& folder, const Error& error) {
  const ExitCode code = exit_code_of(error);
  printer.error(folder, code, error.message());
  return code;
}

ExitCode run_folders(Job& job, const std::vector<std::string>& paths) {
  const Command command = command_of(job.options.command);
  ExitCode worst = ExitCode::kClean;
  if (job.options.across) {
    const auto done = dedup_across(job, paths);
    worst = done ? *done : tell(job.printer, "", done.error());
  }
  for (const std::string& path : paths) {
    if (stop_asked() || job.options.across) break;
    const Nanoseconds began = job.tree.fs().monotonic();
    const auto done = command(job, path);
    const auto took = (job.tree.fs().monotonic() - began) / kMillisecond;
    job.printer.detail(Tree::display(path) + ": took " + std::to_string(took) + " ms");
    worst = graver(worst, done ? *done : tell(job.printer, Tree::display(path), done.error()));
  }
  if (stop_asked()) {
    job.printer.error("", ExitCode::kBusy,
                      "stopped by a signal; what was done holds, the next run does the rest");
    worst = graver(worst, ExitCode::kBusy);
  }
  return worst;
}

ExitCode run(const Options& options) {
  Printer printer(options.json, options.quiet, options.verbose);
  auto home = become_user(options);
  if (!home) return tell(printer, "", home.error());
  auto tree = Tree::open(Fs::posix(), options, *home, printer);
  if (!tree) return tell(printer, "", tree.error());
  Job job{options, *tree, printer};
  ExitCode worst = ExitCode::kClean;
  std::vector<std::string> paths;
  if (options.all) {
    auto found = tree->all_folders();
    if (!found) return tell(printer, "", found.error());
    paths = std::move(*found);
    if (options.command == "check") {
      const auto checked = check_tree(job);
      worst = checked ? *checked : tell(printer, "", checked.error());
    }
  }
  for (const std::string& name : options.folders) {
    auto path = tree->folder_path(name);
    if (path) {
      paths.push_back(std::move(*path));
    } else {
      worst = graver(worst, tell(printer, name, path.error()));
    }
  }
  return graver(worst, run_folders(job, paths));
}

int run_guarded(int argc, char** argv) {
  try {
    const ParsedOptions parsed = parse_options(argc, argv);
    if (!parsed.options) return static_cast<int>(parsed.code);
    ignore_lease_signal();
    catch_signals();
    return static_cast<int>(run(*parsed.options));
  } catch (const std::exception& problem) {
    std::cerr << "mhsync: " << problem.what() << ": this is a bug of mhsync's\n";
    return static_cast<int>(ExitCode::kBug);
  }
}

}  // namespace
}  // namespace mh

int main(int argc, char** argv) { return mh::run_guarded(argc, argv); }
