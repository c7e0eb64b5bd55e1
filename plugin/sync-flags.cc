// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/sync-flags.h"

#include "plugin/mh-mailbox.h"

namespace mh {
namespace {

void copy_flags(FlagSets* sets, uint32_t from, uint32_t to) {
  for (NumberSet* set :
       {&sets->unseen, &sets->answered, &sets->flagged, &sets->deleted, &sets->draft}) {
    if (set->contains(from)) set->add(to);
  }
  for (auto& [name, set] : sets->keywords) {
    if (set.contains(from)) set.add(to);
  }
}

// Flags that come with the files: annotations, and what a message had when it left.
void add_flags_of_files(const FilesOutcome& files, bool refile_flags,
                        std::vector<FlagChange>* changes, NumberSet* brought) {
  for (const Added& added : files.added) {
    if (added.edited_from && added.tombstone_flags) {
      set_from_text(*added.tombstone_flags, added.uid, changes);
    } else if (refile_flags && added.tombstone_flags) {
      // Whoever brings a message back or files it wants to have it.
      set_from_text(without_flag(*added.tombstone_flags, "\\Deleted"), added.uid, changes);
      brought->add(added.uid);
    }
  }
  for (const PendingSave& save : files.saved) set_from_text(save.flags, save.uid, changes);
  for (const Annotation& annotation : files.annotated) {
    if (annotation.replied) add_from_text("\\Answered", annotation.uid, changes);
    if (annotation.forwarded) add_from_text("$Forwarded", annotation.uid, changes);
  }
}

NumberSet uids_of(std::span<const Record> records) {
  std::vector<NumberRange> uids;
  uids.reserve(records.size());
  for (const Record& record : records) uids.push_back({record.uid, record.uid});
  return NumberSet::from_ranges(std::move(uids));
}

}  // namespace

FlagSync::FlagSync(struct mailbox* box, const FilesOutcome& files,
                   const std::optional<FolderMemory>& memory, Nanoseconds newer_than,
                   PendingChanges carried_over)
    : box_(box),
      memory_(memory),
      ours_(std::move(carried_over.flags)),
      expunge_(std::move(carried_over.expunges)),
      newer_than_(newer_than) {
  add_flags_of_files(files, list_state(box->list).user().options().refile_flags, &ours_, &brought_);
  for (const Added& added : files.added) {
    added_.add(added.uid);
    if (added.edited_from) edited_from_[added.uid] = *added.edited_from;
  }
  for (const uint32_t uid : files.dropped) gone_.add(uid);
  drafts_ = mailbox_state(box).folder->settings().drafts;
}

void FlagSync::merge(IndexSync& index, std::span<const Record> records) {
  MailboxState& state = mailbox_state(box_);
  // See Folder::recall_untold().
  std::erase_if(edited_from_, [&](const auto& edited) {
    uint32_t seq;
    return mail_index_lookup_seq(index.view, edited.first, &seq);
  });
  const FlagsInput input = input_of(index, records);
  auto outcome = state.folder->sync_flags(memory_.value_or(FolderMemory()), input);
  if (outcome) {
    outcome_ = std::move(*outcome);
    state.warned_sequences = false;
  } else {
    // The messages are served all the same; changes of flags wait until the sequences can be had.
    outcome_ = FlagsOutcome();
    outcome_.busy = true;
    if (!std::exchange(state.warned_sequences, true)) {
      e_error(box_->event, "mh: %s: flags stay in the index until this is mended",
              outcome.error().message().c_str());
    }
  }
  merged_ = !outcome_.busy && !outcome_.moved;
  if (merged_) {
    consume(index.ctx);
    expunge_.clear();
  } else {
    index.leave_requests();
  }
  state.removal_waits = merged_ ? NumberSet() : input.expunge;
}

FlagsInput FlagSync::input_of(const IndexSync& index, std::span<const Record> records) {
  PendingChanges pending = read_pending(box_, index.ctx);
  FlagsInput input;
  input.expunge = std::move(pending.expunges);
  input.expunge.unite(expunge_);
  input.flags_of = [this, &index](uint32_t uid) {
    return flags_text(box_->index, index.view, uid);
  };
  input.pending = std::move(pending.flags);
  input.pending.insert(input.pending.end(), ours_.begin(), ours_.end());
  input.brought = brought_;
  input.base = flags_of_view(box_, index.view);
  add_appended(index, records, &input.base);
  if (drafts_) input.base.draft.clear();
  undecided_before_ =
      memory_ ? undecided_of(index, &input.expired) : undecided_of(records, &input.expired);
  input.undecided = undecided_before_;
  input.old_number = [this, &index](uint32_t uid) { return old_number(index, uid); };
  return input;
}

// What this sync appends is not in the view yet; it is appended without flags, that is, as unseen.
void FlagSync::add_appended(const IndexSync& index, std::span<const Record> records,
                            FlagSets* base) const {
  std::vector<NumberRange> appended;
  for (const Record& record : records) {
    uint32_t seq;
    if (mail_index_lookup_seq(index.view, record.uid, &seq)) continue;
    appended.push_back({record.uid, record.uid});
  }
  base->unseen.unite(NumberSet::from_ranges(std::move(appended)));
  for (const auto& [uid, old_uid] : edited_from_) {
    base->unseen.remove(uid);
    copy_flags(base, old_uid, uid);
  }
}

uint32_t FlagSync::old_number(const IndexSync& index, uint32_t uid) const {
  const auto edited = edited_from_.find(uid);
  uint32_t seq;
  if (!mail_index_lookup_seq(index.view, edited != edited_from_.end() ? edited->second : uid,
                             &seq)) {
    return 0;
  }
  return mailbox_state(box_).extension.note(index.view, seq).hint.number;
}

NumberSet FlagSync::undecided_of(const IndexSync& index, NumberSet* expired) const {
  const MailboxState& state = mailbox_state(box_);
  const Nanoseconds now = Fs::posix().now();
  const Nanoseconds grace = state.folder->settings().unseen_grace;
  NumberSet undecided;
  const uint32_t count = mail_index_view_get_messages_count(index.view);
  for (uint32_t seq = 1; seq <= count; ++seq) {
    const uint32_t since = state.extension.note(index.view, seq).undecided_since;
    if (since == 0) continue;
    uint32_t uid;
    mail_index_lookup_uid(index.view, seq, &uid);
    undecided.add(uid);
    if (static_cast<Nanoseconds>(since) * kSecond + grace <= now) expired->add(uid);
  }
  return undecided;
}

// The index that knew is lost: what the journal says. An arrival was seen first when it was saved.
NumberSet FlagSync::undecided_of(std::span<const Record> records, NumberSet* expired) const {
  const Folder& folder = *mailbox_state(box_).folder;
  const Nanoseconds now = Fs::posix().now();
  NumberSet undecided;
  for (const Record& record : records) {
    const bool arrived = newer_than_ != 0 && added_.contains(record.uid) &&
                         !edited_from_.contains(record.uid) && record.file.ctime > newer_than_;
    if (!arrived && !folder.undecided().contains(record.uid)) continue;
    undecided.add(record.uid);
    const Nanoseconds since = static_cast<Nanoseconds>(record.saved) * kSecond;
    if (since + folder.settings().unseen_grace <= now) expired->add(record.uid);
  }
  return undecided;
}

void FlagSync::note_undecided(const IndexSync& index, const NumberSet& now) {
  NumberSet touched = undecided_before_;
  touched.unite(now);
  if (touched.empty()) return;
  const MailboxState& state = mailbox_state(box_);
  const Nanoseconds grace = state.folder->settings().unseen_grace;
  const auto grace_seconds = static_cast<uint32_t>((grace + kSecond - 1) / kSecond);
  const auto today = static_cast<uint32_t>(Fs::posix().now() / kSecond);
  struct mail_index_view* view = mail_index_transaction_open_updated_view(index.trans);
  touched.for_each([&](uint32_t uid) {
    uint32_t seq;
    if (!mail_index_lookup_seq(view, uid, &seq)) return;
    MessageNote note = state.extension.note(view, seq);
    uint32_t since = 0;
    if (now.contains(uid)) {
      since = note.undecided_since != 0 ? note.undecided_since : today;
      const uint32_t due = since + grace_seconds;
      recheck_at_ = recheck_at_ == 0 ? due : std::min(recheck_at_, due);
    }
    if (note.undecided_since == since) return;
    note.undecided_since = since;
    state.extension.set_note(index.trans, seq, note);
  });
  mail_index_view_close(&view);
}

// An edited message is appended under its new UID with the flags that it had.
std::vector<FlagChange> FlagSync::flags_of_predecessors(const IndexSync& index) const {
  std::vector<FlagChange> changes;
  for (const auto& [uid, old_uid] : edited_from_) {
    add_from_text(flags_text(box_->index, index.view, old_uid), uid, &changes);
  }
  return changes;
}

void FlagSync::apply(const IndexSync& index, std::span<const Record> records) {
  update_flags(box_, index.trans, flags_of_predecessors(index));
  if (drafts_) {
    FlagChange change;
    change.flag = kDraft;
    change.add = uids_of(records);
    update_flags(box_, index.trans, {change});
    std::erase_if(outcome_.to_index, [](const FlagChange& each) { return each.flag == kDraft; });
  }
  if (!merged_) {
    note_undecided(index, undecided_before_);
    return;
  }
  update_flags(box_, index.trans, std::exchange(ours_, {}));
  // A session that still shows a message that is gone shows it as it was.
  gone_.unite(outcome_.expunged);
  for (FlagChange& change : outcome_.to_index) {
    change.add.subtract(gone_);
    change.remove.subtract(gone_);
  }
  update_flags(box_, index.trans, outcome_.to_index);
  note_undecided(index, outcome_.undecided);
}

void FlagSync::finish() {
  if (ours_.empty() && expunge_.empty()) return;
  const FreshView view(box_->index);
  struct mail_index_transaction* trans =
      mail_index_transaction_begin(view.get(), static_cast<enum mail_index_transaction_flags>(0));
  update_flags(box_, trans, std::exchange(ours_, {}));
  std::exchange(expunge_, {}).for_each([&](uint32_t uid) {
    uint32_t seq;
    if (mail_index_lookup_seq(view.get(), uid, &seq)) mail_index_expunge(trans, seq);
  });
  if (mail_index_transaction_commit(&trans) < 0) mailbox_set_index_error(box_);
}

}  // namespace mh
