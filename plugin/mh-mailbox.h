// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One mailbox: Dovecot's struct and, behind one pointer, what is ours. Pool memory runs neither
// constructors nor destructors, so it holds no C++ object: MailboxState is deleted by the mailbox's
// free.
#pragma once

#include "libmh/folder/folder.h"
#include "plugin/dovecot.h"
#include "plugin/mh-idle.h"
#include "plugin/mh-index.h"
#include "plugin/mh-list.h"

namespace mh {

struct MailboxState {
  std::unique_ptr<Folder> folder;  // while the mailbox is open
  IndexExtension extension;        // likewise
  bool must_sync = false;  // a message was found gone or edited: do not wait for the next full sync
  bool syncing = false;    // a sync inside a sync would be refused by the index with an assertion
  bool index_broken = false;      // and could not be mended
  bool compare_all = false;       // the index was repaired: believe nothing of it
  bool synced = false;            // since it was opened
  bool index_checked = false;     // likewise: the index is the one that was written here last
  bool nothing_to_adopt = false;  // as the last batch found
  Nanoseconds adopted_at = 0;     // when that was, by the monotonic clock
  bool warned_sequences = false;
  std::optional<IndexSeal> sealed;        // as this process wrote it last
  std::optional<uint64_t> synced_stamps;  // as the last sync of this session left them
  std::optional<uint64_t> missed_stamps;  // others, as the last watch found them
  std::optional<bool> writable;           // whether the sequences file can be written
  NumberSet removal_waits;       // what clients asked to remove and is still there, as last synced
  Nanoseconds heeded_hint = 0;   // of mh-notify-hook, the last one acted upon
  std::unique_ptr<Watch> watch;  // while a client is to be told of changes
  struct timeout* idle_work =
      nullptr;  // while a client is idle: adoption, a look at what is not settled
};

struct MhMailbox {
  struct mailbox box;
  MailboxState* state;
};

inline MailboxState& mailbox_state(struct mailbox* box) {
  return *reinterpret_cast<MhMailbox*>(box)->state;  // its first member
}

// For struct mail_storage_vfuncs.mailbox_alloc.
struct mailbox* mh_mailbox_alloc(struct mail_storage* storage, struct mailbox_list* list,
                                 const char* vname, enum mailbox_flags flags) noexcept;

}  // namespace mh
