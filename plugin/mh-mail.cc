// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-mail.h"

#include "plugin/guard.h"
#include "plugin/mh-mailbox.h"
#include "plugin/mh-save.h"

namespace mh {
namespace {

struct index_mail* index_mail_of(struct mail* mail) {
  return INDEX_MAIL(mail);
}

// The message could not be had. Only what is known to be gone is expunged. INVALIDDATA is the error
// that imap answers by a NO to this command alone; for any other it disconnects the client, which
// would come back and ask again.
int failed(struct mail* mail, const Error& error) {
  if (error.kind() == ErrorKind::kNotFound) {
    mailbox_state(mail->box).must_sync = true;
    mail_set_expunged(mail);
    return -1;
  }
  const char* told = "The file of this message cannot be read";
  const char* cure = "";
  if (error.kind() == ErrorKind::kPermission) {
    told = "The file of this message may not be read by this user";
    cure = ": make it readable for this user";
  } else if (error.kind() == ErrorKind::kBusy) {
    told = "The file of this message is being written, try again later";
  }
  e_error(mail_event(mail), "mh: %s%s", error.message().c_str(), cure);
  mail_storage_set_error(mail->box->storage, MAIL_ERROR_INVALIDDATA, told);
  return -1;
}

Folder& folder_of(struct mail* mail) { return *mailbox_state(mail->box).folder; }

MessageHint hint_for(struct mail* mail) {
  return mailbox_state(mail->box).extension.note(mail->transaction->view, mail->seq).hint;
}

Result<Record> record_of(struct mail* mail) {
  ++mail->transaction->stats.stat_lookup_count;
  return folder_of(mail).record(mail->uid);
}

// The whole file, and where the message lies in it.
struct MessageFile {
  struct istream* file;
  uint64_t begin;
  uint64_t size;
};

Result<MessageFile> open_file(struct mail* mail) {
  // A message that is being saved has no number yet.
  if (const NewMessage* saving = saving_message(mail)) {
    return MessageFile{i_stream_create_fd(saving->file.get(), IO_BLOCK_SIZE), saving->text_at,
                       saving->record.visible_size()};
  }
  MH_TRY_SET(OpenMessage opened, folder_of(mail).open_message(mail->uid, hint_for(mail)));
  int fd = opened.fd.release();
  struct istream* file = i_stream_create_fd_autoclose(&fd, IO_BLOCK_SIZE);
  i_stream_set_name(file, t_strdup_printf("%s/%u", mailbox_get_path(mail->box), opened.number));
  return MessageFile{file, opened.prefix, opened.size};
}

int open_stream(struct mail* mail) {
  struct index_mail_data* data = &index_mail_of(mail)->data;
  if (!mail_stream_access_start(mail)) return -1;
  ++mail->transaction->stats.open_lookup_count;
  const auto opened = open_file(mail);
  if (!opened) return failed(mail, opened.error());

  struct istream* file = opened->file;
  index_mail_set_read_buffer_size(mail, file);
  struct istream* message = i_stream_create_range(file, opened->begin, opened->size);
  i_stream_set_name(message, i_stream_get_name(file));
  i_stream_unref(&file);

  struct mail_private* pmail = &index_mail_of(mail)->mail;
  if (pmail->v.istream_opened != nullptr && pmail->v.istream_opened(mail, &message) < 0) {
    i_stream_unref(&message);
    return -1;
  }
  data->stream = message;
  return 0;
}

int mh_mail_get_stream(struct mail* mail, bool, struct message_size* hdr_size,
                       struct message_size* body_size, struct istream** stream_r) noexcept {
  return guard(mail->box, [&] {
    struct index_mail* imail = index_mail_of(mail);
    if (imail->data.stream == nullptr && open_stream(mail) < 0) return -1;
    return index_mail_init_stream(imail, hdr_size, body_size, stream_r);
  });
}

int mh_mail_get_received_date(struct mail* mail, time_t* date_r) noexcept {
  return guard(mail->box, [&] {
    struct index_mail_data* data = &index_mail_of(mail)->data;
    if (data->received_date == static_cast<time_t>(-1)) {
      // Not from dovecot.index.cache, which has no checksum: a date once told must not change.
      uint32_t date =
          mailbox_state(mail->box).extension.note(mail->transaction->view, mail->seq).internal_date;
      if (date == 0) {
        if (!mail_metadata_access_start(mail)) return -1;
        const auto record = record_of(mail);
        if (!record) return failed(mail, record.error());
        date = record->internal_date;
      }
      data->received_date = static_cast<time_t>(date);
    }
    *date_r = data->received_date;
    return 0;
  });
}

int mh_mail_get_save_date(struct mail* mail, time_t* date_r) noexcept {
  return guard(mail->box, [&] {
    if (index_mail_get_save_date(mail, date_r) > 0) return 1;
    if (!mail_metadata_access_start(mail)) return -1;
    const auto record = record_of(mail);
    if (!record) return failed(mail, record.error());
    if (record->saved == 0) return 0;
    *date_r = index_mail_of(mail)->data.save_date = static_cast<time_t>(record->saved);
    return 1;
  });
}

int mh_mail_get_physical_size(struct mail* mail, uoff_t* size_r) noexcept {
  return guard(mail->box, [&] {
    struct index_mail* imail = index_mail_of(mail);
    if (index_mail_get_physical_size(mail, size_r) == 0) return 0;
    if (imail->mail.v.istream_opened != nullptr) {
      // A plugin shows other bytes than the file has.
      struct message_size header, body;
      struct istream* input;
      if (mail_get_stream(mail, &header, &body, &input) < 0) return -1;
      *size_r = imail->data.physical_size = header.physical_size + body.physical_size;
      return 0;
    }
    if (!mail_metadata_access_start(mail)) return -1;
    if (const NewMessage* saving = saving_message(mail)) {
      *size_r = imail->data.physical_size = saving->record.visible_size();
      return 0;
    }
    const auto record = record_of(mail);
    if (!record) return failed(mail, record.error());
    if (record->has(Record::kUnreadable)) {
      struct istream* input;
      const struct stat* stat;
      if (mail_get_stream(mail, nullptr, nullptr, &input) < 0) return -1;
      if (i_stream_stat(input, TRUE, &stat) < 0) return -1;
      *size_r = imail->data.physical_size = static_cast<uoff_t>(stat->st_size);
      return 0;
    }
    *size_r = imail->data.physical_size = record->visible_size();
    return 0;
  });
}

int get_guid(struct mail* mail, const char** value_r) {
  struct index_mail* imail = index_mail_of(mail);
  const unsigned int field = imail->ibox->cache_fields[MAIL_CACHE_GUID].idx;
  string_t* cached = str_new(imail->mail.data_pool, 64);
  if (mail_cache_lookup_field(mail->transaction->cache_view, cached, mail->seq, field) > 0 &&
      str_len(cached) > 0) {
    *value_r = str_c(cached);
    return 0;
  }
  if (!mail_metadata_access_start(mail)) return -1;
  const auto record = record_of(mail);
  if (!record) return failed(mail, record.error());
  guid_128_t guid;
  memcpy(guid, record->guid.data(), sizeof(guid));
  *value_r = p_strdup(imail->mail.data_pool, guid_128_to_string(guid));
  index_mail_cache_add_idx(imail, field, *value_r, strlen(*value_r));
  return 0;
}

// What another server had told POP3 clients; known only for messages that were brought here with
// it.
int get_uidl(struct mail* mail, const char** value_r) {
  *value_r = "";
  if (!index_pop3_uidl_can_exist(mail)) return 0;
  const auto known = folder_of(mail).pop3_identity(mail->uid);
  if (!known) return failed(mail, known.error());
  index_pop3_uidl_update_exists(mail, !known->uidl.empty());
  *value_r = p_strdup(index_mail_of(mail)->mail.data_pool, known->uidl.c_str());
  return 0;
}

int get_pop3_order(struct mail* mail, const char** value_r) {
  const auto known = folder_of(mail).pop3_identity(mail->uid);
  if (!known) return failed(mail, known.error());
  *value_r = known->order == 0
                 ? ""
                 : p_strdup_printf(index_mail_of(mail)->mail.data_pool, "%u", known->order);
  return 0;
}

int mh_mail_get_special(struct mail* mail, enum mail_fetch_field field,
                        const char** value_r) noexcept {
  return guard(mail->box, [&] {
    pool_t pool = index_mail_of(mail)->mail.data_pool;
    switch (field) {
      case MAIL_FETCH_GUID:
        return get_guid(mail, value_r);
      case MAIL_FETCH_STORAGE_ID:
        *value_r = p_strdup_printf(
            pool, "%u.%u", mail_index_get_header(mail->transaction->view)->uid_validity, mail->uid);
        return 0;
      case MAIL_FETCH_UIDL_BACKEND:
        return get_uidl(mail, value_r);
      case MAIL_FETCH_POP3_ORDER:
        return get_pop3_order(mail, value_r);
      case MAIL_FETCH_REFCOUNT_ID: {
        const auto record = record_of(mail);
        if (!record) return failed(mail, record.error());
        *value_r = p_strdup_printf(pool, "%" PRIu64, record->file.inode);
        return 0;
      }
      case MAIL_FETCH_REFCOUNT: {
        auto opened = folder_of(mail).open_message(mail->uid, hint_for(mail));
        if (!opened) return failed(mail, opened.error());
        *value_r = p_strdup_printf(pool, "%u", opened->stat.nlink);
        return 0;
      }
      default:
        return index_mail_get_special(mail, field, value_r);
    }
  });
}

struct mail_vfuncs make_vfuncs() {
  struct mail_vfuncs v = {};
  v.close = index_mail_close;
  v.free = index_mail_free;
  v.set_seq = index_mail_set_seq;
  v.set_uid = index_mail_set_uid;
  v.set_uid_cache_updates = index_mail_set_uid_cache_updates;
  v.prefetch = index_mail_prefetch;
  v.precache = index_mail_precache;
  v.add_temp_wanted_fields = index_mail_add_temp_wanted_fields;
  v.get_flags = index_mail_get_flags;
  v.get_keywords = index_mail_get_keywords;
  v.get_keyword_indexes = index_mail_get_keyword_indexes;
  v.get_modseq = index_mail_get_modseq;
  v.get_pvt_modseq = index_mail_get_pvt_modseq;
  v.get_parts = index_mail_get_parts;
  v.get_date = index_mail_get_date;
  v.get_received_date = mh_mail_get_received_date;
  v.get_save_date = mh_mail_get_save_date;
  v.get_virtual_size = index_mail_get_virtual_size;
  v.get_physical_size = mh_mail_get_physical_size;
  v.get_first_header = index_mail_get_first_header;
  v.get_headers = index_mail_get_headers;
  v.get_header_stream = index_mail_get_header_stream;
  v.get_stream = mh_mail_get_stream;
  v.get_binary_stream = index_mail_get_binary_stream;
  v.get_special = mh_mail_get_special;
  v.get_backend_mail = index_mail_get_backend_mail;
  v.update_flags = index_mail_update_flags;
  v.update_keywords = index_mail_update_keywords;
  v.update_modseq = index_mail_update_modseq;
  v.update_pvt_modseq = index_mail_update_pvt_modseq;
  v.update_pop3_uidl = nullptr;
  v.expunge = index_mail_expunge;
  v.set_cache_corrupted = index_mail_set_cache_corrupted;
  v.istream_opened = index_mail_opened;
  return v;
}

}  // namespace

struct mail_vfuncs mh_mail_vfuncs = make_vfuncs();

}  // namespace mh
