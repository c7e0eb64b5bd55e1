// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where the IMAP message begins in a message file.
//
// Above it may stand our tag line, and above that what nmh's anno and repl -annotate prepended
// ("Replied:", "Forwarded:", "Resent:", or any field a user chose), with an mbox "From " line
// above, below or among those fields: it was the first line until anno prepended to it. All of that
// is local and hidden, so that the message never changes while MH annotates it. Without a tag only
// the "From " line and those three fields are hidden, and the "From " line only as far as no other
// field is above it. ">From " is content, and so is a second "From " line.
//
// A sender can write any number of tag lines anywhere in his header, and may even have got hold of
// genuine ones (a tag leaves with a file that is forwarded raw). The rules of choose_tag() see to
// it that the most he gains is that one useless line of his own is hidden.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "libmh/format/tag-line.h"

namespace mh {

// No tag is looked for, and nothing is hidden, beyond this.
inline constexpr size_t kMaxPrefix = 64 * 1024;

// A line of the header that could be our tag.
struct TagCandidate {
  size_t begin = 0;
  size_t end = 0;                       // behind its newline: where the message would begin
  std::optional<ParsedTag> parsed;      // nothing: it is the placeholder of an unfinished save
  bool only_annotations_above = false;  // and the "From " line
  bool first_line = false;              // nothing above it but perhaps the "From " line
  bool replied_above = false;
  bool forwarded_above = false;
};

struct PrefixScan {
  size_t from_line = 0;        // length of a leading "From " line
  size_t untagged_offset = 0;  // behind the "From " line and the three annotation fields
  bool replied = false;        // "Replied:" was among these
  bool forwarded = false;
  std::vector<TagCandidate> candidates;  // from the top down
  // The bytes given end within the lines that are hidden: untagged_offset is not final.
  bool prefix_open = false;
  // The bytes given end within the header, below kMaxPrefix: more candidates may follow.
  bool more_needed = false;
};

// Goes down over well-formed header fields: a name of 33..126 without ':', ':' behind it, then
// lines that begin with a blank or tab; newline at the end, a CR before it allowed, NUL nowhere.
// What follows the first line that is none of these is content. A tag line is one line: a line that
// begins with a blank below it belongs to the message.
PrefixScan scan_prefix(std::string_view start_of_file, bool is_whole_file);

struct TagChoice {
  enum class Kind {
    kNone,        // the message begins at untagged_offset
    kRecorded,    // the tag that this file is known to bear
    kVerified,    // written by us in this root
    kUnverified,  // written by a stranger or in another root: hidden, replaced at adoption
  };
  Kind kind = Kind::kNone;
  size_t visible_offset = 0;
  Tag tag;                           // all zero for kNone and for a placeholder
  bool take_guid_and_dates = false;  // those of `tag` may be taken over
  // kVerified only: fields that are no annotations of nmh stand above it. It counts only if length
  // and hash of the bytes from visible_offset on are the tag's; else call again, refuted.
  bool must_match_content = false;
  bool replied = false;  // "Replied:" among the hidden lines
  bool forwarded = false;
  // More bytes of the file, though there are some (more_needed), cannot change the choice.
  bool settled = false;
};

// What counts as our tag:
//  - `recorded` (of a file known by identity; may be null): the tag equal to it, wherever it is.
//  - Otherwise the topmost one that verifies. If it stands below fields other than the three
//    annotations (anno -component), its content must match: else a genuine tag, replayed by a
//    sender below the trace fields of a new mail, would hide those fields and show a header of his
//    choice. `content_refuted` says that it did not match.
//  - Otherwise one that does not verify, or a placeholder, with nothing but a "From " line and the
//    three annotations above it. Its GUID and dates are taken only if no annotation is above it
//    either: it then stands where only whoever wrote the file could put it.
TagChoice choose_tag(const PrefixScan& scan, const TagKey& key, const Tag* recorded,
                     bool content_refuted = false);

}  // namespace mh
