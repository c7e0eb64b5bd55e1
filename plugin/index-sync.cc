// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/index-sync.h"

namespace mh {

IndexSync::IndexSync(struct mailbox* box, unsigned int more_flags)
    : box_(box),
      flags_(static_cast<enum mail_index_sync_flags>(index_storage_get_sync_flags(box) |
                                                     MAIL_INDEX_SYNC_FLAG_AVOID_FLAG_UPDATES |
                                                     more_flags)) {}

IndexSync::~IndexSync() {
  if (own_ != nullptr) mail_index_transaction_rollback(&own_);
  if (ctx != nullptr) mail_index_sync_rollback(&ctx);
  if (begun_) index_storage_expunging_deinit(box_);
}

bool IndexSync::begin() {
  begun_ = index_storage_expunged_sync_begin(box_, &ctx, &view, &trans, flags_) > 0;
  if (!begun_) ctx = nullptr;
  has_requests_ = begun_ && mail_index_sync_have_more(ctx);
  return begun_;
}

void IndexSync::leave_requests() {
  if (!has_requests_ || own_ != nullptr) return;
  unsigned int flags = MAIL_INDEX_TRANSACTION_FLAG_EXTERNAL;
  flags |= MAIL_INDEX_TRANSACTION_FLAG_AVOID_FLAG_UPDATES;
  if ((flags_ & MAIL_INDEX_SYNC_FLAG_FSYNC) != 0) flags |= MAIL_INDEX_TRANSACTION_FLAG_FSYNC;
  own_ = mail_index_transaction_begin(view, static_cast<enum mail_index_transaction_flags>(flags));
  trans = own_;
}

bool IndexSync::commit() {
  if (own_ != nullptr) return commit_own();
  if (mail_index_sync_commit(&ctx) == 0) return true;
  ctx = nullptr;
  mailbox_set_index_error(box_);
  return false;
}

bool IndexSync::commit_own() {
  if ((flags_ & MAIL_INDEX_SYNC_FLAG_DROP_RECENT) != 0) {
    const uint32_t next_uid = mail_index_transaction_get_next_uid(own_);
    if (header().first_recent_uid < next_uid) {
      mail_index_update_header(own_, offsetof(struct mail_index_header, first_recent_uid),
                               &next_uid, sizeof(next_uid), FALSE);
    }
  }
  const bool done = mail_index_transaction_commit(&own_) == 0;
  mail_index_sync_rollback(&ctx);
  if (done && mail_index_refresh(box_->index) == 0) return true;
  mailbox_set_index_error(box_);
  return false;
}

}  // namespace mh
