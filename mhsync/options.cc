// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/options.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>

#include "mh-config.h"

namespace mh {
namespace {

constexpr double kLongestTimeout = 3600;

void add_folders(CLI::App* command, Options* options) {
  command->add_option("FOLDER", options->folders, "+inbox, +work/2024, or the path of a folder");
  command->add_flag("-a,--all", options->all, "Every folder of the tree");
}

void add_globals(CLI::App* app, Options* options, double* timeout) {
  app->add_option("--root", options->root, "The mail tree; else the Path of the MH profile");
  app->add_option("--user", options->user, "Work as this user; only root may ask for another");
  app->add_flag("-n,--dry-run", options->dry_run, "Tell what would be done, change nothing");
  app->add_flag("--json", options->json, "One JSON object a line, see mhsync(1)");
  CLI::Option* quiet =
      app->add_flag("-q,--quiet", options->quiet, "Only errors and, of check, what is wrong");
  app->add_flag("-v,--verbose", options->verbose, "Tell more: where state lies, how long it took")
      ->excludes(quiet);
  app->add_option("--lock-timeout", *timeout,
                  "Seconds to wait for a folder that another process is changing (20)")
      ->check(CLI::Range(0.0, kLongestTimeout));
}

CLI::Option* add_order(CLI::App* reindex, Options* options) {
  return reindex
      ->add_option_function<std::string>(
          "--order", [options](const std::string&) { options->by_number = true; },
          "\"folder\": new UIDs in the order of the message numbers; clients read all anew")
      ->check(CLI::IsMember({"folder"}));
}

void add_dedup(CLI::App* app, Options* options) {
  CLI::App* dedup =
      app->add_subcommand("dedup", "Keep one of messages that are there more than once");
  add_folders(dedup, options);
  dedup
      ->add_option("--by", options->by,
                   "What makes a copy: message-id, content (all but what was written on the way), "
                   "or exact (exact)")
      ->check(CLI::IsMember({"message-id", "content", "exact"}));
  dedup->add_flag("--across", options->across,
                  "Look for copies in all these folders together, not in each by itself");
  dedup->add_option("--keep", options->keep, "oldest, newest or first-folder (oldest)")
      ->check(CLI::IsMember({"oldest", "newest", "first-folder"}));
  CLI::Option* to =
      dedup->add_option("--to", options->to, "Where copies are moved to (+duplicates)");
  CLI::Option* rmm =
      dedup->add_flag("--rmm", options->rmm, "Remove copies as rmm does: each stays as \",N\"");
  CLI::Option* remove = dedup->add_flag("--delete", options->remove, "Remove copies for good");
  CLI::Option* share = dedup->add_flag(
      "--share", options->share,
      "Keep all, and let them share their bytes on disk, where the file system can");
  to->excludes(rmm)->excludes(remove)->excludes(share);
  rmm->excludes(remove)->excludes(share);
  remove->excludes(share);
}

void add_commands(CLI::App* app, Options* options) {
  CLI::App* status = app->add_subcommand("status", "What is there; never writes");
  add_folders(status, options);

  CLI::App* check = app->add_subcommand("check", "What is wrong, each with its cure");
  add_folders(check, options);
  check->add_flag("--fix", options->fix, "Cure what can be cured without any danger");

  CLI::App* reindex = app->add_subcommand(
      "reindex", "Give UIDs to what is new, write the X-MH-UID lines, rebuild the store");
  add_folders(reindex, options);
  reindex->add_flag("--thorough", options->thorough,
                    "Read every message and compare it with what is recorded");
  CLI::Option* remove = reindex->add_flag(
      "--remove-tags", options->remove_tags,
      "Take all X-MH-UID lines away and write no more; UIDs stay, in the journal alone");
  CLI::Option* tag =
      reindex->add_flag("--tag", options->tag, "Write X-MH-UID lines again after --remove-tags");
  CLI::Option* restored = reindex->add_flag(
      "--restored", options->restored,
      "The whole file system was put back to an older state: UIDs given since are passed over");
  remove->excludes(tag)->excludes(restored);
  add_order(reindex, options)->excludes(remove);

  CLI::App* pack = app->add_subcommand(
      "pack", "Renumber the messages 1, 2, 3 ... as \"folder -pack\" does; clients see nothing");
  add_folders(pack, options);

  add_dedup(app, options);

  CLI::App* import = app->add_subcommand(
      "import-uids", "Take over the UIDs of the IMAP server that these folders had before");
  add_folders(import, options);
  import->add_option("--from", options->from, "Which server: asimap or mailutils")
      ->required()
      ->check(CLI::IsMember({"asimap", "mailutils"}));
  import->add_option("--database", options->database,
                     "asimap's database; asimap.db in the mail tree");
  import->add_flag("--trust-numbers", options->trust_numbers,
                   "No message was renumbered since that server served it last");
}

// What CLI11 cannot know.
std::string fault_of(const Options& options) {
  if (options.share && options.by != "exact") return "only exact copies can share their bytes";
  if (options.folders.empty() && !options.all) return "name a folder, or say --all";
  if (!options.folders.empty() && options.all) return "a folder and --all exclude each other";
  return "";
}

}  // namespace

ParsedOptions parse_options(int argc, char** argv) {
  Options options;
  double timeout = 20;
  CLI::App app("Keeps a tree of MH folders tidy and ready for IMAP.", "mhsync");
  app.set_version_flag("--version", "mhsync (dovecot-mh) " MH_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  add_globals(&app, &options, &timeout);
  add_commands(&app, &options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    const bool answered = problem.get_exit_code() == 0;
    (void)app.exit(problem, std::cout, std::cerr);
    return {std::nullopt, answered ? ExitCode::kClean : ExitCode::kUsage};
  }
  options.command = app.get_subcommands().front()->get_name();
  options.lock_timeout = static_cast<Nanoseconds>(std::llround(timeout * kSecond));
  if (const std::string fault = fault_of(options); !fault.empty()) {
    std::cerr << "mhsync: " << fault << "\n";
    return {std::nullopt, ExitCode::kUsage};
  }
  return {std::move(options), ExitCode::kClean};
}

}  // namespace mh
