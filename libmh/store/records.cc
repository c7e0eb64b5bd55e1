// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/records.h"

#include <algorithm>

namespace mh {

std::vector<Record> all_records(const Journal& journal, Store& store) {
  const JournalState& facts = journal.state();
  const auto header = store.header();
  if (header && header->generation == facts.header.generation) {
    const auto since = journal.changed_since(header->folded_to);
    auto folded = since ? store.load() : Result<std::vector<Record>>(std::vector<Record>());
    if (since && folded) {
      update_records(facts, *since, &*folded);
      return std::move(*folded);
    }
  }
  std::vector<Record> records;
  for (const auto& [uid, record] : facts.records) records.push_back(record);
  return records;
}

void update_records(const JournalState& facts, const NumberSet& changed,
                    std::vector<Record>* records) {
  std::erase_if(*records, [&](const Record& record) { return changed.contains(record.uid); });
  const auto middle = static_cast<std::ptrdiff_t>(records->size());
  changed.for_each([&](uint32_t uid) {
    const auto found = facts.records.find(uid);
    if (found != facts.records.end()) records->push_back(found->second);
  });
  std::inplace_merge(records->begin(), records->begin() + middle, records->end(),
                     [](const Record& a, const Record& b) { return a.uid < b.uid; });
}

}  // namespace mh
