// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The ways to hold dovecot.index: a view, the lock of a sync, and an index that is not that of an
// open mailbox, for reading. All let go by themselves.
#pragma once

#include "plugin/dovecot.h"

namespace mh {

// A view of the index as it is now.
class FreshView {
 public:
  explicit FreshView(struct mail_index* index) : view_(mail_index_view_open(index)) {}
  ~FreshView() { mail_index_view_close(&view_); }
  FreshView(const FreshView&) = delete;
  FreshView& operator=(const FreshView&) = delete;
  struct mail_index_view* get() const {
    return view_;
  }
  const struct mail_index_header& header() const { return *mail_index_get_header(view_); }

 private:
  struct mail_index_view* view_;
};

// The index in this directory. Its view is null when there is none that can be read.
class OtherIndex {
 public:
  OtherIndex(struct mailbox* box, const char* dir)
      : index_(mail_index_alloc(box->event, dir, box->index_prefix)) {
    if (mail_index_open(index_, static_cast<enum mail_index_open_flags>(0)) > 0) {
      view_ = mail_index_view_open(index_);
    }
  }
  ~OtherIndex() {
    if (view_ != nullptr) {
      mail_index_view_close(&view_);
      mail_index_close(index_);
    }
    mail_index_free(&index_);
  }
  OtherIndex(const OtherIndex&) = delete;
  OtherIndex& operator=(const OtherIndex&) = delete;
  struct mail_index* index() const {
    return index_;
  }
  struct mail_index_view* view() const {
    return view_;
  }

 private:
  struct mail_index* index_;
  struct mail_index_view* view_ = nullptr;
};

// The index, locked for syncing. Rolled back unless committed.
class IndexSync {
 public:
  explicit IndexSync(struct mailbox* box, unsigned int more_flags = 0)
      : box_(box), more_flags_(more_flags) {}
  ~IndexSync() {
    if (ctx != nullptr) mail_index_sync_rollback(&ctx);
    if (begun_) index_storage_expunging_deinit(box_);
  }
  IndexSync(const IndexSync&) = delete;
  IndexSync& operator=(const IndexSync&) = delete;

  bool begin() {
    const auto flags = static_cast<enum mail_index_sync_flags>(
        index_storage_get_sync_flags(box_) | MAIL_INDEX_SYNC_FLAG_AVOID_FLAG_UPDATES | more_flags_);
    begun_ = index_storage_expunged_sync_begin(box_, &ctx, &view, &trans, flags) > 0;
    if (!begun_) ctx = nullptr;
    return begun_;
  }
  bool commit() {
    if (mail_index_sync_commit(&ctx) == 0) return true;
    ctx = nullptr;
    mailbox_set_index_error(box_);
    return false;
  }
  const struct mail_index_header& header() const { return *mail_index_get_header(view); }

  struct mail_index_sync_ctx* ctx = nullptr;
  struct mail_index_view* view = nullptr;
  struct mail_index_transaction* trans = nullptr;

 private:
  struct mailbox* box_;
  unsigned int more_flags_;
  bool begun_ = false;
};

}  // namespace mh
