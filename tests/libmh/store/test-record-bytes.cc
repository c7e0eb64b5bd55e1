// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/record-bytes.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace mh {
namespace {

// Each byte of each field is another one, so that a field that is forgotten or swapped shows.
Record all_different() {
  Record record;
  record.uid = 0x01020304;
  record.number = 0x11121314;
  record.file.inode = 0x2122232425262728;
  record.file.birth = -0x3132333435363738;
  record.file.size = 0xf142434445464748;
  record.file.mtime = 0x5152535455565758;
  record.file.ctime = std::numeric_limits<int64_t>::min();
  record.prefix = 0x61626364;
  record.flags = 0xf1727374;
  record.first_hash = 0xf182838485868788;
  record.hash = 0x9192939495969798;
  record.internal_date = 0xfffefdfc;
  record.saved = 0xa1a2a3a4;
  for (uint8_t i = 0; i < 16; ++i) record.guid[i] = static_cast<uint8_t>(0xb0 + i);
  return record;
}

TEST(RecordBytes, ARecordComesBack) {
  const Record record = all_different();
  std::vector<uint8_t> bytes(kRecordSize + 1, 0xee);
  pack_record(record, bytes.data());
  EXPECT_EQ(0xee, bytes.back()) << "not one byte more";
  bytes.pop_back();
  EXPECT_EQ(record, unpack_record(record.uid, bytes));
  EXPECT_EQ(0x11, bytes[0]) << "big-endian";
  EXPECT_EQ(0xbf, bytes.back()) << "and not one less";
}

TEST(RecordBytes, TheHeaderComesBack) {
  StoreHeader header;
  header.generation = 0x0102030405060708;
  header.folded_to = 0xf112131415161718;
  header.uidvalidity = 0x21222324;
  header.uidnext_limit = 0x31323334;
  header.modseq_floor = 0x4142434445464748;
  header.mailbox_guid = {1, 2, 3};
  header.records = 0x51525354;
  EXPECT_EQ(header, unpack_header(pack_header(header)));
}

TEST(RecordBytes, OtherSizesAndVersionsAreRefused) {
  const std::vector<uint8_t> bytes(200);
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::span<const uint8_t> some(bytes.data(), size);
    EXPECT_EQ(size == kRecordSize, unpack_record(1, some).has_value());
    EXPECT_EQ(size == kKeySize, unpack_key(some).has_value());
    EXPECT_FALSE(unpack_header(some).has_value());
  }
  auto header = pack_header({});
  EXPECT_TRUE(unpack_header(header));
  ++header[3];
  EXPECT_FALSE(unpack_header(header));
}

TEST(RecordBytes, KeysSortAsUidsAndTheHeaderIsLast) {
  const auto text = [](uint32_t uid) {
    const auto key = key_bytes(uid);
    return std::string(key.begin(), key.end());
  };
  for (const uint32_t uid : {1u, 255u, 256u, 65535u, 0x7fffffffu, 0x80000000u, 0xfffffffdu}) {
    EXPECT_LT(text(uid), text(uid + 1));
    EXPECT_LT(text(uid + 1), std::string(kHeaderKey));
    EXPECT_EQ(uid, unpack_key(key_bytes(uid)));
  }
}

}  // namespace
}  // namespace mh
