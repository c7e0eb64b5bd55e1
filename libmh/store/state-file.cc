// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/state-file.h"

#include <fcntl.h>

namespace mh {

Status flush_directory(Fs& fs, int dir) {
  MH_TRY_SET(const Fd self, fs.open(dir, ".", O_RDONLY | O_DIRECTORY));
  return fs.fsync(self.get());
}

}  // namespace mh
