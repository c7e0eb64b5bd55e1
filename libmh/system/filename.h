// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every name that we make or meet, in an MH folder and in our state directories: in one place, so
// that no two parts of the program can think differently of a name. No system call is made here.
//
//   <mail root>/.mhsync/            state of this root
//     secret                        the key of the tags' check values
//     folders                       the catalogue: directory identity -> GUID, path
//     lock                          the list lock
//     tmp/                          files on their way to one of the above
//     <guid, 32 hex>/               state of one folder, with that folder's mode and group
//       lock                        the folder lock
//       journal                     the one durable file
//       journal.seal                up to where the journal was flushed, and its ctime then
//       store.db                    a cache
//       tmp/                        messages on their way into the folder
//       index/ control/             Dovecot's own files
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mh {

// The largest number that is a message. From 2147483548 on every nmh command dies of a "possible
// overflow" (measured); 2147483547 stays free, so that nmh's next message does not lead there.
inline constexpr uint32_t kHighestMessageNumber = 2147483546;

// The number of a message file: ASCII digits only, no leading zero, 1 to kHighestMessageNumber. nmh
// also counts `007` as 7 and then fails on opening `7` (measured), so that is no message for us.
std::optional<uint32_t> message_number(std::string_view name);

// What a name in an MH folder is, as far as the name alone can tell.
enum class NameKind {
  kMessage,
  kZero,           // 0, 00: no message for anyone
  kLeadingZero,    // 007: breaks nmh's `folder -pack` half-way
  kTooLarge,       // digits beyond kHighestMessageNumber: stops nmh in this folder, or wraps in it
  kBackup,         // ,5 #5 ,5.orig: removed by nmh or mutt, there to be undeleted
  kSequences,      // .mh_sequences
  kSequencesLock,  // .mh_sequences.lock: Python's mailbox.MH
  kOurs,           // a file of ours on its way into or out of the folder (see below)
  kTemporary,      // made by nmh, exmh, mutt, mail clients while they write
  kHidden,         // any other dot name: caches of exmh, Claws, Gnus, .nfs…
  kOther,
};
NameKind classify_name(std::string_view name);

inline constexpr std::string_view kDefaultSequencesFile = ".mh_sequences";
inline constexpr std::string_view kSequencesLockSuffix = ".lock";

// ---- Files of ours inside an MH folder. They live for milliseconds, and one that a crash left is
// found by its name alone: nmh's rmf takes all dot names away with the folder.

// A message on its way in, where the state directory lies on another file system.
std::string incoming_name(uint64_t unique);
// The second name of a new message, for a while: libmh/folder/folder-guard.cc.
std::string kept_name(uint32_t uid);
std::optional<uint32_t> parse_kept_name(std::string_view name);
// Message `number` on its way out: renamed to this, verified, then unlinked or put back.
std::string outgoing_name(uint32_t number, uint64_t unique);
// A copy of a message with its tag line, to be exchanged with the original; afterwards the original
// bears this name until it is removed. It says which original: libmh/folder/adopt.h.
struct AdoptionName {
  uint32_t uid = 0;
  uint64_t inode = 0;  // of the original, as it was copied
  uint64_t size = 0;
  int64_t mtime = 0;  // nanoseconds
};
std::string adoption_name(const AdoptionName& name);
std::optional<AdoptionName> parse_adoption_name(std::string_view text);
struct OurName {
  bool outgoing = false;
  uint32_t number = 0;  // of an outgoing message
};
std::optional<OurName> parse_our_name(std::string_view name);

// ---- State.

inline constexpr std::string_view kStateDir = ".mhsync";
inline constexpr std::string_view kSecretFile = "secret";
inline constexpr std::string_view kCatalogueFile = "folders";
inline constexpr std::string_view kLockFile = "lock";
inline constexpr std::string_view kJournalFile = "journal";
inline constexpr std::string_view kSealFile = "journal.seal";
inline constexpr std::string_view kIndexSealFile = "index.seal";
inline constexpr std::string_view kStoreFile = "store.db";
inline constexpr std::string_view kTemporaryDir = "tmp";
inline constexpr std::string_view kIndexDir = "index";
inline constexpr std::string_view kControlDir = "control";

// 32 lower-case hex digits.
bool is_state_dir_name(std::string_view name);

// The temporary file beside `name` from which it is replaced.
std::string replacement_name(std::string_view name, uint64_t unique);
// Left by a crash: a replacement_name of any file, or `__db.…`, which Berkeley DB makes and
// renames.
bool is_leftover_of_state(std::string_view name);

}  // namespace mh
