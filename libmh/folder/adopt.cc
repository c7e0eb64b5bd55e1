// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/adopt.h"

#include <fcntl.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/format/fingerprint.h"
#include "libmh/format/visible-part.h"
#include "libmh/store/random.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kBlock = 256 * 1024;
constexpr std::string_view kTagField = "X-MH-UID: ";

std::string name_of(uint32_t number) { return std::to_string(number); }

// Where the hidden lines of the original end up in the copy: all of them but an unverified tag,
// which is replaced and not stacked upon.
struct HiddenLines {
  std::string kept;
  uint64_t visible_from = 0;
};

Result<HiddenLines> read_hidden(Fs& fs, int fd, const Record& record) {
  std::string start(std::min<uint64_t>(record.file.size, kMaxPrefix), '\0');
  MH_TRY_SET(const size_t got, fs.pread(fd, start.data(), start.size(), 0));
  start.resize(got);
  const PrefixScan scan = scan_prefix(start, got == record.file.size);
  HiddenLines hidden;
  hidden.visible_from = record.prefix;
  if (record.prefix > start.size()) {
    return fail(ErrorKind::kBusy, "message " + name_of(record.number) + " became shorter");
  }
  hidden.kept = start.substr(0, record.prefix);
  for (const TagCandidate& candidate : scan.candidates) {
    if (candidate.end == record.prefix) hidden.kept.resize(candidate.begin);
  }
  return hidden;
}

// Copies the visible bytes behind `to_offset` and returns their fingerprint.
Result<uint64_t> copy_visible(Fs& fs, int from, uint64_t from_offset, uint64_t size, int to,
                              uint64_t to_offset) {
  Fingerprint hash;
  std::string block(std::min<uint64_t>(kBlock, std::max<uint64_t>(size, 1)), '\0');
  for (uint64_t done = 0; done < size;) {
    const size_t want = std::min<uint64_t>(block.size(), size - done);
    MH_TRY_SET(const size_t got, fs.pread(from, block.data(), want, from_offset + done));
    if (got == 0) return fail(ErrorKind::kBusy, "the message became shorter while it was copied");
    MH_TRY(fs.pwrite(to, block.data(), got, to_offset + done));
    hash.add(std::string_view(block.data(), got));
    done += got;
  }
  return hash.value();
}

Status take_lease(Fs& fs, const Record& record, TaggedCopy* copy) {
  const Status leased = fs.set_lease(copy->original.get(), Lease::kRead);
  copy->leased = static_cast<bool>(leased);
  if (leased) return {};
  if (leased.error().kind() == ErrorKind::kBusy) return leased;
  if (fs.now() - std::max(record.file.mtime, record.file.ctime) >= kQuiet) return {};
  return fail(ErrorKind::kBusy, "message " + name_of(record.number) + " changed a moment ago");
}

Status check_original(Fs& fs, const Record& record, TaggedCopy* copy) {
  MH_TRY_SET(const FileStat stat, fs.fstat(copy->original.get()));
  copy->source = FileIdentity::of(stat);
  if (stat.type != FileType::kRegular || !(copy->source == record.file)) {
    return fail(ErrorKind::kBusy, "message " + name_of(record.number) + " is another file now");
  }
  if (stat.uid != fs.user()) {
    return fail(ErrorKind::kPermission, "message " + name_of(record.number) + " is not ours");
  }
  if (record.visible_size() > kMaxTaggedLength) {
    return fail(ErrorKind::kInvalid, "message " + name_of(record.number) + " is over 4 GiB");
  }
  return take_lease(fs, record, copy);
}

// Rights, dates and what else there is of a file beside its bytes; then it is on its way to the
// disk.
Status finish_copy(Fs& fs, int file, TaggedCopy* copy) {
  MH_TRY_SET(const FileStat original, fs.fstat(copy->original.get()));
  MH_TRY(fs.chmod(file, original.mode & 07777));
  MH_TRY(fs.copy_xattrs(copy->original.get(), file));
  MH_TRY(fs.set_times(file, original.mtime, original.mtime));
  MH_TRY(fs.start_writeback(file));
  MH_TRY_SET(const FileStat made, fs.fstat(file));
  copy->record.file = FileIdentity::of(made);
  return {};
}

// The lines above the message, with room for `more` bytes behind them, and the message.
Result<HiddenLines> copy_message(Fs& fs, size_t more, int file, TaggedCopy* copy) {
  Record& record = copy->record;
  MH_TRY_SET(HiddenLines hidden, read_hidden(fs, copy->original.get(), record));
  const uint64_t size = record.visible_size();
  const uint64_t visible_at = hidden.kept.size() + more;
  MH_TRY_SET(const uint64_t hash,
             copy_visible(fs, copy->original.get(), hidden.visible_from, size, file, visible_at));
  if (record.has(Record::kHashKnown) && hash != record.hash) {
    return fail(ErrorKind::kBusy, "message " + name_of(record.number) + " was edited");
  }
  record.hash = hash;
  record.set(Record::kHashKnown, true);
  record.prefix = static_cast<uint32_t>(visible_at);
  record.file.size = visible_at + size;
  return hidden;
}

Status write_copy(Fs& fs, const AdoptPlace& place, int file, TaggedCopy* copy) {
  Record& record = copy->record;
  MH_TRY_SET(const HiddenLines hidden, copy_message(fs, kTagLineSize, file, copy));
  record.set(Record::kTagged, true);
  record.set(Record::kTagFlushed, true);
  const std::optional<Tag> tag = tag_of(record, place.uidvalidity);
  if (!tag) return fail(ErrorKind::kInvalid, "message cannot be tagged");
  const std::string head = hidden.kept + format_tag(*tag, place.key);
  MH_TRY(fs.pwrite(file, head.data(), head.size(), 0));
  return finish_copy(fs, file, copy);
}

Status write_untagged_copy(Fs& fs, int file, TaggedCopy* copy) {
  MH_TRY_SET(const HiddenLines hidden, copy_message(fs, 0, file, copy));
  copy->record.set(Record::kTagged, false);
  copy->record.set(Record::kTagFlushed, false);
  MH_TRY(fs.pwrite(file, hidden.kept.data(), hidden.kept.size(), 0));
  return finish_copy(fs, file, copy);
}

bool still_leased(Fs& fs, const TaggedCopy& copy) {
  if (!copy.leased) return true;
  const auto lease = fs.get_lease(copy.original.get());
  return lease && *lease == Lease::kRead;
}

// Whether nobody has the file open: a write lease is granted to the only opener.
bool is_free(Fs& fs, int fd) {
  if (!fs.set_lease(fd, Lease::kWrite)) return false;
  (void)fs.set_lease(fd, Lease::kNone);
  return true;
}

}  // namespace

namespace {

Result<TaggedCopy> open_original(Fs& fs, const AdoptPlace& place, const Record& record) {
  TaggedCopy copy;
  copy.record = record;
  MH_TRY_SET(copy.original, fs.open(place.folder, name_of(record.number).c_str(),
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY(check_original(fs, record, &copy));
  copy.name = adoption_name({record.uid, copy.source.inode, copy.source.size, copy.source.mtime});
  return copy;
}

// Locked: whoever sweeps sees that its maker lives.
Status make_file(Fs& fs, const AdoptPlace& place, const std::string& name, TaggedCopy* copy) {
  MH_TRY_SET(copy->file,
             fs.open(place.workshop, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  MH_TRY(fs.set_lock(copy->file.get(), Lock::kWrite));
  // A group that is refused to us is found out before anything is copied.
  MH_TRY_SET(const FileStat original, fs.fstat(copy->original.get()));
  MH_TRY_SET(const FileStat fresh, fs.fstat(copy->file.get()));
  if (fresh.gid == original.gid) return {};
  return fs.chown(copy->file.get(), static_cast<uid_t>(-1), original.gid);
}

// It bears its name only now, and the rename has moved its ctime.
Status give_copy_its_name(Fs& fs, const AdoptPlace& place, const std::string& unfinished,
                          TaggedCopy* copy) {
  MH_TRY(fs.rename(place.workshop, unfinished.c_str(), place.workshop, copy->name.c_str(),
                   RenameMode::kNoReplace));
  const auto named = fs.fstat(copy->file.get());
  if (named) {
    copy->record.file = FileIdentity::of(*named);
    return {};
  }
  (void)fs.unlink(place.workshop, copy->name.c_str());
  return pass_on(named);
}

}  // namespace

Status flush_copy(Fs& fs, TaggedCopy& copy) { return fs.fsync(copy.file.get()); }

Result<TaggedCopy> make_tagged_copy(Fs& fs, const AdoptPlace& place, const Record& record) {
  MH_TRY_SET(TaggedCopy copy, open_original(fs, place, record));
  Status made = make_file(fs, place, copy.name, &copy);
  if (made) made = write_copy(fs, place, copy.file.get(), &copy);
  if (made) return copy;
  if (copy.file) (void)fs.unlink(place.workshop, copy.name.c_str());
  return pass_on(made);
}

Result<TaggedCopy> make_untagged_copy(Fs& fs, const AdoptPlace& place, const Record& record) {
  MH_TRY_SET(TaggedCopy copy, open_original(fs, place, record));
  const std::string unfinished = incoming_name(random_number());
  Status made = make_file(fs, place, unfinished, &copy);
  if (made) made = write_untagged_copy(fs, copy.file.get(), &copy);
  // What is not whole under that name would be taken for a message.
  if (made) made = flush_copy(fs, copy);
  if (made) made = give_copy_its_name(fs, place, unfinished, &copy);
  if (made) return copy;
  if (copy.file) (void)fs.unlink(place.workshop, unfinished.c_str());
  return pass_on(made);
}

Status exchange_in(Fs& fs, const AdoptPlace& place, TaggedCopy& copy) {
  copy.file.reset();  // nobody gets a lease on a file that is open for writing
  const std::string number = name_of(copy.record.number);
  const auto give_up = [&](ErrorKind kind) {
    (void)fs.unlink(place.workshop, copy.name.c_str());
    return fail(kind, "message " + number + " changed while its tag was written");
  };
  const auto before = fs.stat(place.folder, number.c_str(), Follow::kNo);
  if (!before || !(FileIdentity::of(*before) == copy.source) || !still_leased(fs, copy)) {
    return give_up(ErrorKind::kBusy);
  }
  const Status exchanged = fs.rename(place.workshop, copy.name.c_str(), place.folder,
                                     number.c_str(), RenameMode::kExchange);
  if (!exchanged) {
    (void)fs.unlink(place.workshop, copy.name.c_str());
    return exchanged;
  }
  const auto out = fs.stat(place.workshop, copy.name.c_str(), Follow::kNo);
  if (!out || !copy.source.same_content(FileIdentity::of(*out)) || !still_leased(fs, copy)) {
    // Another file was under that number, or a writer has come: as if nothing had been.
    MH_TRY(fs.rename(place.workshop, copy.name.c_str(), place.folder, number.c_str(),
                     RenameMode::kExchange));
    const auto back = fs.stat(place.workshop, copy.name.c_str(), Follow::kNo);
    if (back && copy.record.file.same_file(FileIdentity::of(*back))) {
      return give_up(ErrorKind::kBusy);
    }
    // Yet another one came meanwhile, and is out now: sweep_workshop() knows what to do.
    return fail(ErrorKind::kBusy, "message " + number + " is being replaced");
  }
  MH_TRY_SET(const FileStat in_place, fs.stat(place.folder, number.c_str(), Follow::kNo));
  copy.record.file = FileIdentity::of(in_place);
  copy.record.set(Record::kVerified, true);
  if (copy.leased) (void)fs.set_lease(copy.original.get(), Lease::kNone);
  if (is_free(fs, copy.original.get())) {
    (void)fs.unlink(place.workshop, copy.name.c_str());
  }
  copy.original.reset();
  return {};
}

namespace {

// Whether it is a copy of ours, finished or not. The tag is written last, into the hole that the
// visible bytes have left before them; so an unfinished copy has zeros in its header.
Result<bool> is_copy(Fs& fs, const AdoptPlace& place, int fd, const FileStat& stat, uint32_t uid) {
  std::string start(std::min<uint64_t>(stat.size, kMaxPrefix), '\0');
  MH_TRY_SET(const size_t got, fs.pread(fd, start.data(), start.size(), 0));
  start.resize(got);
  const TagChoice choice = choose_tag(scan_prefix(start, got == stat.size), place.key, nullptr);
  if (choice.kind == TagChoice::Kind::kVerified) {
    return choice.tag.uid == uid && choice.tag.uidvalidity == place.uidvalidity;
  }
  const std::string header = start.substr(0, start.find("\n\n"));
  const bool begun =
      start.size() < kTagLineSize && header.starts_with(kTagField.substr(0, header.size()));
  return begun || header.find('\0') != std::string::npos;
}

// Whether it shows what the message shows: an original, in a restored tree, where its inode is
// another, or a copy without tag. Where the message begins in it does not matter.
Result<bool> shows_the_same(Fs& fs, int fd, const FileStat& stat, const Record* record) {
  if (record == nullptr || !record->has(Record::kHashKnown)) return false;
  const uint64_t size = record->visible_size();
  if (stat.size < size) return false;
  Fingerprint hash;
  std::string block(kBlock, '\0');
  for (uint64_t done = 0; done < size;) {
    const size_t want = std::min<uint64_t>(block.size(), size - done);
    MH_TRY_SET(const size_t got, fs.pread(fd, block.data(), want, stat.size - size + done));
    if (got == 0) return false;
    hash.add(std::string_view(block.data(), got));
    done += got;
  }
  return hash.value() == record->hash;
}

// A file of the workshop that is a message: an original that a blocked writer has written to, or
// what another program put under the number just when we exchanged. It is the message now.
Status put_back(Fs& fs, const AdoptPlace& place, const std::string& name, uint64_t inode,
                const Record* record) {
  if (record != nullptr) {
    const std::string number = name_of(record->number);
    const auto there = fs.stat(place.folder, number.c_str(), Follow::kNo);
    if (there && record->file.same_content(FileIdentity::of(*there))) {
      MH_TRY(fs.rename(place.workshop, name.c_str(), place.folder, number.c_str(),
                       RenameMode::kExchange));
      return fs.unlink(place.workshop, name.c_str());
    }
  }
  bool is_back = false;  // who put it back died before the unlink
  MH_TRY(fs.list(place.folder, [&](const DirEntry& entry) {
    is_back = entry.inode == inode && message_number(entry.name).has_value();
    return !is_back;
  }));
  if (!is_back) {
    MH_TRY_SET(const uint32_t highest, highest_number(fs, place.folder));
    MH_TRY(fs.link(place.workshop, name.c_str(), place.folder, name_of(highest + 1).c_str()));
  }
  return fs.unlink(place.workshop, name.c_str());
}

Status sweep_one(Fs& fs, const AdoptPlace& place, const std::string& name,
                 const AdoptionName& parsed, const Record* record) {
  auto file = fs.open(place.workshop, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) return file.error().kind() == ErrorKind::kNotFound ? Status{} : pass_on(file);
  MH_TRY_SET(const FileStat stat, fs.fstat(file->get()));
  if (stat.inode != parsed.inode) {
    if (!fs.set_lock(file->get(), Lock::kRead)) return {};  // its maker lives
    (void)fs.set_lock(file->get(), Lock::kNone);
    MH_TRY_SET(bool dead, is_copy(fs, place, file->get(), stat, parsed.uid));
    if (!dead) {
      MH_TRY_SET(dead, shows_the_same(fs, file->get(), stat, record));
    }
    return dead ? fs.unlink(place.workshop, name.c_str())
                : put_back(fs, place, name, stat.inode, record);
  }
  if (!is_free(fs, file->get())) return {};
  if (stat.size == parsed.size && stat.mtime == parsed.mtime) {
    return fs.unlink(place.workshop, name.c_str());
  }
  return put_back(fs, place, name, stat.inode, record);
}

}  // namespace

Status sweep_workshop(Fs& fs, const AdoptPlace& place,
                      const std::function<const Record*(uint32_t uid)>& record_of) {
  std::vector<std::pair<std::string, AdoptionName>> found;
  MH_TRY(fs.list(place.workshop, [&](const DirEntry& entry) {
    if (const auto parsed = parse_adoption_name(entry.name)) {
      found.emplace_back(entry.name, *parsed);
    }
    return true;
  }));
  for (const auto& [name, parsed] : found) {
    MH_TRY(sweep_one(fs, place, name, parsed, record_of(parsed.uid)));
  }
  return {};
}

}  // namespace mh
