// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-index.h"

#include <fcntl.h>

#include <cstring>
#include <type_traits>

namespace mh {
namespace {

constexpr uint32_t kVersion = 3;

struct StoredHeader {
  uint32_t version;
  uint32_t size;
  FolderMemory memory;
};
static_assert(std::is_trivially_copyable_v<StoredHeader>);

// 24 bytes; the index aligns records to 4.
struct StoredRecord {
  uint32_t number;
  uint32_t prefix;
  uint32_t stamp_low;
  uint32_t stamp_high;
  uint32_t internal_date;
  uint32_t undecided_since;
};

uint64_t joined(uint32_t high, uint32_t low) { return static_cast<uint64_t>(high) << 32 | low; }

}  // namespace

std::optional<IndexSeal> seal_of_index(struct mail_index_view* view, const char* dir,
                                       const char* prefix) {
  const auto log =
      Fs::posix().stat(AT_FDCWD, t_strconcat(dir, "/", prefix, ".log", nullptr), Follow::kYes);
  if (!log) return std::nullopt;
  const struct mail_index_header* header = mail_index_get_header(view);
  IndexSeal seal;
  seal.index_id = header->indexid;
  seal.log_seq = header->log_file_seq;
  seal.log_inode = log->inode;
  seal.log_birth = log->birth;
  seal.log_size = log->size;
  seal.highest_modseq = mail_index_modseq_get_highest(view);
  return seal;
}

void IndexExtension::attach(struct mail_index* index) {
  id_ = mail_index_ext_register(index, "mh", sizeof(StoredHeader), sizeof(StoredRecord),
                                sizeof(uint32_t));
}

static std::optional<StoredHeader> stored_header(struct mail_index_view* view, uint32_t id) {
  const void* data;
  size_t size;
  mail_index_get_header_ext(view, id, &data, &size);
  StoredHeader header;
  if (size != sizeof(header)) return std::nullopt;
  memcpy(static_cast<void*>(&header), data, sizeof(header));
  if (header.version != kVersion || header.size != sizeof(header)) return std::nullopt;
  return header;
}

std::optional<FolderMemory> IndexExtension::memory(struct mail_index_view* view) const {
  const auto header = stored_header(view, id_);
  return header ? std::optional<FolderMemory>(header->memory) : std::nullopt;
}

void IndexExtension::set_memory(struct mail_index_view* view, struct mail_index_transaction* trans,
                                const FolderMemory& memory) const {
  const void* data;
  size_t size;
  mail_index_get_header_ext(view, id_, &data, &size);
  StoredHeader header;
  memset(static_cast<void*>(&header), 0, sizeof(header));  // the padding too: it is compared
  header.version = kVersion;
  header.size = sizeof(header);
  header.memory = memory;
  if (size == sizeof(header) && memcmp(data, &header, size) == 0) return;
  if (size != 0 && size != sizeof(header)) mail_index_ext_resize_hdr(trans, id_, sizeof(header));
  mail_index_update_header_ext(trans, id_, 0, &header, sizeof(header));
}

MessageNote IndexExtension::note(struct mail_index_view* view, uint32_t seq) const {
  const void* data;
  bool expunged;
  mail_index_lookup_ext(view, seq, id_, &data, &expunged);
  MessageNote note;
  if (data == nullptr) return note;
  StoredRecord stored;
  memcpy(&stored, data, sizeof(stored));
  note.hint.number = stored.number;
  note.hint.prefix = stored.prefix;
  note.hint.stamp = joined(stored.stamp_high, stored.stamp_low);
  note.internal_date = stored.internal_date;
  note.undecided_since = stored.undecided_since;
  return note;
}

void IndexExtension::set_note(struct mail_index_transaction* trans, uint32_t seq,
                              const MessageNote& note) const {
  StoredRecord stored;
  stored.number = note.hint.number;
  stored.prefix = note.hint.prefix;
  stored.stamp_low = static_cast<uint32_t>(note.hint.stamp);
  stored.stamp_high = static_cast<uint32_t>(note.hint.stamp >> 32);
  stored.internal_date = note.internal_date;
  stored.undecided_since = note.undecided_since;
  mail_index_update_ext(trans, seq, id_, &stored, nullptr);
}

}  // namespace mh
