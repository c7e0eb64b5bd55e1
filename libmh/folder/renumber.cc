// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/renumber.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "libmh/system/filename.h"

namespace mh {
namespace {

const NumberSet& set_in(const Sequences& sequences, std::string_view name) {
  static const NumberSet kNone;
  const NumberSet* found = sequences.find(name);
  return found != nullptr ? *found : kNone;
}

NumberSet set_of(std::span<const MovedMessage> messages, uint32_t MovedMessage::*number) {
  std::vector<NumberRange> ranges;
  ranges.reserve(messages.size());
  for (const MovedMessage& message : messages) {
    if (message.*number != 0) ranges.push_back({message.*number, message.*number});
  }
  return NumberSet::from_ranges(std::move(ranges));
}

class Carrying {
 public:
  Carrying(const Sequences& found, const Sequences& before, std::span<const MovedMessage> messages,
           bool written)
      : found_(found),
        before_(before),
        messages_(messages),
        written_(written),
        from_(set_of(messages, &MovedMessage::from)),
        to_(set_of(messages, &MovedMessage::to)),
        now_(set_of(messages, &MovedMessage::now)),
        touched_(from_) {
    touched_.unite(to_);
    NumberSet concerned = touched_;
    concerned.unite(now_);
    for (const Sequences* sequences : {&found, &before}) {
      for (const std::string_view name : sequences->names()) {
        NumberSet numbers = *sequences->find(name);
        numbers.intersect(concerned);
        if (!numbers.empty()) names_.emplace(name);
      }
    }
  }

  Sequences run();

 private:
  // The file as it was before, or as we have written it after: nobody else has.
  enum class Text { kBefore, kAfter, kOthers };

  NumberSet after_of(const NumberSet& before, size_t moves) const;
  void find_written(std::string_view name, std::vector<bool>* possible) const;
  Text whose_text();
  bool shown_before(size_t i, bool was_moved, std::string_view name) const;
  size_t misses(size_t i, bool was_moved) const;
  bool is_plain() const;
  std::vector<bool> find_shown() const;
  std::vector<bool> best_prefix() const;
  NumberSet carried(std::string_view name) const;
  uint32_t current() const;

  const Sequences& found_;
  const Sequences& before_;
  std::span<const MovedMessage> messages_;
  bool written_;
  NumberSet from_, to_, now_, touched_;
  std::set<std::string, std::less<>> names_;
  Text text_ = Text::kBefore;
  size_t written_moves_ = 0;  // that had been made when we wrote it
  // Of each message, whether others found it under the new number with the old sequences.
  std::vector<bool> found_moved_;
};

// In new numbers, when so many moves had been made.
NumberSet Carrying::after_of(const NumberSet& before, size_t moves) const {
  NumberSet after = before;
  after.subtract(touched_);
  std::vector<NumberRange> here;
  for (size_t i = 0; i < messages_.size(); ++i) {
    const MovedMessage& message = messages_[i];
    const uint32_t number = i < moves ? message.to : message.from;
    if (before.contains(message.from)) here.push_back({number, number});
  }
  after.unite(NumberSet::from_ranges(std::move(here)));
  return after;
}

// Takes out of `possible` after how many moves this sequence cannot have been written. The messages
// go up one by one, and how many numbers differ from what is found is counted along.
void Carrying::find_written(std::string_view name, std::vector<bool>* possible) const {
  const NumberSet& found = set_in(found_, name);
  const NumberSet& before = set_in(before_, name);
  std::set<uint32_t> differ;
  const auto set = [&](uint32_t number, bool is_in) {
    if (found.contains(number) != is_in) {
      differ.insert(number);
    } else {
      differ.erase(number);
    }
  };
  touched_.for_each([&](uint32_t number) { set(number, false); });
  for (const MovedMessage& message : messages_) set(message.from, before.contains(message.from));
  for (size_t i = 0; i < messages_.size(); ++i) {
    set(messages_[i].from, false);
    set(messages_[i].to, before.contains(messages_[i].from));
    if (!differ.empty()) (*possible)[i + 1] = false;
  }
}

// A loss of power may have left what was written and not that it was to be, nor the new names.
Carrying::Text Carrying::whose_text() {
  bool is_before = true;
  std::vector<bool> possible(messages_.size() + 1, true);
  possible[0] = false;
  for (const std::string& name : names_) {
    NumberSet now = set_in(found_, name);
    now.intersect(touched_);
    NumberSet was = set_in(before_, name);
    was.intersect(touched_);
    is_before = is_before && now == was;
    find_written(name, &possible);
  }
  const auto last = std::find(possible.rbegin(), possible.rend(), true);
  const bool is_after = last != possible.rend();
  written_moves_ = static_cast<size_t>(possible.rend() - last) - (is_after ? 1 : 0);
  if (is_after && (written_ || !is_before)) return Text::kAfter;
  return is_before ? Text::kBefore : Text::kOthers;
}

bool Carrying::shown_before(size_t i, bool was_moved, std::string_view name) const {
  const MovedMessage& message = messages_[i];
  return set_in(before_, name).contains(was_moved ? message.to : message.from);
}

// How many flags of this message were changed by others, if they found it so.
size_t Carrying::misses(size_t i, bool was_moved) const {
  const uint32_t now = messages_[i].now;
  if (now == 0) return 0;
  return static_cast<size_t>(std::ranges::count_if(names_, [&](const std::string& name) {
    return set_in(found_, name).contains(now) != shown_before(i, was_moved, name);
  }));
}

// Somebody has given them other numbers since.
std::vector<bool> Carrying::best_prefix() const {
  size_t cost = 0;
  for (size_t i = 0; i < messages_.size(); ++i) cost += misses(i, false);
  size_t best = 0;
  size_t best_cost = cost;
  for (size_t i = 0; i < messages_.size(); ++i) {
    cost += misses(i, true);
    cost -= misses(i, false);
    if (cost >= best_cost) continue;
    best = i + 1;
    best_cost = cost;
  }
  std::vector<bool> moved(messages_.size(), false);
  std::fill_n(moved.begin(), best, true);
  return moved;
}

// Nobody else has given them numbers since.
bool Carrying::is_plain() const {
  return std::ranges::all_of(messages_, [](const MovedMessage& message) {
    return message.now == 0 || message.now == message.from || message.now == message.to;
  });
}

std::vector<bool> Carrying::find_shown() const {
  std::vector<bool> moved(messages_.size(), false);
  if (text_ != Text::kOthers || written_) return moved;
  if (!is_plain()) return best_prefix();
  for (size_t i = 0; i < moved.size(); ++i) moved[i] = messages_[i].now == messages_[i].to;
  return moved;
}

NumberSet Carrying::carried(std::string_view name) const {
  const NumberSet& found = set_in(found_, name);
  const NumberSet& before = set_in(before_, name);
  // What stands at numbers touched and is no message of ours: a stale entry of one of them, or
  // what somebody has said of a message that came there since.
  NumberSet stale = text_ == Text::kAfter ? after_of(before, written_moves_) : before;
  stale.intersect(touched_);
  NumberSet result = found;
  // Who dealt the numbers anew has left none that he found no message for.
  if (text_ != Text::kOthers || (is_plain() && !written_)) result.subtract(stale);
  result.subtract(now_);
  std::vector<NumberRange> here;
  for (size_t i = 0; i < messages_.size(); ++i) {
    const MovedMessage& message = messages_[i];
    if (message.now == 0) continue;
    const bool had = before.contains(message.from);
    const bool has = found.contains(message.now);
    const bool touched = text_ == Text::kOthers && has != shown_before(i, found_moved_[i], name);
    if (touched ? has : had) here.push_back({message.now, message.now});
  }
  result.unite(NumberSet::from_ranges(std::move(here)));
  return result;
}

uint32_t Carrying::current() const {
  const auto at = std::ranges::find(messages_, before_.cur(), &MovedMessage::from);
  const bool on_one = before_.cur() != 0 && at != messages_.end() && at->now != 0;
  if (!on_one) return found_.cur();
  const bool is_ours =
      found_.cur() == at->from || ((written_ || text_ == Text::kAfter) && found_.cur() == at->to);
  return is_ours ? at->now : found_.cur();
}

Sequences Carrying::run() {
  text_ = whose_text();
  found_moved_ = find_shown();
  Sequences result = found_;
  for (const std::string& name : names_) {
    NumberSet numbers = carried(name);
    if (numbers == set_in(found_, name)) continue;
    result.set(name) = std::move(numbers);
  }
  result.set_cur(current());
  return result;
}

}  // namespace

std::vector<MessageMove> plan_pack(std::span<const NumberedFile> files,
                                   const NumberSet& in_the_way) {
  std::vector<MessageMove> moves;
  uint32_t next = 1;
  for (const NumberedFile& file : files) {
    if (file.uid == 0) {
      next = file.number + 1;
      continue;
    }
    while (in_the_way.contains(next)) ++next;
    if (next < file.number) moves.push_back({file.uid, file.number, next});
    ++next;
  }
  return moves;
}

NumberSet in_the_way(const Listing& listing) {
  NumberSet numbers;
  for (const std::vector<std::string>* names : {&listing.junk, &listing.subfolders}) {
    for (const std::string& name : *names) {
      if (const auto number = message_number(name)) numbers.add(*number);
    }
  }
  return numbers;
}

PackPlan plan_pack(const Listing& listing, std::span<const Record> records) {
  std::vector<const Record*> by_number;
  by_number.reserve(records.size());
  for (const Record& record : records) by_number.push_back(&record);
  std::ranges::sort(by_number, {}, &Record::number);
  PackPlan plan;
  std::vector<NumberedFile> files;
  files.reserve(listing.entries.size());
  auto known = by_number.begin();
  for (const Entry& entry : listing.entries) {
    while (known != by_number.end() && (*known)->number < entry.number) ++known;
    NumberedFile file{entry.number, 0};
    // One that is gone may still have this number too.
    for (auto each = known; each != by_number.end() && (*each)->number == entry.number; ++each) {
      if ((*each)->file.same_file(entry.file)) file.uid = (*each)->uid;
    }
    if (file.uid == 0) ++plan.stay;
    files.push_back(file);
  }
  plan.moves = plan_pack(files, in_the_way(listing));
  return plan;
}

Sequences restricted_to(const Sequences& sequences, uint32_t first, uint32_t last) {
  NumberSet window;
  window.add_range(first, last);
  Sequences result;
  result.set_cur(sequences.cur());
  for (const std::string_view name : sequences.names()) {
    NumberSet numbers = *sequences.find(name);
    numbers.intersect(window);
    if (!numbers.empty()) result.set(name) = std::move(numbers);
  }
  return result;
}

Sequences carry_sequences(const Sequences& found, const Sequences& before,
                          std::span<const MovedMessage> messages, bool written) {
  return Carrying(found, before, messages, written).run();
}

}  // namespace mh
