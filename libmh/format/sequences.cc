// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/sequences.h"

#include <algorithm>

#include "libmh/format/component-text.h"
#include "libmh/format/fingerprint.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr std::string_view kCur = "cur";
constexpr std::string_view kComment = "#";

// Whether "name: 1\n" is read back as a sequence of just that name, wherever in a file it stands.
bool is_writable(std::string_view name) {
  using namespace std::string_view_literals;
  if (name.size() > kMaxComponentName || name == kCur) return false;
  if (name.find_first_of(":\n\0"sv) != std::string_view::npos) return false;
  if (name.empty()) return true;
  return name.front() != '-' && name.front() != ' ' && name.front() != '\t' &&
         !is_space(name.back());
}

NumberSet moved_to(const NumberSet& numbers, std::span<const NumberMove> sorted_moves) {
  std::vector<NumberRange> targets;
  auto move = sorted_moves.begin();
  for (const NumberRange& range : numbers.ranges()) {
    move = std::lower_bound(
        move, sorted_moves.end(), range.first,
        [](const NumberMove& candidate, uint32_t first) { return candidate.from < first; });
    for (; move != sorted_moves.end() && move->from <= range.last; ++move) {
      targets.push_back({move->to, move->to});
    }
  }
  return NumberSet::from_ranges(std::move(targets));
}

}  // namespace

bool is_nmh_sequence_name(std::string_view name) {
  for (const std::string_view reserved : {"new", "all", "first", "last", "prev", "next"}) {
    if (name == reserved) return false;
  }
  return !name.empty() && is_alpha(name[0]) &&
         std::ranges::all_of(name, [](char c) { return is_alpha(c) || is_digit(c); });
}

Sequences Sequences::parse(std::string_view text, std::vector<std::string>* problems) {
  Sequences sequences;
  std::vector<std::string> found;
  const ComponentText lines = parse_components(text);
  for (const std::string& problem : lines.problems) note_problem(found, problem);
  for (const Component& line : lines.components) {
    if (line.name == kCur) {
      sequences.cur_ = parse_nmh_cur(line.value).value_or(sequences.cur_);
      continue;
    }
    std::vector<std::string> faults;
    const bool doubled = sequences.index_.contains(line.name);
    sequences.set(line.name) = NumberSet::parse_nmh(line.value, &faults);
    if (line.name == kComment) faults = {"is a comment: the next write drops it"};
    if (doubled) faults.push_back("is there twice: the later one holds");
    for (const std::string& fault : faults) {
      note_problem(found, "sequence " + quoted(line.name) + ": " + fault);
    }
  }
  if (problems != nullptr) *problems = std::move(found);
  return sequences;
}

const NumberSet* Sequences::find(std::string_view name) const {
  const auto at = index_.find(name);
  if (at == index_.end()) return nullptr;
  const NumberSet& numbers = entries_[at->second].numbers;
  return numbers.empty() ? nullptr : &numbers;
}

NumberSet& Sequences::set(std::string_view name) {
  const auto [at, added] = index_.try_emplace(std::string(name), entries_.size());
  if (added) entries_.push_back({at->first, {}});
  return entries_[at->second].numbers;
}

void Sequences::erase(std::string_view name) {
  const auto at = index_.find(name);
  if (at != index_.end()) entries_[at->second].numbers.clear();
}

std::vector<std::string_view> Sequences::names() const {
  std::vector<std::string_view> names;
  for (const Entry& entry : entries_) {
    if (!entry.numbers.empty()) names.push_back(entry.name);
  }
  return names;
}

void Sequences::renumber(std::span<const NumberMove> moves, bool cur_too) {
  std::vector<NumberMove> sorted(moves.begin(), moves.end());
  std::ranges::sort(sorted, {}, &NumberMove::from);
  std::vector<NumberRange> from;
  from.reserve(sorted.size());
  for (const NumberMove& move : sorted) from.push_back({move.from, move.from});
  const NumberSet leaving = NumberSet::from_ranges(std::move(from));
  for (Entry& entry : entries_) {
    const NumberSet arriving = moved_to(entry.numbers, sorted);
    entry.numbers.subtract(leaving);
    entry.numbers.unite(arriving);
  }
  if (!cur_too) return;
  const auto at = std::ranges::lower_bound(sorted, cur_, {}, &NumberMove::from);
  if (at != sorted.end() && at->from == cur_) cur_ = at->to;
}

void Sequences::remove_numbers(const NumberSet& numbers) {
  for (Entry& entry : entries_) entry.numbers.subtract(numbers);
}

std::string Sequences::print() const {
  std::string out;
  if (cur_ != 0) {
    out.append("cur: ");
    append_decimal(out, cur_);
    out.push_back('\n');
  }
  for (const Entry& entry : entries_) {
    if (entry.numbers.empty() || !is_writable(entry.name)) continue;
    out.append(entry.name).append(": ");
    entry.numbers.append_nmh(out);
    out.push_back('\n');
  }
  return out;
}

std::string Sequences::print_padded(size_t old_size, std::string_view first_unseen_name) const {
  std::string out = print();
  if (out.size() >= old_size) return out;
  if (out.empty()) out.append(first_unseen_name).append(":\n");
  if (out.size() < old_size) out.insert(out.size() - 1, old_size - out.size(), ' ');
  return out;
}

uint64_t Sequences::hash_without_cur() const {
  Fingerprint hash;
  std::string text;
  for (const auto& [name, at] : index_) {
    const NumberSet& numbers = entries_[at].numbers;
    if (numbers.empty()) continue;
    text.assign(name).push_back('\n');  // no name holds a newline
    numbers.append_nmh(text);
    text.push_back('\n');
    hash.add(text);
  }
  return hash.value();
}

}  // namespace mh
