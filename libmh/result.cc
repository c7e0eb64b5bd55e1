// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/result.h"

#include <cerrno>

namespace mh {

ErrorKind error_kind_of(int sys_errno) {
  switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
      return ErrorKind::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return ErrorKind::kExists;
    case EAGAIN:
    case EBUSY:
    case EDEADLK:
    case ENOLCK:
    case ETXTBSY:
      return ErrorKind::kBusy;
    case EACCES:
    case EPERM:
    case ELOOP:
      return ErrorKind::kPermission;
    case EROFS:
      return ErrorKind::kReadOnly;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorKind::kNoSpace;
    case EINVAL:
    case EISDIR:
    case ENXIO:
    case ENAMETOOLONG:
      return ErrorKind::kInvalid;
    case ENOSYS:
    case EOPNOTSUPP:
    case EXDEV:
    case ENOTTY:
      return ErrorKind::kUnsupported;
    default:
      return ErrorKind::kIo;
  }
}

Error Error::from_errno(std::string_view call, std::string_view object, int sys_errno) {
  std::string text(call);
  text.append("(").append(object).append(") failed: ").append(std::strerror(sys_errno));
  return Error(error_kind_of(sys_errno), std::move(text), sys_errno);
}

}  // namespace mh
