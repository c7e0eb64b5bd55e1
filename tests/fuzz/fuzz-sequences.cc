// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A sequences file of any bytes.
#include "libmh/format/sequences.h"

#include "tests/fuzz/fuzz.h"

namespace {

// What nmh, exmh, mutt and Python all read: see the header of sequences.h.
void check_healthy(std::string_view text) {
  mh::FuzzInput input(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  FUZZ_CHECK(text.empty() || text.back() == '\n');
  while (!input.empty()) {
    const std::string_view line = input.until('\n');
    FUZZ_CHECK(!line.empty() && line[0] != ' ' && line[0] != '\t' && line[0] != '-');
    FUZZ_CHECK(line.find(':') <= 996);
    FUZZ_CHECK(line.find('\0') == std::string_view::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const size_t old_size = input.byte();
  const mh::Sequences sequences = mh::Sequences::parse(input.rest());

  const std::string text = sequences.print();
  check_healthy(text);
  std::vector<std::string> problems;
  const mh::Sequences again = mh::Sequences::parse(text, &problems);
  FUZZ_CHECK(again.print() == text);
  FUZZ_CHECK(problems.empty() || sequences.find("#") != nullptr);
  FUZZ_CHECK(again.hash_without_cur() == sequences.hash_without_cur());

  const std::string padded = sequences.print_padded(old_size, "unseen");
  check_healthy(padded);
  FUZZ_CHECK(padded.size() >= old_size);
  FUZZ_CHECK(mh::Sequences::parse(padded).print() == text);

  mh::Sequences swapped = sequences;
  const mh::NumberMove moves[] = {{1, 2}, {2, 1}, {3, 7}, {7, 3}};
  swapped.renumber(moves, true);
  FUZZ_CHECK(swapped.names().size() == sequences.names().size());
  swapped.renumber(moves, true);
  FUZZ_CHECK(swapped.print() == text);
  return 0;
}
