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
//
// What clients ask for (flags, removals) stands in dovecot.index.log until a sync has done it, and
// may have to wait there: for nmh's lock above all. Dovecot leaves such requests in the log as long
// as nobody reads them to their end (mail-index-sync.c), but a sync that is committed may write
// dovecot.index anew, and that counts everything in the log as done (mail-index-write.c,
// mail_index_recreate()): the requests are lost, and a flag that was asked for looks like one that
// another program has cleared. So a sync that leaves requests behind is never committed: what it
// has found goes into a transaction of its own, under the same lock, as that of a save does.
class IndexSync {
 public:
  explicit IndexSync(struct mailbox* box, unsigned int more_flags = 0);
  ~IndexSync();
  IndexSync(const IndexSync&) = delete;
  IndexSync& operator=(const IndexSync&) = delete;

  // False with the error set.
  bool begin();
  // The requests are not done and wait for the next sync. Before anything is written to `trans`,
  // which is another one afterwards.
  void leave_requests();
  // True when the index has all that was written to `trans`; else the error is set.
  bool commit();
  const struct mail_index_header& header() const { return *mail_index_get_header(view); }

  struct mail_index_sync_ctx* ctx = nullptr;
  struct mail_index_view* view = nullptr;
  struct mail_index_transaction* trans = nullptr;

 private:
  bool commit_own();

  struct mailbox* box_;
  enum mail_index_sync_flags flags_;
  bool begun_ = false;
  bool has_requests_ = false;
  struct mail_index_transaction* own_ = nullptr;
};

}  // namespace mh
