// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sequence lines and UID sets: two lines of text, any bytes.
#include "libmh/format/number-set.h"
#include "tests/fuzz/fuzz.h"

namespace {

void check_sound(const mh::NumberSet& set) {
  uint64_t next_allowed = 0;
  for (const mh::NumberRange& range : set.ranges()) {
    FUZZ_CHECK(range.first <= range.last);
    FUZZ_CHECK(range.first >= next_allowed);
    next_allowed = uint64_t{range.last} + 2;
  }
}

void check_printed(const mh::NumberSet& set) {
  check_sound(set);
  std::vector<std::string> problems;
  FUZZ_CHECK(mh::NumberSet::parse_nmh(set.print_nmh(), &problems) == set);
  FUZZ_CHECK(problems.empty());
  FUZZ_CHECK(mh::NumberSet::parse_uids(set.print_uids()) == set);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mh::FuzzInput input(data, size);
  const std::string_view first = input.until('\n');
  const mh::NumberSet a = mh::NumberSet::parse_nmh(first);
  const mh::NumberSet b = mh::NumberSet::parse_nmh(input.rest());
  mh::NumberSet both = a, common = a, rest = a;
  both.unite(b);
  common.intersect(b);
  rest.subtract(b);
  for (const mh::NumberSet& set : {a, b, both, common, rest}) check_printed(set);
  FUZZ_CHECK(both.count() + common.count() == a.count() + b.count());
  FUZZ_CHECK(rest.count() + common.count() == a.count());
  rest.unite(common);
  FUZZ_CHECK(rest == a);
  mh::NumberSet one_by_one = a;
  for (const mh::NumberRange& range : b.ranges()) one_by_one.add_range(range.first, range.last);
  FUZZ_CHECK(one_by_one == both);
  for (const mh::NumberRange& range : b.ranges()) one_by_one.remove_range(range.first, range.last);
  both.subtract(b);
  FUZZ_CHECK(one_by_one == both);

  if (const auto uids = mh::NumberSet::parse_uids(first)) {
    check_sound(*uids);
    FUZZ_CHECK(uids->print_uids() == first);
  }
  const auto cur = mh::parse_nmh_cur(first);
  FUZZ_CHECK(!cur || (*cur > 0 && *cur <= mh::kMaxNmhNumber));
  return 0;
}
