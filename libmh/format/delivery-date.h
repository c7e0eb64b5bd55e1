// SPDX-License-Identifier: LGPL-2.1-or-later
//
// When a message arrived, as its Delivery-Date: field says.
//
// nmh's slocal and Exim write that field, in the form of RFC 5322. It is taken as the internal date
// of a message that comes to us as a file. A sender can write it as well, and gains nothing but
// a wrong date in a listing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mh {

// The value of the first field of that name, in any case: continuation lines joined by a blank,
// trimmed. `header` begins at a line; the search ends at the first line that belongs to no field.
// When `is_whole` is false, bytes may follow, and a field that they could continue is not told:
// half a date is a wrong date.
std::optional<std::string> find_header_field(std::string_view header, bool is_whole,
                                             std::string_view name);

// Seconds since the epoch of an RFC 5322 date-time (3.3, with the obsolete forms of 4.3): comments
// anywhere, weekday optional and not compared, years of two or three digits, named zones. Nothing
// unless every part is there and in range and nothing follows. Independent of locale and TZ.
std::optional<int64_t> parse_date(std::string_view text);

// A valid Delivery-Date: that fits the tag line, which keeps dates in 32 bits.
std::optional<uint32_t> find_delivery_date(std::string_view header, bool is_whole);

}  // namespace mh
