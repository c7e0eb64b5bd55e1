// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/state-file.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace mh {

Status flush_directory(Fs& fs, int dir) {
  MH_TRY_SET(const Fd self, fs.open(dir, ".", O_RDONLY | O_DIRECTORY));
  return fs.fsync(self.get());
}

Result<Fd> open_in_place(Fs& fs, int dir, const char* name, mode_t mode, gid_t gid) {
  // O_NONBLOCK: a FIFO of that name must not stop us.
  Result<Fd> file = fs.open(dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
  if (file || file.error().kind() != ErrorKind::kNotFound) return file;
  file = fs.open(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (file) MH_TRY(set_rights(fs, file->get(), mode, gid));
  return file;
}

}  // namespace mh
