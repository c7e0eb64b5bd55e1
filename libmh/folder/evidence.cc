// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/evidence.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace mh {
namespace {

uint32_t to_date(Nanoseconds time) {
  constexpr Nanoseconds kLast = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp<Nanoseconds>(time / kSecond, 0, kLast));
}

void read_into(Record& record, uint32_t number, const Probe& probe) {
  record.number = number;
  record.file = probe.file;
  record.prefix = probe.prefix;
  record.first_hash = probe.first_hash;
  record.set(Record::kUnreadable, false);
  if (probe.hash) {
    record.hash = *probe.hash;
    record.set(Record::kHashKnown, true);
  }
  if (probe.replied) record.set(Record::kRepliedSeen, true);
  if (probe.forwarded) record.set(Record::kForwardedSeen, true);
}

}  // namespace

bool names_record(const Probe& probe, const Record& record, uint32_t uidvalidity) {
  if (probe.tag_kind == Probe::TagKind::kRecorded) return probe.tag.uid == record.uid;
  return probe.tag_kind == Probe::TagKind::kVerified && probe.tag.uidvalidity == uidvalidity &&
         probe.tag.uid == record.uid && probe.tag.guid == record.guid;
}

bool tag_is_trusted(const Probe& probe) {
  switch (probe.tag_kind) {
    case Probe::TagKind::kNone:
      return false;
    case Probe::TagKind::kRecorded:
    case Probe::TagKind::kVerified:
      return true;
    case Probe::TagKind::kUnverified:
      return probe.tag_is_first;
  }
  return false;
}

bool tag_may_fit(const Probe& probe) {
  return tag_is_trusted(probe) && probe.tag.length == probe.visible_size();
}

bool tag_fits(const Probe& probe) { return tag_may_fit(probe) && probe.hash == probe.tag.hash; }

Comparison compare_visible(const Record& record, const Probe& probe, bool known_by_identity,
                           uint32_t uidvalidity) {
  if (probe.visible_size() != record.visible_size() || probe.first_hash != record.first_hash)
    return Comparison::kOther;
  if (probe.visible_size() <= kFirstHashSize) return Comparison::kSame;
  std::optional<uint64_t> hash;
  if (record.has(Record::kHashKnown)) {
    hash = record.hash;
  } else if (names_record(probe, record, uidvalidity)) {
    hash = probe.tag.hash;  // tagged by us, and the record of it lost in a crash
  }
  if (hash) {
    if (!probe.hash) return Comparison::kReadWhole;
    return *probe.hash == *hash ? Comparison::kSame : Comparison::kOther;
  }
  const bool annotated = known_by_identity && probe.prefix != record.prefix;
  return annotated || probe.file.mtime == record.file.mtime ? Comparison::kSame
                                                            : Comparison::kOther;
}

Record found_record(const Record& record, uint32_t number, const Probe& probe,
                    uint32_t uidvalidity) {
  Record found = record;
  read_into(found, number, probe);
  found.set(Record::kVerified,
            probe.hash.has_value() || (record.has(Record::kVerified) && record.file == probe.file));
  const bool tagged =
      probe.tag_kind != Probe::TagKind::kNone && tag_of(found, uidvalidity) == probe.tag;
  found.set(Record::kTagged, tagged);
  // Another file, or one rewritten by somebody else, need not be on disk yet.
  if (!tagged || !record.file.same_content(probe.file)) found.set(Record::kTagFlushed, false);
  return found;
}

Record record_of_tag(uint32_t number, const Probe& probe) {
  Record record;
  read_into(record, number, probe);
  record.uid = probe.tag.uid;
  record.guid = probe.tag.guid;
  record.internal_date = probe.tag.internal_date;
  record.saved = probe.tag.saved;
  record.set(Record::kTagged, true);
  record.set(Record::kVerified, true);
  return record;
}

Addition new_message(const Entry& entry, const Probe& probe, uint32_t now) {
  Addition added;
  Record& record = added.record;
  record.number = entry.number;
  record.saved = now;
  if (probe.state != Probe::State::kRead) {
    record.file = entry.file;
    record.internal_date = to_date(entry.file.mtime);
    record.set(Record::kUnreadable, true);
    return added;
  }
  read_into(record, entry.number, probe);
  record.set(Record::kVerified, probe.hash.has_value());
  record.internal_date = probe.delivery_date.value_or(to_date(probe.file.mtime));
  if (tag_is_trusted(probe)) {
    record.internal_date = probe.tag.internal_date;
    record.saved = probe.tag.saved;
    record.guid = probe.tag.guid;
    added.origin = probe.tag.guid;
    if (probe.tag_kind != Probe::TagKind::kUnverified) {
      added.origin_uidvalidity = probe.tag.uidvalidity;
      added.origin_uid = probe.tag.uid;
    }
  }
  added.replied = probe.replied;
  added.forwarded = probe.forwarded;
  return added;
}

void give_guids(std::vector<Addition>& added, std::vector<Guid> used) {
  std::vector<std::pair<Guid, size_t>> wanted;
  for (size_t i = 0; i < added.size(); ++i) {
    if (added[i].keeps_guid) wanted.push_back({added[i].record.guid, i});
  }
  used.push_back(Guid{});  // all zero is none
  std::sort(used.begin(), used.end());
  std::sort(wanted.begin(), wanted.end());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto& [guid, at] = wanted[i];
    if ((i > 0 && wanted[i - 1].first == guid) ||
        std::binary_search(used.begin(), used.end(), guid)) {
      added[at].keeps_guid = false;
    }
  }
  for (Addition& addition : added) {
    if (!addition.keeps_guid) addition.record.guid = {};
  }
}

}  // namespace mh
