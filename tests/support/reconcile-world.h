// SPDX-License-Identifier: LGPL-2.1-or-later
//
// ReconcileWorld: a folder as a list of files, and the caller of reconcile() that every test of it
// needs: it answers probes, applies plans, gives UIDs.
//
// sync() checks what must hold of every plan: no question is asked twice, a plan comes after a few
// rounds, and once it is applied there is nothing left to do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libmh/folder/reconcile.h"

namespace mh::test {

inline constexpr uint32_t kValidity = 1700000000;

// A tag line in a file. `genuine`: its check verifies.
struct FakeTag {
  Tag tag;
  bool genuine = true;
  bool first = true;  // nothing above it
};

struct FakeFile {
  FileIdentity file;  // size is kept by ReconcileWorld
  std::string visible;
  std::optional<FakeTag> tag;
  uint32_t annotation = 0;  // hidden bytes besides the tag
  bool replied = false;
  bool forwarded = false;
  std::optional<uint32_t> delivery_date;
  Probe::State state = Probe::State::kRead;
  uint32_t nlink = 1;

  uint32_t prefix() const { return annotation + (tag ? uint32_t{kTagLineSize} : 0); }
};

class ReconcileWorld {
 public:
  std::map<uint32_t, FakeFile> files;
  std::vector<Record> records;
  NumberSet alive;
  uint32_t uidnext = 1;
  bool whole = true;
  bool keeps_birth = true;
  uint32_t now = 1800000000;
  std::map<uint32_t, Probe> known_probes;  // handed in with the first call

  // What the last sync cost.
  int rounds = 0;
  int starts = 0;
  int wholes = 0;
  std::vector<ProbeRequest> requests;
  std::vector<uint32_t> given;  // UIDs of plan.added

  // A file that was never there before. Bytes and stamps are its own.
  FakeFile& create(uint32_t number, const std::string& visible);
  // A new inode with the content, stamps and tag of another file, as cp -p makes it.
  FakeFile copy_of(const FakeFile& file);
  // In place: mtime and ctime move.
  void rewrite(FakeFile& file, const std::string& visible);
  void touch(FakeFile& file);
  void move(uint32_t from, uint32_t to);
  // Gives the file of this UID the tag line that it should bear, as adoption does.
  void adopt(uint32_t uid);

  // Until the plan is final; applied and checked.
  Plan sync();
  // Until the plan is final; nothing is applied.
  Plan plan();

  const Record* find(uint32_t uid) const;
  // UID of the message under this number, 0 if there is none.
  uint32_t uid_at(uint32_t number) const;
  // Forgets the record of a UID, which stays alive.
  void lose_record(uint32_t uid);

 private:
  Listing list() const;
  Probe probe(const ProbeRequest& request) const;
  void apply(const Plan& plan);

  uint64_t next_inode_ = 100;
  Nanoseconds clock_ = 1'600'000'000 * kSecond;
};

// Longer than the first block, so that only the whole proves anything.
std::string long_message(const std::string& end);

}  // namespace mh::test
