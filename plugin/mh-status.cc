// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-status.h"

#include <fcntl.h>

#include "libmh/format/fingerprint.h"
#include "plugin/guard.h"
#include "plugin/mh-mailbox.h"

namespace mh {
namespace {

// Of all that Folder::unchanged() compares. 12 bytes in the list index. The lowest bit of the
// stamps says that nmh's context is one of them.
struct ListRecord {
  uint32_t stamps_low;
  uint32_t stamps_high;
  uint32_t recheck_at;  // seconds; 0: settled
};

uint64_t hash_of(const FolderMemory& memory) {
  const uint64_t parts[] = {memory.directory.inode,
                            static_cast<uint64_t>(memory.directory.mtime),
                            static_cast<uint64_t>(memory.directory.ctime),
                            memory.sequences_inode,
                            memory.sequences_size,
                            static_cast<uint64_t>(memory.sequences_mtime),
                            static_cast<uint64_t>(memory.sequences_ctime),
                            memory.context};
  const uint64_t hash =
      fingerprint(std::string_view(reinterpret_cast<const char*>(parts), sizeof(parts)));
  return (hash & ~uint64_t{1}) | (memory.context != 0 ? 1 : 0);
}

uint32_t seconds_rounded_up(Nanoseconds when) {
  return static_cast<uint32_t>((when + kSecond - 1) / kSecond);
}

// The stamps as they are now. A folder that cannot be looked at has none.
std::optional<uint64_t> hash_now(struct mailbox* box, bool with_context) {
  const char* path;
  if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_MAILBOX, &path) <= 0) return std::nullopt;
  Fs& fs = Fs::posix();
  const auto directory = fs.stat(AT_FDCWD, path, Follow::kYes);
  if (!directory) return std::nullopt;
  FolderMemory memory;
  memory.directory = DirectoryStamp::of(*directory);
  UserState& user = list_state(box->list).user();
  const std::string name = user.profile().sequences_file();
  if (with_context) memory.context = context_stamp(fs, user.context());
  if (!name.empty()) {
    const std::string file = std::string(path) + "/" + name;
    if (const auto stat = fs.stat(AT_FDCWD, file.c_str(), Follow::kYes)) {
      memory.sequences_inode = stat->inode;
      memory.sequences_size = stat->size;
      memory.sequences_mtime = stat->mtime;
      memory.sequences_ctime = stat->ctime;
    }
  }
  return hash_of(memory);
}

uint32_t extension_of(struct mail_index_view* list_view) {
  return mail_index_ext_register(mail_index_view_get_index(list_view), "mh sync", 0,
                                 sizeof(ListRecord), sizeof(uint32_t));
}

std::optional<ListRecord> record_of(struct mail_index_view* list_view, uint32_t seq) {
  const void* data;
  bool expunged;
  mail_index_lookup_ext(list_view, seq, extension_of(list_view), &data, &expunged);
  if (data == nullptr || expunged) return std::nullopt;
  ListRecord record;
  memcpy(&record, data, sizeof(record));
  return record;
}

int changed(const char** reason_r, const char* reason) {
  *reason_r = reason;
  return 1;
}

}  // namespace

std::optional<uint64_t> recorded_stamps(struct mailbox* box) {
  const auto memory = mailbox_state(box).extension.memory(box->view);
  return memory ? std::optional(hash_of(*memory)) : std::nullopt;
}

std::optional<uint64_t> present_stamps(struct mailbox* box) {
  const auto memory = mailbox_state(box).extension.memory(box->view);
  return hash_now(box, memory && memory->context != 0);
}

int mh_list_index_has_changed(struct mailbox* box, struct mail_index_view* list_view, uint32_t seq,
                              bool quick, const char** reason_r) noexcept {
  return guard(box, [&] {
    const char* index_dir;
    const int path = mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &index_dir);
    if (path < 0) return -1;
    if (path == 0) return changed(reason_r, "The index is in memory");
    const int ret = index_storage_list_index_has_changed(box, list_view, seq, quick, reason_r);
    if (ret != 0 || box->storage->set->mailbox_list_index_very_dirty_syncs) return ret;
    const auto record = record_of(list_view, seq);
    if (!record) return changed(reason_r, "MH record is missing");
    if (record->recheck_at != 0 &&
        Fs::posix().now() >= static_cast<Nanoseconds>(record->recheck_at) * kSecond) {
      return changed(reason_r, "The folder had just changed");
    }
    const uint64_t then = static_cast<uint64_t>(record->stamps_high) << 32 | record->stamps_low;
    const auto now = hash_now(box, (then & 1) != 0);
    if (!now || *now != then) return changed(reason_r, "The folder has changed");
    return 0;
  });
}

void mh_list_index_update_sync(struct mailbox* box, struct mail_index_transaction* trans,
                               uint32_t seq) noexcept {
  guard(box, [&] {
    const char* index_dir;
    if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &index_dir) <= 0) return 0;
    index_storage_list_index_update_sync(box, trans, seq);
    struct mail_index_view* list_view = mail_index_transaction_get_view(trans);
    const auto memory = mailbox_state(box).extension.memory(box->view);
    if (!memory || mail_index_is_in_memory(mail_index_view_get_index(list_view))) return 0;
    const uint64_t hash = hash_of(*memory);
    ListRecord record;
    record.stamps_low = static_cast<uint32_t>(hash);
    record.stamps_high = static_cast<uint32_t>(hash >> 32);
    record.recheck_at = seconds_rounded_up(memory->recheck_at);
    const auto old = record_of(list_view, seq);
    if (!old || memcmp(&*old, &record, sizeof(record)) != 0) {
      mail_index_update_ext(trans, seq, extension_of(list_view), &record, nullptr);
    }
    return 0;
  });
}

}  // namespace mh
