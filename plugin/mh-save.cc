// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-save.h"

#include <unistd.h>

#include <limits>

#include "libmh/format/flags.h"
#include "plugin/guard.h"
#include "plugin/index-sync.h"
#include "plugin/mh-flags.h"
#include "plugin/mh-mailbox.h"
#include "plugin/sync-pass.h"

namespace mh {
namespace {

struct SavedFile {
  NewMessage message;
  uint32_t seq = 0;  // in the transaction
};

struct SaveState {
  explicit SaveState(struct mailbox* the_box) : box(the_box) {}

  struct mailbox* box;
  std::vector<SavedFile> files;
  // Of the message that is being saved:
  struct istream* input = nullptr;
  struct ostream* output = nullptr;
  bool failed = false;
  bool finished = true;
  uint32_t max_uidl_uid = 0;
  // From commit_pre() to commit_post():
  bool locked = false;
  std::unique_ptr<IndexSync> sync;
};

struct MhSaveContext {
  struct mail_save_context ctx;
  SaveState* state;
};

SaveState& state_of(struct mail_save_context* ctx) {
  return *reinterpret_cast<MhSaveContext*>(ctx)->state;  // its first member
}

Folder& folder_of(const SaveState& state) { return *mailbox_state(state.box).folder; }

struct mail_save_context* mh_save_alloc(struct mailbox_transaction_context* t) noexcept {
  i_assert((t->flags & MAILBOX_TRANSACTION_FLAG_EXTERNAL) != 0);
  if (t->save_ctx == nullptr) {
    auto* context = i_new(MhSaveContext, 1);
    context->ctx.transaction = t;
    context->state = new SaveState(t->box);
    t->save_ctx = &context->ctx;
  }
  return t->save_ctx;
}

void free_context(struct mail_save_context* ctx) {
  delete &state_of(ctx);
  i_free(ctx);
}

// -- one message ---------------------------------------------------------------------------------

void add_to_index(struct mail_save_context* ctx, SavedFile* file) {
  const struct mail_save_data& data = ctx->data;
  struct mail_index_transaction* trans = ctx->transaction->itrans;
  mail_index_append(trans, data.uid, &file->seq);
  const auto flags = static_cast<enum mail_flags>(data.flags & ~MAIL_RECENT);
  mail_index_update_flags(trans, file->seq, MODIFY_REPLACE, flags);
  if (data.keywords != nullptr) {
    mail_index_update_keywords(trans, file->seq, MODIFY_REPLACE, data.keywords);
  }
  if (data.min_modseq != 0) mail_index_update_modseq(trans, file->seq, data.min_modseq);
}

uint32_t to_date(time_t time) {
  constexpr time_t kLast = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp<time_t>(time, 0, kLast));
}

// Of what the transaction says of the message; the text is complete.
Status finish_file(struct mail_save_context* ctx, SaveState& state, bool new_guid) {
  const struct mail_save_data& data = ctx->data;
  NewMessage& message = state.files.back().message;
  Record& record = message.record;
  record.internal_date = to_date(data.received_date);
  record.saved = to_date(data.save_date != static_cast<time_t>(-1) ? data.save_date : ioloop_time);
  if (data.guid != nullptr && !new_guid) {
    guid_128_t guid;
    mail_generate_guid_128_hash(data.guid, guid);
    memcpy(record.guid.data(), guid, sizeof(guid));
  }
  message.flags = flags_text(state.box->index, data.flags, data.keywords);
  if (data.pop3_uidl != nullptr) message.pop3.uidl = data.pop3_uidl;
  message.pop3.order = data.pop3_order;
  const auto nth = static_cast<uint32_t>(state.files.size() - 1);
  return folder_of(state).finish_message(message, nth);
}

Status begin_file(struct mail_save_context* ctx, SaveState& state) {
  MH_TRY_SET(NewMessage message, folder_of(state).begin_message());
  state.files.push_back({std::move(message), 0});
  add_to_index(ctx, &state.files.back());
  if (ctx->data.received_date == static_cast<time_t>(-1)) ctx->data.received_date = ioloop_time;
  return {};
}

void abort_last(struct mail_save_context* ctx, SaveState& state) {
  index_storage_save_abort_last(ctx, state.files.back().seq);
  folder_of(state).drop_message(state.files.back().message);
  state.files.pop_back();
}

int mh_save_begin(struct mail_save_context* ctx, struct istream* input) noexcept {
  SaveState& state = state_of(ctx);
  return guard(state.box, [&] {
    state.failed = true;
    if (const Status begun = begin_file(ctx, state); !begun) {
      return set_error(state.box, begun.error(), "saving a message");
    }
    state.failed = false;
    state.finished = false;
    const SavedFile& file = state.files.back();
    mail_set_seq_saving(ctx->dest_mail, file.seq);
    struct istream* lines = i_stream_create_lf(input);
    state.input = index_mail_cache_parse_init(ctx->dest_mail, lines);
    i_stream_unref(&lines);
    // The stream believes that the file stands where it is told to begin.
    if (lseek(file.message.file.get(), file.message.text_at, SEEK_SET) < 0) {
      mailbox_set_critical(state.box, "mh: lseek: %s", strerror(errno));
      state.failed = true;
    }
    state.output = o_stream_create_fd_file(file.message.file.get(), file.message.text_at, FALSE);
    o_stream_set_name(state.output, mailbox_get_path(state.box));
    o_stream_cork(state.output);
    ctx->data.output = state.output;
    return state.failed ? -1 : 0;
  });
}

int mh_save_continue(struct mail_save_context* ctx) noexcept {
  SaveState& state = state_of(ctx);
  if (state.failed) return -1;
  if (index_storage_save_continue(ctx, state.input, ctx->dest_mail) == 0) return 0;
  state.failed = true;
  return -1;
}

void write_failed(SaveState& state, struct ostream* output) {
  state.failed = true;
  errno = output->stream_errno;
  if (mail_storage_set_error_from_errno(state.box->storage)) return;
  mailbox_set_critical(state.box, "mh: writing a message into %s: %s", o_stream_get_name(output),
                       o_stream_get_error(output));
}

// A plugin may have put a stream of its own over ours, which has a trailer to write.
void end_output(struct mail_save_context* ctx, SaveState& state) {
  struct ostream*& top = ctx->data.output;
  if (top != state.output) {
    if (!state.failed && o_stream_finish(top) < 0) write_failed(state, top);
    if (state.failed) o_stream_abort(top);
    o_stream_ref(state.output);
    o_stream_destroy(&top);
  }
  if (!state.failed && o_stream_flush(state.output) < 0) write_failed(state, state.output);
  if (state.failed) o_stream_abort(state.output);
  o_stream_destroy(&state.output);
  top = nullptr;
}

void cache_save_date(struct mail_save_context* ctx) {
  if (ctx->data.save_date == static_cast<time_t>(-1)) return;
  const auto date = static_cast<uint32_t>(ctx->data.save_date);
  index_mail_cache_add(reinterpret_cast<struct index_mail*>(ctx->dest_mail), MAIL_CACHE_SAVE_DATE,
                       &date, sizeof(date));
}

int finish_saving(struct mail_save_context* ctx, SaveState& state) {
  state.finished = true;
  if (state.output == nullptr) return -1;
  end_output(ctx, state);
  if (!state.failed) cache_save_date(ctx);
  index_mail_cache_parse_deinit(ctx->dest_mail, ctx->data.received_date, !state.failed);
  if (!state.failed) {
    index_mail_cache_pop3_data(ctx->dest_mail, ctx->data.pop3_uidl, ctx->data.pop3_order);
    if (const Status done = finish_file(ctx, state, false); !done) {
      set_error(state.box, done.error(), "saving a message");
      state.failed = true;
    }
  }
  i_stream_unref(&state.input);
  if (!state.failed) return 0;
  abort_last(ctx, state);
  return -1;
}

int mh_save_finish(struct mail_save_context* ctx) noexcept {
  SaveState& state = state_of(ctx);
  const int ret = guard(state.box, [&] { return finish_saving(ctx, state); });
  index_save_context_free(ctx);
  return ret;
}

void mh_save_cancel(struct mail_save_context* ctx) noexcept {
  state_of(ctx).failed = true;
  (void)mh_save_finish(ctx);
}

// -- copying --------------------------------------------------------------------------------------

// Whether the file of this message can be copied as it is.
bool is_our_message(struct mail* mail, const struct mailbox* to) {
  return strcmp(mail->box->storage->name, to->storage->name) == 0 && !mail->saving &&
         !to->disable_reflink_copy_to;
}

int no_such_message(const SaveState& state, struct mail* mail) {
  mail_set_expunged(mail);
  mail_storage_set_error(state.box->storage, MAIL_ERROR_EXPUNGED, "Message was expunged");
  return -1;
}

int copy_message(struct mail_save_context* ctx, SaveState& state, struct mail* mail) {
  // While nmh's lock is busy, a message that was moved is still shown in the folder that it left.
  // Whoever moves it again would have it twice (RFC 6851, section 3.3).
  if (ctx->moving && mailbox_state(mail->box).removal_waits.contains(mail->uid)) {
    return no_such_message(state, mail);
  }
  if (mail_save_copy_default_metadata(ctx, mail) < 0) return -1;
  const MessageHint hint =
      mailbox_state(mail->box).extension.note(mail->transaction->view, mail->seq).hint;
  auto source = mailbox_state(mail->box).folder->open_message(mail->uid, hint);
  if (!source) {
    if (source.error().kind() == ErrorKind::kNotFound) return no_such_message(state, mail);
    return set_error(state.box, source.error(), "copying a message");
  }
  Status done = begin_file(ctx, state);
  if (!done) return set_error(state.box, done.error(), "copying a message");
  done = copy_text(Fs::posix(), source->fd.get(), source->prefix, source->size,
                   state.files.back().message);
  // Within a folder a copy is a message of its own.
  const bool same_folder = strcmp(mailbox_get_path(mail->box), mailbox_get_path(state.box)) == 0;
  if (done) done = finish_file(ctx, state, same_folder);
  if (!done) {
    set_error(state.box, done.error(), "copying a message");
    abort_last(ctx, state);
    return -1;
  }
  const uint32_t seq = state.files.back().seq;
  if (!same_folder) index_copy_cache_fields(ctx, mail, seq);  // the GUID is one of them
  if (ctx->dest_mail != nullptr) mail_set_seq_saving(ctx->dest_mail, seq);
  return 0;
}

int mh_copy(struct mail_save_context* ctx, struct mail* mail) noexcept {
  SaveState& state = state_of(ctx);
  if (!is_our_message(mail, state.box)) return mail_storage_copy(ctx, mail);
  const int ret = guard(state.box, [&] { return copy_message(ctx, state, mail); });
  index_save_context_free(ctx);
  return ret;
}

// -- the transaction -----------------------------------------------------------------------------

void unlock(SaveState& state) {
  state.sync.reset();
  if (!std::exchange(state.locked, false)) return;
  folder_of(state).unlock();
  mailbox_state(state.box).syncing = false;
}

int lock_and_sync(SaveState& state) {
  MailboxState& mailbox = mailbox_state(state.box);
  if (mailbox.syncing || state.box->index->syncing) {
    mailbox_set_critical(state.box, "mh: messages cannot be saved within a sync");
    return -1;
  }
  if (const Status locked = mailbox.folder->lock(); !locked) {
    return set_error(state.box, locked.error(), "locking the folder");
  }
  state.locked = true;
  mailbox.syncing = true;
  if (run_locked_sync(state.box) < 0) return -1;
  state.sync = std::make_unique<IndexSync>(state.box, MAIL_INDEX_SYNC_FLAG_FSYNC);
  if (!state.sync->begin()) return -1;
  state.sync->leave_requests();
  return 0;
}

void assign_uids(struct mail_save_context* ctx, SaveState& state) {
  struct mailbox_transaction_context* t = ctx->transaction;
  const uint32_t next_uid = std::max(state.sync->header().next_uid, folder_of(state).uidnext());
  mail_index_append_finish_uids(t->itrans, next_uid, &t->changes->saved_uids);
  t->changes->uid_validity = state.sync->header().uid_validity;
  struct seq_range_iter iter;
  seq_range_array_iter_init(&iter, &t->changes->saved_uids);
  unsigned int nth = 0;
  for (SavedFile& file : state.files) {
    if (!seq_range_array_iter_nth(&iter, nth++, &file.message.record.uid)) i_unreached();
    if (!file.message.pop3.uidl.empty()) {
      state.max_uidl_uid = std::max(state.max_uidl_uid, file.message.record.uid);
    }
  }
}

void write_notes(struct mail_save_context* ctx, SaveState& state, const FolderMemory& memory) {
  const IndexExtension& extension = mailbox_state(state.box).extension;
  struct mail_index_transaction* trans = ctx->transaction->itrans;
  for (const SavedFile& file : state.files) {
    MessageNote note;
    note.hint = hint_of(file.message.record);
    note.internal_date = file.message.record.internal_date;
    extension.set_note(trans, file.seq, note);
  }
  if (state.max_uidl_uid != 0) {
    index_pop3_uidl_set_max_uid(state.box, trans, state.max_uidl_uid);
  }
  extension.set_memory(state.sync->view, state.sync->trans, memory);
}

int bring_in(struct mail_save_context* ctx, SaveState& state) {
  if (lock_and_sync(state) < 0) return -1;
  assign_uids(ctx, state);
  std::vector<NewMessage> messages;
  for (SavedFile& file : state.files) messages.push_back(std::move(file.message));
  const auto known = mailbox_state(state.box).extension.memory(state.sync->view);
  const auto memory = folder_of(state).store_messages(messages, known.value_or(FolderMemory()));
  for (size_t i = 0; i < messages.size(); ++i) state.files[i].message = std::move(messages[i]);
  if (!memory) return set_error(state.box, memory.error(), "saving messages");
  write_notes(ctx, state, *memory);
  return 0;
}

int mh_transaction_save_commit_pre(struct mail_save_context* ctx) noexcept {
  SaveState& state = state_of(ctx);
  i_assert(state.finished);
  if (state.files.empty()) return 0;
  const int ret = guard(state.box, [&] {
    for (const SavedFile& file : state.files) {
      if (const Status flushed = folder_of(state).flush_message(file.message); !flushed) {
        return set_error(state.box, flushed.error(), "saving messages");
      }
    }
    return bring_in(ctx, state);
  });
  if (ret < 0) ctx->transaction->box->v.transaction_save_rollback(ctx);
  return ret;
}

void finish_transaction(SaveState& state, struct mail_index_transaction_commit_result* result) {
  mail_index_sync_set_commit_result(state.sync->ctx, result);
  // What the index does not have in spite of all is in the journal, and comes with the next sync.
  if (!state.sync->commit()) return;
  Folder& folder = folder_of(state);
  const uint64_t highest = mail_index_modseq_get_highest(FreshView(state.box->index).get());
  // On a full disk Dovecot goes on in memory: what others will read does not have the messages.
  const bool kept = !mail_index_is_in_memory(state.box->index);
  const Status steps[] = {kept ? folder.saves_finished() : Status(), folder.reserve_modseq(highest),
                          folder.maintain()};
  for (const Status& done : steps) {
    if (!done) e_warning(state.box->event, "mh: %s", done.error().message().c_str());
  }
  seal_index(state.box);
}

void mh_transaction_save_commit_post(struct mail_save_context* ctx,
                                     struct mail_index_transaction_commit_result* result) noexcept {
  SaveState& state = state_of(ctx);
  ctx->transaction = nullptr;  // freed already
  if (state.sync != nullptr) {
    guard(state.box, [&] {
      finish_transaction(state, result);
      return 0;
    });
  }
  unlock(state);
  free_context(ctx);
}

void mh_transaction_save_rollback(struct mail_save_context* ctx) noexcept {
  SaveState& state = state_of(ctx);
  if (!state.finished) mh_save_cancel(ctx);
  guard(state.box, [&] {
    for (SavedFile& file : state.files) folder_of(state).drop_message(file.message);
    unlock(state);
    return 0;
  });
  free_context(ctx);
}

}  // namespace

const NewMessage* saving_message(struct mail* mail) {
  if (!mail->saving || mail->transaction->save_ctx == nullptr) return nullptr;
  for (const SavedFile& file : state_of(mail->transaction->save_ctx).files) {
    if (file.seq == mail->seq) return &file.message;
  }
  return nullptr;
}

void fill_saving(struct mailbox_vfuncs* v) {
  v->save_alloc = mh_save_alloc;
  v->save_begin = mh_save_begin;
  v->save_continue = mh_save_continue;
  v->save_finish = mh_save_finish;
  v->save_cancel = mh_save_cancel;
  v->copy = mh_copy;
  v->transaction_save_commit_pre = mh_transaction_save_commit_pre;
  v->transaction_save_commit_post = mh_transaction_save_commit_post;
  v->transaction_save_rollback = mh_transaction_save_rollback;
}

}  // namespace mh
