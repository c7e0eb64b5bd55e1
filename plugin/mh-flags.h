// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Flags and keywords between dovecot.index (messages by sequence number, flags as bits) and libmh
// (one set of UIDs per flag).
#pragma once

#include "libmh/format/flags.h"
#include "plugin/dovecot.h"

namespace mh {

// What clients asked for and no sync has carried out yet.
struct PendingChanges {
  std::vector<FlagChange> flags;
  NumberSet expunges;
};

// All records that the sync was begun with. They count as done only after consume(): where it could
// not carry them out, IndexSync::leave_requests() has the next one get them again.
PendingChanges read_pending(struct mailbox* box, struct mail_index_sync_ctx* sync);
void consume(struct mail_index_sync_ctx* sync);

// All flags of a view, by UID. Pending changes are in it already: the index applies them at once.
FlagSets flags_of_view(struct mailbox* box, struct mail_index_view* view);

// Applies changes by UID to messages of the index, new ones among them. UIDs that are not there are
// passed over.
void update_flags(struct mailbox* box, struct mail_index_transaction* trans,
                  const std::vector<FlagChange>& changes);

// "\Seen $Forwarded": the flags of one message as text, and such a text as changes that add them;
// set_from_text() also makes the message unread where the text does not say \Seen.
std::string flags_text(struct mail_index* index, struct mail_index_view* view, uint32_t uid);
std::string flags_text(struct mail_index* index, enum mail_flags flags,
                       const struct mail_keywords* keywords);
void add_from_text(std::string_view text, uint32_t uid, std::vector<FlagChange>* changes);
// The same text without this system flag.
std::string without_flag(std::string text, std::string_view name);
void set_from_text(std::string_view text, uint32_t uid, std::vector<FlagChange>* changes);

}  // namespace mh
