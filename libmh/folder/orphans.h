// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is left of folders that are gone, and where those are that have another name now.
//
// State of a folder that nobody sees any more is not removed lightly: the folder may lie on a disk
// that is not mounted, behind a link, in a hidden directory, or come back from a backup. It is
// nobody's for sure when all of the tree could be read and its directory is nowhere in it, when the
// place where it was seen last lies in this tree and on its file system, and when nothing was
// written to the state for as long as tombstones are kept.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libmh/folder/state-root.h"
#include "libmh/result.h"

namespace mh {

// All directories below a mail root, hidden ones too, links not followed.
struct Directories {
  std::map<std::pair<uint64_t, Nanoseconds>, std::string> path_of;  // by inode and birth time
  bool whole = true;                                                // none could not be read
};
Result<Directories> find_directories(Fs& fs, const std::string& mail_root);

struct Orphan {
  Guid guid{};
  std::string path;     // of the folder, as last seen
  std::string why_not;  // why it may be somebody's after all; "": it is nobody's
};
std::vector<Orphan> find_orphans(Fs& fs, const StateRoot& states, const Directories& directories);

// Removes the state if it is still nobody's, under the list lock and its folder lock. kBusy:
// somebody uses it. kExists: it is not nobody's. After a crash the state is there or what remains
// is no state.
Status remove_orphan(Fs& fs, StateRoot& states, const std::string& mail_root, const Guid& guid,
                     Nanoseconds lock_timeout);

// Where the folder is now that was seen under this path: itself, or below a folder that was
// renamed. Nothing when that is not known, or not for sure.
std::optional<std::string> path_now(const StateRoot& states, const Directories& directories,
                                    const std::string& path);

}  // namespace mh
