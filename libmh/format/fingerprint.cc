// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/fingerprint.h"

// Inlined, so that the whole state is a plain member and a short text costs no call.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace mh {

struct Fingerprint::State {
  XXH3_state_t xxh3;
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) { reset(); }
Fingerprint::Fingerprint(Fingerprint&&) noexcept = default;
Fingerprint& Fingerprint::operator=(Fingerprint&&) noexcept = default;
Fingerprint::~Fingerprint() = default;

// The two calls fail only for a null state.
void Fingerprint::reset() { (void)XXH3_64bits_reset(&state_->xxh3); }

void Fingerprint::add(std::string_view bytes) {
  if (!bytes.empty()) (void)XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

uint64_t Fingerprint::value() const { return XXH3_64bits_digest(&state_->xxh3); }

uint64_t fingerprint(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace mh
