// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What this driver keeps in dovecot.index: in the extension "mh", a header (FolderMemory) and a
// record per message (MessageHint, and since when an arrival is undecided). A cache like the rest
// of the index: when version or size is another, it counts as absent and is written anew.
#pragma once

#include "libmh/folder/folder.h"
#include "plugin/dovecot.h"

namespace mh {

struct MessageNote {
  MessageHint hint;
  uint32_t internal_date = 0;    // of the record
  uint32_t undecided_since = 0;  // seconds; 0: decided (see libmh/folder/flag-merge.h)

  bool operator==(const MessageNote& other) const {
    return hint.number == other.hint.number && hint.prefix == other.hint.prefix &&
           hint.stamp == other.hint.stamp && internal_date == other.internal_date &&
           undecided_since == other.undecided_since;
  }
};

// What tells this state of an index, to be sealed. nullopt: its log cannot be looked at.
std::optional<IndexSeal> seal_of_index(struct mail_index_view* view, const char* dir,
                                       const char* prefix);

class IndexExtension {
 public:
  // After the index was opened.
  void attach(struct mail_index* index);

  // nullopt: none, or of another version.
  std::optional<FolderMemory> memory(struct mail_index_view* view) const;
  // Nothing is written when it is there already.
  void set_memory(struct mail_index_view* view, struct mail_index_transaction* trans,
                  const FolderMemory& memory) const;

  MessageNote note(struct mail_index_view* view, uint32_t seq) const;
  void set_note(struct mail_index_transaction* trans, uint32_t seq, const MessageNote& note) const;

 private:
  uint32_t id_ = 0;
};

}  // namespace mh
