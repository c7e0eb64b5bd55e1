// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/new-message.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "libmh/folder/reconcile.h"
#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"
#include "libmh/store/random.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kBlock = 256 * 1024;
// How often in a row a new file may be taken for one of a dead writer.
constexpr int kMostSwept = 10;

// kUnsupported also where an old kernel or file system takes O_TMPFILE for opening a directory.
Result<Fd> open_nameless(Fs& fs, const NewMessagePlace& place) {
  auto file = fs.open(place.folder, ".", O_TMPFILE | O_RDWR, 0600);
  if (!file && (file.error().sys_errno() == EISDIR || file.error().sys_errno() == ENOENT)) {
    return fail(ErrorKind::kUnsupported, "no files without a name here");
  }
  return file;
}

// kNotFound: it was swept before it was locked.
Result<Fd> open_and_lock(Fs& fs, int workshop, const std::string& name) {
  MH_TRY_SET(Fd file,
             fs.open(workshop, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  const Status locked = fs.set_lock(file.get(), Lock::kWrite);
  const auto stat = locked ? fs.fstat(file.get()) : pass_on(locked);
  if (!stat) {
    (void)fs.unlink(workshop, name.c_str());
    // Whoever sweeps at this moment holds it.
    if (stat.error().kind() != ErrorKind::kBusy) return pass_on(stat);
  }
  if (!stat || stat->nlink == 0) return fail(ErrorKind::kNotFound, name + " was swept");
  return file;
}

Result<Fd> open_named(Fs& fs, const NewMessagePlace& place, std::string* name) {
  for (int attempt = 0;; ++attempt) {
    *name = incoming_name(random_number());
    auto file = open_and_lock(fs, place.workshop, *name);
    if (file) return file;
    name->clear();
    if (file.error().kind() != ErrorKind::kNotFound || attempt == kMostSwept) return file;
  }
}

Status hash_text(Fs& fs, NewMessage& message, uint64_t size) {
  Fingerprint hash;
  std::string block(std::min<uint64_t>(kBlock, std::max<uint64_t>(size, 1)), '\0');
  for (uint64_t done = 0; done < size;) {
    const size_t want = std::min<uint64_t>(block.size(), size - done);
    MH_TRY_SET(const size_t got,
               fs.pread(message.file.get(), block.data(), want, message.text_at + done));
    if (got == 0) return fail(ErrorKind::kIo, "a message became shorter while it was saved");
    const std::string_view bytes(block.data(), got);
    if (done == 0) message.record.first_hash = fingerprint(bytes.substr(0, kFirstHashSize));
    hash.add(bytes);
    done += got;
  }
  if (size == 0) message.record.first_hash = fingerprint("");
  message.record.hash = hash.value();
  return {};
}

Status write_tag(Fs& fs, NewMessage& message, uint32_t uidvalidity, uint32_t uid,
                 const TagKey& key) {
  Record named = message.record;
  named.uid = uid;
  const std::optional<Tag> tag = tag_of(named, uidvalidity);
  if (!tag) return fail(ErrorKind::kInvalid, "a message of 4 GiB or more cannot be saved");
  if (message.text_at != 0) {
    const std::string line = format_tag(*tag, key);
    MH_TRY(fs.pwrite(message.file.get(), line.data(), line.size(), 0));
  }
  const Nanoseconds date = static_cast<Nanoseconds>(message.record.internal_date) * kSecond;
  MH_TRY(fs.set_times(message.file.get(), date, date));
  MH_TRY_SET(const FileStat stat, fs.fstat(message.file.get()));
  message.record.file = FileIdentity::of(stat);
  message.tagged_uid = uid;
  return {};
}

}  // namespace

Result<NewMessage> make_message(Fs& fs, const NewMessagePlace& place) {
  NewMessage message;
  auto file = open_nameless(fs, place);
  if (!file && file.error().kind() == ErrorKind::kUnsupported) {
    file = open_named(fs, place, &message.temporary);
  }
  if (!file) return pass_on(file);
  message.file = std::move(*file);
  Status made = set_rights(fs, message.file.get(), place.mode, place.gid);
  if (made && place.tags) {
    const std::string_view placeholder = tag_placeholder();
    message.text_at = kTagLineSize;
    made = fs.pwrite(message.file.get(), placeholder.data(), placeholder.size(), 0);
  }
  if (made) return message;
  drop_message(fs, place, message);
  return pass_on(made);
}

Status copy_text(Fs& fs, int from, uint64_t offset, uint64_t size, NewMessage& message) {
  uint64_t done = 0;
  while (done < size) {
    const auto copied =
        fs.copy_range(from, offset + done, message.file.get(), message.text_at + done, size - done);
    if (!copied || *copied == 0) break;  // copied by hand, which tells what is wrong
    done += *copied;
  }
  std::string block;
  while (done < size) {
    block.resize(std::min<uint64_t>(kBlock, size - done));
    MH_TRY_SET(const size_t got, fs.pread(from, block.data(), block.size(), offset + done));
    if (got == 0) return fail(ErrorKind::kIo, "a message became shorter while it was copied");
    MH_TRY(fs.pwrite(message.file.get(), block.data(), got, message.text_at + done));
    done += got;
  }
  return {};
}

Status finish_message(Fs& fs, NewMessage& message, uint32_t uidvalidity, uint32_t expected_uid,
                      const TagKey& key, bool flush) {
  MH_TRY_SET(const FileStat stat, fs.fstat(message.file.get()));
  Record& record = message.record;
  record.file = FileIdentity::of(stat);
  record.prefix = message.text_at;
  if (record.guid == Guid{}) record.guid = random_guid();
  MH_TRY(hash_text(fs, message, record.visible_size()));
  const bool tagged = message.text_at != 0;
  record.set(Record::kHashKnown, true);
  record.set(Record::kVerified, true);
  record.set(Record::kTagged, tagged);
  record.set(Record::kTagFlushed, tagged && flush);
  MH_TRY(write_tag(fs, message, uidvalidity, expected_uid, key));
  if (flush) MH_TRY(fs.start_writeback(message.file.get()));
  return {};
}

Status retag_message(Fs& fs, NewMessage& message, uint32_t uidvalidity, const TagKey& key) {
  return write_tag(fs, message, uidvalidity, message.record.uid, key);
}

Status link_message(Fs& fs, const NewMessagePlace& place, NewMessage& message, uint32_t number) {
  const std::string name = std::to_string(number);
  if (message.temporary.empty()) {
    MH_TRY(fs.link_fd(message.file.get(), place.folder, name.c_str()));
  } else {
    MH_TRY(fs.link(place.workshop, message.temporary.c_str(), place.folder, name.c_str()));
    (void)fs.unlink(place.workshop, message.temporary.c_str());
    message.temporary.clear();
  }
  message.record.number = number;
  MH_TRY_SET(const FileStat stat, fs.fstat(message.file.get()));
  message.record.file = FileIdentity::of(stat);
  return {};
}

void drop_message(Fs& fs, const NewMessagePlace& place, NewMessage& message) {
  if (!message.temporary.empty()) (void)fs.unlink(place.workshop, message.temporary.c_str());
  message.temporary.clear();
  message.file.reset();
}

Status remove_dead_messages(Fs& fs, int workshop) {
  std::vector<std::string> found;
  MH_TRY(fs.list(workshop, [&](const DirEntry& entry) {
    const auto ours = parse_our_name(entry.name);
    if (ours && !ours->outgoing && !parse_adoption_name(entry.name)) found.push_back(entry.name);
    return true;
  }));
  for (const std::string& name : found) {
    const auto file = fs.open(workshop, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (!file || !fs.set_lock(file->get(), Lock::kWrite)) continue;  // its writer lives
    const Status gone = fs.unlink(workshop, name.c_str());
    // Its writer may just have finished.
    if (!gone && gone.error().kind() != ErrorKind::kNotFound) return gone;
  }
  return {};
}

}  // namespace mh
