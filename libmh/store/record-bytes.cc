// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/record-bytes.h"

#include <algorithm>
#include <concepts>
#include <type_traits>

namespace mh {
namespace {

class Packer {
 public:
  explicit Packer(uint8_t* to) : to_(to) {}

  template <std::integral T>
  Packer& operator()(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = sizeof(T); i-- > 0;) *to_++ = static_cast<uint8_t>(bits >> (8 * i));
    return *this;
  }
  Packer& operator()(const Guid& guid) {
    to_ = std::copy(guid.begin(), guid.end(), to_);
    return *this;
  }

 private:
  uint8_t* to_;
};

// The caller has compared the size.
class Unpacker {
 public:
  explicit Unpacker(const uint8_t* from) : from_(from) {}

  template <std::integral T>
  Unpacker& operator()(T& value) {
    std::make_unsigned_t<T> bits = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      bits = static_cast<std::make_unsigned_t<T>>(bits << 8) | *from_++;
    value = static_cast<T>(bits);
    return *this;
  }
  Unpacker& operator()(Guid& guid) {
    std::copy_n(from_, guid.size(), guid.begin());
    from_ += guid.size();
    return *this;
  }

 private:
  const uint8_t* from_;
};

// The one list of fields, for both directions.
template <typename Visitor, typename AnyRecord>
void visit_record(Visitor&& field, AnyRecord& record) {
  field(record.number)(record.file.inode)(record.file.birth)(record.file.size);
  field(record.file.mtime)(record.file.ctime)(record.prefix)(record.flags);
  field(record.first_hash)(record.hash)(record.internal_date)(record.saved)(record.guid);
}

template <typename Visitor, typename AnyHeader>
void visit_header(Visitor&& field, AnyHeader& header) {
  field(header.generation)(header.folded_to)(header.uidvalidity)(header.uidnext_limit);
  field(header.modseq_floor)(header.mailbox_guid)(header.records);
}

}  // namespace

std::array<uint8_t, kKeySize> key_bytes(uint32_t uid) {
  std::array<uint8_t, kKeySize> bytes;
  Packer{bytes.data()}(uid);
  return bytes;
}

void pack_record(const Record& record, uint8_t* to) { visit_record(Packer(to), record); }

std::array<uint8_t, kStoreHeaderSize> pack_header(const StoreHeader& header) {
  std::array<uint8_t, kStoreHeaderSize> bytes{};
  Packer pack(bytes.data());
  pack(kStoreVersion);
  visit_header(pack, header);
  return bytes;
}

std::optional<uint32_t> unpack_key(std::span<const uint8_t> bytes) {
  if (bytes.size() != kKeySize) return std::nullopt;
  uint32_t uid = 0;
  Unpacker{bytes.data()}(uid);
  return uid;
}

std::optional<Record> unpack_record(uint32_t uid, std::span<const uint8_t> bytes) {
  if (bytes.size() != kRecordSize) return std::nullopt;
  Record record;
  record.uid = uid;
  visit_record(Unpacker(bytes.data()), record);
  return record;
}

std::optional<StoreHeader> unpack_header(std::span<const uint8_t> bytes) {
  if (bytes.size() != kStoreHeaderSize) return std::nullopt;
  Unpacker unpack(bytes.data());
  uint32_t version = 0;
  unpack(version);
  if (version != kStoreVersion) return std::nullopt;
  StoreHeader header;
  visit_header(unpack, header);
  return header;
}

}  // namespace mh
