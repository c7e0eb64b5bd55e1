// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: changes of flags that wait for the sequences file.
//
// While somebody else holds nmh's lock, or the file cannot be written, what clients have changed
// stays pending in Dovecot's index, and nowhere else: the merge base knows of it only that it is to
// come. That is fine for the moments that a lock is held as a rule. A human who sits in `anno` for
// an hour makes it an hour in which the loss of the index would cost flags that were acknowledged
// long ago. So what has waited for more than a minute is journalled too. How long it waits is kept
// in FolderMemory, for the process that has made the change may be gone when the minute is over.
//
// The journal's word counts only when the merge base is lost, for as long as it is not, all of it
// is pending there as well, and later changes with it. It is void as soon as all is merged: that is
// journalled after the sequences are written and before the index is committed, so that no older
// change is ever made a second time over what others have changed since.
#include "libmh/folder/folder-impl.h"

namespace mh {
namespace {

constexpr Nanoseconds kLong = 60 * kSecond;
constexpr const char* kNobody = "-";

std::string text_of(const NumberSet& uids) { return uids.empty() ? kNobody : uids.print_uids(); }

// <flag or keyword> <UIDs that get it> <UIDs that lose it>
std::string print_change(const FlagChange& change) {
  const std::string name =
      change.flag == kNoFlag ? change.keyword : std::string(name_of(change.flag));
  return name + " " + text_of(change.add) + " " + text_of(change.remove);
}

std::optional<NumberSet> parse_uids(std::string_view text) {
  if (text == kNobody) return NumberSet();
  auto uids = NumberSet::parse_uids(text);
  if (!uids) return std::nullopt;
  return std::move(*uids);
}

std::optional<FlagChange> parse_change(std::string_view text) {
  const size_t remove_at = text.rfind(' ');
  const size_t add_at = remove_at == std::string_view::npos || remove_at == 0
                            ? remove_at
                            : text.rfind(' ', remove_at - 1);
  if (add_at == std::string_view::npos || add_at == 0) return std::nullopt;
  const auto add = parse_uids(text.substr(add_at + 1, remove_at - add_at - 1));
  const auto remove = parse_uids(text.substr(remove_at + 1));
  if (!add || !remove) return std::nullopt;
  FlagChange change;
  for_each_flag(text.substr(0, add_at), [&](SystemFlag flag, std::string_view name) {
    change.flag = flag;
    if (flag == kNoFlag) change.keyword = name;
  });
  change.add = *add;
  change.remove = *remove;
  return change;
}

}  // namespace

// In a folder whose flags are private the journal is not the place: it is everybody's.
bool Folder::Impl::journals_pending() const {
  return journal && writable() && !settings.sequences_name.empty();
}

// What was pending when the merge base was lost.
std::vector<FlagChange> Folder::Impl::pending_in_journal(const FolderMemory& memory) const {
  std::vector<FlagChange> changes;
  if (memory.sequences.known || !journals_pending()) return changes;
  for (const std::string& text : state().pending_flags) {
    if (auto change = parse_change(text)) changes.push_back(std::move(*change));
  }
  return changes;
}

// These could not be merged.
void Folder::Impl::note_pending(const std::vector<FlagChange>& pending) {
  if (pending.empty()) return;
  const Nanoseconds time = fs.now();
  if (now.busy_since == 0 || now.busy_since > time) now.busy_since = time;
  if (time - now.busy_since < kLong || !journals_pending()) return;
  std::vector<std::string> texts;
  for (const FlagChange& change : pending) texts.push_back(print_change(change));
  if (texts == state().pending_flags) return;
  if (!state().pending_flags.empty()) journal->add_pending_flags("");
  for (const std::string& text : texts) journal->add_pending_flags(text);
  // They are in the index all the same: should this fail, the next sync tries again.
  (void)commit({}, {});
}

// All is merged.
void Folder::Impl::forget_pending() {
  now.busy_since = 0;
  if (!journals_pending() || state().pending_flags.empty()) return;
  journal->add_pending_flags("");
  (void)commit({}, {});
}

}  // namespace mh
