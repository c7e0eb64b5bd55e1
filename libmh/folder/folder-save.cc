// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: messages that come in through us.
//
// Everything slow - text, length, hash, flush - is done before any lock is taken. Under the folder
// lock, after a sync: the intents are journalled and flushed, so that no UID given here can be
// given again; under nmh's lock the files get their numbers, and the sequences are written once for
// all of them; the directory is flushed; the caller commits its index; the intents are void.
//
// A process that dies in between leaves intents in the journal. Whoever syncs next looks at each
// transaction: when all its files are in the folder it is finished - the flags are in the intents -
// else those that are there are taken away again, before anybody was told of them. When several
// messages came in, their intents are written and flushed once more, each as one by itself: else a
// message of them that was removed later would, after a power loss, look like one that never came
// in, and the others would be taken away. A transaction of which some are written so already is
// whole too: its writer died in the middle of that line. A single message has its file or has not.
#include <algorithm>
#include <cerrno>

#include "libmh/folder/folder-impl.h"
#include "libmh/folder/probe.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// After somebody had to make the sequences file, programs that found none may still be running.
constexpr Nanoseconds kUnlockable = 60 * kSecond;
// How many numbers in a row may be taken by things that are no messages.
constexpr uint32_t kMostTaken = 100000;
// A writer that knows no lock came between: how often the sequences are read anew.
constexpr int kMostAttempts = 5;

std::vector<FlagChange> changes_of(std::span<const NewMessage> messages) {
  std::map<std::string, FlagChange, LessIgnoringCase> changes;
  FlagChange& seen = changes["\\Seen"];
  seen.flag = kSeen;
  for (const NewMessage& message : messages) {
    bool is_seen = false;
    for_each_flag(message.flags, [&](SystemFlag flag, std::string_view name) {
      if (flag == kSeen) {
        is_seen = true;
        return;
      }
      FlagChange& change = changes[std::string(name)];
      change.flag = flag;
      if (flag == kNoFlag) change.keyword = name;
      change.add.add(message.record.number);
    });
    if (!is_seen) seen.remove.add(message.record.number);
  }
  std::vector<FlagChange> list;
  for (auto& [name, change] : changes) list.push_back(std::move(change));
  return list;
}

NumberSet numbers_of(std::span<const NewMessage> messages) {
  NumberSet numbers;
  for (const NewMessage& message : messages) numbers.add(message.record.number);
  return numbers;
}

}  // namespace

NewMessagePlace Folder::Impl::message_place() {
  NewMessagePlace place;
  place.folder = dir.get();
  const auto where = open_workshop();
  place.workshop = where ? *where : dir.get();
  place.mode = settings.message_mode != 0 ? settings.message_mode : location.directory_mode & 0666;
  if (guards()) place.mode &= ~static_cast<mode_t>(0222);
  place.gid = location.gid;
  place.tags = location.may_tag && tags();
  return place;
}

Result<NewMessage> Folder::begin_message() {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (!in.journal || !in.writable()) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  return make_message(in.fs, in.message_place());
}

Status Folder::finish_message(NewMessage& message, uint32_t nth) {
  Impl& in = *impl_;
  message.record.set(Record::kGuarded, in.guards());
  return mh::finish_message(in.fs, message, uidvalidity(), uidnext() + nth, in.location.root->key(),
                            in.settings.flush);
}

Status Folder::flush_message(const NewMessage& message) {
  return impl_->settings.flush ? impl_->fs.fdatasync(message.file.get()) : Status();
}

void Folder::drop_message(NewMessage& message) {
  mh::drop_message(impl_->fs, impl_->message_place(), message);
}

// Where another process was faster the tag is of a UID that is its now.
Status Folder::Impl::retag(std::span<NewMessage> messages) {
  std::vector<int> written;
  for (NewMessage& message : messages) {
    if (message.tagged_uid == message.record.uid) continue;
    MH_TRY(retag_message(fs, message, state().header.uidvalidity, location.root->key()));
    if (settings.flush) MH_TRY(fs.start_writeback(message.file.get()));
    written.push_back(message.file.get());
  }
  if (!settings.flush) return {};
  for (const int file : written) MH_TRY(fs.fdatasync(file));
  return {};
}

// All of them are to come in, or none.
void Folder::Impl::add_transaction(std::span<const NewMessage> messages) {
  const uint32_t first = std::ranges::min_element(messages, {}, [](const NewMessage& each) {
                           return each.record.uid;
                         })->record.uid;
  const auto count = static_cast<uint32_t>(messages.size());
  for (const NewMessage& message : messages) {
    journal->add_pending_save({message.record.uid, first, count, message.flags});
  }
}

Status Folder::Impl::write_save_intents(std::span<NewMessage> messages) {
  uint32_t last = 0;
  for (const NewMessage& message : messages) {
    const uint32_t uid = message.record.uid;
    last = std::max(last, uid);
    journal->add_record(message.record);
    if (message.pop3 != Pop3Identity()) journal->add_pop3(uid, message.pop3);
  }
  add_transaction(messages);
  MH_TRY(journal->reserve_uids(state().uidnext, last - state().uidnext + 1));
  Status done = journal->append();
  if (done && settings.flush) done = journal->flush();
  if (!done) journal->discard_pending();
  return done;
}

// Whether programs that take no lock may be at work because they found no file to lock.
bool Folder::Impl::unlockable(const SequencesFile::Hold& hold) const {
  if (hold.made()) return true;
  const auto file = fs.stat(dir.get(), settings.sequences_name.c_str(), Follow::kNo);
  return !file || (file->birth != 0 && file->birth + kUnlockable > fs.now());
}

// sortm uses the number behind the highest while it works, whether or not it could lock.
uint32_t Folder::Impl::first_number(uint32_t highest, bool unlockable) const {
  const int64_t today = fs.now() / kSecond;
  uint32_t taken = highest;
  for (const auto& [uid, tombstone] : state().tombstones) {
    if (tombstone.dropped_at + kNumberRest > today) taken = std::max(taken, tombstone.number);
  }
  return taken + (unlockable && highest != 0 ? 2 : 1);
}

// The files cannot be linked from where they were made. The next ones can.
Status Folder::Impl::make_elsewhere(std::span<NewMessage> messages, const NewMessagePlace& place) {
  for (NewMessage& message : messages) mh::drop_message(fs, place, message);
  MH_TRY(leave_workshop());
  return fail(ErrorKind::kBusy,
              location.folder + ": its state lies on another mount, to be minded from now on");
}

Status Folder::Impl::link_messages(std::span<NewMessage> messages, uint32_t first) {
  uint32_t number = first;
  uint32_t taken = 0;
  const NewMessagePlace place = message_place();
  for (NewMessage& message : messages) {
    keep_second_name(message);
    for (;; ++number) {
      if (number > kHighestMessageNumber || number == 0) {
        return fail(ErrorKind::kInvalid, location.folder +
                                             ": there are no message numbers left; "
                                             "\"folder -pack\" makes room");
      }
      const Status linked = link_message(fs, place, message, number);
      if (linked) break;
      if (linked.error().sys_errno() == EXDEV) return make_elsewhere(messages, place);
      if (linked.error().kind() != ErrorKind::kExists || ++taken > kMostTaken) return linked;
    }
    ++number;
  }
  return {};
}

// Stale entries of the new numbers go, their flags come.
void Folder::Impl::put_flags(std::span<const NewMessage> messages, Sequences* next) const {
  next->remove_numbers(numbers_of(messages));
  for (const FlagChange& change : changes_of(messages)) {
    if (settings.drafts && change.flag == kDraft) continue;
    settings.flags.apply(*next, change);
  }
}

// Merges nothing: what others wrote is left for the next sync, which `memory` makes sure of.
Status Folder::Impl::mark_messages(SequencesFile::Hold& hold, std::span<const NewMessage> messages,
                                   FolderMemory* memory) {
  MH_TRY_SET(SequencesText file, hold.read());
  const FolderMemory& known = *memory;
  const bool as_known =
      known.sequences.known && file.exists && file.stat.inode == known.sequences_inode &&
      file.stat.size == known.sequences_size && file.stat.mtime == known.sequences_mtime &&
      file.stat.ctime == known.sequences_ctime;
  const std::string text = repaired(file.text);
  Sequences next = Sequences::parse(text);
  const bool mended = mend_overwritten(file, &next);
  const uint64_t before = next.hash_without_cur();
  put_flags(messages, &next);
  if (mended || text != file.text || next.hash_without_cur() != before) {
    MH_TRY(write_sequences(hold, file.text, next, &file, mended));
    journal->add_sequences_written();
  }
  if (as_known) {
    now = known;
    remember(memory_after(next), file);
    *memory = now;
  } else {
    NumberRange& unmerged = memory->unmerged;
    if (unmerged.last == 0) unmerged.first = messages.front().record.number;
    unmerged.last = messages.back().record.number;
  }
  return {};
}

Status Folder::Impl::give_numbers(std::span<NewMessage> messages, const FolderMemory& memory,
                                  bool is_unlockable, FolderMemory* after) {
  MH_TRY_SET(const FileStat before, fs.fstat(dir.get()));
  const bool same = DirectoryStamp::of(before) == memory.directory;
  uint32_t highest = memory.highest;
  if (!same) {
    MH_TRY_SET(highest, highest_number(fs, dir.get()));
  }
  MH_TRY(link_messages(messages, first_number(highest, is_unlockable)));
  MH_TRY_SET(const FileStat stat, fs.fstat(dir.get()));
  if (!same) return {};
  after->directory = DirectoryStamp::of(stat);
  after->highest = messages.back().record.number;
  now.recheck_at = after->recheck_at;
  recheck(std::max(stat.mtime, stat.ctime) + kSettle + 1);
  if (guards()) recheck(fs.now() + kGuardTime);
  after->recheck_at = now.recheck_at;
  return {};
}

Result<FolderMemory> Folder::Impl::bring_in(std::span<NewMessage> messages,
                                            const FolderMemory& memory) {
  FolderMemory after = memory;
  if (settings.sequences_name.empty()) {
    MH_TRY(give_numbers(messages, memory, true, &after));
    MH_TRY(mark_private(messages, &after));
    return after;
  }
  bool linked = false;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    MH_TRY_SET(auto hold, sequences_lock(settings.lock_timeout));
    if (!std::exchange(linked, true)) {
      MH_TRY(give_numbers(messages, memory, unlockable(hold), &after));
    }
    const Status marked = mark_messages(hold, messages, &after);
    if (marked) return after;
    if (marked.error().kind() != ErrorKind::kBusy) return pass_on(marked);
  }
  return fail(ErrorKind::kBusy,
              location.folder + "/" + settings.sequences_name +
                  " is written again and again by a program that does not lock it");
}

// Nobody was told of these. What cannot be undone now is undone by the next sync.
void Folder::Impl::undo_messages(std::span<const NewMessage> messages) {
  if (messages.size() > 1) {
    // One of them may have been noted as saved by itself.
    add_transaction(messages);
    if (!journal->append()) journal->discard_pending();
  }
  std::vector<Tombstone> dropped;
  for (const NewMessage& message : messages) {
    if (message.record.number != 0) {
      const auto removed = remove_file(message.record.number, message.record, false);
      if (!removed || !*removed) return;
    }
    (void)forget_second_name(message.record);
    Tombstone tombstone;
    tombstone.uid = message.record.uid;
    tombstone.dropped_at = fs.now() / kSecond;
    dropped.push_back(std::move(tombstone));
  }
  journal->add_saves_finished();
  (void)commit({}, dropped);
}

Status Folder::Impl::note_saved(std::span<const NewMessage> messages) {
  if (settings.flush) MH_TRY(fs.fsync(dir.get()));
  std::vector<Record> records_now;
  for (const NewMessage& message : messages) {
    journal->add_record(message.record);
    records_now.push_back(message.record);
  }
  const bool several = messages.size() > 1;
  for (const NewMessage& message : messages) {
    const uint32_t uid = message.record.uid;
    if (several) journal->add_pending_save({uid, uid, 1, message.flags});
  }
  const bool current = records_are_current();
  Status done = journal->append();
  if (done && several && settings.flush) done = journal->flush();
  if (!done) {
    journal->discard_pending();
    return done;
  }
  if (current) follow_journal(records_now, {});
  return {};
}

Result<FolderMemory> Folder::store_messages(std::span<NewMessage> messages,
                                            const FolderMemory& memory) {
  Impl& in = *impl_;
  if (in.state().renumbering) {
    return fail(ErrorKind::kBusy, in.location.folder +
                                      ": a pack was stopped, and its sequences "
                                      "cannot be written now" +
                                      (in.unsettled ? "" : ": " + in.unsettled.error().message()));
  }
  // Where the flags could not be merged the index does not know yet which messages have moved.
  const auto unknown = changed_since(memory.generation, memory.journal_offset);
  const bool is_followed = unknown && unknown->empty();
  MH_TRY(in.retag(messages));
  MH_TRY(in.write_save_intents(messages));
  in.listing.reset();
  auto stored = in.bring_in(messages, memory);
  Status noted;
  if (stored) noted = in.note_saved(messages);
  if (!stored || !noted) {
    in.undo_messages(messages);
    if (!stored) return stored;
    return pass_on(noted);
  }
  if (is_followed) {
    stored->generation = in.journal->state().header.generation;
    stored->journal_offset = in.journal->offset();
  }
  in.now = *stored;
  return stored;
}

bool Folder::has_unfinished_saves() const { return !impl_->state().pending_saves.empty(); }

Status Folder::saves_finished() {
  Impl& in = *impl_;
  if (!in.journal || in.state().pending_saves.empty()) return {};
  in.journal->add_saves_finished();
  return in.journal->append();
}

// Where the messages are whose saving was begun. After a power loss a file may have another mtime
// than was journalled, and after a restore another inode: then its tag tells.
std::map<uint32_t, const Entry*> Folder::Impl::find_saved() {
  std::map<uint64_t, const Record*> known;
  for (const Record& record : records) known[record.file.inode] = &record;
  std::map<uint32_t, const Entry*> found;
  for (const Entry& entry : listing->entries) {
    const auto same = known.find(entry.file.inode);
    const bool is_known = same != known.end() && same->second->file.same_file(entry.file);
    if (is_known && same->second->file.size == entry.file.size) {
      found[same->second->uid] = &entry;
    } else if (!is_known && location.root != nullptr) {
      ProbeRequest request;
      request.number = entry.number;
      request.file = entry.file;
      const Probe probe = read_probe(fs, dir.get(), request, location.root->key());
      if (probe.tag_kind == Probe::TagKind::kVerified &&
          probe.tag.uidvalidity == state().header.uidvalidity) {
        found.try_emplace(probe.tag.uid, &entry);
      }
    }
  }
  return found;
}

// What a process that died has begun. True when the folder was changed and has to be listed again.
Result<bool> Folder::Impl::settle_saves(FilesOutcome* outcome) {
  if (!journal || state().pending_saves.empty() || !writable()) return false;
  std::map<std::pair<uint32_t, uint32_t>, std::vector<PendingSave>> transactions;
  for (const auto& [uid, save] : state().pending_saves) {
    transactions[{save.first, save.count}].push_back(save);
  }
  MH_TRY(load_records());
  const auto entries = find_saved();
  bool removed = false;
  for (const auto& [which, saves] : transactions) {
    const uint32_t count = which.second;
    std::vector<std::pair<const Entry*, const Record*>> there;
    std::vector<PendingSave> saved;
    for (const PendingSave& save : saves) {
      const Record* record = find(save.uid);
      const auto entry = entries.find(save.uid);
      if (record == nullptr || entry == entries.end()) continue;
      there.emplace_back(entry->second, record);
      saved.push_back(save);
    }
    if (there.size() == count || saves.size() < count) {
      outcome->saved.insert(outcome->saved.end(), saved.begin(), saved.end());
      continue;
    }
    for (const auto& [entry, record] : there) {
      Record as_found = *record;
      as_found.file = entry->file;
      MH_TRY_SET(const bool gone, remove_file(entry->number, as_found, false));
      removed |= gone;
    }
    if (count == 1) continue;
    warn("undid a transaction that had saved " + std::to_string(there.size()) + " of " +
         std::to_string(count) + " messages when its process died");
  }
  if (outcome->saved.empty()) journal->add_saves_finished();
  return removed;
}

}  // namespace mh
