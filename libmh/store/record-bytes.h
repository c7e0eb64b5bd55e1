// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Records and the header of a store as bytes: fixed size, big-endian, the same on every machine.
//
// Keys sort as bytes in the order of UIDs, the header's behind them all. There is one version of
// the whole format, in the header; a store of another version is not converted but built anew.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "libmh/store/record.h"
#include "libmh/store/store.h"

namespace mh {

inline constexpr uint32_t kStoreVersion = 1;
inline constexpr size_t kKeySize = 4;
inline constexpr size_t kRecordSize = 92;  // without the UID, which is the key
inline constexpr size_t kStoreHeaderSize = 56;
inline constexpr std::string_view kHeaderKey = "\xff\xff\xff\xffheader";

std::array<uint8_t, kKeySize> key_bytes(uint32_t uid);
// Writes kRecordSize bytes.
void pack_record(const Record& record, uint8_t* to);
std::array<uint8_t, kStoreHeaderSize> pack_header(const StoreHeader& header);

// nullopt: these bytes were not made by the functions above.
std::optional<uint32_t> unpack_key(std::span<const uint8_t> bytes);
std::optional<Record> unpack_record(uint32_t uid, std::span<const uint8_t> bytes);
std::optional<StoreHeader> unpack_header(std::span<const uint8_t> bytes);

}  // namespace mh
