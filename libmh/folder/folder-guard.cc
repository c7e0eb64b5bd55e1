// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: new messages kept from nmh's inc.
//
// inc decides at its start which number its first message will get, and truncates whatever lies
// under that number when it comes to it, without any lock (nmh, uip/inc.c; measured): a message
// that was delivered in between is lost. A file without write permission stops it: inc then ends
// with an error, and its spool stays whole. So a message that we bring into a folder where inc may
// be at work has no write permission at first. It gets it back when it is a minute old and nobody
// else has brought a message for as long; whoever syncs the folder then sees to that.
//
// Not in a folder that others may write to: there the owner of a file may be somebody who cannot
// give the permission back.
#include <fcntl.h>

#include <algorithm>

#include "libmh/folder/folder-impl.h"

namespace mh {

bool Folder::Impl::guards() const {
  return settings.inc_guard && (location.directory_mode & 022) == 0;
}

// True when nothing is left to be done; false: to be tried again.
bool Folder::Impl::give_back(Record* record, mode_t wanted) {
  // By its descriptor: a number may name another file by now.
  auto file = fs.open(dir.get(), std::to_string(record->number).c_str(),
                      O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  const auto stat = file ? fs.fstat(file->get()) : Result<FileStat>(pass_on(file));
  if (!stat || !record->file.same_content(FileIdentity::of(*stat))) return false;
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
