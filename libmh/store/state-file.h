// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the files of a state directory have in common when they are written.
#pragma once

#include <sys/types.h>

#include "libmh/result.h"
#include "libmh/system/fs.h"

namespace mh {

// Makes the names in a directory durable. `dir` may be O_PATH.
Status flush_directory(Fs& fs, int dir);

// Opens a small file that is written in place; makes it, with these rights, when it is absent. Its
// content must tell by itself where it ends: nothing is cut off.
Result<Fd> open_in_place(Fs& fs, int dir, const char* name, mode_t mode, gid_t gid);

}  // namespace mh
