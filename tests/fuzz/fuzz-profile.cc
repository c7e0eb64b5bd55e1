// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A profile or context file of any bytes.
#include "libmh/format/profile.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const mh::Profile profile = mh::Profile::parse(input.rest());

  std::string text;
  for (const mh::Component& component : profile.components()) {
    FUZZ_CHECK(component.name.find_first_of(":\n") == std::string::npos);
    FUZZ_CHECK(component.name.size() <= mh::kMaxComponentName);
    FUZZ_CHECK(component.value.find_first_of("\t\n\r\v\f") == std::string::npos);
    FUZZ_CHECK(component.value.empty() ||
               (component.value.front() != ' ' && component.value.back() != ' '));
    text += component.name + ": " + component.value + "\n";
  }
  // Printed as it was read, it says the same: at least if no name begins with a blank or dash.
  const mh::Profile again = mh::Profile::parse(text);
  FUZZ_CHECK(again.components().size() <= profile.components().size());
  FUZZ_CHECK(again.inbox() == profile.inbox());
  FUZZ_CHECK(again.datalocking() == profile.datalocking());

  FUZZ_CHECK(!profile.unseen_sequences().empty());
  for (const auto& names : {profile.unseen_sequences(), profile.previous_sequences()}) {
    for (const std::string& name : names) {
      FUZZ_CHECK(!name.empty() && name.find(' ') == std::string::npos);
    }
  }
  FUZZ_CHECK(profile.msg_protect() <= 07777 && profile.folder_protect() <= 07777);
  FUZZ_CHECK(!profile.inbox().empty());
  return 0;
}
