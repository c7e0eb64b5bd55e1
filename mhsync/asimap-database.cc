// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/asimap-database.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <algorithm>

namespace mh {
namespace {

constexpr int kWait = 5000;  // milliseconds

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

std::string text_of(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  return text == nullptr
             ? ""
             : std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement, column)));
}

// 0 for what can be no UID.
uint32_t uid_of(sqlite3_stmt* statement, int column) {
  const sqlite3_int64 value = sqlite3_column_int64(statement, column);
  return value < 0 || value > UINT32_MAX ? 0 : static_cast<uint32_t>(value);
}

}  // namespace

void AsimapDatabase::Close::operator()(sqlite3* database) const { sqlite3_close(database); }

Error AsimapDatabase::problem() const {
  const int code = sqlite3_errcode(database_.get()) & 0xff;
  ErrorKind kind = ErrorKind::kCorrupt;
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) kind = ErrorKind::kBusy;
  if (code == SQLITE_IOERR) kind = ErrorKind::kIo;
  if (code == SQLITE_PERM || code == SQLITE_CANTOPEN || code == SQLITE_AUTH ||
      code == SQLITE_READONLY) {
    kind = ErrorKind::kPermission;
  }
  return Error(kind, path_ + ": " + sqlite3_errmsg(database_.get()));
}

Result<AsimapDatabase> AsimapDatabase::open(Fs& fs, const std::string& path) {
  MH_TRY(fs.stat(AT_FDCWD, path.c_str(), Follow::kYes));
  AsimapDatabase opened(path);
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READONLY, nullptr);
  opened.database_.reset(database);
  if (database == nullptr) return fail(ErrorKind::kIo, path + ": no memory to open it");
  if (code != SQLITE_OK) return tl::unexpected(opened.problem());
  sqlite3_busy_timeout(database, kWait);
  return opened;
}

// Its tables have grown with its versions.
Result<bool> AsimapDatabase::has_column(const std::string& name) {
  sqlite3_stmt* raw = nullptr;
  const char* question = "SELECT count(*) FROM pragma_table_info('mailboxes') WHERE name = ?";
  int code = sqlite3_prepare_v2(database_.get(), question, -1, &raw, nullptr);
  const Statement statement(raw);
  if (code == SQLITE_OK) {
    code = sqlite3_bind_text(raw, 1, name.c_str(), -1, SQLITE_TRANSIENT);
  }
  if (code == SQLITE_OK) code = sqlite3_step(raw);
  if (code != SQLITE_ROW) return tl::unexpected(problem());
  return sqlite3_column_int(raw, 0) != 0;
}

Result<std::optional<AsimapFolder>> AsimapDatabase::folder(const std::string& path) {
  MH_TRY_SET(const bool has_numbers, has_column("msg_keys"));
  MH_TRY_SET(const bool has_time, has_column("last_resync"));
  const std::string question = std::string("SELECT uid_vv, next_uid, uids, ") +
                               (has_numbers ? "msg_keys" : "''") + ", " +
                               (has_time ? "last_resync" : "0") + " FROM mailboxes WHERE name = ?";
  sqlite3_stmt* raw = nullptr;
  int code = sqlite3_prepare_v2(database_.get(), question.c_str(), -1, &raw, nullptr);
  const Statement statement(raw);
  if (code == SQLITE_OK) {
    code = sqlite3_bind_text(raw, 1, path.c_str(), -1, SQLITE_TRANSIENT);
  }
  if (code == SQLITE_OK) code = sqlite3_step(raw);
  if (code == SQLITE_DONE) return std::optional<AsimapFolder>();
  if (code != SQLITE_ROW) return tl::unexpected(problem());
  AsimapFolder folder;
  folder.uidvalidity = uid_of(raw, 0);
  folder.uidnext = uid_of(raw, 1);
  auto uids = parse_asimap_set(text_of(raw, 2));
  auto numbers = parse_asimap_set(text_of(raw, 3));
  if (!uids || !numbers) {
    return fail(ErrorKind::kCorrupt, path_ + ": what it says of " + path + " cannot be read");
  }
  folder.uids = std::move(*uids);
  folder.numbers = std::move(*numbers);
  constexpr sqlite3_int64 kLatest = kLastTime / kSecond;
  folder.looked_at = std::clamp<sqlite3_int64>(sqlite3_column_int64(raw, 4), 0, kLatest) * kSecond;
  return std::optional(std::move(folder));
}

}  // namespace mh
