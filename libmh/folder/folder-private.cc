// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: private sequences, in nmh's context file.
//
// They are the flags where nmh has no other place for them: in all folders, when the profile's
// mh-sequences is empty; and in a folder that we may only read, over its public sequences. Such a
// folder has no lock that nmh would know: its numbers are believed only if the directory looks the
// same before and after the sequences were read, as in any folder that cannot be locked.
//
// nmh reads the context when a command begins, and writes all of it when it ends, if anything in it
// changed (sbr/context_read.c, context_save.c). It locks the file only for each of the two, and
// empties it before it has the lock; when that is busy it tries again a second later. So:
//
//  * A context that is empty since a moment ago is being written, and not believed yet.
//  * It is written in place, under the same lock, for as short a time as can be; read without it.
//  * What we write between the beginning and the end of a command is overwritten by it, as one
//    command of nmh overwrites another's. No lock prevents that. So what a client has stored is
//    kept in mind for a moment, and written once more if all of it is found missing; only once, and
//    only while the index still has it: else somebody has taken it off again.
//
// The context is the user's and of all folders: nothing of it is journalled. At a kill in the
// middle of a write the kernel leaves a page whole, and few contexts are larger than one.
#include <fcntl.h>

#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/format/private-sequences.h"

namespace mh {
namespace {

// A command that finds the lock busy leaves the file empty for a second at a time.
constexpr Nanoseconds kEmptied = 3 * kSecond;
// A writer that knows no lock came between: how often we merge again.
constexpr int kMostMerges = 5;

// From reading the context to writing it most commands need a few milliseconds.
constexpr Nanoseconds kOverwritten = 2 * kSecond;

// Of one flag, as sets of those that have it; of \Seen, those that do not.
const NumberSet& set_of(const FlagSets& sets, const FlagChange& change) {
  static const NumberSet kNone;
  switch (change.flag) {
    case kSeen:
      return sets.unseen;
    case kAnswered:
      return sets.answered;
    case kFlagged:
      return sets.flagged;
    case kDeleted:
      return sets.deleted;
    case kDraft:
      return sets.draft;
    case kNoFlag:
      break;
  }
  const auto found = sets.keywords.find(change.keyword);
  return found == sets.keywords.end() ? kNone : found->second;
}

bool is_being_written(const SequencesText& context, Nanoseconds now) {
  return context.exists && context.text.empty() && context.stat.mtime <= now &&
         context.stat.mtime + kEmptied > now;
}

tl::unexpected<Error> being_written(const std::string& name) {
  return fail(ErrorKind::kBusy, name + " is being written");
}

uint64_t stamp_of_context(bool exists, const FileStat& stat) {
  constexpr uint64_t kAbsent = 1;
  return exists ? stamp_of(FileIdentity::of(stat)) : kAbsent;
}

}  // namespace

uint64_t context_stamp(Fs& fs, const std::string& context) {
  if (context.empty()) return 0;
  const auto stat = fs.stat(AT_FDCWD, context.c_str(), Follow::kNo);
  return stamp_of_context(stat.has_value(), stat ? *stat : FileStat());
}

// Null when there is no context, or none in which this folder can have sequences. Opened when it is
// first needed: most folders never do.
SequencesFile* Folder::Impl::context_file() {
  if (context || settings.context.empty()) return context ? &*context : nullptr;
  const size_t slash = settings.context.rfind('/');
  if (slash == std::string::npos || !can_have_private_sequences(settings.name_in_context)) {
    return nullptr;
  }
  const std::string parent = settings.context.substr(0, slash + 1);
  auto opened = fs.open(AT_FDCWD, parent.c_str(), O_RDONLY | O_DIRECTORY);
  if (!opened) return nullptr;
  context_dir = std::move(*opened);
  SequencesFile::Options options;
  options.name = settings.context.substr(slash + 1);
  options.locking = settings.locking;
  context.emplace(fs, context_dir.get(), std::move(options));
  return &*context;
}

// Without a sequences file the context is made when it is needed. For a folder that is only read it
// must be there: who never used nmh has his flags nowhere, and is told that the folder is
// read-only.
bool Folder::Impl::may_write_context() {
  if (context_file() == nullptr || context_refused) return false;
  return settings.sequences_name.empty() ||
         fs.stat(AT_FDCWD, settings.context.c_str(), Follow::kNo).has_value();
}

Result<SequencesText> Folder::Impl::read_context() {
  if (context_file() == nullptr) return SequencesText();
  MH_TRY_SET(SequencesText text, context->read_unlocked(settings.sequences_wait));
  if (is_being_written(text, fs.now())) return being_written(settings.context);
  return text;
}

// The part of `change` that the index still has; nullopt when the context has any of that.
std::optional<FlagChange> Folder::Impl::overwritten(const FlagChange& change,
                                                    const FlagSets& in_file,
                                                    const FlagSets& in_index) {
  FlagChange lost = change;
  bool kept = false;
  const NumberSet& file = set_of(in_file, change);
  const NumberSet& index = set_of(in_index, change);
  const auto look = [&](const NumberSet& uids, bool is_set, NumberSet* rest) {
    uids.for_each([&](uint32_t uid) {
      const Record* record = find(uid);
      if (record == nullptr || index.contains(uid) != is_set) {
        rest->remove(uid);
      } else {
        kept = kept || file.contains(record->number) == is_set;
      }
    });
  };
  const bool inverse = change.flag == kSeen;
  look(change.add, !inverse, &lost.add);
  look(change.remove, inverse, &lost.remove);
  return kept ? std::nullopt : std::optional(std::move(lost));
}

// Adds to what is pending what a command of nmh has overwritten.
void Folder::Impl::put_back_overwritten(const Sequences& found, FlagsInput* input) {
  std::erase_if(written_flags,
                [&](const WrittenFlags& written) { return written.at + kOverwritten < fs.now(); });
  if (written_flags.empty()) return;
  const FlagSets in_file = settings.flags.read(found);
  std::erase_if(written_flags, [&](const WrittenFlags& written) {
    std::vector<FlagChange> lost;
    for (const FlagChange& change : written.changes) {
      auto part = overwritten(change, in_file, input->base);
      if (!part) return false;
      if (!part->add.empty() || !part->remove.empty()) lost.push_back(std::move(*part));
    }
    input->pending.insert(input->pending.begin(), lost.begin(), lost.end());
    return true;
  });
}

// `removed` are numbers of messages that we have just removed.
Result<FlagMergeOutput> Folder::Impl::merge_over(const Sequences& public_ones,
                                                 const std::string& text,
                                                 const FolderMemory& memory,
                                                 const FlagsInput& input,
                                                 const NumberSet& removed) {
  Sequences next = with_private_sequences(text, settings.name_in_context, public_ones);
  MH_TRY_SET(FlagMergeOutput merged, merge(next, 0, memory, input));
  if (removed.empty()) return merged;
  if (merged.to_file) next = std::move(*merged.to_file);
  next.remove_numbers(removed);
  merged.memory = memory_after(next);
  merged.to_file = std::move(next);
  return merged;
}

// Merges again under the lock of the context, and writes it.
//   kBusy: the lock was not to be had, or somebody came between; nothing was changed
Result<FlagMergeOutput> Folder::Impl::write_context(const Sequences& public_ones,
                                                    const FolderMemory& memory,
                                                    const FlagsInput& input,
                                                    const NumberSet& removed, SequencesText* text) {
  MH_TRY_SET(SequencesFile::Hold hold, context->acquire(settings.sequences_wait));
  MH_TRY_SET(*text, hold.read());
  if (!hold.made() && is_being_written(*text, fs.now())) return being_written(settings.context);
  MH_TRY_SET(const bool holds, listing_holds(OwnLock::kNotInFolder));
  if (!holds) return fail(ErrorKind::kBusy, location.folder + " changes");
  MH_TRY_SET(FlagMergeOutput merged, merge_over(public_ones, text->text, memory, input, removed));
  if (!merged.to_file) return merged;
  text->text =
      set_private_sequences(text->text, settings.name_in_context, public_ones, *merged.to_file);
  MH_TRY_SET(text->stat, hold.replace(text->text));
  return merged;
}

Result<FlagMergeOutput> Folder::Impl::merge_private(const Sequences& public_ones,
                                                    const FolderMemory& memory, FlagsInput& input,
                                                    const NumberSet& removed, SequencesText* text) {
  const std::vector<FlagChange> asked = input.pending;
  if (may_write_context()) {
    put_back_overwritten(with_private_sequences(text->text, settings.name_in_context, public_ones),
                         &input);
  } else {
    input.pending.clear();
    input.expired.clear();
  }
  MH_TRY_SET(FlagMergeOutput merged, merge_over(public_ones, text->text, memory, input, removed));
  if (!merged.to_file || !may_write_context()) return merged;
  for (int attempt = 1;; ++attempt) {
    auto written = write_context(public_ones, memory, input, removed, text);
    if (written) {
      if (!asked.empty()) written_flags.push_back({fs.now(), asked});
      return written;
    }
    const ErrorKind kind = written.error().kind();
    if (kind == ErrorKind::kPermission || kind == ErrorKind::kReadOnly) {
      context_refused = true;
      return merge_private(public_ones, memory, input, removed, text);
    }
    if (kind != ErrorKind::kBusy || attempt == kMostMerges) return written;
  }
}

// Under the lock of the context. kBusy: it was not to be had, or somebody came between.
Status Folder::Impl::change_context(
    const std::function<std::string(const std::string& text)>& change) {
  MH_TRY_SET(SequencesFile::Hold hold, context->acquire(settings.sequences_wait));
  MH_TRY_SET(const SequencesText text, hold.read());
  if (!hold.made() && is_being_written(text, fs.now())) return being_written(settings.context);
  const std::string changed = change(text.text);
  if (changed == text.text) return {};
  const auto written = hold.replace(changed);
  if (!written) return pass_on(written);
  return {};
}

void Folder::Impl::remember_context(const SequencesText& text) {
  if (!context) return;
  now.context = stamp_of_context(text.exists, text.stat);
  const Nanoseconds time = fs.now();
  if (text.exists && text.stat.mtime <= time && text.stat.mtime + kSettle >= time) {
    recheck(text.stat.mtime + kSettle + 1);
  }
}

// A folder whose sequences we may read and not write, or that has none but private ones. Where
// nothing can be written, what is pending stays pending.
Result<FlagsOutcome> Folder::Impl::sync_private(const FolderMemory& memory, FlagsInput input,
                                                Removed* removed) {
  FlagsOutcome outcome;
  SequencesText public_file;
  if (!settings.sequences_name.empty()) {
    MH_TRY_SET(public_file, sequences->read_unlocked(settings.sequences_wait));
  }
  MH_TRY_SET(SequencesText text, read_context());
  MH_TRY_SET(const bool holds, listing_holds(OwnLock::kNotInFolder));
  if (!holds) {
    outcome.moved = true;
    remember_directory(false);
    return outcome;
  }
  if (settings.sequences_name.empty()) remove_asked(input, removed);
  MH_TRY_SET(FlagMergeOutput merged, merge_private(Sequences::parse(public_file.text), memory,
                                                   input, removed->numbers, &text));
  remember_directory(true);
  remember(merged.memory, public_file);
  remember_context(text);
  outcome.to_index = std::move(merged.to_index);
  outcome.undecided = std::move(merged.undecided);
  return outcome;
}

// The profile says that there is no sequences file. Without a context nmh keeps no sequences at
// all: then the index alone has the flags, and nothing is to be merged.
Result<FlagsOutcome> Folder::Impl::sync_without_file(const FolderMemory& memory, FlagsInput input,
                                                     Removed* removed) {
  if (context_file() != nullptr) return sync_private(memory, std::move(input), removed);
  FlagsOutcome outcome;
  MH_TRY_SET(const bool holds, listing_holds(OwnLock::kNotInFolder));
  outcome.moved = !holds;
  if (!holds) return outcome;
  remove_asked(input, removed);
  remember_directory(true);
  remember(memory.sequences, SequencesText());
  return outcome;
}

// The flags of messages that came in through us. Merges nothing; see mark_messages(). Where the
// context cannot be written the index alone has them.
Status Folder::Impl::mark_private(std::span<const NewMessage> messages, FolderMemory* memory) {
  if (!may_write_context()) return {};
  for (int attempt = 1;; ++attempt) {
    const Status done = mark_private_once(messages, memory);
    const ErrorKind kind = done ? ErrorKind::kBusy : done.error().kind();
    if (kind == ErrorKind::kPermission || kind == ErrorKind::kReadOnly) return {};
    if (done || kind != ErrorKind::kBusy || attempt == kMostMerges) return done;
  }
}

Status Folder::Impl::mark_private_once(std::span<const NewMessage> messages, FolderMemory* memory) {
  MH_TRY_SET(SequencesFile::Hold hold, context->acquire(settings.lock_timeout));
  MH_TRY_SET(SequencesText text, hold.read());
  if (!hold.made() && is_being_written(text, fs.now())) {
    hold.release();
    fs.sleep(kSecond);
    return being_written(settings.context);
  }
  const bool as_known =
      memory->sequences.known && memory->context == stamp_of_context(text.exists, text.stat);
  Sequences next = with_private_sequences(text.text, settings.name_in_context, Sequences());
  put_flags(messages, &next);
  text.text = set_private_sequences(text.text, settings.name_in_context, Sequences(), next);
  MH_TRY_SET(text.stat, hold.replace(text.text));
  if (!as_known) return {};
  memory->sequences = memory_after(next);
  memory->context = stamp_of_context(true, text.stat);
  return {};
}

Status move_in_context(Fs& fs, const FolderSettings& settings, const std::string& from,
                       const std::string& to) {
  const size_t slash = settings.context.rfind('/');
  if (slash == std::string::npos) return {};
  if (!fs.stat(AT_FDCWD, settings.context.c_str(), Follow::kNo)) return {};
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, settings.context.substr(0, slash + 1).c_str(),
                                   O_RDONLY | O_DIRECTORY));
  SequencesFile::Options options;
  options.name = settings.context.substr(slash + 1);
  options.locking = settings.locking;
  const SequencesFile file(fs, dir.get(), std::move(options));
  Status done;
  for (int attempt = 0; attempt < kMostMerges; ++attempt) {
    MH_TRY_SET(SequencesFile::Hold hold, file.acquire(settings.lock_timeout));
    MH_TRY_SET(const SequencesText text, hold.read());
    if (!hold.made() && is_being_written(text, fs.now())) {
      hold.release();
      fs.sleep(kSecond);
      done = being_written(settings.context);
      continue;
    }
    const std::string moved = move_private_sequences(text.text, from, to);
    if (moved == text.text) return {};
    const auto written = hold.replace(moved);
    if (written) return {};
    done = pass_on(written);
    if (written.error().kind() != ErrorKind::kBusy) break;
  }
  return done;
}

}  // namespace mh
