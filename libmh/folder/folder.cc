// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/folder.h"

#include <fcntl.h>
#include <sodium.h>

#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/format/fingerprint.h"
#include "libmh/store/journal-facts.h"
#include "libmh/store/records.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// Folding is worth its cost when this many lines, and a tenth of the folder, are not in the store.
constexpr uint64_t kFoldLines = 512;
constexpr uint64_t kFoldShare = 10;
// Compaction: when the journal holds this many times more lines than facts.
constexpr uint64_t kCompactShare = 4;
constexpr uint64_t kLongLine = 2048;  // bytes for each of these: some lines have long texts

bool before_uid(const Record& record, uint32_t uid) { return record.uid < uid; }

StoreHeader store_header(const JournalState& state, uint64_t offset) {
  StoreHeader header;
  header.generation = state.header.generation;
  header.folded_to = offset;
  header.uidvalidity = state.header.uidvalidity;
  header.uidnext_limit = state.uidnext_limit;
  header.modseq_floor = state.modseq_floor;
  header.mailbox_guid = state.header.mailbox_guid;
  return header;
}

}  // namespace

MessageHint hint_of(const Record& record) {
  MessageHint hint;
  hint.number = record.number;
  hint.prefix = record.prefix;
  if (record.has(Record::kVerified)) hint.stamp = stamp_of(record.file);
  return hint;
}

uint64_t stamp_of(const FileIdentity& file) {
  const uint64_t parts[] = {file.inode, file.size, static_cast<uint64_t>(file.mtime),
                            static_cast<uint64_t>(file.ctime)};
  const uint64_t stamp =
      fingerprint(std::string_view(reinterpret_cast<const char*>(parts), sizeof(parts)));
  return stamp == 0 ? 1 : stamp;
}

Folder::Folder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Folder::~Folder() {
  Impl& in = *impl_;
  const bool lasts = in.listing && in.listing->whole && in.waiting == 0 && !in.suspicious;
  if (lasts && in.location.root)
    in.location.root->leave_listing(in.location.guid, std::move(*in.listing));
}

Result<std::unique_ptr<Folder>> Folder::open(Fs& fs, Root& root, const std::string& path,
                                             FolderSettings settings, HintsOf hints_of) {
  auto impl = std::make_unique<Impl>(fs, std::move(settings));
  impl->hints_of = std::move(hints_of);
  MH_TRY_SET(impl->location, root.find_or_create(path));
  MH_TRY_SET(impl->dir, fs.open(AT_FDCWD, impl->location.folder.c_str(), O_RDONLY | O_DIRECTORY));
  if (!impl->location.state_dir.empty()) {
    MH_TRY_SET(impl->state_dir,
               fs.open(AT_FDCWD, impl->location.state_dir.c_str(), O_RDONLY | O_DIRECTORY));
  }
  SequencesFile::Options sequences;
  sequences.name = impl->settings.sequences_name;
  sequences.locking = impl->settings.locking;
  sequences.mode = impl->location.directory_mode & 0666;
  impl->sequences.emplace(fs, impl->dir.get(), std::move(sequences));
  return std::unique_ptr<Folder>(new Folder(std::move(impl)));
}

Status Folder::Impl::load_state() {
  if (state_loaded) return {};
  if (!state_dir) {
    // Whoever sees this sees it alone and for this session: the validity must be nobody else's, nor
    // that of the next session. Those that are kept anywhere are higher.
    memory_state.header.uidvalidity = 1 + randombytes_uniform(kPrivateUidvalidities - 1);
    memory_state.header.mailbox_guid = location.guid;
    store = make_memory_store();
    warn("no place for its state can be written: UIDs last for this session only");
    state_loaded = true;
    return {};
  }
  store = open_bdb_store(fs, state_dir.get(), location.state_dir, location.directory_mode & 0666,
                         location.gid);
  auto opened = Journal::open(fs, state_dir.get());
  if (!opened && is_lost(opened.error())) return recover_journal();
  if (!opened) return pass_on(opened);
  journal.emplace(std::move(*opened));
  state_loaded = true;
  if (journal->state().rolled_back) return mind_rolled_back();
  return {};
}

Result<FolderLock> Folder::Impl::lock_folder() {
  return FolderLock::acquire(fs, state_dir.get(), kLockFile.data(),
                             {location.directory_mode & 0666, location.gid, settings.lock_timeout});
}

// Who may only read the state shares the lock, and writes nothing.
Result<FolderLock> Folder::Impl::lock_as_may_be() {
  auto taken = lock_folder();
  lock_is_shared = !taken && (taken.error().kind() == ErrorKind::kPermission ||
                              taken.error().kind() == ErrorKind::kReadOnly);
  if (!lock_is_shared) return taken;
  return FolderLock::acquire(fs, state_dir.get(), kLockFile.data(),
                             {.timeout = settings.lock_timeout, .shared = true});
}

uint32_t Folder::uidvalidity() const { return impl_->state().header.uidvalidity; }
const NumberSet& Folder::undecided() const { return impl_->state().undecided; }
uint64_t Folder::modseq_floor() const { return impl_->state().modseq_floor; }
Result<Guid> Folder::mailbox_guid() {
  MH_TRY(impl_->load_state());
  return impl_->state().header.mailbox_guid;
}
const Location& Folder::location() const { return impl_->location; }
bool Folder::read_only() const { return !impl_->writable(); }
const FolderSettings& Folder::settings() const { return impl_->settings; }
FolderMemory Folder::memory() const { return impl_->now; }
bool Folder::locked() const { return impl_->held.has_value(); }
bool Folder::big() const { return impl_->state().alive.count() >= impl_->settings.big_folder; }
uint32_t Folder::uidnext() const { return impl_->state().uidnext; }

Status Folder::lock() {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (in.state_dir) {
    MH_TRY_SET(FolderLock taken, in.lock_as_may_be());
    in.held.emplace(std::move(taken));
  }
  if (!in.journal) return {};
  const auto fresh = in.journal->refresh();
  if (!fresh) {
    in.held.reset();
    return pass_on(fresh);
  }
  if (in.writable() && in.journal->state().directory != in.location.directory) {
    in.journal->add_directory(in.location.directory);
  }
  return {};
}

void Folder::unlock() { impl_->held.reset(); }

// Without the lock, the journal and the store may be read when another process has folded or
// compacted the one and not the other: then some that are alive seem to have no record. False when
// it cannot be known whether it is so.
bool Folder::Impl::load_all_records() {
  records = all_records(*journal, *store);
  if (held || records.size() >= journal->state().alive.count()) return true;
  const auto lock = lock_as_may_be();
  if (!lock || !journal->refresh()) return false;
  records = all_records(*journal, *store);
  return true;
}

Status Folder::Impl::load_records() {
  MH_TRY(load_state());
  if (!journal) {
    loaded = true;
    return {};
  }
  if (records_are_current()) return {};
  std::optional<NumberSet> changed;
  if (loaded && records_generation == journal->state().header.generation) {
    if (auto since = journal->changed_since(records_offset)) changed = std::move(*since);
  }
  if (changed) update_records(journal->state(), *changed, &records);
  loaded = changed || load_all_records();
  records_generation = journal->state().header.generation;
  records_offset = journal->offset();
  return {};
}

Result<std::span<const Record>> Folder::records() {
  MH_TRY(impl_->load_records());
  return std::span<const Record>(impl_->records);
}

Record* Folder::Impl::find(uint32_t uid) {
  const auto found = std::lower_bound(records.begin(), records.end(), uid, before_uid);
  return found != records.end() && found->uid == uid ? &*found : nullptr;
}

std::optional<NumberSet> Folder::changed_since(uint64_t generation, uint64_t offset) const {
  const Impl& in = *impl_;
  if (!in.journal || in.journal->state().header.generation != generation) return std::nullopt;
  auto changed = in.journal->changed_since(offset);
  if (!changed) return std::nullopt;
  return std::move(*changed);
}

Status Folder::Impl::commit(const std::vector<Record>& changed,
                            const std::vector<Tombstone>& dropped) {
  if (!journal) {
    for (const Record& record : changed) {
      memory_state.alive.add(record.uid);
      memory_state.uidnext = std::max(memory_state.uidnext, record.uid + 1);
    }
    for (const Tombstone& tombstone : dropped) {
      memory_state.alive.remove(tombstone.uid);
      memory_state.tombstones[tombstone.uid] = tombstone;
    }
    apply_to_records(changed, dropped);
    return {};
  }
  for (const Record& record : changed) journal->add_record(record);
  for (const Tombstone& tombstone : dropped) journal->add_tombstone(tombstone);
  if (!journal->has_pending()) return {};
  const bool current = records_are_current();
  Status done = journal->append();
  if (done && settings.flush) done = journal->flush();
  if (!done) {
    journal->discard_pending();
    return done;
  }
  if (current) follow_journal(changed, dropped);
  return {};
}

bool Folder::Impl::records_are_current() const {
  return loaded && records_generation == journal->state().header.generation &&
         records_offset == journal->offset();
}

// After an append to a journal that the records were up to: where they were not, what others have
// written lies between, and load_records() reads it together with this.
void Folder::Impl::follow_journal(const std::vector<Record>& changed,
                                  const std::vector<Tombstone>& dropped) {
  apply_to_records(changed, dropped);
  records_generation = journal->state().header.generation;
  records_offset = journal->offset();
}

void Folder::Impl::apply_to_records(const std::vector<Record>& changed,
                                    const std::vector<Tombstone>& dropped) {
  NumberSet gone;
  for (const Tombstone& tombstone : dropped) gone.add(tombstone.uid);
  if (!gone.empty()) {
    std::erase_if(records, [&](const Record& record) { return gone.contains(record.uid); });
  }
  for (const Record& record : changed) {
    if (Record* known = find(record.uid)) {
      *known = record;
    } else {
      records.insert(std::lower_bound(records.begin(), records.end(), record.uid, before_uid),
                     record);
    }
  }
}

Status Folder::reserve_modseq(uint64_t modseq) {
  Impl& in = *impl_;
  if (modseq + kModseqLow < in.state().modseq_floor) return {};
  if (!in.journal) {
    in.memory_state.modseq_floor = modseq + kModseqReserve;
    return {};
  }
  if (!in.writable()) return {};
  in.journal->add_modseq_floor(modseq + kModseqReserve);
  return in.commit({}, {});
}

Status Folder::change_identity(const Identity& wanted) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (!in.journal) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  std::optional<FolderLock> list;
  if (wanted.uidvalidity != 0) {
    MH_TRY_SET(FolderLock held, in.location.root->lock(in.settings.lock_timeout));
    list.emplace(std::move(held));
  }
  MH_TRY(lock());
  const Status done = change_identity_locked(wanted);
  unlock();
  return done;
}

Status Folder::change_identity_locked(const Identity& wanted) {
  Impl& in = *impl_;
  if (!in.writable()) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  MH_TRY(in.load_records());
  JournalState facts = in.journal->state();
  for (const Record& record : in.records) facts.records[record.uid] = record;
  if (wanted.guid != Guid{}) facts.header.mailbox_guid = wanted.guid;
  if (wanted.uidvalidity != 0 && wanted.uidvalidity != facts.header.uidvalidity) {
    facts.header.uidvalidity = wanted.uidvalidity;
    for (auto& [uid, record] : facts.records) {
      record.set(Record::kTagged, false);
      record.set(Record::kTagFlushed, false);
    }
    MH_TRY(in.location.root->note_uidvalidity(wanted.uidvalidity));
  }
  facts.uidnext = std::max(facts.uidnext, wanted.uidnext);
  facts.uidnext_limit = std::max(facts.uidnext_limit, facts.uidnext);
  facts.modseq_floor = std::max(facts.modseq_floor, wanted.highest_modseq);
  MH_TRY_SET(Journal changed,
             Journal::create(in.fs, in.state_dir.get(), std::move(facts),
                             in.location.directory_mode & 0666, in.location.gid, true));
  in.journal.emplace(std::move(changed));
  in.loaded = false;
  return {};
}

Status Folder::pass_over_lost_uids() {
  Impl& in = *impl_;
  if (!in.journal) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  JournalState ahead = in.state();
  jump(ahead, in.fs.now());
  return change_identity_locked({.guid = {},
                                 .uidvalidity = 0,
                                 .uidnext = ahead.uidnext,
                                 .highest_modseq = ahead.modseq_floor});
}

std::optional<IndexSeal> Folder::index_seal() const {
  if (!impl_->state_dir) return std::nullopt;
  return read_index_seal(impl_->fs, impl_->state_dir.get());
}

void Folder::set_index_seal(const IndexSeal& seal) {
  Impl& in = *impl_;
  if (!in.state_dir || !in.held) return;
  const Status written = write_index_seal(in.fs, in.state_dir.get(), seal,
                                          in.location.directory_mode & 0666, in.location.gid);
  static_cast<void>(written);
}

Status Folder::maintain(bool at_once) {
  Impl& in = *impl_;
  in.fold_now |= at_once;
  if (!in.journal || !in.writable() || !in.held) return {};
  if (at_once && in.state().rolled_back) {
    // Its first line written makes it a good one again.
    in.journal->add_uidnext_limit(in.state().uidnext_limit);
    MH_TRY(in.commit({}, {}));
  }
  MH_TRY(in.load_records());
  const auto header = in.store->header();
  const JournalState& facts = in.journal->state();
  const bool same = header && header->generation == facts.header.generation;
  uint64_t unfolded = same ? 0 : facts.records.size();
  if (same) {
    if (const auto since = in.journal->changed_since(header->folded_to)) unfolded = since->count();
  }
  const uint64_t few = std::max<uint64_t>(kFoldLines, in.records.size() / kFoldShare);
  const bool few_news = unfolded < few && !std::exchange(in.fold_now, false);
  if (few_news && in.journal->offset() < kFoldLines * kLongLine) return {};
  // A file may forget what was never flushed, the journal then must not.
  const auto leaves = [&](const Record& record) {
    return record.has(Record::kTagged) && (record.has(Record::kTagFlushed) || !in.settings.flush);
  };
  const uint64_t untagged =
      static_cast<uint64_t>(in.records.size() - static_cast<size_t>(std::count_if(
                                                    in.records.begin(), in.records.end(), leaves)));
  const uint64_t kept_lines = untagged + facts.tombstones.size() + kFoldLines;
  const bool is_long =
      facts.lines > kCompactShare * kept_lines || in.journal->offset() > kLongLine * kept_lines;
  if (few_news && !is_long) return {};
  if (is_long) {
    MH_TRY(in.fs.fsync(in.dir.get()));  // the names of the tagged files
    JournalState kept = facts;
    kept.records.clear();
    for (const Record& record : in.records) {
      if (!leaves(record)) kept.records[record.uid] = record;
    }
    const int64_t now = in.fs.now() / kSecond;
    std::erase_if(kept.tombstones, [&](const auto& item) {
      return item.second.dropped_at + kTombstoneSeconds < now;
    });
    MH_TRY_SET(Journal compacted,
               Journal::create(in.fs, in.state_dir.get(), std::move(kept),
                               in.location.directory_mode & 0666, in.location.gid, true));
    in.journal.emplace(std::move(compacted));
    in.records_generation = in.journal->state().header.generation;
    in.records_offset = in.journal->offset();
  }
  return in.store->replace(store_header(in.journal->state(), in.journal->offset()), in.records);
}

}  // namespace mh
