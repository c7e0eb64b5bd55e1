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

// UIDs go on where they were: a session that still has the old ones finds nothing under them.
Result<JournalState> Folder::Impl::reordered() {
  std::vector<uint32_t> gone;
  const std::vector<Record> by_number = records_by_number(&gone);
  const JournalState& old = state();
  if (by_number.size() >= kMaxUidNext - old.uidnext) {
    return fail(ErrorKind::kInvalid, location.folder + ": its UIDs are used up");
  }
  JournalState facts = old;
  facts.records.clear();
  facts.alive.clear();
  facts.undecided.clear();
  facts.pop3.clear();
  facts.pending_saves.clear();
  facts.renumbered.clear();
  facts.header.created = fs.now() / kSecond;
  for (Record record : by_number) {
    const uint32_t before = std::exchange(record.uid, facts.uidnext++);
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
  for (const Tombstone& tombstone : tombstones_of(gone, {})) {
    facts.tombstones[tombstone.uid] = tombstone;
  }
  facts.uidnext_limit = std::max(facts.uidnext_limit, facts.uidnext);
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
  MH_TRY_SET(JournalState facts, reordered());
  // By its stamps alone a session would take the folder for unchanged. Whoever looks now waits for
  // our lock.
  MH_TRY_SET(const FileStat stat, fs.fstat(dir.get()));
  MH_TRY(fs.set_times(dir.get(), kLeaveTime, stat.mtime));
  MH_TRY_SET(facts.header.uidvalidity, location.root->new_uidvalidity(facts.header.uidvalidity));
  MH_TRY_SET(Journal changed, Journal::create(fs, state_dir.get(), std::move(facts),
                                              location.directory_mode & 0666, location.gid, true));
  journal.emplace(std::move(changed));
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
