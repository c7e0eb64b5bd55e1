// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A subcommand: done for one folder after the other. An error is that folder's; the others go on.
#pragma once

#include <string>
#include <vector>

#include "libmh/result.h"
#include "mhsync/exit-code.h"
#include "mhsync/options.h"
#include "mhsync/printer.h"
#include "mhsync/tree.h"

namespace mh {

struct Job {
  const Options& options;
  Tree& tree;
  Printer& printer;
};

Result<ExitCode> status_folder(Job& job, const std::string& path);
Result<ExitCode> check_folder(Job& job, const std::string& path);
// What concerns the tree and no single folder of it.
Result<ExitCode> check_tree(Job& job);
Result<ExitCode> reindex_folder(Job& job, const std::string& path);
Result<ExitCode> pack_folder(Job& job, const std::string& path);
Result<ExitCode> dedup_folder(Job& job, const std::string& path);
// Of messages in several of these folders, too, one is kept.
Result<ExitCode> dedup_across(Job& job, const std::vector<std::string>& paths);
Result<ExitCode> import_folder(Job& job, const std::string& path);
// reindex without options, and without a word. What is not possible now is no error.
Status reindex_quietly(Job& job, const std::string& path);

}  // namespace mh
