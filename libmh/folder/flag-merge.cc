// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/flag-merge.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

NumberSet difference(NumberSet set, const NumberSet& other) {
  set.subtract(other);
  return set;
}

NumberSet common(NumberSet set, const NumberSet& other) {
  set.intersect(other);
  return set;
}

// Both directions between UIDs and numbers, for one merge.
class Numbering {
 public:
  explicit Numbering(const std::vector<NumberedMessage>& messages) : by_number_(messages) {
    by_uid_.reserve(messages.size());
    for (const NumberedMessage& message : messages) {
      by_uid_.emplace_back(message.uid, message.number);
    }
    std::sort(by_uid_.begin(), by_uid_.end());
  }

  NumberSet uids(const NumberSet& numbers) const {
    std::vector<NumberRange> found;
    for (const NumberRange& range : numbers.ranges()) {
      auto at = std::lower_bound(
          by_number_.begin(), by_number_.end(), range.first,
          [](const NumberedMessage& message, uint32_t number) { return message.number < number; });
      for (; at != by_number_.end() && at->number <= range.last; ++at) {
        found.push_back({at->uid, at->uid});
      }
    }
    return NumberSet::from_ranges(std::move(found));
  }

  NumberSet numbers(const NumberSet& uids) const {
    std::vector<NumberRange> found;
    for (const NumberRange& range : uids.ranges()) {
      auto at = std::lower_bound(by_uid_.begin(), by_uid_.end(), std::pair(range.first, 0u));
      for (; at != by_uid_.end() && at->first <= range.last; ++at) {
        found.push_back({at->second, at->second});
      }
    }
    return NumberSet::from_ranges(std::move(found));
  }

  uint32_t uid(uint32_t number) const {
    const NumberSet found = uids(NumberSet{number});
    return found.empty() ? 0 : found.min();
  }

 private:
  const std::vector<NumberedMessage>& by_number_;
  std::vector<std::pair<uint32_t, uint32_t>> by_uid_;
};

// One flag or keyword in all versions, by UID. \Seen is kept the MH way round, as "unseen".
struct Plane {
  NumberSet base;
  NumberSet in_file;  // what the file says, carried to the new numbers
  NumberSet theirs;   // the same, where it is to be believed
  NumberSet pending_add;
  NumberSet pending_remove;
  bool in_index_only = false;  // a keyword that can be no sequence
  bool given = false;          // by the folder itself, and no concern of the file
};

class Merge {
 public:
  explicit Merge(const FlagMergeInput& input)
      : in_(input), numbering_(input.messages), next_(*input.file) {}

  FlagMergeOutput run();

 private:
  using Keywords = std::map<std::string, Plane, LessIgnoringCase>;
  enum System { kUnseen, kAnsweredPlane, kFlaggedPlane, kDeletedPlane, kDraftPlane, kSystems };

  Plane& plane(const FlagChange& change);
  void read(const FlagSets& sets, NumberSet Plane::*version, bool by_number);
  void collect_pending();
  void pass_over_too_many(KeywordSets* keywords);
  void classify_messages();
  void carry_old_numbers();
  bool visibly_carried();
  void keep_flags_of_the_moved();
  NumberSet agreed_on(const Plane& plane) const;
  NumberSet late_and_silent();
  void keep_flags_of_the_late();
  bool decided_by_others(uint32_t uid, uint32_t number, bool is_new, bool unseen_changed) const;
  void judge_arrivals();
  void make_all_drafts();
  void merge_plane(Plane& plane, FlagChange target);
  uint64_t hash_of_the_told() const;
  void tell_index(const Plane& plane, FlagChange target);
  void tell_file(const Plane& plane, FlagChange target);

  template <typename Visit>
  void for_each_plane(Visit&& visit) {
    for (Plane& plane : system_) visit(plane);
    for (auto& [keyword, plane] : keywords_) visit(plane);
  }

  const FlagMergeInput& in_;
  const Numbering numbering_;
  Sequences next_;  // becomes the file
  bool rewritten_ = false;
  std::array<Plane, kSystems> system_;
  Keywords keywords_;
  NumberSet moved_;
  NumberSet arrivals_;
  NumberSet undecided_;
  NumberSet unseen_here_;  // arrivals that were seen elsewhere
  FlagMergeOutput out_;
};

constexpr std::array<SystemFlag, 5> kFlagOfPlane = {kSeen, kAnswered, kFlagged, kDeleted, kDraft};

// Of all numbers that the file calls unseen, messages or not: any writer of the set changes it.
uint64_t unseen_hash(const FlagMap& map, const Sequences& file) {
  return fingerprint(map.read(file).unseen.print_uids());
}

Plane& Merge::plane(const FlagChange& change) {
  for (size_t i = 0; i < kFlagOfPlane.size(); ++i) {
    if (change.flag == kFlagOfPlane[i]) return system_[i];
  }
  Plane& found = keywords_[change.keyword];
  found.in_index_only = in_.map->sequence_of(change.keyword).empty();
  return found;
}

void Merge::read(const FlagSets& sets, NumberSet Plane::*version, bool by_number) {
  const auto as_uids = [&](const NumberSet& set) { return by_number ? numbering_.uids(set) : set; };
  const std::array<const NumberSet*, kSystems> system = {&sets.unseen, &sets.answered,
                                                         &sets.flagged, &sets.deleted, &sets.draft};
  for (size_t i = 0; i < system.size(); ++i) system_[i].*version = as_uids(*system[i]);
  for (const auto& [keyword, set] : sets.keywords) {
    FlagChange target;
    target.keyword = keyword;
    plane(target).*version = as_uids(set);
  }
}

void Merge::collect_pending() {
  for (const FlagChange& change : in_.pending) {
    Plane& touched = plane(change);
    const bool inverse = change.flag == kSeen;
    const NumberSet& add = inverse ? change.remove : change.add;
    const NumberSet& remove = inverse ? change.add : change.remove;
    touched.pending_add.unite(add);
    touched.pending_add.subtract(remove);
    touched.pending_remove.subtract(add);
    touched.pending_remove.unite(remove);
  }
}

void Merge::pass_over_too_many(KeywordSets* keywords) {
  if (keywords->size() <= kMostKeywords) return;
  std::set<std::string, LessIgnoringCase> wanted;
  for (const auto& [keyword, uids] : in_.base.keywords) wanted.insert(keyword);
  for (const FlagChange& change : in_.pending) {
    if (change.flag == kNoFlag) wanted.insert(change.keyword);
  }
  size_t left = kMostKeywords - std::min(kMostKeywords, wanted.size());
  out_.passed_over = std::erase_if(*keywords, [&](const auto& item) {
    if (wanted.contains(item.first)) return false;
    if (left == 0) return true;
    --left;
    return false;
  });
}

void Merge::classify_messages() {
  std::vector<NumberRange> moved, arrivals;
  for (const NumberedMessage& message : in_.messages) {
    if (message.old_number == 0) {
      arrivals.push_back({message.uid, message.uid});
    } else if (message.old_number != message.number) {
      moved.push_back({message.uid, message.uid});
    }
  }
  moved_ = NumberSet::from_ranges(std::move(moved));
  arrivals_ = NumberSet::from_ranges(std::move(arrivals));
}

// The file is in old numbers: bring it to the new ones. What named a message that is gone, under a
// number that another one bears now, is stale.
void Merge::carry_old_numbers() {
  std::vector<NumberMove> moves;
  std::vector<NumberRange> taken, left;
  for (const NumberedMessage& message : in_.messages) {
    if (message.old_number == message.number) continue;
    taken.push_back({message.number, message.number});
    if (message.old_number == 0) continue;
    moves.push_back({message.old_number, message.number});
    left.push_back({message.old_number, message.old_number});
  }
  next_.remove_numbers(difference(NumberSet::from_ranges(std::move(taken)),
                                  NumberSet::from_ranges(std::move(left))));
  next_.renumber(moves, false);
}

// Whether whoever rewrote the file has renumbered it: flags of messages that moved stand at their
// new numbers.
bool Merge::visibly_carried() {
  bool carried = false;
  for_each_plane([&](const Plane& plane) {
    carried = carried || !common(common(plane.base, moved_), plane.in_file).empty();
  });
  return carried;
}

void Merge::keep_flags_of_the_moved() {
  NumberSet silent = moved_;
  for_each_plane([&](const Plane& plane) { silent.subtract(plane.in_file); });
  if (const uint32_t current = numbering_.uid(in_.file->cur())) silent.remove(current);
  if (silent.empty() || visibly_carried()) return;
  for_each_plane([&](Plane& plane) { plane.theirs.unite(common(plane.base, silent)); });
}

// What the file once said, too.
NumberSet Merge::agreed_on(const Plane& plane) const {
  return &plane == &system_[kUnseen] ? difference(plane.base, in_.undecided) : plane.base;
}

// Of the messages that came late, those at the end of the folder of which the file says nothing any
// more.
NumberSet Merge::late_and_silent() {
  NumberSet spoken_of, had;
  for_each_plane([&](const Plane& plane) {
    spoken_of.unite(plane.in_file);
    had.unite(agreed_on(plane));
  });
  const uint32_t current = numbering_.uid(in_.file->cur());
  if (current != 0 && in_.file->cur() != in_.memory.cur) spoken_of.add(current);
  std::vector<NumberRange> silent;
  for (auto message = in_.messages.rbegin(); message != in_.messages.rend(); ++message) {
    const uint32_t uid = message->uid;
    const bool ours = message->number >= in_.unmerged.first && message->number <= in_.unmerged.last;
    if (arrivals_.contains(uid) || (ours && spoken_of.contains(uid))) continue;
    if (spoken_of.contains(uid)) break;
    if (!had.contains(uid)) continue;
    if (!in_.late.contains(uid)) break;
    silent.push_back({uid, uid});
  }
  return NumberSet::from_ranges(std::move(silent));
}

void Merge::keep_flags_of_the_late() {
  if (in_.late.empty()) return;
  NumberSet kept = late_and_silent();
  if (kept.empty()) return;
  bool added = false;
  NumberSet once, more, twice;  // in some sequence; in one that is not unseen; in two
  for_each_plane([&](const Plane& plane) {
    added = added || !difference(plane.in_file, plane.base).empty();
    const NumberSet here = agreed_on(plane);
    twice.unite(common(once, here));
    once.unite(here);
    if (&plane != &system_[kUnseen]) more.unite(here);
  });
  if (!added) kept.intersect(in_.file->cur() == in_.memory.cur ? twice : more);
  for_each_plane([&](Plane& plane) { plane.theirs.unite(common(agreed_on(plane), kept)); });
}

bool Merge::decided_by_others(uint32_t uid, uint32_t number, bool is_new,
                              bool unseen_changed) const {
  if (system_[kUnseen].in_file.contains(uid)) return true;
  if (in_.file->cur() == number && in_.memory.cur != number) return true;
  // A change that came together with the message may have come before it.
  return unseen_changed && !is_new;
}

void Merge::judge_arrivals() {
  const bool unseen_changed =
      rewritten_ && unseen_hash(*in_.map, *in_.file) != in_.memory.unseen_hash;
  NumberSet open = in_.undecided;
  if (in_.memory.known) open.unite(arrivals_);  // what is there at first sight is as it says
  Plane& unseen = system_[kUnseen];
  open.subtract(unseen.pending_add);
  open.subtract(unseen.pending_remove);
  for (const NumberedMessage& message : in_.messages) {
    const uint32_t uid = message.uid;
    if (!open.contains(uid)) continue;
    if (decided_by_others(uid, message.number, arrivals_.contains(uid), unseen_changed)) continue;
    if (!in_.expired.contains(uid)) {
      undecided_.add(uid);
      unseen.theirs.add(uid);
    } else if (in_.policy == NewMail::kUnseen) {
      unseen.pending_add.add(uid);
    }
  }
}

void Merge::tell_index(const Plane& plane, FlagChange target) {
  NumberSet ours = plane.pending_add;
  ours.unite(plane.pending_remove);
  NumberSet add = difference(difference(plane.theirs, plane.base), ours);
  NumberSet remove = difference(difference(plane.base, plane.theirs), ours);
  if (plane.in_index_only) remove.clear();
  if (target.flag == kSeen) {
    add.unite(unseen_here_);  // the index was given what they bring
    // What we have just called unseen by policy is so in the index already, or must become so.
    std::swap(add, remove);
  }
  if (add.empty() && remove.empty()) return;
  target.add = std::move(add);
  target.remove = std::move(remove);
  out_.to_index.push_back(std::move(target));
}

void Merge::tell_file(const Plane& plane, FlagChange target) {
  if (plane.given) return;
  NumberSet final = plane.theirs;
  final.unite(plane.pending_add);
  final.subtract(plane.pending_remove);
  if (target.flag == kSeen) final.subtract(difference(undecided_, plane.in_file));
  NumberSet add = numbering_.numbers(difference(final, plane.in_file));
  NumberSet remove = numbering_.numbers(difference(plane.in_file, final));
  if (add.empty() && remove.empty()) return;
  if (target.flag == kSeen) std::swap(add, remove);
  target.add = std::move(add);
  target.remove = std::move(remove);
  (void)in_.map->apply(next_, target);
}

// What a client took away comes back at once.
void Merge::make_all_drafts() {
  Plane& draft = system_[kDraftPlane];
  std::vector<NumberRange> all;
  for (const NumberedMessage& message : in_.messages) all.push_back({message.uid, message.uid});
  draft.theirs = NumberSet::from_ranges(std::move(all));
  draft.base.subtract(draft.pending_remove);
  draft.pending_add.clear();
  draft.pending_remove.clear();
  draft.given = true;
}

void Merge::merge_plane(Plane& plane, FlagChange target) {
  tell_index(plane, target);
  tell_file(plane, target);
}

// Without the numbers of files that are no messages yet. If the file says anything of these, it
// will count as rewritten when they come, that is, as written for the numbers of then.
uint64_t Merge::hash_of_the_told() const {
  NumberSet untold;
  for (const std::string_view name : next_.names()) untold.unite(*next_.find(name));
  std::vector<NumberRange> told;
  for (const NumberedMessage& message : in_.messages)
    told.push_back({message.number, message.number});
  untold.subtract(NumberSet::from_ranges(std::move(told)));
  Sequences rest = next_;
  rest.remove_numbers(untold);
  return rest.hash_without_cur();
}

FlagMergeOutput Merge::run() {
  const uint64_t hash = in_.file->hash_without_cur();
  rewritten_ = in_.memory.known && hash != in_.memory.hash;
  classify_messages();
  if (in_.memory.known && !rewritten_) carry_old_numbers();
  FlagSets said = in_.map->read(next_);
  pass_over_too_many(&said.keywords);
  read(said, &Plane::in_file, true);
  read(in_.base, &Plane::base, false);
  collect_pending();
  // What an arrival brings with it is older than what was said of it here.
  unseen_here_ =
      common(common(in_.brought, system_[kUnseen].in_file), system_[kUnseen].pending_remove);
  system_[kUnseen].pending_remove.subtract(unseen_here_);
  for_each_plane([](Plane& plane) { plane.theirs = plane.in_file; });
  if (rewritten_) keep_flags_of_the_moved();
  if (rewritten_) keep_flags_of_the_late();
  judge_arrivals();
  if (in_.all_drafts) make_all_drafts();
  for (size_t i = 0; i < system_.size(); ++i) {
    FlagChange target;
    target.flag = kFlagOfPlane[i];
    merge_plane(system_[i], target);
  }
  for (auto& [keyword, plane] : keywords_) {
    FlagChange target;
    target.keyword = keyword;
    merge_plane(plane, target);
  }
  out_.undecided = std::move(undecided_);
  out_.memory = memory_of(*in_.map, next_);
  const bool changed = out_.memory.hash != hash;
  if (in_.files_untold) out_.memory.hash = hash_of_the_told();
  if (changed) out_.to_file = std::move(next_);
  return std::move(out_);
}

}  // namespace

FlagMergeOutput merge_flags(const FlagMergeInput& input) { return Merge(input).run(); }

SequencesMemory memory_of(const FlagMap& map, const Sequences& file) {
  return {true, file.hash_without_cur(), unseen_hash(map, file), file.cur()};
}

}  // namespace mh
