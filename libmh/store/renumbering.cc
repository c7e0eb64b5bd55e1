// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/renumbering.h"

#include "libmh/format/text.h"
#include "libmh/store/journal.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// The number before `mark`, which is taken off with it; the rest when there is no mark.
std::optional<uint32_t> take_number(std::string_view* text, char mark) {
  const size_t end = mark == '\0' ? text->size() : text->find(mark);
  if (end == std::string_view::npos) return std::nullopt;
  const auto value = parse_decimal<uint32_t>(text->substr(0, end));
  text->remove_prefix(mark == '\0' ? end : end + 1);
  return value;
}

bool is_possible(const MoveRun& run) {
  const auto last = [&](uint32_t first) { return uint64_t{first} + run.count - 1; };
  return run.uid != 0 && run.from != 0 && run.to != 0 && run.count != 0 &&
         last(run.uid) < kMaxUidNext && last(run.from) <= kHighestMessageNumber &&
         last(run.to) <= kHighestMessageNumber;
}

std::optional<MoveRun> parse_run(std::string_view text) {
  const auto uid = take_number(&text, ':');
  const auto from = take_number(&text, '>');
  const auto to = take_number(&text, '+');
  const auto count = take_number(&text, '\0');
  if (!uid || !from || !to || !count) return std::nullopt;
  const MoveRun run{*uid, *from, *to, *count};
  if (!is_possible(run)) return std::nullopt;
  return run;
}

}  // namespace

std::vector<MoveRun> runs_of(std::span<const MessageMove> moves) {
  std::vector<MoveRun> runs;
  for (const MessageMove& move : moves) {
    if (!runs.empty()) {
      MoveRun& last = runs.back();
      if (move.uid == last.uid + last.count && move.from == last.from + last.count &&
          move.to == last.to + last.count) {
        ++last.count;
        continue;
      }
    }
    runs.push_back({move.uid, move.from, move.to, 1});
  }
  return runs;
}

std::vector<MessageMove> moves_of(std::span<const MoveRun> runs) {
  std::vector<MessageMove> moves;
  for (const MoveRun& run : runs) {
    for (uint32_t i = 0; i < run.count; ++i) {
      moves.push_back({run.uid + i, run.from + i, run.to + i});
    }
  }
  return moves;
}

std::string print_runs(std::span<const MoveRun> runs) {
  std::string out;
  for (const MoveRun& run : runs) {
    if (!out.empty()) out.push_back(',');
    append_decimal(out, run.uid);
    out.push_back(':');
    append_decimal(out, run.from);
    out.push_back('>');
    append_decimal(out, run.to);
    out.push_back('+');
    append_decimal(out, run.count);
  }
  return out;
}

std::optional<std::vector<MoveRun>> parse_runs(std::string_view text) {
  std::vector<MoveRun> runs;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const auto run = parse_run(text.substr(0, comma));
    if (!run || comma + 1 == text.size()) return std::nullopt;
    runs.push_back(*run);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return runs;
}

}  // namespace mh
