// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: what lies in the directory, and which UID each file has.
//
// Files are read before the lock is taken (look), as far as they need reading; under the lock the
// directory is listed again only if it changed meanwhile, and only what changed is read again. So
// the first visit to a folder of 100,000 messages holds the lock for the time of one journal write.
#include <algorithm>

#include <sodium.h>

#include "libmh/folder/folder-impl.h"

namespace mh {
namespace {

// reconcile() needs two rounds of probes, three when a file is replaced between them.
constexpr int kMostRounds = 5;
// A program that strips our tags is given up on after this many of them.
constexpr size_t kTooManyLostTags = 3;

}  // namespace

Result<bool> Folder::unchanged(const FolderMemory& memory) {
  Impl& in = *impl_;
  in.untidy = memory.untidy != 0;
  MH_TRY_SET(const FileStat dir, in.fs.fstat(in.dir.get()));
  if (dir.nlink == 0) return fail(ErrorKind::kNotFound, in.location.folder + " was removed");
  if (in.suspicious || in.arrivals_wait) return false;
  if (in.untidy && in.state_loaded && in.swept && in.what_is_untidy() == 0) return false;
  if (memory.recheck_at != 0 && in.fs.now() >= memory.recheck_at) return false;
  const DirectoryStamp stamp = DirectoryStamp::of(dir);
  const bool pass_can_wait = in.pass_due != 0 && in.fs.now() < in.pass_due && stamp == in.probed_as;
  if (!(stamp == memory.directory) && !pass_can_wait) return false;
  const bool all_private = in.settings.sequences_name.empty();
  if ((all_private || memory.context != 0) &&
      memory.context != context_stamp(in.fs, in.settings.context)) {
    return false;
  }
  if (all_private) return memory.sequences_inode == 0;
  const auto file = in.fs.stat(in.dir.get(), in.settings.sequences_name.c_str(), Follow::kNo);
  if (!file) {
    if (file.error().kind() != ErrorKind::kNotFound) return pass_on(file);
    return memory.sequences_inode == 0;
  }
  return file->inode == memory.sequences_inode && file->size == memory.sequences_size &&
         file->mtime == memory.sequences_mtime && file->ctime == memory.sequences_ctime;
}

void Folder::distrust() { impl_->suspicious = true; }

// A whole listing began after the last change before it, by more than the clock's tick: as long as
// the stamps are those, it holds. (That they could be coarser is what recheck_at is for.)
Status Folder::Impl::list_again(bool thorough) {
  const auto stat = fs.fstat(dir.get());
  if (!stat) return pass_on(stat);
  if (stat->nlink == 0) {
    return fail(ErrorKind::kNotFound, location.folder + " was removed");
  }
  if (probed && listing && !thorough) return {};
  probed = false;
  const bool same = listing && listing->whole && listing->directory == DirectoryStamp::of(*stat);
  if (same && !thorough) {
    // What could not be read before may be by now.
    std::erase_if(probes,
                  [](const auto& probe) { return probe.second.state != Probe::State::kRead; });
    return {};
  }
  MH_TRY_SET(listing, scan_folder(fs, dir.get()));
  // What was read of a file holds as long as it is that file in that state.
  std::map<uint32_t, Probe> still;
  for (const Entry& entry : listing->entries) {
    const auto found = probes.find(entry.number);
    if (found != probes.end() && found->second.state == Probe::State::kRead &&
        found->second.file == entry.file) {
      still.insert(probes.extract(found));
    }
  }
  probes = std::move(still);
  return {};
}

Result<Plan> Folder::Impl::plan(bool thorough) {
  MH_TRY(load_records());
  ReconcileInput input;
  input.listing = &*listing;
  std::vector<Record> doubted;
  input.records = records;
  if (thorough) {
    // No recorded stamp is believed: every file whose content can be told is read as if it had been
    // touched. An untagged one cannot: reading it again would give it a new UID for nothing.
    doubted = records;
    for (Record& record : doubted) {
      if (record.has(Record::kHashKnown)) record.file.mtime -= 1;
    }
    input.records = doubted;
  }
  input.alive = &state().alive;
  input.uidvalidity = state().header.uidvalidity;
  input.uidnext = state().uidnext;
  input.now = static_cast<uint32_t>(std::clamp<Nanoseconds>(fs.now() / kSecond, 0, UINT32_MAX));
  input.probes = std::move(probes);
  for (const Entry& entry : listing->entries) {
    const auto edit = edits.find(entry.number);
    if (edit != edits.end() && edit->second.file == entry.file) {
      input.probes.insert(*edit);
    }
  }
  const TagKey key = location.root != nullptr ? location.root->key() : TagKey{};
  Plan result;
  for (int round = 0; round < kMostRounds; ++round) {
    result = reconcile(input);
    if (result.final()) break;
    for (const ProbeRequest& request : result.needed) {
      input.probes[request.number] = read_probe(fs, dir.get(), request, key);
    }
  }
  probes = std::move(input.probes);
  if (!result.final()) {
    return fail(ErrorKind::kBusy, location.folder + ": messages change faster than they are read");
  }
  return result;
}

// What open_message() has compared need not be compared again. `changed` comes in UID order.
void Folder::Impl::take_over_verified(std::vector<Record>* changed) {
  const auto by_uid = [](const Record& record, uint32_t uid) { return record.uid < uid; };
  std::vector<Record> more;
  for (const auto& [uid, identity] : verified) {
    const auto planned = std::lower_bound(changed->begin(), changed->end(), uid, by_uid);
    const bool is_planned = planned != changed->end() && planned->uid == uid;
    const Record* known = is_planned ? &*planned : find(uid);
    if (known == nullptr || !(known->file == identity) || known->has(Record::kVerified)) continue;
    Record& sure = is_planned ? *planned : more.emplace_back(*known);
    sure.set(Record::kVerified, true);
  }
  changed->insert(changed->end(), more.begin(), more.end());
  verified.clear();
}

// What another opening of the folder has found in this process may be newer.
void Folder::Impl::take_left_listing() {
  const Listing* left = location.root ? location.root->left_listing(location.guid) : nullptr;
  if (left == nullptr || (listing && listing->taken_at >= left->taken_at)) return;
  const auto stat = fs.fstat(dir.get());
  if (stat && DirectoryStamp::of(*stat) == left->directory) listing = *left;
}

// Flags alone are no reason to go over the messages again, nor is a removal of ours that a moment
// ago brought the listing up to date: as long as the stamps of the directory are those (list_again()
// looks), the messages are. What may have come in the same tick is asked of the names when a client
// waits; the pass that is owed to it comes with a sync that nobody waits for.
bool Folder::Impl::listing_lasts(bool asked) {
  take_left_listing();
  if (!listing || !listing->whole || suspicious || waiting != 0) return false;
  if (listing->settled()) return true;
  if (!asked) return false;
  const auto same = is_as_listed(fs, dir.get(), *listing);
  return same && *same;
}

Status Folder::look(bool arrivals_first) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (!in.listing_lasts(!arrivals_first)) in.listing.reset();
  in.probes.clear();
  if (in.journal) MH_TRY(in.journal->refresh());
  in.probed = false;
  if (arrivals_first) {
    MH_TRY_SET(in.probed, in.look_for_arrivals());
    in.arrivals_wait = in.probed;
    if (in.probed) return {};
  }
  MH_TRY(in.list_again(false));
  MH_TRY(in.plan(false));
  return {};
}

// Whether there are plain arrivals under the next numbers of a big folder: they are then all that
// the listing has.
Result<bool> Folder::Impl::look_for_arrivals() {
  if (suspicious || !state().pending_saves.empty() || state().renumbering) return false;
  if (state().alive.count() < settings.big_folder) return false;
  if (pass_due != 0 && fs.now() >= pass_due) return false;
  MH_TRY(load_records());
  uint32_t highest = 0;
  for (const Record& record : records) highest = std::max(highest, record.number);
  MH_TRY_SET(Listing next, probe_after(fs, dir.get(), highest));
  if (next.entries.empty()) return false;
  listing = std::move(next);
  MH_TRY_SET(const Plan arrivals, plan(false));
  if (arrivals.added.empty() || arrivals.relist) {
    listing.reset();
    return false;
  }
  probed_as = listing->directory;
  if (pass_due == 0) pass_due = fs.now() + settings.pass_delay;
  return true;
}

Status Folder::Impl::list_parts(size_t most) {
  Parts found;
  MH_TRY_SET(found.all, scan_folder(fs, dir.get()));
  std::vector<uint64_t> known;
  known.reserve(records.size());
  for (const Record& record : records) known.push_back(record.file.inode);
  std::ranges::sort(known);
  std::erase_if(found.all.entries, [&](const Entry& entry) {
    return std::ranges::binary_search(known, entry.file.inode);
  });
  if (found.all.entries.size() <= most) found.all.entries.clear();
  found.all.entries.shrink_to_fit();
  found.all.whole = false;
  parts = std::move(found);
  return {};
}

Result<bool> Folder::look_at_part(size_t most) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (in.journal) MH_TRY(in.journal->refresh());
  MH_TRY(in.load_records());
  if (!in.parts) MH_TRY(in.list_parts(most));
  Impl::Parts& parts = *in.parts;
  in.probes.clear();
  in.listing.reset();
  in.probed = parts.next < parts.all.entries.size();
  if (!in.probed) {
    in.parts.reset();
    return false;
  }
  const auto begin = parts.all.entries.begin() + static_cast<std::ptrdiff_t>(parts.next);
  const size_t count = std::min(most, parts.all.entries.size() - parts.next);
  parts.next += count;
  in.listing.emplace();
  in.listing->directory = parts.all.directory;
  in.listing->taken_at = parts.all.taken_at;
  in.listing->entries.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  MH_TRY(in.plan(false));
  return true;
}

std::vector<Tombstone> Folder::Impl::tombstones_of(const std::vector<uint32_t>& dropped,
                                                   const FlagsOf& flags_of) {
  std::vector<Tombstone> tombstones;
  for (const uint32_t uid : dropped) {
    Tombstone tombstone;
    tombstone.uid = uid;
    tombstone.dropped_at = fs.now() / kSecond;
    if (const Record* record = find(uid)) {
      (void)forget_second_name(*record);
      tombstone.number = record->number;
      tombstone.guid = record->guid;
      tombstone.file = record->file;
      tombstone.internal_date = record->internal_date;
      tombstone.saved = record->saved;
    }
    if (flags_of) tombstone.flags = flags_of(uid);
    tombstones.push_back(std::move(tombstone));
  }
  return tombstones;
}

// After a pack the numbers that messages had do not matter any more.
void Folder::Impl::free_numbers(const Plan& plan) {
  if (plan.renumbered.empty() || !journal || !writable()) return;
  uint32_t before = 0;
  for (const Record& record : records) before = std::max(before, record.number);
  if (listing->highest() >= before) return;
  free_all_numbers();
}

// Takes out of the plan what an index has to be told at the time; returns how much that is.
size_t Folder::Impl::leave_to_index(Plan* plan) {
  NumberSet annotated;
  for (const Annotation& annotation : plan->annotated) annotated.add(annotation.uid);
  std::erase_if(plan->changed,
                [&](const Record& record) { return annotated.contains(record.uid); });
  Returning returning(fs, location.root, state());
  const size_t came = plan->added.size();
  std::erase_if(plan->added, [&](const Addition& addition) {
    if (addition.edited_from || addition.replied || addition.forwarded) return true;
    const auto found = returning.find(addition);
    return found.tombstone != nullptr || found.departed;
  });
  const size_t left = plan->annotated.size() + plan->dropped.size() + came - plan->added.size();
  plan->annotated.clear();
  plan->dropped.clear();
  return left;
}

// Gives UIDs to what is new.
void Folder::Impl::give_uids(Plan& plan, std::vector<Record>* changed, FilesOutcome* outcome) {
  uint32_t next = state().uidnext;
  std::vector<Guid> guids(plan.added.size());  // one call of the kernel for all
  if (!guids.empty()) randombytes_buf(guids.data(), guids.size() * sizeof(Guid));
  auto guid = guids.begin();
  Returning returning(fs, location.root, state());
  for (Addition& addition : plan.added) {
    Record& record = addition.record;
    record.uid = next++;
    if (!addition.keeps_guid) record.guid = *guid;
    ++guid;
    Added added;
    added.uid = record.uid;
    added.edited_from = addition.edited_from;
    const auto [tombstone, departed] =
        addition.edited_from ? Returning::Found() : returning.find(addition);
    if (departed) {
      added.departed = departed;
      record.internal_date = departed->internal_date;
      record.saved = departed->saved;
    }
    if (tombstone != nullptr) {
      added.tombstone_flags = tombstone->flags;
      record.internal_date = tombstone->internal_date;
      record.saved = tombstone->saved;
    }
    if (addition.replied || addition.forwarded) {
      plan.annotated.push_back({record.uid, addition.replied, addition.forwarded});
    }
    changed->push_back(record);
    outcome->added.push_back(std::move(added));
  }
}

// Whether an arrival is seen is decided later. Should the index be lost until then, it still is
// known that nobody has.
void Folder::Impl::note_arrivals(const std::vector<Added>& added) {
  if (!journal || !journal->writable() || at_first_sight()) return;
  NumberSet undecided = state().undecided;
  for (const Added& each : added) {
    if (!each.edited_from) undecided.add(each.uid);
  }
  if (!(undecided == state().undecided)) journal->add_undecided(undecided);
}

// Another program takes our tags away: after a few of them this folder is left alone.
void Folder::Impl::mind_lost_tags(const Plan& plan, std::vector<Record>* changed) {
  if (plan.untagged.empty()) return;
  for (Record& record : *changed) {
    const bool lost = std::binary_search(plan.untagged.begin(), plan.untagged.end(), record.uid);
    if (lost) record.set(Record::kNoTag, true);
  }
  lost_tags += plan.untagged.size();
  if (lost_tags < kTooManyLostTags || !journal || !tags()) return;
  journal->add_option(kNoTags, true);
  warn(
      "another program removes the X-MH-UID line that keeps UIDs with their messages: no more "
      "are written here, UIDs live in the journal alone");
}

// Writes it down; true when arrivals and removals cannot be journalled and have to wait.
Result<bool> Folder::Impl::commit_files(const std::vector<Record>& changed,
                                        const std::vector<Tombstone>& dropped, size_t added) {
  if (!writable()) {
    const bool waits = added != 0 || !dropped.empty();
    if (waits)
      mind_deferred(lock_is_shared ? "its state cannot be written"
                                   : "the journal cannot be written");
    return waits;
  }
  if (journal && added != 0) {
    MH_TRY(journal->reserve_uids(state().uidnext, static_cast<uint32_t>(added)));
  }
  const Status done = commit(changed, dropped);
  if (done) {
    warned_deferred = false;
    return false;
  }
  const ErrorKind kind = done.error().kind();
  if (kind != ErrorKind::kNoSpace && kind != ErrorKind::kReadOnly && kind != ErrorKind::kIo) {
    return pass_on(done);
  }
  mind_deferred(done.error().message());
  return true;
}

// Told once, until it could be done again.
void Folder::Impl::mind_deferred(const std::string& why) {
  if (!std::exchange(warned_deferred, true)) warn("new messages wait: " + why);
}

Result<Plan> Folder::Impl::plan_anew(bool thorough) {
  probed = false;
  listing.reset();
  MH_TRY(list_again(true));
  return plan(thorough);
}

Result<FilesOutcome> Folder::sync_files(bool thorough, const FlagsOf& flags_of) {
  return impl_->sync_files(thorough, flags_of, true);
}

Result<FilesOutcome> Folder::sync_arrivals(bool thorough) {
  return impl_->sync_files(thorough, {}, false);
}

Result<FilesOutcome> Folder::Impl::sync_files(bool thorough, const FlagsOf& flags_of,
                                              bool has_index) {
  Impl& in = *this;
  FilesOutcome outcome;
  in.arrivals_wait = false;
  if (!in.swept_outgoing) MH_TRY(in.sweep_outgoing());
  if (!std::exchange(in.looked_for_leftovers, true)) in.leftovers = in.find_leftovers();
  // Where their files are must be known.
  if (!in.state().pending_saves.empty() || in.state().renumbering) in.probed = false;
  MH_TRY(in.list_again(thorough));
  MH_TRY_SET(const bool undone, in.settle_saves(&outcome));
  if (undone) MH_TRY(in.list_again(true));
  MH_TRY_SET(Plan plan, in.plan(thorough));
  if (plan.relist) {
    MH_TRY_SET(plan, in.plan_anew(thorough));
  }
  if (!plan.dropped.empty()) {
    MH_TRY_SET(const bool came_back, in.sweep_outgoing());
    MH_TRY_SET(const bool brought_back, in.bring_back_overwritten(plan));
    if (came_back || brought_back) {
      MH_TRY_SET(plan, in.plan_anew(thorough));
    }
  }
  if (!has_index && !in.at_first_sight()) outcome.left = in.leave_to_index(&plan);
  std::vector<Record> changed = std::move(plan.changed);
  in.take_over_verified(&changed);
  in.mind_lost_tags(plan, &changed);
  in.free_numbers(plan);
  in.release_guards(&changed);
  in.give_uids(plan, &changed, &outcome);
  // What was read of a large folder that is new is as large as all that is kept of it.
  in.probes.clear();
  std::vector<Addition>().swap(plan.added);
  in.note_arrivals(outcome.added);
  in.note_untold(outcome.added, plan.annotated);
  const std::vector<Tombstone> dropped = in.tombstones_of(plan.dropped, flags_of);
  MH_TRY_SET(outcome.deferred, in.commit_files(changed, dropped, outcome.added.size()));
  in.deferred = outcome.deferred;
  in.unjournalled.clear();
  if (outcome.deferred) {
    // Served on from what the journal holds; where a message lies now is no promise to anybody.
    std::erase_if(changed, [&](const Record& record) { return in.find(record.uid) == nullptr; });
    in.apply_to_records(changed, {});
    outcome.added.clear();
    for (const Tombstone& tombstone : dropped) in.unjournalled.add(tombstone.uid);
  } else {
    outcome.dropped = std::move(plan.dropped);
    outcome.annotated = std::move(plan.annotated);
  }
  in.settle_renumbering();
  outcome.first_sight = in.at_first_sight();
  outcome.waiting = plan.waiting.size();
  in.waiting = plan.waiting.size();
  in.fold_now = thorough;
  if (in.probed) return outcome;
  in.suspicious = false;
  in.edits.clear();
  in.pass_due = 0;
  return outcome;
}

}  // namespace mh
