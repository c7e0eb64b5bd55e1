// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/index-seal.h"

#include <fcntl.h>

#include "libmh/format/journal-line.h"
#include "libmh/store/state-file.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr const char* kName = kIndexSealFile.data();  // of a literal, so it ends in a NUL
constexpr size_t kLongest = 256;

}  // namespace

bool is_older(const IndexSeal& now, const IndexSeal& sealed) {
  if (now.index_id != sealed.index_id || now.highest_modseq < sealed.highest_modseq) return true;
  if (now.log_seq != sealed.log_seq) return now.log_seq < sealed.log_seq;
  return now.log_inode != sealed.log_inode || now.log_birth != sealed.log_birth ||
         now.log_size < sealed.log_size;
}

// X <index id> <log sequence> <log inode> <log birth> <log size> <highest modseq>
void print_index_seal(std::string& out, const IndexSeal& seal) {
  JournalLineWriter(out, 'X')
      .number(seal.index_id)
      .number(seal.log_seq)
      .number(seal.log_inode)
      .number(seal.log_birth)
      .number(seal.log_size)
      .number(seal.highest_modseq)
      .end();
}

std::optional<IndexSeal> parse_index_seal(std::string_view text) {
  IndexSeal seal;
  JournalLineReader line(text);
  line.number(seal.index_id).number(seal.log_seq).number(seal.log_inode).number(seal.log_birth);
  line.number(seal.log_size).number(seal.highest_modseq);
  if (line.kind() != 'X' || !line.end()) return std::nullopt;
  return seal;
}

std::optional<IndexSeal> read_index_seal(Fs& fs, int state_dir) {
  const Result<std::string> text = read_file(fs, state_dir, kName, kLongest);
  if (!text) return std::nullopt;
  return parse_index_seal(std::string_view(*text).substr(0, text->find('\n')));
}

Status write_index_seal(Fs& fs, int state_dir, const IndexSeal& seal, mode_t mode, gid_t gid) {
  std::string line;
  print_index_seal(line, seal);
  MH_TRY_SET(const Fd file, open_in_place(fs, state_dir, kName, mode, gid));
  return fs.pwrite(file.get(), line.data(), line.size(), 0);
}

}  // namespace mh
