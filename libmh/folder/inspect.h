// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A look at a folder and its state that changes neither: no lock is taken, nothing is made, nothing
// is repaired. What it tells may be a moment old.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libmh/folder/folder.h"
#include "libmh/folder/root.h"

namespace mh {

struct FolderView {
  std::string folder;  // absolute path
  Listing listing;
  std::string sequences_text;
  bool sequences_exist = false;
  std::optional<Error> sequences_error;  // why they could not be read

  std::optional<Location> location;  // none: the folder has no state yet
  std::optional<Error> journal_error;
  JournalState facts;           // without location or journal: all empty
  std::vector<Record> records;  // in UID order
  bool store_fits = false;      // store.db can be read and belongs to the journal

  bool has_state() const { return location && !journal_error; }
  uint64_t bytes() const;
  uint64_t gaps() const;  // numbers below the highest that no message bears
  // Messages that have no UID yet, as far as identities tell; numbers.
  NumberSet without_uid() const;
  // UIDs that live in the journal alone; numbers.
  NumberSet untagged() const;
  NumberSet numbers() const;
};

// `root` may be one that only looks. kNotFound: there is no such folder.
Result<FolderView> look_at_folder(Fs& fs, Root& root, const std::string& path,
                                  const FolderSettings& settings);

}  // namespace mh
