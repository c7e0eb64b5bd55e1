// SPDX-License-Identifier: LGPL-2.1-or-later
//
// SIGINT and SIGTERM end the work between two steps, never in one.
#pragma once

namespace mh {

void catch_signals();
bool stop_asked();

}  // namespace mh
