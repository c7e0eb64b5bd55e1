// SPDX-License-Identifier: LGPL-2.1-or-later
//
// SimulatedFolder: a directory of message files that exists in memory only, for long random
// histories.
//
// A file has an inode with stamps, lines at its top, and a body. Bytes are symbols: two bodies are
// equal if their symbols are, so that a history of hundreds of files of many kilobytes costs
// microseconds. What of a file is the message follows the rules of the tag line and is worked out
// here from the lines, without libmh/format/visible-part.h.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libmh/format/tag-line.h"
#include "libmh/store/record.h"

namespace mh::test {

struct HeaderLine {
  enum class Kind { kFrom, kReplied, kForwarded, kResent, kOther, kTag };
  Kind kind = Kind::kOther;
  uint32_t size = 0;
  uint64_t text = 0;     // symbol of the line
  Tag tag;               // kTag
  bool genuine = false;  // its check verifies
};

// Below the lines. `start` is the symbol of what lies within the first kFirstHashSize bytes, `rest`
// that of all behind it.
struct Body {
  uint64_t start = 0;
  uint64_t rest = 0;
  uint32_t length = 0;
  std::optional<uint32_t> delivery_date() const;
};

// The visible bytes.
struct Content {
  uint64_t start = 0;
  uint64_t whole = 0;  // what a tag bears as hash
  uint32_t length = 0;
  bool operator==(const Content&) const = default;
};

struct SimulatedFile {
  enum class Access { kReadable, kUnreadable, kBeingWritten };
  FileIdentity stamp;
  uint32_t links = 1;
  std::vector<HeaderLine> above;
  Body body;
  Access access = Access::kReadable;
  // Inode, birth time, size and mtime have been those of other bytes before: whoever goes by them
  // is wrong, and has no way to know.
  bool silently_changed = false;
  bool readable() const { return access == Access::kReadable; }
};

// What counts in a file, as the rules of the tag line say.
struct Reading {
  enum class TagKind { kNone, kRecorded, kVerified, kUnverified };
  TagKind kind = TagKind::kNone;
  Tag tag;
  bool first = false;       // GUID and dates of an unverified one may be taken
  size_t hidden_lines = 0;  // so many lines are no part of the message
  uint32_t prefix = 0;      // and so many bytes
  Content content;
  bool replied = false;
  bool forwarded = false;
};
// `recorded`: the tag that the file should bear, if it is known by identity; may be null.
Reading read_as_message(const SimulatedFile& file, const Tag* recorded);

class SimulatedFolder {
 public:
  using File = std::shared_ptr<SimulatedFile>;
  std::map<uint32_t, File> names;
  bool keeps_birth = true;
  bool reuses_inodes = false;  // the next file gets the inode of the one removed last

  Nanoseconds tick() { return clock_ += 2 * kSecond; }
  uint64_t symbol() { return ++symbol_ * 0x9e3779b97f4a7c15u; }
  uint32_t highest() const { return names.empty() ? 0 : names.rbegin()->first; }

  // Bytes that were never there before; `kind` chooses among a few lengths.
  Body new_body(uint32_t kind);
  // `kind`: all of it, only bytes behind the first block, a longer one, a shorter one.
  Body edited(const Body& body, uint32_t kind);

  // A new file, moved over the name as editors and rsync do. Keeps the mtime that is given.
  File put(uint32_t number, SimulatedFile like, std::optional<Nanoseconds> mtime);
  // The same under a name that was removed first.
  File remove_and_put(uint32_t number, SimulatedFile like, std::optional<Nanoseconds> mtime);
  // The file was written to, in place.
  void written(const File& file, std::optional<Nanoseconds> mtime = {});
  void remove(uint32_t number);
  void move(uint32_t from, uint32_t to);  // over what is there
  void link(uint32_t from, uint32_t to);
  void renumber(const std::map<uint32_t, uint32_t>& new_numbers);  // old -> new, of all

 private:
  uint64_t new_inode();
  bool looks_like_other_bytes(const SimulatedFile& file);
  void drop_link(const File& file);

  uint64_t next_inode_ = 100;
  std::vector<uint64_t> free_inodes_;
  bool had_no_birth_ = false;
  std::map<std::array<uint64_t, 4>, uint64_t> seen_;  // inode, birth, size, mtime -> bytes
  uint64_t symbol_ = 0;
  Nanoseconds clock_ = 1'600'000'000 * kSecond;
};

}  // namespace mh::test
