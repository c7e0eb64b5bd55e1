// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FolderModel: what the table of identity (design.md, section 5) says of a folder. The reference
// for reconcile(), written from the table and not from the code: it has every byte of every file
// before it, remembers messages in its own way, asks nothing and is as slow as it likes.
//
// One thing it is told about the product: which files it has read as a whole. What nobody has read
// nobody can know later, and the table decides differently then (length, first block and mtime in
// place of the hash).
//
// Where the file system keeps no birth time several files may be one message. What the model
// demands there, exactly:
//  - An inode number alone proves nothing. A file with it, with size and mtime as recorded, is the
//    message. One whose size or mtime differ is it only if its visible bytes are the message's;
//    else it counts as a file that nobody knows, and the message as missing. So an edit in place is
//    one (dates and flags carried) only where a tag names the message; without it the old UID goes
//    and a new message arrives.
//  - Of several messages recorded with one inode number the file belongs to the first of: one whose
//    birth time agrees (where times have appeared meanwhile); one with size and mtime right; any;
//    in each case the one under its own number before the others, those by their recorded numbers.
//    What does not fit then is not tried with another.
//  - A message that could not be read yet has no bytes to compare: any file with its inode number
//    is it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/simulated-folder.h"

namespace mh::test {

// A name in a listing.
struct SeenFile {
  uint32_t number = 0;
  FileIdentity listed;
  uint32_t links = 1;
  SimulatedFolder::File file;  // as it was read; if nobody read it, as it was listed
  bool gone = false;           // whoever wanted to read it did not find it any more
  bool opened = false;         // read by a client's open, whatever the stamps say
  bool read_whole = false;     // the product knows the hash of it
};

// What is told, to clients and to the caller.
struct Told {
  struct Arrival {
    uint32_t number = 0;
    uint32_t edited_from = 0;  // 0: none
    bool keeps_guid = false;
    Guid guid{};  // of the tag
    Guid origin{};
    uint32_t internal_date = 0;
    uint32_t saved = 0;
    bool replied = false;
    bool forwarded = false;
    bool operator==(const Arrival&) const = default;
  };
  struct NewFlags {
    uint32_t uid = 0;
    bool replied = false;
    bool forwarded = false;
    bool operator==(const NewFlags&) const = default;
  };
  std::vector<Arrival> arrived;   // in number order
  std::vector<uint32_t> dropped;  // the rest ascending
  std::vector<NewFlags> annotated;
  std::vector<uint32_t> renumbered;
  std::vector<uint32_t> untagged;
  std::vector<uint32_t> waiting;
  bool relist = false;
  bool operator==(const Told&) const = default;
  std::string text() const;
};

class FolderModel {
 public:
  struct Message {
    uint32_t uid = 0;
    uint32_t number = 0;
    FileIdentity file;  // when it was last seen in a state that was judged
    uint32_t prefix = 0;
    Content content;
    bool whole_known = false;  // somebody has read all of it
    bool unread = false;       // nobody has read any of it
    bool tagged = false;
    bool tag_on_disk = false;
    bool leave_alone = false;  // another writer undid our tag
    bool replied_seen = false;
    bool forwarded_seen = false;
    Guid guid{};
    uint32_t internal_date = 0;
    uint32_t saved = 0;
    bool operator==(const Message&) const = default;
    std::string text() const;
  };
  std::map<uint32_t, Message> messages;
  std::set<uint32_t> lost;  // UIDs given and not dropped of which nothing else is known
  uint32_t uidvalidity = 0;
  uint32_t uidnext = 1;

  // After a pass over the whole directory.
  Told pass(std::vector<SeenFile> files, uint32_t now);
  // After a look at some names only, or when the listing turned out to be outdated.
  Told glance(std::vector<SeenFile> files, uint32_t now);

  Tag tag_of(const Message& message) const;
};

// The GUID that whoever runs the histories gives to a message without one.
Guid guid_made_for(uint32_t uidvalidity, uint32_t uid);

}  // namespace mh::test
