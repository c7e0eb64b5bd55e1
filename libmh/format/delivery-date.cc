// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/delivery-date.h"

#include <chrono>

#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
constexpr std::string_view kWeekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};

struct NamedZone {
  std::string_view name;
  int hours;
};
// RFC 5322, 4.3. Every other name says no more than UTC.
constexpr NamedZone kZones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
                                {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};

// The index of a name, whole or cut to three letters.
template <size_t N>
std::optional<unsigned> index_of(std::string_view word, const std::string_view (&names)[N]) {
  for (unsigned i = 0; i < N; ++i) {
    if (equal_ignoring_case(word, names[i].substr(0, 3)) || equal_ignoring_case(word, names[i])) {
      return i;
    }
  }
  return std::nullopt;
}

// Takes the parts of a date off its front. Blanks and comments before each part are skipped; once
// a part was wrong, ok() is false for good.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  bool ok() const { return ok_; }
  void refuse() { ok_ = false; }
  bool at_end() {
    skip();
    return rest_.empty();
  }
  bool at_letter() {
    skip();
    return !rest_.empty() && is_alpha(rest_[0]);
  }
  bool take_if(char c) {
    skip();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view word() { return take(is_alpha); }
  int number(size_t min_digits, size_t max_digits, int max_value) {
    const std::string_view digits = take(is_digit);
    if (digits.size() < min_digits || digits.size() > max_digits) refuse();
    if (!ok_) return 0;
    int value = 0;
    for (const char c : digits) value = value * 10 + (c - '0');
    if (value > max_value) refuse();
    last_digits_ = digits.size();
    return value;
  }
  size_t last_digits() const { return last_digits_; }

 private:
  std::string_view take(bool (*belongs)(char)) {
    skip();
    size_t size = 0;
    while (size < rest_.size() && belongs(rest_[size])) ++size;
    const std::string_view part = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return part;
  }
  void skip() {
    size_t depth = 0;
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '\\' && depth > 0 && rest_.size() > 1) {
        rest_.remove_prefix(1);
      } else if (c == '(') {
        ++depth;
      } else if (c == ')' && depth > 0) {
        --depth;
      } else if (depth == 0 && !is_space(c)) {
        return;
      }
      rest_.remove_prefix(1);
    }
    if (depth > 0) refuse();
  }

  std::string_view rest_;
  bool ok_ = true;
  size_t last_digits_ = 0;
};

int read_year(DateReader& reader) {
  const int year = reader.number(2, 4, 9999);
  switch (reader.last_digits()) {
    case 2:
      return year < 50 ? year + 2000 : year + 1900;
    case 3:
      return year + 1900;
    default:
      return year;
  }
}

// Minutes east of UTC.
int read_zone(DateReader& reader) {
  const bool east = reader.take_if('+');
  if (east || reader.take_if('-')) {
    const int offset = reader.number(4, 4, 2359);
    if (offset % 100 > 59) reader.refuse();
    const int minutes = offset / 100 * 60 + offset % 100;
    return east ? minutes : -minutes;
  }
  const std::string_view name = reader.word();
  if (name.empty()) reader.refuse();
  for (const NamedZone& zone : kZones) {
    if (equal_ignoring_case(name, zone.name)) return zone.hours * 60;
  }
  return 0;
}

// Takes one line off the front, without its newline. False when there is none, or when it has no
// newline and more bytes may follow.
bool take_line(std::string_view& rest, bool is_whole, std::string_view& line) {
  const size_t newline = rest.find('\n');
  if (rest.empty() || (newline == std::string_view::npos && !is_whole)) return false;
  line = rest.substr(0, newline);
  rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
  return true;
}

}  // namespace

std::optional<std::string> find_header_field(std::string_view header, bool is_whole,
                                             std::string_view name) {
  std::string_view rest = header, line;
  while (take_line(rest, is_whole, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || begins_with_blank(line)) return std::nullopt;
    const bool found = equal_ignoring_case(trimmed(line.substr(0, colon)), name);
    std::string value(found ? trimmed(line.substr(colon + 1)) : "");
    while (begins_with_blank(rest)) {
      if (!take_line(rest, is_whole, line)) return std::nullopt;
      if (found) value.append(" ").append(trimmed(line));
    }
    if (!found) continue;
    if (rest.empty() && !is_whole) return std::nullopt;
    return std::string(trimmed(value));
  }
  return std::nullopt;
}

std::optional<int64_t> parse_date(std::string_view text) {
  DateReader reader(text);
  if (reader.at_letter()) {
    if (!index_of(reader.word(), kWeekdays)) return std::nullopt;
    (void)reader.take_if(',');
  }
  const int day = reader.number(1, 2, 31);
  const auto month = index_of(reader.word(), kMonths);
  const int year = read_year(reader);
  const int hour = reader.number(1, 2, 23);
  if (!reader.take_if(':')) return std::nullopt;
  const int minute = reader.number(2, 2, 59);
  const int second = reader.take_if(':') ? reader.number(2, 2, 60) : 0;
  const int zone = read_zone(reader);
  if (!month || !reader.at_end() || !reader.ok()) return std::nullopt;

  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(*month + 1),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const int64_t days = sys_days(date).time_since_epoch().count();
  return ((days * 24 + hour) * 60 + minute - zone) * 60 + second;
}

std::optional<uint32_t> find_delivery_date(std::string_view header, bool is_whole) {
  const auto text = find_header_field(header, is_whole, "Delivery-Date");
  const auto date = text ? parse_date(*text) : std::nullopt;
  if (!date || *date < 0 || *date > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*date);
}

}  // namespace mh
