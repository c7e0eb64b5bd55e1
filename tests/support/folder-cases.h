// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a Folder is stopped in, everywhere, by test-folder-crash.cc and test-folder-faults.cc.
//
// Each case is a folder of a few messages that a client knows, something that has happened to it,
// and the work of one command. The client's index is a file (FolderClient::keep_index_in): what it
// held when the work ended is what had been acknowledged. After every stop the next session, and
// one more later when nothing is fresh any more, must find and leave the folder as design says:
//
//  - every message once, with its bytes; of what others have removed nothing came back
//  - each UID that was told shows the same bytes or is expunged, none is told twice; GUID and dates
//    are as before
//  - every flag: those that others have set, and those of the index with what was pending in it
//  - a sequences file that nmh can read, before any repair too
//  - nothing of ours in the folder, nothing left over in the state directory
//  - the repair tells no second session anything, neither the client nor the admin
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/crash-case.h"

namespace mh::test {

enum class Loss {
  kProcess,  // killed or failed: what was written is there
  kPower,    // what was not flushed may be gone, and so may be the last flags; no stamp is kept
  // Likewise with mail_fsync=never: only what was there before is sure, every message once and whole.
  kPowerUnflushed,
};

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
