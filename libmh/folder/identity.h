// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which record is which entry of a listing, by the identity of the file alone. The content is not
// judged here, only taken into account where the file system keeps no birth time.
//
// Records and entries are named by their index. An inode may have several names and, once all of
// them are messages, several records.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/store/record.h"

namespace mh {

// Either file system keeps no birth time, so that equal inode numbers prove nothing by themselves.
bool weak_identity(const FileIdentity& a, const FileIdentity& b);
// Equal as far as can be known: the inode, and the birth time where both have one.
bool may_be_same_file(const FileIdentity& a, const FileIdentity& b);

struct Pairs {
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  std::vector<uint32_t> entry_of;   // by record
  std::vector<uint32_t> record_of;  // by entry
};

// Every record gets the entry under its own number if that is its file; what is left is paired by
// inode, in number order. A pair of weak identity yields to any other, one whose size or mtime
// differ, too, to any that is not so.
Pairs pair_by_identity(std::span<const Record> records, std::span<const Entry> entries);

// Free entries (kNone in `owner`) whose file has another name, one that is not free or a lower one.
// Ascending.
std::vector<uint32_t> second_names(std::span<const Entry> entries, std::span<const uint32_t> owner);

// By entry: `mark` where the number or the inode number is in any record, else kNone.
std::vector<uint32_t> entries_of_records(std::span<const Record> records,
                                         std::span<const Entry> entries, uint32_t mark);

// The entry of this number, or kNone.
uint32_t entry_with(std::span<const Entry> entries, uint32_t number);

}  // namespace mh
