// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a Folder is stopped in, everywhere, by test-folder-crash.cc and test-folder-faults.cc.
//
// Each case is a folder of a few messages that a client knows, something that has happened to it,
// and the work of one command. The client's index is a file (FolderClient::keep_index_in): what it
// held when the work ended is what had been acknowledged. What must hold then is in
// tests/support/folder-checks.h.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/crash-case.h"
#include "tests/support/folder-checks.h"

namespace mh::test {

struct FolderCase {
  std::string name;
  CrashCase steps;
};

inline std::ostream& operator<<(std::ostream& out, const FolderCase& each) {
  return out << each.name;
}

// All cases, with the checks that hold after such a loss.
std::vector<FolderCase> folder_cases(Loss loss);

}  // namespace mh::test
