// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: new messages kept from nmh's inc and sortm.
//
// inc decides at its start which number its first message will get, and truncates whatever lies
// under that number when it comes to it, without any lock (nmh, uip/inc.c; measured): a message
// that was delivered in between is lost. A file without write permission stops it: inc then ends
// with an error, and its spool stays whole. So a message that we bring into a folder where inc may
// be at work has no write permission at first. It gets it back when it is a minute old and nobody
// else has brought a message for as long; whoever syncs the folder then sees to that.
//
// sortm and burst list a folder before they lock it, and when the lock is busy they try again a
// second later with the list they have (nmh, sbr/folder_read.c; measured). Then sortm takes the
// number behind the last one that it knows for a free one, and renames a message over whatever has
// got that number since: the very delivery that held the lock, as a rule. So for the same while
// such a message has a second name in the workshop. Where it is missing among messages that were
// renumbered, and no other name of it is left (rmm leaves one), it gets a number again.
//
// Not in a folder that others may write to: there the owner of a file may be somebody who cannot
// give the permission back.
#include <fcntl.h>

#include <algorithm>

#include "libmh/folder/folder-impl.h"
#include "libmh/folder/identity.h"
#include "libmh/system/filename.h"

namespace mh {

bool Folder::Impl::guards() const {
  return settings.inc_guard && (location.directory_mode & 022) == 0;
}

// Before it has a number. Without a second name it is as safe as what nmh stores itself.
void Folder::Impl::keep_second_name(const NewMessage& message) {
  if (!message.record.has(Record::kGuarded)) return;
  const auto where = open_workshop();
  if (!where || *where == dir.get()) return;
  const std::string name = kept_name(message.record.uid);
  (void)fs.unlink(*where, name.c_str());
  (void)(message.temporary.empty()
             ? fs.link_fd(message.file.get(), *where, name.c_str())
             : fs.link(*where, message.temporary.c_str(), *where, name.c_str()));
}

bool Folder::Impl::forget_second_name(const Record& record) {
  if (!record.has(Record::kGuarded)) return true;
  const auto where = open_workshop();
  if (!where || *where == dir.get()) return true;
  const Status gone = fs.unlink(*where, kept_name(record.uid).c_str());
  return gone || gone.error().kind() == ErrorKind::kNotFound;
}

// Of messages that are guarded no more, or are gone: a loss of power brings names back.
Status Folder::Impl::sweep_second_names(int where, const std::vector<uint32_t>& uids) {
  MH_TRY(load_records());
  for (const uint32_t uid : uids) {
    const Record* record = find(uid);
    if (record != nullptr && record->has(Record::kGuarded)) continue;
    (void)fs.unlink(where, kept_name(uid).c_str());
  }
  return {};
}

// Those of the plan's missing messages that were overwritten get a number again. True when any did.
Result<bool> Folder::Impl::bring_back_overwritten(const Plan& plan) {
  bool any = false;
  if (plan.renumbered.empty() || !writable()) return any;
  for (const uint32_t uid : plan.dropped) {
    const Record* record = find(uid);
    if (record == nullptr || !record->has(Record::kGuarded)) continue;
    MH_TRY_SET(const int where, open_workshop());
    const std::string name = kept_name(uid);
    const auto stat = fs.stat(where, name.c_str(), Follow::kNo);
    if (!stat || stat->nlink != 1 || !record->file.same_content(FileIdentity::of(*stat))) continue;
    MH_TRY_SET(uint32_t number, highest_number(fs, dir.get()));
    Status linked;
    do {
      linked = fs.link(where, name.c_str(), dir.get(), std::to_string(++number).c_str());
    } while (!linked && linked.error().kind() == ErrorKind::kExists);
    MH_TRY(linked);
    warn("message " + std::to_string(record->number) +
         " was overwritten by a program that renumbered the folder: it is now " +
         std::to_string(number));
    any = true;
  }
  return any;
}

// True when nothing is left to be done; false: to be tried again.
bool Folder::Impl::give_back(Record* record, mode_t wanted) {
  // By its descriptor: a number may name another file by now.
  auto file = fs.open(dir.get(), std::to_string(record->number).c_str(),
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const auto stat = file ? fs.fstat(file->get()) : Result<FileStat>(pass_on(file));
  if (!stat || !record->file.same_content(FileIdentity::of(*stat))) return false;
  if (!forget_second_name(*record)) return false;
  if ((stat->mode & 0222) == 0) {
    const Status given = fs.chmod(file->get(), (stat->mode & 07777) | (wanted & 0222));
    // Somebody else's file by now: theirs to do.
    if (!given && given.error().kind() != ErrorKind::kPermission) return false;
  }
  if (const auto after = fs.fstat(file->get())) record->file = FileIdentity::of(*after);
  record->set(Record::kGuarded, false);
  return true;
}

void Folder::Impl::release_guards(std::vector<Record>* changed) {
  guard_due = 0;
  if (!journal || !writable()) return;
  uint32_t foreign = 0;
  for (const Record& record : records) {
    if (!record.has(Record::kGuarded)) foreign = std::max(foreign, record.saved);
  }
  const Nanoseconds time = fs.now();
  const mode_t wanted =
      settings.message_mode != 0 ? settings.message_mode : location.directory_mode & 0666;
  for (const Record& known : records) {
    if (!known.has(Record::kGuarded)) continue;
    // By ctime too: a save date may have been given by replication.
    const Nanoseconds came = std::max(known.saved * kSecond, known.file.ctime);
    const Nanoseconds due = std::max(came, foreign * kSecond) + kGuardTime;
    if (due > time && due < time + 2 * kGuardTime) {
      if (guard_due == 0 || due < guard_due) guard_due = due;
      continue;
    }
    const auto planned = std::ranges::find(*changed, known.uid, &Record::uid);
    Record record = planned != changed->end() ? *planned : known;
    if (!give_back(&record, wanted)) {
      guard_due = guard_due == 0 ? time + kGuardTime : std::min(guard_due, time + kGuardTime);
      continue;
    }
    if (planned != changed->end()) {
      *planned = record;
    } else {
      changed->push_back(record);
    }
  }
}

}  // namespace mh
