// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: flags, under nmh's lock.
//
// A number is valid only while that lock is held, and only if the folder is still as it was listed:
// so the directory is looked at again after the lock was taken. The text to be written is
// journalled before, with what it replaces (not flushed: against a killed process the kernel keeps
// it, and a torn file after a power loss is as old as the index that was not committed). A file
// found torn - the new text up to some byte, from there on the old one - is completed from the
// journal. One with zeros in it, which no program writes, lost a block when the power went: it is
// completed likewise, or they are left out, as is a torn last line. Nothing else is: what another
// program has written since stays, but for what it
// has undone without knowing it (overwritten.h).
#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/folder/overwritten.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

// A lock-less writer replaced the file while we wrote: how often we merge again.
constexpr int kMostMerges = 5;
// nmh tries sixty times to get its lock, a second apart, and begins by listing the folder.
constexpr Nanoseconds kNmhWait = 62 * kSecond;

// What a loss of power leaves where the new block was written and the new length was not, or the
// other way round: a last line without its colon, or zeros. nmh stops at both.
std::string without_torn_end(std::string text) {
  const bool had_zeros = std::erase(text, '\0') != 0;
  const size_t line = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (text.find(':', line) == std::string::npos && line < text.size() && text[line] != ' ' &&
      text[line] != '\t') {
    text.resize(line);
  }
  if (had_zeros && !text.empty() && text.back() != '\n') text += '\n';
  return text;
}

// Whether each byte is of the old or the new text, or of a block that was never written when the
// power went.
bool is_mix(std::string_view text, std::string_view before, std::string_view intended) {
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_old = i < before.size() && text[i] == before[i];
    const bool is_new = i < intended.size() && text[i] == intended[i];
    if (text[i] != '\0' && !is_old && !is_new) return false;
  }
  return true;
}

void forget(FlagSets* flags, const NumberSet& uids) {
  for (NumberSet* set :
       {&flags->unseen, &flags->answered, &flags->flagged, &flags->deleted, &flags->draft}) {
    set->subtract(uids);
  }
  for (auto& [keyword, set] : flags->keywords) set.subtract(uids);
}

}  // namespace

// Where a part of the folder could not be listed (a bad block), no removal is believed, and a
// message may seem to bear the number that another one has got since.
bool Folder::Impl::numbers_are_sure() const {
  if (listing->whole) return true;
  std::map<uint32_t, uint64_t> inode_of;
  std::map<uint64_t, uint32_t> number_of_inode;
  for (const Record& record : records) {
    if (!inode_of.emplace(record.number, record.file.inode).second) return false;
    number_of_inode[record.file.inode] = record.number;
  }
  return std::all_of(listing->entries.begin(), listing->entries.end(), [&](const Entry& entry) {
    const auto here = inode_of.find(entry.number);
    const auto own = number_of_inode.find(entry.file.inode);
    return (here == inode_of.end() || here->second == entry.file.inode) &&
           (own == number_of_inode.end() || own->second == entry.number);
  });
}

std::vector<NumberedMessage> Folder::Impl::numbered(const FolderMemory& memory,
                                                    const FlagsInput& input) const {
  std::optional<NumberSet> changed;
  if (journal && journal->state().header.generation == memory.generation) {
    if (auto since = journal->changed_since(memory.journal_offset)) changed = std::move(*since);
  }
  std::vector<NumberedMessage> messages;
  messages.reserve(records.size());
  for (const Record& record : records) {
    if (unjournalled.contains(record.uid)) continue;  // its number may be another's
    const bool ask = !changed || changed->contains(record.uid);
    messages.push_back(
        {record.uid, record.number, ask ? input.old_number(record.uid) : record.number});
  }
  std::sort(messages.begin(), messages.end(),
            [](const NumberedMessage& a, const NumberedMessage& b) { return a.number < b.number; });
  return messages;
}

// The text that was to be written when a writer died in the middle of it, else `text`.
std::string Folder::Impl::repaired(const std::string& text) {
  const auto pending = parse_sequences_write(state().pending_sequences);
  if (!pending) return without_torn_end(text);
  const std::string_view before = pending->before;
  const std::string_view intended = pending->after;
  if (text == before || text == intended) return text;
  if (text.find('\0') != std::string::npos) {
    if (!is_mix(text, before, intended)) return without_torn_end(text);
    warn("mended a half-written " + settings.sequences_name);
    return std::string(intended);
  }
  // Of all the bytes where it may have been torn, the last one that fits the beginning.
  const size_t torn_at = static_cast<size_t>(
      std::mismatch(text.begin(), text.end(), intended.begin(), intended.end()).first -
      text.begin());
  const std::string_view rest = std::string_view(text).substr(torn_at);
  const std::string_view old_rest = before.substr(std::min(torn_at, before.size()));
  if (torn_at == 0 || rest != old_rest) return without_torn_end(text);
  warn("completed a half-written " + settings.sequences_name);
  return std::string(intended);
}

// Whether a program that locks nothing has undone something, which `found` then has again.
bool Folder::Impl::mend_overwritten(const SequencesText& file, Sequences* found) {
  if (!journal || !writable() || !file.exists) return false;
  auto mended = mend_sequences(state().recent_sequences, file.stat, *found);
  if (mended) *found = std::move(*mended);
  return mended.has_value();
}

void Folder::Impl::remember(const SequencesMemory& sequences_then, const SequencesText& file) {
  // The first sight of a folder is over when all of it was seen: what was there is no arrival.
  if (!state().renumbered.empty()) {
    now.renumbered = std::max(now.renumbered, state().renumbered.back().serial);
  }
  const bool first_sight = !now.sequences.known && (deferred || (listing && !listing->whole));
  now.sequences = sequences_then;
  now.unmerged = {};
  if (first_sight) now.sequences.known = false;
  now.context = 0;
  now.sequences_inode = file.exists ? file.stat.inode : 0;
  now.sequences_size = file.stat.size;
  now.sequences_mtime = file.stat.mtime;
  now.sequences_ctime = file.stat.ctime;
  const Nanoseconds time = fs.now();
  if (file.exists && file.stat.mtime <= time && file.stat.mtime + kSettle >= time) {
    recheck(file.stat.mtime + kSettle + 1);
  }
}

// Not later than this a sync looks again, even if nothing seems to have changed.
void Folder::Impl::recheck(Nanoseconds at) {
  if (now.recheck_at == 0 || at < now.recheck_at) now.recheck_at = at;
}

// What to remember of the directory. Without a merge of the flags nothing is: so that the next sync
// comes.
void Folder::Impl::remember_directory(bool merged) {
  now.recheck_at = 0;
  now.untidy = what_is_untidy();
  // What is deferred is not in the index, even where the journal has it after all.
  if (!deferred) {
    now.generation = journal ? journal->state().header.generation : 0;
    now.journal_offset = journal ? journal->offset() : 0;
  }
  now.directory = {};
  if (!merged || !listing || !listing->whole || deferred) return;
  now.directory = listing->directory;
  now.highest = listing->highest();
  if (!listing->settled()) {
    recheck(std::max(listing->directory.mtime, listing->directory.ctime) + kSettle + 1);
  }
  if (waiting != 0) recheck(fs.now() + kQuiet);
  if (guard_due != 0) recheck(guard_due);
}

// Not flushed: should it be lost together with the index, an arrival is decided about once more.
void Folder::Impl::note_undecided(const NumberSet& undecided) {
  if (!journal || !writable()) return;
  const bool same = undecided == state().undecided;
  if (same && !at_first_sight()) return;
  if (!same) journal->add_undecided(undecided);
  if (at_first_sight()) journal->add_option(kFirstSight, false);
  const Status noted = journal->append();
  static_cast<void>(noted);  // still collected: the next one brings it
}

// Messages that a command of nmh may not know that wrote the file at that time.
NumberSet Folder::Impl::late_for(Nanoseconds written) const {
  const int64_t since = (written - kNmhWait) / kSecond;
  NumberSet uids;
  for (const Record& record : records) {
    if (record.saved >= since) uids.add(record.uid);
  }
  return uids;
}

// `written`: when the file was written in place; 0 when it was not.
Result<FlagMergeOutput> Folder::Impl::merge(const Sequences& file, Nanoseconds written,
                                            const FolderMemory& memory, const FlagsInput& input) {
  FlagMergeInput merge;
  merge.map = &settings.flags;
  merge.file = &file;
  merge.messages = numbered(memory, input);
  merge.base = input.base;
  if (!unjournalled.empty()) forget(&merge.base, unjournalled);
  merge.pending = input.pending;
  merge.memory = memory.sequences;
  merge.undecided = input.undecided;
  merge.expired = input.expired;
  merge.brought = input.brought;
  if (written != 0) merge.late = late_for(written);
  merge.unmerged = memory.unmerged;
  merge.policy = settings.new_mail;
  merge.all_drafts = settings.drafts;
  merge.files_untold = files_untold();
  FlagMergeOutput merged = merge_flags(merge);
  if (merged.passed_over != 0 && !std::exchange(warned_keywords, true)) {
    warn(settings.sequences_name + " has " + std::to_string(merged.passed_over) +
         " sequences more than the " + std::to_string(kMostKeywords) +
         " that can be keywords: IMAP does not show them, and they stay as they are. Remove what "
         "is not needed, or name it in mh_hidden_sequences");
  }
  return merged;
}

Status Folder::Impl::write_sequences(SequencesFile::Hold& hold, const std::string& old_text,
                                     const Sequences& next, SequencesText* file, bool mended) {
  const std::string text =
      next.print_padded(old_text.size(), settings.flags.unseen_names().front());
  if (journal && writable()) {
    const SequencesWrite intent = {fs.now(),         mended,   file->stat.inode,
                                   file->stat.birth, old_text, text};
    journal->add_pending_sequences(print_sequences_write(intent));
    const Status noted = journal->append();
    // Else it would be written later, and take for torn what others have written by then.
    if (!noted) {
      journal->discard_pending();
      return noted;
    }
  }
  MH_TRY_SET(file->stat, hold.write(text));
  file->exists = true;
  file->text = text;
  return {};
}

// A save has no listing of its own: as the last sync left it.
bool Folder::Impl::files_untold() const {
  return waiting != 0 || deferred || (listing && !listing->whole);
}

// Of a file that we have written, not by the merge alone.
SequencesMemory Folder::Impl::memory_after(const Sequences& written) const {
  SequencesMemory memory = memory_of(settings.flags, written);
  if (files_untold()) memory.hash = ~memory.hash;  // see FlagMergeInput: counts as rewritten
  return memory;
}

// Under nmh's lock. Merged again when a writer that knows no lock came between.
Result<FlagMergeOutput> Folder::Impl::merge_and_write(SequencesFile::Hold& hold,
                                                      const FolderMemory& memory,
                                                      const FlagsInput& input,
                                                      const NumberSet& removed) {
  MH_TRY_SET(SequencesText file, hold.read());
  const std::string text = repaired(file.text);
  const bool in_place = memory.sequences.known && file.stat.inode == memory.sequences_inode;
  Sequences next = Sequences::parse(text);
  const bool mended = mend_overwritten(file, &next);
  MH_TRY_SET(FlagMergeOutput merged, merge(next, in_place ? file.stat.mtime : 0, memory, input));
  if (merged.to_file || mended || text != file.text || !removed.empty()) {
    if (merged.to_file) next = *merged.to_file;
    if (!removed.empty()) {
      next.remove_numbers(removed);
      merged.memory = memory_after(next);
    }
    MH_TRY(write_sequences(hold, file.text, next, &file, mended));
    if (journal && writable()) journal->add_sequences_written();
  }
  remember(merged.memory, file);
  return merged;
}

// The messages are served whatever is wrong with the sequences; the admin is told once.
void Folder::Impl::mind_sequences_error(const Error& error) {
  if (error.kind() == ErrorKind::kBusy || warned_sequences) return;
  warned_sequences = true;
  const std::string& name =
      settings.sequences_name.empty() ? settings.context : settings.sequences_name;
  warn(error.message() + ": flags are as they were last known until " + name + " can be read");
}

// One hold of nmh's lock: removals, then the merge. kBusy: merge again.
Status Folder::Impl::sync_locked(SequencesFile::Hold& hold, const FolderMemory& memory,
                                 const FlagsInput& input, Removed* removed, FlagsOutcome* outcome) {
  const OwnLock lock =
      settings.locking == DataLocking::kDot ? OwnLock::kInFolder : OwnLock::kNotInFolder;
  MH_TRY_SET(const bool holds, listing_holds(lock));
  if (!holds) {
    outcome->moved = true;
    return {};
  }
  remove_asked(input, removed);
  if (removed->mismatch) {
    outcome->moved = true;
    return {};
  }
  MH_TRY_SET(FlagMergeOutput merged, merge_and_write(hold, memory, input, removed->numbers));
  hold.release();
  if (lock == OwnLock::kInFolder) MH_TRY(list_after_unlock());
  remember_directory(true);
  outcome->busy = false;
  outcome->to_index = std::move(merged.to_index);
  outcome->undecided = std::move(merged.undecided);
  return {};
}

Result<FlagsOutcome> Folder::Impl::sync_flags(const FolderMemory& memory, FlagsInput input,
                                              Removed* removed) {
  FlagsOutcome outcome;
  if (settings.sequences_name.empty()) {
    auto done = sync_without_file(memory, std::move(input), removed);
    if (done) return done;
    mind_sequences_error(done.error());
    outcome.busy = true;
    return outcome;
  }
  if (nothing_to_merge(memory, input)) {
    outcome.undecided = std::move(input.undecided);
    return outcome;
  }
  if (auto done = sync_vanished(memory, input); done && *done) return std::move(**done);
  outcome.busy = true;
  for (int attempt = 0; attempt < kMostMerges; ++attempt) {
    auto hold = sequences_lock(settings.sequences_wait);
    if (!hold) {
      const ErrorKind kind = hold.error().kind();
      if (kind == ErrorKind::kPermission || kind == ErrorKind::kReadOnly) {
        auto read = sync_private(memory, std::move(input), removed);
        if (read) return read;
        hold = pass_on(read);
      }
      mind_sequences_error(hold.error());
      return outcome;
    }
    const Status done = sync_locked(*hold, memory, input, removed, &outcome);
    if (done) {
      if (outcome.moved) outcome.busy = false;
      return outcome;
    }
    if (done.error().kind() != ErrorKind::kBusy) {
      warn(done.error().message() + ": flags stay in the index until it can be written");
      return outcome;
    }
  }
  return outcome;
}

Result<FlagsOutcome> Folder::sync_flags(const FolderMemory& memory, FlagsInput input) {
  Impl& in = *impl_;
  in.now = memory;
  in.remember_directory(false);
  if (in.probed) {
    in.recheck(in.pass_due);
    FlagsOutcome waits;
    waits.busy = true;
    return waits;
  }
  if (in.state().renumbering) {
    // In which numbers the sequences are is not known.
    FlagsOutcome waits;
    waits.busy = true;
    return waits;
  }
  const FolderMemory followed = in.follow_renumberings(memory, &input);
  const std::vector<FlagChange> found = in.pending_in_journal(memory);
  input.pending.insert(input.pending.begin(), found.begin(), found.end());
  const std::vector<FlagChange> pending = input.pending;
  Impl::Removed removed;
  auto outcome = in.sync_flags(followed, std::move(input), &removed);
  // The files are gone, whatever became of the flags.
  if (!removed.tombstones.empty()) MH_TRY(in.commit({}, removed.tombstones));
  if (!outcome) return outcome;
  for (const uint32_t uid : removed.uids) outcome->expunged.add(uid);
  if (outcome->busy) in.note_pending(pending);
  if (outcome->busy || outcome->moved) return outcome;
  outcome->to_index.insert(outcome->to_index.begin(), found.begin(), found.end());
  outcome->not_removed = removed.failed;
  in.forget_pending();
  in.forget_known_renumberings(memory);
  in.note_undecided(outcome->undecided);
  if (in.journal && !in.deferred) in.now.journal_offset = in.journal->offset();
  return outcome;
}

}  // namespace mh
