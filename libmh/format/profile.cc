// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/profile.h"

#include <set>

#include "libmh/format/text.h"

namespace mh {
namespace {

struct LockingWord {
  std::string_view word;
  DataLocking locking;
};
constexpr LockingWord kLockingWords[] = {
    {"fcntl", DataLocking::kFcntl},
    {"dot", DataLocking::kDot},
    {"flock", DataLocking::kFlock},
    {"lockf", DataLocking::kLockf},
};

const LockingWord* locking_of(std::string_view value) {
  for (const LockingWord& known : kLockingWords) {
    if (equal_ignoring_case(known.word, value)) return &known;
  }
  return nullptr;
}

constexpr uint32_t kPermissionBits = 07777;

}  // namespace

Profile Profile::parse(std::string_view text) {
  Profile profile;
  ComponentText read = parse_components(text);
  profile.components_ = std::move(read.components);
  profile.problems_ = std::move(read.problems);
  std::set<std::string_view, LessIgnoringCase> seen;
  for (const Component& component : profile.components_) {
    const bool comment = component.name == "#";
    if (!comment && !component.name.empty() && !seen.insert(component.name).second) {
      note_problem(profile.problems_, quoted(component.name) + " is there twice: the first holds");
    }
  }
  const std::string* locking = profile.find("datalocking");
  if (locking != nullptr && locking_of(*locking) == nullptr) {
    note_problem(profile.problems_,
                 "datalocking " + quoted(*locking) + " is unknown: every nmh command stops at it");
  }
  return profile;
}

void Profile::append(const Profile& context) {
  components_.insert(components_.end(), context.components_.begin(), context.components_.end());
  for (const std::string& problem : context.problems_) note_problem(problems_, problem);
}

const std::string* Profile::find(std::string_view name) const {
  for (const Component& component : components_) {
    if (equal_ignoring_case(component.name, name)) return &component.value;
  }
  return nullptr;
}

std::string Profile::value_or(std::string_view name, std::string_view otherwise) const {
  const std::string* value = find(name);
  return value != nullptr && !value->empty() ? *value : std::string(otherwise);
}

std::string Profile::exact_or(std::string_view name, std::string_view otherwise) const {
  for (auto component = components_.rbegin(); component != components_.rend(); ++component) {
    if (component->name == name) return component->value;
  }
  return std::string(otherwise);
}

// As nmh's atooi(): the octal digits at the start.
uint32_t Profile::octal_or(std::string_view name, uint32_t otherwise) const {
  const std::string* value = find(name);
  if (value == nullptr || value->empty() || (*value)[0] < '0' || (*value)[0] > '7') {
    return otherwise;
  }
  uint32_t bits = 0;
  for (const char c : *value) {
    if (c < '0' || c > '7') break;
    bits = (bits << 3 | static_cast<uint32_t>(c - '0')) & kPermissionBits;
  }
  return bits;
}

std::vector<std::string> Profile::split(std::string_view name) const {
  std::vector<std::string> words;
  const std::string* value = find(name);
  if (value == nullptr) return words;
  std::string_view rest = *value;  // all space in it is ' ' by now
  while (!rest.empty()) {
    const size_t blank = rest.find(' ');
    if (blank != 0) words.emplace_back(rest.substr(0, blank));
    rest.remove_prefix(blank == std::string_view::npos ? rest.size() : blank + 1);
  }
  return words;
}

std::string Profile::draft_folder() const {
  std::string folder = value_or("Draft-Folder", "");
  if (folder.starts_with('+')) folder.erase(0, 1);
  return folder;
}

std::vector<std::string> Profile::unseen_sequences() const {
  std::vector<std::string> names = split("Unseen-Sequence");
  if (names.empty()) names.emplace_back("unseen");
  return names;
}

DataLocking Profile::datalocking() const {
  const std::string* value = find("datalocking");
  const LockingWord* known = value != nullptr ? locking_of(*value) : nullptr;
  return known != nullptr ? known->locking : DataLocking::kFcntl;
}

}  // namespace mh
