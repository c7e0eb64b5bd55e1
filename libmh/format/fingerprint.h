// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Fingerprint: XXH3-64, by which we tell that bytes are the same as before.
//
// Fast, not cryptographic: whoever writes the bytes can make two texts of one fingerprint. So it
// may show that nothing changed by accident, and choose candidates; where equality decides that
// something is deleted, the bytes themselves are compared. The value is stored (tag lines,
// journal): it is that of the XXH3 specification with seed 0 on every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace mh {

// Of bytes that come in pieces. The value does not depend on where they were cut.
class Fingerprint {
 public:
  Fingerprint();
  Fingerprint(Fingerprint&&) noexcept;
  Fingerprint& operator=(Fingerprint&&) noexcept;
  ~Fingerprint();

  void add(std::string_view bytes);
  uint64_t value() const;  // of all bytes so far
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

uint64_t fingerprint(std::string_view bytes);

}  // namespace mh
