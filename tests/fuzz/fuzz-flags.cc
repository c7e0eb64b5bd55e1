// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One line each: two unseen names, a previous name, a hidden name, the negation, a mapped keyword
// and its sequence, a keyword to be set; then a sequences file.
#include "libmh/format/flags.h"

#include "tests/fuzz/fuzz.h"

namespace {

mh::Result<mh::FlagMap> take_map(mh::FuzzInput& input) {
  mh::FlagOptions options;
  options.unseen_names = {std::string(input.until('\n')), std::string(input.until('\n'))};
  options.previous_names = {std::string(input.until('\n'))};
  options.hidden = {std::string(input.until('\n'))};
  options.negation = input.until('\n');
  const std::string keyword(input.until('\n'));
  options.keyword_map = {{keyword, std::string(input.until('\n'))}};
  auto map = mh::FlagMap::make(options);
  if (map) return map;
  options.hidden.clear();
  options.keyword_map.clear();
  return mh::FlagMap::make(options);  // a profile alone never fails
}

void check_flag(const mh::FlagMap& map, mh::Sequences sequences, mh::SystemFlag flag,
                mh::NumberSet mh::FlagSets::*set) {
  const mh::NumberSet one = {1};
  const mh::NumberSet none;
  const bool seen = flag == mh::kSeen;
  FUZZ_CHECK(map.apply(sequences, {flag, "", one, none}));
  FUZZ_CHECK((map.read(sequences).*set).contains(1) != seen);
  FUZZ_CHECK(map.apply(sequences, {flag, "", none, one}));
  FUZZ_CHECK((map.read(sequences).*set).contains(1) == seen);
}

// Setting and clearing a keyword does just that, whatever the file says, also once written and
// read.
void check_keyword(const mh::FlagMap& map, mh::Sequences sequences, const std::string& keyword) {
  const mh::NumberSet one = {1};
  const mh::NumberSet none;
  mh::FlagSets before = map.read(sequences);
  const std::string name = map.sequence_of(keyword);
  FUZZ_CHECK(map.apply(sequences, {mh::kNoFlag, keyword, one, none}) == !name.empty());
  if (name.empty()) return;
  FUZZ_CHECK(mh::is_nmh_sequence_name(name));
  const auto back = map.keyword_of(name);
  FUZZ_CHECK(back && mh::equal_ignoring_case(*back, keyword));
  const mh::FlagSets set = map.read(mh::Sequences::parse(sequences.print()));
  FUZZ_CHECK(set.keywords.at(keyword).contains(1));
  before.keywords[keyword].add(1);
  FUZZ_CHECK(set.keywords.size() == before.keywords.size());
  FUZZ_CHECK(set.unseen == before.unseen && set.answered == before.answered &&
             set.flagged == before.flagged && set.deleted == before.deleted &&
             set.draft == before.draft);
  FUZZ_CHECK(map.apply(sequences, {mh::kNoFlag, keyword, none, one}));
  const mh::FlagSets cleared = map.read(sequences);
  const auto at = cleared.keywords.find(keyword);
  FUZZ_CHECK(at == cleared.keywords.end() || !at->second.contains(1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const auto map = take_map(input);
  FUZZ_CHECK(map);
  FUZZ_CHECK(!map->unseen_names().empty());
  const std::string keyword(input.until('\n'));
  const mh::Sequences sequences = mh::Sequences::parse(input.rest());
  check_flag(*map, sequences, mh::kSeen, &mh::FlagSets::unseen);
  check_flag(*map, sequences, mh::kAnswered, &mh::FlagSets::answered);
  check_flag(*map, sequences, mh::kFlagged, &mh::FlagSets::flagged);
  check_flag(*map, sequences, mh::kDeleted, &mh::FlagSets::deleted);
  check_flag(*map, sequences, mh::kDraft, &mh::FlagSets::draft);
  check_keyword(*map, sequences, keyword);
  for (const auto& [name, numbers] : map->read(sequences).keywords) {
    FUZZ_CHECK(!numbers.empty());
    check_keyword(*map, sequences, name);
  }
  return 0;
}
