// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The flags of one sync: what the index knows, what clients asked for and what comes with the files
// is given to Folder::sync_flags(), and its outcome is written to the index.
//
// Two steps, since the sequences are in the numbers of the last merge, which the index still has:
// merge() before the index follows the files, apply() after.
#pragma once

#include "libmh/folder/folder.h"
#include "plugin/dovecot.h"
#include "plugin/index-sync.h"
#include "plugin/mh-flags.h"

namespace mh {

class FlagSync {
 public:
  // `memory` is that of the last merge; `carried_over` is what was asked of an index that is lost.
  // Without a memory, `added` files that are newer than `newer_than` (0: none) are arrivals.
  FlagSync(struct mailbox* box, const FilesOutcome& files,
           const std::optional<FolderMemory>& memory, Nanoseconds newer_than,
           PendingChanges carried_over);

  void merge(IndexSync& index, std::span<const Record> records);
  // False when the sequences could not be had: what clients asked for stays in the index log.
  bool merged() const { return merged_; }
  // The folder moved: sync again at once.
  bool moved() const { return outcome_.moved; }
  // What the client asked to remove, and was.
  const NumberSet& expunged() const { return outcome_.expunged; }
  // Why others were not.
  const std::optional<Error>& not_removed() const { return outcome_.not_removed; }

  // After all messages of the folder were appended.
  void apply(const IndexSync& index, std::span<const Record> records);
  // When the first arrival must be decided, in seconds; 0: none waits.
  uint32_t recheck_at() const { return recheck_at_; }
  // After the commit: makes what could not be merged and stands nowhere else a pending change.
  void finish();

 private:
  FlagsInput input_of(const IndexSync& index, std::span<const Record> records);
  void add_appended(const IndexSync& index, std::span<const Record> records, FlagSets* base) const;
  NumberSet undecided_of(const IndexSync& index, NumberSet* expired) const;
  NumberSet undecided_of(std::span<const Record> records, NumberSet* expired) const;
  void note_undecided(const IndexSync& index, const NumberSet& now);
  uint32_t old_number(const IndexSync& index, uint32_t uid) const;
  std::vector<FlagChange> flags_of_predecessors(const IndexSync& index) const;

  struct mailbox* box_;
  std::optional<FolderMemory> memory_;
  std::map<uint32_t, uint32_t> edited_from_;
  std::vector<FlagChange> ours_;  // not in the index: from files, or carried over
  NumberSet expunge_;             // carried over too
  NumberSet added_;
  NumberSet brought_;  // of these, those that bring flags from where they were
  NumberSet gone_;     // whose files are not there any more
  Nanoseconds newer_than_;
  bool drafts_ = false;  // every message is a \Draft, whatever the sequences say
  FlagsOutcome outcome_;
  bool merged_ = false;
  NumberSet undecided_before_;
  uint32_t recheck_at_ = 0;
};

}  // namespace mh
