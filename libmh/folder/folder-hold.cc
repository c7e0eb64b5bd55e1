// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: nmh's lock and what the directory looks like around it.
//
// A number is valid only while that lock is held, and only if the folder is still as it was listed.
// As a rule two equal stamps of the directory tell that. With "datalocking: dot" the lock is itself
// a file in the folder, and taking it moves those stamps, as does giving it back. So then:
//
//  * After the lock is taken the folder is listed again and compared name by name: a foreign change
//    between the listing and the lock is seen for what it is, our lock file is not.
//  * After it is given back the folder is listed once more. What is remembered are the stamps of
//    that listing, if it shows the same messages; else the older ones, so that the next look finds
//    a change. unchanged() stays two stats.
//  * The directory has then changed within the last second and has to be looked at again. That look
//    would take the lock, and ask for another look, without end: so when there is nothing to merge
//    no lock is taken.
//
// The sequences file is made again when it is gone, for without it nmh locks nothing; but not at
// once. nmh's rmf removes it with the messages, and fails at its rmdir when there is another one.
#include <algorithm>

#include "libmh/folder/folder-impl.h"

namespace mh {
namespace {

// Two changes of a directory within one tick of the kernel's clock look like one.
constexpr Nanoseconds kTick = kSecond / 50;

// No rmf is still at work in a folder in which nothing has changed for so long.
constexpr Nanoseconds kRemoval = kSecond;

bool same_names(const Listing& a, const Listing& b) {
  return std::equal(a.entries.begin(), a.entries.end(), b.entries.begin(), b.entries.end(),
                    [](const Entry& x, const Entry& y) {
                      return x.number == y.number && x.file.same_file(y.file);
                    });
}

}  // namespace

Result<SequencesFile::Hold> Folder::Impl::sequences_lock(Nanoseconds timeout) {
  auto hold = sequences->acquire(timeout);
  if (hold && hold->passed_stale_lock() && !std::exchange(warned_stale_lock, true)) {
    const std::string lock = settings.sequences_name + std::string(kSequencesLockSuffix);
    warn(lock + (settings.locking == DataLocking::kDot
                     ? " was left by a program that died more than five minutes ago: removed"
                     : " was left by a program that died more than five minutes ago: ignored here, "
                       "but other programs may wait for it until it is removed"));
  }
  return hold;
}

// Whether every number of the listing is still what it was.
Result<bool> Folder::Impl::listing_holds(OwnLock lock) {
  MH_TRY_SET(const FileStat stat, fs.fstat(dir.get()));
  const bool same = DirectoryStamp::of(stat) == listing->directory;
  if ((same || lock == OwnLock::kInFolder) && !numbers_are_sure()) {
    return fail(ErrorKind::kBusy, location.folder + ": not all of it could be listed");
  }
  if (same && listing->directory.mtime + kTick < listing->taken_at) return true;
  if (!same && lock == OwnLock::kNotInFolder) return false;
  MH_TRY_SET(const bool as_listed, is_as_listed(fs, dir.get(), *listing));
  if (as_listed) return true;
  MH_TRY_SET(const Listing again, scan_folder(fs, dir.get()));
  return again.whole && same_names(*listing, again);
}

// Not an error when the folder is another by now: the older listing stays.
Status Folder::Impl::list_after_unlock() {
  MH_TRY_SET(Listing again, scan_folder(fs, dir.get()));
  if (again.whole && same_names(*listing, again)) listing = std::move(again);
  return {};
}

// Whether a merge would change nothing on either side, as far as that can be told without the lock;
// then all that is to be remembered is. Only for dot locking: see above.
bool Folder::Impl::nothing_to_merge(const FolderMemory& memory, const FlagsInput& input) {
  if (settings.locking != DataLocking::kDot || !memory.sequences.known || !listing->whole ||
      !input.pending.empty() || !input.expired.empty() || !input.expunge.empty()) {
    return false;
  }
  const std::vector<NumberedMessage> messages = numbered(memory, input);
  const bool stayed = std::ranges::all_of(messages, [](const NumberedMessage& message) {
    return message.number == message.old_number;
  });
  if (!stayed) return false;
  const auto file = sequences->read_unlocked(settings.sequences_wait);
  if (!file || !file->exists) return false;
  const Sequences found = Sequences::parse(file->text);
  if (found.hash_without_cur() != memory.sequences.hash || found.cur() != memory.sequences.cur) {
    return false;
  }
  const auto holds = listing_holds(OwnLock::kNotInFolder);
  if (!holds || !*holds) return false;
  remember_directory(true);
  remember(memory.sequences, *file);
  return true;
}

// The merge with a file that has just vanished, which says that no message has any flag. Unset:
// nothing of that kind, or something has to be written: go on as ever.
Result<std::optional<FlagsOutcome>> Folder::Impl::sync_vanished(const FolderMemory& memory,
                                                                const FlagsInput& input) {
  if (!memory.sequences.known || !input.expunge.empty()) return std::nullopt;
  const auto named = fs.stat(dir.get(), settings.sequences_name.c_str(), Follow::kNo);
  if (named || named.error().kind() != ErrorKind::kNotFound) return std::nullopt;
  MH_TRY_SET(const FileStat folder, fs.fstat(dir.get()));
  if (folder.ctime + kRemoval < fs.now()) return std::nullopt;
  const auto file = sequences->read_unlocked(settings.sequences_wait);
  if (file && file->exists) return std::nullopt;
  FlagsOutcome outcome;
  const auto holds = listing_holds(OwnLock::kNotInFolder);
  outcome.moved = !file || !holds || !*holds;
  if (outcome.moved) return outcome;
  MH_TRY_SET(FlagMergeOutput merged, merge(Sequences(), 0, memory, input));
  if (merged.to_file) return std::nullopt;
  remember_directory(true);
  remember(merged.memory, *file);
  recheck(folder.ctime + kRemoval + 1);
  outcome.to_index = std::move(merged.to_index);
  outcome.undecided = std::move(merged.undecided);
  return outcome;
}

}  // namespace mh
