// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The one table of exit codes; those above 1 are the ones of sysexits.h. Of several folders the
// gravest counts.
#pragma once

#include "libmh/result.h"

namespace mh {

enum class ExitCode : int {
  kClean = 0,
  kProblems = 1,  // check found something; or something was left undone, and told of
  kUsage = 64,    // the command line is wrong, or names a folder that is not there
  kDamaged = 65,  // state or mail is damaged
  kBug = 70,
  kIo = 74,    // disk error, disk full
  kBusy = 75,  // somebody else has a lock, or a signal came: try again
  kPermission = 77,
  kConfiguration = 78,  // profile, --root
};

ExitCode exit_code_of(const Error& error);
ExitCode graver(ExitCode a, ExitCode b);

}  // namespace mh
