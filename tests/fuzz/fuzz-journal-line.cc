// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A line of a journal: as it stands, and again with the right check put behind it, so that what a
// good check hides is reached as well.
#include "libmh/format/journal-line.h"

#include <algorithm>
#include <vector>

#include "libmh/format/fingerprint.h"
#include "tests/fuzz/fuzz.h"

namespace {

// Every line that is read as text fields is the one that these fields are written as.
void check_spelling(const std::string& line) {
  const auto blanks = static_cast<size_t>(std::count(line.begin(), line.end(), ' '));
  mh::JournalLineReader reader(line);
  std::vector<std::string> fields(blanks == 0 ? 0 : blanks - 1);  // one blank is the check's
  for (std::string& field : fields) reader.text(field);
  if (!reader.end()) return;
  std::string written;
  mh::JournalLineWriter writer(written, reader.kind());
  for (const std::string& field : fields) writer.text(field);
  writer.end();
  FUZZ_CHECK(written == line + "\n");
}

void check_numbers(const std::string& line) {
  mh::JournalLineReader reader(line);
  uint32_t small = 0;
  int64_t large = 0;
  uint64_t hash = 0;
  std::array<uint8_t, 4> bytes{};
  if (!reader.number(small).number(large).hash(hash).bytes(bytes).end()) return;
  std::string written;
  mh::JournalLineWriter(written, reader.kind())
      .number(small)
      .number(large)
      .hash(hash)
      .bytes(bytes)
      .end();
  FUZZ_CHECK(written == line + "\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string checked = text + " ";
  mh::append_hex64(checked, mh::fingerprint(text));
  for (const std::string& line : {text, checked}) {
    check_spelling(line);
    check_numbers(line);
  }
  std::string written;
  mh::JournalLineWriter writer(written, 'T');
  writer.text(text).text("").number(int64_t{-1}).text(text);
  writer.end();
  FUZZ_CHECK(written.find('\n') == written.size() - 1);
  std::string first, empty = "x", second;
  int64_t number = 0;
  mh::JournalLineReader reader(std::string_view(written).substr(0, written.size() - 1));
  FUZZ_CHECK(reader.text(first).text(empty).number(number).text(second).end());
  FUZZ_CHECK(first == text && empty.empty() && number == -1 && second == text);
  return 0;
}
