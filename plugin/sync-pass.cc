// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/sync-pass.h"

#include <fcntl.h>

#include "plugin/guard.h"
#include "plugin/index-sync.h"
#include "plugin/mh-flags.h"
#include "plugin/mh-mailbox.h"
#include "plugin/sync-flags.h"

namespace mh {
namespace {

// How often a pass is repeated at once because the folder moved meanwhile.
constexpr int kMaxPasses = 3;

// The flags that follow a message out of its folder: not the \Draft that the folder itself gave it.
std::string flags_to_follow(struct mail_index* index, struct mail_index_view* view, uint32_t uid,
                            bool from_drafts) {
  std::string text = flags_text(index, view, uid);
  return from_drafts ? without_flag(std::move(text), "\\Draft") : text;
}

// Messages that left a folder which has not been synced since: its index has their flags.
void fetch_flags(struct mailbox* box, std::vector<Added>* added) {
  std::map<std::string, std::unique_ptr<OtherIndex>> indexes;  // by state directory
  for (Added& message : *added) {
    if (!message.departed) continue;
    const Departed& left = *message.departed;
    std::unique_ptr<OtherIndex>& index = indexes[left.state_dir];
    if (!index) {
      const std::string dir = list_state(box->list).index_path(left.state_dir, left.path);
      index = std::make_unique<OtherIndex>(box, dir.c_str());
    }
    if (index->view() == nullptr) continue;
    uint32_t seq;
    if (!mail_index_lookup_seq(index->view(), left.uid, &seq)) {
      message.tombstone_flags = flags_when_dropped(Fs::posix(), left);
      continue;
    }
    const bool drafts = list_state(box->list).is_draft_path(left.path);
    message.tombstone_flags = flags_to_follow(index->index(), index->view(), left.uid, drafts);
  }
}

// nullopt for an index in memory.
std::optional<IndexSeal> index_now(struct mailbox* box) {
  const char* dir;
  if (mail_index_is_in_memory(box->index) ||
      mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0) {
    return std::nullopt;
  }
  const FreshView view(box->index);
  return seal_of_index(view.get(), dir, box->index_prefix);
}

class Sync {
 public:
  Sync(struct mailbox* box, bool thorough)
      : box_(box), state_(mailbox_state(box)), folder_(*state_.folder), thorough_(thorough) {}

  // 0 or -1, with the error set.
  int run();
  // The same under the folder lock, which the caller holds.
  int run_locked();

 private:
  int look_for_changes(bool* changed);
  bool nothing_is_asked();
  int pass(bool* again);
  int locked_out(const Error& error);
  int locked_pass(bool* again);
  bool index_is_current();
  int prepare_index();
  enum class Standing { kAsLeft, kNew, kDoubtful, kOlder };
  Standing standing() const;
  int lift_modseq(bool every_message);
  bool repair_index();
  int reset_index();
  int write_index(bool* again);
  int tell_what_stays();

  static uint32_t missing_in(const IndexSync& index, std::span<const Record> records,
                             const std::optional<NumberSet>& changed);
  void follow_files(const IndexSync& index, std::span<const Record> records,
                    const std::optional<NumberSet>& changed, bool merged);
  void follow(const IndexSync& index, const Record& record, bool merged);
  void expunge(const IndexSync& index, const NumberSet& uids);
  void finish_uids(const IndexSync& index);
  void mark_recent(const IndexSync& index);

  void remember(const IndexSync& index, const FlagSync& flags);
  void finish();

  struct mailbox* box_;
  MailboxState& state_;
  Folder& folder_;
  bool thorough_;

  std::optional<FolderMemory> memory_;
  FilesOutcome files_;
  Nanoseconds newer_than_ = 0;  // see FlagSync
  bool repaired_ = false;
  std::optional<Error> not_removed_;  // see FlagsOutcome
  PendingChanges carried_over_;       // what was asked of an index that had to be reset
};

int Sync::run_locked() {
  for (int i = 0; i < kMaxPasses; ++i) {
    bool again = false;
    if (i == 0 && !state_.compare_all) {
      if (look_for_changes(&again) < 0) return -1;
      if (!again && index_is_current()) return 0;
    }
    if (const Status seen = folder_.look(false); !seen) {
      return set_error(box_, seen.error(), "listing the folder");
    }
    if (locked_pass(&again) < 0) return -1;
    // It was another session that asked: no reason to refuse what is to be saved here.
    (void)tell_what_stays();
    if (!again) return 0;
  }
  return 0;
}

// What could not be removed stays, and whoever asked is not told that all is well: the sync fails,
// once, when all else is done.
int Sync::tell_what_stays() {
  const auto failed = std::exchange(not_removed_, std::nullopt);
  return failed ? set_error(box_, *failed, "removing messages") : 0;
}

// Whether the journal holds nothing that the index does not have.
bool Sync::index_is_current() {
  const FreshView view(box_->index);
  if (view.header().uid_validity != folder_.uidvalidity()) return false;
  const auto changed = folder_.changed_since(memory_->generation, memory_->journal_offset);
  return changed && changed->empty() && !folder_.has_unfinished_saves();
}

int Sync::run() {
  for (int i = 0; i < kMaxPasses; ++i) {
    bool again = false;
    if (i > 0 || thorough_ || state_.compare_all) {
      again = true;
    } else if (look_for_changes(&again) < 0) {
      return -1;
    }
    if (!again) return 0;
    if (pass(&again) < 0) return -1;
    if (!again) break;
  }
  return tell_what_stays();
}

// The fast path: no lock, two stats of ours, and what Dovecot does to see its own changes.
int Sync::look_for_changes(bool* changed) {
  *changed = true;
  mail_index_refresh(box_->index);
  const FreshView view(box_->index);
  memory_ = state_.extension.memory(view.get());
  if (!memory_ || view.header().uid_validity == 0) return 0;
  if (!state_.index_checked && standing() != Standing::kAsLeft) return 0;
  state_.index_checked = true;
  const auto same = folder_.unchanged(*memory_);
  if (!same) {
    if (same.error().kind() != ErrorKind::kNotFound) {
      return set_error(box_, same.error(), "looking at the folder");
    }
    mailbox_set_deleted(box_);
    return -1;
  }
  const bool has_news = mail_index_sync_have_any(box_->index, index_storage_get_sync_flags(box_));
  *changed = !*same || (has_news && !nothing_is_asked());
  return 0;
}

// The log of an index that agrees with its folder may have news that mean nothing to the folder:
// messages that came in through us, and what goes into the cache. Only changes of flags and
// removals are to be brought there.
bool Sync::nothing_is_asked() {
  IndexSync index(box_);
  if (!index.begin()) return false;
  const PendingChanges pending = read_pending(box_, index.ctx);
  if (!pending.flags.empty() || !pending.expunges.empty()) return false;
  consume(index.ctx);
  mark_recent(index);
  return index.commit();
}

int Sync::pass(bool* again) {
  *again = false;
  // What a client asked for does not wait for the pass over a big folder.
  const bool asked = mail_index_sync_have_any(box_->index, index_storage_get_sync_flags(box_));
  if (const Status seen = folder_.look(!asked); !seen) {
    return set_error(box_, seen.error(), "listing the folder");
  }
  if (const Status locked = folder_.lock(); !locked) return locked_out(locked.error());
  const FolderUnlock unlock(folder_);
  // Many sessions hear of one change at once. The first one has done what there was to do.
  if (!thorough_ && !state_.compare_all) {
    bool changed = false;
    if (look_for_changes(&changed) < 0) return -1;
    if (!changed && index_is_current()) return 0;
  }
  return locked_pass(again);
}

// The index still is right for what it has: nobody who has a session loses it because another one
// is slow. What is pending stays so.
int Sync::locked_out(const Error& error) {
  const bool served = FreshView(box_->index).header().uid_validity != 0;
  if (error.kind() != ErrorKind::kBusy || thorough_ || state_.compare_all || !served) {
    return set_error(box_, error, "locking the folder");
  }
  IndexSync index(box_);
  if (index.begin()) state_.removal_waits = read_pending(box_, index.ctx).expunges;
  e_warning(box_->event, "mh: %s: shown as it was last known", error.message().c_str());
  return 0;
}

int Sync::locked_pass(bool* again) {
  *again = false;
  mail_index_refresh(box_->index);
  {
    const FreshView view(box_->index);
    memory_ = state_.compare_all ? std::nullopt : state_.extension.memory(view.get());
    auto files = folder_.sync_files(thorough_, [&](uint32_t uid) {
      return flags_to_follow(box_->index, view.get(), uid, folder_.settings().drafts);
    });
    if (!files) return set_error(box_, files.error(), "reading the folder");
    files_ = std::move(*files);
    if (files_.first_sight && memory_) {
      newer_than_ = memory_->directory.mtime;
      memory_.reset();
    }
  }
  folder_.recall_untold(memory_.value_or(FolderMemory()), &files_);
  if (list_state(box_->list).user().options().refile_flags) fetch_flags(box_, &files_.added);
  thorough_ = false;
  if (prepare_index() < 0 || write_index(again) < 0) return -1;
  if (!*again) state_.compare_all = false;
  finish();
  return 0;
}

// Whether this index may be older than what clients were told. Doubtful: nothing tells, or the
// floor has jumped because the journal may be older.
Sync::Standing Sync::standing() const {
  const FreshView view(box_->index);
  if (view.header().uid_validity == 0) return Standing::kNew;
  const auto now = index_now(box_);
  if (now) {
    const auto sealed = folder_.index_seal();
    if (sealed && is_older(*now, *sealed)) return Standing::kOlder;
    if (!sealed && !folder_.read_only()) return Standing::kDoubtful;
  }
  const uint64_t highest = mail_index_modseq_get_highest(view.get());
  // Until the journal was read the floor is not known.
  const bool jumped = folder_.locked() && folder_.modseq_floor() > highest + kModseqReserve;
  return jumped ? Standing::kDoubtful : Standing::kAsLeft;
}

// Beyond all that was told, in a transaction of its own: in that of the first appends it would be
// applied after them. With `every_message`, a client that asks what changed since is told of all.
int Sync::lift_modseq(bool every_message) {
  const uint64_t highest = mail_index_modseq_get_highest(FreshView(box_->index).get());
  uint64_t target = folder_.modseq_floor();
  if (const auto sealed = folder_.index_seal()) {
    target = std::max(target, sealed->highest_modseq + 1);
  }
  if (every_message) target = std::max(target, highest + 1);
  // Should this be repeated after a crash, it goes on from there.
  if (const Status reserved = folder_.reserve_modseq(target); !reserved) {
    e_warning(box_->event, "mh: %s", reserved.error().message().c_str());
  }
  if (target <= highest) return 0;
  mail_index_modseq_enable(box_->index);
  const FreshView view(box_->index);
  struct mail_index_transaction* trans =
      mail_index_transaction_begin(view.get(), MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL);
  mail_index_update_highest_modseq(trans, target);
  const uint32_t count = every_message ? view.header().messages_count : 0;
  for (uint32_t seq = 1; seq <= count; ++seq) mail_index_update_modseq(trans, seq, target);
  state_.index_broken = mail_index_transaction_commit(&trans) < 0;
  if (!state_.index_broken) return 0;
  mailbox_set_index_error(box_);
  return -1;
}

// An index of another UIDVALIDITY is emptied. One that may be older than what was told starts
// beyond that. One that is older for sure is no base to merge flags with: its numbers and its
// sequences are those of another day.
int Sync::prepare_index() {
  const uint32_t known = FreshView(box_->index).header().uid_validity;
  if (known != 0 && known != folder_.uidvalidity()) {
    e_warning(box_->event, "mh: UIDVALIDITY is %u, the index is of %u: made anew",
              folder_.uidvalidity(), known);
    return reset_index();
  }
  switch (standing()) {
    case Standing::kAsLeft:
      return 0;
    case Standing::kNew:
      // What is not followed from the start counts as changed later: a session that wakes from
      // hibernation would tell the flags of all messages.
      mail_index_modseq_enable(box_->index);
      return lift_modseq(false);
    case Standing::kDoubtful:
      return lift_modseq(true);
    case Standing::kOlder:
      e_warning(box_->event, "mh: the index was restored or damaged: compared anew");
      memory_.reset();
      return lift_modseq(true);
  }
  return 0;
}

int Sync::reset_index() {
  IndexSync index(box_);
  if (!index.begin()) return -1;
  if (index.header().uid_validity == folder_.uidvalidity()) {
    carried_over_ = read_pending(box_, index.ctx);
  }
  mail_index_reset(index.trans);
  if (!index.commit()) return -1;
  mailbox_recent_flags_reset(box_);
  memory_.reset();
  if (FreshView(box_->index).header().uid_validity == 0) return prepare_index();
  mailbox_set_critical(box_, "mh: the index could not be reset");
  return -1;
}

// A damaged index is mended once; what it lost is compared anew.
bool Sync::repair_index() {
  if (std::exchange(repaired_, true) || mail_index_is_deleted(box_->index)) return false;
  if (mail_index_fsck(box_->index) < 0) return false;
  (void)mail_index_reset_fscked(box_->index);
  state_.compare_all = true;
  return true;
}

// An index can only be appended to. A message that it does not have, below its next UID, means that
// it is not the one that followed this journal. Gives its UID, or 0.
uint32_t Sync::missing_in(const IndexSync& index, std::span<const Record> records,
                          const std::optional<NumberSet>& changed) {
  const uint32_t next_uid = index.header().next_uid;
  const auto missing = [&](const Record& record) {
    uint32_t seq;
    return record.uid < next_uid && (!changed || changed->contains(record.uid)) &&
           !mail_index_lookup_seq(index.view, record.uid, &seq);
  };
  const auto found = std::find_if(records.begin(), records.end(), missing);
  return found != records.end() ? found->uid : 0;
}

int Sync::write_index(bool* again) {
  auto records = folder_.records();
  if (!records) return set_error(box_, records.error(), "reading the records of the folder");
  std::optional<NumberSet> changed;
  if (memory_) changed = folder_.changed_since(memory_->generation, memory_->journal_offset);
  uint32_t missing;
  {
    IndexSync index(box_);
    if (!index.begin()) {
      *again = repair_index();
      state_.index_broken = !*again;
      return *again ? 0 : -1;
    }
    missing = missing_in(index, *records, changed);
    if (missing == 0) {
      FlagSync flags(box_, files_, memory_, newer_than_, std::exchange(carried_over_, {}));
      flags.merge(index, *records);
      *again = flags.moved();
      // Messages were removed.
      records = folder_.records();
      if (!records) return set_error(box_, records.error(), "reading the records of the folder");
      follow_files(index, *records, changed, flags.merged());
      expunge(index, flags.expunged());
      finish_uids(index);
      flags.apply(index, *records);
      mark_recent(index);
      remember(index, flags);
      state_.index_broken = !index.commit();
      if (state_.index_broken) return -1;
      flags.finish();
      if (flags.not_removed()) not_removed_ = flags.not_removed();
      // An index in memory is nobody else's.
      if (mail_index_is_in_memory(box_->index)) return 0;
      if (flags.merged() && !files_.saved.empty()) (void)folder_.saves_finished();
      (void)folder_.told();
      return 0;
    }
  }
  e_warning(box_->event, "mh: the index lacks UID %u, which the folder has: made anew", missing);
  if (reset_index() < 0) return -1;
  return write_index(again);
}

// As long as the flags are not merged, the index keeps the numbers of the last merge, 0 for
// arrivals: the sequences are in those. Opening a message by an old number finds out, and looks it
// up.
void Sync::follow(const IndexSync& index, const Record& record, bool merged) {
  uint32_t seq;
  MessageNote note;
  note.hint = hint_of(record);
  note.internal_date = record.internal_date;
  if (mail_index_lookup_seq(index.view, record.uid, &seq)) {
    const MessageNote old = state_.extension.note(index.view, seq);
    note.undecided_since = old.undecided_since;
    if (!merged) note.hint.number = old.hint.number;
    if (note == old) return;
  } else {
    if (!merged) note.hint.number = 0;
    mail_index_append(index.trans, record.uid, &seq);
  }
  state_.extension.set_note(index.trans, seq, note);
}

void Sync::follow_files(const IndexSync& index, std::span<const Record> records,
                        const std::optional<NumberSet>& changed, bool merged) {
  const auto find = [&](uint32_t uid) {
    const auto found =
        std::lower_bound(records.begin(), records.end(), uid,
                         [](const Record& each, uint32_t wanted) { return each.uid < wanted; });
    return found != records.end() && found->uid == uid ? &*found : nullptr;
  };
  const uint32_t count = mail_index_view_get_messages_count(index.view);
  if (!changed) {
    for (uint32_t seq = 1; seq <= count; ++seq) {
      uint32_t uid;
      mail_index_lookup_uid(index.view, seq, &uid);
      if (find(uid) == nullptr) mail_index_expunge(index.trans, seq);
    }
    for (const Record& record : records) follow(index, record, merged);
    return;
  }
  changed->for_each([&](uint32_t uid) {
    uint32_t seq;
    if (const Record* record = find(uid)) {
      follow(index, *record, merged);
    } else if (mail_index_lookup_seq(index.view, uid, &seq)) {
      mail_index_expunge(index.trans, seq);
    }
  });
}

// What a client has asked to remove, and what was.
void Sync::expunge(const IndexSync& index, const NumberSet& uids) {
  if (uids.empty()) return;
  box_->tmp_sync_view = index.view;
  uids.for_each([&](uint32_t uid) {
    uint32_t seq;
    if (!mail_index_lookup_seq(index.view, uid, &seq)) return;
    if (!mail_index_transaction_is_expunged(index.trans, seq)) {
      mail_index_expunge(index.trans, seq);
    }
    mailbox_sync_notify(box_, uid, MAILBOX_SYNC_TYPE_EXPUNGE);
  });
  mailbox_sync_notify(box_, 0, static_cast<enum mailbox_sync_type>(0));
  box_->tmp_sync_view = nullptr;
}

// UIDNEXT never shrinks, not even when the last messages went together with the index.
void Sync::finish_uids(const IndexSync& index) {
  if (index.header().uid_validity == 0) {
    const uint32_t uidvalidity = folder_.uidvalidity();
    mail_index_update_header(index.trans, offsetof(struct mail_index_header, uid_validity),
                             &uidvalidity, sizeof(uidvalidity), TRUE);
  }
  const uint32_t next_uid = folder_.uidnext();
  if (mail_index_transaction_get_next_uid(index.trans) >= next_uid) return;
  mail_index_update_header(index.trans, offsetof(struct mail_index_header, next_uid), &next_uid,
                           sizeof(next_uid), FALSE);
}

void Sync::mark_recent(const IndexSync& index) {
  struct mail_index_view* view = mail_index_transaction_open_updated_view(index.trans);
  const uint32_t first_recent = std::max(index.header().first_recent_uid, 1u);
  uint32_t first, last;
  if (mail_index_lookup_seq_range(view, first_recent, UINT32_MAX, &first, &last)) {
    mailbox_recent_flags_set_seqs(box_, view, first, last);
  }
  mail_index_view_close(&view);
}

void Sync::remember(const IndexSync& index, const FlagSync& flags) {
  FolderMemory memory = folder_.memory();
  const Nanoseconds due = static_cast<Nanoseconds>(flags.recheck_at()) * kSecond;
  if (due != 0 && (memory.recheck_at == 0 || due < memory.recheck_at)) memory.recheck_at = due;
  if (!flags.merged()) {
    // The next merge must see everything since the last one as changed.
    memory.generation = memory_ ? memory_->generation : 0;
    memory.journal_offset = memory_ ? memory_->journal_offset : 0;
  }
  state_.extension.set_memory(index.view, index.trans, memory);
}

void Sync::finish() {
  // Arrivals bring files without a tag.
  if (!files_.added.empty()) state_.nothing_to_adopt = false;
  const FreshView view(box_->index);
  if (const Status reserved = folder_.reserve_modseq(mail_index_modseq_get_highest(view.get()));
      !reserved) {
    e_warning(box_->event, "mh: %s", reserved.error().message().c_str());
  }
  if (const Status maintained = folder_.maintain(); !maintained) {
    e_warning(box_->event, "mh: %s", maintained.error().message().c_str());
  }
  state_.index_checked = true;
  seal_index(box_);
}

}  // namespace

void seal_index(struct mailbox* box) {
  MailboxState& state = mailbox_state(box);
  const auto now = index_now(box);
  if (!now || now == state.sealed) return;
  state.folder->set_index_seal(*now);
  state.sealed = now;
}

int run_sync_passes(struct mailbox* box, bool thorough) { return Sync(box, thorough).run(); }

int run_locked_sync(struct mailbox* box) { return Sync(box, false).run_locked(); }

}  // namespace mh
