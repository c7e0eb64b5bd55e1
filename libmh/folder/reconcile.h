// SPDX-License-Identifier: LGPL-2.1-or-later
//
// reconcile: which file is which UID, after anybody may have done anything to the folder.
//
// Pure: it sees a listing, the records, and what has been read of single files so far ("probes"),
// and answers either with a plan or with the probes that it still needs. The caller reads those and
// calls again; two rounds are the rule (start of the file, then the whole of a few). It never asks
// twice for what it was told.
//
// The evidence, strongest first, and why it is in this order:
//
//  1. The same inode and birth time is the same file, under whatever number: that is mv, pack,
//     sortm, swap. When size and mtime are as recorded the content is taken as unchanged (a rename
//     moves ctime of every file of a packed folder: reading them all again would be absurd), but
//     the record loses kVerified, so that the first open compares the content with the hash. A
//     probe that is there all the same is believed: that is how an edit found by an open comes in.
//     When size or mtime differ the file is probed: lines above the message changed (annotation),
//     nothing visible changed (touch), or the message was edited. An edit gets a new UID and a new
//     GUID: what a client has cached under either stays true for ever. It is no edit when a
//     verified tag proves the bytes to be another message: cp writes into the file that is there,
//     so a backup that is restored over a folder packed since puts every message into the file of
//     another one. Such a file counts as one that nobody knows. Where the file system keeps no
//     birth time an inode number proves nothing: there the content has to agree as well.
//  2. A file that nobody knows, under the number of a record whose own file is nowhere: restored
//     from a backup, replaced by an editor, annotated by "anno -noinplace", or another message.
//     The visible bytes decide.
//  3. A file that nobody knows, bearing a verified tag of this UIDVALIDITY: kept under that UID
//     only if the UID was given, is missing in this very pass, was never dropped, and the bytes are
//     the tag's. With other bytes it is that message, edited.
//  4. Everything else is an arrival. A tag tells its GUID and dates. The GUID is taken only if the
//     bytes are those of the tag, and not if it is in use here: then the file is a copy, and a
//     message of its own.
//
// Of several files that could be one UID exactly one is: the one under the recorded number, else
// the one with the lowest number.
//
// A record whose file is nowhere is dropped - only when the listing is whole. A file that cannot be
// read keeps its UID, be it known by its identity or only by its number. A file that is still being
// written waits, and so does the record that it may belong to. When records are lost (UIDs alive
// without one) a file that cannot be read now may be one of them: neither is touched then.
//
// From a listing that is not whole (a probe of a few numbers), and from one that turns out to be
// outdated (a probe found the file gone: `relist`), only plain arrivals are taken: files whose
// inode and number are in no record and that bear no verified tag of this UIDVALIDITY. So no race
// between listing and reading drops or changes a message.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/format/number-set.h"
#include "libmh/format/tag-line.h"
#include "libmh/store/record.h"

namespace mh {

// What reading a file has told. Made by read_probe() (libmh/folder/probe.h).
struct Probe {
  enum class State {
    kRead,         // the fields below hold
    kGone,         // the name was not there any more, or named another file than the entry
    kUnreadable,   // permission or I/O error
    kBeingWritten  // a writer has it open, or it is empty and young
  };
  enum class TagKind {
    kNone,        // nothing in it counts as our tag
    kRecorded,    // the tag equals the one recorded for this file
    kVerified,    // our check value: it was written by us, in this root
    kUnverified,  // hidden, replaced at adoption; GUID and dates hold only if tag_is_first
  };
  State state = State::kGone;
  FileIdentity file;  // as the file was when it was read
  TagKind tag_kind = TagKind::kNone;
  Tag tag;                    // unless kNone
  bool tag_is_first = false;  // nothing above it but perhaps the "From " line
  uint32_t prefix = 0;        // hidden bytes
  bool replied = false;       // a Replied: line among the hidden ones
  bool forwarded = false;
  uint64_t first_hash = 0;
  std::optional<uint64_t> hash;           // of all visible bytes, if they were all read
  std::optional<uint32_t> delivery_date;  // a valid Delivery-Date: among the headers read

  uint64_t visible_size() const { return file.size >= prefix ? file.size - prefix : 0; }
};

struct ProbeRequest {
  uint32_t number = 0;
  FileIdentity file;            // which file is meant
  bool whole = false;           // read all and hash it
  std::optional<Tag> recorded;  // the tag that this file should bear, if it is known by identity
  bool operator==(const ProbeRequest&) const = default;
};

struct ReconcileInput {
  const Listing* listing = nullptr;
  std::span<const Record> records;  // alive ones, in UID order
  // UIDs given and not dropped. One without a record (lost with the store) can only be claimed by a
  // verified tag, and is dropped when none does.
  const NumberSet* alive = nullptr;
  uint32_t uidvalidity = 0;
  uint32_t uidnext = 1;  // no UID at or above it was given
  uint32_t now = 0;      // seconds: when arrivals are saved
  // By number; a whole probe replaces a shorter one. Of an older listing's only those may stay
  // whose file equals the entry's in everything.
  std::map<uint32_t, Probe> probes;
};

// A message that gets a new UID. UIDs are assigned by the caller, in the order of `Plan::added`.
struct Addition {
  Record record;  // uid 0
  std::optional<uint32_t>
      edited_from;          // carries flags and dates of this UID, which is in `dropped`
  bool keeps_guid = false;  // record.guid comes from a tag; else the caller makes one
  // GUID of its tag, also of a copy's: a tombstone of that GUID may tell flags.
  std::optional<Guid> origin;
  // What a verified tag names, 0 without one: the folder and the UID that it was tagged under.
  uint32_t origin_uidvalidity = 0;
  uint32_t origin_uid = 0;
  bool replied = false;  // hidden annotations found: set the flag
  bool forwarded = false;
};

struct Annotation {
  uint32_t uid = 0;
  bool replied = false;  // first seen now
  bool forwarded = false;
};

struct Plan {
  std::vector<ProbeRequest> needed;  // not empty: nothing else holds yet
  std::vector<Record> changed;       // same UID; other number, identity, prefix or flags; by UID
  std::vector<uint32_t> renumbered;  // UIDs in `changed` whose number changed
  std::vector<Addition> added;       // in number order
  std::vector<uint32_t> dropped;     // ascending
  std::vector<Annotation> annotated;
  // UIDs whose tag another writer took away or replaced, visible bytes unchanged. When it happens
  // again and again the caller stops tagging in this folder. Ascending.
  std::vector<uint32_t> untagged;
  std::vector<uint32_t> waiting;  // numbers of files that are still being written
  bool relist = false;            // the listing was outdated: list again for the rest
  bool final() const { return needed.empty(); }
  bool empty() const {
    return changed.empty() && added.empty() && dropped.empty() && annotated.empty();
  }
};

Plan reconcile(const ReconcileInput& input);

// The tag that a record's file bears or will bear, without check value; nothing for messages
// over 4 GiB or with an unknown hash.
std::optional<Tag> tag_of(const Record& record, uint32_t uidvalidity);

}  // namespace mh
