// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the files of a state directory have in common when they are written.
#pragma once

#include "libmh/result.h"
#include "libmh/system/fs.h"

namespace mh {

// Makes the names in a directory durable. `dir` may be O_PATH.
Status flush_directory(Fs& fs, int dir);

}  // namespace mh
