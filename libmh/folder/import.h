// SPDX-License-Identifier: LGPL-2.1-or-later
//
// UIDs that another IMAP server has given to the messages of a folder, taken over, so that clients
// need not fetch again what they have.
//
// A client believes that a UID names the same message for ever. So a UID is taken over only where
// it is sure which message it named, and a folder only while nobody was told any UID of ours:
//
//  * The folder was never merged with an index (kFirstSight) and no index was committed. UIDs that
//    `mhsync reindex` has given are then unknown to all, and may be given anew.
//  * The other server's UIDVALIDITY is kept. It must not be that of another folder of this tree, nor
//    one that may ever have been given here: UIDVALIDITYs of ours follow the clock, so those from
//    before this tree's state was made are nobody's.
//  * Servers that know messages by their numbers know nothing when messages were renumbered behind
//    their back. A file whose ctime is older than the server's last look had its number then:
//    a rename moves the ctime.
//  * Two messages with one UID: neither has it.
//
// What was not taken over gets UIDs above all that the other server may have given. All of it is
// one new journal, put in the place of the old one: after a crash it is there or not, and the next
// run does the same again, or finds it done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/folder/scan.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

struct ForeignUid {
  FileIdentity file;
  uint32_t uid = 0;
};

struct ForeignUids {
  uint32_t uidvalidity = 0;
  uint32_t uidnext = 0;  // no UID at or above it was given
  std::vector<ForeignUid> uids;
};

struct TakenOver {
  uint64_t taken = 0;
  uint64_t given = 0;   // new ones
  bool before = false;  // an earlier run has done it
  std::string refused;  // why nothing was done; "" when it was
};

// ---- What the servers leave in a folder.

// asimap until 2024: a field "X-asimapd-uid: <UIDVALIDITY>.<UID>" in each message. It was shown to
// clients as a part of the message, as it still is.
struct UidField {
  FileIdentity file;
  uint32_t number = 0;
  uint32_t uidvalidity = 0;
  uint32_t uid = 0;
};
// Of all messages that can be read; one with two fields that differ has none.
std::vector<UidField> read_asimap_fields(Fs& fs, int dir, const Listing& listing);

// asimap, its database: the row of one folder.
struct AsimapFolder {
  uint32_t uidvalidity = 0;
  uint32_t uidnext = 0;
  std::vector<uint32_t>
      numbers;                 // ascending; as many as `uids`, or none where it has not kept them
  std::vector<uint32_t> uids;  // ascending
  Nanoseconds looked_at = 0;   // when it has listed the folder last
};
// From its own form, "1,3-6".
std::optional<std::vector<uint32_t>> parse_asimap_set(std::string_view text);

// From the database where there is a row, else from the fields alone. `trust_numbers`: whatever the
// ctime of a file, it had its number when asimap looked. Nothing when asimap knew no message.
std::optional<ForeignUids> asimap_uids(const std::optional<AsimapFolder>& row,
                                       const std::vector<UidField>& fields, const Listing& listing,
                                       bool trust_numbers);

// GNU mailutils: a UID is the number; `.mu-prop` tells UIDVALIDITY and UIDNEXT. Nothing tells when
// it has looked last, so the caller must know that no message was renumbered since.
inline constexpr const char* kMailutilsFile = ".mu-prop";
std::optional<ForeignUids> mailutils_uids(std::string_view properties, const Listing& listing);

}  // namespace mh
