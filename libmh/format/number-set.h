// SPDX-License-Identifier: LGPL-2.1-or-later
//
// NumberSet: a set of message numbers or UIDs, kept as sorted ranges that neither overlap nor
// touch.
//
// 100,000 messages in one unseen sequence are one range or a few; all work between sets is linear
// in the number of ranges. Appending at the end is constant; inserting in the middle moves what
// lies behind, so a set in random order is built by from_ranges().
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/result.h"

namespace mh {

struct NumberRange {
  uint32_t first = 0;
  uint32_t last = 0;  // itself in the range
  bool operator==(const NumberRange&) const = default;
};

// The largest number that a sequence may name: nmh keeps numbers in an int, unchecked.
inline constexpr uint32_t kMaxNmhNumber = 2147483647;

class NumberSet {
 public:
  NumberSet() = default;
  NumberSet(std::initializer_list<uint32_t> numbers);
  // In any order, overlapping or not; ranges with first > last are skipped.
  static NumberSet from_ranges(std::vector<NumberRange> ranges);

  bool empty() const { return ranges_.empty(); }
  uint64_t count() const;
  bool contains(uint32_t number) const;
  // Of a set that is not empty.
  uint32_t min() const { return ranges_.front().first; }
  uint32_t max() const { return ranges_.back().last; }
  std::span<const NumberRange> ranges() const { return ranges_; }

  void clear() { ranges_.clear(); }
  void add(uint32_t number) { add_range(number, number); }
  void remove(uint32_t number) { remove_range(number, number); }
  // Nothing happens when first > last.
  void add_range(uint32_t first, uint32_t last);
  void remove_range(uint32_t first, uint32_t last);

  void unite(const NumberSet& other);
  void subtract(const NumberSet& other);
  void intersect(const NumberSet& other);

  // Calls visit(uint32_t), ascending; it must not change this set. A sequence can name 2^31 numbers
  // in one token: intersect it with those that exist first.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const NumberRange& range : ranges_) {
      for (uint64_t number = range.first; number <= range.last; ++number) {
        visit(static_cast<uint32_t>(number));
      }
    }
  }
  bool operator==(const NumberSet&) const = default;

  // As nmh writes a sequence (sbr/seq_list.c): "1-4 9", a range for two neighbours as well.
  std::string print_nmh() const;
  void append_nmh(std::string& out) const;

  // As nmh reads a sequence (sbr/seq_read.c, m_atoi.c; measured): tokens between blanks, "N" or
  // "N-M", leading zeros allowed, text after a NUL ignored. A token that is neither, such as "3-",
  // "-3", "5-3", "1,2", "x", is ignored, as nmh ignores it; a number over kMaxNmhNumber, which
  // would wrap in nmh, is ignored as well. Never fails; each kind of fault is one text in
  // `problems` (may be null).
  static NumberSet parse_nmh(std::string_view text, std::vector<std::string>* problems = nullptr);

  // Our own compact form, "1-5,7"; "" is the empty set. The parser accepts what the printer prints
  // and nothing else, so that equal sets are equal texts; kInvalid.
  std::string print_uids() const;
  static Result<NumberSet> parse_uids(std::string_view text);

 private:
  std::vector<NumberRange> ranges_;
};

// The current message that a "cur" line names for nmh: the start of its last token that starts with
// a number, even where the token is no range ("2-4" is 2, "3-" is 3, "1 2 3" is 3).
std::optional<uint32_t> parse_nmh_cur(std::string_view text);

}  // namespace mh
