// SPDX-License-Identifier: LGPL-2.1-or-later
//
// reconcile() against the reference model, over random histories of a folder.
//
// A history is a list of steps, syncs among them. Each sync runs the product until its plan is
// final, and asks the model what the table of identity says of the same folder: what is told and
// what is remembered afterwards must be equal in everything. Besides, whatever either says:
// a UID shows the same bytes for ever, is given once and in the order of arrival, every file is
// exactly one message, no file is read twice for one answer, and a second sync has nothing to do.
//
// The seed varies from run to run and is printed. MH_TEST_SEED=<seed> repeats a run,
// MH_TEST_LONG=1 runs more of it. A history that fails is made shorter as long as it still fails,
// and told step by step.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "libmh/folder/reconcile.h"
#include "tests/support/folder-actions.h"
#include "tests/support/folder-model.h"

namespace mh::test {
namespace {

constexpr int kHistories = 10'000;  // with birth times, and as many without
constexpr int kManyHistories = 100'000;
constexpr uint64_t kFirstRead = 8192;  // what read_probe() reads of a file at first
constexpr int kMostRounds = 4;

struct History {
  bool keeps_birth = true;
  bool reuses_inodes = false;
  std::vector<Step> steps;
};

Probe probe_of(const SimulatedFile& file, const ProbeRequest& request) {
  Probe probe;
  probe.file = file.stamp;
  switch (file.access) {
    case SimulatedFile::Access::kUnreadable:
      probe.state = Probe::State::kUnreadable;
      return probe;
    case SimulatedFile::Access::kBeingWritten:
      probe.state = Probe::State::kBeingWritten;
      return probe;
    case SimulatedFile::Access::kReadable:
      probe.state = Probe::State::kRead;
  }
  const Reading reading = read_as_message(file, request.recorded ? &*request.recorded : nullptr);
  constexpr std::array kKinds = {Probe::TagKind::kNone, Probe::TagKind::kRecorded,
                                 Probe::TagKind::kVerified, Probe::TagKind::kUnverified};
  probe.tag_kind = kKinds[static_cast<size_t>(reading.kind)];
  probe.tag = reading.tag;
  probe.tag_is_first = reading.first;
  probe.prefix = reading.prefix;
  probe.replied = reading.replied;
  probe.forwarded = reading.forwarded;
  probe.first_hash = reading.content.start;
  probe.delivery_date = file.body.delivery_date();
  if (request.whole || file.stamp.size <= kFirstRead) probe.hash = reading.content.whole;
  return probe;
}

// What the plan tells, in the model's words.
Told told_by(const Plan& plan) {
  Told told;
  for (const Addition& added : plan.added) {
    const Record& record = added.record;
    told.arrived.push_back({record.number, added.edited_from.value_or(0), added.keeps_guid,
                            added.keeps_guid ? record.guid : Guid{}, added.origin.value_or(Guid{}),
                            record.internal_date, record.saved, added.replied, added.forwarded});
  }
  told.dropped = plan.dropped;
  for (const Annotation& a : plan.annotated)
    told.annotated.push_back({a.uid, a.replied, a.forwarded});
  told.renumbered = plan.renumbered;
  told.untagged = plan.untagged;
  told.waiting = plan.waiting;
  told.relist = plan.relist;
  return told;
}

FolderModel::Message message_of(const Record& record) {
  FolderModel::Message m;
  m.uid = record.uid;
  m.number = record.number;
  m.file = record.file;
  m.prefix = record.prefix;
  m.whole_known = record.has(Record::kHashKnown);
  m.unread = record.has(Record::kUnreadable);
  if (!m.unread) {
    m.content = {record.first_hash, m.whole_known ? record.hash : 0,
                 static_cast<uint32_t>(record.visible_size())};
  }
  m.tagged = record.has(Record::kTagged);
  m.tag_on_disk = record.has(Record::kTagFlushed);
  m.leave_alone = record.has(Record::kNoTag);
  m.replied_seen = record.has(Record::kRepliedSeen);
  m.forwarded_seen = record.has(Record::kForwardedSeen);
  m.guid = record.guid;
  m.internal_date = record.internal_date;
  m.saved = record.saved;
  return m;
}

// The model knows more of a message than the product can.
FolderModel::Message comparable(FolderModel::Message m) {
  if (!m.whole_known) m.content.whole = 0;
  return m;
}

class Replay {
 public:
  explicit Replay(const History& history, std::ostream* log) : history_(history) {
    in_.disk.keeps_birth = history.keeps_birth;
    in_.disk.reuses_inodes = history.reuses_inodes;
    in_.log = log;
  }

  // Empty when all was as it should be, else what was not.
  std::string failure() {
    for (size_t i = 0; i < history_.steps.size() && failure_.empty(); ++i) {
      const Step& step = history_.steps[i];
      switch (sync_kind(step)) {
        case SyncKind::kNone:
          play(in_, step);
          forgive_unread();
          break;
        case SyncKind::kWhole:
          sync(nullptr);
          break;
        case SyncKind::kGlance:
          glance();
          break;
        case SyncKind::kRace: {  // the next step happens between listing and reading
          const bool can = i + 1 < history_.steps.size() && can_race(history_.steps[i + 1]);
          sync(can ? &history_.steps[++i] : nullptr);
        }
      }
    }
    if (failure_.empty()) sync(nullptr);
    return failure_;
  }

 private:
  template <typename... Words>
  void fail(const Words&... words) {
    if (!failure_.empty()) return;
    std::ostringstream out;
    ((out << words), ...);
    failure_ = out.str();
  }
  void say(const std::string& text) {
    if (in_.log != nullptr) *in_.log << text << '\n';
  }

  // A message that nobody has read yet has shown nothing - unless its journal is an old one: what
  // it showed meanwhile is written nowhere.
  void forgive_unread() {
    for (const Record& record : in_.known.records) {
      const std::pair uid(in_.known.uidvalidity, record.uid);
      if (record.has(Record::kUnreadable) && served_.contains(uid)) forgiven_.insert(uid);
    }
  }

  void list(uint32_t after, bool copies);
  Plan plan_for(bool whole, const Step* race);
  void take_opened(ReconcileInput& input);
  Probe read(const ProbeRequest& request);
  void compare(const Plan& plan, const Told& expected);
  void apply(const Plan& plan);
  void compare_states();
  void check_whole_folder(const Plan& plan);
  void check_served();
  void check_again();
  void sync(const Step* race);
  void glance();

  const History& history_;
  ModelledFolder in_;
  Listing listing_;
  std::vector<SeenFile> seen_;  // by index of the listing's entries
  // By UIDVALIDITY and UID: what it has shown.
  std::map<std::pair<uint32_t, uint32_t>, Content> served_;
  std::set<std::pair<uint32_t, uint32_t>> forgiven_;
  std::pair<uint32_t, uint32_t> last_given_{0, 0};
  const uint32_t now_ = 1'800'000'000;
  std::string failure_;
};

void Replay::list(uint32_t after, bool copies) {
  listing_ = {};
  seen_.clear();
  for (const auto& [number, file] : in_.disk.names) {
    if (number <= after) continue;
    listing_.entries.push_back({number, file->stamp, file->links, 1000, 0600});
    seen_.push_back(
        {number, file->stamp, file->links, copies ? std::make_shared<SimulatedFile>(*file) : file});
  }
}

// What an open has read whole is handed in with the first question.
void Replay::take_opened(ReconcileInput& input) {
  for (SeenFile& seen : seen_) {
    if (!in_.opened.contains(seen.number)) continue;
    const Record* record = in_.known.find_number(seen.number);
    if (record == nullptr || !record->file.same_content(seen.listed) || !seen.file->readable())
      continue;
    ProbeRequest request{seen.number, seen.listed, true, {}};
    if (record->has(Record::kTagged)) request.recorded = tag_of(*record, in_.known.uidvalidity);
    input.probes[seen.number] = probe_of(*seen.file, request);
    seen.opened = seen.read_whole = true;
  }
  in_.opened.clear();
}

Probe Replay::read(const ProbeRequest& request) {
  SeenFile* seen = nullptr;
  for (SeenFile& candidate : seen_) {
    if (candidate.number == request.number) seen = &candidate;
  }
  if (seen == nullptr || !(request.file == seen->listed)) {
    fail("asked about a file that is not listed: ", request.number);
    return {};
  }
  const auto there = in_.disk.names.find(request.number);
  if (there == in_.disk.names.end() || !there->second->stamp.same_file(request.file)) {
    seen->gone = true;
    Probe gone;
    gone.file = request.file;
    return gone;
  }
  seen->file = there->second;
  const Probe probe = probe_of(*there->second, request);
  seen->read_whole = probe.hash.has_value();
  return probe;
}

Plan Replay::plan_for(bool whole, const Step* race) {
  listing_.whole = whole;
  ReconcileInput input;
  input.listing = &listing_;
  input.records = in_.known.records;
  input.alive = &in_.known.alive;
  input.uidvalidity = in_.known.uidvalidity;
  input.uidnext = in_.known.uidnext;
  input.now = now_;
  if (race == nullptr) take_opened(input);
  std::set<std::pair<uint32_t, bool>> asked;
  for (int round = 1;; ++round) {
    Plan plan = reconcile(input);
    if (race != nullptr) play(in_, *race);
    race = nullptr;
    if (plan.final()) return plan;
    if (round == kMostRounds) fail("still asking after ", round, " rounds");
    for (const ProbeRequest& request : plan.needed) {
      if (!asked.insert({request.number, request.whole}).second)
        fail("asked twice about ", request.number);
      input.probes[request.number] = read(request);
    }
    if (!failure_.empty()) return {};
  }
}

void Replay::compare(const Plan& plan, const Told& expected) {
  const Told told = told_by(plan);
  if (in_.log != nullptr) *in_.log << expected.text();
  if (told != expected)
    fail("the table says:\n", expected.text(), "reconcile() says:\n", told.text());
}

void Replay::apply(const Plan& plan) {
  KnownState& known = in_.known;
  std::map<uint32_t, Record> records;
  for (const Record& record : known.records) records[record.uid] = record;
  const auto by_uid = [](const Record& a, const Record& b) { return a.uid < b.uid; };
  if (!std::is_sorted(plan.changed.begin(), plan.changed.end(), by_uid)) fail("no order of UIDs");
  for (const Record& record : plan.changed) {
    if (!known.alive.contains(record.uid)) fail("UID ", record.uid, " is changed and not alive");
    records[record.uid] = record;
  }
  for (const uint32_t uid : plan.dropped) {
    if (!known.alive.contains(uid)) fail("UID ", uid, " is dropped and not alive");
    records.erase(uid);
    known.alive.remove(uid);
  }
  for (const Addition& added : plan.added) {
    Record record = added.record;
    record.uid = known.uidnext++;
    if (!added.keeps_guid) record.guid = guid_made_for(known.uidvalidity, record.uid);
    const std::pair given(known.uidvalidity, record.uid);
    if (given <= last_given_) fail("UID ", record.uid, " is given a second time");
    last_given_ = given;
    records[record.uid] = record;
    known.alive.add(record.uid);
  }
  known.records.clear();
  for (const auto& [uid, record] : records) known.records.push_back(record);
}

void Replay::compare_states() {
  NumberSet alive;
  for (const uint32_t uid : in_.model.lost) alive.add(uid);
  for (const auto& [uid, m] : in_.model.messages) alive.add(uid);
  if (!(alive == in_.known.alive)) {
    return fail("alive should be ", alive.print_uids(), " and is ", in_.known.alive.print_uids());
  }
  for (const Record& record : in_.known.records) {
    const auto expected = in_.model.messages.find(record.uid);
    if (expected == in_.model.messages.end()) return fail("UID ", record.uid, " has a record");
    const FolderModel::Message is = message_of(record), should = comparable(expected->second);
    if (is != should) return fail("should be ", should.text(), "\nand is    ", is.text());
  }
  if (in_.model.messages.size() != in_.known.records.size()) fail("too few records");
}

// A UID shows what it has always shown.
void Replay::check_served() {
  for (const Record& record : in_.known.records) {
    const auto there = in_.disk.names.find(record.number);
    if (there == in_.disk.names.end() || !there->second->readable()) continue;
    const SimulatedFile& file = *there->second;
    if (file.silently_changed || record.has(Record::kUnreadable) || record.file != file.stamp)
      continue;
    Tag tag;
    if (const auto recorded = tag_of(record, in_.known.uidvalidity)) tag = *recorded;
    const Reading reading = read_as_message(file, record.has(Record::kTagged) ? &tag : nullptr);
    Content shown = reading.content;
    // Nobody can tell what a long message was behind its first block if nobody ever read it.
    if (!record.has(Record::kHashKnown)) shown.whole = 0;
    const bool verified = record.has(Record::kHashKnown) && record.hash == reading.content.whole;
    if (record.has(Record::kVerified) && !verified) fail("UID ", record.uid, " is not verified");
    Content& served = served_.try_emplace({in_.known.uidvalidity, record.uid}, shown).first->second;
    if (served.whole == 0) served.whole = shown.whole;
    const bool same = served.start == shown.start && served.length == shown.length &&
                      (shown.whole == 0 || served.whole == shown.whole);
    const bool forgiven = forgiven_.contains({in_.known.uidvalidity, record.uid});
    if (!same && !forgiven) fail("UID ", record.uid, " shows other bytes than before");
    if (record.prefix != reading.prefix) fail("UID ", record.uid, " begins elsewhere");
  }
}

// Every file is one message; every message is a file.
void Replay::check_whole_folder(const Plan& plan) {
  std::set<uint32_t> numbers;
  for (const Record& record : in_.known.records) {
    if (!numbers.insert(record.number).second) fail("two messages under ", record.number);
    if (!in_.disk.names.contains(record.number)) fail("no file for UID ", record.uid);
  }
  for (const auto& [number, file] : in_.disk.names) {
    const bool waits = std::binary_search(plan.waiting.begin(), plan.waiting.end(), number);
    const bool withheld = !file->readable() && !in_.model.lost.empty();
    if (!numbers.contains(number) && !waits && !withheld) fail(number, " is no message");
  }
}

void Replay::check_again() {
  list(0, false);
  const Plan again = plan_for(true, nullptr);
  if (!again.empty() || again.relist) fail("not settled:\n", told_by(again).text());
}

void Replay::sync(const Step* race) {
  say(race == nullptr ? "SYNC" : "SYNC, and between listing and reading:");
  list(0, race != nullptr);
  std::map<uint32_t, uint32_t> untouched;  // UID -> number: as at the last sync in everything
  for (const SeenFile& seen : seen_) {
    const Record* record = in_.known.find_number(seen.number);
    const bool same = record != nullptr && record->file == seen.listed;
    if (same && !in_.opened.contains(seen.number)) untouched[record->uid] = seen.number;
  }
  const Plan plan = plan_for(true, race);
  if (!failure_.empty()) return;
  compare(plan, plan.relist ? in_.model.glance(seen_, now_) : in_.model.pass(seen_, now_));
  apply(plan);
  for (const auto& [uid, number] : untouched) {
    const Record* record = in_.known.find(uid);
    if (record == nullptr || record->number != number) fail("untouched UID ", uid, " is gone");
  }
  compare_states();
  if (race == nullptr && failure_.empty()) {
    check_whole_folder(plan);
    check_served();
    check_again();
  }
}

// At the names behind the last one that is known, as after an arrival.
void Replay::glance() {
  say("A GLANCE AT THE NEXT NUMBERS");
  uint32_t highest = 0;
  for (const Record& record : in_.known.records) highest = std::max(highest, record.number);
  list(highest, false);
  const Plan plan = plan_for(false, nullptr);
  if (!failure_.empty()) return;
  compare(plan, in_.model.glance(seen_, now_));
  apply(plan);
  compare_states();
}

// ---- Histories --------------------------------------------------------------------------------

uint64_t seed_of_this_run() {
  if (const char* given = std::getenv("MH_TEST_SEED")) return std::strtoull(given, nullptr, 0);
  return (uint64_t{std::random_device{}()} << 32) | std::random_device{}();
}

History random_history(uint64_t seed, bool keeps_birth) {
  std::mt19937_64 random(seed);
  History history;
  history.keeps_birth = keeps_birth;
  history.reuses_inodes = random() % 2 == 0;
  const size_t length = 10 + random() % 70;
  // Most start with a few messages that are known.
  const size_t first = random() % 6;
  for (size_t i = 0; i < first; ++i)
    history.steps.push_back(arrival_step(static_cast<uint32_t>(random() % 100'000)));
  history.steps.push_back(sync_step(SyncKind::kWhole));
  while (history.steps.size() < length) history.steps.push_back(random_step(random));
  return history;
}

// Without every step that is not needed for some failure.
History shortened(History history) {
  for (size_t size = history.steps.size() / 2; size >= 1; size /= 2) {
    for (bool again = true; again;) {
      again = false;
      for (size_t at = 0; at + size <= history.steps.size();) {
        History shorter = history;
        const auto from = shorter.steps.begin() + static_cast<ptrdiff_t>(at);
        shorter.steps.erase(from, from + static_cast<ptrdiff_t>(size));
        if (Replay(shorter, nullptr).failure().empty()) {
          at += size;
        } else {
          history = shorter;
          again = true;
        }
      }
    }
  }
  return history;
}

std::string story_of(const History& history) {
  std::ostringstream out;
  out << (history.keeps_birth ? "birth times" : "no birth times")
      << (history.reuses_inodes ? ", inode numbers reused at once\n" : "\n");
  const std::string failure = Replay(history, &out).failure();
  out << "THEN\n" << failure;
  return out.str();
}

class ReconcileModel : public testing::TestWithParam<bool> {};

TEST_P(ReconcileModel, AgreesOverRandomHistories) {
  const uint64_t seed = seed_of_this_run();
  const int histories = std::getenv("MH_TEST_LONG") != nullptr ? kManyHistories : kHistories;
  std::cout << "MH_TEST_SEED=" << seed << ", " << histories << " histories "
            << (GetParam() ? "with" : "without") << " birth times\n";
  for (int i = 0; i < histories; ++i) {
    const uint64_t own_seed = seed ^ (static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u);
    const History history = random_history(own_seed, GetParam());
    if (Replay(history, nullptr).failure().empty()) continue;
    FAIL() << "history " << i << " of MH_TEST_SEED=" << seed << " (" << history.steps.size()
           << " steps), made shorter:\n"
           << story_of(shortened(history));
  }
}

INSTANTIATE_TEST_SUITE_P(FileSystems, ReconcileModel, testing::Bool(), [](const auto& test) {
  return test.param ? "WithBirthTimes" : "WithoutBirthTimes";
});

}  // namespace
}  // namespace mh::test
