// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: copies of messages that are kept, taken out of it.
//
// It was found without locks that two files are the same. To remove one of them it must be certain
// that the other is there, at the moment when the first goes. So all folders that are concerned are
// held at once: the folder locks of the message that is kept, of the copy, and of the folder where
// the copy is to go, then nmh's locks of the same. None is waited for long while others are held;
// when one is not to be had all are given back, and it is tried again. They are taken in the order
// of the folders' GUIDs, so that two runs do not hinder each other for ever. Then, for some dozens
// of messages at a time:
//
//   1. each file has the number, identity, size and mtime that were compared, or is left alone. (A
//      message that only got another number is looked for, by its identity, without locks, and its
//      turn comes once more.)
//   2. the copy is linked into the other folder, and that directory is flushed
//   3. the sequences there are written, then those of what is kept: it has now all that copies had
//   4. each copy is renamed to a name of ours, verified (folder-remove.cc); the message that is
//      kept is looked at once more; the copy is removed, or put back
//   5. the sequences of the folder that it left are written without it
//
// Two runs at once, or an rmm beside it, can so never remove both: either is refused at 1 when the
// other was first. A program that knows no lock may remove the kept message between the last look
// and the next system call; that is as if it had come a moment later.
//
// A process that dies has left the copy in its folder, or in the workshop, from where the next sync
// or run puts it back, and perhaps a link to it in the other folder. That it has one is told by its
// link count, and which by the inode: it is not linked twice. United sequences can be united again.
// What remains of sequences names numbers of which there is no message, as after any rm.
//
// Nothing of this is journalled: for an index the copy has been removed as by rmm, the message that
// is kept was marked as by mark, and what came into the other folder came as by refile. The next
// sync of each finds it so, with the tag to tell which message came back where. The message that is
// kept was flushed before its copy goes.
#include <fcntl.h>

#include <algorithm>
#include <map>

#include "libmh/folder/dedup-flags.h"
#include "libmh/folder/folder-impl.h"
#include "libmh/folder/identity.h"
#include "libmh/format/private-sequences.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// For one lock, while others may be held; and before all are tried again.
constexpr Nanoseconds kPatience = kSecond / 10;
constexpr Nanoseconds kPause = kSecond / 20;
// How often messages are looked for that got other numbers.
constexpr int kMostRounds = 4;
// Numbers in a row that are taken by whatever: see folder-save.cc.
constexpr uint32_t kMostTaken = 1000;

using Fate = CopyToRemove::Fate;

Record record_of(const ComparedMessage& message) {
  Record record;
  record.number = message.number;
  record.file = message.file;
  record.prefix = message.prefix;
  record.first_hash = message.first_hash;
  return record;
}

}  // namespace

class Folder::Deduplication {
 public:
  Deduplication(Folder& kept_in, Folder& copies_in, Folder* target, CopyGoes goes,
                std::span<CopyToRemove> copies)
      : fs_(kept_in.impl_->fs),
        kept_(*kept_in.impl_),
        copies_(*copies_in.impl_),
        target_(target != nullptr ? target->impl_.get() : nullptr),
        goes_(goes),
        items_(copies) {
    for (Folder* folder : {&kept_in, &copies_in, target}) {
      if (folder != nullptr && std::ranges::find(folders_, folder) == folders_.end()) {
        folders_.push_back(folder);
      }
    }
    std::ranges::sort(folders_, {},
                      [](const Folder* folder) { return folder->impl_->location.guid; });
  }

  Status run();

 private:
  // What the sequences of one folder say: the file, and with private ones over it.
  struct View {
    SequencesText file;
    Sequences in_file;
    Sequences all;
  };
  using Edit = std::function<void(const Sequences& of_copies, Sequences* of_folder)>;
  struct Locks;

  Status check() const;
  Status flush_kept() const;
  Status round();
  Status take_locks(Locks* locks);
  Status work();
  std::map<uint64_t, uint32_t> numbers_in(const Impl& folder) const;
  void find_moved();

  bool is_there(const Impl& folder, const ComparedMessage& message) const;
  std::vector<CopyToRemove*> verified();
  std::vector<KeptAndCopy> numbers_of(const std::vector<CopyToRemove*>& now) const;
  std::vector<NumberMove> moves_of(const std::vector<CopyToRemove*>& now) const;

  Status link_all(const std::vector<CopyToRemove*>& now);
  Result<uint32_t> link_one(const CopyToRemove& item, uint32_t* next);
  NumberSet undo_links(const std::vector<CopyToRemove*>& now);
  Status unite(const std::vector<CopyToRemove*>& now);
  Status remove_all(const std::vector<CopyToRemove*>& now);
  void forget(Impl& folder, const NumberSet& numbers);

  Result<View> view_of(Impl& folder);
  Status change(Impl& folder, const Edit& edit);
  Status change_private(Impl& folder, const Sequences& old_in_file, const Sequences& new_in_file,
                        const Edit& edit);
  SequencesFile::Hold* hold_of(const Impl& folder);

  Fs& fs_;
  Impl& kept_;
  Impl& copies_;
  Impl* target_;
  CopyGoes goes_;
  std::span<CopyToRemove> items_;
  std::vector<Folder*> folders_;  // each once, in the order of their locks
  std::map<const Impl*, SequencesFile::Hold> holds_;
};

// Given back at the end of a round, nmh's first.
struct Folder::Deduplication::Locks {
  explicit Locks(Deduplication& the_work) : work(the_work) {}
  ~Locks() {
    work.holds_.clear();
    for (Folder* folder : taken) folder->unlock();
  }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  Deduplication& work;
  std::vector<Folder*> taken;
};

Status Folder::Deduplication::check() const {
  if ((goes_ == CopyGoes::kToFolder) != (target_ != nullptr)) {
    return fail(ErrorKind::kInvalid, "copies go to a folder, or to none");
  }
  if (target_ == nullptr) return {};
  for (const Impl* from : {&kept_, &copies_}) {
    if (from->location.directory == target_->location.directory) {
      return fail(ErrorKind::kInvalid, from->location.folder + " is itself the folder for copies");
    }
  }
  return {};
}

Status Folder::Deduplication::run() {
  MH_TRY(check());
  const Nanoseconds until = fs_.monotonic() + kept_.settings.lock_timeout;
  for (int rounds = 0; rounds < kMostRounds; ++rounds) {
    MH_TRY(flush_kept());
    for (Status done = round(); !done; done = round()) {
      if (done.error().kind() != ErrorKind::kBusy || fs_.monotonic() >= until) return done;
      fs_.sleep(kPause);
    }
    find_moved();
    if (std::ranges::find(items_, Fate::kUndecided, &CopyToRemove::fate) == items_.end()) return {};
  }
  for (CopyToRemove& item : items_) {
    if (item.fate == Fate::kUndecided) item.fate = Fate::kChanged;
  }
  return {};
}

// Without locks, for it may take a while: when the copy goes, the bytes of the other are on disk.
Status Folder::Deduplication::flush_kept() const {
  if (!kept_.settings.flush) return {};
  uint32_t last = 0;
  for (const CopyToRemove& item : items_) {
    if (item.fate != Fate::kUndecided || item.kept.number == std::exchange(last, item.kept.number))
      continue;
    const auto file = kept_.open_number(item.kept.number);
    if (file && FileIdentity::of(file->stat).same_content(item.kept.file)) {
      MH_TRY(fs_.fsync(file->fd.get()));
    }
  }
  return fs_.fsync(kept_.dir.get());
}

Status Folder::Deduplication::take_locks(Locks* locks) {
  for (Folder* folder : folders_) {
    Impl& in = *folder->impl_;
    const Nanoseconds usual = std::exchange(in.settings.lock_timeout, kPatience);
    const Status taken = folder->lock();
    in.settings.lock_timeout = usual;
    MH_TRY(taken);
    locks->taken.push_back(folder);
    if (!in.writable() || !in.state_dir) {
      return fail(ErrorKind::kPermission,
                  "the state of " + in.location.folder + " cannot be written: nothing was done");
    }
    if (!in.swept_outgoing) MH_TRY(in.sweep_outgoing());
  }
  for (Folder* folder : folders_) {
    Impl& in = *folder->impl_;
    if (in.settings.sequences_name.empty()) continue;
    MH_TRY_SET(SequencesFile::Hold hold, in.sequences_lock(kPatience));
    holds_.emplace(&in, std::move(hold));
  }
  return {};
}

// kBusy: nothing was done.
Status Folder::Deduplication::round() {
  Locks locks(*this);
  MH_TRY(take_locks(&locks));
  const Status done = work();
  for (Folder* folder : locks.taken) {
    Impl& in = *folder->impl_;
    if (in.journal && in.journal->has_pending() && !in.journal->append()) {
      in.journal->discard_pending();
    }
  }
  return done;
}

Status Folder::Deduplication::work() {
  const std::vector<CopyToRemove*> now = verified();
  if (now.empty()) return {};
  Status done;
  if (target_ != nullptr) done = link_all(now);
  if (done) done = unite(now);
  if (done) done = remove_all(now);
  if (target_ != nullptr) forget(*target_, undo_links(now));
  NumberSet gone;
  for (const CopyToRemove* item : now) {
    if (item->fate == Fate::kGone) gone.add(item->copy.number);
  }
  forget(copies_, gone);
  return done;
}

// ---- Which they are ---------------------------------------------------------------------------

// Where inode numbers alone prove nothing, only what was not even renamed.
bool Folder::Deduplication::is_there(const Impl& folder, const ComparedMessage& message) const {
  const std::string name = std::to_string(message.number);
  const auto stat = fs_.stat(folder.dir.get(), name.c_str(), Follow::kNo);
  if (!stat || stat->type != FileType::kRegular) return false;
  const FileIdentity found = FileIdentity::of(*stat);
  if (!found.same_content(message.file)) return false;
  return !weak_identity(found, message.file) || found.ctime == message.file.ctime;
}

std::vector<CopyToRemove*> Folder::Deduplication::verified() {
  std::vector<CopyToRemove*> now;
  for (CopyToRemove& item : items_) {
    if (item.fate != Fate::kUndecided) continue;
    if (&kept_ == &copies_ && item.kept.number == item.copy.number) {
      item.fate = Fate::kChanged;
    } else if (is_there(kept_, item.kept) && is_there(copies_, item.copy)) {
      now.push_back(&item);
    }
  }
  return now;
}

// By inode; one pass over the names.
std::map<uint64_t, uint32_t> Folder::Deduplication::numbers_in(const Impl& folder) const {
  std::map<uint64_t, uint32_t> numbers;
  (void)fs_.list(folder.dir.get(), [&](const DirEntry& entry) {
    if (const auto number = message_number(entry.name)) numbers[entry.inode] = *number;
    return true;
  });
  return numbers;
}

// What is undecided is not under its number: whoever renamed it, it has its inode still.
void Folder::Deduplication::find_moved() {
  if (std::ranges::find(items_, Fate::kUndecided, &CopyToRemove::fate) == items_.end()) return;
  std::map<const Impl*, std::map<uint64_t, uint32_t>> numbers;
  for (const Impl* folder : {&kept_, &copies_}) {
    if (!numbers.contains(folder)) numbers[folder] = numbers_in(*folder);
  }
  const auto look = [&](const Impl& folder, ComparedMessage* message) {
    if (is_there(folder, *message)) return true;
    const auto number = numbers[&folder].find(message->file.inode);
    if (number == numbers[&folder].end()) return false;
    message->number = number->second;
    return is_there(folder, *message);
  };
  for (CopyToRemove& item : items_) {
    if (item.fate != Fate::kUndecided) continue;
    if (!look(kept_, &item.kept) || !look(copies_, &item.copy)) item.fate = Fate::kChanged;
  }
}

std::vector<KeptAndCopy> Folder::Deduplication::numbers_of(
    const std::vector<CopyToRemove*>& now) const {
  std::vector<KeptAndCopy> pairs;
  for (const CopyToRemove* item : now) pairs.push_back({item->kept.number, item->copy.number});
  return pairs;
}

std::vector<NumberMove> Folder::Deduplication::moves_of(
    const std::vector<CopyToRemove*>& now) const {
  std::vector<NumberMove> moves;
  for (const CopyToRemove* item : now) moves.push_back({item->copy.number, item->moved_to});
  return moves;
}

// ---- The other folder -------------------------------------------------------------------------

// What a run that died has linked is found by its inode.
Status Folder::Deduplication::link_all(const std::vector<CopyToRemove*>& now) {
  MH_TRY_SET(const uint32_t highest, highest_number(fs_, target_->dir.get()));
  const SequencesFile::Hold* hold = hold_of(*target_);
  uint32_t next = target_->first_number(highest, hold == nullptr || target_->unlockable(*hold));
  for (CopyToRemove* item : now) {
    item->moved_to = 0;
    item->newly_linked = false;
    const std::string name = std::to_string(item->copy.number);
    MH_TRY_SET(const FileStat stat, fs_.stat(copies_.dir.get(), name.c_str(), Follow::kNo));
    const auto already = stat.nlink > 1 ? target_->number_of(item->copy.file) : std::nullopt;
    if (already) {
      item->moved_to = *already;
      continue;
    }
    MH_TRY_SET(item->moved_to, link_one(*item, &next));
    item->newly_linked = true;
  }
  if (target_->settings.flush) MH_TRY(fs_.fsync(target_->dir.get()));
  return {};
}

Result<uint32_t> Folder::Deduplication::link_one(const CopyToRemove& item, uint32_t* next) {
  const std::string from = std::to_string(item.copy.number);
  for (uint32_t taken = 0;; ++*next) {
    if (*next > kHighestMessageNumber || *next == 0) {
      return fail(ErrorKind::kInvalid, target_->location.folder +
                                           ": there are no message numbers left; \"folder "
                                           "-pack\" makes room");
    }
    const std::string to = std::to_string(*next);
    const Status linked = fs_.link(copies_.dir.get(), from.c_str(), target_->dir.get(), to.c_str());
    if (linked) return (*next)++;
    if (linked.error().sys_errno() == EXDEV) {
      return fail(ErrorKind::kUnsupported, target_->location.folder +
                                               " is on another file system "
                                               "than " +
                                               copies_.location.folder);
    }
    if (linked.error().kind() != ErrorKind::kExists || ++taken > kMostTaken) return pass_on(linked);
  }
}

// Of those that did not go after all: as long as the file has its old name too, or what a program
// without lock has put under that. The numbers that are free again.
NumberSet Folder::Deduplication::undo_links(const std::vector<CopyToRemove*>& now) {
  NumberSet undone;
  for (const CopyToRemove* item : now) {
    if (item->fate == Fate::kGone || !item->newly_linked) continue;
    const std::string here = std::to_string(item->copy.number);
    const std::string there = std::to_string(item->moved_to);
    const auto original = fs_.stat(copies_.dir.get(), here.c_str(), Follow::kNo);
    const auto link = fs_.stat(target_->dir.get(), there.c_str(), Follow::kNo);
    if (!original || !link) continue;
    if (!FileIdentity::of(*original).same_file(FileIdentity::of(*link))) continue;
    if (fs_.unlink(target_->dir.get(), there.c_str())) undone.add(item->moved_to);
  }
  return undone;
}

// ---- Removal ----------------------------------------------------------------------------------

Status Folder::Deduplication::remove_all(const std::vector<CopyToRemove*>& now) {
  for (CopyToRemove* item : now) {
    const auto kept_is_there = [&] { return is_there(kept_, item->kept); };
    const auto gone = copies_.remove_file(item->copy.number, record_of(item->copy),
                                          goes_ == CopyGoes::kToBackup, kept_is_there);
    if (!gone) return pass_on(gone);
    if (*gone) item->fate = Fate::kGone;
  }
  return {};
}

// ---- Sequences --------------------------------------------------------------------------------

SequencesFile::Hold* Folder::Deduplication::hold_of(const Impl& folder) {
  const auto found = holds_.find(&folder);
  return found == holds_.end() ? nullptr : &found->second;
}

Result<Folder::Deduplication::View> Folder::Deduplication::view_of(Impl& folder) {
  View view;
  if (SequencesFile::Hold* hold = hold_of(folder)) {
    MH_TRY_SET(view.file, hold->read());
    view.in_file = Sequences::parse(folder.repaired(view.file.text));
  }
  MH_TRY_SET(const SequencesText context, folder.read_context());
  view.all = view.in_file;
  if (folder.context_file() != nullptr) {
    view.all = with_private_sequences(context.text, folder.settings.name_in_context, view.in_file);
  }
  return view;
}

// kBusy: a program that knows no lock came between; nothing of it was written.
Status Folder::Deduplication::change(Impl& folder, const Edit& edit) {
  MH_TRY_SET(View view, view_of(folder));
  MH_TRY_SET(const View of_copies, view_of(copies_));
  Sequences in_file = view.in_file;
  edit(of_copies.in_file, &in_file);
  SequencesFile::Hold* hold = hold_of(folder);
  if (hold != nullptr && in_file.print() != Sequences::parse(view.file.text).print()) {
    MH_TRY(folder.write_sequences(*hold, view.file.text, in_file, &view.file));
    folder.journal->add_sequences_written();
  }
  return change_private(folder, view.in_file, in_file, edit);
}

// Where nmh's context has sequences of this folder, or of the copies', over those of the file.
Status Folder::Deduplication::change_private(Impl& folder, const Sequences& old_in_file,
                                             const Sequences& new_in_file, const Edit& edit) {
  if (folder.context_file() == nullptr) return {};
  MH_TRY_SET(const View of_copies, view_of(copies_));
  const std::string& name = folder.settings.name_in_context;
  const auto changed = [&](const std::string& text) {
    Sequences all = with_private_sequences(text, name, old_in_file);
    edit(&folder == &copies_ ? Sequences(all) : of_copies.all, &all);
    return set_private_sequences(text, name, new_in_file, all);
  };
  MH_TRY_SET(const SequencesText context, folder.read_context());
  if (changed(context.text) == context.text) return {};
  return folder.change_context(changed);
}

Status Folder::Deduplication::unite(const std::vector<CopyToRemove*>& now) {
  const std::vector<NumberMove> moves = moves_of(now);
  const std::vector<KeptAndCopy> pairs = numbers_of(now);
  if (target_ != nullptr) {
    MH_TRY(change(*target_, [&](const Sequences& of_copies, Sequences* there) {
      carry_sequences(target_->settings.flags, moves, of_copies, there);
    }));
  }
  const SameFolder same = &kept_ == &copies_ ? SameFolder::kYes : SameFolder::kNo;
  return change(kept_, [&](const Sequences& of_copies, Sequences* there) {
    unite_sequences(kept_.settings.flags, pairs, Sequences(of_copies), same, there);
  });
}

// When that fails they name no message, as after any rm.
void Folder::Deduplication::forget(Impl& folder, const NumberSet& numbers) {
  if (numbers.empty()) return;
  const Status done =
      change(folder, [&](const Sequences&, Sequences* there) { there->remove_numbers(numbers); });
  if (!done && done.error().kind() != ErrorKind::kBusy) folder.warn(done.error().message());
}

// ---- Folder -----------------------------------------------------------------------------------

Status Folder::remove_copies(Folder& kept_in, Folder& copies_in, Folder* target, CopyGoes goes,
                             std::span<CopyToRemove> copies) {
  return Deduplication(kept_in, copies_in, target, goes, copies).run();
}

Status Folder::put_back_interrupted() {
  MH_TRY(lock());
  const FolderUnlock unlock(*this);
  const auto swept = impl_->sweep_outgoing();
  return swept ? Status() : pass_on(swept);
}

}  // namespace mh
