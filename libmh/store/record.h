// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What is known about one message, and what remains of one that is gone.
//
// A Record belongs to a UID, not to a file: the file is found by its identity (inode and birth
// time), the number is only the name under which it was last seen. A record is good only together
// with the state of its folder (Journal), which alone says whether the UID was ever given out.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "libmh/system/fs.h"

namespace mh {

using Guid = std::array<uint8_t, 16>;

// Which file, and which state of it. An inode number alone proves nothing: ext4 gives the number of
// a removed file to the next one at once. The birth time tells the two apart; it is 0 where the
// file system keeps none.
struct FileIdentity {
  uint64_t inode = 0;
  Nanoseconds birth = 0;
  uint64_t size = 0;
  Nanoseconds mtime = 0;
  Nanoseconds ctime = 0;

  static FileIdentity of(const FileStat& stat) {
    return {stat.inode, stat.birth, stat.size, stat.mtime, stat.ctime};
  }
  // The same file, whatever happened to its content or name.
  bool same_file(const FileIdentity& other) const {
    return inode == other.inode && birth == other.birth;
  }
  // The same file with, as far as a stat can tell, the same content. A rename, a link or a chmod
  // moves ctime only.
  bool same_content(const FileIdentity& other) const {
    return same_file(other) && size == other.size && mtime == other.mtime;
  }
  bool operator==(const FileIdentity&) const = default;
};

struct Record {
  enum Flag : uint32_t {
    kTagged = 1u << 0,         // the file bears the tag line of this record
    kHashKnown = 1u << 1,      // hash is that of all visible bytes
    kRepliedSeen = 1u << 2,    // a Replied: annotation has set \Answered already
    kForwardedSeen = 1u << 3,  // a Forwarded: annotation has set $Forwarded already
    kUnreadable = 1u << 4,     // never read yet: prefix and fingerprints are unknown
    kVerified = 1u << 5,       // the content was compared while the file had just this identity
    kTagFlushed = 1u << 6,     // the tag line is on disk: the journal may forget the rest
    kNoTag = 1u << 7,          // tagging was undone by another writer: leave the file alone
    kGuarded = 1u << 8,        // the file has no write permission yet: see folder-guard.cc
  };

  uint32_t uid = 0;
  uint32_t number = 0;
  FileIdentity file;
  uint32_t prefix = 0;  // bytes of the file before the IMAP message
  uint32_t flags = 0;
  uint64_t first_hash = 0;  // of the first kFirstHashSize visible bytes
  uint64_t hash = 0;        // of all visible bytes, if kHashKnown
  uint32_t internal_date = 0;
  uint32_t saved = 0;
  Guid guid{};

  bool has(Flag flag) const { return (flags & flag) != 0; }
  void set(Flag flag, bool on) { flags = on ? flags | flag : flags & ~static_cast<uint32_t>(flag); }
  uint64_t visible_size() const { return file.size >= prefix ? file.size - prefix : 0; }
  bool operator==(const Record&) const = default;
};

// How many visible bytes first_hash covers. With the usual prefix they lie within one read of 4096.
inline constexpr uint32_t kFirstHashSize = 2048;

// A message that is gone. Kept for 30 days, so that it gets its flags and dates back when it
// returns (mv ,5 5; refile out and in). Its UID never returns.
struct Tombstone {
  uint32_t uid = 0;
  uint32_t number = 0;     // that it had; 0: the folder was renumbered since
  int64_t dropped_at = 0;  // seconds
  Guid guid{};
  FileIdentity file;
  uint32_t internal_date = 0;
  uint32_t saved = 0;
  std::string flags;  // space-separated IMAP flags and keywords when it was last seen

  bool operator==(const Tombstone&) const = default;
};
inline constexpr int64_t kTombstoneSeconds = 30 * 24 * 3600;

// A message that is being saved: written before its file gets a name in the folder, void once the
// index has it. Messages of one transaction share `first`: all of them come into the folder or
// none.
struct PendingSave {
  uint32_t uid = 0;
  uint32_t first = 0;  // the lowest UID of the transaction
  uint32_t count = 0;  // messages of the transaction
  std::string flags;   // space-separated IMAP flags and keywords

  bool operator==(const PendingSave&) const = default;
};

// What an index is to be told of a message beside that it is there: written with its record, void
// once the index has it. A process that dies in between leaves it to the next one.
struct Untold {
  uint32_t uid = 0;
  uint32_t edited_from = 0;          // the UID whose flags it takes over; 0: none
  bool replied = false;              // an annotation is new
  bool forwarded = false;            // likewise
  std::optional<std::string> flags;  // that it had when it left; space-separated
  // Or the index of the folder that it left has them (libmh/folder/returning.h).
  std::string left_state_dir;
  std::string left_path;
  uint32_t left_uid = 0;  // 0: none

  bool operator==(const Untold&) const = default;
};

// What POP3 shows of a message that was brought here from another server.
struct Pop3Identity {
  std::string uidl;    // "" for none
  uint32_t order = 0;  // 0: none

  bool operator==(const Pop3Identity&) const = default;
};

}  // namespace mh
