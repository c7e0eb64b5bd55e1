// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: the journal is lost, or another day's.
//
// Its UIDVALIDITY may be kept only when no UID can be given a second time, that is, when something
// that is left knows all UIDs that were given, up to less than the jump. Two things may:
//
//  * The store, if it was folded from the very journal that is lost, near its end. The seal beside
//    the journal tells: it names the generation, and how far that was flushed. Within a generation
//    UIDs are given one after the other, each by a line of its own, so the distance between the two
//    bounds their number. A store of an earlier generation, of yesterday's backup, or without a
//    seal that is the very file written here, may be of any age.
//  * The caller's index, if it is the one that was committed last (Hints; the caller looks at the
//    seal of the index). A UID that it does not have was told to nobody.
//
// A tag is no source of UIDNEXT: whoever copies files could raise it. But a tag of ours with a UID
// beyond the jump proves that what is left is older than it seems.
//
// When nothing is left, or proven too old, the folder gets a new UIDVALIDITY, greater than any that
// it has plausibly had. Clients read it anew; that costs time, a UID given twice costs mail.
//
// Of the messages, those of the store are taken over that the index still had, and those whose tag
// tells their UID; all others get new UIDs.
#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/folder/probe.h"
#include "libmh/folder/root.h"
#include "libmh/store/journal-facts.h"

namespace mh {
namespace {

// No line that gives a UID is shorter, and none at all.
constexpr uint64_t kShortestRecord = 64;
constexpr uint64_t kShortestLine = 20;

// How much was journalled since the store was folded; nullopt when nothing tells, or when that may
// have given more UIDs than the jump makes up for.
std::optional<uint64_t> bytes_since(const StoreHeader& store, const std::optional<Seal>& seal) {
  if (!seal || seal->generation != store.generation) return std::nullopt;
  const uint64_t bytes = seal->offset - std::min(seal->offset, store.folded_to);
  if (bytes / kShortestRecord >= kJump / 2) return std::nullopt;
  return bytes;
}

}  // namespace

bool is_lost(const Error& opening_the_journal) {
  return opening_the_journal.kind() == ErrorKind::kNotFound ||
         opening_the_journal.kind() == ErrorKind::kCorrupt;
}

// Nothing but which folder it is.
JournalState Folder::Impl::empty_state() const {
  JournalState state;
  state.header.mailbox_guid = location.guid;
  state.header.created = fs.now() / kSecond;
  state.directory = location.directory;
  state.options.emplace(kFirstSight);
  return state;
}

// What is known for sure; UIDVALIDITY 0 when that is nothing. The jump is made.
JournalState Folder::Impl::remains_of_journal(const Hints& hints) {
  JournalState remains = empty_state();
  auto header = store->header();
  auto records_kept = header ? store->load() : pass_on(header);
  const bool is_ours = header && records_kept && header->mailbox_guid == location.guid;
  const auto since =
      is_ours ? bytes_since(*header, read_own_seal(fs, state_dir.get())) : std::nullopt;
  remains.header.uidvalidity = since ? header->uidvalidity : hints.uidvalidity;
  const uint32_t uidvalidity = remains.header.uidvalidity;
  if (uidvalidity == 0) return remains;
  const bool index_knows = hints.uidvalidity == uidvalidity;
  if (is_ours && header->uidvalidity == uidvalidity) {
    remains.uidnext_limit = header->uidnext_limit;
    remains.modseq_floor = header->modseq_floor;
    for (const Record& record : *records_kept) {
      if (index_knows && !hints.uids.contains(record.uid)) continue;
      remains.records[record.uid] = record;
      remains.alive.add(record.uid);
    }
  }
  if (index_knows) {
    remains.uidnext_limit = std::max(remains.uidnext_limit, hints.uidnext);
    remains.modseq_floor = std::max(remains.modseq_floor, hints.highest_modseq);
    remains.alive.unite(hints.uids);
  }
  // Each line that nobody knows may have raised the floor by as much.
  if (!index_knows) remains.modseq_floor += kModseqReserve * (since.value_or(0) / kShortestLine);
  // A UIDVALIDITY is the time when it was made, if nothing stood in the way.
  remains.header.created = std::min<int64_t>(remains.header.created, uidvalidity);
  jump(remains, fs.now());
  remains.rolled_back = false;
  return remains;
}

// Tags of ours in the folder's files.
Folder::Impl::TagEvidence Folder::Impl::read_tags(uint32_t uidvalidity) {
  TagEvidence evidence;
  const auto found = scan_folder(fs, dir.get());
  if (!found || location.root == nullptr) return evidence;
  const Nanoseconds latest = fs.now() / kSecond + kPlausibleAhead;
  for (const Entry& entry : found->entries) {
    ProbeRequest request;
    request.number = entry.number;
    request.file = entry.file;
    const Probe probe = read_probe(fs, dir.get(), request, location.root->key());
    if (probe.tag_kind != Probe::TagKind::kVerified) continue;
    if (probe.tag.uidvalidity <= latest) {
      evidence.highest_uidvalidity = std::max(evidence.highest_uidvalidity, probe.tag.uidvalidity);
    }
    if (probe.tag.uidvalidity == uidvalidity) evidence.uids.add(probe.tag.uid);
  }
  return evidence;
}

// Puts these facts, or none under a new UIDVALIDITY, in the place of a journal that `may_go`.
// Whoever was faster has done it.
Status Folder::Impl::replace_journal(JournalState facts, uint32_t above,
                                     const std::function<bool(const Result<Journal>&)>& may_go) {
  const bool is_new = facts.header.uidvalidity == 0;
  std::optional<FolderLock> list;
  if (is_new) {
    MH_TRY_SET(FolderLock held_list, location.root->lock(settings.lock_timeout));
    list.emplace(std::move(held_list));
  }
  MH_TRY_SET(const FolderLock lock, lock_folder());
  auto opened = Journal::open(fs, state_dir.get());
  if (may_go(opened)) {
    if (is_new) {
      MH_TRY_SET(facts.header.uidvalidity, location.root->new_uidvalidity(above));
      warn("nothing tells all UIDs that were given: new UIDVALIDITY " +
           std::to_string(facts.header.uidvalidity));
    } else {
      warn("kept UIDVALIDITY, UIDNEXT jumps to " + std::to_string(facts.uidnext_limit) +
           "; messages without a tag may get new UIDs");
    }
    opened = Journal::create(fs, state_dir.get(), std::move(facts), location.directory_mode & 0666,
                             location.gid, true);
  }
  MH_TRY_SET(Journal taken, std::move(opened));
  journal.emplace(std::move(taken));
  state_loaded = true;
  return {};
}

// Everything is read before a lock is taken: of a large folder that takes a while.
Status Folder::Impl::recover_journal() {
  warn("the journal was lost");
  const Hints hints = hints_of ? hints_of(location) : Hints();
  JournalState remains = remains_of_journal(hints);
  const TagEvidence tags = read_tags(remains.header.uidvalidity);
  if (!tags.uids.empty() && tags.uids.max() >= remains.uidnext_limit) {
    remains = empty_state();
  } else if (hints.uidvalidity != remains.header.uidvalidity) {
    // The store alone: messages that came after it was folded.
    const uint32_t known = remains.records.empty() ? 0 : remains.records.rbegin()->first;
    for (const NumberRange& range : tags.uids.ranges()) {
      if (range.last > known) remains.alive.add_range(std::max(range.first, known + 1), range.last);
    }
  }
  return replace_journal(
      std::move(remains), tags.highest_uidvalidity,
      [](const Result<Journal>& found) { return !found && is_lost(found.error()); });
}

// A backup that is restored a second time jumps to where it jumped before: then tags tell of UIDs
// given after the first time.
Status Folder::Impl::mind_rolled_back() {
  const JournalState& facts = journal->state();
  warn("the journal was restored, copied or damaged: UIDNEXT jumps to " +
       std::to_string(facts.uidnext_limit));
  if (!journal->writable()) return {};
  const TagEvidence tags = read_tags(facts.header.uidvalidity);
  if (tags.uids.empty() || tags.uids.max() < facts.uidnext_limit) return {};
  const uint64_t generation = facts.header.generation;
  return replace_journal(empty_state(), tags.highest_uidvalidity,
                         [generation](const Result<Journal>& found) {
                           return found && found->state().rolled_back &&
                                  found->state().header.generation == generation;
                         });
}

}  // namespace mh
