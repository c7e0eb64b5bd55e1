// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Adoption: writing the tag line into a message that another tool put into the folder.
//
// A message file is never written in place: `refile -link` may have given it a second name, and a
// reader may be in the middle of it. A copy with the tag is made and flushed first, then exchanged
// with the original by renameat2(RENAME_EXCHANGE). A plain rename would not do: when `rmm` removes
// the message at that moment, a rename brings it back, and when an editor has it open, its next
// write goes into a file that has no name any more. Therefore:
//
//  1. A read lease on the original is held from before the copy until after the exchange: a writer
//     that comes meanwhile breaks it and waits for us. (Where no lease can be had, the file must
//     have been quiet for a while.)
//  2. What came out of the exchange must be what was copied - inode, size, mtime - and the lease
//     unbroken; else it is exchanged back and nothing has happened.
//  3. The original is removed only when nobody has it open (a write lease on it is granted) and it
//     is unchanged. Else it waits in the state directory; if it was written to after all, it takes
//     its place in the folder again: that is an edit like any other.
//
// Between the copy and the exchange a crash leaves a temporary file in the state directory; after
// the exchange the file itself says who it is. Both are found by sweep(). Only the owner of a file
// tags it. mtime, mode, group and extended attributes stay; hard links are parted.
#pragma once

#include <functional>
#include <string>

#include "libmh/folder/probe.h"
#include "libmh/format/tag-line.h"
#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

// The way back, a file without its tag, goes the same way. Only such a copy is not to be told from
// a message by what is in it: until it is whole it bears the name of a message on its way in.
//
// Where adoption works. `workshop` is the directory of the temporary files: tmp/ of the state, or
// the folder itself when that lies on another mount. What is exchanged is flushed before, whatever
// is wanted of new mail: the original was on disk.
struct AdoptPlace {
  int folder = -1;
  int workshop = -1;
  uint32_t uidvalidity = 0;
  TagKey key{};
};

// A copy with the tag, waiting to be exchanged. Holds the lease while it lives, and a lock on the
// copy: one that nobody has locked was left by a process that died.
struct TaggedCopy {
  std::string name;  // in the workshop
  Fd file;           // open until it is exchanged
  Fd original;
  FileIdentity source;
  bool leased = false;
  Record record;  // as it will be once the exchange is done
};

// Makes the copy, and starts writing it to disk. kBusy: somebody writes to the file, or it is not
// (any more) what the record says. kPermission: not ours. kInvalid: cannot be tagged (over 4 GiB).
// Nothing is left behind on an error.
Result<TaggedCopy> make_tagged_copy(Fs& fs, const AdoptPlace& place, const Record& record);

// The same the other way: a copy of a tagged message without its tag, the rest byte for byte.
Result<TaggedCopy> make_untagged_copy(Fs& fs, const AdoptPlace& place, const Record& record);

// Waits until the copy is on disk. Of many copies the first one costs most: so all are made before.
Status flush_copy(Fs& fs, TaggedCopy& copy);

// Exchanges it in, flushed, under nmh's lock. On success the file under record.number is the copy,
// and the original is removed or waits to be. kBusy, kNotFound: the name does not name the original
// any more; the copy is removed. kUnsupported: there is no RENAME_EXCHANGE here.
Status exchange_in(Fs& fs, const AdoptPlace& place, TaggedCopy& copy);

// Looks after what adoptions have left in the workshop: removes dead copies, and originals that are
// free and unchanged; gives an original that was written to its place again. `record_of` finds the
// record of a UID, or null. Under the folder lock and nmh's lock.
Status sweep_workshop(Fs& fs, const AdoptPlace& place,
                      const std::function<const Record*(uint32_t uid)>& record_of);

}  // namespace mh
