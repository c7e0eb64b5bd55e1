// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: messages that a client has asked to remove.
//
// A number says what to remove only for a moment: a program that knows no lock may have put another
// message there since the folder was listed. So the file is first renamed to a name of ours, where
// nobody else looks; then it shows itself, and is removed only if it is the message that was meant.
// If not it goes back under its number, or under a new one if that was taken meanwhile.
//
// What was asked for stands in Dovecot's index log until the index has it, so a process that dies
// here has its removals done by the next sync. What it leaves in the workshop was perhaps not
// looked at yet: it is put back, and then removed again if it was meant. Each process does so at
// its first sync, and whenever messages are missing: else one that was open all the time would
// take for removed what another would bring back.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "libmh/folder/folder-impl.h"
#include "libmh/folder/identity.h"
#include "libmh/store/random.h"
#include "libmh/system/filename.h"

namespace mh {
Status move_in(Fs& fs, int from, const std::string& name, int to, uint32_t number) {
  const std::string plain = std::to_string(number);
  const Status moved = fs.rename(from, name.c_str(), to, plain.c_str(), RenameMode::kNoReplace);
  const bool impossible = !moved && (moved.error().kind() == ErrorKind::kUnsupported ||
                                     moved.error().kind() == ErrorKind::kInvalid);
  if (!impossible) return moved;
  MH_TRY(fs.link(from, name.c_str(), to, plain.c_str()));
  return fs.unlink(from, name.c_str());
}

// Whether nothing can be renamed between tmp/ of the state and the folder.
bool Folder::Impl::workshop_is_folder() const {
  if (state().options.contains(kWorkshopInFolder)) return true;
  if (workshop) return false;
  const auto folder_stat = fs.fstat(dir.get());
  const auto state_stat = fs.fstat(state_dir.get());
  return folder_stat && state_stat && folder_stat->device != state_stat->device;
}

// tmp/ of the state, or else the folder itself: our names begin with a dot.
Result<int> Folder::Impl::open_workshop() {
  if (workshop_is_folder()) return dir.get();
  if (workshop) return workshop.get();
  const Status made = fs.mkdir(state_dir.get(), kTemporaryDir.data(), location.directory_mode);
  if (!made && made.error().kind() != ErrorKind::kExists) return pass_on(made);
  MH_TRY_SET(workshop, fs.open(state_dir.get(), kTemporaryDir.data(), O_RDONLY | O_DIRECTORY));
  if (made) MH_TRY(set_rights(fs, workshop.get(), location.directory_mode, location.gid));
  return workshop.get();
}

// It is on another mount, although the device is the same: a directory that is mounted a second
// time, or belongs to another quota project. That is only found out by a rename. It is on disk
// before anything gets a name of ours in the folder, so that whoever comes later looks there.
Status Folder::Impl::leave_workshop() {
  if (!journal || !writable() || workshop_is_folder()) {
    return fail(ErrorKind::kReadOnly, location.folder + ": nothing can be renamed here");
  }
  journal->add_option(kWorkshopInFolder, true);
  return commit({}, {});
}

// The file of this name in the workshop gets a number again.
Status Folder::Impl::put_back(const std::string& name, uint32_t number) {
  MH_TRY_SET(const int from, open_workshop());
  // It has its number already where somebody died between link and unlink.
  MH_TRY_SET(const FileStat stat, fs.stat(from, name.c_str(), Follow::kNo));
  if (stat.nlink > 1 && number_of(FileIdentity::of(stat))) return fs.unlink(from, name.c_str());
  Status done = move_in(fs, from, name, dir.get(), number);
  while (!done && done.error().kind() == ErrorKind::kExists) {
    MH_TRY_SET(const uint32_t highest, highest_number(fs, dir.get()));
    done = move_in(fs, from, name, dir.get(), highest + 1);
  }
  return done;
}

// It stays after all. What cannot be put back now is put back by the next sync, which has to come.
void Folder::Impl::spare(const std::string& name, uint32_t number) {
  if (put_back(name, number)) return;
  astray = true;
  swept_outgoing = false;
}

// Removes the file under this number if it is this one; false when it is not. `backup`: as rmm
// does, which leaves it under its number with a comma.
Result<bool> Folder::Impl::remove_file(uint32_t number, const Record& record, bool backup,
                                       const LastLook& may_go) {
  MH_TRY_SET(const int to, open_workshop());
  const std::string plain = std::to_string(number);
  const std::string name = outgoing_name(number, random_number());
  // Nothing has that name: so where there is no RENAME_NOREPLACE it does without.
  const Status taken = fs.rename(dir.get(), plain.c_str(), to, name.c_str(), RenameMode::kReplace);
  if (!taken) {
    if (taken.error().kind() == ErrorKind::kNotFound) return false;
    if (taken.error().sys_errno() != EXDEV) return pass_on(taken);
    MH_TRY(leave_workshop());
    return remove_file(number, record, backup);
  }
  const auto right = is_file_of(to, name, record);
  if (!right || !*right) {
    spare(name, number);
    return right;
  }
  if (may_go && !may_go()) {
    spare(name, number);
    return false;
  }
  const Status gone =
      backup ? fs.rename(to, name.c_str(), dir.get(), ("," + plain).c_str(), RenameMode::kReplace)
             : fs.unlink(to, name.c_str());
  if (gone) return true;
  spare(name, number);
  return pass_on(gone);
}

// By identity; where that proves nothing, by content.
Result<bool> Folder::Impl::is_file_of(int where, const std::string& name, const Record& record) {
  OpenMessage file;
  auto opened = fs.open(where, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const auto stat = fs.stat(where, name.c_str(), Follow::kNo);
  if (!stat) return pass_on(stat);
  const FileIdentity found = FileIdentity::of(*stat);
  if (!record.file.same_content(found)) return false;
  if (!weak_identity(record.file, found) || !opened) return true;
  file.fd = std::move(*opened);
  file.stat = *stat;
  file.number = record.number;
  return is_message(record, &file);
}

// What is still to be removed of what was asked for. With a listing that holds.
void Folder::Impl::remove_asked(const FlagsInput& input, Removed* removed) {
  NumberSet to_remove = input.expunge;
  for (const uint32_t uid : removed->uids) to_remove.remove(uid);
  if (to_remove.empty()) return;
  remove_messages(to_remove, input.flags_of, removed);
}

// Under nmh's lock where there is one, with a listing that holds. Those that are not what they were
// stay, and one that cannot be removed keeps no other from it.
void Folder::Impl::remove_messages(const NumberSet& uids, const FlagsOf& flags_of,
                                   Removed* removed) {
  removed->failed.reset();
  uids.for_each([&](uint32_t uid) {
    const Record* record = find(uid);
    if (record == nullptr) return;
    const auto gone = remove_file(record->number, *record, settings.backup);
    if (!gone) {
      if (!removed->failed) removed->failed = gone.error();
    } else if (*gone) {
      removed->numbers.add(record->number);
      removed->uids.push_back(uid);
    } else {
      removed->mismatch = true;
    }
  });
  removed->mismatch |= std::exchange(astray, false);
  if (removed->uids.empty()) return;
  removed->tombstones = tombstones_of(removed->uids, flags_of);
  apply_to_records({}, removed->tombstones);
  std::erase_if(listing->entries,
                [&](const Entry& entry) { return removed->numbers.contains(entry.number); });
  // This was us: nothing else has to be looked for, but for what came in the same tick.
  const auto stat = fs.fstat(dir.get());
  if (!stat) return;
  listing->directory = DirectoryStamp::of(*stat);
  listing->taken_at = fs.now();
}

// What a process that died has left: true when messages were put back. Nobody is at such work now,
// for we hold the folder lock.
Result<bool> Folder::Impl::sweep_outgoing() {
  if (!writable() || !state_dir) return false;
  MH_TRY_SET(const int from, open_workshop());
  std::vector<std::pair<std::string, uint32_t>> found;
  std::vector<uint32_t> kept;
  MH_TRY(fs.list(from, [&](const DirEntry& entry) {
    if (const auto uid = parse_kept_name(entry.name)) kept.push_back(*uid);
    const auto ours = parse_our_name(entry.name);
    if (ours && ours->outgoing) found.emplace_back(entry.name, ours->number);
    return true;
  }));
  for (const auto& [name, number] : found) {
    const Status back = put_back(name, number);
    if (!back && back.error().sys_errno() == EXDEV) {
      // The state was moved to another mount meanwhile, or the folder was.
      warn("message " + std::to_string(number) + " lies in " + location.state_dir + "/" +
           std::string(kTemporaryDir) + " as " + name + ", on another mount: copy it back");
      continue;
    }
    MH_TRY(back);
    warn("put message " + std::to_string(number) + " back, whose removal was interrupted");
  }
  MH_TRY(remove_dead_messages(fs, from));
  if (!kept.empty()) MH_TRY(sweep_second_names(from, kept));
  swept_outgoing = true;
  return !found.empty();
}

}  // namespace mh
