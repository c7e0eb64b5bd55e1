// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The border to C. Every function that Dovecot calls is noexcept and does its work inside guard():
// an exception must never cross a frame of Dovecot, which has no unwind tables to be trusted and
// would leave its data stack open. Errors of libmh become errors of Dovecot here and nowhere else.
#pragma once

#include <exception>

#include "libmh/result.h"
#include "plugin/dovecot.h"

namespace mh {

// Sets the error that the client is told, and logs what the admin must know. `what` is what was
// being done, as in "opening the folder". Returns -1.
int set_error(struct mailbox* box, const Error& error, const char* what);

// Runs `body`; an exception is logged, set as the mailbox's internal error, and `failed` returned.
template <typename Body, typename Value = int>
Value guard(struct mailbox* box, Body&& body, Value failed = -1) noexcept {
  try {
    return body();
  } catch (const std::exception& exception) {
    mailbox_set_critical(box, "mh: %s", exception.what());
  } catch (...) {
    mailbox_set_critical(box, "mh: unknown exception");
  }
  return failed;
}

// The same where there is no mailbox yet.
template <typename Body, typename Value = int>
Value guard_list(struct mailbox_list* list, Body&& body, Value failed = -1) noexcept {
  try {
    return body();
  } catch (const std::exception& exception) {
    mailbox_list_set_critical(list, "mh: %s", exception.what());
  } catch (...) {
    mailbox_list_set_critical(list, "mh: unknown exception");
  }
  return failed;
}

// T_BEGIN and T_END that survive a return or an exception.
class DataStackFrame {
 public:
  DataStackFrame() : frame_(t_push("mh")) {}
  ~DataStackFrame() { (void)t_pop(&frame_); }
  DataStackFrame(const DataStackFrame&) = delete;
  DataStackFrame& operator=(const DataStackFrame&) = delete;

 private:
  data_stack_frame_t frame_;
};

}  // namespace mh
