// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/exit-code.h"

#include <algorithm>
#include <array>

namespace mh {

ExitCode exit_code_of(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kBusy:
    case ErrorKind::kExists:
      return ExitCode::kBusy;
    case ErrorKind::kPermission:
    case ErrorKind::kReadOnly:
      return ExitCode::kPermission;
    case ErrorKind::kNotFound:
      return ExitCode::kUsage;
    case ErrorKind::kCorrupt:
      return ExitCode::kDamaged;
    case ErrorKind::kInvalid:
      return ExitCode::kConfiguration;
    case ErrorKind::kNoSpace:
    case ErrorKind::kIo:
    case ErrorKind::kUnsupported:
      return ExitCode::kIo;
  }
  return ExitCode::kBug;
}

ExitCode graver(ExitCode a, ExitCode b) {
  static constexpr std::array kByGravity = {
      ExitCode::kClean, ExitCode::kProblems,   ExitCode::kBusy,
      ExitCode::kUsage, ExitCode::kPermission, ExitCode::kConfiguration,
      ExitCode::kIo,    ExitCode::kDamaged,    ExitCode::kBug};
  return std::find(kByGravity.begin(), kByGravity.end(), a) >
                 std::find(kByGravity.begin(), kByGravity.end(), b)
             ? a
             : b;
}

}  // namespace mh
