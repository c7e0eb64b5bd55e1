// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A message on its way into a folder, before it has a number.
//
// It is written into a file without a name (O_TMPFILE) in the folder itself: on the right file
// system, with the folder's group and quota, and gone by itself when the process dies. Where there
// are no such files it has a name in the workshop of the folder's state, and its writer holds a
// lock on it, so that what a dead one left is known and removed.
//
// The first kTagLineSize bytes are kept free for the tag line, the text follows (in a folder that
// takes no tags it begins at once, and the journal alone knows the message). When the text is
// there, the tag is written with the UID that the message will most likely get, so that it is
// flushed together with the text, before any lock is taken. Only when another process was faster,
// it is written again, and flushed again before the file gets its name: no file that has a number
// ever bears a tag that is not its own.
#pragma once

#include <cstdint>
#include <string>

#include "libmh/format/tag-line.h"
#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

struct NewMessage {
  Fd file;                  // open for reading and writing
  uint32_t text_at = 0;     // where the text begins in it
  std::string temporary;    // its name in the workshop; "" for none
  uint32_t tagged_uid = 0;  // of the tag that the file bears now; 0: none yet
  // To be set by the writer before it is finished: internal_date, saved, and the GUID if it has one
  // already. All else is set by finish_message() and by Folder::store_messages().
  Record record;
  std::string flags;  // space-separated IMAP flags and keywords
  Pop3Identity pop3;
};

// Where new files are made.
struct NewMessagePlace {
  int folder = -1;
  int workshop = -1;  // on the same mount, else the folder
  mode_t mode = 0600;
  gid_t gid = static_cast<gid_t>(-1);
  bool tags = true;
};

// Makes the file, with a placeholder for the tag line. A crash leaves nothing, or a file in the
// workshop that remove_dead_messages() takes away.
Result<NewMessage> make_message(Fs& fs, const NewMessagePlace& place);

// Writes `size` bytes of a file, from `offset` on, as the text: shared where the file system can,
// else copied. kIo: they are not all there.
Status copy_text(Fs& fs, int from, uint64_t offset, uint64_t size, NewMessage& message);

// The text is complete: reads it back for length and hash, makes a GUID if there is none, sets the
// file's mtime to the internal date, writes the tag for `expected_uid`, and starts writing it all
// to disk without waiting. kInvalid: too large to be tagged (4 GiB).
Status finish_message(Fs& fs, NewMessage& message, uint32_t uidvalidity, uint32_t expected_uid,
                      const TagKey& key, bool flush);

// Writes the tag for the UID in the record, where another one was expected. Not flushed.
Status retag_message(Fs& fs, NewMessage& message, uint32_t uidvalidity, const TagKey& key);

// Gives the file its number. kExists: that number is taken (by whatever). On success `record` has
// number and identity of the file as it is now.
Status link_message(Fs& fs, const NewMessagePlace& place, NewMessage& message, uint32_t number);

// Forgets a message that was not linked.
void drop_message(Fs& fs, const NewMessagePlace& place, NewMessage& message);

// Removes what dead writers left in the workshop.
Status remove_dead_messages(Fs& fs, int workshop);

}  // namespace mh
