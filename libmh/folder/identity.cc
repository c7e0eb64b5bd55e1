// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flat vectors and indices: a folder of 100,000 messages in which nothing changed is one walk down
// two sorted lists.
#include "libmh/folder/identity.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace mh {
namespace {

constexpr uint32_t kNone = Pairs::kNone;

enum class Likeness { kDifferent, kPossible, kLikely, kProven };

Likeness likeness(const FileIdentity& a, const FileIdentity& b) {
  if (!may_be_same_file(a, b)) return Likeness::kDifferent;
  if (!weak_identity(a, b)) return Likeness::kProven;
  return a.size == b.size && a.mtime == b.mtime ? Likeness::kLikely : Likeness::kPossible;
}

class Pairing {
 public:
  Pairing(std::span<const Record> records, std::span<const Entry> entries)
      : records_(records), entries_(entries) {
    pairs_.entry_of.assign(records.size(), kNone);
    pairs_.record_of.assign(entries.size(), kNone);
  }
  void by_number();
  void by_inode();
  Pairs take() { return std::move(pairs_); }

 private:
  void one_inode(std::span<const uint32_t> records, std::span<const uint32_t> entries);
  void own_numbers(std::span<const uint32_t> records, std::span<const uint32_t> entries,
                   Likeness wanted);
  void link(uint32_t r, uint32_t e) {
    pairs_.entry_of[r] = e;
    pairs_.record_of[e] = r;
  }

  std::span<const Record> records_;
  std::span<const Entry> entries_;
  Pairs pairs_;
};

void Pairing::by_number() {
  uint32_t next = 0;
  for (uint32_t r = 0; r < records_.size(); ++r) {
    uint32_t e = next;
    if (e >= entries_.size() || entries_[e].number != records_[r].number)
      e = entry_with(entries_, records_[r].number);
    if (e == kNone) continue;
    next = e + 1;
    const FileIdentity& file = entries_[e].file;
    const bool found = weak_identity(records_[r].file, file) ? records_[r].file.same_content(file)
                                                             : records_[r].file.same_file(file);
    if (found && pairs_.record_of[e] == kNone) link(r, e);
  }
}

// What was renamed. Several names of one inode are paired in number order: second names are found
// here too, when nothing is left to pair them with.
void Pairing::by_inode() {
  std::vector<uint32_t> records, entries;
  for (uint32_t r = 0; r < records_.size(); ++r) {
    if (pairs_.entry_of[r] == kNone) records.push_back(r);
  }
  for (uint32_t e = 0; e < entries_.size(); ++e) {
    if (pairs_.record_of[e] == kNone) entries.push_back(e);
  }
  std::sort(records.begin(), records.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(records_[a].file.inode, records_[a].number, a) <
           std::tie(records_[b].file.inode, records_[b].number, b);
  });
  std::sort(entries.begin(), entries.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(entries_[a].file.inode, a) < std::tie(entries_[b].file.inode, b);
  });
  size_t r = 0, e = 0;
  while (r < records.size() && e < entries.size()) {
    const uint64_t inode = entries_[entries[e]].file.inode;
    size_t r_end = r, e_end = e;
    while (r_end < records.size() && records_[records[r_end]].file.inode <= inode) ++r_end;
    while (r < r_end && records_[records[r]].file.inode < inode) ++r;
    while (e_end < entries.size() && entries_[entries[e_end]].file.inode == inode) ++e_end;
    one_inode(std::span(records).subspan(r, r_end - r), std::span(entries).subspan(e, e_end - e));
    r = r_end;
    e = e_end;
  }
}

// by_number() has left these pairs to better ones.
void Pairing::own_numbers(std::span<const uint32_t> records, std::span<const uint32_t> entries,
                          Likeness wanted) {
  for (const uint32_t r : records) {
    const auto own =
        std::lower_bound(entries.begin(), entries.end(), records_[r].number,
                         [&](uint32_t e, uint32_t number) { return entries_[e].number < number; });
    if (own == entries.end() || entries_[*own].number != records_[r].number) continue;
    const bool free = pairs_.entry_of[r] == kNone && pairs_.record_of[*own] == kNone;
    if (free && likeness(records_[r].file, entries_[*own].file) == wanted) link(r, *own);
  }
}

void Pairing::one_inode(std::span<const uint32_t> records, std::span<const uint32_t> entries) {
  for (const Likeness wanted : {Likeness::kProven, Likeness::kLikely, Likeness::kPossible}) {
    own_numbers(records, entries, wanted);
    size_t next = 0;
    for (const uint32_t r : records) {
      if (pairs_.entry_of[r] != kNone) continue;
      while (next < entries.size() && pairs_.record_of[entries[next]] != kNone) ++next;
      if (next == entries.size()) return;
      if (likeness(records_[r].file, entries_[entries[next]].file) == wanted)
        link(r, entries[next]);
    }
  }
}

}  // namespace

bool weak_identity(const FileIdentity& a, const FileIdentity& b) {
  return a.birth == 0 || b.birth == 0;
}

bool may_be_same_file(const FileIdentity& a, const FileIdentity& b) {
  return a.inode == b.inode && (a.birth == b.birth || weak_identity(a, b));
}

Pairs pair_by_identity(std::span<const Record> records, std::span<const Entry> entries) {
  Pairing pairing(records, entries);
  pairing.by_number();
  pairing.by_inode();
  return pairing.take();
}

std::vector<uint32_t> second_names(std::span<const Entry> entries,
                                   std::span<const uint32_t> owner) {
  std::vector<std::pair<uint64_t, uint32_t>> free_names;  // inode, entry
  std::vector<uint64_t> taken;
  for (uint32_t e = 0; e < entries.size(); ++e) {
    if (entries[e].nlink > 1 && owner[e] == kNone) free_names.push_back({entries[e].file.inode, e});
  }
  if (free_names.empty()) return {};
  for (uint32_t e = 0; e < entries.size(); ++e) {
    if (entries[e].nlink > 1 && owner[e] != kNone) taken.push_back(entries[e].file.inode);
  }
  std::sort(free_names.begin(), free_names.end());
  std::sort(taken.begin(), taken.end());
  std::vector<uint32_t> second;
  for (size_t i = 0; i < free_names.size(); ++i) {
    const auto [inode, e] = free_names[i];
    if ((i > 0 && free_names[i - 1].first == inode) ||
        std::binary_search(taken.begin(), taken.end(), inode)) {
      second.push_back(e);
    }
  }
  std::sort(second.begin(), second.end());
  return second;
}

std::vector<uint32_t> entries_of_records(std::span<const Record> records,
                                         std::span<const Entry> entries, uint32_t mark) {
  std::vector<uint32_t> marked(entries.size(), kNone);
  std::vector<std::pair<uint64_t, uint32_t>> inodes;
  for (uint32_t e = 0; e < entries.size(); ++e) inodes.push_back({entries[e].file.inode, e});
  std::sort(inodes.begin(), inodes.end());
  for (const Record& record : records) {
    if (const uint32_t e = entry_with(entries, record.number); e != kNone) marked[e] = mark;
    auto name = std::lower_bound(inodes.begin(), inodes.end(),
                                 std::pair<uint64_t, uint32_t>(record.file.inode, 0));
    for (; name != inodes.end() && name->first == record.file.inode; ++name)
      marked[name->second] = mark;
  }
  return marked;
}

uint32_t entry_with(std::span<const Entry> entries, uint32_t number) {
  const auto found = std::lower_bound(entries.begin(), entries.end(), number,
                                      [](const Entry& e, uint32_t n) { return e.number < n; });
  if (found == entries.end() || found->number != number) return kNone;
  return static_cast<uint32_t>(found - entries.begin());
}

}  // namespace mh
