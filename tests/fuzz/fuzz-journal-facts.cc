// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The lines of a journal, each with the right check put behind it: whatever they say, in whatever
// order, no dropped UID lives, none that lives is given again, and a compaction forgets nothing.
#include "libmh/store/journal-facts.h"

#include <string>

#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"
#include "tests/fuzz/fuzz.h"

namespace {

std::string with_check(std::string_view text) {
  std::string line(text);
  line += ' ';
  mh::append_hex64(line, mh::fingerprint(text));
  return line;
}

void check_sane(const mh::JournalState& state) {
  for (const auto& [uid, record] : state.records) {
    FUZZ_CHECK(uid != 0 && record.uid == uid && state.alive.contains(uid));
  }
  for (const auto& [uid, tombstone] : state.tombstones) {
    FUZZ_CHECK(uid != 0 && tombstone.uid == uid && !state.alive.contains(uid));
    FUZZ_CHECK(uid < state.uidnext);
  }
  if (state.alive.empty()) return;
  FUZZ_CHECK(state.alive.max() < state.uidnext_limit);
  FUZZ_CHECK(state.alive.max() < state.uidnext);
}

void check_compaction(const mh::JournalState& state) {
  std::string text;
  mh::print_facts(text, state);
  mh::JournalState again;
  mh::FuzzInput lines(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  while (!lines.empty()) FUZZ_CHECK(mh::apply_line(lines.until('\n'), again).good);
  FUZZ_CHECK(again.directory == state.directory && again.options == state.options);
  FUZZ_CHECK(again.uidnext == state.uidnext && again.uidnext_limit == state.uidnext_limit);
  FUZZ_CHECK(again.modseq_floor == state.modseq_floor && again.alive == state.alive);
  FUZZ_CHECK(again.records == state.records && again.tombstones == state.tombstones);
  FUZZ_CHECK(again.pending_sequences == state.pending_sequences);
  FUZZ_CHECK(again.pending_flags == state.pending_flags);
  FUZZ_CHECK(again.untold == state.untold);
  FUZZ_CHECK(again.renumbering == state.renumbering && again.renumbered == state.renumbered);
}

void check_first_lines(const std::string& line) {
  std::string printed;
  if (const auto header = mh::parse_header(line)) {
    mh::print_header(printed, *header);
    FUZZ_CHECK(printed == line + "\n");
  } else if (const auto seal = mh::parse_seal(line)) {
    mh::print_seal(printed, *seal);
    FUZZ_CHECK(printed == line + "\n");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  mh::JournalState state;
  uint64_t floor = 0;
  uint32_t limit = 0;
  while (!input.empty()) {
    const std::string_view text = input.until('\n');
    const std::string line = with_check(text);
    check_first_lines(line);
    mh::apply_line(text, state);
    mh::apply_line(line, state);
    FUZZ_CHECK(state.modseq_floor >= floor && state.uidnext_limit >= limit);
    floor = state.modseq_floor;
    limit = state.uidnext_limit;
    check_sane(state);
  }
  check_compaction(state);
  mh::jump(state, 2'000'000'000 * mh::kSecond);
  check_sane(state);
  FUZZ_CHECK(state.uidnext_limit >= limit && state.modseq_floor >= floor);
  return 0;
}
