#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does every row of the table of identity (design.md, section 5) have a test that fails without it?

Breaks the code of reconcile() in one place after the other, builds the table tests and the
reference model with it, and tells whether either turned red. To be run by hand, after changes of
libmh/folder/{reconcile,evidence,identity}.cc or of their tests:

    tests/support/mutate-reconcile.py [--only TEXT] [--seed N] [--jobs N] BUILD_DIR

BUILD_DIR is a configured build directory (for mh-config.h). Nothing in it or in the source tree is
changed: sources are broken and built in a temporary directory. A mutation whose text is not found
exactly once is an error: the list then has to follow the code. Ends with status 1 if any mutation
survived. A few seconds of computing for each.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RECONCILE = "libmh/folder/reconcile.cc"
EVIDENCE = "libmh/folder/evidence.cc"
IDENTITY = "libmh/folder/identity.cc"
SOURCES = [
    "libmh/format/fingerprint.cc",
    "libmh/format/number-set.cc",
    "tests/support/folder-actions.cc",
    "tests/support/folder-model.cc",
    "tests/support/reconcile-world.cc",
    "tests/support/simulated-folder.cc",
    "tests/libmh/folder/test-reconcile-model.cc",
    "tests/libmh/folder/test-reconcile.cc",
]
LIMIT = 90  # seconds; what runs longer hangs

# (row, what is broken, file, text, replacement)
MUTATIONS = [
    # ---- identity under another number
    ("identity", "renamed files are not found", IDENTITY, "  pairing.by_inode();\n", ""),
    ("identity", "a number alone proves identity", IDENTITY,
     "if (found && pairs_.record_of[e] == kNone) link(r, e);",
     "if ((found || true) && pairs_.record_of[e] == kNone) link(r, e);"),
    ("identity", "the birth time is not looked at", IDENTITY,
     "a.inode == b.inode && (a.birth == b.birth || weak_identity(a, b))", "a.inode == b.inode"),
    ("identity", "equal inode numbers are the same file", IDENTITY,
     "  return a.birth == 0 || b.birth == 0;", "  return false && (a.birth == 0 || b.birth == 0);"),
    ("identity", "own numbers have no precedence among links", IDENTITY,
     "    own_numbers(records, entries, wanted);\n", ""),
    ("identity", "own numbers come first among unlikely pairs only", IDENTITY,
     "    own_numbers(records, entries, wanted);\n",
     "    if (wanted == Likeness::kPossible) own_numbers(records, entries, wanted);\n"),
    ("identity", "size and mtime make nothing likelier", IDENTITY,
     "a.size == b.size && a.mtime == b.mtime ? Likeness::kLikely : Likeness::kPossible",
     "a.size == b.size && a.mtime == b.mtime ? Likeness::kPossible : Likeness::kPossible"),
    ("identity", "weak pairs under their number whatever the stamps say", IDENTITY,
     "weak_identity(records_[r].file, file) ? records_[r].file.same_content(file)",
     "weak_identity(records_[r].file, file) ? records_[r].file.inode == file.inode"),
    ("identity", "a renamed message is not told to be renumbered", RECONCILE,
     "plan_.renumbered.push_back(record.uid);", ";"),
    ("identity", "a change of the record is not written down", RECONCILE,
     "    plan_.changed.push_back(record);\n  }\n  void keep(", "  }\n  void keep("),
    ("identity", "the new number is not recorded", RECONCILE,
     "  record.number = entry.number;\n  // The old", "  // The old"),
    ("identity", "what an open found is not believed", RECONCILE,
     "if (probe(e) == nullptr || probe(e)->state != State::kRead) return judge_unread(r, e);",
     "if (probe(e) == nullptr || probe(e)->state != State::kRead ||\n"
     "      (same_size_and_mtime(record.file, entries_[e].file) && "
     "!record.has(Record::kUnreadable)))\n    return judge_unread(r, e);"),
    ("identity", "a moved ctime leaves it verified", RECONCILE,
     "if (record.file != entry.file) record.set(Record::kVerified, false);", ""),
    # ---- number gone
    ("gone", "nothing is dropped", RECONCILE,
     "if (file_of_[r] == kNone) plan_.dropped.push_back(records_[r].uid);", ";"),
    ("gone", "lost UIDs without a file are not dropped", RECONCILE,
     "if (!hidden) plan_.dropped.push_back(lost_[i]);", ";"),
    # ---- same number, new inode
    ("same number", "restored files are not recognised", RECONCILE, "    match_same_number();\n",
     ""),
    ("same number", "any bytes will do", RECONCILE,
     "if (same == Comparison::kSame) keep(r, e, false);",
     "if (same != Comparison::kReadWhole) keep(r, e, false);"),
    ("same number", "the whole is not read", RECONCILE,
     "if (same == Comparison::kReadWhole) ask(e, true, nullptr);", ""),
    ("same number", "a message never read is any file under its number", RECONCILE,
     "    if (record.has(Record::kUnreadable)) continue;\n",
 
        "    if (record.has(Record::kUnreadable)) {\n      keep(r, e, false);\n      continue;\n    }\n"),
    ("same number", "length is not compared", EVIDENCE,
     "probe.visible_size() != record.visible_size() || probe.first_hash", "probe.first_hash"),
    ("same number", "the first block is not compared", EVIDENCE,
     " || probe.first_hash != record.first_hash)", ")"),
    ("same number", "a short message is not proven by its first block", EVIDENCE,
     "  if (probe.visible_size() <= kFirstHashSize) return Comparison::kSame;\n", ""),
    ("same number", "the hash on record is not compared", EVIDENCE,
     "return *probe.hash == *hash ? Comparison::kSame : Comparison::kOther;",
     "return Comparison::kSame;"),
    ("same number", "a hash is not asked for", EVIDENCE,
     "if (!probe.hash) return Comparison::kReadWhole;",
     "if (!probe.hash) return Comparison::kSame;"),
    ("same number", "the hash of the tag tells nothing", EVIDENCE,
     "    hash = probe.tag.hash;  // tagged by us, and the record of it lost in a crash\n", ""),
    ("same number", "mtime proves nothing", EVIDENCE,
     "annotated || probe.file.mtime == record.file.mtime ? Comparison::kSame",
     "annotated ? Comparison::kSame"),
    ("same number", "mtime is not compared", EVIDENCE,
     "annotated || probe.file.mtime == record.file.mtime ? Comparison::kSame",
     "true || annotated ? Comparison::kSame"),
    ("same number", "lines above excuse a new file's mtime", EVIDENCE,
     "known_by_identity && probe.prefix != record.prefix", "probe.prefix != record.prefix"),
    ("same number", "other bytes: nothing new arrives", RECONCILE,
     "  for (const uint32_t e : unknown_) {\n    if (owner_[e] != kNone) continue;\n    const bool",
     "  for (const uint32_t e : unknown_) {\n"
     "    if (owner_[e] != kNone || !lost_.empty() || !plan_.dropped.empty()) continue;\n"
     "    const bool"),
    # ---- visible bytes changed
    ("edit", "an edit in place keeps its UID", RECONCILE,
     "return release(r, e);\n  edit(r, e);", "return release(r, e);\n  keep(r, e, true);"),
    ("edit", "an edit in place is a removal and an arrival", RECONCILE,
     "return release(r, e);\n  edit(r, e);", "return release(r, e);\n  release(r, e);"),
    ("edit", "without birth times the inode alone proves an edit", RECONCILE,
     "  if (weak_identity(records_[r].file, entries_[e].file)) return release(r, e);\n", ""),
    ("edit", "another message written into the file is an edit", RECONCILE,
     "    if (tag_fits(read)) return release(r, e);\n", ""),
    ("edit", "... and its bytes are not read for it", RECONCILE,
     "    if (!read.hash) return ask(e, true, &records_[r]);\n", ""),
    ("edit", "... nor need they fit", RECONCILE,
     "if (tag_fits(read)) return release(r, e);", "return release(r, e);"),
    ("edit", "the own tag counts as another message's", RECONCILE,
     "!own_tag && tag_may_fit(read)", "tag_may_fit(read)"),
    ("edit", "a tag that fits counts though it verifies nowhere", RECONCILE,
     "if (read.tag_kind == Probe::TagKind::kVerified && !own_tag",
     "if (!own_tag"),
    ("edit", "the old UID is not dropped", RECONCILE,
     "    owner_[e] = kTaken;\n    plan_.dropped.push_back(records_[r].uid);",
     "    owner_[e] = kTaken;"),
    ("edit", "no flags are carried", RECONCILE, "    added.edited_from = edit->uid;\n", ""),
    ("edit", "the date is not carried", RECONCILE,
     "    added.record.internal_date = old.internal_date;\n", ""),
    ("edit", "the save date is not carried", RECONCILE, "    added.record.saved = old.saved;\n",
     ""),
    ("edit", "a GUID is taken from the tag", RECONCILE,
     "added.keeps_guid = edit == nullptr && !second", "added.keeps_guid = !second"),
    ("edit", "flags of a tombstone are looked for", RECONCILE, "    added.origin.reset();\n", ""),
    ("edit", "an old Replied: sets its flag again", RECONCILE,
     "added.replied = added.replied && !old.has(Record::kRepliedSeen);", ""),
    ("edit", "an old Forwarded: sets its flag again", RECONCILE,
     "added.forwarded = added.forwarded && !old.has(Record::kForwardedSeen);", ""),
    ("edit", "what was seen of the old one is forgotten", RECONCILE,
     "    added.record.flags |= old.flags & kCarried;\n", "    static_cast<void>(kCarried);\n"),
    ("edit", "edits by new files are not recognised", RECONCILE,
     "const bool edited = claim_of(claim.entry).has_value() && !tag_fits(*probe(claim.entry));",
     "const bool edited = false;"),
    ("edit", "of two edits both carry", RECONCILE,
     "const bool edited = claim_of(claim.entry).has_value() && !tag_fits(*probe(claim.entry));",
     "const bool edited = !tag_fits(*probe(claim.entry)) && owner_[claim.entry] == kNone;"),
    ("edit", "a tag that contradicts the record is an edit", RECONCILE,
     "claim_of(claim.entry).has_value() && !tag_fits(*probe(claim.entry));",
     "claim_of(claim.entry).has_value();"),
    ("edit", "an edit of a lost one is not its end", RECONCILE,
     "      plan_.dropped.push_back(claim.uid);\n", ""),
    ("edit", "a lost one that was edited is dropped twice", RECONCILE,
     "      recovered_[lost_index(claim.uid)] = true;\n    }", "    }"),
    ("edit", "the tag on record of a released file is not looked for", RECONCILE,
     "    released_[e] = r;\n", ""),
    # ---- only lines above the tag changed
    ("annotation", "annotations are not told", RECONCILE,
     "if (annotation.replied || annotation.forwarded) plan_.annotated.push_back(annotation);", ""),
    ("annotation", "Replied: is told each time", RECONCILE,
     "read.replied && !was.has(Record::kRepliedSeen)", "read.replied"),
    ("annotation", "Forwarded: is told each time", RECONCILE,
     "read.forwarded && !was.has(Record::kForwardedSeen)", "read.forwarded"),
    ("annotation", "Replied: is not remembered", EVIDENCE,
     "  if (probe.replied) record.set(Record::kRepliedSeen, true);\n", ""),
    ("annotation", "Forwarded: is not remembered", EVIDENCE,
     "  if (probe.forwarded) record.set(Record::kForwardedSeen, true);\n", ""),
    ("annotation", "an untagged long message that is annotated counts as edited", EVIDENCE,
     "known_by_identity && probe.prefix != record.prefix", "false && known_by_identity"),
    ("annotation", "the new prefix is not recorded", EVIDENCE,
     "  record.prefix = probe.prefix;\n", ""),
    ("annotation", "the new stamps are not recorded", EVIDENCE, "  record.file = probe.file;\n",
     ""),
    # ---- unknown file, verified tag of this UIDVALIDITY
    ("claim", "tags claim nothing", RECONCILE,
     "if (owner_[e] != kNone || !tagged_here(e)) return std::nullopt;", "return std::nullopt;"),
    ("claim", "of any UIDVALIDITY", RECONCILE,
     "if (!readable(e) || probe(e)->tag.uidvalidity != input_.uidvalidity) return false;",
     "if (!readable(e)) return false;"),
    ("claim", "verified or not", RECONCILE,
     "    return probe(e)->tag_kind == Probe::TagKind::kVerified ||\n"
     "           probe(e)->tag_kind == Probe::TagKind::kRecorded;",
     "    return probe(e)->tag_kind != Probe::TagKind::kNone;"),
    ("claim", "only with a check that verifies", RECONCILE,
     "    return probe(e)->tag_kind == Probe::TagKind::kVerified ||\n"
     "           probe(e)->tag_kind == Probe::TagKind::kRecorded;",
     "    return probe(e)->tag_kind == Probe::TagKind::kVerified;"),
    ("claim", "of UIDs that were never given", RECONCILE,
     "  if (tag.uid >= input_.uidnext) return std::nullopt;\n", ""),
    ("claim", "of UIDs dropped before", RECONCILE,
     "    if (at == lost_.size() || recovered_[at]) return std::nullopt;\n",
     "    if (at != lost_.size() && recovered_[at]) return std::nullopt;\n"),
    ("claim", "of a lost UID by two files", RECONCILE,
     "if (at == lost_.size() || recovered_[at]) return std::nullopt;",
     "if (at == lost_.size()) return std::nullopt;"),
    ("claim", "of a UID that is not missing", RECONCILE,
     "if (file_of_[r] != kNone || records_[r].guid != tag.guid)",
     "if (records_[r].guid != tag.guid)"),
    ("claim", "with another GUID", RECONCILE,
     "if (file_of_[r] != kNone || records_[r].guid != tag.guid)", "if (file_of_[r] != kNone)"),
    ("claim", "length and hash need not be right", RECONCILE,
     "  if (!tag_fits(read)) return false;\n", ""),
    ("claim", "the record need not agree", RECONCILE,
     "return claim.record == kNone || compare_visible(records_[claim.record], read, false,\n"
     "                                                  input_.uidvalidity) == Comparison::kSame;",
     "return true;"),
    ("claim", "two files get one UID", RECONCILE,
     "if (claim.uid == settled || !proven(claim)) continue;", "if (!proven(claim)) continue;"),
    ("claim", "the recorded number has no precedence", RECONCILE,
     "std::tie(uid, elsewhere, entry) < std::tie(other.uid, other.elsewhere, other.entry)",
     "std::tie(uid, entry) < std::tie(other.uid, other.entry)"),
    ("claim", "the lowest number has no precedence", RECONCILE,
     "std::tie(uid, elsewhere, entry) < std::tie(other.uid, other.elsewhere, other.entry)",
     "std::tie(uid, elsewhere, other.entry) < std::tie(other.uid, other.elsewhere, entry)"),
    ("claim", "lost UIDs are not known", RECONCILE, "    find_lost();\n", ""),
    ("claim", "a recovered UID is dropped all the same", RECONCILE,
     "    if (recovered_[i]) continue;\n", ""),
    ("claim", "the record of a recovered UID is not written", RECONCILE,
     "  plan_.changed.push_back(record);\n  recovered_", "  recovered_"),
    ("claim", "the GUID of a recovered message is given again", RECONCILE,
     "  found_guids_.push_back(record.guid);\n", ""),
    ("claim", "a recovered message has lost its tag", EVIDENCE,
     "  record.set(Record::kTagged, true);\n  record.set(Record::kVerified, true);\n  return",
     "  record.set(Record::kVerified, true);\n  return"),
    ("claim", "a recovered message has lost its date", EVIDENCE,
     "  record.internal_date = probe.tag.internal_date;\n  record.saved = probe.tag.saved;\n"
     "  record.set", "  record.saved = probe.tag.saved;\n  record.set"),
    ("claim", "a recovered message has lost its save date", EVIDENCE,
     "  record.saved = probe.tag.saved;\n  record.set", "  record.set"),
    ("claim", "a recovered message has lost its GUID", EVIDENCE,
     "  record.guid = probe.tag.guid;\n  record.internal_date", "  record.internal_date"),
    ("claim", "the tag's UID need not be the record's", EVIDENCE,
     "         probe.tag.uid == record.uid && probe.tag.guid == record.guid;",
     "         probe.tag.guid == record.guid;"),
    ("claim", "nor its GUID", EVIDENCE,
     "probe.tag.uid == record.uid && probe.tag.guid == record.guid;",
     "probe.tag.uid == record.uid;"),
    ("claim", "nor its UIDVALIDITY", EVIDENCE,
     "probe.tag_kind == Probe::TagKind::kVerified && probe.tag.uidvalidity == uidvalidity &&",
     "probe.tag_kind == Probe::TagKind::kVerified && uidvalidity != 0 &&"),
    # ---- tags taken away
    ("tag", "nobody hears of a tag taken away", RECONCILE,
     "    plan_.untagged.push_back(was.uid);\n", ""),
    ("tag", "a file whose tag was taken away is tagged again", RECONCILE,
 
        "if (in_place || read.tag_kind == Probe::TagKind::kUnverified) found.set(Record::kNoTag, true);",
     ""),
    ("tag", "a restored file without tag is left alone", RECONCILE,
     "if (in_place || read.tag_kind == Probe::TagKind::kUnverified) found", "found"),
    ("tag", "a file tagged by another root is tagged again", RECONCILE,
     "if (in_place || read.tag_kind == Probe::TagKind::kUnverified) found", "if (in_place) found"),
    ("tag", "any tag counts as that of the record", EVIDENCE,
     "probe.tag_kind != Probe::TagKind::kNone && tag_of(found, uidvalidity) == probe.tag;",
     "probe.tag_kind != Probe::TagKind::kNone;"),
    ("tag", "a restored tag counts as flushed", EVIDENCE,
     "if (!tagged || !record.file.same_content(probe.file)) found", "if (!tagged) found"),
    ("tag", "a tag that is gone counts as flushed", EVIDENCE,
     "if (!tagged || !record.file.same_content(probe.file)) found",
     "if (!record.file.same_content(probe.file)) found"),
    ("tag", "bytes not compared count as verified", EVIDENCE,
     "probe.hash.has_value() || (record.has(Record::kVerified) && record.file == probe.file)",
     "true"),
    # ---- unknown file: no tag, any other tag
    ("arrival", "nobody announces it", RECONCILE, "    add_one(e, nullptr);\n", ""),
    ("arrival", "out of order", RECONCILE,
     "return a.record.number < b.record.number; });",
     "return a.record.number > b.record.number; });"),
    ("arrival", "without the date of delivery", EVIDENCE,
     "probe.delivery_date.value_or(to_date(probe.file.mtime))", "to_date(probe.file.mtime)"),
    ("arrival", "without the date of its tag", EVIDENCE,
     "    record.internal_date = probe.tag.internal_date;\n    record.saved", "    record.saved"),
    ("arrival", "without the save date of its tag", EVIDENCE,
     "    record.saved = probe.tag.saved;\n    record.guid", "    record.guid"),
    ("arrival", "without the GUID of its tag",
     EVIDENCE, "    record.guid = probe.tag.guid;\n    added",
     "    added"),
    ("arrival", "no tombstone is looked for", EVIDENCE, "    added.origin = probe.tag.guid;\n", ""),
    ("arrival", "an unverified tag below annotations is trusted", EVIDENCE,
     "      return probe.tag_is_first;", "      return true;"),
    ("arrival", "an unverified first tag is not trusted", EVIDENCE,
     "      return probe.tag_is_first;", "      return false;"),
    ("arrival", "a verified tag is not trusted", EVIDENCE,
     "    case Probe::TagKind::kRecorded:\n    case Probe::TagKind::kVerified:\n      return true;",
     "    case Probe::TagKind::kVerified:\n      return false;\n"
     "    case Probe::TagKind::kRecorded:\n      return true;"),
    ("arrival", "the GUID is taken with other bytes", RECONCILE,
     "&& readable(e) && tag_fits(*probe(e));", "&& readable(e) && tag_is_trusted(*probe(e));"),
    ("arrival", "... of the same length", EVIDENCE,
     "return tag_may_fit(probe) && probe.hash == probe.tag.hash;", "return tag_may_fit(probe);"),
    ("arrival", "... of another length, or all of it is read for that", EVIDENCE,
     "return tag_is_trusted(probe) && probe.tag.length == probe.visible_size();",
     "return tag_is_trusted(probe);"),
    ("arrival", "the GUID is never taken: nobody reads the whole", RECONCILE,
     "if (!readable(e) || !tag_may_fit(*probe(e)) || probe(e)->hash) return;", "return;"),
    ("arrival", "its Replied: sets nothing", EVIDENCE, "  added.replied = probe.replied;\n", ""),
    ("arrival", "its Forwarded: sets nothing", EVIDENCE, "  added.forwarded = probe.forwarded;\n",
     ""),
    ("arrival", "its hash is forgotten", EVIDENCE, "    record.set(Record::kHashKnown, true);\n",
     ""),
    ("arrival", "its first block is forgotten", EVIDENCE,
     "  record.first_hash = probe.first_hash;\n", ""),
    # ---- copies and second names
    ("copy", "a GUID in use is given again", EVIDENCE,
     "std::binary_search(used.begin(), used.end(), guid)", "false"),
    ("copy", "two arrivals share a GUID", EVIDENCE,
     "(i > 0 && wanted[i - 1].first == guid) ||\n        std", "std"),
    ("copy", "all zeros are a GUID", EVIDENCE, "  used.push_back(Guid{});  // all zero is none\n",
     ""),
    ("copy", "a GUID that goes in this pass is in use", RECONCILE,
     "if (!std::binary_search(plan_.dropped.begin(), plan_.dropped.end(), record.uid))", ""),
    ("copy", "a second name takes the GUID", RECONCILE,
     "edit == nullptr && !second && readable(e)", "edit == nullptr && readable(e)"),
    ("copy", "second names of known files are not seen", IDENTITY,
     "std::binary_search(taken.begin(), taken.end(), inode)", "false"),
    ("copy", "second names of new files are not seen", IDENTITY,
     "if ((i > 0 && free_names[i - 1].first == inode) ||\n", "if (false ||\n"),
    # ---- unreadable
    ("unreadable", "a known message that cannot be read is dropped", RECONCILE,
     "  record.number = entry.number;\n  // The old",
 
        "  if (probe(e) != nullptr) return release(r, e);\n  record.number = entry.number;\n  // The old"),
    ("unreadable", "a file under the number of a message does not make it wait", RECONCILE,
     "      file_of_[r] = owner_[e] = kTaken;\n      continue;", "      continue;"),
    ("unreadable", "its edit is not seen when it can be read", RECONCILE,
     "if (unchanged || (never_read && !being_written)) {", "if (true) {"),
    ("unreadable", "a message never read follows no stamps", RECONCILE,
     "if (unchanged || (never_read && !being_written)) {", "if (unchanged) {"),
    ("unreadable", "a message being written follows the stamps", RECONCILE,
     "if (unchanged || (never_read && !being_written)) {", "if (unchanged || never_read) {"),
    ("unreadable", "what can be read at last is compared with nothing", RECONCILE,
     "  if (record.has(Record::kUnreadable)) return keep(r, e, true);  // at last\n", ""),
    ("unreadable", "nobody tries again", RECONCILE,
     "(never_read || !unchanged)) return ask", "!unchanged) return ask"),
    ("unreadable", "a changed file is not read", RECONCILE,
     "(never_read || !unchanged)) return ask", "never_read) return ask"),
    ("unreadable", "it stays unread for ever", EVIDENCE,
     "  record.set(Record::kUnreadable, false);\n", ""),
    ("unreadable", "an arrival counts as read", EVIDENCE,
     "    record.set(Record::kUnreadable, true);\n", ""),
    ("unreadable", "it has no date", EVIDENCE,
     "    record.internal_date = to_date(entry.file.mtime);\n", ""),
    ("unreadable", "no lost UID can hide behind it", RECONCILE,
     "owner_[e] == kNone && !readable(e); });", "false && owner_[e] == kNone && !readable(e); });"),
    ("unreadable", "a file that may be a lost UID is announced", RECONCILE,
     "if (waits || (!readable(e) && withheld_)) continue;", "if (waits) continue;"),
    # ---- half-written files
    ("writing", "a half-written file is announced", RECONCILE,
     "if (waits || (!readable(e) && withheld_)) continue;",
     "if (!readable(e) && withheld_) continue;"),
    ("writing", "nobody hears that it waits", RECONCILE,
     "    if (waits) plan_.waiting.push_back(entries_[e].number);\n", ""),
    ("writing", "nobody hears that a known one waits", RECONCILE,
     "  if (being_written) plan_.waiting.push_back(entry.number);\n", ""),
    ("writing", "nobody hears that one under a known number waits", RECONCILE,
 
        "      if (probe(e)->state == State::kBeingWritten) plan_.waiting.push_back(entries_[e].number);\n"
     "      file_of_", "      file_of_"),
    # ---- listings that are not whole, or outdated
    ("partial", "a partial listing counts as whole", RECONCILE,
     "    if (!input_.listing->whole) return run_partial();\n", ""),
    ("partial", "a file gone since the listing is nothing", RECONCILE,
     "    if (gone(e)) outdated_ = true;\n", ""),
    ("partial", "an outdated listing is used", RECONCILE,
     "    if (outdated_) return run_partial();\n", ""),
    ("partial", "nobody lists again", RECONCILE, "  plan_.relist = outdated_;\n", ""),
    ("partial", "another file under the name is the file", RECONCILE,
     " || !probe(e)->file.same_file(entries_[e].file));", ");"),
    ("partial", "files of records are arrivals", RECONCILE,
     "  owner_ = entries_of_records(records_, entries_, kTaken);\n",
     "  owner_.assign(entries_.size(), kNone);\n"),
    ("partial", "files under recorded numbers are arrivals", IDENTITY,
     "if (const uint32_t e = entry_with(entries, record.number); e != kNone) marked[e] = mark;",
     ""),
    ("partial", "files with recorded inodes are arrivals", IDENTITY,
     "      marked[name->second] = mark;", "      static_cast<void>(marked);"),
    ("partial", "second names are arrivals", RECONCILE,
     "if (owner_[e] != kNone || second || tagged_here(e)",
     "if (owner_[e] != kNone || tagged_here(e)"),
    ("partial", "files with our tag are arrivals", RECONCILE,
     "second || tagged_here(e) || gone(e)) continue;", "second || gone(e)) continue;"),
    ("partial", "files that cannot be read are arrivals", RECONCILE,
     "    if (readable(e)) unknown_.push_back(e);\n", "    unknown_.push_back(e);\n"),
    ("partial", "nobody hears that a file waits", RECONCILE,
     "    if (probe(e) && probe(e)->state == State::kBeingWritten)\n"
     "      plan_.waiting.push_back(entries_[e].number);\n", ""),
    # ---- the order of what is told
    ("order", "changes", RECONCILE,
     "  std::sort(plan_.changed.begin(), plan_.changed.end(), by_uid);\n", ""),
    ("order", "annotations", RECONCILE,
     "  std::sort(plan_.annotated.begin(), plan_.annotated.end(), by_uid);\n", ""),
    ("order", "renumbered", RECONCILE,
     "  std::sort(plan_.renumbered.begin(), plan_.renumbered.end());\n", ""),
    ("order", "untagged", RECONCILE,
     "  std::sort(plan_.untagged.begin(), plan_.untagged.end());\n", ""),
    ("order", "waiting", RECONCILE, "  std::sort(plan_.waiting.begin(), plan_.waiting.end());\n",
     ""),
    ("order", "dropped", RECONCILE,
     "  std::sort(plan_.dropped.begin(), plan_.dropped.end());\n", ""),
]


class Builder:
    def __init__(self, build_dir, work):
        self.work = work
        self.flags = ["-std=gnu++20", "-O1", "-w", "-I" + TOP, "-I" + build_dir]
        self.compiler = os.environ.get("CXX", "g++").split()

    def compile(self, source, name, first_include=None):
        result = os.path.join(self.work, name)
        include = ["-I" + first_include] if first_include else []
        command = self.compiler + include + self.flags + ["-c", source, "-o", result]
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        return result

    def link(self, objects, name):
        program = os.path.join(self.work, name)
        command = self.compiler + ["-o", program] + objects
        subprocess.run(command + ["-lgtest", "-lgtest_main", "-lxxhash", "-lpthread"], check=True)
        return program


def broken_text(mutation):
    _, what, path, old, new = mutation
    with open(os.path.join(TOP, path)) as source:
        text = source.read()
    if text.count(old) != 1:
        raise ValueError(f"{what}: found {text.count(old)} times in {path}: {old!r}")
    return text.replace(old, new)


def is_red(program, wanted, seed):
    environment = dict(os.environ)
    environment.pop("MH_TEST_LONG", None)
    if seed is not None:
        environment["MH_TEST_SEED"] = str(seed)
    try:
        done = subprocess.run([program, "--gtest_filter=" + wanted, "--gtest_fail_fast"],
                              env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def judge(number, mutation, builder, units, common, seed):
    """'not built', or which of the tests are red."""
    path = mutation[2]
    directory = os.path.join(builder.work, str(number))
    os.makedirs(directory)
    source = os.path.join(directory, os.path.basename(path))
    with open(source, "w") as out:
        out.write(broken_text(mutation))
    try:
        unit = builder.compile(source, f"{number}/broken.o")
    except subprocess.CalledProcessError as error:
        return "not built: " + error.stderr.split("error:")[-1].strip().split("\n")[0]
    program = builder.link(common + [units[p] if p != path else unit for p in units],
                           f"{number}/program")
    table = is_red(program, "Reconcile*-*ReconcileModel*", seed)
    model = is_red(program, "*ReconcileModel*", seed)
    shutil.rmtree(directory)
    return " and ".join(name for name, red in (("table tests", table), ("model", model)) if red)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build_dir")
    parser.add_argument("--only", default="", help="mutations whose row or text contains this")
    parser.add_argument("--seed", type=int, help="of the model's histories; else it varies")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    chosen = [m for m in MUTATIONS if options.only in m[0] + ": " + m[1]]
    for mutation in chosen:
        broken_text(mutation)
    with tempfile.TemporaryDirectory() as work, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        builder = Builder(os.path.abspath(options.build_dir), work)

        def build(path):
            name = os.path.basename(path) + ".o"
            return builder.compile(os.path.join(TOP, path), name)

        paths = [RECONCILE, EVIDENCE, IDENTITY]
        built = list(pool.map(build, SOURCES + paths))
        common, units = built[:len(SOURCES)], dict(zip(paths, built[len(SOURCES):]))
        sound = builder.link(built, "program")
        if is_red(sound, "*Reconcile*", options.seed):
            sys.exit("the tests are red as it is")
        jobs = [pool.submit(judge, i, m, builder, units, common, options.seed)
                for i, m in enumerate(chosen)]
        survived = 0
        for mutation, job in zip(chosen, jobs):
            red_in = job.result()
            caught = red_in and not red_in.startswith("not built")
            survived += not caught
            verdict = ("red: " if caught else "") + (red_in or "SURVIVED")
            print(f"{mutation[0]}: {mutation[1]}: {verdict}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations caught")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
