// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A message file of any bytes; "@1\n".."@9\n" in it stand for genuine tag lines, "@a\n".."@z\n" for
// tag lines of another root, "@@\n" for the placeholder: no fuzzer guesses a keyed hash.
#include "libmh/format/visible-part.h"

#include "tests/fuzz/fuzz.h"

namespace {

constexpr mh::TagKey kKey = {1, 2, 3};
constexpr mh::TagKey kForeignKey = {4, 5, 6};

mh::Tag tag_of(char name) {
  mh::Tag tag;
  tag.uidvalidity = 1;
  tag.uid = static_cast<uint8_t>(name) + 1u;
  return tag;
}

std::string expanded(std::string_view text) {
  std::string file;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view mark = text.substr(i, 3);
    if (mark.size() < 3 || mark[0] != '@' || mark[2] != '\n') {
      file += text[i];
      continue;
    }
    if (mark[1] == '@') {
      file += mh::tag_placeholder();
    } else {
      file += mh::format_tag(tag_of(mark[1]), mark[1] <= '9' ? kKey : kForeignKey);
    }
    i += 2;
  }
  return file;
}

bool at_line_start(std::string_view file, size_t offset) {
  return offset <= file.size() && (offset == 0 || file[offset - 1] == '\n');
}

void check_choice(std::string_view file, const mh::TagChoice& choice) {
  FUZZ_CHECK(at_line_start(file, choice.visible_offset));
  if (choice.kind == mh::TagChoice::Kind::kNone) return;
  FUZZ_CHECK(choice.visible_offset >= mh::kTagLineSize);
  FUZZ_CHECK(at_line_start(file, choice.visible_offset - mh::kTagLineSize));
}

// Adoption puts a tag where the message begins, in place of one that does not verify. Then it is
// the tag that counts, known or not, and the message is the same.
void check_adoption(std::string_view file, const mh::TagChoice& choice) {
  using Kind = mh::TagChoice::Kind;
  if (choice.kind != Kind::kNone && choice.kind != Kind::kUnverified) return;
  const size_t old_tag = choice.kind == Kind::kNone ? 0 : mh::kTagLineSize;
  const mh::Tag tag = tag_of('~');
  std::string adopted(file.substr(0, choice.visible_offset - old_tag));
  adopted += mh::format_tag(tag, kKey);
  const size_t visible = adopted.size();
  adopted += file.substr(choice.visible_offset);
  if (visible > mh::kMaxPrefix) return;
  const mh::PrefixScan scan = mh::scan_prefix(adopted, true);
  for (const mh::Tag* recorded : {&tag, static_cast<const mh::Tag*>(nullptr)}) {
    const mh::TagChoice after = mh::choose_tag(scan, kKey, recorded);
    FUZZ_CHECK(after.kind == (recorded != nullptr ? Kind::kRecorded : Kind::kVerified));
    FUZZ_CHECK(after.visible_offset == visible && after.tag == tag && !after.must_match_content);
    FUZZ_CHECK(after.replied == choice.replied && after.forwarded == choice.forwarded);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const size_t cut = input.byte() * 7u;
  const mh::Tag known = tag_of('5');
  const std::string file = expanded(input.rest());
  const std::string_view start = std::string_view(file).substr(0, cut);
  const mh::PrefixScan whole = mh::scan_prefix(file, true);
  const mh::PrefixScan part = mh::scan_prefix(start, false);
  FUZZ_CHECK(!whole.more_needed && !whole.prefix_open);
  for (const mh::Tag* recorded : {&known, static_cast<const mh::Tag*>(nullptr)}) {
    const mh::TagChoice choice = mh::choose_tag(whole, kKey, recorded);
    FUZZ_CHECK(choice.settled);
    check_choice(file, choice);
    const mh::TagChoice partial = mh::choose_tag(part, kKey, recorded);
    check_choice(start, partial);
    FUZZ_CHECK(partial.settled || part.more_needed);
    if (partial.settled && cut < file.size()) {
      FUZZ_CHECK(partial.kind == choice.kind && partial.visible_offset == choice.visible_offset);
    }
    const mh::TagChoice refuted = mh::choose_tag(whole, kKey, recorded, true);
    check_choice(file, refuted);
    FUZZ_CHECK(!refuted.must_match_content);
    if (recorded == nullptr) check_adoption(file, refuted);
  }
  if (const auto parsed = mh::parse_tag(std::string_view(file).substr(0, mh::kTagLineSize))) {
    const std::string line = mh::format_tag(parsed->tag, kKey);
    FUZZ_CHECK(line.substr(0, line.size() - 17) == file.substr(0, line.size() - 17));
    FUZZ_CHECK(mh::verify(*parsed, kKey) == (line == file.substr(0, line.size())));
  }
  return 0;
}
