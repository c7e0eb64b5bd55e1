// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: the messages get the numbers 1, 2, 3 …, as by nmh's "folder -pack".
//
// It is done in slices, each of which is whole in itself, so that the locks are held for
// milliseconds however large the folder is:
//
//   intent       which message goes from which number to which, and what the sequences said before:
//                journalled and flushed
//   nmh's lock   renames, lowest number first, never onto a number that is taken; then the
//                sequences are written; then the private ones of nmh's context
//   flush        the directory and the sequences
//   records      with the new numbers, and the end of the intent
//
// Killed in between, some files have their new number and the sequences may speak of the old ones.
// No file is renamed again for that: the folder is valid as it is, only not packed to its end.
// Whoever syncs next brings the sequences to the numbers that there are (settle_renumbering(), with
// what renumber.h says of commands of nmh that came between). Until he can, flags are not merged,
// nothing is saved, and nothing is removed: the numbers of the sequences are not known.
//
// Records find their files by identity, so a UID is never in danger. But an index, whose base is in
// old numbers, would take a pack for a rewriting of the sequences, and could not tell a flag that
// somebody cleared before it from one that got lost in it; so the journal tells it what was moved
// and what the sequences said before and after (follow_renumberings()).
//
// Nothing is checked again between two slices: before each rename the file shows itself. If it is
// not the one that was meant, or its new number is taken, the slice ends there, and the rest is
// planned anew.
//
// What stays where it is: files that are still being written or that only somebody with an index
// can judge (nothing above them comes below them), and whatever is no message.
#include <fcntl.h>

#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/format/private-sequences.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// Messages of a slice, and for how long its renames may go on.
constexpr size_t kSliceMessages = 1000;
constexpr Nanoseconds kSliceTime = 20 * kMillisecond;
// Long sequences are written less often: so many bytes of them for each message.
constexpr size_t kTextPerMessage = 64;
// How often the rest is planned anew because the folder was changed meanwhile.
constexpr size_t kMostPlans = 10;
constexpr int kMostWrites = 5;
// What is kept for indexes that have not been merged since, in runs of messages.
constexpr size_t kMostRuns = 200'000;

SequencesMark mark_of(const FlagMap& map, const Sequences& file) {
  const SequencesMemory memory = memory_of(map, file);
  return {memory.hash, memory.unseen_hash, memory.cur};
}

bool same_sequences(const Sequences& a, const Sequences& b) {
  return a.cur() == b.cur() && a.hash_without_cur() == b.hash_without_cur();
}

// Numbers of a message that is gone, or was renamed by others: they were not carried.
bool has_stale(const Sequences& before, std::span<const MovedMessage> messages) {
  std::vector<NumberRange> from, to;
  for (const MovedMessage& message : messages) {
    from.push_back({message.from, message.from});
    to.push_back({message.to, message.to});
  }
  NumberSet free = NumberSet::from_ranges(std::move(to));
  free.subtract(NumberSet::from_ranges(std::move(from)));
  return std::ranges::any_of(before.names(), [&](std::string_view name) {
    NumberSet numbers = *before.find(name);
    numbers.intersect(free);
    return !numbers.empty();
  });
}

// Where this index, which knew `number`, has to look for the message.
uint32_t number_after(const std::vector<MoveRun>& by_uid, uint32_t uid, uint32_t number) {
  const auto behind = std::ranges::upper_bound(by_uid, uid, {}, &MoveRun::uid);
  if (behind == by_uid.begin()) return number;
  const MoveRun& run = *std::prev(behind);
  const uint32_t i = uid - run.uid;
  return i < run.count && number == run.from + i ? run.to + i : number;
}

}  // namespace

// ---- The sequences follow -------------------------------------------------------------------

// Empty where there is no context.
Result<std::string> Folder::Impl::context_text() {
  MH_TRY_SET(SequencesText text, read_context());
  return std::move(text.text);
}

Renumbering Folder::Impl::intent_of(std::span<const MessageMove> moves,
                                    const std::string& sequences_text,
                                    const std::string& context_then) const {
  const Sequences file = Sequences::parse(sequences_text);
  const uint32_t first = moves.front().to;
  const uint32_t last = moves.back().from;
  Renumbering intent;
  uint64_t known = 0;
  if (!state().renumbered.empty()) known = state().renumbered.back().serial;
  intent.serial = std::max(known + 1, static_cast<uint64_t>(std::max<Nanoseconds>(fs.now(), 1)));
  intent.moves = runs_of(moves);
  intent.before = mark_of(settings.flags, file);
  intent.sequences = restricted_to(file, first, last).print();
  const Sequences own = with_private_sequences(context_then, settings.name_in_context, Sequences());
  intent.own_sequences = restricted_to(own, first, last).print();
  return intent;
}

Status Folder::Impl::begin_renumbering(const Renumbering& intent) {
  journal->add_renumbering(intent);
  return commit({}, {});
}

// It was begun, and nothing has moved. What fails here is found out by the next sync.
void Folder::Impl::void_renumbering() {
  if (!state().renumbering) return;
  Renumbered nothing;
  nothing.serial = state().renumbering->serial;
  journal->add_renumbered(nothing);
  if (!journal->append()) journal->discard_pending();
}

// By what the records and the listing say.
std::vector<MovedMessage> Folder::Impl::where_they_are(const Renumbering& what) {
  std::vector<MovedMessage> messages;
  for (const MessageMove& move : moves_of(what.moves)) {
    MovedMessage message{move.from, move.to, 0};
    if (const Record* record = find(move.uid)) {
      const auto entry =
          std::ranges::lower_bound(listing->entries, record->number, {}, &Entry::number);
      const bool is_there = entry != listing->entries.end() && entry->number == record->number &&
                            entry->file.same_file(record->file);
      if (is_there) message.now = record->number;
    }
    messages.push_back(message);
  }
  return messages;
}

// `stale` are numbers that no message bears. Merged again when a writer that knows no lock came
// between.
Result<Folder::Impl::Carried> Folder::Impl::carry_public(SequencesFile::Hold& hold,
                                                         const Renumbering& what,
                                                         std::span<const MovedMessage> messages,
                                                         const NumberSet& stale,
                                                         bool written_before) {
  const Sequences before = Sequences::parse(what.sequences);
  for (int attempt = 1;; ++attempt) {
    MH_TRY_SET(SequencesText file, hold.read());
    const std::string text = repaired(file.text);
    const Sequences found = Sequences::parse(text);
    Sequences carried = carry_sequences(found, before, messages, written_before);
    const Sequences whole = carried;
    carried.remove_numbers(stale);
    const bool lost_some = !same_sequences(carried, whole) || has_stale(before, messages);
    Status written;
    if (!same_sequences(carried, found) || text != file.text) {
      written = write_sequences(hold, file.text, carried, &file);
      if (written) journal->add_sequences_written();
    }
    if (written) return Carried{std::move(carried), lost_some};
    if (written.error().kind() != ErrorKind::kBusy) return pass_on(written);
    journal->add_sequences_written();  // nothing of it counts
    MH_TRY(journal->append());
    if (attempt == kMostWrites) return pass_on(written);
  }
}

// `public_ones` as they are now.
Status Folder::Impl::carry_private(const Renumbering& what, std::span<const MovedMessage> messages,
                                   const Sequences& public_ones, bool written_before) {
  if (what.own_sequences.empty() || context_file() == nullptr) return {};
  const Sequences before = Sequences::parse(what.own_sequences);
  MH_TRY_SET(SequencesFile::Hold hold, context->acquire(settings.sequences_wait));
  MH_TRY_SET(const SequencesText file, hold.read());
  if (file.text.empty() && !hold.made()) {
    return fail(ErrorKind::kBusy, settings.context + " is being written");
  }
  const std::string& name = settings.name_in_context;
  const Sequences own = with_private_sequences(file.text, name, Sequences());
  const Sequences carried = carry_sequences(own, before, messages, written_before);
  if (same_sequences(own, carried)) return {};
  Sequences wanted = with_private_sequences(file.text, name, public_ones);
  for (const std::string_view sequence : own.names()) {
    const NumberSet* numbers = carried.find(sequence);
    wanted.set(sequence) = numbers != nullptr ? *numbers : NumberSet();
  }
  if (own.cur() != 0) wanted.set_cur(carried.cur());
  const auto written = hold.replace(set_private_sequences(file.text, name, public_ones, wanted));
  return written ? Status() : pass_on(written);
}

// Under nmh's lock, with records and listing that say where the messages are.
Result<Renumbered> Folder::Impl::carry(SequencesFile::Hold& hold, const Renumbering& what,
                                       const NumberSet& stale) {
  const std::vector<MovedMessage> messages = where_they_are(what);
  // What is about to be written is journalled just before.
  const bool written_before = !state().pending_sequences.empty();
  Renumbered done;
  done.serial = what.serial;
  done.before = what.before;
  MH_TRY_SET(const Carried carried, carry_public(hold, what, messages, stale, written_before));
  done.after = mark_of(settings.flags, carried.sequences);
  // To an index that knows what these numbers were, it is as if nmh had dropped them.
  if (carried.lost_some) done.after.hash = ~done.after.hash;
  const Status own = carry_private(what, messages, carried.sequences, written_before);
  if (!own && own.error().kind() != ErrorKind::kPermission &&
      own.error().kind() != ErrorKind::kReadOnly) {
    return pass_on(own);
  }
  if (!own) warn(own.error().message() + ": private sequences keep the old numbers");
  // Before the first merge there is no index to be told.
  if (at_first_sight()) return done;
  std::vector<MessageMove> moved;
  size_t i = 0;
  for (const MessageMove& move : moves_of(what.moves)) {
    const uint32_t number = messages[i++].now;
    if (number != 0 && number != move.from) moved.push_back({move.uid, move.from, number});
  }
  done.moves = runs_of(moved);
  return done;
}

// Only then may the intent end.
Status Folder::Impl::flush_renumbering() {
  if (!settings.flush) return {};
  MH_TRY(fs.fsync(dir.get()));
  MH_TRY_SET(const Fd file, fs.open(dir.get(), settings.sequences_name.c_str(),
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  return fs.fdatasync(file.get());
}

Status Folder::Impl::end_renumbering(const Renumbered& done) {
  journal->add_renumbered(done);
  size_t runs = 0;
  const std::vector<Renumbered>& kept = state().renumbered;
  for (auto each = kept.rbegin(); each != kept.rend(); ++each) {
    runs += each->moves.size();
    if (runs <= kMostRuns) continue;
    journal->add_renumbered_known(each->serial);
    break;
  }
  const Status noted = journal->append();
  if (!noted) journal->discard_pending();
  return noted;
}

// ---- After a crash --------------------------------------------------------------------------

Status Folder::Impl::settle_renumbering_now() {
  const Renumbering what = *state().renumbering;
  if (deferred || !listing->whole) return fail(ErrorKind::kBusy, location.folder + " changes");
  Renumbered done;
  done.serial = what.serial;
  if (!settings.sequences_name.empty()) {
    const OwnLock lock =
        settings.locking == DataLocking::kDot ? OwnLock::kInFolder : OwnLock::kNotInFolder;
    MH_TRY_SET(SequencesFile::Hold hold, sequences_lock(settings.sequences_wait));
    MH_TRY_SET(const bool holds, listing_holds(lock));
    if (!holds) return fail(ErrorKind::kBusy, location.folder + " changes");
    MH_TRY_SET(done, carry(hold, what, {}));
    hold.release();
    if (lock == OwnLock::kInFolder) MH_TRY(list_after_unlock());
    MH_TRY(flush_renumbering());
  }
  return end_renumbering(done);
}

// After a sync of the files. What cannot be done now leaves the flags as they are.
void Folder::Impl::settle_renumbering() {
  unsettled = {};
  if (!journal || !state().renumbering || !writable()) return;
  unsettled = settle_renumbering_now();
  if (unsettled) warn("its sequences now have the numbers that a pack gave before it was stopped");
}

// ---- The index follows ----------------------------------------------------------------------

// A memory of before a pack, and the numbers that went with it, as if it had been merged after.
FolderMemory Folder::Impl::follow_renumberings(const FolderMemory& memory,
                                               FlagsInput* input) const {
  FolderMemory followed = memory;
  std::vector<std::vector<MoveRun>> packs;
  for (const Renumbered& each : state().renumbered) {
    if (each.serial <= memory.renumbered) continue;
    SequencesMemory& file = followed.sequences;
    if (file.hash == each.before.hash) file.hash = each.after.hash;
    if (file.unseen_hash == each.before.unseen_hash) file.unseen_hash = each.after.unseen_hash;
    if (file.cur == each.before.cur) file.cur = each.after.cur;
    packs.push_back(each.moves);
    std::ranges::sort(packs.back(), {}, &MoveRun::uid);
  }
  if (packs.empty()) return followed;
  input->old_number = [asked = std::move(input->old_number), packs](uint32_t uid) {
    uint32_t number = asked(uid);
    for (const std::vector<MoveRun>& runs : packs) number = number_after(runs, uid, number);
    return number;
  };
  return followed;
}

// The index was committed since: it has them.
void Folder::Impl::forget_known_renumberings(const FolderMemory& memory) {
  if (!journal || !writable() || state().renumbered.empty()) return;
  if (state().renumbered.front().serial > memory.renumbered) return;
  journal->add_renumbered_known(memory.renumbered);
  if (!journal->append()) journal->discard_pending();
}

// ---- The pack -------------------------------------------------------------------------------

Status Folder::Impl::plan_pack_now() {
  if (!journal || !writable()) {
    return fail(ErrorKind::kReadOnly, location.folder + ": its state cannot be written");
  }
  if (!pack) pack.emplace();
  if (++pack->plans > kMostPlans) {
    return fail(ErrorKind::kBusy, location.folder + " is changed again and again meanwhile");
  }
  MH_TRY_SET(const FilesOutcome files, sync_files(false, {}, false));
  if (files.deferred) {
    return fail(ErrorKind::kNoSpace, "its journal could not be written: nothing was renumbered");
  }
  MH_TRY(unsettled);
  if (!listing->whole) {
    return fail(ErrorKind::kBusy, location.folder + ": not all of it could be listed");
  }
  PackPlan plan = plan_pack(*listing, records);
  pack->moves = std::move(plan.moves);
  pack->stay = plan.stay;
  pack->done = 0;
  return {};
}

// What the sequences say, once no command of nmh is at work.
Result<std::string> Folder::Impl::wait_for_nmh() {
  MH_TRY_SET(SequencesFile::Hold hold, sequences_lock(settings.lock_timeout));
  if (unlockable(hold)) {
    return fail(ErrorKind::kBusy,
                location.folder + "/" + settings.sequences_name +
                    " was made a moment ago: commands of nmh that found none lock nothing, and may "
                    "still be at work; try again in a minute");
  }
  MH_TRY_SET(SequencesText file, hold.read());
  return std::move(file.text);
}

// One after the other, until the time is over or something is not as it was planned.
Folder::Impl::Slice Folder::Impl::move_files(std::span<const MessageMove> moves,
                                             Nanoseconds until) {
  Slice slice;
  auto entry = std::ranges::lower_bound(listing->entries, moves.front().from, {}, &Entry::number);
  for (const MessageMove& move : moves) {
    if (!slice.moved.empty() && fs.monotonic() >= until) return slice;
    while (entry != listing->entries.end() && entry->number < move.from) ++entry;
    const Record* known = find(move.uid);
    slice.disturbed = known == nullptr || known->number != move.from ||
                      entry == listing->entries.end() || entry->number != move.from;
    if (slice.disturbed) return slice;
    const std::string from = std::to_string(move.from);
    const std::string to = std::to_string(move.to);
    const auto before = fs.stat(dir.get(), from.c_str(), Follow::kNo);
    Status moved = before ? Status() : pass_on(before);
    slice.disturbed = before && !known->file.same_file(FileIdentity::of(*before));
    if (slice.disturbed) return slice;
    if (moved) {
      moved = fs.rename(dir.get(), from.c_str(), dir.get(), to.c_str(), RenameMode::kNoReplace);
    }
    if (!moved) {
      const ErrorKind kind = moved.error().kind();
      slice.disturbed = kind == ErrorKind::kNotFound || kind == ErrorKind::kExists;
      if (!slice.disturbed) slice.failed = moved;
      return slice;
    }
    Record record = *known;
    record.number = move.to;
    const auto after = fs.stat(dir.get(), to.c_str(), Follow::kNo);
    // A rename moves ctime. What else has moved it is for the next sync to look at.
    if (!after || !(FileIdentity::of(*before) == known->file)) {
      record.set(Record::kVerified, false);
    }
    if (after && known->file.same_content(FileIdentity::of(*after))) {
      record.file = FileIdentity::of(*after);
    }
    entry->number = move.to;
    slice.moved.push_back(record);
  }
  return slice;
}

// Of the numbers of this slice, or of `all` numbers, those that no file bears.
NumberSet Folder::Impl::without_message(std::span<const MessageMove> moves, bool all) const {
  const uint32_t first = all ? 1 : moves.front().to;
  const uint32_t last = all ? kMaxNmhNumber : moves.back().from;
  std::vector<NumberRange> borne;
  auto entry = std::ranges::lower_bound(listing->entries, first, {}, &Entry::number);
  for (; entry != listing->entries.end() && entry->number <= last; ++entry) {
    borne.push_back({entry->number, entry->number});
  }
  NumberSet numbers;
  numbers.add_range(first, last);
  numbers.subtract(NumberSet::from_ranges(std::move(borne)));
  return numbers;
}

// The part under nmh's lock. On an error the intent stands if anything was moved.
Status Folder::Impl::pack_under_lock(std::span<const MessageMove> moves, const PackTexts& texts,
                                     Slice* slice, Renumbered* done) {
  MH_TRY_SET(SequencesFile::Hold hold, sequences_lock(settings.sequences_wait));
  const Nanoseconds until = fs.monotonic() + kSliceTime;
  const bool is_first = pack->done == 0;
  if (is_first) {
    const bool in_folder = settings.locking == DataLocking::kDot;
    MH_TRY_SET(const bool holds,
               listing_holds(in_folder ? OwnLock::kInFolder : OwnLock::kNotInFolder));
    slice->disturbed = !holds;
    if (!holds) return {};
  }
  PackTexts held_texts;
  MH_TRY_SET(SequencesText file, hold.read());
  held_texts.sequences = std::move(file.text);
  MH_TRY_SET(held_texts.context, context_text());
  if (held_texts != texts) {
    MH_TRY(begin_renumbering(intent_of(moves, held_texts.sequences, held_texts.context)));
  }
  *slice = move_files(moves, until);
  if (slice->moved.empty()) return {};
  apply_to_records(slice->moved, {});
  MH_TRY_SET(*done, carry(hold, *state().renumbering, without_message(moves, is_first)));
  return {};
}

// After a pack the numbers that messages had do not matter any more.
void Folder::Impl::free_all_numbers() {
  for (const auto& [uid, tombstone] : state().tombstones) {
    if (tombstone.number == 0 || tombstone.dropped_at + kNumberRest < fs.now() / kSecond) continue;
    Tombstone freed = tombstone;
    freed.number = 0;
    journal->add_tombstone(freed);
  }
}

Status Folder::Impl::note_packed(const Slice& slice, const Renumbered& done) {
  MH_TRY(flush_renumbering());
  pack->done += slice.moved.size();
  for (const Record& record : slice.moved) journal->add_record(record);
  if (pack->done == pack->moves.size()) free_all_numbers();
  MH_TRY(end_renumbering(done));
  records_generation = journal->state().header.generation;
  records_offset = journal->offset();
  return {};
}

Result<size_t> Folder::Impl::pack_slice(const std::string& sequences_text) {
  MH_TRY(load_records());
  const auto rest = std::span<const MessageMove>(pack->moves).subspan(pack->done);
  const auto moves = rest.first(
      std::min(rest.size(), std::max(kSliceMessages, sequences_text.size() / kTextPerMessage)));
  PackTexts texts;
  texts.sequences = sequences_text;
  MH_TRY_SET(texts.context, context_text());
  // From here on it tells how far we came. A torn file is mended first.
  if (repaired(sequences_text) != sequences_text) {
    return fail(ErrorKind::kBusy, location.folder + "/" + settings.sequences_name +
                                      " is half-written; the next IMAP session mends it");
  }
  if (!state().pending_sequences.empty()) journal->add_sequences_written();
  MH_TRY(begin_renumbering(intent_of(moves, texts.sequences, texts.context)));
  Slice slice;
  Renumbered done;
  Status packed = pack_under_lock(moves, texts, &slice, &done);
  if (slice.moved.empty()) {
    void_renumbering();
  } else if (packed) {
    packed = note_packed(slice, done);
  }
  if (packed) packed = slice.failed;
  const bool written_by_others =
      !packed && packed.error().kind() == ErrorKind::kBusy && !slice.moved.empty();
  if (!packed || slice.disturbed || pack->done == pack->moves.size()) {
    // The records in memory may be ahead of the journal.
    loaded = false;
    listing.reset();
    pack->moves.clear();
    pack->done = 0;
  }
  if (!packed && !written_by_others) return pass_on(packed);
  pack->again = slice.disturbed || written_by_others;
  return slice.moved.size();
}

Result<Folder::Packed> Folder::pack_some() {
  Impl& in = *impl_;
  if (in.settings.sequences_name.empty()) {
    return fail(ErrorKind::kInvalid,
                in.location.folder +
                    ": the profile says that there is no sequences file (mh-sequences), so nmh "
                    "locks nothing, and its numbers cannot be changed safely");
  }
  const bool plans = !in.pack || in.pack->moves.empty();
  std::string sequences_text;
  if (plans) {
    MH_TRY(look(false));
  } else {
    // Who waits for a command of nmh shuts out nobody else.
    MH_TRY_SET(sequences_text, in.wait_for_nmh());
  }
  MH_TRY(lock());
  const FolderUnlock unlock(*this);
  Packed packed;
  if (plans) {
    MH_TRY(in.plan_pack_now());
  } else {
    MH_TRY_SET(packed.moved, in.pack_slice(sequences_text));
  }
  packed.to_move = in.pack->moves.size() - in.pack->done;
  packed.stay = in.pack->stay;
  packed.more = packed.to_move != 0 || std::exchange(in.pack->again, false);
  if (!packed.more) in.pack.reset();
  return packed;
}

}  // namespace mh
