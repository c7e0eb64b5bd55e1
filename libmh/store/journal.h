// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Journal: the one durable file of a folder, and what it says when read from start to end.
//
// Text, one checksummed line per fact (libmh/format/journal-line.h), only ever appended to. A line
// is believed as a whole or not at all; where two lines contradict, the later one holds. Facts:
//
//   H  header, the first line: version, generation, the journal's own inode and birth time, mailbox
//      GUID, UIDVALIDITY, created (seconds)
//   N  UIDNEXT limit: no UID at or above it was ever given; reserved ahead in blocks
//   G  UIDNEXT itself, after a compaction: no lower UID is given any more
//   M  HIGHESTMODSEQ floor: reserved ahead likewise
//   D  the directory: inode, birth, handle, path relative to the mail root
//   I  record of a message (all fields of Record): it is alive under that UID
//   T  tombstone: the UID is dropped, for ever
//   L  UIDs that are alive and whose tag lines are on disk (stands for their I lines after a
//      compaction)
//   S  the sequences file as it was, and the text about to be written over it, in the form of
//      libmh/folder/overwritten.h (empty: it was written). The last few are remembered until a
//      message gets another number or is dropped, for they speak of numbers
//   E  the same, told by what it has of the text of the S or E line before it: where thousands of
//      messages are in sequences, one flag more is a few bytes
//   Q  flag changes that could not be brought to the sequences file for over a minute
//   A  all UIDs of arrivals of which nobody has decided yet whether they are seen
//   O  an option of the folder, such as "notag"
//   P  a message that is being saved (PendingSave); its I line stands before
//   F  all saving that was begun is finished
//   U  POP3 UIDL and order of a message
//   B  what an index is to be told of a message (Untold); its I line stands before or behind it
//   K  an index knows all of that
//   R  messages are about to get other numbers (Renumbering)
//   C  they have, and the sequences say so (Renumbered)
//   V  up to this C line all is known to the index
//
// The header says which file it was written into, and the seal, a small file beside the journal
// ("journal.seal", one line), says up to where the journal was flushed and which ctime it had then.
// The seal is written after each flush and never flushed itself: a crash can only make it older,
// never wrong. With both of them a journal tells whether it is still what we left:
//
//   - a bad line at the very end, behind what the seal covers, is what a crash leaves: the next
//     writer cuts it off;
//   - a bad line anywhere else, another identity than the header's (restored, copied by rsync), an
//     end before the sealed one, or at it with another ctime (`cp` over the old file keeps inode
//     and birth time; ctime nobody can set): facts may be missing. rolled_back is set, and UIDNEXT
//     and the floor jump by at least kJump, so that no UID that the lost facts may have given out
//     is given again. That is so in memory, at every open alike, until the first append(): it does
//     not add to such a journal but replaces it by a new file with all facts, which is good again.
//     A chmod or a backup by hard links looks like `cp` and costs one jump;
//   - where a file system offers neither birth time nor handle, inode numbers may be made up at
//     each mount: there a seal that fits in all else is believed, whatever the inode.
//
// What lies behind the seal was perhaps never flushed, by a writer that was killed: flush() makes
// it durable too, for another process may be about to announce it.
//
// Writing happens under the folder lock only. append() writes all lines by one write; nothing in
// them may be told to a client before flush() has returned. Compaction writes a new file, flushes
// it and renames it: therefore refresh() re-opens the journal by name when its inode changed.
// Reading needs no lock, but a reader without it may see less, or for a moment lines that the
// writer fails to complete and cuts off again: it must not announce them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/format/number-set.h"
#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/store/renumbering.h"
#include "libmh/system/fs.h"

namespace mh {

inline constexpr uint32_t kUidBlock = 1024;           // how far ahead UIDNEXT is reserved
inline constexpr uint32_t kJump = 1u << 20;           // distance over what may have been lost
inline constexpr uint32_t kMaxUidNext = UINT32_MAX;   // as a limit: all UIDs are given
inline constexpr uint64_t kModseqReserve = 1u << 20;  // how far ahead the floor is reserved
inline constexpr uint64_t kModseqLow = 1u << 19;      // extend when nearer than this

// Which directory a state belongs to: to the directory, not to a path.
struct DirectoryIdentity {
  uint64_t inode = 0;
  Nanoseconds birth = 0;
  std::string handle;  // where birth is 0
  std::string path;    // relative to the mail root, as last seen; "" is the root itself
  bool operator==(const DirectoryIdentity&) const = default;
};

struct JournalHeader {
  uint64_t generation = 0;  // random, new at each compaction: what store.db refers to
  Guid mailbox_guid{};
  uint32_t uidvalidity = 0;
  int64_t created = 0;
};

// Option (O): the flags were never merged since this journal was made. What lies in the folder then
// is no arrival; it is as the sequences say.
inline constexpr std::string_view kFirstSight = "first-sight";

// Option (O): no tags are written here.
inline constexpr const char* kNoTags = "notag";

// Option (O): nothing can be renamed between tmp/ of the state and the folder, which lie on two
// mounts: temporary files are made in the folder.
inline constexpr const char* kWorkshopInFolder = "workshop-in-folder";

// Option (O): annotations were found at the first sight of the folder, and no index was told yet.
inline constexpr const char* kUntoldAnnotations = "untold-annotations";

// What an S or E line tells: together one text.
struct PendingSequences {
  std::string head;
  std::string before;
  std::string after;
};

// All facts, as they stand after the last line read.
struct JournalState {
  JournalHeader header;
  DirectoryIdentity directory;
  uint32_t uidnext = 1;                // the lowest UID that may be given; see G
  uint32_t uidnext_limit = 1;          // see N
  uint64_t modseq_floor = 0;           // see M
  std::map<uint32_t, Record> records;  // of I lines; a tombstone removes its record
  NumberSet alive;                     // every UID that has a message
  std::map<uint32_t, Tombstone> tombstones;
  std::string pending_sequences;                  // see S
  std::vector<std::string> recent_sequences;      // the last of these, oldest first; see there
  std::string sequences_base;                     // what the next E line is an edit of
  std::vector<std::string> pending_flags;         // see Q, oldest first; opaque here
  NumberSet undecided;                            // see A
  std::set<std::string> options;                  // see O
  std::map<uint32_t, PendingSave> pending_saves;  // see P
  std::map<uint32_t, Pop3Identity> pop3;          // see U
  std::map<uint32_t, Untold> untold;              // see B
  std::optional<Renumbering> renumbering;         // see R
  std::vector<Renumbered> renumbered;             // see C, oldest first
  bool rolled_back = false;  // facts may be missing; UIDNEXT and floor have jumped already
  uint64_t lines = 0;
};

struct HeaderLine;
struct JournalIdentity;
struct Seal;

class Journal {
 public:
  // Writes a new journal with these facts (temporary name, flush, rename, flush of the directory).
  // A crash leaves the old journal, or none, or the new one whole. Mode and gid as the folder's;
  // where the group is refused to us, no group gets rights. `replace` compacts: the old file is
  // replaced; without it kExists when there is one. Generation and own identity are set here,
  // rolled_back is cleared. kInvalid when a fact is impossible, such as a record with the UID 0.
  static Result<Journal> create(Fs& fs, int state_dir, JournalState state, mode_t mode, gid_t gid,
                                bool replace);
  // Opens and reads. kNotFound when there is none, kCorrupt when the header line cannot be read,
  // kUnsupported when a newer version wrote it. Read-only where it cannot be opened for writing
  // (writable() tells).
  static Result<Journal> open(Fs& fs, int state_dir);

  // The first line alone. Errors as of open().
  static Result<JournalHeader> header_of(Fs& fs, int state_dir);

  const JournalState& state() const { return state_; }
  bool writable() const { return writable_; }
  uint64_t offset() const { return offset_; }  // end of the last good line

  // Under the folder lock: reads what others have appended since, or everything anew when the file
  // was replaced. True when anything was new; the UIDs of new I and T lines are added to `changed`
  // (all UIDs of the folder when it was replaced). One stat when nothing is new. On an error the
  // state is as it was, or as it was after some of the new lines.
  Result<bool> refresh(NumberSet* changed = nullptr);

  // The UIDs of I and T lines after `offset`: what a store folded up to there does not know.
  // kNotFound when `offset` is not the end of a line of this file.
  Result<NumberSet> changed_since(uint64_t offset) const;

  // Facts to be appended: collected here, written and applied to state() by append().
  void add_uidnext_limit(uint32_t limit);
  void add_modseq_floor(uint64_t floor);
  void add_directory(const DirectoryIdentity& directory);
  void add_record(const Record& record);
  void add_tombstone(const Tombstone& tombstone);
  void add_pending_sequences(PendingSequences text);
  void add_sequences_written();
  void add_pending_flags(std::string_view text);  // "" clears all
  void add_undecided(const NumberSet& uids);      // replaces the set
  void add_option(std::string_view option, bool on);
  void add_pending_save(const PendingSave& save);
  void add_saves_finished();
  void add_pop3(uint32_t uid, const Pop3Identity& identity);
  void add_untold(const Untold& untold);
  void add_told();
  void add_renumbering(const Renumbering& renumbering);
  void add_renumbered(const Renumbered& renumbered);
  void add_renumbered_known(uint64_t serial);
  // Collects an N line, if one is needed for giving out `count` UIDs from `next` on. kInvalid when
  // so many are not left: the folder needs a new UIDVALIDITY.
  Status reserve_uids(uint32_t next, uint32_t count);
  bool has_pending() const { return !pending_.empty() || pending_sequences_; }
  void discard_pending();

  // Writes what was collected, cutting off a torn tail first; under the same hold of the lock as
  // the last refresh(), else kBusy. On an error state() is as before and what was collected is
  // still pending; what was written is cut off again. When that fails too, whole lines of it count
  // for whoever reads the journal next, as after a crash (our own refresh() included).
  // kReadOnly when not writable(). A journal that is rolled_back is replaced (see above): offset()
  // and generation are new then.
  Status append();
  // Makes all lines up to offset() durable; no system call when they are. Under the folder lock. A
  // flush that failed is never just repeated (the kernel forgets what it could not write): the
  // facts are written into a new file instead, here or at the next call.
  Status flush();

 private:
  struct LineEnd {
    uint64_t offset = 0;
    uint32_t uid = 0;  // of an I or T line
  };

  Journal(Fs& fs, int state_dir) : fs_(&fs), state_dir_(state_dir) {}
  static Result<Journal> load(Fs& fs, int state_dir);
  Status open_file();
  Result<HeaderLine> read_header();
  Status read_lines(std::vector<NumberRange>* changed);
  void take_line(std::string_view line, uint64_t end, std::vector<NumberRange>* changed);
  void take_lines(std::string_view lines);
  void take_good_line(uint64_t end, uint32_t uid);
  bool is_as_left(const JournalIdentity& named, const JournalIdentity& own,
                  const std::optional<Seal>& seal) const;
  Result<bool> refresh_grown(const FileIdentity& now, NumberSet* changed);
  Result<bool> reload(NumberSet* changed);
  Status write_new(const std::string& temporary, const JournalState& facts, mode_t mode, gid_t gid);
  Status rewrite(bool with_pending);
  void write_seal();

  Fs* fs_;
  int state_dir_;
  Fd fd_;
  FileIdentity own_;         // size: how far the file was read, a torn tail included
  bool ctime_known_ = true;  // own_.ctime is that of our last write
  bool writable_ = false;
  bool bad_line_ = false;  // the last lines read were bad: a torn tail unless a good one follows
  bool flush_failed_ = false;
  uint64_t offset_ = 0;
  uint64_t flushed_to_ = 0;
  std::vector<LineEnd> lines_;
  std::string pending_;
  std::optional<PendingSequences> pending_sequences_;  // behind it
  bool impossible_ = false;                            // something in pending_ can be no fact
  JournalState state_;
};

// The seal of the journal that was here last, if it is the very file that was written here and not
// one restored or copied: it tells how far a journal had come that is lost.
std::optional<Seal> read_own_seal(Fs& fs, int state_dir);

}  // namespace mh
