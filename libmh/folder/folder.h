// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: one MH folder with its state. What the plugin and the tools hold.
//
// A sync has this shape; each step may be the last before a crash:
//
//   unchanged(memory)   two stats, no lock; done when nothing moved
//   look()              list and read ahead, without any lock
//   lock()              the folder lock; the journal is read to its end
//   sync_files()        list again if the folder moved, reconcile, give UIDs; one append, one
//                       flush. From here on the UIDs are given for ever
//   recall_untold()     what a process had found that died
//   ...                 the caller begins its index transaction: what changed_since() names
//   sync_flags()        under nmh's lock: is the listing still true? merge; journal, write the file
//   ...                 the caller commits its index, with memory()
//   told()
//   unlock()
//
// The index is derived from the journal: it remembers up to where (generation and offset), so a
// crash between flush and index commit is made up for by the next sync. When nmh's lock is busy, or
// the folder moved since it was listed, sync_flags() says so; the caller commits what it has
// without consuming its pending flag changes, and syncs again.
//
// In a big folder look() asks for the next numbers only, when it finds arrivals there: they are
// announced at once, and flags are not merged (sync_flags() says busy), for nothing else of the
// listing is known. The pass over the directory comes pass_delay later, when it has settled; until
// then no removal, no other change and no "same" is believed.
//
// Nothing is announced that the journal does not hold durably; where the index lies, on disk or in
// memory, makes no difference to that. A process that cannot write the journal serves what it holds
// (read_only()); a folder without any writable state is served from memory under a UIDVALIDITY of
// its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libmh/folder/dedup.h"
#include "libmh/folder/flag-merge.h"
#include "libmh/folder/new-message.h"
#include "libmh/folder/reconcile.h"
#include "libmh/folder/returning.h"
#include "libmh/folder/root.h"
#include "libmh/folder/scan.h"
#include "libmh/format/profile.h"
#include "libmh/result.h"
#include "libmh/store/index-seal.h"
#include "libmh/store/journal.h"
#include "libmh/store/store.h"
#include "libmh/system/folder-lock.h"
#include "libmh/system/sequences-file.h"

namespace mh {

struct FolderSettings {
  FlagMap flags;
  std::string sequences_name = ".mh_sequences";  // "": all sequences are private
  // nmh's context file, for private sequences, and how nmh spells this folder's path in it
  // (libmh/format/private-sequences.h); "" when there is none.
  std::string context = {};
  std::string name_in_context = {};
  DataLocking locking = DataLocking::kFcntl;
  Nanoseconds lock_timeout = 20 * kSecond;   // for the folder lock
  Nanoseconds sequences_wait = kSecond / 5;  // for nmh's lock, in a sync
  Nanoseconds unseen_grace = 10 * kSecond;
  NewMail new_mail = NewMail::kUnseen;
  size_t big_folder = 10'000;  // messages from which on arrivals come first
  Nanoseconds pass_delay = kSettle + kSecond / 5;
  bool flush = true;                             // false: mail_fsync=never
  bool drafts = false;                           // the draft folder: every message is a draft
  mode_t message_mode = 0;                       // of new messages; 0: as the folder's, without x
  bool inc_guard = false;                        // see folder-guard.cc
  bool backup = false;                           // a message removed stays as ",N", as after rmm
  std::function<void(const std::string&)> warn;  // one line for the admin
  // One line for who wants to know why something was left undone; may be empty.
  std::function<void(const std::string&)> tell = {};
};

// What the caller keeps between two syncs, with the merge base (Dovecot's index header). Trivially
// copyable: it is stored as bytes, under a version of its own.
struct FolderMemory {
  DirectoryStamp directory;
  uint64_t sequences_inode = 0;
  uint64_t sequences_size = 0;
  Nanoseconds sequences_mtime = 0;
  Nanoseconds sequences_ctime = 0;
  uint64_t context = 0;  // context_stamp() where flags come from it, else 0
  SequencesMemory sequences;
  uint64_t generation = 0;  // the journal up to here is in the index
  uint64_t journal_offset = 0;
  uint64_t renumbered = 0;     // packs up to this serial are in the index
  Nanoseconds recheck_at = 0;  // 0: settled. Else sync at this time even if nothing seems changed
  uint32_t highest = 0;        // number, with this directory
  NumberRange unmerged;        // saved since, into a file that was not merged before; or 0 to 0
  uint32_t untidy = 0;         // not 0: adopt() has something to do, for somebody at least
  Nanoseconds busy_since = 0;  // changes of flags wait for the sequences since then; 0: none do
};

// What the caller keeps per message (index record extension): enough to open it without any lookup.
struct MessageHint {
  uint32_t number = 0;
  uint32_t prefix = 0;
  uint64_t stamp = 0;  // of the file's identity; 0: compare the content at open
};
MessageHint hint_of(const Record& record);
// Of inode, size, mtime and ctime; never 0.
uint64_t stamp_of(const FileIdentity& file);

// Of the context file as it is now, for FolderMemory; 0 when its path is "".
uint64_t context_stamp(Fs& fs, const std::string& context);

// An open message: the bytes from prefix to prefix + size are the IMAP message.
struct OpenMessage {
  Fd fd;
  uint64_t prefix = 0;
  uint64_t size = 0;
  uint32_t number = 0;
  FileStat stat;
};

// What is left of a folder's state outside of it. To be given only of an index that is known to be
// the one committed last (index_seal()): another knows nothing of the UIDs given since.
struct Hints {
  uint32_t uidvalidity = 0;  // 0: nothing known
  uint32_t uidnext = 1;
  uint64_t highest_modseq = 0;
  NumberSet uids;
};

struct Added {
  uint32_t uid = 0;
  std::optional<uint32_t> edited_from;
  std::optional<std::string> tombstone_flags;  // flags it had when it left, if that is known
  std::optional<Departed> departed;            // the index of the folder it left has them
};

struct FilesOutcome {
  std::vector<Added> added;
  std::vector<uint32_t> dropped;
  std::vector<Annotation> annotated;
  std::vector<PendingSave> saved;  // by a process that died before its index had them
  size_t waiting = 0;              // files that are still being written
  size_t left = 0;                 // by sync_arrivals(), to somebody with an index
  bool deferred = false;           // arrivals could not be journalled: they wait
  bool first_sight = false;        // there is no merge base, whatever the caller remembers
};

// Tells the flags of a UID in the merge base.
using FlagsOf = std::function<std::string(uint32_t uid)>;

// The caller's side of the merge, by UID; see FlagMergeInput.
struct FlagsInput {
  FlagSets base;                    // an edited message has its predecessor's flags
  std::vector<FlagChange> pending;  // not in the file yet: from IMAP, tombstones, annotations
  NumberSet brought;                // UIDs of arrivals for which that is from tombstones
  NumberSet undecided;
  NumberSet expired;
  NumberSet expunge;
  FlagsOf flags_of;  // for their tombstones
  // The number of the message at the last merge, 0 for an arrival, the predecessor's for an edited
  // message. Asked only for messages whose record has changed since.
  std::function<uint32_t(uint32_t uid)> old_number;
};

struct FlagsOutcome {
  bool busy = false;   // nmh's lock was not to be had: nothing was merged, keep what is pending
  bool moved = false;  // the folder changed since it was listed: likewise, and sync again at once
  std::vector<FlagChange> to_index;
  NumberSet undecided;
  NumberSet expunged;  // of those that were to be
  // Why others of them stay: of one of them. They are not tried again unless they are asked for
  // again, and no client may be told that they are gone.
  std::optional<Error> not_removed;
};

struct AdoptPlace;
struct ForeignUids;
struct TakenOver;
enum class TagChange : bool { kRemove, kWrite };
struct TaggedCopy;

class Folder {
 public:
  // What remained of the state elsewhere (Dovecot's index); asked only when the journal is lost.
  using HintsOf = std::function<Hints(const Location& location)>;

  // `path` is relative to the mail root. Makes state where there is none. Reads nothing of it yet:
  // an unchanged folder costs the same however large it is.
  static Result<std::unique_ptr<Folder>> open(Fs& fs, Root& root, const std::string& path,
                                              FolderSettings settings, HintsOf hints_of);
  ~Folder();

  const Location& location() const;
  const FolderSettings& settings() const;

  // Once look() or lock() has succeeded:
  uint32_t uidvalidity() const;
  uint32_t uidnext() const;  // what the next arrival will get
  uint64_t modseq_floor() const;
  bool read_only() const;  // the journal cannot be written
  bool big() const;        // a pass over the directory is to be avoided

  // The state's directory bears the GUID that the mailbox had first; replication may change it.
  Result<Guid> mailbox_guid();

  // Two stats, three where flags come from nmh's context. False also when recheck_at has come, or
  // open_message() found something amiss. kNotFound: the folder was removed. True while the folder
  // still is as it was when arrivals were announced, until the pass is due.
  Result<bool> unchanged(const FolderMemory& memory);
  // Somebody was seen to write into a message, which changes no directory: unchanged() is false
  // until the next pass over all files.
  void distrust();
  // Lists the folder and reads what reconcile() will ask for, so that the lock is held briefly.
  // Without `arrivals_first` all of it, however big it is.
  Status look(bool arrivals_first = true);
  // For who has no index, in a folder with more than `most` messages without a UID: looks at the
  // next `most` of them alone, so that memory does not grow with them; false when no more are left
  // than can be looked at with all others. After each, sync_arrivals() gives UIDs to what of it is
  // plainly new; after the last, look(false) and sync_arrivals() do the rest.
  Result<bool> look_at_part(size_t most);

  // Takes the folder lock and reads the journal to its end. kBusy names the holder.
  Status lock();
  void unlock();
  bool locked() const;

  // --- under the folder lock ---

  // `thorough` believes no recorded stamp and reads every message again (force-resync). `flags_of`
  // is for tombstones. What an interrupted transaction has begun to save is finished or undone.
  Result<FilesOutcome> sync_files(bool thorough, const FlagsOf& flags_of);
  // Adds to `outcome` what a process found that died before its index knew it; `memory` is that of
  // the caller's index as it was committed last. Where it was committed without all of that, a
  // message of outcome->added may be in the index already: it has its flags then.
  void recall_untold(const FolderMemory& memory, FilesOutcome* outcome);
  // The index has all of the outcome.
  Status told();
  // As sync_files() for a caller that keeps no index: only what an index can learn later from the
  // journal alone. Messages that are gone, were edited, came back or were annotated stay as they
  // are until somebody with an index comes, for it has the flags to follow them. In a folder whose
  // flags were never merged there is no index to wait for: all is done.
  Result<FilesOutcome> sync_arrivals(bool thorough);
  // All that is alive, in UID order. Valid until the next sync_files, adopt or lock.
  Result<std::span<const Record>> records();
  // UIDs whose record or life changed after this point of the journal; nullopt: compare all.
  std::optional<NumberSet> changed_since(uint64_t generation, uint64_t offset) const;
  Result<FlagsOutcome> sync_flags(const FolderMemory& memory, FlagsInput input);
  // Arrivals that nobody had decided about at the last merge, or that came since: for a caller that
  // has lost its merge base.
  const NumberSet& undecided() const;
  // What to remember once all of this is committed.
  FolderMemory memory() const;
  // HIGHESTMODSEQ has come to `modseq`: extends the floor durably when it is near.
  Status reserve_modseq(uint64_t modseq);
  // After a sync: gives messages, finished and flushed, their numbers and flags. Their UIDs are
  // set, each another one, none below uidnext(). All of them come into the folder or, on an error,
  // none. kBusy names who holds nmh's lock. Returns `memory` with what is different now: as it was
  // if somebody else changed the folder too. After a crash see PendingSave.
  Result<FolderMemory> store_messages(std::span<NewMessage> messages, const FolderMemory& memory);
  // Whether a process that died has begun to save messages.
  bool has_unfinished_saves() const;
  // The index has all that was saved (or FilesOutcome::saved): nothing is to be finished any more.
  Status saves_finished();
  // Whether messages are given tags at all. Switched off, everything that tags tell is in the
  // journal before this returns; switched on, those whose tag another program has taken away get
  // one again.
  Status set_tagging(bool on);
  // The whole file system was put back to an older state, the journal with it: UIDs and MODSEQs
  // that may have been given since are never given again.
  Status pass_over_lost_uids();
  // Cures of what nmh stumbles over; see folder-tidy.cc. After sync_arrivals() or sync_files().
  // Writes the sequences anew without lines that are none and without numbers that no message
  // bears. kBusy: nmh's lock is not to be had, or arrivals wait for what a sequences file will say.
  Status tidy_sequences();
  // Gives a file whose name is no number that nmh can work with (007, 2147483547) one that is free.
  Result<uint32_t> give_number(const std::string& name);
  // Removes a dot lock of the sequences that everybody takes for stale. kBusy: it may be in use.
  Status remove_dead_lock();

  // How the caller's index was when it was last committed; see libmh/store/index-seal.h. nullopt:
  // not known. Written under the lock; what fails costs a comparison of everything, no truth.
  std::optional<IndexSeal> index_seal() const;
  void set_index_seal(const IndexSeal& seal);
  // Folds the journal into the store, and compacts it, when that is worth it or the last sync was
  // thorough. `at_once`: whether or not it is worth it.
  Status maintain(bool at_once = false);

  // --- without the lock ---

  // What replication asks for; 0 and an empty GUID leave it as it is. A new UIDVALIDITY keeps
  // messages and UIDs; their tags are written anew by and by. Takes the locks itself: the list lock
  // comes before the folder lock. After a crash all of it is changed or nothing.
  struct Identity {
    Guid guid{};
    uint32_t uidvalidity = 0;
    uint32_t uidnext = 0;         // at least
    uint64_t highest_modseq = 0;  // at least
  };
  Status change_identity(const Identity& wanted);
  // Gives new UIDs, ascending with the numbers, under a new UIDVALIDITY: clients read all anew.
  // Flags, GUIDs and dates stay; tags are to be written anew. False when UIDs are in this order
  // already: nothing is changed then. Takes the locks itself. After a crash all of it is changed
  // or nothing.
  Result<bool> order_by_number();

  // UIDs of another server, where nobody was told any of ours: see import.h. Takes the locks
  // itself. After a crash all of it is done or nothing.
  Result<TakenOver> take_over_uids(const ForeignUids& foreign);

  // Opens the message by its hint; when that does not hold, looks it up. kNotFound: it is gone or
  // was edited; the next sync will say so (unchanged() is false from now on). kPermission and kIo:
  // it is there and cannot be read.
  Result<OpenMessage> open_message(uint32_t uid, const MessageHint& hint);
  // The record of a message without loading all.
  Result<Record> record(uint32_t uid);

  // What POP3 shows of a message, if it was brought here with that.
  Result<Pop3Identity> pop3_identity(uint32_t uid);

  // A new message: its text is to be written into its file, from text_at on.
  Result<NewMessage> begin_message();
  // See new-message.h. It is the `nth` of its transaction, from 0.
  Status finish_message(NewMessage& message, uint32_t nth);
  // Waits until it is on disk, if the settings want that.
  Status flush_message(const NewMessage& message);
  void drop_message(NewMessage& message);

  // Writes tags into up to `most` files that have none yet (see adopt.h); stops after `budget`.
  // Before that, once, looks after what dead processes and blocked writers have left in the
  // workshop. Takes the locks itself, for moments. `more`: there are others that can be done now.
  // Costs nothing when unchanged() was told of a memory that is not untidy.
  struct Adopted {
    size_t done = 0;
    size_t refused = 0;  // of another owner, a group that we may not give, or too large
    bool more = false;
  };
  Result<Adopted> adopt(size_t most, Nanoseconds budget);
  // The way back: takes tags away, in a folder whose messages are not to be tagged (set_tagging()),
  // else kInvalid. Each file is then, byte for byte, what it would be without us; its UID lives in
  // the journal alone. Otherwise as adopt().
  Result<Adopted> remove_tags(size_t most, Nanoseconds budget);
  // Gives the messages the numbers 1, 2, 3 … in their order, as nmh's "folder -pack": sequences,
  // private ones and "cur" follow, UIDs and flags stay as they are, and nobody who is connected is
  // told anything. Each call does a part that is whole in itself and takes the locks for moments;
  // the first one only plans. Killed anywhere, the next sync of anybody brings the sequences to the
  // numbers that there are then; see folder-pack.cc.
  //   kBusy   somebody holds a lock, is named, or programs that take none may be at work
  //   kInvalid, kUnsupported, kReadOnly, kPermission: this folder cannot be packed, and why
  struct Packed {
    uint64_t moved = 0;    // by this call
    uint64_t to_move = 0;  // still
    // Files that stay where they are, half-written or left to somebody with an index.
    uint64_t stay = 0;
    bool more = false;
  };
  Result<Packed> pack_some();

  // Messages that adopt() or remove_tags() could still do, now or later.
  Result<uint64_t> count_untagged();
  Result<uint64_t> count_tagged();

  // Takes copies of messages of `kept_in` out of `copies_in`, which may be the same folder; see
  // folder-dedup.cc. `target` is where they go for CopyGoes::kToFolder, else null. Their flags and
  // sequences are united with those of what is kept. Takes the locks of all of them itself, for as
  // many messages as are given: some dozens. On an error those whose fate is kGone are gone, and
  // the others are where they were.
  //   kBusy: a lock was not to be had within the time-out of `kept_in`; names the holder
  //   kUnsupported: `target` is on another file system
  static Status remove_copies(Folder& kept_in, Folder& copies_in, Folder* target, CopyGoes goes,
                              std::span<CopyToRemove> copies);
  // What a process that died had taken out of the folder and not removed is put back. Takes the
  // lock.
  Status put_back_interrupted();

 private:
  struct Impl;
  class Deduplication;
  Result<size_t> adopt_batch(const AdoptPlace& place, TagChange change,
                             std::vector<TaggedCopy>& copies);
  Result<Adopted> change_tags(TagChange change, size_t most, Nanoseconds end);
  Status sweep();
  Status change_identity_locked(const Identity& wanted);
  explicit Folder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Gives the folder lock back at the end of a block.
class FolderUnlock {
 public:
  explicit FolderUnlock(Folder& folder) : folder_(folder) {}
  ~FolderUnlock() { folder_.unlock(); }
  FolderUnlock(const FolderUnlock&) = delete;
  FolderUnlock& operator=(const FolderUnlock&) = delete;

 private:
  Folder& folder_;
};

// The folder was renamed, or removed (`to` is empty): its private sequences follow, and those of
// its subfolders. Names as nmh spells them in its context. Without a context nothing is done.
Status move_in_context(Fs& fs, const FolderSettings& settings, const std::string& from,
                       const std::string& to);

}  // namespace mh
