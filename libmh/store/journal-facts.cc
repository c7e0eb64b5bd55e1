// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/journal-facts.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "libmh/format/fingerprint.h"
#include "libmh/format/journal-line.h"

namespace mh {
namespace {

// Raised when a line gets another meaning or a kind is added that older versions must not skip.
constexpr uint32_t kVersion = 1;

constexpr size_t kRangesPerLine = 4096;
// MODSEQ has 63 bits (RFC 7162 section 3.1).
constexpr uint64_t kMaxModseq = std::numeric_limits<int64_t>::max();
// Nanoseconds. A lift by kJump is a fifteenth of a second then, and 18 years are 2^53, up to which
// clients that compute in doubles count right.
constexpr uint64_t kAgePerModseq = 64;

// What is remembered of the sequences that were written.
constexpr size_t kRecentWrites = 16;
constexpr size_t kRecentBytes = size_t{1} << 20;

bool is_possible_uid(uint32_t uid) { return uid != 0 && uid < kMaxUidNext; }

void write_file(JournalLineWriter& line, const FileIdentity& file) {
  line.number(file.inode).number(file.birth).number(file.size).number(file.mtime);
  line.number(file.ctime);
}

void read_file(JournalLineReader& line, FileIdentity& file) {
  line.number(file.inode).number(file.birth).number(file.size).number(file.mtime);
  line.number(file.ctime);
}

// A UID below the limit; one at or above it tells that a line with a higher limit was lost.
void note_given(uint32_t uid, JournalState& state) {
  if (uid >= state.uidnext_limit) state.uidnext_limit = uid + 1;
  if (uid >= state.uidnext) state.uidnext = uid + 1;
}

// N <limit>
bool apply_uidnext_limit(JournalLineReader& line, JournalState& state) {
  uint32_t limit = 0;
  if (!line.number(limit).end() || limit == 0) return false;
  if (limit > state.uidnext_limit) state.uidnext_limit = limit;
  return true;
}

// G <uidnext>
bool apply_uidnext(JournalLineReader& line, JournalState& state) {
  uint32_t uidnext = 0;
  if (!line.number(uidnext).end() || uidnext == 0) return false;
  state.uidnext = std::max(state.uidnext, uidnext);
  state.uidnext_limit = std::max(state.uidnext_limit, uidnext);
  return true;
}

// M <floor>
bool apply_modseq_floor(JournalLineReader& line, JournalState& state) {
  uint64_t floor = 0;
  if (!line.number(floor).end() || floor > kMaxModseq) return false;
  if (floor > state.modseq_floor) state.modseq_floor = floor;
  return true;
}

// D <inode> <birth> <handle> <path>
bool apply_directory(JournalLineReader& line, JournalState& state) {
  DirectoryIdentity directory;
  line.number(directory.inode).number(directory.birth).text(directory.handle).text(directory.path);
  if (!line.end()) return false;
  state.directory = std::move(directory);
  return true;
}

// Whether an entry of a sequence may mean another message from now on. A message that is being saved
// has no number yet.
bool renumbers(const Record& record, std::map<uint32_t, Record>::iterator known,
               const JournalState& state) {
  if (known == state.records.end() || known->first != record.uid) {
    return state.alive.contains(record.uid);
  }
  return known->second.number != 0 && known->second.number != record.number;
}

// I <uid> <number> <inode> <birth> <size> <mtime> <ctime> <prefix> <flags> <first hash> <hash>
//   <internal date> <saved> <guid>
uint32_t apply_record(JournalLineReader& line, JournalState& state) {
  Record record;
  line.number(record.uid).number(record.number);
  read_file(line, record.file);
  line.number(record.prefix).number(record.flags).hash(record.first_hash).hash(record.hash);
  line.number(record.internal_date).number(record.saved).bytes(record.guid);
  if (!line.end() || !is_possible_uid(record.uid)) return 0;
  note_given(record.uid, state);
  if (!state.tombstones.empty() && state.tombstones.contains(record.uid)) return record.uid;
  // Nearly always the highest so far.
  const auto hint = state.records.empty() || state.records.rbegin()->first < record.uid
                        ? state.records.end()
                        : state.records.lower_bound(record.uid);
  if (renumbers(record, hint, state)) state.recent_sequences.clear();
  state.records.insert_or_assign(hint, record.uid, record);
  state.alive.add(record.uid);
  return record.uid;
}

// T <uid> <number> <dropped at> <guid> <inode> <birth> <size> <mtime> <ctime> <internal date>
// <saved>
//   <flags>
uint32_t apply_tombstone(JournalLineReader& line, JournalState& state) {
  Tombstone tombstone;
  line.number(tombstone.uid).number(tombstone.number).number(tombstone.dropped_at);
  line.bytes(tombstone.guid);
  read_file(line, tombstone.file);
  line.number(tombstone.internal_date).number(tombstone.saved).text(tombstone.flags);
  if (!line.end() || !is_possible_uid(tombstone.uid)) return 0;
  const uint32_t uid = tombstone.uid;
  note_given(uid, state);
  state.records.erase(uid);
  state.alive.remove(uid);
  state.pop3.erase(uid);
  state.undecided.remove(uid);
  state.recent_sequences.clear();
  state.untold.erase(uid);
  state.tombstones.insert_or_assign(uid, std::move(tombstone));
  return uid;
}

// L <uids>
bool apply_alive(JournalLineReader& line, JournalState& state) {
  std::string text;
  if (!line.text(text).end()) return false;
  Result<NumberSet> uids = NumberSet::parse_uids(text);
  if (!uids || uids->empty() || uids->min() == 0 || uids->max() >= kMaxUidNext) return false;
  note_given(uids->max(), state);
  for (const auto& [uid, tombstone] : state.tombstones) uids->remove(uid);
  state.alive.unite(*uids);
  return true;
}

// A text without the blanks that it is padded with. Where an entry goes, the rest moves up and the
// blanks do not.
std::string_view without_padding(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \n") + 1);
}

// How one text became another, both without their padding, that has its beginning and its end; and
// the padding of the other. Text: string or view.
template <typename Text>
struct Edit {
  size_t prefix = 0;
  size_t suffix = 0;
  Text middle;
  Text padding;
};

Edit<std::string_view> edit_between(std::string_view from, std::string_view to) {
  const std::string_view padding = to.substr(without_padding(to).size());
  from = without_padding(from);
  to = without_padding(to);
  const auto differs = std::ranges::mismatch(from, to);
  const auto prefix = static_cast<size_t>(differs.in1 - from.begin());
  const auto back = std::mismatch(from.rbegin(), from.rend() - static_cast<ptrdiff_t>(prefix),
                                  to.rbegin(), to.rend() - static_cast<ptrdiff_t>(prefix));
  const auto suffix = static_cast<size_t>(back.first - from.rbegin());
  return {prefix, suffix, to.substr(prefix, to.size() - prefix - suffix), padding};
}

std::optional<std::string> edited(std::string_view from, const Edit<std::string>& edit) {
  from = without_padding(from);
  if (edit.prefix > from.size() || edit.suffix > from.size() - edit.prefix) return std::nullopt;
  std::string text(from.substr(0, edit.prefix));
  text += edit.middle;
  text += from.substr(from.size() - edit.suffix);
  text += edit.padding;
  return text;
}

void write_edit(JournalLineWriter& line, const Edit<std::string_view>& edit) {
  line.number(edit.prefix).number(edit.suffix).text(edit.middle).text(edit.padding);
}

void read_edit(JournalLineReader& line, Edit<std::string>& edit) {
  line.number(edit.prefix).number(edit.suffix).text(edit.middle).text(edit.padding);
}

void remember_sequences(std::string text, JournalState& state) {
  state.pending_sequences = std::move(text);
  std::vector<std::string>& recent = state.recent_sequences;
  recent.push_back(state.pending_sequences);
  size_t bytes = 0;
  size_t kept = 0;
  while (kept < std::min(recent.size(), kRecentWrites)) {
    bytes += recent[recent.size() - kept - 1].size();
    if (bytes > kRecentBytes) break;
    ++kept;
  }
  recent.erase(recent.begin(), recent.end() - static_cast<ptrdiff_t>(kept));
}

// S <text>
bool apply_pending_sequences(JournalLineReader& line, JournalState& state) {
  std::string text;
  if (!line.text(text).end()) return false;
  if (text.empty()) {
    state.pending_sequences.clear();
    return true;
  }
  state.sequences_base = text;
  remember_sequences(std::move(text), state);
  return true;
}

// E <fingerprint of the base> <head> <before, as an edit of the base> <after, as one of before>, an
// edit being <bytes kept at the start> <bytes kept at the end> <what stands between them> <padding>
bool apply_edited_sequences(JournalLineReader& line, JournalState& state) {
  uint64_t base = 0;
  std::string head;
  Edit<std::string> first;
  Edit<std::string> second;
  line.hash(base).text(head);
  read_edit(line, first);
  read_edit(line, second);
  if (!line.end()) return false;
  if (base != fingerprint(state.sequences_base)) {
    // Of a journal that lost a line in between: what was written is not known.
    state.pending_sequences.clear();
    state.recent_sequences.clear();
    state.sequences_base.clear();
    return true;
  }
  const auto before = edited(state.sequences_base, first);
  auto after = before ? edited(*before, second) : std::nullopt;
  if (!after) return false;
  state.sequences_base = *after;
  remember_sequences(head + *before + *after, state);
  return true;
}

// Q <text>
bool apply_pending_flags(JournalLineReader& line, JournalState& state) {
  std::string text;
  if (!line.text(text).end()) return false;
  if (text.empty()) {
    state.pending_flags.clear();
  } else {
    state.pending_flags.push_back(std::move(text));
  }
  return true;
}

// A <uids>
bool apply_undecided(JournalLineReader& line, JournalState& state) {
  std::string text;
  if (!line.text(text).end()) return false;
  Result<NumberSet> uids = NumberSet::parse_uids(text);
  if (!uids || (!uids->empty() && (uids->min() == 0 || uids->max() >= kMaxUidNext))) return false;
  state.undecided = std::move(*uids);
  return true;
}

// O <option> <1 or 0>
bool apply_option(JournalLineReader& line, JournalState& state) {
  std::string option;
  uint32_t on = 0;
  if (!line.text(option).number(on).end() || on > 1) return false;
  if (on != 0) {
    state.options.insert(std::move(option));
  } else {
    state.options.erase(option);
  }
  return true;
}

// P <uid> <first> <count> <flags>
bool apply_pending_save(JournalLineReader& line, JournalState& state) {
  PendingSave save;
  line.number(save.uid).number(save.first).number(save.count).text(save.flags);
  if (!line.end() || !is_possible_uid(save.uid) || save.first == 0 || save.count == 0) return false;
  state.pending_saves.insert_or_assign(save.uid, std::move(save));
  return true;
}

// F
bool apply_saves_finished(JournalLineReader& line, JournalState& state) {
  if (!line.end()) return false;
  state.pending_saves.clear();
  return true;
}

// U <uid> <order> <uidl>
bool apply_pop3(JournalLineReader& line, JournalState& state) {
  uint32_t uid = 0;
  Pop3Identity identity;
  line.number(uid).number(identity.order).text(identity.uidl);
  if (!line.end() || !is_possible_uid(uid)) return false;
  if (state.alive.contains(uid)) state.pop3.insert_or_assign(uid, std::move(identity));
  return true;
}

// B <uid> <edited from> <replied> <forwarded> <has flags> <flags> <state dir> <path> <uid there>
bool apply_untold(JournalLineReader& line, JournalState& state) {
  Untold untold;
  uint32_t replied = 0;
  uint32_t forwarded = 0;
  uint32_t has_flags = 0;
  std::string flags;
  line.number(untold.uid).number(untold.edited_from).number(replied).number(forwarded);
  line.number(has_flags).text(flags).text(untold.left_state_dir).text(untold.left_path);
  line.number(untold.left_uid);
  if (!line.end() || !is_possible_uid(untold.uid)) return false;
  if (replied > 1 || forwarded > 1 || has_flags > 1) return false;
  untold.replied = replied != 0;
  untold.forwarded = forwarded != 0;
  if (has_flags != 0) untold.flags = std::move(flags);
  if (state.tombstones.contains(untold.uid)) return true;
  state.untold.insert_or_assign(untold.uid, std::move(untold));
  return true;
}

// K
bool apply_told(JournalLineReader& line, JournalState& state) {
  if (!line.end()) return false;
  state.untold.clear();
  return true;
}

void write_mark(JournalLineWriter& line, const SequencesMark& mark) {
  line.hash(mark.hash).hash(mark.unseen_hash).number(mark.cur);
}

void read_mark(JournalLineReader& line, SequencesMark& mark) {
  line.hash(mark.hash).hash(mark.unseen_hash).number(mark.cur);
}

// R <serial> <moves> <mark before> <sequences> <private sequences>
bool apply_renumbering(JournalLineReader& line, JournalState& state) {
  Renumbering renumbering;
  std::string moves;
  line.number(renumbering.serial).text(moves);
  read_mark(line, renumbering.before);
  line.text(renumbering.sequences).text(renumbering.own_sequences);
  auto runs = parse_runs(moves);
  if (!line.end() || !runs || runs->empty()) return false;
  renumbering.moves = std::move(*runs);
  state.renumbering = std::move(renumbering);
  return true;
}

// C <serial> <moves> <mark before> <mark after>
bool apply_renumbered(JournalLineReader& line, JournalState& state) {
  Renumbered renumbered;
  std::string moves;
  line.number(renumbered.serial).text(moves);
  read_mark(line, renumbered.before);
  read_mark(line, renumbered.after);
  auto runs = parse_runs(moves);
  if (!line.end() || !runs) return false;
  state.renumbering.reset();
  renumbered.moves = std::move(*runs);
  if (!renumbered.moves.empty()) state.renumbered.push_back(std::move(renumbered));
  return true;
}

// V <serial>
bool apply_renumbered_known(JournalLineReader& line, JournalState& state) {
  uint64_t serial = 0;
  if (!line.number(serial).end()) return false;
  std::erase_if(state.renumbered, [&](const Renumbered& each) { return each.serial <= serial; });
  return true;
}

}  // namespace

// H <version> <generation> <own inode> <own birth> <own handle> <guid> <uidvalidity> <created>
void print_header(std::string& out, const HeaderLine& header) {
  JournalLineWriter line(out, 'H');
  line.number(kVersion).hash(header.header.generation).number(header.own.inode);
  line.number(header.own.birth).text(header.own.handle).bytes(header.header.mailbox_guid);
  line.number(header.header.uidvalidity).number(header.header.created).end();
}

Result<HeaderLine> parse_header(std::string_view text) {
  HeaderLine header;
  uint32_t version = 0;
  JournalLineReader line(text);
  if (line.kind() != 'H') return fail(ErrorKind::kCorrupt, "the journal's header line is damaged");
  line.number(version);
  if (version > kVersion) {
    return fail(ErrorKind::kUnsupported,
                "the journal was written by a newer version (" + std::to_string(version) + ")");
  }
  line.hash(header.header.generation).number(header.own.inode).number(header.own.birth);
  line.text(header.own.handle).bytes(header.header.mailbox_guid);
  line.number(header.header.uidvalidity).number(header.header.created);
  if (!line.end() || version == 0)
    return fail(ErrorKind::kCorrupt, "the journal's header line is damaged");
  return header;
}

// E <inode> <birth> <generation> <offset> <ctime> <own inode> <own birth>
void print_seal(std::string& out, const Seal& seal) {
  JournalLineWriter(out, 'E')
      .number(seal.inode)
      .number(seal.birth)
      .hash(seal.generation)
      .number(seal.offset)
      .number(seal.ctime)
      .number(seal.own_inode)
      .number(seal.own_birth)
      .end();
}

std::optional<Seal> parse_seal(std::string_view text) {
  Seal seal;
  JournalLineReader line(text);
  line.number(seal.inode).number(seal.birth).hash(seal.generation).number(seal.offset);
  line.number(seal.ctime).number(seal.own_inode).number(seal.own_birth);
  if (line.kind() != 'E' || !line.end()) return std::nullopt;
  return seal;
}

void print_uidnext_limit(std::string& out, uint32_t limit) {
  JournalLineWriter(out, 'N').number(limit).end();
}

void print_modseq_floor(std::string& out, uint64_t floor) {
  JournalLineWriter(out, 'M').number(floor).end();
}

void print_directory(std::string& out, const DirectoryIdentity& directory) {
  JournalLineWriter line(out, 'D');
  line.number(directory.inode).number(directory.birth).text(directory.handle);
  line.text(directory.path).end();
}

void print_record(std::string& out, const Record& record) {
  JournalLineWriter line(out, 'I');
  line.number(record.uid).number(record.number);
  write_file(line, record.file);
  line.number(record.prefix).number(record.flags).hash(record.first_hash).hash(record.hash);
  line.number(record.internal_date).number(record.saved).bytes(record.guid).end();
}

void print_tombstone(std::string& out, const Tombstone& tombstone) {
  JournalLineWriter line(out, 'T');
  line.number(tombstone.uid).number(tombstone.number).number(tombstone.dropped_at);
  line.bytes(tombstone.guid);
  write_file(line, tombstone.file);
  line.number(tombstone.internal_date).number(tombstone.saved).text(tombstone.flags).end();
}

void print_alive(std::string& out, const NumberSet& uids) {
  const std::span<const NumberRange> all = uids.ranges();
  for (size_t start = 0; start < all.size(); start += kRangesPerLine) {
    const auto some = all.subspan(start, std::min(kRangesPerLine, all.size() - start));
    const NumberSet part = NumberSet::from_ranges({some.begin(), some.end()});
    JournalLineWriter(out, 'L').text(part.print_uids()).end();
  }
}

void print_pending_sequences(std::string& out, std::string_view text) {
  JournalLineWriter(out, 'S').text(text).end();
}

void print_pending_sequences(std::string& out, std::string_view base,
                             const PendingSequences& text) {
  JournalLineWriter line(out, 'E');
  line.hash(fingerprint(base)).text(text.head);
  write_edit(line, edit_between(base, text.before));
  write_edit(line, edit_between(text.before, text.after));
  line.end();
}

void print_pending_flags(std::string& out, std::string_view text) {
  JournalLineWriter(out, 'Q').text(text).end();
}

void print_undecided(std::string& out, const NumberSet& uids) {
  JournalLineWriter(out, 'A').text(uids.print_uids()).end();
}

void print_option(std::string& out, std::string_view option, bool on) {
  JournalLineWriter(out, 'O').text(option).number(on ? 1U : 0U).end();
}

void print_pending_save(std::string& out, const PendingSave& save) {
  JournalLineWriter line(out, 'P');
  line.number(save.uid).number(save.first).number(save.count).text(save.flags).end();
}

void print_saves_finished(std::string& out) { JournalLineWriter(out, 'F').end(); }

void print_pop3(std::string& out, uint32_t uid, const Pop3Identity& identity) {
  JournalLineWriter(out, 'U').number(uid).number(identity.order).text(identity.uidl).end();
}

void print_untold(std::string& out, const Untold& untold) {
  JournalLineWriter line(out, 'B');
  line.number(untold.uid).number(untold.edited_from);
  line.number(untold.replied ? 1U : 0U).number(untold.forwarded ? 1U : 0U);
  line.number(untold.flags ? 1U : 0U).text(untold.flags.value_or(""));
  line.text(untold.left_state_dir).text(untold.left_path).number(untold.left_uid).end();
}

void print_told(std::string& out) { JournalLineWriter(out, 'K').end(); }

void print_renumbering(std::string& out, const Renumbering& renumbering) {
  JournalLineWriter line(out, 'R');
  line.number(renumbering.serial).text(print_runs(renumbering.moves));
  write_mark(line, renumbering.before);
  line.text(renumbering.sequences).text(renumbering.own_sequences).end();
}

void print_renumbered(std::string& out, const Renumbered& renumbered) {
  JournalLineWriter line(out, 'C');
  line.number(renumbered.serial).text(print_runs(renumbered.moves));
  write_mark(line, renumbered.before);
  write_mark(line, renumbered.after);
  line.end();
}

void print_renumbered_known(std::string& out, uint64_t serial) {
  JournalLineWriter(out, 'V').number(serial).end();
}

void print_facts(std::string& out, const JournalState& state) {
  print_uidnext_limit(out, state.uidnext_limit);
  JournalLineWriter(out, 'G').number(state.uidnext).end();
  print_modseq_floor(out, state.modseq_floor);
  print_directory(out, state.directory);
  for (const std::string& option : state.options) print_option(out, option, true);
  NumberSet without_record = state.alive;
  std::vector<NumberRange> with_record;
  with_record.reserve(state.records.size());
  for (const auto& [uid, record] : state.records) with_record.push_back({uid, uid});
  without_record.subtract(NumberSet::from_ranges(std::move(with_record)));
  print_alive(out, without_record);
  for (const auto& [uid, record] : state.records) print_record(out, record);
  for (const auto& [uid, tombstone] : state.tombstones) print_tombstone(out, tombstone);
  if (!state.undecided.empty()) print_undecided(out, state.undecided);
  if (!state.pending_sequences.empty()) print_pending_sequences(out, state.pending_sequences);
  for (const std::string& text : state.pending_flags) print_pending_flags(out, text);
  for (const auto& [uid, save] : state.pending_saves) print_pending_save(out, save);
  for (const auto& [uid, identity] : state.pop3) print_pop3(out, uid, identity);
  for (const auto& [uid, untold] : state.untold) print_untold(out, untold);
  for (const Renumbered& renumbered : state.renumbered) print_renumbered(out, renumbered);
  if (state.renumbering) print_renumbering(out, *state.renumbering);
}

Applied apply_line(std::string_view text, JournalState& state) {
  JournalLineReader line(text);
  uint32_t uid = 0;
  switch (line.kind()) {
    case 'I':
      uid = apply_record(line, state);
      return {uid != 0, uid};
    case 'T':
      uid = apply_tombstone(line, state);
      return {uid != 0, uid};
    case 'N':
      return {apply_uidnext_limit(line, state)};
    case 'G':
      return {apply_uidnext(line, state)};
    case 'M':
      return {apply_modseq_floor(line, state)};
    case 'D':
      return {apply_directory(line, state)};
    case 'L':
      return {apply_alive(line, state)};
    case 'S':
      return {apply_pending_sequences(line, state)};
    case 'E':
      return {apply_edited_sequences(line, state)};
    case 'Q':
      return {apply_pending_flags(line, state)};
    case 'A':
      return {apply_undecided(line, state)};
    case 'O':
      return {apply_option(line, state)};
    case 'P':
      return {apply_pending_save(line, state)};
    case 'F':
      return {apply_saves_finished(line, state)};
    case 'U':
      return {apply_pop3(line, state)};
    case 'B':
      return {apply_untold(line, state)};
    case 'K':
      return {apply_told(line, state)};
    case 'R':
      return {apply_renumbering(line, state)};
    case 'C':
      return {apply_renumbered(line, state)};
    case 'V':
      return {apply_renumbered_known(line, state)};
    default:
      return {};
  }
}

void jump(JournalState& state, Nanoseconds now) {
  state.rolled_back = true;
  const auto age =
      static_cast<uint64_t>(std::max<Nanoseconds>(now - state.header.created * kSecond, 0));
  const uint64_t limit = kJump + std::max<uint64_t>(state.uidnext_limit, age / kSecond);
  state.uidnext_limit = static_cast<uint32_t>(std::min<uint64_t>(limit, kMaxUidNext));
  state.uidnext = state.uidnext_limit;
  const uint64_t floor =
      std::min(std::max(state.modseq_floor, age / kAgePerModseq), kMaxModseq - kJump);
  state.modseq_floor = floor + kJump;
}

}  // namespace mh
