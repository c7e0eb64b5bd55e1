// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/private-sequences.h"

#include <map>
#include <utility>

#include "libmh/format/component-text.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kStart = "atr-";
constexpr std::string_view kCur = "cur";
// What is left for the name of a sequence is ample.
constexpr size_t kMaxFolder = kMaxComponentName - 200;

// Of which sequence of the folder this component is; empty: of none.
std::string_view sequence_of(std::string_view component, std::string_view folder) {
  if (!component.starts_with(kStart) || !component.ends_with(folder)) return {};
  component.remove_prefix(kStart.size());
  if (component.size() < folder.size() + 2) return {};  // at least one letter and the dash
  component.remove_suffix(folder.size());
  if (component.back() != '-') return {};
  component.remove_suffix(1);
  return component;
}

std::string component_name(std::string_view sequence, std::string_view folder) {
  return std::string(kStart).append(sequence).append("-").append(folder);
}

bool is_writable(std::string_view sequence, std::string_view folder) {
  return !sequence.empty() && sequence.find_first_of(":\n\0"sv) == std::string_view::npos &&
         kStart.size() + sequence.size() + 1 + folder.size() <= kMaxComponentName;
}

// What a line says: the numbers as nmh writes them.
std::string value_in(const Sequences& sequences, std::string_view name) {
  std::string value;
  if (name == kCur) {
    if (sequences.cur() != 0) append_decimal(value, sequences.cur());
  } else if (const NumberSet* numbers = sequences.find(name)) {
    numbers->append_nmh(value);
  }
  return value;
}

// What is to become of the lines of one sequence.
struct Change {
  std::string line;  // empty: they are taken out
  bool written = false;
};
using Changes = std::map<std::string, Change, std::less<>>;

Changes changes_between(const Sequences& now, std::string_view folder, const Sequences& public_ones,
                        const Sequences& wanted) {
  Changes changes;
  const auto compare = [&](std::string_view name) {
    const std::string value = value_in(wanted, name);
    if (value == value_in(now, name) || !is_writable(name, folder)) return;
    const bool needed = !value.empty() || !value_in(public_ones, name).empty();
    changes[std::string(name)].line =
        needed ? component_name(name, folder) + ": " + value + "\n" : std::string();
  };
  for (const std::string_view name : now.names()) compare(name);
  for (const std::string_view name : wanted.names()) compare(name);
  compare(kCur);
  return changes;
}

// New lines come behind the last that is not blank: nmh bears with a blank one at the very end
// only.
size_t end_of_components(std::string_view text) {
  while (!text.empty()) {
    const size_t newline = text.find_last_of('\n', text.size() - 2);
    const size_t begin = text.size() < 2 || newline == std::string_view::npos ? 0 : newline + 1;
    if (!trimmed(text.substr(begin)).empty()) break;
    text.remove_suffix(text.size() - begin);
  }
  return text.size();
}

}  // namespace

bool can_have_private_sequences(std::string_view folder) {
  return !folder.empty() && folder.size() <= kMaxFolder && !is_space(folder.back()) &&
         folder.find_first_of(":\n\0"sv) == std::string_view::npos;
}

Sequences with_private_sequences(std::string_view context, std::string_view folder,
                                 Sequences public_ones) {
  for (const Component& component : parse_components(context).components) {
    const std::string_view name = sequence_of(component.name, folder);
    if (name == kCur) {
      public_ones.set_cur(parse_nmh_cur(component.value).value_or(public_ones.cur()));
    } else if (!name.empty()) {
      public_ones.set(name) = NumberSet::parse_nmh(component.value);
    }
  }
  return public_ones;
}

std::string set_private_sequences(std::string_view context, std::string_view folder,
                                  const Sequences& public_ones, const Sequences& wanted) {
  const Sequences now = with_private_sequences(context, folder, public_ones);
  Changes changes = changes_between(now, folder, public_ones, wanted);
  std::string out;
  size_t copied = 0;
  for (const Component& component : parse_components(context).components) {
    const auto change = changes.find(sequence_of(component.name, folder));
    if (change == changes.end()) continue;
    out.append(context.substr(copied, component.begin - copied));
    copied = component.end;
    if (!std::exchange(change->second.written, true)) out.append(change->second.line);
  }
  std::string_view rest = context.substr(copied);
  const size_t end = end_of_components(rest);
  out.append(rest.substr(0, end));
  rest.remove_prefix(end);
  for (const auto& [name, change] : changes) {
    if (change.written || change.line.empty()) continue;
    if (!out.empty() && out.back() != '\n') out.push_back('\n');
    out.append(change.line);
  }
  return out.append(rest);
}

std::string move_private_sequences(std::string_view context, std::string_view from,
                                   std::string_view to) {
  const std::string dashed = "-" + std::string(from);
  std::string out;
  size_t copied = 0;
  for (const Component& component : parse_components(context).components) {
    const std::string_view name = component.name;
    const size_t at = name.starts_with(kStart) ? name.find(dashed, kStart.size() + 1) : name.npos;
    if (at == name.npos) continue;
    const std::string_view below = name.substr(at + dashed.size());
    if (!below.empty() && !below.starts_with('/')) continue;
    out.append(context.substr(copied, component.begin - copied));
    copied = component.end;
    if (to.empty()) continue;
    const std::string_view line = context.substr(component.begin, component.end - component.begin);
    out.append(name.substr(0, at + 1)).append(to).append(below);
    out.append(line.substr(line.find(':')));
  }
  return out.append(context.substr(copied));
}

}  // namespace mh
