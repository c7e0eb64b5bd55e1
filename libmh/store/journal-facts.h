// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The facts of a journal as lines, and lines as facts. Pure: no file is touched here.
//
// What stands in which field is written in journal-facts.cc beside the function that prints it. A
// line that is well-formed text (libmh/format/journal-line.h) but says something impossible - a UID
// of 0, a kind that nobody knows - is as bad as one with a wrong check. Reading a line that this
// file printed gives the same fact.
//
// Whatever order lines come in: a dropped UID never returns to life, and UIDNEXT limit and floor
// never go down. A record at or above the limit lifts the limit: the line that did was lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libmh/store/journal.h"

namespace mh {

// Which file a journal is. Where a file system keeps no birth time the handle stands in for it.
struct JournalIdentity {
  uint64_t inode = 0;
  Nanoseconds birth = 0;
  std::string handle;
  bool operator==(const JournalIdentity&) const = default;
};

struct HeaderLine {
  JournalHeader header;
  JournalIdentity own;
};

// How the journal was when it was last flushed: see journal.h.
struct Seal {
  uint64_t inode = 0;
  Nanoseconds birth = 0;
  uint64_t generation = 0;
  uint64_t offset = 0;  // the journal is on disk up to here
  Nanoseconds ctime = 0;
  uint64_t own_inode = 0;  // of the seal itself: one that was restored tells of another day
  Nanoseconds own_birth = 0;
  bool operator==(const Seal&) const = default;
};

// Each appends whole lines, newline included.
void print_header(std::string& out, const HeaderLine& header);
void print_uidnext_limit(std::string& out, uint32_t limit);
void print_modseq_floor(std::string& out, uint64_t floor);
void print_directory(std::string& out, const DirectoryIdentity& directory);
void print_record(std::string& out, const Record& record);
void print_tombstone(std::string& out, const Tombstone& tombstone);
void print_alive(std::string& out, const NumberSet& uids);  // several lines when they are many
void print_pending_sequences(std::string& out, std::string_view text);
// As an E line; `base` is JournalState::sequences_base of the lines before it.
void print_pending_sequences(std::string& out, std::string_view base, const PendingSequences& text);
void print_pending_flags(std::string& out, std::string_view text);
void print_undecided(std::string& out, const NumberSet& uids);
void print_option(std::string& out, std::string_view option, bool on);
void print_pending_save(std::string& out, const PendingSave& save);
void print_saves_finished(std::string& out);
void print_pop3(std::string& out, uint32_t uid, const Pop3Identity& identity);
void print_untold(std::string& out, const Untold& untold);
void print_told(std::string& out);
void print_renumbering(std::string& out, const Renumbering& renumbering);
void print_renumbered(std::string& out, const Renumbered& renumbered);
void print_renumbered_known(std::string& out, uint64_t serial);
// Everything but the header, in the shortest form.
void print_facts(std::string& out, const JournalState& state);
void print_seal(std::string& out, const Seal& seal);

// All of these take a line without its newline.

// kInvalid when it is no header line, kUnsupported when a newer version wrote it.
Result<HeaderLine> parse_header(std::string_view line);
std::optional<Seal> parse_seal(std::string_view line);

struct Applied {
  bool good = false;
  uint32_t uid = 0;  // of an I or T line
};
// Any line but the header. A bad one changes nothing.
Applied apply_line(std::string_view line, JournalState& state);

// Facts may be missing: sets rolled_back and lets UIDNEXT limit and floor jump. They stop at their
// ends, they never wrap. Neither comes out below the age of the journal, in seconds and in
// units of 64 nanoseconds: when one backup is restored twice, what was given after the first time
// lies below what is given after the second, unless it was more than a message each second.
void jump(JournalState& state, Nanoseconds now);

}  // namespace mh
