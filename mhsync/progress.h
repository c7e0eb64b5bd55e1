// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A line on a terminal that says how far a long step has come. Elsewhere nothing.
#pragma once

#include <cstdint>
#include <string>

#include "libmh/system/fs.h"

namespace mh {

class Progress {
 public:
  // `wanted`: false when told to be quiet. Standard error must be a terminal, too.
  Progress(Fs& fs, bool wanted, std::string what);
  ~Progress() { end(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(uint64_t done, uint64_t of);
  // Takes the line away.
  void end();

 private:
  Fs& fs_;
  bool shown_ = false;
  bool wanted_;
  std::string what_;
  Nanoseconds began_;
  Nanoseconds last_ = 0;
};

}  // namespace mh
