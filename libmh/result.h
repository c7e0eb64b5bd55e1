// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every call of libmh returns.
//
// An ErrorKind says what the caller must do, not what went wrong: the message says that, in words
// for an admin, with the path and, where there is one, the cure. No call of libmh throws, save
// std::bad_alloc, so that a caller which is C (Dovecot) needs one guard only.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace mh {

enum class ErrorKind {
  kNotFound,    // the name is not there (any more): treat as removed
  kExists,      // the name is taken: choose another
  kBusy,        // a lock is held or the folder moves under us: nothing was changed, try again later
  kPermission,  // we may not: serve what can be served, tell the admin
  kReadOnly,    // the file system or the state cannot be written: announce nothing new
  kNoSpace,     // disk or quota full: nothing was changed, try again later
  kIo,          // the kernel failed us: the state on disk is as after a crash
  kCorrupt,     // our own file is damaged: rebuild it from what stands above it
  kInvalid,     // the input is not what the format allows
  kUnsupported,  // the kernel or file system cannot do this: take the other way
};

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string message, int sys_errno = 0)
      : kind_(kind), errno_(sys_errno), message_(std::move(message)) {}

  // "<call>(<object>) failed: <strerror>", the kind chosen by errno.
  static Error from_errno(std::string_view call, std::string_view object, int sys_errno);

  ErrorKind kind() const { return kind_; }
  int sys_errno() const { return errno_; }
  const std::string& message() const { return message_; }

 private:
  ErrorKind kind_;
  int errno_;
  std::string message_;
};

// The one mapping from errno to what the caller must do.
ErrorKind error_kind_of(int sys_errno);

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorKind kind, std::string message, int sys_errno = 0) {
  return tl::unexpected<Error>(Error(kind, std::move(message), sys_errno));
}
inline tl::unexpected<Error> fail_errno(std::string_view call, std::string_view object,
                                        int sys_errno) {
  return tl::unexpected<Error>(Error::from_errno(call, object, sys_errno));
}
template <typename T>
tl::unexpected<Error> pass_on(const Result<T>& failed) {
  return tl::unexpected<Error>(failed.error());
}

}  // namespace mh

// Return from the enclosing function when `expression` (a Result or Status) failed.
#define MH_TRY(expression)                                     \
  do {                                                         \
    auto&& mh_try_result_ = (expression);                      \
    if (!mh_try_result_) return ::mh::pass_on(mh_try_result_); \
  } while (0)

#define MH_TRY_JOIN2_(a, b) a##b
#define MH_TRY_JOIN_(a, b) MH_TRY_JOIN2_(a, b)
// Declare `variable` with the value of `expression`, or return its error.
#define MH_TRY_SET(variable, expression) \
  MH_TRY_SET_IMPL_(MH_TRY_JOIN_(mh_try_value_, __LINE__), variable, expression)
#define MH_TRY_SET_IMPL_(temporary, variable, expression) \
  auto temporary = (expression);                          \
  if (!temporary) return ::mh::pass_on(temporary);        \
  variable = std::move(*temporary)
