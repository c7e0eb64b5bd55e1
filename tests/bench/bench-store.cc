// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Journal and store of a folder with 100,000 messages. On the file system of $TMPDIR.
#include <benchmark/benchmark.h>

#include "libmh/store/journal.h"
#include "libmh/store/store.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

constexpr gid_t kAnyGroup = static_cast<gid_t>(-1);

std::vector<Record> make_records(int64_t count) {
  constexpr Nanoseconds kSomeTime = 1'700'000'000'123'456'789;
  std::vector<Record> records(static_cast<size_t>(count));
  uint32_t uid = 0;
  for (Record& record : records) {
    record.uid = record.number = ++uid;
    record.file = {uint64_t{5'000'000} + uid, kSomeTime + uid, 4000 + uid % 10000, kSomeTime + uid,
                   kSomeTime + 2 * uid};
    record.prefix = 132;
    record.flags = Record::kTagged | Record::kHashKnown | Record::kVerified;
    record.hash = uid * 0x9e3779b97f4a7c15;
    record.first_hash = record.hash * 3;
    record.internal_date = 1'700'000'000 + uid;
    record.saved = record.internal_date;
    for (size_t i = 0; i < record.guid.size(); ++i)
      record.guid[i] = static_cast<uint8_t>(record.hash >> (i * 4));
  }
  return records;
}

Journal new_journal(const TempDir& dir) {
  JournalState state;
  state.header.uidvalidity = 1'700'000'000;
  return *Journal::create(Fs::posix(), dir.fd(), state, 0600, kAnyGroup, true);
}

void fill(Journal& journal, const std::vector<Record>& records) {
  for (const Record& record : records) journal.add_record(record);
  if (!journal.append()) std::abort();
}

void journal_append(benchmark::State& state) {
  const TempDir dir;
  const auto records = make_records(state.range(0));
  for (auto _ : state) {
    state.PauseTiming();
    Journal journal = new_journal(dir);
    state.ResumeTiming();
    fill(journal, records);
    state.PauseTiming();
    { const Journal gone = std::move(journal); }
    state.ResumeTiming();
  }
}

void journal_append_one_and_flush(benchmark::State& state) {
  const TempDir dir;
  Journal journal = new_journal(dir);
  auto records = make_records(1);
  for (auto _ : state) {
    ++records[0].uid;
    fill(journal, records);
    if (!journal.flush()) std::abort();
  }
}

void journal_open(benchmark::State& state) {
  const TempDir dir;
  Journal journal = new_journal(dir);
  fill(journal, make_records(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(Journal::open(Fs::posix(), dir.fd()));
}

void journal_refresh_unchanged(benchmark::State& state) {
  const TempDir dir;
  Journal journal = new_journal(dir);
  for (auto _ : state) benchmark::DoNotOptimize(journal.refresh());
}

void journal_compact(benchmark::State& state) {
  const TempDir dir;
  Journal journal = new_journal(dir);
  fill(journal, make_records(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        Journal::create(Fs::posix(), dir.fd(), journal.state(), 0600, kAnyGroup, true));
  }
}

std::unique_ptr<Store> store_in(const TempDir& dir) {
  return open_bdb_store(Fs::posix(), dir.fd(), dir.path(), 0600, kAnyGroup);
}

void store_replace(benchmark::State& state) {
  const TempDir dir;
  const auto store = store_in(dir);
  const auto records = make_records(state.range(0));
  for (auto _ : state) {
    if (!store->replace({}, records)) std::abort();
  }
}

void store_load(benchmark::State& state) {
  const TempDir dir;
  if (!store_in(dir)->replace({}, make_records(state.range(0)))) std::abort();
  for (auto _ : state) benchmark::DoNotOptimize(store_in(dir)->load());
}

void store_open_and_get(benchmark::State& state) {
  const TempDir dir;
  if (!store_in(dir)->replace({}, make_records(state.range(0)))) std::abort();
  for (auto _ : state) benchmark::DoNotOptimize(store_in(dir)->get(1));
}

void store_get(benchmark::State& state) {
  const TempDir dir;
  const auto store = store_in(dir);
  if (!store->replace({}, make_records(state.range(0)))) std::abort();
  uint32_t uid = 0;
  for (auto _ : state) {
    uid = (uid + 7919) % static_cast<uint32_t>(state.range(0)) + 1;
    benchmark::DoNotOptimize(store->get(uid));
  }
}

constexpr int64_t kSmall = 100;
constexpr int64_t kLarge = 100'000;
BENCHMARK(journal_append)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMillisecond);
BENCHMARK(journal_append_one_and_flush)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(journal_open)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMillisecond);
BENCHMARK(journal_refresh_unchanged)->Unit(benchmark::kMicrosecond);
BENCHMARK(journal_compact)->Arg(kLarge)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(store_replace)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(store_load)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMillisecond);
BENCHMARK(store_open_and_get)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMillisecond);
BENCHMARK(store_get)->Arg(kSmall)->Arg(kLarge)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace mh::test

BENCHMARK_MAIN();
