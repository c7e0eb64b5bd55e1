// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every Store promises: the same tests for each kind.
#include "libmh/store/store.h"

#include <gtest/gtest.h>

#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

Record record_of(uint32_t uid, uint32_t number = 7) {
  Record record;
  record.uid = uid;
  record.number = number;
  record.file = {uint64_t{uid} * 3, -1, 2, 3, 4};
  record.hash = uid;
  record.guid = {9, static_cast<uint8_t>(uid)};
  return record;
}

std::vector<Record> records_of(std::initializer_list<uint32_t> uids) {
  std::vector<Record> records;
  for (const uint32_t uid : uids) records.push_back(record_of(uid));
  return records;
}

StoreHeader header_of(uint64_t generation) {
  StoreHeader header;
  header.generation = generation;
  header.folded_to = 12345678901;
  header.uidvalidity = 1700000000;
  header.uidnext_limit = 4294967295;
  header.modseq_floor = uint64_t{1} << 62;
  header.mailbox_guid = {1, 2, 3};
  return header;
}

struct Bdb {
  TempDir dir;
  std::unique_ptr<Store> store =
      open_bdb_store(Fs::posix(), dir.fd(), dir.path(), 0600, static_cast<gid_t>(-1));
};
struct Memory {
  std::unique_ptr<Store> store = make_memory_store();
};

template <typename Kind>
class StoreTest : public testing::Test {
 protected:
  Kind kind_;
  Store& store_ = *kind_.store;
};
using Kinds = testing::Types<Bdb, Memory>;
TYPED_TEST_SUITE(StoreTest, Kinds);

TYPED_TEST(StoreTest, NoneIsNotFound) {
  Store& store = this->store_;
  EXPECT_EQ(ErrorKind::kNotFound, store.header().error().kind());
  EXPECT_EQ(ErrorKind::kNotFound, store.load().error().kind());
  EXPECT_EQ(ErrorKind::kNotFound, store.get(1).error().kind());
  EXPECT_TRUE(store.remove());
}

TYPED_TEST(StoreTest, GivesBackWhatItWasGiven) {
  Store& store = this->store_;
  const auto records = records_of({1, 2, 255, 256, 65536, 0x7fffffff, 0x80000000, 0xfffffffe});
  ASSERT_TRUE(store.replace(header_of(5), records));
  StoreHeader expected = header_of(5);
  expected.records = 8;
  EXPECT_EQ(expected, *store.header());
  EXPECT_EQ(records, *store.load());
  for (const Record& record : records) {
    EXPECT_EQ(record, **store.get(record.uid));
    EXPECT_EQ(record, **store.get(record.uid)) << "twice";
  }
  for (const uint32_t uid : {0u, 3u, 254u, 0x7ffffffeu, 0xffffffffu}) {
    const auto none = store.get(uid);
    ASSERT_TRUE(none);
    EXPECT_FALSE(none->has_value()) << uid;
  }
}

TYPED_TEST(StoreTest, MayBeEmpty) {
  Store& store = this->store_;
  ASSERT_TRUE(store.replace(header_of(5), {}));
  EXPECT_EQ(0U, store.header()->records);
  EXPECT_TRUE(store.load()->empty());
  EXPECT_FALSE(store.get(1)->has_value());
}

TYPED_TEST(StoreTest, ReplaceReplacesEverything) {
  Store& store = this->store_;
  ASSERT_TRUE(store.replace(header_of(5), records_of({1, 2, 3})));
  EXPECT_TRUE(store.get(1)->has_value());
  ASSERT_TRUE(store.replace(header_of(6), records_of({2, 9})));
  EXPECT_EQ(6U, store.header()->generation);
  EXPECT_EQ(records_of({2, 9}), *store.load());
  EXPECT_FALSE(store.get(1)->has_value());
  EXPECT_TRUE(store.get(9)->has_value());
}

TYPED_TEST(StoreTest, RemovedIsNotFoundAndCanBeMadeAgain) {
  Store& store = this->store_;
  ASSERT_TRUE(store.replace(header_of(5), records_of({1})));
  EXPECT_TRUE(store.get(1)->has_value());
  ASSERT_TRUE(store.remove());
  EXPECT_EQ(ErrorKind::kNotFound, store.get(1).error().kind());
  ASSERT_TRUE(store.replace(header_of(6), records_of({2})));
  EXPECT_EQ(records_of({2}), *store.load());
}

TYPED_TEST(StoreTest, RecordsOutOfOrderAreRefusedAndTheOldOnesStay) {
  Store& store = this->store_;
  ASSERT_TRUE(store.replace(header_of(5), records_of({1, 2})));
  for (const auto& bad :
       {records_of({2, 1}), records_of({1, 1}), records_of({0}), records_of({0xffffffff})}) {
    const Status refused = store.replace(header_of(6), bad);
    ASSERT_FALSE(refused);
    EXPECT_EQ(ErrorKind::kInvalid, refused.error().kind());
  }
  EXPECT_EQ(5U, store.header()->generation);
  EXPECT_EQ(records_of({1, 2}), *store.load());
}

TYPED_TEST(StoreTest, HoldsMany) {
  Store& store = this->store_;
  std::vector<Record> records;
  for (uint32_t uid = 1; uid <= 20000; ++uid) records.push_back(record_of(uid * 3, uid));
  ASSERT_TRUE(store.replace(header_of(1), records));
  EXPECT_EQ(records, *store.load());
  EXPECT_EQ(records[12344], **store.get(12345 * 3));
  EXPECT_FALSE(store.get(12345 * 3 + 1)->has_value());
}

}  // namespace
}  // namespace mh::test
