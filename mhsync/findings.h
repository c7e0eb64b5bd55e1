// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is wrong with a folder, or with what concerns the whole tree. Takes no lock, writes nothing.
//
// What the next session or the next reindex does by itself is not wrong, so a tree at work is
// clean.
#pragma once

#include <string>
#include <vector>

#include "libmh/store/record.h"
#include "mhsync/command.h"

namespace mh {

// How --fix cures it; see mhsync/fix.cc.
enum class Remedy { kNone, kSequences, kNumber, kDeadLock, kReindex, kContext, kOrphan, kLeftover };

struct Finding {
  std::string kind;   // one word for programs
  std::string about;  // what it concerns: a name or a number; "" for the whole
  std::string message;
  std::string cure;  // in words, for the user
  Remedy remedy = Remedy::kNone;
  std::string target = {};  // kContext: the path that the folder has now
  Guid guid{};              // kOrphan: its state

  bool is_about_the_same_as(const Finding& other) const {
    return kind == other.kind && about == other.about;
  }
};
using Findings = std::vector<Finding>;

Result<Findings> find_in_folder(Job& job, const std::string& path);
Result<Findings> find_in_tree(Job& job);

}  // namespace mh
