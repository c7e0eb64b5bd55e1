// SPDX-License-Identifier: LGPL-2.1-or-later
//
// CrashCase: one piece of work, stopped everywhere.
//
// A case says how the tree looks before, what is done to it, and what must hold afterwards however
// the work ended. `check` looks, makes the next ordinary use that is to repair, and looks again. It
// gets a Stop, which says what happened, for messages and for what may be asked: only after a
// finished work must what it acknowledged be there.
//
// In a process, by the calls of Fs. For whole programs, and what Berkeley DB does, there is
// gate.py.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>

#include "libmh/system/fs.h"
#include "tests/support/temp-dir.h"

namespace mh::test {

struct Stop {
  std::string what;       // "killed before call 3: pwrite 20"
  bool finished = false;  // the work had returned success
};

struct CrashCase {
  std::function<void(const TempDir& tree)> prepare;
  std::function<Status(Fs& fs, const TempDir& tree)> work;
  std::function<void(const TempDir& tree, const Stop& stop)> check;
};

// Each returns the number of stops tried, and lets the test fail when the undisturbed work does.

// The process dies before each call, and inside each pwrite after 1 byte, half, and all but one.
int kill_at_every_call(const CrashCase& what);

// Each call fails with each errno, once and from then on.
int fail_at_every_call(const CrashCase& what, std::initializer_list<int> errors);

// Power is lost before each call and after the last, with so many outcomes each (see
// PowerLossFs::leave); the tree that `check` gets is what was left.
int lose_power_at_every_call(const CrashCase& what, uint64_t outcomes, uint64_t seed);

}  // namespace mh::test
