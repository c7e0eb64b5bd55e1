// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What must not come twice: GUIDs, and names of temporary files.
#pragma once

#include <cstdint>

#include "libmh/store/record.h"

namespace mh {

uint64_t random_number();
Guid random_guid();

}  // namespace mh
