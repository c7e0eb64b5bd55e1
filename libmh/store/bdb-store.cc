// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The only file that knows Berkeley DB.
//
// libdb makes its own system calls, on a temporary file while it writes and on the finished file
// while it reads. All that gives a file its name, makes it durable or believes it goes through Fs.
// Its messages go nowhere: what it has to say is an error code, and each one means the same to us.
#include <db.h>
#include <fcntl.h>

#include <array>
#include <cerrno>

#include "libmh/format/fingerprint.h"
#include "libmh/store/record-bytes.h"
#include "libmh/store/state-file.h"
#include "libmh/store/store.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr const char* kName = kStoreFile.data();  // of a literal, so it ends in a NUL

constexpr uint32_t kPageSize = 4096;
constexpr uint32_t kCacheSize = 1u << 20;  // an imap process has 256 MB for everything
constexpr size_t kBulkSize = size_t{256} << 10;
constexpr size_t kReadStep = size_t{256} << 10;
constexpr int kTries = 3;

tl::unexpected<Error> corrupt(std::string_view why) {
  return fail(ErrorKind::kCorrupt, std::string(kName) + ": " + std::string(why));
}

// Positive codes are errno. Those that tell nothing about the file are passed on; all others mean
// that it is not as we wrote it.
tl::unexpected<Error> read_error(const char* call, int code) {
  switch (code) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return fail_errno(call, kName, code);
    default:
      return corrupt(std::string(call) + ": " + db_strerror(code));
  }
}

tl::unexpected<Error> write_error(const char* call, int code) {
  if (code > 0) return fail_errno(call, kName, code);
  return fail(ErrorKind::kIo, std::string(call) + "(" + kName + ") failed: " + db_strerror(code));
}

void be_silent(const DB_ENV*, const char*, const char*) {}

struct CloseDb {
  // Not flushed again: what is to be kept was closed by hand, and a broken handle must not write.
  void operator()(DB* db) const { db->close(db, DB_NOSYNC); }
};
using Db = std::unique_ptr<DB, CloseDb>;

struct CloseCursor {
  void operator()(DBC* cursor) const { cursor->close(cursor); }
};
using Cursor = std::unique_ptr<DBC, CloseCursor>;

Result<Db> make_db() {
  DB* db = nullptr;
  const int code = db_create(&db, nullptr, 0);
  if (code != 0) return write_error("db_create", code);
  db->set_errcall(db, be_silent);
  db->set_errfile(db, nullptr);
  return Db(db);
}

DBT dbt_of(const void* data, size_t size) {
  DBT dbt{};
  dbt.data = const_cast<void*>(data);
  dbt.size = static_cast<uint32_t>(size);
  return dbt;
}

// ---- The last page ---------------------------------------------------------------------------

constexpr std::string_view kMagic = "libmh store 1\n";

// What has to stand behind `size` bytes with this fingerprint.
std::array<uint8_t, kPageSize> last_page(uint64_t size, uint64_t hash) {
  std::array<uint8_t, kPageSize> page{};
  std::copy(kMagic.begin(), kMagic.end(), page.begin());
  for (size_t i = 0; i < 8; ++i) {
    page[kMagic.size() + i] = static_cast<uint8_t>(size >> (8 * i));
    page[kMagic.size() + 8 + i] = static_cast<uint8_t>(hash >> (8 * i));
  }
  return page;
}

// Of the first `size` bytes, fewer if the file ends before.
Result<uint64_t> hash_of(Fs& fs, int fd, uint64_t size) {
  Fingerprint hash;
  std::string buffer(kReadStep, '\0');
  for (uint64_t at = 0; at < size;) {
    const size_t want = std::min<uint64_t>(buffer.size(), size - at);
    MH_TRY_SET(const size_t got, fs.pread(fd, buffer.data(), want, at));
    hash.add(std::string_view(buffer).substr(0, got));
    if (got < want) break;
    at += got;
  }
  return hash.value();
}

Status seal(Fs& fs, int fd) {
  MH_TRY_SET(const FileStat stat, fs.fstat(fd));
  MH_TRY_SET(const uint64_t hash, hash_of(fs, fd, stat.size));
  const auto page = last_page(stat.size, hash);
  return fs.pwrite(fd, page.data(), page.size(), stat.size);
}

Status check_seal(Fs& fs, int fd, const FileStat& stat) {
  if (stat.type != FileType::kRegular) return corrupt("is not a regular file");
  if (stat.size < kPageSize || stat.size % kPageSize != 0) return corrupt("was cut");
  const uint64_t size = stat.size - kPageSize;
  MH_TRY_SET(const uint64_t hash, hash_of(fs, fd, size));
  std::array<uint8_t, kPageSize> page;
  MH_TRY_SET(const size_t got, fs.pread(fd, page.data(), page.size(), size));
  if (got != page.size() || page != last_page(size, hash)) return corrupt("is damaged");
  return {};
}

// ---- Writing ---------------------------------------------------------------------------------

Status put_all(DB* db, const StoreHeader& header, std::span<const Record> records) {
  std::array<uint8_t, kRecordSize> value;
  for (const Record& record : records) {
    const auto key = key_bytes(record.uid);
    pack_record(record, value.data());
    DBT key_dbt = dbt_of(key.data(), key.size());
    DBT value_dbt = dbt_of(value.data(), value.size());
    const int code = db->put(db, nullptr, &key_dbt, &value_dbt, 0);
    if (code != 0) return write_error("DB->put", code);
  }
  const auto packed = pack_header(header);
  DBT key_dbt = dbt_of(kHeaderKey.data(), kHeaderKey.size());
  DBT value_dbt = dbt_of(packed.data(), packed.size());
  const int code = db->put(db, nullptr, &key_dbt, &value_dbt, 0);
  if (code != 0) return write_error("DB->put", code);
  return {};
}

Status write_db(const std::string& path, const StoreHeader& header,
                std::span<const Record> records) {
  MH_TRY_SET(Db db, make_db());
  int code = db->set_pagesize(db.get(), kPageSize);
  if (code == 0) code = db->set_cachesize(db.get(), 0, kCacheSize, 1);
  if (code == 0) code = db->set_flags(db.get(), DB_CHKSUM);
  if (code == 0) {
    code = db->open(db.get(), nullptr, path.c_str(), nullptr, DB_BTREE, DB_CREATE | DB_EXCL, 0600);
  }
  if (code != 0) return write_error("DB->open", code);
  MH_TRY(put_all(db.get(), header, records));
  DB* const handle = db.release();
  code = handle->close(handle, 0);  // frees it in any case
  if (code != 0) return write_error("DB->close", code);
  return {};
}

bool is_leftover(std::string_view name) {
  return is_leftover_of_state(name) && (name.starts_with(kStoreFile) || name.starts_with("__db."));
}

// Of writers that were killed; there is no other one at work, for we hold the lock.
Status remove_leftovers(Fs& fs, int dir) {
  std::vector<std::string> names;
  MH_TRY(fs.list(dir, [&](const DirEntry& entry) {
    if (is_leftover(entry.name)) names.push_back(entry.name);
    return true;
  }));
  for (const std::string& name : names) {
    const Status removed = fs.unlink(dir, name.c_str());
    if (!removed && removed.error().kind() != ErrorKind::kNotFound) return removed;
  }
  return {};
}

// ---- The store -------------------------------------------------------------------------------

class BdbStore final : public Store {
 public:
  BdbStore(Fs& fs, int dir, std::string path, mode_t mode, gid_t gid)
      : fs_(fs), dir_(dir), dir_path_(std::move(path)), mode_(mode), gid_(gid) {}

  Result<StoreHeader> header() override {
    MH_TRY(open());
    return header_;
  }
  Result<std::vector<Record>> load() override;
  Result<std::optional<Record>> get(uint32_t uid) override;
  Status replace(const StoreHeader& header, std::span<const Record> records) override;
  Status remove() override;

 private:
  std::string path_of(std::string_view name) const { return dir_path_ + "/" + std::string(name); }
  Status open();
  Status open_now();
  Result<StoreHeader> read_header();
  Result<std::vector<Record>> read_all();
  Result<std::optional<Record>> read_one(uint32_t uid);
  Status write_named(const std::string& name, const StoreHeader& header,
                     std::span<const Record> records);
  Fs& fs_;
  const int dir_;
  const std::string dir_path_;
  const mode_t mode_;
  const gid_t gid_;
  Db db_;
  FileIdentity file_;  // that db_ is open on
  StoreHeader header_;
};

Status BdbStore::open() {
  for (int attempt = 1;; ++attempt) {
    const Result<FileStat> stat = fs_.stat(dir_, kName, Follow::kNo);
    if (stat && db_ && FileIdentity::of(*stat) == file_) return {};
    db_.reset();
    if (!stat) return pass_on(stat);
    const Status opened = open_now();
    if (opened) return {};
    db_.reset();
    // Replaced between our looks at it.
    if (opened.error().kind() != ErrorKind::kBusy || attempt == kTries) return opened;
  }
}

Status BdbStore::open_now() {
  MH_TRY_SET(const Fd fd, fs_.open(dir_, kName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY_SET(const FileStat stat, fs_.fstat(fd.get()));
  MH_TRY(check_seal(fs_, fd.get(), stat));
  MH_TRY_SET(db_, make_db());
  int code = db_->set_cachesize(db_.get(), 0, kCacheSize, 1);
  if (code == 0) {
    code = db_->open(db_.get(), nullptr, path_of(kName).c_str(), nullptr, DB_BTREE,
                     DB_RDONLY | DB_NOMMAP, 0);
  }
  int opened = -1;
  if (code == 0) code = db_->fd(db_.get(), &opened);
  if (code != 0) return read_error("DB->open", code);
  // libdb went by the path: it may have come to another file than the one that was checked.
  MH_TRY_SET(const FileStat again, fs_.fstat(opened));
  file_ = FileIdentity::of(again);
  if (file_ != FileIdentity::of(stat))
    return fail(ErrorKind::kBusy, std::string(kName) + " was replaced while it was opened");
  MH_TRY_SET(header_, read_header());
  return {};
}

Result<StoreHeader> BdbStore::read_header() {
  DBT key = dbt_of(kHeaderKey.data(), kHeaderKey.size());
  DBT value{};
  const int code = db_->get(db_.get(), nullptr, &key, &value, 0);
  if (code != 0) return corrupt(std::string("header: ") + db_strerror(code));
  const auto header = unpack_header({static_cast<const uint8_t*>(value.data), value.size});
  if (!header) return corrupt("was written by another version");
  return *header;
}

Result<std::vector<Record>> BdbStore::load() {
  MH_TRY(open());
  auto records = read_all();
  if (!records) db_.reset();  // after an error of libdb the handle is of no more use
  return records;
}

Result<std::optional<Record>> BdbStore::get(uint32_t uid) {
  MH_TRY(open());
  auto record = read_one(uid);
  if (!record) db_.reset();
  return record;
}

Result<std::vector<Record>> BdbStore::read_all() {
  DBC* raw = nullptr;
  int code = db_->cursor(db_.get(), nullptr, &raw, 0);
  if (code != 0) return read_error("DB->cursor", code);
  const Cursor cursor(raw);
  std::vector<Record> records;
  records.reserve(header_.records);
  // libdb writes offsets at the end of the buffer, as numbers of 32 bits.
  std::vector<uint32_t> buffer(kBulkSize / sizeof(uint32_t));
  uint32_t last = 0;
  for (;;) {
    DBT key{};
    DBT bulk{};
    bulk.data = buffer.data();
    bulk.ulen = kBulkSize;
    bulk.flags = DB_DBT_USERMEM;
    code = cursor->get(cursor.get(), &key, &bulk, DB_MULTIPLE_KEY | DB_NEXT);
    if (code == DB_NOTFOUND) break;
    if (code != 0) return read_error("DBcursor->get", code);
    void* at = nullptr;
    DB_MULTIPLE_INIT(at, &bulk);
    for (;;) {
      uint8_t* key_data = nullptr;
      uint8_t* value_data = nullptr;
      size_t key_size = 0;
      size_t value_size = 0;
      DB_MULTIPLE_KEY_NEXT(at, &bulk, key_data, key_size, value_data, value_size);
      if (at == nullptr) break;
      const auto uid = unpack_key({key_data, key_size});
      if (!uid) continue;  // the header
      const auto record = unpack_record(*uid, {value_data, value_size});
      if (!record || *uid <= last) return corrupt("holds a strange record");
      last = *uid;
      records.push_back(*record);
    }
  }
  if (records.size() != header_.records) return corrupt("does not hold all records");
  return records;
}

Result<std::optional<Record>> BdbStore::read_one(uint32_t uid) {
  const auto bytes = key_bytes(uid);
  DBT key = dbt_of(bytes.data(), bytes.size());
  DBT value{};
  const int code = db_->get(db_.get(), nullptr, &key, &value, 0);
  if (code == DB_NOTFOUND) return std::nullopt;
  if (code != 0) return read_error("DB->get", code);
  const auto record = unpack_record(uid, {static_cast<const uint8_t*>(value.data), value.size});
  if (!record) return corrupt("holds a strange record");
  return record;
}

Status BdbStore::replace(const StoreHeader& header, std::span<const Record> records) {
  MH_TRY(check_records(records));
  MH_TRY(remove_leftovers(fs_, dir_));
  db_.reset();
  const std::string name = replacement_name(kStoreFile, static_cast<uint64_t>(fs_.process()));
  Status written = write_named(name, header, records);
  if (written) written = fs_.rename(dir_, name.c_str(), dir_, kName, RenameMode::kReplace);
  if (!written) {
    const Status swept = remove_leftovers(fs_, dir_);
    static_cast<void>(swept);  // the first error is the one to tell
    return written;
  }
  return flush_directory(fs_, dir_);
}

Status BdbStore::write_named(const std::string& name, const StoreHeader& header,
                             std::span<const Record> records) {
  StoreHeader counted = header;
  counted.records = static_cast<uint32_t>(records.size());
  MH_TRY(write_db(path_of(name), counted, records));
  MH_TRY_SET(const Fd fd, fs_.open(dir_, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
  MH_TRY(set_rights(fs_, fd.get(), mode_, gid_));
  MH_TRY(seal(fs_, fd.get()));
  return fs_.fsync(fd.get());
}

Status BdbStore::remove() {
  db_.reset();
  const Status removed = fs_.unlink(dir_, kName);
  if (!removed && removed.error().kind() == ErrorKind::kNotFound) return {};
  return removed;
}

}  // namespace

std::unique_ptr<Store> open_bdb_store(Fs& fs, int state_dir, std::string state_dir_path,
                                      mode_t mode, gid_t gid) {
  return std::make_unique<BdbStore>(fs, state_dir, std::move(state_dir_path), mode, gid);
}

}  // namespace mh
