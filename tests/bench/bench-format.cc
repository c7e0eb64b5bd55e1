// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What one sync of a folder of 100,000 messages costs in text: sequences, flags, journal, tags.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "libmh/format/fingerprint.h"
#include "libmh/format/flags.h"
#include "libmh/format/journal-line.h"
#include "libmh/format/sequences.h"
#include "libmh/format/visible-part.h"

namespace mh {
namespace {

constexpr uint32_t kMessages = 100000;

// Every second message is unseen: the longest line that a folder of this size can have.
std::string scattered_file() {
  std::string text = "cur: 4711\nunseen:";
  for (uint32_t n = 1; n <= kMessages; n += 2) text += ' ' + std::to_string(n);
  return text + "\nreplied: 1-2000 3000\nflagged: 17 42 4711\nkwzz24Junk: 5 7 9\nWork: 100-900\n";
}

void parse_sequences(benchmark::State& state) {
  const std::string text = scattered_file();
  for (auto _ : state) benchmark::DoNotOptimize(Sequences::parse(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(parse_sequences)->Unit(benchmark::kMicrosecond);

void print_sequences(benchmark::State& state) {
  const Sequences sequences = Sequences::parse(scattered_file());
  for (auto _ : state) benchmark::DoNotOptimize(sequences.print_padded(400000, "unseen"));
}
BENCHMARK(print_sequences)->Unit(benchmark::kMicrosecond);

void renumber_all(benchmark::State& state) {
  const Sequences sequences = Sequences::parse(scattered_file());
  std::vector<NumberMove> moves;
  for (uint32_t n = 1; n <= kMessages; n += 2) moves.push_back({n, n / 2 + 1});
  for (auto _ : state) {
    Sequences copy = sequences;
    copy.renumber(moves, true);
    benchmark::DoNotOptimize(copy);
  }
}
BENCHMARK(renumber_all)->Unit(benchmark::kMicrosecond);

void read_flags(benchmark::State& state) {
  const auto map = FlagMap::make({});
  const Sequences sequences = Sequences::parse(scattered_file());
  for (auto _ : state) benchmark::DoNotOptimize(map->read(sequences));
}
BENCHMARK(read_flags)->Unit(benchmark::kMicrosecond);

std::string journal_lines() {
  std::string text;
  for (uint32_t uid = 1; uid <= kMessages; ++uid) {
    JournalLineWriter(text, 'I')
        .number(uid)
        .number(uid)
        .number(uint64_t{1234567} + uid)
        .number(int64_t{1700000000000000000} + uid)
        .number(132u)
        .hash(uid * uint64_t{0x9e3779b97f4a7c15})
        .end();
  }
  return text;
}

void write_journal(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(journal_lines());
}
BENCHMARK(write_journal)->Unit(benchmark::kMillisecond);

void read_journal(benchmark::State& state) {
  const std::string text = journal_lines();
  for (auto _ : state) {
    uint64_t good = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t newline = text.find('\n', at);
      JournalLineReader reader(std::string_view(text).substr(at, newline - at));
      uint32_t uid = 0, number = 0, prefix = 0;
      uint64_t inode = 0, hash = 0;
      int64_t mtime = 0;
      reader.number(uid).number(number).number(inode).number(mtime).number(prefix).hash(hash);
      good += reader.end() ? 1 : 0;
      at = newline + 1;
    }
    if (good != kMessages) state.SkipWithError("a line was not read");
  }
}
BENCHMARK(read_journal)->Unit(benchmark::kMillisecond);

// A block of 4096 bytes of a tagged message, and of one that is not tagged.
void find_visible_part(benchmark::State& state) {
  const TagKey key = {1};
  Tag tag;
  tag.uidvalidity = tag.uid = 1;
  std::string file = state.range(0) != 0 ? format_tag(tag, key) : "";
  while (file.size() < 4000) file += "Received: from a.example by b.example with ESMTP id 4711\n";
  file += "\nbody\n";
  for (auto _ : state) {
    const PrefixScan scan = scan_prefix(file, false);
    benchmark::DoNotOptimize(choose_tag(scan, key, nullptr));
  }
}
BENCHMARK(find_visible_part)->Arg(0)->Arg(1)->Unit(benchmark::kNanosecond);

void fingerprint_of_bytes(benchmark::State& state) {
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(fingerprint(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(fingerprint_of_bytes)->Arg(2048)->Arg(1 << 20)->Unit(benchmark::kNanosecond);

}  // namespace
}  // namespace mh

BENCHMARK_MAIN();
