// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: what stands in nmh's way, put in order.
//
// Nothing is done here that a command of nmh would not do too, or that cannot be taken back: a file
// gets a number by a rename that never hits a name that is taken, and the sequences are written as
// nmh would write them next. A crash leaves each of these steps done or not done; the text of the
// sequences is journalled first, as with every write of ours.
#include <fcntl.h>

#include "libmh/folder/folder-impl.h"
#include "libmh/store/random.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// A writer that knows no lock came between: how often the sequences are read anew.
constexpr int kMostAttempts = 5;
// How many numbers in a row may be taken by things that are no messages.
constexpr uint32_t kMostTaken = 100000;

tl::unexpected<Error> no_lockable_numbers(const std::string& folder) {
  return fail(ErrorKind::kUnsupported,
              folder + ": the profile names no sequences file, so numbers cannot be locked here");
}

bool has_problems(const std::string& text) {
  std::vector<std::string> problems;
  Sequences::parse(text, &problems);
  return !problems.empty();
}

}  // namespace

// One hold of nmh's lock. kBusy: again.
Status Folder::Impl::tidy_sequences_once() {
  MH_TRY_SET(SequencesFile::Hold hold, sequences_lock(settings.sequences_wait));
  const OwnLock lock =
      settings.locking == DataLocking::kDot ? OwnLock::kInFolder : OwnLock::kNotInFolder;
  MH_TRY_SET(const bool holds, listing_holds(lock));
  if (!holds) {
    MH_TRY(list_again(true));
    return fail(ErrorKind::kBusy, location.folder + ": its messages are being renamed");
  }
  MH_TRY_SET(SequencesText file, hold.read());
  const std::string text = repaired(file.text);
  Sequences next = Sequences::parse(text);
  NumberSet there;
  for (const Entry& entry : listing->entries) there.add(entry.number);
  NumberSet stale;
  for (const std::string_view name : next.names()) {
    NumberSet numbers = *next.find(name);
    numbers.subtract(there);
    stale.unite(numbers);
  }
  if (stale.empty() && text == file.text && !has_problems(text)) return {};
  next.remove_numbers(stale);
  MH_TRY(write_sequences(hold, file.text, next, &file));
  if (journal && writable()) journal->add_sequences_written();
  return {};
}

Status Folder::tidy_sequences() {
  Impl& in = *impl_;
  if (in.settings.sequences_name.empty()) return no_lockable_numbers(in.location.folder);
  MH_TRY(in.load_records());
  // A rewritten file tells whether arrivals are unseen; this rewriting is not to.
  if (!in.state().undecided.empty() || in.waiting != 0 || in.deferred) {
    return fail(ErrorKind::kBusy,
                in.location.folder +
                    ": there are new messages of which the sequences do not tell yet whether they "
                    "are unseen; the next IMAP session decides it");
  }
  in.probed = false;
  MH_TRY(in.list_again(false));
  Status done;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    done = in.tidy_sequences_once();
    if (done || done.error().kind() != ErrorKind::kBusy) return done;
  }
  return done;
}

// The next free number. Under nmh's lock.
Result<uint32_t> Folder::Impl::free_number(bool is_unlockable) {
  MH_TRY_SET(const uint32_t highest, highest_number(fs, dir.get()));
  uint32_t number = first_number(highest, is_unlockable);
  for (uint32_t taken = 0; taken < kMostTaken && number <= kHighestMessageNumber; ++taken) {
    const auto stat = fs.stat(dir.get(), std::to_string(number).c_str(), Follow::kNo);
    if (!stat && stat.error().kind() == ErrorKind::kNotFound) return number;
    if (!stat) return pass_on(stat);
    ++number;
  }
  return fail(ErrorKind::kInvalid, location.folder +
                                       ": there are no message numbers left; "
                                       "\"folder -pack\" makes room");
}

Result<uint32_t> Folder::give_number(const std::string& name) {
  Impl& in = *impl_;
  if (in.settings.sequences_name.empty()) return no_lockable_numbers(in.location.folder);
  const NameKind kind = classify_name(name);
  if (kind != NameKind::kZero && kind != NameKind::kLeadingZero && kind != NameKind::kTooLarge) {
    return fail(ErrorKind::kInvalid, name + " needs no other number");
  }
  MH_TRY_SET(SequencesFile::Hold hold, in.sequences_lock(in.settings.sequences_wait));
  MH_TRY_SET(const FileStat stat, in.fs.stat(in.dir.get(), name.c_str(), Follow::kNo));
  if (stat.type != FileType::kRegular) {
    return fail(ErrorKind::kInvalid, in.location.folder + "/" + name + " is no file");
  }
  MH_TRY_SET(const uint32_t number, in.free_number(in.unlockable(hold)));
  // What the sequences say of that number was said of another message.
  MH_TRY_SET(SequencesText file, hold.read());
  Sequences next = Sequences::parse(in.repaired(file.text));
  const uint64_t before = next.hash_without_cur();
  NumberSet stale;
  stale.add(number);
  next.remove_numbers(stale);
  if (next.hash_without_cur() != before) {
    MH_TRY(in.write_sequences(hold, file.text, next, &file));
    if (in.journal && in.writable()) in.journal->add_sequences_written();
  }
  in.listing.reset();
  MH_TRY(move_in(in.fs, in.dir.get(), name, in.dir.get(), number));
  return number;
}

Status Folder::remove_dead_lock() {
  Impl& in = *impl_;
  const std::string lock = in.settings.sequences_name + std::string(kSequencesLockSuffix);
  MH_TRY_SET(const FileStat stat, in.fs.stat(in.dir.get(), lock.c_str(), Follow::kNo));
  if (stat.type != FileType::kRegular || !is_stale_dot_lock(stat, in.fs.now())) {
    return fail(ErrorKind::kBusy, in.location.folder + "/" + lock + " may be in use");
  }
  // By way of a name of ours: another program may remove it too, and make its own, at this moment.
  MH_TRY_SET(const int to, in.open_workshop());
  const std::string taken = incoming_name(random_number());
  MH_TRY(in.fs.rename(in.dir.get(), lock.c_str(), to, taken.c_str(), RenameMode::kReplace));
  MH_TRY_SET(const FileStat got, in.fs.stat(to, taken.c_str(), Follow::kNo));
  if (got.inode == stat.inode && got.birth == stat.birth) return in.fs.unlink(to, taken.c_str());
  (void)in.fs.rename(to, taken.c_str(), in.dir.get(), lock.c_str(), RenameMode::kNoReplace);
  return fail(ErrorKind::kBusy, in.location.folder + "/" + lock + " is in use");
}

}  // namespace mh
