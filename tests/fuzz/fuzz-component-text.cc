// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Profile, context or sequences file of any bytes: what is read can be written again, and is read
// as the same then, without a complaint.
#include "libmh/format/component-text.h"

#include <algorithm>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace {

// A line that nmh and we would read as this component.
std::string written(const mh::Component& component) {
  return component.name + ": " + component.value + "\n";
}

void check_component(const mh::Component& component) {
  constexpr std::string_view kNever("\0\n", 2);
  FUZZ_CHECK(component.name.size() <= mh::kMaxComponentName);
  FUZZ_CHECK(component.name.find_first_of(kNever) == std::string::npos);
  FUZZ_CHECK(component.name.find(':') == std::string::npos);
  FUZZ_CHECK(component.name.empty() || component.name[0] != '-');
  FUZZ_CHECK(component.value.find_first_of(kNever) == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const mh::ComponentText read = mh::parse_components(text);
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  FUZZ_CHECK(read.components.size() <= lines);
  std::string again;
  for (const mh::Component& component : read.components) {
    check_component(component);
    again += written(component);
  }
  const mh::ComponentText second = mh::parse_components(again);
  FUZZ_CHECK(second.problems.empty());
  FUZZ_CHECK(second.components.size() == read.components.size());
  for (size_t i = 0; i < read.components.size(); ++i) {
    FUZZ_CHECK(second.components[i].name == read.components[i].name);
    FUZZ_CHECK(second.components[i].value == read.components[i].value);
  }
  return 0;
}
