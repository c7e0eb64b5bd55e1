// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Store: the cache of all records of a folder, by UID.
//
// It can be thrown away at any time: what is in it stands in the journal and in the tag lines of
// the files too. A store is written as a whole, under a temporary name, flushed and renamed. So a
// reader needs no lock, a killed writer leaves a temporary file that the next one removes, and a
// store that can be opened is complete (its header record is written last and counts the others).
// Writing is done under the folder lock.
//
// On any doubt - a checksum, a count, a version - header(), load() and get() return kCorrupt and
// the caller builds a new one. A store that is there but cannot be read for another reason (no
// right, no memory) says so by another error; it is no use either, and no reason to lose anything.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

struct StoreHeader {
  uint64_t generation = 0;  // of the journal that was folded
  uint64_t folded_to = 0;   // offset in that journal; later lines are not in the store
  uint32_t uidvalidity = 0;
  uint32_t uidnext_limit = 1;
  uint64_t modseq_floor = 0;
  Guid mailbox_guid{};
  uint32_t records = 0;  // filled in by replace()
  bool operator==(const StoreHeader&) const = default;
};

class Store {
 public:
  virtual ~Store() = default;
  // kNotFound: there is none. kCorrupt: throw it away.
  virtual Result<StoreHeader> header() = 0;
  // All records in UID order.
  virtual Result<std::vector<Record>> load() = 0;
  // One record without reading the others; nullopt when the UID is not in the store.
  virtual Result<std::optional<Record>> get(uint32_t uid) = 0;
  // Replaces everything; records in UID order, else kInvalid. After a crash or an error: the old
  // store, the new one, or none.
  virtual Status replace(const StoreHeader& header, std::span<const Record> records) = 0;
  virtual Status remove() = 0;
};

// The btree `state_dir`/store.db (Berkeley DB 5.3, no environment, DB_CHKSUM). The path is needed
// because libdb opens by path; the file gets `mode` and `gid`. Opened read-only at the first use,
// and again when another process has replaced it.
//
// libdb is not hardened against hostile bytes: DB_CHKSUM is a bit in the file like any other, and
// with that bit flipped it may follow wild offsets. Therefore a last page, which libdb never looks
// at, holds a hash of all pages before it; libdb gets to see the file only if that is right.
std::unique_ptr<Store> open_bdb_store(Fs& fs, int state_dir, std::string state_dir_path,
                                      mode_t mode, gid_t gid);
// Keeps everything in memory: folders without writable state, tests.
std::unique_ptr<Store> make_memory_store();

// What replace() asks of its records: UIDs ascending, none 0 or 4294967295. For the makers of
// stores.
Status check_records(std::span<const Record> records);

}  // namespace mh
