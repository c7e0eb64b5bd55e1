// SPDX-License-Identifier: LGPL-2.1-or-later
//
// IndexSeal: how the caller's index was when it was last committed, told beside it.
//
// HIGHESTMODSEQ must not go down under one UIDVALIDITY, and nothing inside an index that was
// restored from yesterday's backup says that it is yesterday's. So a small file in the state
// directory ("index.seal", one checksummed line) says which file the index's transaction log was,
// how long, and how far the modseqs had come. Written under the folder lock after each commit, in
// place and never flushed: it only can be older than the index, which makes it say less, never
// something wrong. Where power was lost before the index reached the disk and after the seal did,
// the index is older than what was told, and the seal rightly says so.
//
// A log is followed by a new file of a higher sequence when Dovecot rotates it; it never gets
// shorter, and never moves to another file under the same sequence number (mail_transaction_log.h
// of Dovecot: file_seq). `cp` over the log in place shows by the length or the modseq.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libmh/result.h"
#include "libmh/system/fs.h"

namespace mh {

struct IndexSeal {
  uint32_t index_id = 0;  // another one: made anew
  uint32_t log_seq = 0;
  uint64_t log_inode = 0;
  Nanoseconds log_birth = 0;  // 0 where the file system keeps none
  uint64_t log_size = 0;
  uint64_t highest_modseq = 0;
  bool operator==(const IndexSeal&) const = default;
};

// Whether an index that is like `now` can have lost something that the one sealed had.
bool is_older(const IndexSeal& now, const IndexSeal& sealed);

void print_index_seal(std::string& out, const IndexSeal& seal);
std::optional<IndexSeal> parse_index_seal(std::string_view line);  // without its newline

// nullopt: there is none that can be read or believed.
std::optional<IndexSeal> read_index_seal(Fs& fs, int state_dir);
// Creates the file with these rights when it is absent. On an error, or after a crash, the old seal
// stands there, the new one, or none that is believed.
Status write_index_seal(Fs& fs, int state_dir, const IndexSeal& seal, mode_t mode, gid_t gid);

}  // namespace mh
