// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/signals.h"

#include <csignal>
#include <initializer_list>

namespace mh {
namespace {

volatile std::sig_atomic_t asked = 0;

void ask(int) { asked = 1; }

}  // namespace

void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = ask;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

bool stop_asked() { return asked != 0; }

}  // namespace mh
