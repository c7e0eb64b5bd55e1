// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What people, programs and accidents do to a folder and to what is known about it: the steps of
// random histories.
//
// A step is a kind and three numbers; which files they mean is found when it is played, so that any
// steps can be left out of a history and the rest still means something.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "libmh/format/number-set.h"
#include "libmh/store/record.h"
#include "tests/support/folder-model.h"
#include "tests/support/simulated-folder.h"

namespace mh::test {

// What the caller of reconcile() keeps.
struct KnownState {
  std::vector<Record> records;
  NumberSet alive;
  uint32_t uidvalidity = 1'700'000'000;
  uint32_t uidnext = 1;

  Record* find(uint32_t uid);
  Record* find_number(uint32_t number);
};

struct ModelledFolder {
  SimulatedFolder disk;
  KnownState known;
  FolderModel model;
  std::set<uint32_t> opened;  // numbers whose file a client has opened since the last sync

  struct State {
    KnownState known;
    FolderModel model;
  };
  std::map<uint32_t, SimulatedFile> backup;  // of the files
  std::optional<State> old_state;
  std::ostream* log = nullptr;  // says what each step does

  ModelledFolder();
};

struct Step {
  size_t action = 0;
  uint32_t x = 0, y = 0, z = 0;
};

// The actions; syncs are among them, and are the caller's to perform.
enum class SyncKind { kNone, kWhole, kGlance, kRace };
SyncKind sync_kind(const Step& step);
// Something that others do, at any moment.
bool can_race(const Step& step);
Step sync_step(SyncKind kind);
// A message, of a kind, behind all others.
Step arrival_step(uint32_t kind);
Step random_step(std::mt19937_64& random);
// Of a step that is no sync.
void play(ModelledFolder& folder, const Step& step);

}  // namespace mh::test
