// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/progress.h"

#include <unistd.h>

#include <iostream>

namespace mh {
namespace {

constexpr Nanoseconds kPause = kSecond / 5;

std::string time_text(uint64_t seconds) {
  if (seconds < 100) return std::to_string(seconds) + " s";
  return std::to_string((seconds + 59) / 60) + " min";
}

}  // namespace

Progress::Progress(Fs& fs, bool wanted, std::string what)
    : fs_(fs),
      wanted_(wanted && isatty(STDERR_FILENO) != 0),
      what_(std::move(what)),
      began_(fs.monotonic()) {}

void Progress::show(uint64_t done, uint64_t of) {
  if (!wanted_) return;
  const Nanoseconds now = fs_.monotonic();
  if (now - began_ < kSecond || now - last_ < kPause) return;
  last_ = now;
  const double rate = static_cast<double>(done) * kSecond / static_cast<double>(now - began_);
  std::string line = what_ + " " + std::to_string(done) + "/" + std::to_string(of);
  if (rate >= 1) {
    const auto left = static_cast<uint64_t>(static_cast<double>(of - std::min(done, of)) / rate);
    line += ", " + std::to_string(static_cast<uint64_t>(rate)) + "/s, " + time_text(left) + " left";
  }
  std::cerr << "\r" << line << "\x1b[K" << std::flush;
  shown_ = true;
}

void Progress::end() {
  if (shown_) std::cerr << "\r\x1b[K" << std::flush;
  shown_ = false;
}

}  // namespace mh
