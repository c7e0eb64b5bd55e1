// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>

#include "libmh/store/store.h"

namespace mh {

Status check_records(std::span<const Record> records) {
  uint32_t last = 0;
  for (const Record& record : records) {
    if (record.uid <= last)
      return fail(ErrorKind::kInvalid, "records for a store are not in the order of their UIDs");
    last = record.uid;
  }
  if (last == UINT32_MAX) return fail(ErrorKind::kInvalid, "4294967295 is no UID of a record");
  return {};
}

namespace {

class MemoryStore final : public Store {
 public:
  Result<StoreHeader> header() override {
    if (!header_) return fail(ErrorKind::kNotFound, "no store yet");
    return *header_;
  }

  Result<std::vector<Record>> load() override {
    if (!header_) return fail(ErrorKind::kNotFound, "no store yet");
    return records_;
  }

  Result<std::optional<Record>> get(uint32_t uid) override {
    if (!header_) return fail(ErrorKind::kNotFound, "no store yet");
    const auto found =
        std::lower_bound(records_.begin(), records_.end(), uid,
                         [](const Record& record, uint32_t wanted) { return record.uid < wanted; });
    if (found == records_.end() || found->uid != uid) return std::nullopt;
    return *found;
  }

  Status replace(const StoreHeader& header, std::span<const Record> records) override {
    MH_TRY(check_records(records));
    records_.assign(records.begin(), records.end());
    header_ = header;
    header_->records = static_cast<uint32_t>(records.size());
    return {};
  }

  Status remove() override {
    header_.reset();
    records_.clear();
    return {};
  }

 private:
  std::optional<StoreHeader> header_;
  std::vector<Record> records_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace mh
