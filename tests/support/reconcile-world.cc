// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/reconcile-world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "libmh/format/fingerprint.h"

namespace mh::test {
namespace {

uint64_t first_block_hash(std::string_view visible) {
  return fingerprint(visible.substr(0, kFirstHashSize));
}

}  // namespace

std::string long_message(const std::string& end) {
  return "Subject: long\n\n" + std::string(5000, 'x') + end + "\n";
}

FakeFile& ReconcileWorld::create(uint32_t number, const std::string& visible) {
  FakeFile file;
  clock_ += kSecond;
  file.file = {next_inode_++, keeps_birth ? clock_ : 0, 0, clock_, clock_};
  file.visible = visible;
  return files[number] = file;
}

FakeFile ReconcileWorld::copy_of(const FakeFile& file) {
  FakeFile copy = file;
  clock_ += kSecond;
  copy.file.inode = next_inode_++;
  copy.file.birth = keeps_birth ? clock_ : 0;
  copy.file.ctime = clock_;
  copy.nlink = 1;
  return copy;
}

void ReconcileWorld::rewrite(FakeFile& file, const std::string& visible) {
  file.visible = visible;
  touch(file);
}

void ReconcileWorld::touch(FakeFile& file) {
  clock_ += kSecond;
  file.file.mtime = file.file.ctime = clock_;
}

void ReconcileWorld::move(uint32_t from, uint32_t to) {
  clock_ += kSecond;
  FakeFile file = files.at(from);
  files.erase(from);
  file.file.ctime = clock_;
  files[to] = file;
}

void ReconcileWorld::adopt(uint32_t uid) {
  Record& record =
      *std::find_if(records.begin(), records.end(), [&](const Record& r) { return r.uid == uid; });
  FakeFile& file = files.at(record.number);
  record.hash = fingerprint(file.visible);
  record.set(Record::kHashKnown, true);
  record.set(Record::kTagged, true);
  file.annotation = 0;
  file.replied = file.forwarded = false;
  file.tag = FakeTag{*tag_of(record, kValidity), true, true};
  file.file.inode = next_inode_++;
  file.file.birth = keeps_birth ? ++clock_ : 0;
  file.file.ctime = ++clock_;
  file.file.size = file.prefix() + file.visible.size();
  record.prefix = file.prefix();
  record.file = file.file;
}

Listing ReconcileWorld::list() const {
  Listing listing;
  listing.whole = whole;
  for (const auto& [number, file] : files) {
    Entry entry{number, file.file, file.nlink, 1000, 0600};
    entry.file.size = file.prefix() + file.visible.size();
    listing.entries.push_back(entry);
  }
  return listing;
}

Probe ReconcileWorld::probe(const ProbeRequest& request) const {
  const FakeFile& file = files.at(request.number);
  Probe probe;
  probe.state = file.state;
  probe.file = file.file;
  probe.file.size = file.prefix() + file.visible.size();
  if (file.state != Probe::State::kRead) return probe;
  if (file.tag) {
    probe.tag = file.tag->tag;
    probe.tag_is_first = file.tag->first;
    probe.tag_kind = request.recorded == file.tag->tag ? Probe::TagKind::kRecorded
                     : file.tag->genuine               ? Probe::TagKind::kVerified
                                                       : Probe::TagKind::kUnverified;
  }
  probe.prefix = file.prefix();
  probe.replied = file.replied;
  probe.forwarded = file.forwarded;
  probe.delivery_date = file.delivery_date;
  probe.first_hash = first_block_hash(file.visible);
  if (request.whole) probe.hash = fingerprint(file.visible);
  return probe;
}

Plan ReconcileWorld::plan() {
  const Listing listing = list();
  ReconcileInput input;
  input.listing = &listing;
  input.records = records;
  input.alive = &alive;
  input.uidvalidity = kValidity;
  input.uidnext = uidnext;
  input.now = now;
  input.probes = known_probes;
  std::set<std::pair<uint32_t, bool>> told;
  rounds = starts = wholes = 0;
  requests.clear();
  for (;;) {
    Plan plan = reconcile(input);
    ++rounds;
    if (plan.final() || rounds > 4) {
      EXPECT_TRUE(plan.final()) << "still asking after four rounds";
      return plan;
    }
    for (const ProbeRequest& request : plan.needed) {
      EXPECT_TRUE(told.insert({request.number, request.whole}).second)
          << "asked twice about " << request.number;
      ++(request.whole ? wholes : starts);
      requests.push_back(request);
      input.probes[request.number] = probe(request);
    }
  }
}

Plan ReconcileWorld::sync() {
  const Plan done = plan();
  const int spent[] = {rounds, starts, wholes};
  const std::vector<ProbeRequest> asked = requests;
  apply(done);
  if (!done.relist && whole) {
    known_probes.clear();
    const Plan again = plan();
    EXPECT_TRUE(again.empty()) << "not settled: " << again.changed.size() << " changed, "
                               << again.added.size() << " added, " << again.dropped.size()
                               << " dropped, " << again.annotated.size() << " annotated";
  }
  rounds = spent[0];
  starts = spent[1];
  wholes = spent[2];
  requests = asked;
  return done;
}

void ReconcileWorld::apply(const Plan& plan) {
  std::map<uint32_t, Record> now_alive;
  for (const Record& record : records) now_alive[record.uid] = record;
  for (const Record& record : plan.changed) now_alive[record.uid] = record;
  for (uint32_t uid : plan.dropped) {
    EXPECT_TRUE(alive.contains(uid)) << "dropped what was not alive";
    now_alive.erase(uid);
    alive.remove(uid);
  }
  given.clear();
  for (const Addition& addition : plan.added) {
    Record record = addition.record;
    EXPECT_EQ(record.uid, 0u);
    record.uid = uidnext++;
    if (!addition.keeps_guid) {
      record.guid = {};
      record.guid[0] = 0xee;
      for (int i = 0; i < 4; ++i) record.guid[4 + i] = static_cast<uint8_t>(record.uid >> (8 * i));
    }
    now_alive[record.uid] = record;
    alive.add(record.uid);
    given.push_back(record.uid);
  }
  records.clear();
  for (const auto& [uid, record] : now_alive) records.push_back(record);
}

const Record* ReconcileWorld::find(uint32_t uid) const {
  const auto found =
      std::find_if(records.begin(), records.end(), [&](const Record& r) { return r.uid == uid; });
  return found == records.end() ? nullptr : &*found;
}

uint32_t ReconcileWorld::uid_at(uint32_t number) const {
  for (const Record& record : records) {
    if (record.number == number) return record.uid;
  }
  return 0;
}

void ReconcileWorld::lose_record(uint32_t uid) {
  std::erase_if(records, [&](const Record& r) { return r.uid == uid; });
}

}  // namespace mh::test
