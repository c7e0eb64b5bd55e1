// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Records (r) and entries (e) are named by their index. Longer than other files here, because the
// rows of the table depend on each other: each takes what the rows above it have left.
#include "libmh/folder/reconcile.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "libmh/folder/evidence.h"
#include "libmh/folder/identity.h"

namespace mh {
namespace {

using State = Probe::State;

constexpr uint32_t kNone = Pairs::kNone;
constexpr uint32_t kTaken = kNone - 1;  // in place of an index: not free either

// A file that bears the tag of a missing UID.
struct Claim {
  uint32_t uid = 0;
  bool elsewhere = false;  // not under the number of the record
  uint32_t entry = 0;      // in number order
  uint32_t record = kNone;
  bool operator<(const Claim& other) const {
    return std::tie(uid, elsewhere, entry) < std::tie(other.uid, other.elsewhere, other.entry);
  }
};

// An entry whose content is a message that has been edited.
struct Edit {
  uint32_t entry = 0;
  uint32_t uid = 0;
  uint32_t record = kNone;  // kNone: it was lost
};

class Reconciler {
 public:
  explicit Reconciler(const ReconcileInput& input)
      : input_(input),
        entries_(input.listing->entries),
        records_(input.records),
        probe_of_(entries_.size(), nullptr),
        asked_(entries_.size(), false) {}

  Plan run() {
    look_up_probes();
    if (!input_.listing->whole) return run_partial();
    Pairs pairs = pair_by_identity(records_, entries_);
    file_of_ = std::move(pairs.entry_of);
    owner_ = std::move(pairs.record_of);
    for (uint32_t r = 0; r < records_.size(); ++r) {
      if (file_of_[r] != kNone) judge_known(r, file_of_[r]);
    }
    gather_unknown();
    if (outdated_) return run_partial();
    match_same_number();
    find_lost();
    settle_claims();
    if (!plan_.needed.empty()) return only_needs();
    drop();
    add();
    sort_plan();
    return std::move(plan_);
  }

 private:
  void look_up_probes();
  void judge_known(uint32_t r, uint32_t e);
  void judge_unread(uint32_t r, uint32_t e);
  void judge_other_bytes(uint32_t r, uint32_t e);
  void gather_unknown();
  void match_same_number();
  void find_lost();
  void settle_claims();
  std::optional<Claim> claim_of(uint32_t e) const;
  bool proven(const Claim& claim) const;
  void accept(const Claim& claim);
  void drop();
  void add();
  void add_one(uint32_t e, const Edit* edit);
  void settle_guids();
  void sort_plan();
  Plan run_partial();

  const Probe* probe(uint32_t e) const { return probe_of_[e]; }
  // The name went away or was given to another file since it was listed.
  bool gone(uint32_t e) const {
    return probe(e) != nullptr &&
           (probe(e)->state == State::kGone || !probe(e)->file.same_file(entries_[e].file));
  }
  bool readable(uint32_t e) const { return probe(e) && probe(e)->state == State::kRead; }
  bool tagged_here(uint32_t e) const {
    if (!readable(e) || probe(e)->tag.uidvalidity != input_.uidvalidity) return false;
    return probe(e)->tag_kind == Probe::TagKind::kVerified ||
           probe(e)->tag_kind == Probe::TagKind::kRecorded;
  }

  void ask(uint32_t e, bool whole, const Record* known) {
    if (asked_[e]) return;
    asked_[e] = true;
    ProbeRequest request{entries_[e].number, entries_[e].file, whole, std::nullopt};
    if (known != nullptr && known->has(Record::kTagged))
      request.recorded = tag_of(*known, input_.uidvalidity);
    plan_.needed.push_back(std::move(request));
  }
  // The start of an unknown file, and all of it where its tag can only be believed so. The tag on
  // record of a released one is looked for again: else the answer would begin elsewhere.
  void ask_about_unknown(uint32_t e) {
    if (probe(e) == nullptr) ask(e, false, nullptr);
    if (!readable(e) || !tag_may_fit(*probe(e)) || probe(e)->hash) return;
    const auto released = released_.find(e);
    ask(e, true, released == released_.end() ? nullptr : &records_[released->second]);
  }
  Plan only_needs() {
    Plan plan;
    plan.needed = std::move(plan_.needed);
    return plan;
  }

  void link(uint32_t r, uint32_t e) {
    file_of_[r] = e;
    owner_[e] = r;
  }
  void release(uint32_t r, uint32_t e) {
    file_of_[r] = owner_[e] = kNone;
    released_[e] = r;
  }
  void change(uint32_t r, const Record& record) {
    if (record == records_[r]) return;
    if (record.number != records_[r].number) plan_.renumbered.push_back(record.uid);
    plan_.changed.push_back(record);
  }
  void keep(uint32_t r, uint32_t e, bool in_place);
  void edit(uint32_t r, uint32_t e) {
    edits_.push_back({e, records_[r].uid, r});
    file_of_[r] = kTaken;
    owner_[e] = kTaken;
    plan_.dropped.push_back(records_[r].uid);
  }

  uint32_t record_of(uint32_t uid) const {
    const auto found = std::lower_bound(records_.begin(), records_.end(), uid,
                                        [](const Record& r, uint32_t u) { return r.uid < u; });
    if (found == records_.end() || found->uid != uid) return kNone;
    return static_cast<uint32_t>(found - records_.begin());
  }
  // lost_.size() when its record was not lost.
  size_t lost_index(uint32_t uid) const {
    const auto found = std::lower_bound(lost_.begin(), lost_.end(), uid);
    return found != lost_.end() && *found == uid ? static_cast<size_t>(found - lost_.begin())
                                                 : lost_.size();
  }

  const ReconcileInput& input_;
  std::span<const Entry> entries_;
  std::span<const Record> records_;
  std::vector<uint32_t> file_of_;  // of each record: its entry, kNone while missing
  std::vector<uint32_t> owner_;    // of each entry: its record, kNone while unknown
  std::vector<const Probe*> probe_of_;
  std::vector<bool> asked_;
  std::map<uint32_t, uint32_t> released_;  // entries that are not the record of their identity
  std::vector<uint32_t> unknown_;          // entries, in number order
  std::vector<uint32_t> second_names_;     // among them, sorted
  std::vector<uint32_t> lost_;             // UIDs without a record
  std::vector<bool> recovered_;            // those of them that some file turned out to be
  std::vector<Edit> edits_;
  std::vector<Guid> found_guids_;  // of messages whose records were lost and made anew
  bool outdated_ = false;          // a probe has found that an entry is not there any more
  bool withheld_ = false;          // UIDs without a record stay as they are
  Plan plan_;
};

void Reconciler::look_up_probes() {
  auto next = input_.probes.begin();
  for (uint32_t e = 0; e < entries_.size() && next != input_.probes.end(); ++e) {
    while (next != input_.probes.end() && next->first < entries_[e].number) ++next;
    if (next == input_.probes.end() || next->first != entries_[e].number) continue;
    probe_of_[e] = &next->second;
    if (gone(e)) outdated_ = true;
  }
}

// ---- Row by row: files known by their identity ------------------------------------------------

bool same_size_and_mtime(const FileIdentity& a, const FileIdentity& b) {
  return a.size == b.size && a.mtime == b.mtime;
}

void Reconciler::judge_known(uint32_t r, uint32_t e) {
  const Record& record = records_[r];
  if (probe(e) == nullptr || probe(e)->state != State::kRead) return judge_unread(r, e);
  if (record.has(Record::kUnreadable)) return keep(r, e, true);  // at last
  switch (compare_visible(record, *probe(e), true, input_.uidvalidity)) {
    case Comparison::kSame:
      return keep(r, e, true);
    case Comparison::kReadWhole:
      return ask(e, true, &record);
    case Comparison::kOther:
      return judge_other_bytes(r, e);
  }
}

// An edit, unless these bytes are proven to be another message.
void Reconciler::judge_other_bytes(uint32_t r, uint32_t e) {
  const Probe& read = *probe(e);
  const bool own_tag = names_record(read, records_[r], input_.uidvalidity);
  if (read.tag_kind == Probe::TagKind::kVerified && !own_tag && tag_may_fit(read)) {
    if (!read.hash) return ask(e, true, &records_[r]);
    if (tag_fits(read)) return release(r, e);
  }
  // Not even its own tag makes it the file: another copy of that may lie elsewhere, intact.
  if (weak_identity(records_[r].file, entries_[e].file)) return release(r, e);
  edit(r, e);
}

void Reconciler::judge_unread(uint32_t r, uint32_t e) {
  Record record = records_[r];
  const Entry& entry = entries_[e];
  const bool never_read = record.has(Record::kUnreadable);
  const bool unchanged = same_size_and_mtime(record.file, entry.file);
  if (probe(e) == nullptr && (never_read || !unchanged)) return ask(e, false, &record);
  const bool being_written = probe(e) != nullptr && probe(e)->state == State::kBeingWritten;
  if (being_written) plan_.waiting.push_back(entry.number);
  record.number = entry.number;
  // The old identity of a changed file stays: by it the content is compared when it can be read.
  if (unchanged || (never_read && !being_written)) {
    if (record.file != entry.file) record.set(Record::kVerified, false);
    record.file = entry.file;
  }
  change(r, record);
}

void Reconciler::keep(uint32_t r, uint32_t e, bool in_place) {
  const Record& was = records_[r];
  const Probe& read = *probe(e);
  link(r, e);
  Record found = found_record(was, entries_[e].number, read, input_.uidvalidity);
  if (was.has(Record::kTagged) && !found.has(Record::kTagged)) {
    plan_.untagged.push_back(was.uid);
    // A restored file without a tag is none of that: it gets its tag again.
    if (in_place || read.tag_kind == Probe::TagKind::kUnverified) found.set(Record::kNoTag, true);
  }
  const Annotation annotation{was.uid, read.replied && !was.has(Record::kRepliedSeen),
                              read.forwarded && !was.has(Record::kForwardedSeen)};
  if (annotation.replied || annotation.forwarded) plan_.annotated.push_back(annotation);
  change(r, found);
}

// ---- Row by row: files that nobody knows ------------------------------------------------------

void Reconciler::gather_unknown() {
  for (uint32_t e = 0; e < entries_.size(); ++e) {
    if (owner_[e] != kNone) continue;
    unknown_.push_back(e);
    ask_about_unknown(e);
  }
}

void Reconciler::match_same_number() {
  for (uint32_t r = 0; r < records_.size(); ++r) {
    if (file_of_[r] != kNone) continue;
    const Record& record = records_[r];
    const uint32_t e = entry_with(entries_, record.number);
    if (e == kNone || owner_[e] != kNone || probe(e) == nullptr) continue;
    if (!readable(e)) {  // it may be this message: both wait
      if (probe(e)->state == State::kBeingWritten) plan_.waiting.push_back(entries_[e].number);
      file_of_[r] = owner_[e] = kTaken;
      continue;
    }
    if (record.has(Record::kUnreadable)) continue;
    const Comparison same = compare_visible(record, *probe(e), false, input_.uidvalidity);
    if (same == Comparison::kReadWhole) ask(e, true, nullptr);
    if (same == Comparison::kSame) keep(r, e, false);
  }
}

void Reconciler::find_lost() {
  if (input_.alive == nullptr) return;
  uint32_t r = 0;
  input_.alive->for_each([&](uint32_t uid) {
    while (r < records_.size() && records_[r].uid < uid) ++r;
    if (r == records_.size() || records_[r].uid != uid) lost_.push_back(uid);
  });
  recovered_.assign(lost_.size(), false);
}

std::optional<Claim> Reconciler::claim_of(uint32_t e) const {
  if (owner_[e] != kNone || !tagged_here(e)) return std::nullopt;
  const Tag& tag = probe(e)->tag;
  if (tag.uid >= input_.uidnext) return std::nullopt;
  const uint32_t r = record_of(tag.uid);
  if (r == kNone) {
    const size_t at = lost_index(tag.uid);
    if (at == lost_.size() || recovered_[at]) return std::nullopt;
    return Claim{tag.uid, true, e, kNone};
  }
  if (file_of_[r] != kNone || records_[r].guid != tag.guid) return std::nullopt;
  return Claim{tag.uid, records_[r].number != entries_[e].number, e, r};
}

bool Reconciler::proven(const Claim& claim) const {
  const Probe& read = *probe(claim.entry);
  if (!tag_fits(read)) return false;
  return claim.record == kNone || compare_visible(records_[claim.record], read, false,
                                                  input_.uidvalidity) == Comparison::kSame;
}

// Bytes that are right first, wherever they lie; then edits.
void Reconciler::settle_claims() {
  std::vector<Claim> claims;
  for (const uint32_t e : unknown_) {
    if (const auto claim = claim_of(e)) claims.push_back(*claim);
  }
  std::sort(claims.begin(), claims.end());
  uint32_t settled = 0;  // no UID is 0
  for (const Claim& claim : claims) {
    if (claim.uid == settled || !proven(claim)) continue;
    settled = claim.uid;
    accept(claim);
  }
  for (const Claim& claim : claims) {
    const bool edited = claim_of(claim.entry).has_value() && !tag_fits(*probe(claim.entry));
    if (!edited) continue;
    if (claim.record != kNone) {
      edit(claim.record, claim.entry);
    } else {
      edits_.push_back({claim.entry, claim.uid, kNone});
      owner_[claim.entry] = kTaken;
      plan_.dropped.push_back(claim.uid);
      recovered_[lost_index(claim.uid)] = true;
    }
  }
}

void Reconciler::accept(const Claim& claim) {
  if (claim.record != kNone) return keep(claim.record, claim.entry, false);
  const Record record = record_of_tag(entries_[claim.entry].number, *probe(claim.entry));
  owner_[claim.entry] = kTaken;
  found_guids_.push_back(record.guid);
  plan_.changed.push_back(record);
  recovered_[lost_index(claim.uid)] = true;
}

// ---- What is left -----------------------------------------------------------------------------

void Reconciler::drop() {
  for (uint32_t r = 0; r < records_.size(); ++r) {
    if (file_of_[r] == kNone) plan_.dropped.push_back(records_[r].uid);
  }
  // A file that cannot be read now may be any of those that have no record.
  const bool hidden = std::any_of(unknown_.begin(), unknown_.end(),
                                  [&](uint32_t e) { return owner_[e] == kNone && !readable(e); });
  for (size_t i = 0; i < lost_.size(); ++i) {
    if (recovered_[i]) continue;
    if (!hidden) plan_.dropped.push_back(lost_[i]);
    withheld_ = hidden;
  }
}

void Reconciler::add() {
  second_names_ = second_names(entries_, owner_);
  for (const uint32_t e : unknown_) {
    if (owner_[e] != kNone) continue;
    const bool waits = probe(e)->state == State::kBeingWritten;
    if (waits) plan_.waiting.push_back(entries_[e].number);
    if (waits || (!readable(e) && withheld_)) continue;
    add_one(e, nullptr);
  }
  for (const Edit& edit : edits_) add_one(edit.entry, &edit);
  settle_guids();
}

void Reconciler::add_one(uint32_t e, const Edit* edit) {
  static const Probe kUnread;
  Addition added = new_message(entries_[e], readable(e) ? *probe(e) : kUnread, input_.now);
  const bool second = std::binary_search(second_names_.begin(), second_names_.end(), e);
  added.keeps_guid = edit == nullptr && !second && readable(e) && tag_fits(*probe(e));
  if (edit != nullptr) {
    added.edited_from = edit->uid;
    added.origin.reset();
  }
  if (edit != nullptr && edit->record != kNone) {
    const Record& old = records_[edit->record];
    added.record.internal_date = old.internal_date;
    added.record.saved = old.saved;
    // Its flags come along: an old annotation must not set one again that was cleared since.
    added.replied = added.replied && !old.has(Record::kRepliedSeen);
    added.forwarded = added.forwarded && !old.has(Record::kForwardedSeen);
    constexpr uint32_t kCarried = Record::kRepliedSeen | Record::kForwardedSeen | Record::kNoTag;
    added.record.flags |= old.flags & kCarried;
  }
  plan_.added.push_back(std::move(added));
}

void Reconciler::settle_guids() {
  std::sort(plan_.added.begin(), plan_.added.end(),
            [](const Addition& a, const Addition& b) { return a.record.number < b.record.number; });
  std::sort(plan_.dropped.begin(), plan_.dropped.end());
  const bool wanted = std::any_of(plan_.added.begin(), plan_.added.end(),
                                  [](const Addition& added) { return added.keeps_guid; });
  std::vector<Guid> used = found_guids_;
  for (const Record& record : records_) {
    if (!wanted) break;
    if (!std::binary_search(plan_.dropped.begin(), plan_.dropped.end(), record.uid))
      used.push_back(record.guid);
  }
  give_guids(plan_.added, std::move(used));
}

void Reconciler::sort_plan() {
  const auto by_uid = [](const auto& a, const auto& b) { return a.uid < b.uid; };
  std::sort(plan_.changed.begin(), plan_.changed.end(), by_uid);
  std::sort(plan_.annotated.begin(), plan_.annotated.end(), by_uid);
  std::sort(plan_.renumbered.begin(), plan_.renumbered.end());
  std::sort(plan_.untagged.begin(), plan_.untagged.end());
  std::sort(plan_.waiting.begin(), plan_.waiting.end());
}

// Plain arrivals only. What was judged before is forgotten.
Plan Reconciler::run_partial() {
  plan_ = {};
  plan_.relist = outdated_;
  edits_.clear();
  unknown_.clear();
  std::fill(asked_.begin(), asked_.end(), false);
  owner_ = entries_of_records(records_, entries_, kTaken);
  second_names_ = second_names(entries_, owner_);
  for (uint32_t e = 0; e < entries_.size(); ++e) {
    const bool second = std::binary_search(second_names_.begin(), second_names_.end(), e);
    if (owner_[e] != kNone || second || tagged_here(e) || gone(e)) continue;
    ask_about_unknown(e);
    if (readable(e)) unknown_.push_back(e);
    if (probe(e) && probe(e)->state == State::kBeingWritten)
      plan_.waiting.push_back(entries_[e].number);
  }
  if (!plan_.needed.empty()) return only_needs();
  for (const uint32_t e : unknown_) add_one(e, nullptr);
  settle_guids();
  return std::move(plan_);
}

}  // namespace

Plan reconcile(const ReconcileInput& input) { return Reconciler(input).run(); }

std::optional<Tag> tag_of(const Record& record, uint32_t uidvalidity) {
  if (!record.has(Record::kHashKnown) || record.visible_size() > kMaxTaggedLength)
    return std::nullopt;
  return Tag{uidvalidity,          record.uid,   record.guid,
             record.internal_date, record.saved, static_cast<uint32_t>(record.visible_size()),
             record.hash};
}

}  // namespace mh
