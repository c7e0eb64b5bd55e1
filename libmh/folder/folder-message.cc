// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: opening one message.
//
// What the caller remembers (number, prefix, a stamp of inode, size, mtime and ctime) is enough for
// a file that is as it was: one open and one fstat. When the stamp differs, the folder was packed,
// the message annotated, edited or removed, and the caller has not synced yet; or the content was
// never compared since a rename. Then the record is looked up, the file found by its inode, and its
// content compared: a message that was edited is never served under its old UID. A listing that
// runs beside a pack can miss a name that moves, so a message is gone only if it is not found while
// the directory stands still.
#include <fcntl.h>

#include <algorithm>
#include <array>

#include "libmh/folder/evidence.h"
#include "libmh/folder/folder-impl.h"
#include "libmh/folder/identity.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// How often, and how long apart, a directory that moves is searched.
constexpr int kMostSearches = 200;
constexpr Nanoseconds kBetweenSearches = kSecond / 100;

constexpr int kOpenFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

Error gone(uint32_t uid) {
  return Error(ErrorKind::kNotFound,
               "message with UID " + std::to_string(uid) + " was removed or edited");
}

}  // namespace

Result<OpenMessage> Folder::Impl::open_number(uint32_t number) const {
  std::array<char, 16> name{};
  std::string text;
  append_decimal(text, number);
  text.copy(name.data(), name.size() - 1);
  OpenMessage message;
  MH_TRY_SET(message.fd, fs.open(dir.get(), name.data(), kOpenFlags));
  MH_TRY_SET(message.stat, fs.fstat(message.fd.get()));
  if (message.stat.type != FileType::kRegular) {
    return fail(ErrorKind::kNotFound, location.folder + "/" + text + " is no regular file");
  }
  message.number = number;
  return message;
}

// Whether this file holds the visible bytes of the record; sets where they lie.
Result<bool> Folder::Impl::is_message(const Record& record, OpenMessage* file) {
  const FileIdentity identity = FileIdentity::of(file->stat);
  const auto compared = verified.find(record.uid);
  const bool sure = record.has(Record::kVerified) && record.file == identity;
  if (sure || (compared != verified.end() && compared->second == identity &&
               record.file.same_content(identity))) {
    file->prefix = record.prefix;
    file->size = record.visible_size();
    return true;
  }
  ProbeRequest request;
  request.number = file->number;
  request.file = identity;
  request.whole = record.has(Record::kHashKnown);
  if (record.has(Record::kTagged)) request.recorded = tag_of(record, state().header.uidvalidity);
  const TagKey key = location.root != nullptr ? location.root->key() : TagKey{};
  const Probe probe = probe_open_file(fs, file->fd.get(), request, key);
  if (probe.state == Probe::State::kBeingWritten) {
    // Where no lease can be had, a file that was renamed a moment ago looks like that as well.
    if (record.file.same_content(identity)) {
      file->prefix = record.prefix;
      file->size = record.visible_size();
      return true;
    }
    return fail(ErrorKind::kBusy, location.folder + "/" + std::to_string(file->number) +
                                      " is being written to: try again");
  }
  if (probe.state != Probe::State::kRead) return false;
  file->prefix = probe.prefix;
  file->size = probe.visible_size();
  const bool same_file = may_be_same_file(record.file, identity);
  if (record.has(Record::kUnreadable)) return same_file;
  const Comparison comparison =
      compare_visible(record, probe, same_file, state().header.uidvalidity);
  if (comparison != Comparison::kSame) {
    edits[file->number] = probe;  // size and mtime may be as recorded: a listing would not see it
    return false;
  }
  verified[record.uid] = identity;
  return true;
}

std::optional<uint32_t> Folder::Impl::number_of(const FileIdentity& file) const {
  std::optional<uint32_t> number;
  (void)fs.list(dir.get(), [&](const DirEntry& entry) {
    if (entry.inode != file.inode) return true;
    number = message_number(entry.name);
    return !number.has_value();
  });
  return number;
}

// Not under its number: mv, pack or sortm since the last sync. Or somebody writes there, perhaps
// another message: that is waited for. kBusy: they are still at it.
Result<OpenMessage> Folder::Impl::open_moved(const Record& record) {
  Error busy(ErrorKind::kBusy, location.folder + ": messages are being renumbered: try again");
  for (int search = 0; search < kMostSearches; ++search) {
    const Nanoseconds began = fs.now();
    MH_TRY_SET(const FileStat before, fs.fstat(dir.get()));
    bool written = false;
    auto file = open_number(number_of(record.file).value_or(record.number));
    if (file) {
      const auto same = is_message(record, &*file);
      if (same && *same) return file;
      written = !same;
      if (written) busy = same.error();
      if (written && busy.kind() != ErrorKind::kBusy) return tl::unexpected<Error>(busy);
    }
    MH_TRY_SET(const FileStat after, fs.fstat(dir.get()));
    const bool stood_still = DirectoryStamp::of(before) == DirectoryStamp::of(after) &&
                             std::max(before.mtime, before.ctime) + kBetweenSearches < began;
    if (stood_still && !written) return tl::unexpected<Error>(gone(record.uid));
    fs.sleep(kBetweenSearches);
  }
  return tl::unexpected<Error>(busy);
}

Result<OpenMessage> Folder::open_message(uint32_t uid, const MessageHint& hint) {
  Impl& in = *impl_;
  auto file = in.open_number(hint.number);
  if (file && hint.stamp != 0 && stamp_of(FileIdentity::of(file->stat)) == hint.stamp) {
    file->prefix = hint.prefix;
    file->size = file->stat.size - std::min<uint64_t>(hint.prefix, file->stat.size);
    return file;
  }
  auto known = record(uid);
  if (!known) {
    if (known.error().kind() != ErrorKind::kNotFound) return pass_on(known);
    in.suspicious = true;
    return tl::unexpected<Error>(gone(uid));
  }
  if (known->number != hint.number) file = in.open_number(known->number);
  const bool refused = !file && (file.error().kind() == ErrorKind::kPermission ||
                                 file.error().kind() == ErrorKind::kIo);
  if (refused) return file;
  if (file) {
    const auto same = in.is_message(*known, &*file);
    if (same && *same) return file;
    if (!same && same.error().kind() != ErrorKind::kBusy) return pass_on(same);
  }
  in.suspicious = true;
  return in.open_moved(*known);
}

Result<Pop3Identity> Folder::pop3_identity(uint32_t uid) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (in.journal) MH_TRY(in.journal->refresh());
  const auto found = in.state().pop3.find(uid);
  return found != in.state().pop3.end() ? found->second : Pop3Identity();
}

Result<Record> Folder::record(uint32_t uid) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (in.journal) {
    // Without the lock: lines that another process is just writing are read when they are whole.
    MH_TRY(in.journal->refresh());
    const auto& facts = in.journal->state();
    const auto found = facts.records.find(uid);
    if (found != facts.records.end()) return found->second;
    if (!facts.alive.contains(uid)) return tl::unexpected<Error>(gone(uid));
    const auto header = in.store->header();
    if (header && header->generation == facts.header.generation) {
      const auto stored = in.store->get(uid);
      if (stored && *stored) return **stored;
    }
  }
  MH_TRY(in.load_records());
  if (const Record* known = in.find(uid)) return *known;
  if (in.loaded) return tl::unexpected<Error>(gone(uid));
  return fail(ErrorKind::kBusy, in.location.folder + ": its state is being written: try again");
}

}  // namespace mh
