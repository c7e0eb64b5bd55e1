// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Kills a forked copy of the test at its n-th system call that changes files, whoever makes it:
// also those of a library that knows no Fs. The kernel tells each call (ptrace), nothing is
// preloaded.
#pragma once

#include <functional>

namespace mh::test {

enum class Kill {
  kBefore,  // the n-th call
  kInside,  // the n-th call, when it is a write: half of it is done
};

enum class Ended {
  kKilled,
  kByItself,  // it made fewer calls than that
  kFailed,    // it ended with another exit code than 0, or by a signal of its own
  kCannot,    // this machine does not let us trace (container, other processor): skip the test
};

// Runs `body`, whose result is the exit code.
Ended run_and_kill(int n, Kill kill, const std::function<int()>& body);

}  // namespace mh::test
