// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The inside of Folder, shared by its parts: folder.cc (opening, locking, the journal's facts) and
// libmh/folder/folder-*.cc, which say at their head what each is about. Not for use outside of this
// directory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libmh/folder/adopt.h"
#include "libmh/folder/folder.h"
#include "libmh/folder/import.h"
#include "libmh/folder/renumber.h"

namespace mh {

// Numbers of messages that vanished this recently (seconds) are not given again: exmh holds
// numbers.
inline constexpr int64_t kNumberRest = 600;
// For how long a new message is kept from being written to: see folder-guard.cc.
inline constexpr Nanoseconds kGuardTime = 60 * kSecond;
// Whether a journal that cannot be opened for this reason is to be made anew.
bool is_lost(const Error& opening_the_journal);

// Gives a file the name of a message, in the directory `to`; never onto one that is taken: kExists.
Status move_in(Fs& fs, int from, const std::string& name, int to, uint32_t number);

// Whether our hold of nmh's lock is a file in the folder.
enum class OwnLock : bool { kNotInFolder, kInFolder };

struct Folder::Impl {
  Impl(Fs& the_fs, FolderSettings the_settings) : fs(the_fs), settings(std::move(the_settings)) {}

  Fs& fs;
  FolderSettings settings;
  HintsOf hints_of;
  Location location;
  Fd dir;
  Fd state_dir;                    // none: everything in memory
  bool state_loaded = false;       // journal or memory_state hold
  std::optional<Journal> journal;  // none: everything in memory
  JournalState memory_state;       // instead of the journal's
  std::unique_ptr<Store> store;
  std::optional<FolderLock> held;
  bool lock_is_shared = false;  // as it was had last: we may only read the state
  bool warned_deferred = false;
  bool warned_sequences = false;
  bool warned_keywords = false;
  bool warned_stale_lock = false;

  // All alive records in UID order, as of the journal's (generation, offset).
  bool loaded = false;
  std::vector<Record> records;
  uint64_t records_generation = 0;
  uint64_t records_offset = 0;

  std::optional<Listing> listing;  // the last one
  bool probed = false;             // it has the next numbers only
  bool arrivals_wait = false;      // these were found, and sync_files() did not follow yet
  struct Parts {                   // see look_at_part()
    Listing all;                   // its entries are those without a UID; none when there are few
    size_t next = 0;
  };
  std::optional<Parts> parts;
  DirectoryStamp probed_as;          // what the directory was when it was probed last
  Nanoseconds pass_due = 0;          // the pass over it that is owed; 0: none
  std::map<uint32_t, Probe> probes;  // read so far, by number; for that listing
  bool fold_now = false;             // whether or not it is worth it
  bool suspicious = false;           // open_message() found something amiss, or distrust()
  std::map<uint32_t, Probe> edits;   // found by open_message(), for the next sync; by number
  size_t waiting = 0;
  bool deferred = false;   // arrivals and removals that are not journalled
  NumberSet unjournalled;  // the latter: UIDs whose files are gone
  size_t lost_tags = 0;
  Nanoseconds guard_due = 0;                  // when write permission is to be given back; 0: never
  std::map<uint32_t, FileIdentity> verified;  // compared by open_message(), not yet in a record
  FolderMemory now;                           // what memory() returns
  std::optional<SequencesFile> sequences;
  Fd context_dir;
  std::optional<SequencesFile> context;  // nmh's context, once it was needed
  bool context_refused = false;          // it cannot be written
  struct WrittenFlags {
    Nanoseconds at = 0;
    std::vector<FlagChange> changes;  // by UID
  };
  std::vector<WrittenFlags> written_flags;  // to the context, a moment ago
  Fd workshop;                              // tmp/ of the state
  bool swept = false;                       // this process has looked after the adoptions in it
  bool looked_for_leftovers = false;
  bool leftovers = false;       // something lies in it, as far as is known
  bool untidy = true;           // what unchanged() was told
  bool swept_outgoing = false;  // this process has looked after interrupted removals
  bool astray = false;  // a file of a message lies in the workshop and could not be put back
  bool tagging_failed = false;  // the file system cannot do it
  struct Pack {
    std::vector<MessageMove> moves;
    size_t done = 0;
    uint64_t stay = 0;
    size_t plans = 0;    // how often it was planned
    bool again = false;  // to be planned anew
  };
  std::optional<Pack> pack;  // what pack_some() is at
  Status unsettled;          // why the sequences still have the numbers of before a pack
  NumberSet not_now;         // UIDs that could not be tagged: busy, foreign
  NumberSet never;           // of these, those that this process may not tag, or nobody can

  bool at_first_sight() const { return state().options.contains(std::string(kFirstSight)); }
  const JournalState& state() const { return journal ? journal->state() : memory_state; }
  bool writable() const { return !journal || (journal->writable() && !lock_is_shared); }
  void warn(const std::string& text) const {
    if (settings.warn) settings.warn(location.folder + ": " + text);
  }

  // folder.cc
  Status load_state();
  Result<FolderLock> lock_folder();
  Result<FolderLock> lock_as_may_be();
  bool load_all_records();
  Status load_records();
  Record* find(uint32_t uid);
  // Writes facts: to the journal durably, or to memory. On an error nothing of them counts.
  Status commit(const std::vector<Record>& changed, const std::vector<Tombstone>& dropped);
  void apply_to_records(const std::vector<Record>& changed, const std::vector<Tombstone>& dropped);
  bool records_are_current() const;
  void follow_journal(const std::vector<Record>& changed, const std::vector<Tombstone>& dropped);

  // folder-recovery.cc
  Status recover_journal();
  Status mind_rolled_back();
  Status replace_journal(JournalState facts, uint32_t above,
                         const std::function<bool(const Result<Journal>&)>& may_go);
  JournalState empty_state() const;
  JournalState remains_of_journal(const Hints& hints);
  struct TagEvidence {
    NumberSet uids;  // under the UIDVALIDITY asked for
    uint32_t highest_uidvalidity = 0;
  };
  TagEvidence read_tags(uint32_t uidvalidity);

  // folder-files.cc
  Status list_again(bool thorough);
  void take_left_listing();
  bool listing_lasts(bool asked);
  Result<Plan> plan_anew(bool thorough);
  Result<bool> look_for_arrivals();
  Status list_parts(size_t most);
  Result<Plan> plan(bool thorough);
  void take_over_verified(std::vector<Record>* changed);
  bool is_news(uint32_t uid, const std::optional<NumberSet>& changed) const;
  std::vector<Tombstone> tombstones_of(const std::vector<uint32_t>& dropped,
                                       const FlagsOf& flags_of);
  size_t leave_to_index(Plan* plan);
  void note_untold(const std::vector<Added>& added, const std::vector<Annotation>& annotated);
  Result<FilesOutcome> sync_files(bool thorough, const FlagsOf& flags_of, bool has_index);
  void give_uids(Plan& plan, std::vector<Record>* changed, FilesOutcome* outcome);
  void free_numbers(const Plan& plan);
  void note_arrivals(const std::vector<Added>& added);
  void mind_lost_tags(const Plan& plan, std::vector<Record>* changed);
  void mind_deferred(const std::string& why);
  Result<bool> commit_files(const std::vector<Record>& changed,
                            const std::vector<Tombstone>& dropped, size_t added);

  // folder-message.cc
  Result<OpenMessage> open_number(uint32_t number) const;
  Result<OpenMessage> open_moved(const Record& record);
  Result<bool> is_message(const Record& record, OpenMessage* file);
  std::optional<uint32_t> number_of(const FileIdentity& file) const;

  // folder-adopt.cc
  bool tags() const;
  bool may_exchange() const;
  bool may_adopt() const;
  Result<uint64_t> count(TagChange change);
  Result<AdoptPlace> adopt_place();
  bool find_leftovers() const;
  uint32_t what_is_untidy() const;
  Status sweep_state() const;
  Status sweep(const AdoptPlace& place);
  Status flush_copies(const AdoptPlace& place, std::vector<TaggedCopy>& copies) const;
  void discard(const AdoptPlace& place, std::vector<TaggedCopy>& copies) const;
  bool number_is(const Record& record) const;
  Result<std::vector<TaggedCopy>> make_batch(const AdoptPlace& place, TagChange change,
                                             const std::vector<Record>& candidates, size_t most,
                                             Nanoseconds end, size_t* next);
  Result<std::vector<Record>> exchange_batch(const AdoptPlace& place, TagChange change,
                                             std::vector<TaggedCopy>& copies);

  // folder-remove.cc
  struct Removed {
    NumberSet numbers;
    std::vector<uint32_t> uids;
    std::vector<Tombstone> tombstones;
    bool mismatch = false;        // a number was another's: the listing does not hold
    std::optional<Error> failed;  // the first reason why one stays
  };
  bool workshop_is_folder() const;
  Result<int> open_workshop();
  Status leave_workshop();
  Status put_back(const std::string& name, uint32_t number);
  void spare(const std::string& name, uint32_t number);
  // Asked between taking a file out and removing it: false puts it back.
  using LastLook = std::function<bool()>;
  Result<bool> remove_file(uint32_t number, const Record& record, bool backup,
                           const LastLook& may_go = {});
  Result<bool> is_file_of(int where, const std::string& name, const Record& record);
  void remove_asked(const FlagsInput& input, Removed* removed);
  void remove_messages(const NumberSet& uids, const FlagsOf& flags_of, Removed* removed);
  Result<bool> sweep_outgoing();

  // folder-save.cc
  NewMessagePlace message_place();
  Status retag(std::span<NewMessage> messages);
  void add_transaction(std::span<const NewMessage> messages);
  Status write_save_intents(std::span<NewMessage> messages);
  bool unlockable(const SequencesFile::Hold& hold) const;
  uint32_t first_number(uint32_t highest, bool unlockable) const;
  Status make_elsewhere(std::span<NewMessage> messages, const NewMessagePlace& place);
  Status link_messages(std::span<NewMessage> messages, uint32_t first);
  void put_flags(std::span<const NewMessage> messages, Sequences* next) const;
  Status mark_messages(SequencesFile::Hold& hold, std::span<const NewMessage> messages,
                       FolderMemory* memory);
  Status give_numbers(std::span<NewMessage> messages, const FolderMemory& memory,
                      bool is_unlockable, FolderMemory* after);
  Result<FolderMemory> bring_in(std::span<NewMessage> messages, const FolderMemory& memory);
  void undo_messages(std::span<const NewMessage> messages);
  Status note_saved(std::span<const NewMessage> messages);
  std::map<uint32_t, const Entry*> find_saved();
  Result<bool> settle_saves(FilesOutcome* outcome);

  // folder-pack.cc
  struct Slice {
    std::vector<Record> moved;
    bool disturbed = false;  // something was not as it was planned
    Status failed;
  };
  struct PackTexts {
    std::string sequences;
    std::string context;
    bool operator==(const PackTexts&) const = default;
  };
  Result<std::string> context_text();
  Renumbering intent_of(std::span<const MessageMove> moves, const std::string& sequences_text,
                        const std::string& context_then) const;
  Status begin_renumbering(const Renumbering& intent);
  void void_renumbering();
  std::vector<MovedMessage> where_they_are(const Renumbering& what);
  struct Carried {
    Sequences sequences;
    bool lost_some = false;  // numbers that no message bore
  };
  Result<Carried> carry_public(SequencesFile::Hold& hold, const Renumbering& what,
                               std::span<const MovedMessage> messages, const NumberSet& stale,
                               bool written_before);
  Status carry_private(const Renumbering& what, std::span<const MovedMessage> messages,
                       const Sequences& public_ones, bool written_before);
  Result<Renumbered> carry(SequencesFile::Hold& hold, const Renumbering& what,
                           const NumberSet& stale);
  Status flush_renumbering();
  Status end_renumbering(const Renumbered& done);
  Status settle_renumbering_now();
  void settle_renumbering();
  FolderMemory follow_renumberings(const FolderMemory& memory, FlagsInput* input) const;
  void forget_known_renumberings(const FolderMemory& memory);
  Status plan_pack_now();
  Result<std::string> wait_for_nmh();
  Slice move_files(std::span<const MessageMove> moves, Nanoseconds until);
  NumberSet without_message(std::span<const MessageMove> moves, bool all) const;
  Status pack_under_lock(std::span<const MessageMove> moves, const PackTexts& texts, Slice* slice,
                         Renumbered* done);
  void free_all_numbers();
  Status note_packed(const Slice& slice, const Renumbered& done);
  Result<size_t> pack_slice(const std::string& sequences_text);

  // folder-order.cc
  std::vector<Record> records_by_number(std::vector<uint32_t>* gone) const;
  Result<JournalState> reordered();
  Result<bool> is_in_order();
  Status reorder();

  // folder-guard.cc
  bool guards() const;
  void keep_second_name(const NewMessage& message);
  bool forget_second_name(const Record& record);  // false: it is still there
  Status sweep_second_names(int where, const std::vector<uint32_t>& uids);
  Result<bool> bring_back_overwritten(const Plan& plan);
  bool give_back(Record* record, mode_t wanted);
  void release_guards(std::vector<Record>* changed);

  // import.cc
  Result<std::string> why_not_take_over(const ForeignUids& foreign);
  JournalState facts_with(const ForeignUids& foreign, TakenOver* outcome) const;

  // folder-tidy.cc
  Status tidy_sequences_once();
  Result<uint32_t> free_number(bool is_unlockable);

  // folder-hold.cc
  Result<SequencesFile::Hold> sequences_lock(Nanoseconds timeout);
  Result<bool> listing_holds(OwnLock lock);
  Status list_after_unlock();
  bool nothing_to_merge(const FolderMemory& memory, const FlagsInput& input);
  Result<std::optional<FlagsOutcome>> sync_vanished(const FolderMemory& memory,
                                                    const FlagsInput& input);

  // folder-flags.cc
  bool numbers_are_sure() const;
  std::vector<NumberedMessage> numbered(const FolderMemory& memory, const FlagsInput& input) const;
  std::string repaired(const std::string& text);
  bool mend_overwritten(const SequencesText& file, Sequences* found);
  void recheck(Nanoseconds at);
  bool files_untold() const;
  SequencesMemory memory_after(const Sequences& written) const;
  void remember(const SequencesMemory& sequences_then, const SequencesText& file);
  void remember_directory(bool merged);
  void note_undecided(const NumberSet& undecided);
  NumberSet late_for(Nanoseconds written) const;
  Result<FlagMergeOutput> merge(const Sequences& file, Nanoseconds written,
                                const FolderMemory& memory, const FlagsInput& input);
  Status write_sequences(SequencesFile::Hold& hold, const std::string& old_text,
                         const Sequences& next, SequencesText* file, bool mended = false);
  Result<FlagMergeOutput> merge_and_write(SequencesFile::Hold& hold, const FolderMemory& memory,
                                          const FlagsInput& input, const NumberSet& removed);
  Status sync_locked(SequencesFile::Hold& hold, const FolderMemory& memory, const FlagsInput& input,
                     Removed* removed, FlagsOutcome* outcome);
  Result<FlagsOutcome> sync_flags(const FolderMemory& memory, FlagsInput input, Removed* removed);
  void mind_sequences_error(const Error& error);

  // folder-pending.cc
  bool journals_pending() const;
  std::vector<FlagChange> pending_in_journal(const FolderMemory& memory) const;
  void note_pending(const std::vector<FlagChange>& pending);
  void forget_pending();

  // folder-private.cc
  SequencesFile* context_file();
  std::optional<FlagChange> overwritten(const FlagChange& change, const FlagSets& in_file,
                                        const FlagSets& in_index);
  void put_back_overwritten(const Sequences& found, FlagsInput* input);
  bool may_write_context();
  Result<SequencesText> read_context();
  Status change_context(const std::function<std::string(const std::string& text)>& change);
  Result<FlagMergeOutput> write_context(const Sequences& public_ones, const FolderMemory& memory,
                                        const FlagsInput& input, const NumberSet& removed,
                                        SequencesText* text);
  Result<FlagMergeOutput> merge_private(const Sequences& public_ones, const FolderMemory& memory,
                                        FlagsInput& input, const NumberSet& removed,
                                        SequencesText* text);
  Result<FlagMergeOutput> merge_over(const Sequences& public_ones, const std::string& text,
                                     const FolderMemory& memory, const FlagsInput& input,
                                     const NumberSet& removed);
  void remember_context(const SequencesText& text);
  Result<FlagsOutcome> sync_private(const FolderMemory& memory, FlagsInput input, Removed* removed);
  Result<FlagsOutcome> sync_without_file(const FolderMemory& memory, FlagsInput input,
                                         Removed* removed);
  Status mark_private(std::span<const NewMessage> messages, FolderMemory* memory);
  Status mark_private_once(std::span<const NewMessage> messages, FolderMemory* memory);
};

}  // namespace mh
