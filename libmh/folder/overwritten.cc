// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/overwritten.h"

#include <array>
#include <limits>
#include <set>
#include <vector>

#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr size_t kDigits = 16;
constexpr size_t kFields = 5;

NumberSet numbers_in(const Sequences& version, std::string_view name) {
  const NumberSet* found = version.find(name);
  return found != nullptr ? *found : NumberSet();
}

NumberSet without(NumberSet set, const NumberSet& other) {
  set.subtract(other);
  return set;
}

std::set<std::string> names_of(const Sequences& a, const Sequences& b) {
  std::set<std::string> names;
  for (const Sequences* version : {&a, &b}) {
    for (const std::string_view name : version->names()) names.emplace(name);
  }
  return names;
}

// How many entries have to be written or cleared to make one of the other.
uint64_t distance(const Sequences& a, const Sequences& b) {
  uint64_t entries = 0;
  for (const std::string& name : names_of(a, b)) {
    const NumberSet in_a = numbers_in(a, name);
    const NumberSet in_b = numbers_in(b, name);
    entries += without(in_a, in_b).count() + without(in_b, in_a).count();
  }
  return entries;
}

// `found` with what has changed from `base` to `last`.
Sequences carried_on(const Sequences& found, const Sequences& base, const Sequences& last) {
  Sequences result = found;
  for (const std::string& name : names_of(base, last)) {
    const NumberSet before = numbers_in(base, name);
    const NumberSet after = numbers_in(last, name);
    if (before == after) continue;
    NumberSet& numbers = result.set(name);
    numbers.unite(without(after, before));
    numbers.subtract(without(before, after));
  }
  return result;
}

// Those that somebody who wrote at this time may have read, oldest first.
std::vector<Sequences> versions_until(std::span<const std::string> recent, Nanoseconds time) {
  std::vector<Sequences> versions;
  for (const std::string& text : recent) {
    const auto write = parse_sequences_write(text);
    if (!write || write->at + kHeldVersion < time) continue;
    if (write->mended) {
      versions.clear();
    } else {
      versions.push_back(Sequences::parse(write->before));
    }
    versions.push_back(Sequences::parse(write->after));
  }
  return versions;
}

}  // namespace

PendingSequences print_sequences_write(const SequencesWrite& write) {
  std::string head;
  append_hex64(head, write.before.size());
  append_hex64(head, static_cast<uint64_t>(write.at));
  append_hex64(head, write.mended ? 1 : 0);
  append_hex64(head, write.inode);
  append_hex64(head, static_cast<uint64_t>(write.birth));
  return {std::move(head), std::string(write.before), std::string(write.after)};
}

std::optional<SequencesWrite> parse_sequences_write(std::string_view text) {
  if (text.size() < kFields * kDigits) return std::nullopt;
  std::array<uint64_t, kFields> fields{};
  for (size_t i = 0; i < kFields; ++i) {
    const auto value = parse_hex64(text.substr(i * kDigits, kDigits));
    if (!value) return std::nullopt;
    fields[i] = *value;
  }
  const std::string_view texts = text.substr(kFields * kDigits);
  if (fields[0] > texts.size()) return std::nullopt;
  SequencesWrite write;
  write.at = static_cast<Nanoseconds>(fields[1]);
  write.mended = fields[2] != 0;
  write.inode = fields[3];
  write.birth = static_cast<Nanoseconds>(fields[4]);
  write.before = texts.substr(0, fields[0]);
  write.after = texts.substr(fields[0]);
  return write;
}

std::optional<Sequences> mend_sequences(std::span<const std::string> recent, const FileStat& file,
                                        const Sequences& found) {
  if (recent.empty()) return std::nullopt;
  const auto last = parse_sequences_write(recent.back());
  const bool renamed = last && (file.inode != last->inode || file.birth != last->birth);
  if (!renamed) return std::nullopt;
  const std::vector<Sequences> versions = versions_until(recent, file.mtime);
  if (versions.empty()) return std::nullopt;
  // The newest of those that it is most like.
  uint64_t least = std::numeric_limits<uint64_t>::max();
  const Sequences* base = nullptr;
  for (const Sequences& version : versions) {
    const uint64_t entries = distance(version, found);
    if (entries <= least) {
      least = entries;
      base = &version;
    }
  }
  if (base == &versions.back()) return std::nullopt;
  Sequences mended = carried_on(found, *base, versions.back());
  if (mended.hash_without_cur() == found.hash_without_cur()) return std::nullopt;
  return mended;
}

}  // namespace mh
