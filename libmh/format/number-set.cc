// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/number-set.h"

#include <algorithm>
#include <iterator>

#include "libmh/format/text.h"

namespace mh {
namespace {

// Appends to ranges that are sorted by `first`, joining what overlaps or touches.
void append_joined(std::vector<NumberRange>& ranges, NumberRange range) {
  if (!ranges.empty() && uint64_t{ranges.back().last} + 1 >= range.first) {
    ranges.back().last = std::max(ranges.back().last, range.last);
  } else {
    ranges.push_back(range);
  }
}

void append_ranges(std::string& out, std::span<const NumberRange> ranges, char separator) {
  for (const NumberRange& range : ranges) {
    if (&range != ranges.data()) out.push_back(separator);
    append_decimal(out, range.first);
    if (range.last == range.first) continue;
    out.push_back('-');
    append_decimal(out, range.last);
  }
}

std::string_view next_nmh_token(std::string_view& rest) {
  size_t begin = 0;
  while (begin < rest.size() && is_space(rest[begin])) ++begin;
  size_t end = begin;
  while (end < rest.size() && !is_space(rest[end])) ++end;
  const std::string_view token = rest.substr(begin, end - begin);
  rest.remove_prefix(end);
  return token;
}

// As m_atoi(): 0 for what is no number; more than kMaxNmhNumber for one that is too large.
uint64_t nmh_number(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return 0;
    value = std::min(value * 10 + static_cast<uint64_t>(c - '0'), uint64_t{kMaxNmhNumber} + 1);
  }
  return value;
}

struct NmhToken {
  uint64_t first = 0;
  uint64_t last = 0;
};

NmhToken parse_nmh_token(std::string_view token) {
  const size_t dash = token.find('-');
  const uint64_t first = nmh_number(token.substr(0, dash));
  return {first, dash == std::string_view::npos ? first : nmh_number(token.substr(dash + 1))};
}

// Faults of one kind, told as one text however many there are: a hostile line holds 100,000.
struct FaultCount {
  uint64_t count = 0;
  std::string_view first;

  void note(std::string_view token) {
    if (count++ == 0) first = token;
  }
  void report(std::string_view what, std::vector<std::string>* problems) const {
    if (count == 0 || problems == nullptr) return;
    std::string text(what);
    text.append(" ignored: ").append(quoted(first));
    if (count > 1) text.append(" and ").append(std::to_string(count - 1)).append(" more");
    problems->push_back(std::move(text));
  }
};

}  // namespace

NumberSet::NumberSet(std::initializer_list<uint32_t> numbers) {
  std::vector<NumberRange> ranges;
  ranges.reserve(numbers.size());
  for (const uint32_t number : numbers) ranges.push_back({number, number});
  *this = from_ranges(std::move(ranges));
}

NumberSet NumberSet::from_ranges(std::vector<NumberRange> ranges) {
  std::erase_if(ranges, [](const NumberRange& range) { return range.first > range.last; });
  const auto by_first = [](const NumberRange& a, const NumberRange& b) {
    return a.first < b.first;
  };
  if (!std::is_sorted(ranges.begin(), ranges.end(), by_first)) {
    std::sort(ranges.begin(), ranges.end(), by_first);
  }
  NumberSet set;
  set.ranges_.reserve(ranges.size());
  for (const NumberRange& range : ranges) append_joined(set.ranges_, range);
  return set;
}

uint64_t NumberSet::count() const {
  uint64_t sum = 0;
  for (const NumberRange& range : ranges_) sum += uint64_t{range.last} - range.first + 1;
  return sum;
}

bool NumberSet::contains(uint32_t number) const {
  const auto range = std::lower_bound(
      ranges_.begin(), ranges_.end(), number,
      [](const NumberRange& candidate, uint32_t wanted) { return candidate.last < wanted; });
  return range != ranges_.end() && range->first <= number;
}

void NumberSet::add_range(uint32_t first, uint32_t last) {
  if (first > last) return;
  if (ranges_.empty() || ranges_.back().first <= first) {
    append_joined(ranges_, {first, last});
    return;
  }
  // [begin, end) are the ranges that overlap or touch the new one.
  const auto begin = std::lower_bound(
      ranges_.begin(), ranges_.end(), first,
      [](const NumberRange& range, uint32_t wanted) { return uint64_t{range.last} + 1 < wanted; });
  auto end = begin;
  while (end != ranges_.end() && end->first <= uint64_t{last} + 1) ++end;
  if (begin == end) {
    ranges_.insert(begin, {first, last});
    return;
  }
  begin->first = std::min(begin->first, first);
  begin->last = std::max(std::prev(end)->last, last);
  ranges_.erase(std::next(begin), end);
}

void NumberSet::remove_range(uint32_t first, uint32_t last) {
  if (first > last) return;
  const auto begin = std::lower_bound(
      ranges_.begin(), ranges_.end(), first,
      [](const NumberRange& range, uint32_t wanted) { return range.last < wanted; });
  auto end = begin;
  while (end != ranges_.end() && end->first <= last) ++end;
  if (begin == end) return;
  const NumberRange front = *begin;
  const NumberRange back = *std::prev(end);
  auto at = ranges_.erase(begin, end);
  if (back.last > last) at = ranges_.insert(at, {last + 1, back.last});
  if (front.first < first) ranges_.insert(at, {front.first, first - 1});
}

void NumberSet::unite(const NumberSet& other) {
  if (other.empty()) return;
  if (empty()) {
    *this = other;
    return;
  }
  std::vector<NumberRange> joined;
  joined.reserve(ranges_.size() + other.ranges_.size());
  auto mine = ranges_.begin();
  auto theirs = other.ranges_.begin();
  while (mine != ranges_.end() || theirs != other.ranges_.end()) {
    const bool take_mine =
        theirs == other.ranges_.end() || (mine != ranges_.end() && mine->first <= theirs->first);
    append_joined(joined, take_mine ? *mine++ : *theirs++);
  }
  ranges_ = std::move(joined);
}

void NumberSet::subtract(const NumberSet& other) {
  if (empty() || other.empty()) return;
  std::vector<NumberRange> kept;
  kept.reserve(ranges_.size());
  auto cut = std::lower_bound(
      other.ranges_.begin(), other.ranges_.end(), min(),
      [](const NumberRange& range, uint32_t wanted) { return range.last < wanted; });
  for (const NumberRange& range : ranges_) {
    uint64_t from = range.first;  // what is left of `range` starts here
    while (cut != other.ranges_.end() && cut->last < from) ++cut;
    for (auto next = cut; next != other.ranges_.end() && next->first <= range.last; ++next) {
      if (next->first > from) kept.push_back({static_cast<uint32_t>(from), next->first - 1});
      from = uint64_t{next->last} + 1;
      cut = next;
    }
    if (from <= range.last) kept.push_back({static_cast<uint32_t>(from), range.last});
  }
  ranges_ = std::move(kept);
}

void NumberSet::intersect(const NumberSet& other) {
  std::vector<NumberRange> common;
  auto mine = ranges_.begin();
  auto theirs = other.ranges_.begin();
  while (mine != ranges_.end() && theirs != other.ranges_.end()) {
    const uint32_t first = std::max(mine->first, theirs->first);
    const uint32_t last = std::min(mine->last, theirs->last);
    if (first <= last) common.push_back({first, last});
    if (mine->last < theirs->last) {
      ++mine;
    } else {
      ++theirs;
    }
  }
  ranges_ = std::move(common);
}

std::string NumberSet::print_nmh() const {
  std::string out;
  append_nmh(out);
  return out;
}

void NumberSet::append_nmh(std::string& out) const { append_ranges(out, ranges_, ' '); }

NumberSet NumberSet::parse_nmh(std::string_view text, std::vector<std::string>* problems) {
  FaultCount senseless, too_large;
  std::vector<NumberRange> ranges;
  std::string_view rest = text.substr(0, text.find('\0'));
  for (auto token = next_nmh_token(rest); !token.empty(); token = next_nmh_token(rest)) {
    const NmhToken range = parse_nmh_token(token);
    if (range.first > kMaxNmhNumber || range.last > kMaxNmhNumber) {
      too_large.note(token);
    } else if (range.first == 0 || range.first > range.last) {
      senseless.note(token);
    } else {
      ranges.push_back({static_cast<uint32_t>(range.first), static_cast<uint32_t>(range.last)});
    }
  }
  senseless.report("what is neither number nor range", problems);
  too_large.report("number over 2147483647", problems);
  if (problems != nullptr && text.find('\0') != std::string_view::npos) {
    problems->push_back("text after a NUL ignored");
  }
  return from_ranges(std::move(ranges));
}

std::string NumberSet::print_uids() const {
  std::string out;
  append_ranges(out, ranges_, ',');
  return out;
}

Result<NumberSet> NumberSet::parse_uids(std::string_view text) {
  NumberSet set;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view token = text.substr(0, comma);
    const size_t dash = token.find('-');
    const auto first = parse_u32(token.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_u32(token.substr(dash + 1));
    const bool canonical =
        first && last && *first <= *last && (dash == std::string_view::npos || *first < *last) &&
        (set.empty() || uint64_t{set.max()} + 1 < *first) && comma + 1 != text.size();
    if (!canonical) return fail(ErrorKind::kInvalid, "not a set of UIDs: " + quoted(text));
    set.ranges_.push_back({*first, *last});
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return set;
}

std::optional<uint32_t> parse_nmh_cur(std::string_view text) {
  std::optional<uint32_t> cur;
  std::string_view rest = text.substr(0, text.find('\0'));
  for (auto token = next_nmh_token(rest); !token.empty(); token = next_nmh_token(rest)) {
    const uint64_t first = parse_nmh_token(token).first;
    if (first > 0 && first <= kMaxNmhNumber) cur = static_cast<uint32_t>(first);
  }
  return cur;
}

}  // namespace mh
