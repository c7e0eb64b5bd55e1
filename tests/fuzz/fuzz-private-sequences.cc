// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A folder path, a newline, a public sequences file, a NUL, what is wanted, a NUL, and a context
// file of any bytes.
#include "libmh/format/private-sequences.h"

#include <set>
#include <string>
#include <vector>

#include "libmh/format/component-text.h"
#include "libmh/format/text.h"
#include "tests/fuzz/fuzz.h"

namespace {

// The components that are not of the folder, each with all its bytes.
std::vector<std::string> others(std::string_view context, const std::string& folder) {
  std::vector<std::string> found;
  for (const mh::Component& component : mh::parse_components(context).components) {
    FUZZ_CHECK(component.begin < component.end && component.end <= context.size());
    const bool ours = component.name.starts_with("atr-") &&
                      component.name.ends_with("-" + folder) &&
                      component.name.size() > folder.size() + 5;
    if (ours) continue;
    found.emplace_back(context.substr(component.begin, component.end - component.begin));
    // The line of another gets its newline when one of ours comes behind it, and may lose or get
    // blank lines that continue it.
    while (!found.back().empty() && mh::is_space(found.back().back())) found.back().pop_back();
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const std::string folder(input.until('\n'));
  const mh::Sequences public_ones = mh::Sequences::parse(input.until('\0'));
  mh::Sequences wanted = mh::Sequences::parse(input.until('\0'));
  const std::string_view context = input.rest();

  const mh::Sequences now = mh::with_private_sequences(context, folder, public_ones);
  FUZZ_CHECK(mh::Sequences::parse(now.print()).print() == now.print());
  if (!mh::can_have_private_sequences(folder)) return 0;
  FUZZ_CHECK(mh::set_private_sequences(context, folder, public_ones, now) == context);

  wanted.erase("");  // no line can name it
  for (const std::string_view name : std::vector<std::string_view>(wanted.names())) {
    if (name.size() > 100) wanted.erase(name);
  }
  if (wanted.cur() == 0) wanted.set_cur(now.cur());
  const std::string text = mh::set_private_sequences(context, folder, public_ones, wanted);
  const mh::Sequences again = mh::with_private_sequences(text, folder, public_ones);
  // A private or public sequence that makes no line of its own cannot be cleared.
  for (const std::string_view name : wanted.names()) {
    FUZZ_CHECK(again.find(name) != nullptr && *again.find(name) == *wanted.find(name));
  }
  FUZZ_CHECK(again.cur() == wanted.cur());
  FUZZ_CHECK(others(text, folder) == others(context, folder));
  FUZZ_CHECK(mh::set_private_sequences(text, folder, public_ones, wanted) == text);
  return 0;
}
