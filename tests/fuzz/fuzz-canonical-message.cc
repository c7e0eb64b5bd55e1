// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A message of any bytes, cut into pieces of the size of the first byte.
#include "libmh/format/canonical-message.h"

#include "tests/fuzz/fuzz.h"

namespace {

std::string form(std::string_view text, size_t piece) {
  mh::CanonicalMessage message;
  std::string out;
  while (!text.empty()) {
    message.add(text.substr(0, piece));
    text.remove_prefix(std::min(piece, text.size()));
    out += message.take();
  }
  message.finish();
  return out + message.take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const size_t piece = input.byte() + 1u;
  const std::string_view text = input.rest();
  const std::string whole = form(text, text.size() + 1);
  FUZZ_CHECK(whole == form(text, piece));
  FUZZ_CHECK(whole.starts_with("canonical\n") || whole.starts_with("as it is\n"));
  // What was written on the way does not count, wherever it stands in front.
  if (mh::has_whole_header(text) && text[0] != ' ' && text[0] != '\t') {
    FUZZ_CHECK(whole == form("Received: from a\n\tby b\n" + std::string(text), piece));
  }
  const auto id = mh::message_id_of(text);
  FUZZ_CHECK(!id || !id->empty());
  return 0;
}
