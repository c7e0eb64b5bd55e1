// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A header of any bytes, and the same as a date.
#include "libmh/format/delivery-date.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const size_t cut = input.byte();
  const std::string_view text = input.rest();
  if (const auto date = mh::parse_date(text)) {
    FUZZ_CHECK(*date > -62200000000 && *date < 253500000000);  // years 0 to 9999
  }
  (void)mh::find_delivery_date(text, true);
  const auto whole = mh::find_header_field(text, true, "Delivery-Date");
  const auto part = mh::find_header_field(text.substr(0, cut), false, "Delivery-Date");
  FUZZ_CHECK(!part || part == whole);
  FUZZ_CHECK(!whole || whole->find('\n') == std::string::npos);
  return 0;
}
