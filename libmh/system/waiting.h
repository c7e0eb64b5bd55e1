// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Waiting for somebody else: bounded, and at the end able to say for whom.
//
// All locks are polled, never waited for in the kernel: a blocking lock call cannot be bounded
// without signals, and nmh itself polls, so a queue would not be fair in any case.
#pragma once

#include <sys/types.h>

#include <string>

#include "libmh/system/fs.h"

namespace mh {

// The pauses between attempts: 1 ms at first, twice as long each time up to 50 ms.
class Backoff {
 public:
  Backoff(Fs& fs, Nanoseconds timeout) : fs_(fs), start_(fs.monotonic()), timeout_(timeout) {}

  // Sleeps before the next attempt; false when the time is over, without sleeping. The last pause
  // ends at the deadline, so that one attempt is made there.
  bool wait();
  Nanoseconds waited() const { return fs_.monotonic() - start_; }

 private:
  Fs& fs_;
  Nanoseconds start_;
  Nanoseconds timeout_;
  Nanoseconds pause_ = kMillisecond;
};

// "pid 4711 (imap)"; without the command when the process is gone or not ours to see. Never more
// than printable ASCII: a process chooses its command name itself.
std::string name_process(Fs& fs, pid_t pid);

// "<path of the directory>/<name>", for messages.
std::string path_for_message(Fs& fs, int dir, std::string_view name);

// kBusy: "<path> is locked by <holder>, waited 1.5 s".
tl::unexpected<Error> fail_busy(const std::string& path, const std::string& holder,
                                Nanoseconds waited);

}  // namespace mh
