// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: new UIDs, in the order of the numbers.
//
// A UID that clients have seen shows one message for ever, and the order of UIDs is that of
// arrival; another order is another mailbox for them. So it comes under a new UIDVALIDITY, and
// clients read everything anew. All of it is one new journal, which takes the place of the old one
// by a rename: before it nothing is changed, after it everything. The index is of another
// UIDVALIDITY then and made anew by the next session, with the flags that the sequences tell. Tags
// are of the old one, and written anew afterwards.
//
// What Dovecot alone would have known is gone with the index, and nothing else: flags that a
// message had when it left the folder since the last session.
#include <algorithm>

#include "libmh/folder/folder-impl.h"

namespace mh {
namespace {

bool is_listed(const Listing& listing, const Record& record) {
  const auto entry = std::ranges::lower_bound(listing.entries, record.number, {}, &Entry::number);
  return entry != listing.entries.end() && entry->number == record.number &&
         entry->file.same_file(record.file);
}

// What a UID of before is now; messages first, then what remains of others.
class NewUids {
 public:
  explicit NewUids(const std::vector<Record>& by_number) {
    for (const Record& record : by_number) give(record.uid);
  }
  uint32_t give(uint32_t uid) { return uids_.try_emplace(uid, next_).second ? next_++ : of(uid); }
  uint32_t of(uint32_t uid) const {
    const auto found = uids_.find(uid);
    return found == uids_.end() ? 0 : found->second;
  }
  uint32_t next() const { return next_; }

 private:
  std::map<uint32_t, uint32_t> uids_;
  uint32_t next_ = 1;
};

}  // namespace

// Messages that are there, in number order. Those that are gone are told apart by the listing.
std::vector<Record> Folder::Impl::records_by_number(std::vector<uint32_t>* gone) const {
  std::vector<Record> there;
  for (const Record& record : records) {
    if (is_listed(*listing, record)) {
      there.push_back(record);
    } else {
      gone->push_back(record.uid);
    }
  }
  std::ranges::sort(there, {}, &Record::number);
  return there;
}

JournalState Folder::Impl::reordered() {
  std::vector<uint32_t> gone;
  const std::vector<Record> by_number = records_by_number(&gone);
  NewUids uids(by_number);
  const JournalState& old = state();
  JournalState facts;
  facts.header = old.header;
  facts.header.created = fs.now() / kSecond;
  facts.directory = old.directory;
  facts.modseq_floor = old.modseq_floor;
  facts.options = old.options;
  facts.pending_sequences = old.pending_sequences;
  for (Record record : by_number) {
    const uint32_t before = record.uid;
    record.uid = uids.of(before);
    record.set(Record::kTagged, false);
    record.set(Record::kTagFlushed, false);
    facts.records[record.uid] = record;
    facts.alive.add(record.uid);
    if (old.undecided.contains(before)) facts.undecided.add(record.uid);
    if (const auto found = old.pop3.find(before); found != old.pop3.end()) {
      facts.pop3[record.uid] = found->second;
    }
    // Its transaction was found whole by the sync.
    if (const auto save = old.pending_saves.find(before); save != old.pending_saves.end()) {
      facts.pending_saves[record.uid] = {record.uid, record.uid, 1, save->second.flags};
    }
  }
  const auto bury = [&](Tombstone tombstone) {
    tombstone.uid = uids.give(tombstone.uid);
    facts.tombstones[tombstone.uid] = std::move(tombstone);
  };
  for (const auto& [uid, tombstone] : old.tombstones) bury(tombstone);
  for (Tombstone& tombstone : tombstones_of(gone, {})) bury(std::move(tombstone));
  facts.uidnext = uids.next();
  facts.uidnext_limit = facts.uidnext;
  return facts;
}

// Under the folder lock.
Result<bool> Folder::Impl::is_in_order() {
  if (!journal || !writable()) {
    return fail(ErrorKind::kReadOnly, location.folder + ": its state cannot be written");
  }
  MH_TRY_SET(const FilesOutcome files, sync_files(false, {}, false));
  if (files.deferred) {
    return fail(ErrorKind::kNoSpace, "its journal could not be written: no UID was given");
  }
  MH_TRY(unsettled);
  if (!listing->whole) {
    return fail(ErrorKind::kBusy, location.folder + ": not all of it could be listed");
  }
  if (!state().pending_flags.empty()) {
    return fail(ErrorKind::kBusy, location.folder + ": flags set by IMAP wait to be written to " +
                                      settings.sequences_name +
                                      "; the next session does that when it can");
  }
  std::vector<uint32_t> gone;
  const std::vector<Record> by_number = records_by_number(&gone);
  return std::ranges::is_sorted(by_number, {}, &Record::uid);
}

Status Folder::Impl::reorder() {
  JournalState facts = reordered();
  MH_TRY_SET(facts.header.uidvalidity, location.root->new_uidvalidity(facts.header.uidvalidity));
  MH_TRY_SET(Journal changed, Journal::create(fs, state_dir.get(), std::move(facts),
                                              location.directory_mode & 0666, location.gid, true));
  journal.emplace(std::move(changed));
  // Sessions look at a folder that seems unchanged only by its stamps.
  MH_TRY_SET(const FileStat stat, fs.fstat(dir.get()));
  (void)fs.set_times(dir.get(), kLeaveTime, stat.mtime);
  loaded = false;
  verified.clear();
  not_now.clear();
  never.clear();
  return {};
}

Result<bool> Folder::order_by_number() {
  Impl& in = *impl_;
  MH_TRY(look(false));
  {
    MH_TRY(lock());
    const FolderUnlock unlock(*this);
    MH_TRY_SET(const bool in_order, in.is_in_order());
    if (in_order) return false;
  }
  MH_TRY_SET(const FolderLock list, in.location.root->lock(in.settings.lock_timeout));
  MH_TRY(lock());
  const FolderUnlock unlock(*this);
  MH_TRY_SET(const bool in_order, in.is_in_order());
  if (in_order) return false;
  MH_TRY(in.reorder());
  return true;
}

}  // namespace mh
