// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-refuse.h"

#include "plugin/guard.h"

namespace mh {
namespace {

int refuse(struct mailbox* box, const char* what) {
  mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
                         t_strdup_printf("%s is not supported in MH folders yet", what));
  return -1;
}

// ---- Folders.

int mh_mailbox_create(struct mailbox* box, const struct mailbox_update* update,
                      bool directory) noexcept {
  // Making a directory is all there is to it; its state is made when it is opened.
  if (update != nullptr && (update->uid_validity != 0 || !guid_128_is_empty(update->mailbox_guid) ||
                            update->min_next_uid != 0 || update->min_highest_modseq != 0)) {
    return refuse(box, "Creating a folder with a given identity");
  }
  if (box->name[0] == '.' || strstr(box->name, "/.") != nullptr) {
    mail_storage_set_error(box->storage, MAIL_ERROR_NOTPOSSIBLE,
                           "The name of an MH folder cannot begin with a dot");
    return -1;
  }
  enum mailbox_existence existence;
  if (mailbox_exists(box, FALSE, &existence) < 0) return -1;
  if (existence == MAILBOX_EXISTENCE_SELECT) {
    mail_storage_set_error(box->storage, MAIL_ERROR_EXISTS, "Mailbox already exists");
    return -1;
  }
  const int ret = index_storage_mailbox_create(box, directory);
  return ret <= 0 ? ret : mailbox_open(box);
}

int mh_mailbox_update(struct mailbox* box, const struct mailbox_update* update) noexcept {
  if (update->uid_validity != 0 || !guid_128_is_empty(update->mailbox_guid) ||
      update->min_next_uid != 0 || update->min_highest_modseq != 0) {
    return refuse(box, "Changing the identity of a folder");
  }
  if (!box->opened && mailbox_open(box) < 0) return -1;
  return index_storage_mailbox_update_common(box, update);
}

int mh_mailbox_delete(struct mailbox* box) noexcept { return refuse(box, "Deleting a folder"); }

int mh_mailbox_rename(struct mailbox* source, struct mailbox*) noexcept {
  return refuse(source, "Renaming a folder");
}

// ---- Messages coming in. The context is Dovecot's plain one, freed when the transaction ends.

constexpr char kSaving[] = "Storing a message";

struct mail_save_context* mh_save_alloc(struct mailbox_transaction_context* t) noexcept {
  if (t->save_ctx == nullptr) {
    t->save_ctx = i_new(struct mail_save_context, 1);
    t->save_ctx->transaction = t;
  }
  return t->save_ctx;
}

int mh_save_begin(struct mail_save_context* ctx, struct istream*) noexcept {
  return refuse(ctx->transaction->box, kSaving);
}

int mh_save_continue(struct mail_save_context* ctx) noexcept {
  return refuse(ctx->transaction->box, kSaving);
}

int mh_save_finish(struct mail_save_context* ctx) noexcept {
  struct mailbox* box = ctx->transaction->box;
  index_save_context_free(ctx);
  return refuse(box, kSaving);
}

void mh_save_cancel(struct mail_save_context* ctx) noexcept { index_save_context_free(ctx); }

int mh_copy(struct mail_save_context* ctx, struct mail*) noexcept { return mh_save_finish(ctx); }

void free_context(struct mail_save_context* ctx) {
  ctx->transaction->save_ctx = nullptr;
  i_free(ctx);
}

// Nothing was saved: what else the transaction holds is committed.
int mh_transaction_save_commit_pre(struct mail_save_context*) noexcept { return 0; }

void mh_transaction_save_commit_post(struct mail_save_context* ctx,
                                     struct mail_index_transaction_commit_result*) noexcept {
  ctx->transaction = nullptr;  // freed already
  i_free(ctx);
}

void mh_transaction_save_rollback(struct mail_save_context* ctx) noexcept { free_context(ctx); }

// ---- Messages going out.

MODULE_CONTEXT_DEFINE_INIT(mh_transaction_module, &mail_storage_module_register);
// Present in a transaction that wanted to expunge.
union mailbox_transaction_module_context expunge_wanted;

int mh_transaction_commit(struct mailbox_transaction_context* t,
                          struct mail_transaction_commit_changes* changes_r) noexcept {
  if (MODULE_CONTEXT(t, mh_transaction_module) == nullptr) {
    return index_transaction_commit(t, changes_r);
  }
  struct mailbox* box = t->box;
  i_zero(changes_r);
  index_transaction_rollback(t);
  return refuse(box, "Removing messages");
}

}  // namespace

void mh_mail_expunge(struct mail* mail) noexcept {
  MODULE_CONTEXT_SET_SELF(mail->transaction, mh_transaction_module, &expunge_wanted);
}

void fill_refused(struct mailbox_vfuncs* v) {
  v->create_box = mh_mailbox_create;
  v->update_box = mh_mailbox_update;
  v->delete_box = mh_mailbox_delete;
  v->rename_box = mh_mailbox_rename;
  v->save_alloc = mh_save_alloc;
  v->save_begin = mh_save_begin;
  v->save_continue = mh_save_continue;
  v->save_finish = mh_save_finish;
  v->save_cancel = mh_save_cancel;
  v->copy = mh_copy;
  v->transaction_save_commit_pre = mh_transaction_save_commit_pre;
  v->transaction_save_commit_post = mh_transaction_save_commit_post;
  v->transaction_save_rollback = mh_transaction_save_rollback;
  v->transaction_commit = mh_transaction_commit;
}

}  // namespace mh
