// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The command line. The only user of CLI11.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libmh/system/fs.h"
#include "mhsync/exit-code.h"

namespace mh {

struct Options {
  std::string command;
  std::vector<std::string> folders;  // as they were written
  bool all = false;

  std::string root;
  std::string user;
  bool dry_run = false;
  bool json = false;
  bool quiet = false;
  Nanoseconds lock_timeout = 20 * kSecond;

  bool verbose = false;

  bool fix = false;  // check

  // import-uids
  std::string from;
  std::string database;
  bool trust_numbers = false;

  bool thorough = false;     // reindex
  bool remove_tags = false;  // reindex
  bool tag = false;          // reindex
  bool restored = false;     // reindex
  bool by_number = false;    // reindex --order=folder

  std::string by = "exact";        // dedup
  std::string keep = "oldest";     // dedup
  std::string to = "+duplicates";  // dedup
  bool across = false;             // dedup
  bool rmm = false;                // dedup
  bool remove = false;             // dedup --delete
  bool share = false;              // dedup
};

// Either the options or, when --help or --version was answered or the line is wrong, the code to
// leave with.
struct ParsedOptions {
  std::optional<Options> options;
  ExitCode code = ExitCode::kClean;
};
ParsedOptions parse_options(int argc, char** argv);

}  // namespace mh
