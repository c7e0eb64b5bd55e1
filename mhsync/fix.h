// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync check --fix: the cures that endanger nothing, each under the locks that all others take.
//
// No message is removed or overwritten. Whatever of it was done when a process dies is done; the
// rest is found again by the next check.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "mhsync/findings.h"

namespace mh {

// What became of a cure, by kind and subject of the finding: words, or why it could not be done.
using Cures = std::map<std::pair<std::string, std::string>, Result<std::string>>;

// What --fix would do, in words; "" when that is nothing.
std::string remedy_text(const Finding& finding);

// An error is in the map; the other cures are done all the same.
Cures fix_folder(Job& job, const std::string& path, const Findings& findings);
Cures fix_tree(Job& job, const Findings& findings);

}  // namespace mh
