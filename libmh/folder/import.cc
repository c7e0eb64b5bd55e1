// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/import.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "libmh/folder/folder-impl.h"
#include "libmh/format/component-text.h"
#include "libmh/format/text.h"
#include "libmh/store/journal-facts.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr std::string_view kAsimapField = "x-asimapd-uid:";
constexpr size_t kMostHeader = 256 << 10;
constexpr uint64_t kMostUids = 50'000'000;
// A UIDNEXT beyond leaves too little for the messages to come.
constexpr uint32_t kHighestUidNext = kMaxUidNext - (1u << 24);

// "1.42", also with blanks around the dot, from its first digit on.
bool parse_uid_field(std::string_view text, UidField* field) {
  const auto number = [&](uint32_t* value) {
    size_t digits = 0;
    while (digits < text.size() && is_digit(text[digits])) ++digits;
    const size_t zeros = std::min(text.find_first_not_of('0'), digits);
    const auto parsed = parse_u32(text.substr(zeros, digits - zeros));
    text.remove_prefix(digits);
    if (parsed) *value = *parsed;
    return parsed.has_value();
  };
  const auto skip = [&](auto&& what) {
    while (!text.empty() && what(text.front())) text.remove_prefix(1);
  };
  skip([](char c) { return !is_digit(c); });
  if (!number(&field->uidvalidity)) return false;
  skip(is_space);
  if (!text.starts_with('.')) return false;
  text.remove_prefix(1);
  skip(is_space);
  return number(&field->uid) && field->uid != 0 && field->uidvalidity != 0;
}

// The one that its header tells; nothing when that are several.
std::optional<UidField> field_of(std::string_view header) {
  std::optional<UidField> found;
  while (!header.empty()) {
    const size_t end = std::min(header.find('\n'), header.size());
    const std::string_view line = header.substr(0, end);
    header.remove_prefix(std::min(end + 1, header.size()));
    if (trimmed(line).empty()) break;
    UidField field;
    const bool is_it = line.size() > kAsimapField.size() &&
                       equal_ignoring_case(line.substr(0, kAsimapField.size()), kAsimapField);
    if (!is_it || !parse_uid_field(line.substr(kAsimapField.size()), &field)) continue;
    const bool same =
        !found || (found->uid == field.uid && found->uidvalidity == field.uidvalidity);
    if (!same) return std::nullopt;
    found = field;
  }
  return found;
}

Result<std::string> read_header(Fs& fs, int dir, const Entry& entry) {
  MH_TRY_SET(const Fd file, fs.open(dir, std::to_string(entry.number).c_str(),
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY_SET(const FileStat stat, fs.fstat(file.get()));
  if (!(FileIdentity::of(stat) == entry.file)) {
    return fail(ErrorKind::kBusy, "it changed since it was listed");
  }
  std::string text;
  while (text.size() < kMostHeader && text.find("\n\n") == std::string::npos) {
    const size_t had = text.size();
    text.resize(had + 4096);
    MH_TRY_SET(const size_t got, fs.pread(file.get(), text.data() + had, 4096, had));
    text.resize(had + got);
    if (got == 0) break;
  }
  return text;
}

// A UID that two messages claim is neither's.
void drop_doubles(ForeignUids* foreign) {
  std::map<uint32_t, size_t> count;
  for (const ForeignUid& each : foreign->uids) ++count[each.uid];
  std::erase_if(foreign->uids, [&](const ForeignUid& each) {
    return count[each.uid] > 1 || each.uid >= foreign->uidnext;
  });
}

// Without a database: the UIDVALIDITY that most messages bear. What it gave to messages that are
// gone is not known.
std::optional<ForeignUids> uids_of_fields(const std::vector<UidField>& fields) {
  std::map<uint32_t, size_t> votes;
  for (const UidField& field : fields) ++votes[field.uidvalidity];
  if (votes.empty()) return std::nullopt;
  ForeignUids foreign;
  foreign.uidvalidity =
      std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
  for (const UidField& field : fields) {
    if (field.uidvalidity != foreign.uidvalidity) continue;
    foreign.uids.push_back({field.file, field.uid});
    foreign.uidnext = std::max(foreign.uidnext, field.uid);
  }
  foreign.uidnext += std::min(kJump, kMaxUidNext - foreign.uidnext);
  drop_doubles(&foreign);
  return foreign;
}

}  // namespace

std::vector<UidField> read_asimap_fields(Fs& fs, int dir, const Listing& listing) {
  std::vector<UidField> fields;
  for (const Entry& entry : listing.entries) {
    const auto header = read_header(fs, dir, entry);
    auto field = header ? field_of(*header) : std::nullopt;
    if (!field) continue;
    field->file = entry.file;
    field->number = entry.number;
    fields.push_back(*field);
  }
  return fields;
}

std::optional<std::vector<uint32_t>> parse_asimap_set(std::string_view text) {
  std::string blanks(text);
  std::ranges::replace(blanks, ',', ' ');
  std::vector<std::string> problems;
  const NumberSet set = NumberSet::parse_nmh(blanks, &problems);
  if (!problems.empty() || set.count() > kMostUids) return std::nullopt;
  std::vector<uint32_t> numbers;
  numbers.reserve(set.count());
  set.for_each([&](uint32_t number) { numbers.push_back(number); });
  return numbers;
}

std::optional<ForeignUids> asimap_uids(const std::optional<AsimapFolder>& row,
                                       const std::vector<UidField>& fields, const Listing& listing,
                                       bool trust_numbers) {
  if (!row) return uids_of_fields(fields);
  ForeignUids foreign;
  foreign.uidvalidity = row->uidvalidity;
  foreign.uidnext = row->uidnext;
  std::map<uint32_t, uint32_t> by_field;  // number -> UID
  for (const UidField& field : fields) {
    if (field.uidvalidity == row->uidvalidity) by_field[field.number] = field.uid;
  }
  std::map<uint32_t, uint32_t> by_number;
  if (row->numbers.size() == row->uids.size()) {
    for (size_t i = 0; i < row->uids.size(); ++i) by_number[row->numbers[i]] = row->uids[i];
  }
  const std::set<uint32_t> given(row->uids.begin(), row->uids.end());
  for (const Entry& entry : listing.entries) {
    const auto numbered = by_number.find(entry.number);
    const auto field = by_field.find(entry.number);
    // Whole seconds are kept, cut off.
    const bool had_number = trust_numbers || entry.file.ctime < row->looked_at;
    uint32_t uid = 0;
    if (numbered != by_number.end() && field != by_field.end()) {
      if (numbered->second == field->second) uid = field->second;
    } else if (numbered != by_number.end() && had_number) {
      uid = numbered->second;
    } else if (row->numbers.empty() && field != by_field.end() && given.contains(field->second)) {
      uid = field->second;
    }
    if (uid != 0) foreign.uids.push_back({entry.file, uid});
  }
  drop_doubles(&foreign);
  return foreign;
}

std::optional<ForeignUids> mailutils_uids(std::string_view properties, const Listing& listing) {
  ForeignUids foreign;
  for (const Component& line : parse_components(properties).components) {
    const auto value = parse_u32(line.value);
    if (!value) continue;
    if (line.name == "uid-validity") foreign.uidvalidity = *value;
    if (line.name == "uidnext" || line.name == "next-uid") foreign.uidnext = *value;
  }
  if (foreign.uidvalidity == 0 || foreign.uidnext == 0) return std::nullopt;
  for (const Entry& entry : listing.entries) {
    if (entry.number < foreign.uidnext) foreign.uids.push_back({entry.file, entry.number});
  }
  return foreign;
}

// ---- Taking over.

// Why these UIDs cannot be this folder's; "" when they can. Under list and folder lock.
Result<std::string> Folder::Impl::why_not_take_over(const ForeignUids& foreign) {
  if (!at_first_sight() || read_index_seal(fs, state_dir.get()) || !state().pending_saves.empty() ||
      state().rolled_back) {
    return "it was served under UIDs of its own already: clients know those";
  }
  if (foreign.uidvalidity == 0 || foreign.uidnext == 0 || foreign.uidnext > kHighestUidNext) {
    return "UIDVALIDITY " + std::to_string(foreign.uidvalidity) + " or UIDNEXT " +
           std::to_string(foreign.uidnext) + " is none";
  }
  StateRoot& root = *location.root;
  MH_TRY_SET(const FileStat secret, fs.stat(root.dir(), kSecretFile.data(), Follow::kNo));
  // Made before the first of them was given, and never written again.
  if (foreign.uidvalidity >= secret.mtime / kSecond) {
    return "UIDVALIDITY " + std::to_string(foreign.uidvalidity) +
           " may have been given to another folder of this tree";
  }
  for (const Guid& guid : root.all()) {
    if (guid == location.guid) continue;
    const auto other = fs.open(root.dir(), guid_text(guid).c_str(), O_RDONLY | O_DIRECTORY);
    const auto header =
        other ? Journal::header_of(fs, other->get()) : Result<JournalHeader>(pass_on(other));
    if (header && header->uidvalidity == foreign.uidvalidity) {
      return "UIDVALIDITY " + std::to_string(foreign.uidvalidity) + " is that of the folder " +
             root.directory_of(guid)->path;
    }
  }
  return std::string();
}

// The facts as they will be. Counts into `outcome`.
JournalState Folder::Impl::facts_with(const ForeignUids& foreign, TakenOver* outcome) const {
  JournalState facts = state();
  facts.header.uidvalidity = foreign.uidvalidity;
  facts.records.clear();
  facts.alive.clear();
  facts.tombstones.clear();
  facts.undecided.clear();
  facts.pop3.clear();
  std::map<std::pair<uint64_t, Nanoseconds>, const ForeignUid*> taken;
  for (const ForeignUid& each : foreign.uids) taken[{each.file.inode, each.file.birth}] = &each;
  std::vector<const Record*> rest;
  const auto keep = [&](const Record& known, uint32_t uid) {
    Record record = known;
    record.uid = uid;
    // A line that it bears is of another UID.
    record.set(Record::kTagged, false);
    record.set(Record::kTagFlushed, false);
    facts.records[uid] = record;
    facts.alive.add(uid);
  };
  for (const Record& record : records) {
    const auto found = taken.find({record.file.inode, record.file.birth});
    const bool is_it = found != taken.end() && found->second->file.same_content(record.file) &&
                       !facts.records.contains(found->second->uid);
    if (is_it) {
      keep(record, found->second->uid);
      ++outcome->taken;
    } else {
      rest.push_back(&record);
    }
  }
  std::ranges::sort(rest, {}, &Record::number);
  uint32_t next = foreign.uidnext;
  for (const Record* record : rest) keep(*record, next++);
  outcome->given = rest.size();
  facts.uidnext = next;
  facts.uidnext_limit = next;
  return facts;
}

Result<TakenOver> Folder::take_over_uids(const ForeignUids& foreign) {
  Impl& in = *impl_;
  MH_TRY(look(false));
  if (!in.journal) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  MH_TRY_SET(const FolderLock list, in.location.root->lock(in.settings.lock_timeout));
  MH_TRY(lock());
  const FolderUnlock unlock(*this);
  if (!in.writable()) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  TakenOver outcome;
  if (in.state().header.uidvalidity == foreign.uidvalidity) {
    outcome.before = true;
    return outcome;
  }
  MH_TRY(in.location.root->read_unlisted());
  MH_TRY_SET(outcome.refused, in.why_not_take_over(foreign));
  if (!outcome.refused.empty()) return outcome;
  MH_TRY_SET(const FilesOutcome files, sync_arrivals(false));
  if (files.deferred) {
    return fail(ErrorKind::kNoSpace, in.location.folder + ": its journal could not be written");
  }
  MH_TRY(in.load_records());
  JournalState facts = in.facts_with(foreign, &outcome);
  MH_TRY(in.location.root->note_uidvalidity(foreign.uidvalidity));
  MH_TRY_SET(Journal taken,
             Journal::create(in.fs, in.state_dir.get(), std::move(facts),
                             in.location.directory_mode & 0666, in.location.gid, true));
  in.journal.emplace(std::move(taken));
  in.loaded = false;
  return outcome;
}

}  // namespace mh
