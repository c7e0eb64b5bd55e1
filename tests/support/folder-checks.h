// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What must hold after a Folder was stopped in the middle of something. The next session, and one
// more later when nothing is fresh any more, must find and leave the folder as design says:
//
//  - every message once, with its bytes; of what others have removed nothing came back
//  - each UID that was told shows the same bytes or is expunged, none is told twice; GUID and dates
//    are as before
//  - every flag: those that others have set, and those of the index with what was pending in it
//  - a sequences file that nmh can read, before any repair too
//  - nothing of ours in the folder, nothing left over in the state directory
//  - the repair tells no second session anything, neither the client nor the admin
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/crash-case.h"
#include "tests/support/folder-client.h"

namespace mh::test {

enum class Loss {
  kProcess,  // killed or failed: what was written is there
  kPower,    // what was not flushed may be gone, and so may be the last flags; no stamp is kept
  // Likewise with mail_fsync=never: only what was there before is sure, every message once and whole.
  kPowerUnflushed,
};

inline constexpr const char* kSequences = "cur: 2\nunseen: 2 4\nflagged: 3\nmine: 1 5\n";
inline constexpr int kKnown = 5;                            // messages that the client knows
inline constexpr Nanoseconds kDate = 1600000000 * kSecond;  // of all message files
inline constexpr Nanoseconds kLater = 7200 * kSecond;       // by then nothing is fresh

// What there is to be when all is well again: per message its flags, "seen" among them; the same
// before the work; and what may be either.
struct Expected {
  std::map<int, std::set<std::string>> flags;
  std::set<std::pair<int, std::string>> unsure = {};
  std::set<int> optional = {};  // may be there or not, with whatever flags
  std::set<int> together = {};  // all of them are there or none
  bool backups = false;         // files such as ",5" are no litter
  bool new_validity = false;    // the work changes it
};
// The five messages that put() has put there, with kSequences.
Expected as_put();

// The content of message i; which one it is, 0: none.
std::string mail(int i);
int number_of_mail(const std::string& text);
void set_date(const TempDir& tree, const std::string& name);
// A message of kDate in the inbox.
void put(const TempDir& tree, const std::string& number, const std::string& text);
// Whose index is a file of the tree. See work_without_flushes().
FolderClient client_of(Fs& fs, const TempDir& tree);
// From now on, whether clients work under mail_fsync=never.
void work_without_flushes(bool on);
void must(const Status& done);
// `path` absolute, or below the tree.
std::vector<std::string> names_in(const TempDir& tree, const std::string& path);
// State directories that have a journal, as paths below the tree.
std::vector<std::string> state_dirs(const TempDir& tree);

// Stamps that the model of power loss does not keep.
void give_dates_back(const TempDir& tree);
// A session and a later one.
void check(const TempDir& tree, const Stop& stop, const Expected& expected, Loss loss);

}  // namespace mh::test
