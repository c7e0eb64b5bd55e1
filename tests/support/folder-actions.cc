// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-actions.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <utility>

namespace mh::test {
namespace {

using Access = SimulatedFile::Access;
using File = SimulatedFolder::File;
using Kind = HeaderLine::Kind;

constexpr size_t kMostFiles = 12;
constexpr uint32_t kJump = 1u << 20;

struct Player {
  ModelledFolder& in;
  const Step& step;

  SimulatedFolder& disk() { return in.disk; }
  bool empty() const { return in.disk.names.empty(); }
  bool full() const { return in.disk.names.size() >= kMostFiles; }

  template <typename... Words>
  void say(const Words&... words) {
    if (in.log != nullptr) ((*in.log << words), ...) << '\n';
  }

  uint32_t number(uint32_t pick) const {
    return std::next(in.disk.names.begin(), pick % in.disk.names.size())->first;
  }
  // For a new name: mostly behind all others, sometimes a hole or a number in use.
  uint32_t new_number(uint32_t pick) const {
    if (pick % 4 != 0) return in.disk.highest() + 1 + pick % 3;
    return 1 + pick / 4 % (in.disk.highest() + 2);
  }
  Record* tagged_record(uint32_t pick) {
    std::vector<Record*> found;
    for (Record& record : in.known.records) {
      if (record.has(Record::kTagged)) found.push_back(&record);
    }
    return found.empty() ? nullptr : found[pick % found.size()];
  }
};

HeaderLine line(SimulatedFolder& disk, Kind kind) { return {kind, 40, disk.symbol(), {}, false}; }

HeaderLine tag_line(SimulatedFolder& disk, const Tag& tag, bool genuine) {
  return {Kind::kTag, kTagLineSize, disk.symbol(), tag, genuine};
}

Tag tag_for(const Content& content, uint32_t uidvalidity, uint32_t uid, uint64_t guid) {
  Tag tag{uidvalidity, uid, {}, 1'111'111'111, 1'222'222'222, content.length, content.whole};
  for (size_t i = 0; i < 8; ++i) tag.guid[i] = static_cast<uint8_t>(guid >> (8 * i));
  return tag;
}

SimulatedFile message(SimulatedFolder& disk, uint32_t kind) {
  SimulatedFile file;
  if (kind % 7 == 0) file.above.push_back(line(disk, Kind::kFrom));
  if (kind % 11 == 0) file.above.push_back(line(disk, Kind::kReplied));
  if (kind % 13 == 0) file.above.push_back(line(disk, Kind::kOther));
  file.body = disk.new_body(kind / 13);
  return file;
}

bool is_tag(const HeaderLine& line) { return line.kind == Kind::kTag; }

// ---- Arrivals ---------------------------------------------------------------------------------

void arrive(Player p) {
  if (p.full()) return;
  const uint32_t number = p.new_number(p.step.x);
  p.disk().put(number, message(p.disk(), p.step.y), {});
  p.say("a message arrives as ", number);
}

void arrive_with_tag(Player p) {
  if (p.full()) return;
  const uint32_t number = p.new_number(p.step.x);
  SimulatedFile file = message(p.disk(), p.step.y);
  const Reading reading = read_as_message(file, nullptr);
  const bool another_validity = p.step.z % 2 == 0;
  const bool genuine = p.step.z % 3 != 0;
  Tag tag = tag_for(reading.content, 4711, 1 + p.step.z % 9, p.disk().symbol());
  if (another_validity) tag.uidvalidity = p.in.known.uidvalidity - 1;
  if (p.step.z % 5 == 0) tag.hash ^= 1;
  file.above.insert(file.above.begin() + static_cast<ptrdiff_t>(reading.hidden_lines),
                    tag_line(p.disk(), tag, genuine));
  p.disk().put(number, file, p.disk().tick() - 5000 * kSecond);
  p.say("refiled in as ", number, " with a tag", genuine ? "" : " of another root",
        p.step.z % 5 == 0 ? " over other bytes" : "");
}

// A tag of this UIDVALIDITY that nobody here has written for these bytes, or not for this place.
void forge(Player p) {
  if (p.full()) return;
  const uint32_t number = p.new_number(p.step.x);
  SimulatedFile file = message(p.disk(), p.step.y);
  if (p.step.z % 3 == 0) file.above.insert(file.above.begin(), line(p.disk(), Kind::kOther));
  const Content content = read_as_message(file, nullptr).content;
  const bool genuine = p.step.z % 2 == 0;
  const uint32_t uid = p.step.z % 5 == 0 ? 4294967295u : 1 + p.step.z % (p.in.known.uidnext + 3);
  Tag tag = tag_for(content, p.in.known.uidvalidity, uid, p.disk().symbol());
  if (const Record* record = p.in.known.find(uid)) tag.guid = record->guid;
  // A check that verifies comes with bytes of ours only.
  if (genuine) tag.hash ^= 2;
  const size_t at = p.step.z % 7 < 3 ? 0 : file.above.size();
  file.above.insert(file.above.begin() + static_cast<ptrdiff_t>(at),
                    tag_line(p.disk(), tag, genuine));
  p.disk().put(number, file, {});
  p.say("a ", genuine ? "replayed" : "forged", " tag of UID ", uid, " arrives as ", number);
}

void begin_writing(Player p) {
  if (p.full()) return;
  const uint32_t number = p.new_number(p.step.x);
  SimulatedFile file = message(p.disk(), p.step.y);
  file.access = Access::kBeingWritten;
  if (p.step.z % 2 == 0) file.body = {p.disk().symbol(), 0, 0};
  p.disk().put(number, file, {});
  p.say("somebody begins to write ", number);
}

void finish_writing(Player p) {
  for (const auto& [number, file] : p.disk().names) {
    if (file->access != Access::kBeingWritten) continue;
    file->access = Access::kReadable;
    if (p.step.x % 4 != 0) {
      file->body = p.disk().new_body(p.step.y);
      p.disk().written(file);
    }
    p.say(number, " is completed");
    return;
  }
}

// ---- Names ------------------------------------------------------------------------------------

void move(Player p) {
  if (p.empty()) return;
  const uint32_t from = p.number(p.step.x), to = p.new_number(p.step.y);
  p.disk().move(from, to);
  p.say("mv ", from, ' ', to);
}

void swap(Player p) {
  if (p.empty()) return;
  const uint32_t a = p.number(p.step.x), b = p.number(p.step.y);
  std::map<uint32_t, uint32_t> numbers;
  for (const auto& [number, file] : p.disk().names) numbers[number] = number;
  std::swap(numbers[a], numbers[b]);
  p.disk().renumber(numbers);
  p.say("swap ", a, ' ', b);
}

void pack(Player p) {
  std::map<uint32_t, uint32_t> numbers;
  for (const auto& [number, file] : p.disk().names)
    numbers[number] = static_cast<uint32_t>(numbers.size() + 1);
  p.disk().renumber(numbers);
  p.say("folder -pack");
}

void sort(Player p) {
  std::vector<uint32_t> order;
  for (const auto& [number, file] : p.disk().names) order.push_back(number);
  std::mt19937 random(p.step.x);
  std::map<uint32_t, uint32_t> numbers;
  std::vector<uint32_t> shuffled = order;
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random() % i]);
  for (size_t i = 0; i < order.size(); ++i) numbers[order[i]] = shuffled[i];
  p.disk().renumber(numbers);
  p.say("sortm");
}

void link(Player p) {
  if (p.empty() || p.full()) return;
  const uint32_t from = p.number(p.step.x), to = p.new_number(p.step.y);
  if (from == to) return;
  p.disk().link(from, to);
  p.say("ln -f ", from, ' ', to);
}

void remove(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  p.disk().remove(number);
  p.say("rm ", number);
}

void remove_and_create(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const uint32_t to = p.step.z % 2 == 0 ? number : p.new_number(p.step.y);
  p.disk().remove(number);
  p.disk().remove_and_put(to, message(p.disk(), p.step.y), {});
  p.say("rm ", number, ", and another message is created as ", to);
}

// ---- Copies and restores ----------------------------------------------------------------------

void copy(Player p) {
  if (p.empty() || p.full()) return;
  const uint32_t from = p.number(p.step.x), to = p.new_number(p.step.y);
  if (from == to) return;
  const SimulatedFile source = *p.disk().names[from];
  const bool stamps = p.step.z % 2 == 0;
  p.disk().put(to, source, stamps ? std::optional(source.stamp.mtime) : std::nullopt);
  p.say(stamps ? "cp -p " : "cp ", from, ' ', to, " (a new file)");
}

void write_over(const File& file, const SimulatedFile& source, SimulatedFolder& disk,
                std::optional<Nanoseconds> mtime) {
  file->above = source.above;
  file->body = source.body;
  disk.written(file, mtime);
}

void copy_over(Player p) {
  if (p.empty()) return;
  const uint32_t from = p.number(p.step.x), to = p.number(p.step.y);
  const SimulatedFile source = *p.disk().names[from];
  if (p.disk().names[from] == p.disk().names[to]) return;
  write_over(p.disk().names[to], source, p.disk(), {});
  p.say("cp ", from, ' ', to, " (into the file that is there)");
}

void back_up(Player p) {
  p.in.backup.clear();
  for (const auto& [number, file] : p.disk().names) p.in.backup[number] = *file;
  p.say("a backup is made");
}

void restore_all(Player p) {
  const bool rsync = p.step.x % 2 == 0, removes = p.step.y % 2 == 0;
  if (p.in.backup.empty()) return;
  for (const auto& [number, file] : p.in.backup) {
    const auto there = p.disk().names.find(number);
    if (there == p.disk().names.end()) {
      p.disk().put(number, file, file.stamp.mtime);
    } else if (!rsync) {
      write_over(there->second, file, p.disk(), file.stamp.mtime);
    } else if (there->second->stamp.size != file.stamp.size ||
               there->second->stamp.mtime != file.stamp.mtime) {
      p.disk().put(number, file, file.stamp.mtime);
    }
  }
  std::vector<uint32_t> extra;
  for (const auto& [number, file] : p.disk().names) {
    if (removes && !p.in.backup.contains(number)) extra.push_back(number);
  }
  for (const uint32_t number : extra) p.disk().remove(number);
  p.say("the backup is restored by ", rsync ? "rsync" : "cp -a",
        removes ? ", the rest removed" : "");
}

void restore_one(Player p) {
  if (p.in.backup.empty() || p.full()) return;
  const auto file = std::next(p.in.backup.begin(), p.step.x % p.in.backup.size());
  const uint32_t to = p.step.z % 2 == 0 ? file->first : p.new_number(p.step.y);
  p.disk().put(to, file->second, file->second.stamp.mtime);
  p.say(file->first, " of the backup is restored as ", to);
}

// ---- Edits ------------------------------------------------------------------------------------

void edit_in_place(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  file->body = p.disk().edited(file->body, p.step.y);
  if (p.step.z % 4 == 0) std::erase_if(file->above, is_tag);
  p.disk().written(file);
  p.say(number, " is edited in place", p.step.z % 4 == 0 ? " and its tag taken away" : "");
}

void edit_by_new_file(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  SimulatedFile file = *p.disk().names[number];
  if (p.step.y % 5 != 0) file.body = p.disk().edited(file.body, p.step.y);
  if (p.step.z % 3 == 0) std::erase_if(file.above, is_tag);
  const uint32_t to = p.step.z % 7 == 0 ? p.new_number(p.step.z) : number;
  p.disk().put(to, file, {});
  if (to != number) p.disk().remove(number);
  p.say(number, " is rewritten by an editor", p.step.y % 5 != 0 ? ", other bytes" : "",
        p.step.z % 3 == 0 ? ", its tag lost" : "", ", as ", to);
}

void edit_behind_our_back(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  if (file->body.length == 0) return;
  file->body = p.disk().edited(file->body, p.step.y % 2);
  p.disk().written(file, file->stamp.mtime);
  p.say(number, " is edited and its mtime set back");
}

void touch(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  if (p.step.y % 3 == 0) {
    file->stamp.ctime = p.disk().tick();
  } else {
    p.disk().written(file);
  }
  p.say(p.step.y % 3 == 0 ? "chmod " : "touch ", number);
}

void truncate(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  file->above.clear();
  file->body = {};
  if (p.step.y % 2 == 0) file->access = Access::kBeingWritten;  // and young
  p.disk().written(file);
  p.say(": >", number);
}

void annotate(Player p) {
  if (p.empty()) return;
  constexpr std::array kKinds = {Kind::kReplied, Kind::kForwarded, Kind::kResent, Kind::kReplied,
                                 Kind::kOther};
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  const HeaderLine added = line(p.disk(), kKinds[p.step.y % kKinds.size()]);
  const bool below_from = !file->above.empty() && file->above[0].kind == Kind::kFrom;
  const bool keep_mtime = p.step.z % 5 == 0;
  const auto mtime = keep_mtime ? std::optional(file->stamp.mtime) : std::nullopt;
  SimulatedFile after = *file;
  after.above.insert(after.above.begin() + (below_from ? 1 : 0), added);
  if (p.step.z % 2 == 0) {
    p.disk().put(number, after, mtime);
  } else {
    file->above = after.above;
    p.disk().written(file, mtime);
  }
  p.say("anno ", number, p.step.z % 2 == 0 ? " -noinplace" : "", keep_mtime ? " -preserve" : "",
        " kind ", p.step.y % kKinds.size());
}

void strip_tag(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  SimulatedFile after = *file;
  std::erase_if(after.above, is_tag);
  const auto mtime = p.step.z % 3 == 0 ? std::optional(file->stamp.mtime) : std::nullopt;
  if (p.step.y % 2 == 0) {
    p.disk().put(number, after, mtime);
  } else {
    file->above = after.above;
    p.disk().written(file, mtime);
  }
  p.say("the tag of ", number, " is taken away", p.step.y % 2 == 0 ? " by a new file" : "");
}

// Another root adopts the file: its tag takes the place of ours.
void tag_by_another_root(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  SimulatedFile file = *p.disk().names[number];
  const Nanoseconds mtime = file.stamp.mtime;
  const Reading reading = read_as_message(file, nullptr);
  HeaderLine added = tag_line(
      p.disk(), tag_for(reading.content, 4711, 1 + p.step.y % 9, p.disk().symbol()), false);
  const auto visible = file.above.begin() + static_cast<ptrdiff_t>(reading.hidden_lines);
  file.above.erase(std::remove_if(file.above.begin(), visible, is_tag), visible);
  const bool below_from = !file.above.empty() && file.above[0].kind == Kind::kFrom;
  file.above.insert(file.above.begin() + (below_from ? 1 : 0), added);
  p.disk().put(number, file, mtime);
  p.say(number, " gets the tag of another root");
}

// ---- Access -----------------------------------------------------------------------------------

void change_access(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  const File file = p.disk().names[number];
  if (file->access == Access::kBeingWritten) return;
  file->access = file->readable() ? Access::kUnreadable : Access::kReadable;
  file->stamp.ctime = p.disk().tick();
  p.say(number, file->readable() ? " is readable again" : " cannot be read any more");
}

void make_all_readable(Player p) {
  for (auto& [number, file] : p.disk().names) {
    if (file->readable()) continue;
    file->access = Access::kReadable;
    p.say(number, " can be read");
  }
}

// ---- What we do ourselves ---------------------------------------------------------------------

void open_message(Player p) {
  if (p.empty()) return;
  const uint32_t number = p.number(p.step.x);
  if (!p.disk().names[number]->readable()) return;
  p.in.opened.insert(number);
  p.say("a client opens ", number);
}

Tag tag_of_message(const KnownState& known, const Record& record, const Content& content) {
  return {known.uidvalidity, record.uid,     record.guid,  record.internal_date,
          record.saved,      content.length, content.whole};
}

// The tag goes where the visible bytes begin; hidden tags of others go.
void adopt_one(Player p, uint32_t number, bool crash) {
  const auto found = p.disk().names.find(number);
  Record* record = p.in.known.find_number(number);
  if (found == p.disk().names.end() || record == nullptr) return;
  SimulatedFile file = *found->second;
  if (!file.readable() || record->file != file.stamp || record->has(Record::kUnreadable) ||
      record->has(Record::kTagged) || record->has(Record::kNoTag)) {
    return;
  }
  const Reading reading = read_as_message(file, nullptr);
  const Content& bytes = reading.content;
  const bool as_recorded = bytes.start == record->first_hash &&
                           (!record->has(Record::kHashKnown) || bytes.whole == record->hash);
  if (reading.prefix != record->prefix || !as_recorded) return;
  const Nanoseconds mtime = file.stamp.mtime;
  auto visible = file.above.begin() + static_cast<ptrdiff_t>(reading.hidden_lines);
  visible = file.above.erase(std::remove_if(file.above.begin(), visible, is_tag), visible);
  const Tag tag = tag_of_message(p.in.known, *record, reading.content);
  file.above.insert(visible, tag_line(p.disk(), tag, true));
  const File now = p.disk().put(number, file, mtime);
  p.say(number, " gets its tag", crash ? ", and the machine crashes" : "");
  const auto message = p.in.model.messages.find(record->uid);
  if (crash || message == p.in.model.messages.end()) return;
  const Reading after = read_as_message(*now, &tag);
  record->file = message->second.file = now->stamp;
  record->prefix = message->second.prefix = after.prefix;
  record->hash = after.content.whole;
  record->set(Record::kHashKnown, true);
  record->set(Record::kTagged, true);
  record->set(Record::kVerified, true);
  message->second.content = after.content;
  message->second.whole_known = message->second.tagged = true;
}

void adopt_all(Player p) {
  std::vector<uint32_t> numbers;
  for (const auto& [number, file] : p.disk().names) numbers.push_back(number);
  for (const uint32_t number : numbers) adopt_one(p, number, false);
}

void adopt(Player p) {
  if (!p.empty()) adopt_one(p, p.number(p.step.x), p.step.y % 4 == 0);
}

void flush(Player p) {
  for (Record& record : p.in.known.records) {
    if (!record.has(Record::kTagged)) continue;
    record.set(Record::kTagFlushed, true);
    p.in.model.messages.at(record.uid).tag_on_disk = true;
  }
  p.say("all tags reach the disk");
}

// ---- What happens to what we know -------------------------------------------------------------

void lose(Player p, uint32_t uid) {
  std::erase_if(p.in.known.records, [&](const Record& record) { return record.uid == uid; });
  p.in.model.messages.erase(uid);
  p.in.model.lost.insert(uid);
}

void lose_record(Player p) {
  const Record* record = p.tagged_record(p.step.x);
  if (record == nullptr) return;
  p.say("the record of UID ", record->uid, " is lost");
  lose(p, record->uid);
}

void lose_store(Player p) {
  while (const Record* record = p.tagged_record(0)) lose(p, record->uid);
  p.say("the store is lost: no records but of messages without a tag");
}

void jump_uids(Player p, uint32_t from) { p.in.known.uidnext = p.in.model.uidnext = from + kJump; }

void lose_journal(Player p) {
  while (!p.in.known.records.empty()) lose(p, p.in.known.records.back().uid);
  jump_uids(p, p.in.known.uidnext);
  p.say("the journal is lost, the index knows the UIDs");
}

void lose_everything(Player p) {
  p.in.known.records.clear();
  p.in.known.alive.clear();
  p.in.model.messages.clear();
  p.in.model.lost.clear();
  p.in.old_state.reset();
  ++p.in.known.uidvalidity;
  p.in.known.uidnext = 1;
  p.in.model.uidvalidity = p.in.known.uidvalidity;
  p.in.model.uidnext = 1;
  p.say("all state is lost: a new UIDVALIDITY");
}

void copy_state(Player p) {
  p.in.old_state = ModelledFolder::State{p.in.known, p.in.model};
  p.say("the journal is backed up");
}

// The jump is over all that was given since.
void restore_state(Player p) {
  if (!p.in.old_state) return;
  const uint32_t next = std::max(p.in.old_state->known.uidnext, p.in.known.uidnext);
  p.in.known = p.in.old_state->known;
  p.in.model = p.in.old_state->model;
  jump_uids(p, next);
  p.say("the journal of the backup is put back");
}

void lose_secret(SimulatedFile& file) {
  const uint32_t prefix = read_as_message(file, nullptr).prefix;
  for (HeaderLine& line : file.above) line.genuine = false;
  if (read_as_message(file, nullptr).prefix != prefix) file.silently_changed = true;
}

void lose_secret(Player p) {
  for (auto& [number, file] : p.disk().names) lose_secret(*file);
  for (auto& [number, file] : p.in.backup) lose_secret(file);
  p.say("the secret of the root is lost: no check verifies");
}

// The file system begins to tell birth times (another kernel, another mount).
void gain_birth_times(Player p) {
  if (p.disk().keeps_birth) return;
  p.disk().keeps_birth = true;
  for (auto& [number, file] : p.disk().names) {
    if (file->stamp.birth == 0) file->stamp.birth = p.disk().tick();
  }
  p.say("birth times are known from now on");
}

void no_action(Player) {}

enum class Whose { kOthers, kOurs };  // ours: under the folder lock, so never during a sync

struct Action {
  int weight;
  void (*play)(Player);
  Whose whose = Whose::kOthers;
  SyncKind sync = SyncKind::kNone;
};

constexpr std::array kActions = {
    Action{24, no_action, Whose::kOurs, SyncKind::kWhole},
    Action{2, no_action, Whose::kOurs, SyncKind::kGlance},
    Action{4, no_action, Whose::kOurs, SyncKind::kRace},
    Action{10, arrive},
    Action{4, arrive_with_tag},
    Action{3, forge},
    Action{2, begin_writing},
    Action{2, finish_writing},
    Action{5, move},
    Action{3, swap},
    Action{2, pack},
    Action{2, sort},
    Action{2, link},
    Action{5, remove},
    Action{4, remove_and_create},
    Action{5, copy},
    Action{3, copy_over},
    Action{3, back_up},
    Action{4, restore_all},
    Action{5, restore_one},
    Action{4, edit_in_place},
    Action{5, edit_by_new_file},
    Action{1, edit_behind_our_back},
    Action{3, touch},
    Action{1, truncate},
    Action{6, annotate},
    Action{3, strip_tag},
    Action{2, tag_by_another_root},
    Action{4, change_access},
    Action{1, make_all_readable},
    Action{2, open_message, Whose::kOurs},
    Action{6, adopt, Whose::kOurs},
    Action{5, adopt_all, Whose::kOurs},
    Action{1, flush, Whose::kOurs},
    Action{2, lose_record, Whose::kOurs},
    Action{1, lose_store, Whose::kOurs},
    Action{1, lose_journal, Whose::kOurs},
    Action{1, lose_everything, Whose::kOurs},
    Action{1, copy_state, Whose::kOurs},
    Action{1, restore_state, Whose::kOurs},
    Action{1, lose_secret, Whose::kOurs},
    Action{1, gain_birth_times, Whose::kOurs},
};

constexpr int kAllWeights = std::accumulate(
    kActions.begin(), kActions.end(), 0, [](int sum, const Action& a) { return sum + a.weight; });

}  // namespace

Record* KnownState::find(uint32_t uid) {
  const auto found =
      std::find_if(records.begin(), records.end(), [&](const Record& r) { return r.uid == uid; });
  return found == records.end() ? nullptr : &*found;
}

Record* KnownState::find_number(uint32_t number) {
  const auto found = std::find_if(records.begin(), records.end(),
                                  [&](const Record& r) { return r.number == number; });
  return found == records.end() ? nullptr : &*found;
}

ModelledFolder::ModelledFolder() { model.uidvalidity = known.uidvalidity; }

SyncKind sync_kind(const Step& step) { return kActions[step.action].sync; }

bool can_race(const Step& step) { return kActions[step.action].whose == Whose::kOthers; }

Step sync_step(SyncKind kind) {
  Step step;
  while (kActions[step.action].sync != kind) ++step.action;
  return step;
}

Step arrival_step(uint32_t kind) {
  Step step{0, 1, kind, 0};
  while (kActions[step.action].play != arrive) ++step.action;
  return step;
}

Step random_step(std::mt19937_64& random) {
  const uint64_t drawn = random();
  int at = static_cast<int>(drawn % kAllWeights);
  Step step;
  while (at >= kActions[step.action].weight) at -= kActions[step.action++].weight;
  const uint64_t numbers = random();
  step.x = static_cast<uint32_t>(drawn >> 40);
  step.y = static_cast<uint32_t>(numbers >> 40);
  step.z = static_cast<uint32_t>(numbers & 0xffffff);
  return step;
}

void play(ModelledFolder& folder, const Step& step) {
  kActions[step.action].play(Player{folder, step});
}

}  // namespace mh::test
