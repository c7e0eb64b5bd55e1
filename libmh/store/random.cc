// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/random.h"

#include <sodium.h>

namespace mh {

uint64_t random_number() {
  uint64_t number = 0;
  randombytes_buf(&number, sizeof(number));
  return number;
}

Guid random_guid() {
  Guid guid{};
  randombytes_buf(guid.data(), guid.size());
  return guid;
}

}  // namespace mh
