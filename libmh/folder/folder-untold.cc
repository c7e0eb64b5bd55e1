// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: what an index is to be told of messages beside that they are there.
//
// That a message was edited and takes over the flags of its predecessor, that it was annotated,
// that it came back with the flags that it had: all this is seen once, when the file is met, and
// from then on its record says only what it is now. Between that record and the commit of the index
// the process may die. So it is journalled with the record, and void once the index has it.
//
// What is journalled as void a moment too late is told a second time. A client may have changed its
// mind by then: so of that only what the index has not followed yet is news (FolderMemory).
#include "libmh/folder/folder-impl.h"

namespace mh {

void Folder::Impl::note_untold(const std::vector<Added>& added,
                               const std::vector<Annotation>& annotated) {
  if (!journal || !writable()) return;
  std::map<uint32_t, Untold> untold;
  for (const Added& each : added) {
    if (!each.edited_from && !each.tombstone_flags && !each.departed) continue;
    Untold& facts = untold[each.uid];
    facts.edited_from = each.edited_from.value_or(0);
    facts.flags = each.tombstone_flags;
    if (!each.departed) continue;
    facts.left_state_dir = each.departed->state_dir;
    facts.left_path = each.departed->path;
    facts.left_uid = each.departed->uid;
  }
  // At the first sight of a folder those may be many, and the records tell which.
  const bool at_first = at_first_sight();
  if (at_first && !annotated.empty() && !state().options.contains(kUntoldAnnotations)) {
    journal->add_option(kUntoldAnnotations, true);
  }
  for (const Annotation& annotation : annotated) {
    if (at_first) break;
    Untold& facts = untold[annotation.uid];
    facts.replied = annotation.replied;
    facts.forwarded = annotation.forwarded;
  }
  for (auto& [uid, facts] : untold) {
    facts.uid = uid;
    journal->add_untold(facts);
  }
}

bool Folder::Impl::is_news(uint32_t uid, const std::optional<NumberSet>& changed) const {
  return state().alive.contains(uid) && (!changed || changed->contains(uid));
}

void Folder::recall_untold(const FolderMemory& memory, FilesOutcome* outcome) {
  Impl& in = *impl_;
  const bool annotations = in.state().options.contains(kUntoldAnnotations);
  if (outcome->deferred || (in.state().untold.empty() && !annotations)) return;
  const auto changed = changed_since(memory.generation, memory.journal_offset);
  NumberSet told_of;
  for (const Added& added : outcome->added) told_of.add(added.uid);
  for (const Annotation& annotation : outcome->annotated) told_of.add(annotation.uid);
  for (const auto& [uid, facts] : in.state().untold) {
    if (told_of.contains(uid) || !in.is_news(uid, changed)) continue;
    if (facts.replied || facts.forwarded) {
      outcome->annotated.push_back({uid, facts.replied, facts.forwarded});
    }
    if (facts.edited_from == 0 && !facts.flags && facts.left_uid == 0) continue;
    Added added;
    added.uid = uid;
    added.tombstone_flags = facts.flags;
    if (facts.edited_from != 0) {
      added.edited_from = facts.edited_from;
      // The index may have let go of the predecessor already.
      const auto old = in.state().tombstones.find(facts.edited_from);
      if (old != in.state().tombstones.end()) added.tombstone_flags = old->second.flags;
    }
    if (facts.left_uid != 0) {
      added.departed = Departed{facts.left_state_dir, facts.left_path, facts.left_uid};
    }
    outcome->added.push_back(std::move(added));
  }
  for (const Record& record : in.records) {
    if (!annotations) break;
    const Annotation annotation{record.uid, record.has(Record::kRepliedSeen),
                                record.has(Record::kForwardedSeen)};
    if (!annotation.replied && !annotation.forwarded) continue;
    if (!told_of.contains(record.uid) && in.is_news(record.uid, changed)) {
      outcome->annotated.push_back(annotation);
    }
  }
}

Status Folder::told() {
  Impl& in = *impl_;
  // What is deferred no index was told, whatever the journal has.
  if (!in.journal || !in.writable() || in.deferred) return {};
  if (!in.state().untold.empty()) in.journal->add_told();
  if (in.state().options.contains(kUntoldAnnotations)) {
    in.journal->add_option(kUntoldAnnotations, false);
  }
  if (!in.journal->has_pending()) return {};
  const Status done = in.journal->append();
  if (!done) in.journal->discard_pending();
  return done;
}

}  // namespace mh
