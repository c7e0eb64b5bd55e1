// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/sequences-file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "libmh/system/waiting.h"

namespace mh {
namespace {

// Longer than mutt needs between its unlink and its rename, or Python from truncating to writing.
constexpr Nanoseconds kSecondLook = 40 * kMillisecond;
// Two changes within a tick of the clock that stamps files look like one; the slowest tick is 10
// ms.
constexpr Nanoseconds kSettle = 20 * kMillisecond;
// Of a dot lock, by its mtime. nmh touches its own every 20 s, and breaks those of others after 180
// s, or with liblockfile (Debian) after 300 s, whatever pid is in it (measured). Python's mailbox
// neither touches nor breaks any.
constexpr Nanoseconds kStaleDotLock = 300 * kSecond;

// Whether something with this ctime happened less than `window` ago. A stamp from the future (the
// clock was set back) tells nothing, and must not make us wait for ever.
bool is_young(Nanoseconds ctime, Nanoseconds now, Nanoseconds window) {
  return ctime > now - window && ctime <= now + kSecond;
}

bool same_file(const FileStat& one, const FileStat& other) {
  return one.inode == other.inode && one.device == other.device;
}

bool same_content(const FileStat& one, const FileStat& other) {
  return same_file(one, other) && one.size == other.size && one.mtime == other.mtime &&
         one.ctime == other.ctime;
}

Nanoseconds whole_seconds(Nanoseconds time) {
  const Nanoseconds rest = time % kSecond;
  return (time - rest) / kSecond - (rest < 0 ? 1 : 0);
}

tl::unexpected<Error> busy(const std::string& name, const char* what) {
  return fail(ErrorKind::kBusy, name + " was " + what + " by a program that does not lock it");
}

// A name that leads out of the folder, or to a message, is not ours to write to.
bool is_sound(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && !message_number(name);
}

Status check_regular(const FileStat& stat, const std::string& name) {
  if (stat.type == FileType::kRegular) return {};
  return fail(ErrorKind::kInvalid, name + " is not a regular file");
}

Result<std::string> read_all(Fs& fs, int file, uint64_t size, const std::string& name) {
  if (size > SequencesFile::kSizeLimit)
    return fail(ErrorKind::kInvalid, name + " is larger than any sequences can be");
  std::string text(size, '\0');
  MH_TRY_SET(const size_t got, fs.pread(file, text.data(), text.size(), 0));
  text.resize(got);
  return text;
}

}  // namespace

// The other clock may be that of a file server and be a little ahead. A stamp from further ahead
// comes from before this clock was set back, one from long ago often from a backup.
bool is_stale_dot_lock(const FileStat& lock, Nanoseconds now) {
  return lock.mtime <= now - kStaleDotLock || lock.mtime > now + kStaleDotLock;
}

// ---- Taking the lock ------------------------------------------------------------------------

SequencesFile::Hold::Hold(const SequencesFile& owner, Fd file, const FileStat& locked, bool made)
    : fs_(owner.fs_),
      dir_(owner.dir_),
      name_(owner.options_.name),
      locking_(owner.options_.locking),
      file_(std::move(file)),
      locked_(locked),
      made_(made) {}

SequencesFile::Hold::Hold(Hold&& other) noexcept { *this = std::move(other); }

SequencesFile::Hold& SequencesFile::Hold::operator=(Hold&& other) noexcept {
  if (this == &other) return *this;
  release();
  fs_ = other.fs_;
  dir_ = other.dir_;
  name_ = std::move(other.name_);
  locking_ = other.locking_;
  file_ = std::move(other.file_);
  locked_ = other.locked_;
  made_ = other.made_;
  dot_made_ = std::exchange(other.dot_made_, false);
  passed_stale_lock_ = other.passed_stale_lock_;
  last_read_ = std::move(other.last_read_);
  return *this;
}

void SequencesFile::Hold::release() {
  if (!file_) return;
  // What fails here leaves a lock that ends with the process, or goes stale.
  Status released;
  if (std::exchange(dot_made_, false))
    released = fs_->unlink(dir_, (name_ + std::string(kSequencesLockSuffix)).c_str());
  // Not by closing alone: a child forked meanwhile shares the open file and its locks.
  if (locking_ == DataLocking::kFlock) released = fs_->set_flock(file_.get(), Lock::kNone);
  released = fs_->set_lock(file_.get(), Lock::kNone);
  static_cast<void>(released);
  file_.reset();
}

Status SequencesFile::Hold::take_dot_lock() {
  const std::string lock = name_ + std::string(kSequencesLockSuffix);
  const auto made =
      fs_->open(dir_, lock.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (!made && made.error().kind() != ErrorKind::kExists) return pass_on(made);
  if (!made) return fail(ErrorKind::kBusy, lock + " exists");
  dot_made_ = true;
  return {};
}

Status SequencesFile::Hold::lock_as_profile_says() {
  if (locking_ == DataLocking::kFlock) MH_TRY(fs_->set_flock(file_.get(), Lock::kWrite));
  // Python's mailbox.MH makes a dot lock beside its lock, and drops the latter by mistake when it
  // writes. So a dot lock that is not stale keeps us out in any case, and that of nmh as well,
  // should the profile have changed under a running command.
  const std::string lock = name_ + std::string(kSequencesLockSuffix);
  const auto dot = fs_->stat(dir_, lock.c_str(), Follow::kNo);
  if (!dot && dot.error().kind() != ErrorKind::kNotFound) return pass_on(dot);
  if (dot && !is_stale_dot_lock(*dot, fs_->now())) return fail(ErrorKind::kBusy, lock + " exists");
  passed_stale_lock_ = dot.has_value();
  if (locking_ != DataLocking::kDot) return {};
  // Others may break the same stale lock at this moment; ours do not, as we hold the OFD lock.
  if (dot) MH_TRY(fs_->unlink(dir_, lock.c_str()));
  return take_dot_lock();
}

// Gives the file its mode and group before its name, so that a crash leaves none that shuts others
// out; and without a second name, which would tell everybody who watches the folder of two changes.
Result<Fd> SequencesFile::make() const {
  auto nameless = fs_->open(dir_, ".", O_TMPFILE | O_RDWR, S_IRUSR | S_IWUSR);
  if (nameless) {
    MH_TRY(set_rights(*fs_, nameless->get(), options_.mode, options_.gid));
    const Status linked = fs_->link_fd(nameless->get(), dir_, options_.name.c_str());
    if (linked) return nameless;
    if (linked.error().kind() == ErrorKind::kExists) return pass_on(linked);
  }
  // No nameless files here, or no way to name them; if anything else is wrong, this call says what.
  MH_TRY_SET(Fd file, fs_->open(dir_, options_.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                                options_.mode));
  MH_TRY(set_rights(*fs_, file.get(), options_.mode, options_.gid));
  return file;
}

// One attempt. Without a hold, says whether it was a lock that stood in the way, or a file that is
// empty or absent since a moment ago and to be looked at again; `believe` takes such a file for
// what it is.
Result<SequencesFile::Attempt> SequencesFile::try_acquire(bool believe) const {
  Attempt attempt;
  bool made = false;
  auto opened = fs_->open(dir_, options_.name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (!opened && opened.error().kind() == ErrorKind::kNotFound) {
    MH_TRY_SET(const FileStat folder, fs_->fstat(dir_));
    attempt.look_again = !believe && is_young(folder.ctime, fs_->now(), kSecondLook);
    if (attempt.look_again) return attempt;
    opened = make();
    if (!opened && opened.error().kind() == ErrorKind::kExists) return attempt;
    made = opened.has_value();
  }
  if (!opened) return pass_on(opened);
  attempt.file = std::move(*opened);
  const Status locked = fs_->set_lock(attempt.file.get(), Lock::kWrite);
  if (!locked && locked.error().kind() == ErrorKind::kBusy) return attempt;
  if (!locked) return pass_on(locked);

  MH_TRY_SET(const FileStat stat, fs_->fstat(attempt.file.get()));
  Hold hold(*this, std::move(attempt.file), stat, made);
  MH_TRY(check_regular(stat, options_.name));
  attempt.look_again =
      stat.size == 0 && !made && !believe && is_young(stat.ctime, fs_->now(), kSecondLook);
  if (attempt.look_again) return attempt;
  Status all = hold.is_current();
  if (all) all = hold.lock_as_profile_says();
  if (!all && all.error().kind() == ErrorKind::kBusy) return attempt;
  if (!all) return pass_on(all);
  attempt.hold = std::move(hold);
  return attempt;
}

std::string SequencesFile::holder_of(int file) const {
  const std::string lock = options_.name + std::string(kSequencesLockSuffix);
  if (fs_->stat(dir_, lock.c_str(), Follow::kNo)) return "whoever made " + lock;
  if (file < 0)
    return options_.locking == DataLocking::kFlock ? "another process"
                                                   : "nobody, but it is being replaced";
  const auto pid = fs_->lock_holder(file);
  if (pid && *pid > 0) return name_process(*fs_, *pid);
  // An OFD lock has no pid; of all who open this file only we take one.
  return "another process of Dovecot or mhsync";
}

Result<SequencesFile::Hold> SequencesFile::acquire(Nanoseconds timeout) const {
  if (!is_sound(options_.name))
    return fail(ErrorKind::kInvalid, "'" + options_.name + "' cannot name a sequences file");
  Backoff backoff(*fs_, timeout);
  bool believe = false;
  for (;;) {
    MH_TRY_SET(Attempt attempt, try_acquire(believe));
    if (attempt.hold) return std::move(*attempt.hold);
    believe = attempt.look_again;
    if (attempt.look_again)
      fs_->sleep(kSecondLook);
    else if (!backoff.wait())
      return fail_busy(path_for_message(*fs_, dir_, options_.name), holder_of(attempt.file.get()),
                       backoff.waited());
  }
}

// ---- Under the lock -------------------------------------------------------------------------

// Our open file keeps its inode number from being given to another.
Result<FileStat> SequencesFile::Hold::stat_current() const {
  auto named = fs_->stat(dir_, name_.c_str(), Follow::kNo);
  if (!named && named.error().kind() == ErrorKind::kNotFound) return busy(name_, "removed");
  if (named && !same_file(*named, locked_)) return busy(name_, "replaced");
  return named;
}

Status SequencesFile::Hold::is_current() const {
  MH_TRY(stat_current());
  return {};
}

Result<SequencesText> SequencesFile::Hold::read() {
  SequencesText content;
  content.exists = true;
  MH_TRY_SET(content.stat, fs_->fstat(file_.get()));
  MH_TRY_SET(content.text, read_all(*fs_, file_.get(), content.stat.size, name_));
  MH_TRY_SET(const FileStat after, fs_->fstat(file_.get()));
  if (!same_content(content.stat, after)) return busy(name_, "written");
  last_read_ = content;
  return content;
}

Result<FileStat> SequencesFile::Hold::write(std::string_view text) {
  if (!last_read_ || text.size() < last_read_->text.size())
    return fail(ErrorKind::kInvalid, name_ + " is written only after it was read, and not shorter");
  const FileStat& before = last_read_->stat;
  MH_TRY_SET(const FileStat now, stat_current());
  if (!same_content(now, before)) return busy(name_, "written");
  const Status written = fs_->pwrite(file_.get(), text.data(), text.size(), 0);
  if (!written) {
    MH_TRY(put_back());
    return pass_on(written);
  }
  MH_TRY_SET(FileStat after, stat_current());
  if (whole_seconds(after.mtime) == whole_seconds(before.mtime)) {
    const Nanoseconds next = (whole_seconds(before.mtime) + 1) * kSecond;
    const Status set = fs_->set_times(file_.get(), kLeaveTime, next);
    // Only the owner may; another has written what he had to, and exmh sees it a little later.
    if (!set && set.error().kind() != ErrorKind::kPermission) return pass_on(set);
    MH_TRY_SET(after, stat_current());
  }
  if (after.size != text.size()) return busy(name_, "written");
  last_read_->text = text;
  last_read_->stat = after;
  return after;
}

Result<FileStat> SequencesFile::Hold::replace(std::string_view text) {
  if (!last_read_ || text.size() >= last_read_->text.size()) return write(text);
  std::string padded(text);
  const size_t end = text.ends_with('\n') ? text.size() - 1 : text.size();
  padded.insert(end, last_read_->text.size() - text.size(), ' ');
  if (!text.empty()) MH_TRY(write(padded));
  MH_TRY(cut_blanks(text));
  MH_TRY_SET(const FileStat after, stat_current());
  if (after.size != text.size()) return busy(name_, "written");
  last_read_->text = text;
  last_read_->stat = after;
  return after;
}

// A last line without its newline is a line for nmh, and a file cut to nothing an empty one.
Status SequencesFile::Hold::cut_blanks(std::string_view text) {
  MH_TRY_SET(const FileStat now, stat_current());
  if (!same_content(now, last_read_->stat)) return busy(name_, "written");
  MH_TRY(fs_->truncate(file_.get(), text.size()));
  if (!text.ends_with('\n')) return {};
  return fs_->pwrite(file_.get(), "\n", 1, text.size() - 1);
}

// A write that failed half-way may have left a mix of old and new, on which every nmh command dies.
// The old text fits into the place it had; what the file grew by, if it did, is the one thing ever
// cut off here.
Status SequencesFile::Hold::put_back() {
  const std::string& old = last_read_->text;
  Status done = fs_->pwrite(file_.get(), old.data(), old.size(), 0);
  if (done) done = fs_->truncate(file_.get(), old.size());
  if (done) return done;
  return fail(ErrorKind::kIo, name_ + " may be damaged: " + done.error().message(),
              done.error().sys_errno());
}

// ---- Without a lock -------------------------------------------------------------------------

// kBusy when the file did not stand still.
Result<SequencesText> SequencesFile::read_once() const {
  const char* name = options_.name.c_str();
  SequencesText content;
  const auto before = fs_->stat(dir_, name, Follow::kNo);
  if (!before && before.error().kind() == ErrorKind::kNotFound) {
    MH_TRY_SET(const FileStat folder, fs_->fstat(dir_));
    if (is_young(folder.ctime, fs_->now(), kSecondLook)) return busy(options_.name, "removed");
    return content;
  }
  if (!before) return pass_on(before);
  MH_TRY(check_regular(*before, options_.name));
  if (is_young(before->ctime, fs_->now(), before->size == 0 ? kSecondLook : kSettle))
    return busy(options_.name, "written");
  auto file = fs_->open(dir_, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file && file.error().kind() == ErrorKind::kNotFound) return busy(options_.name, "removed");
  if (!file) return pass_on(file);
  content.exists = true;
  MH_TRY_SET(content.text, read_all(*fs_, file->get(), before->size, options_.name));
  // Opened is what was looked at, and it has neither been written nor lost its name meanwhile (that
  // too changes ctime).
  MH_TRY_SET(content.stat, fs_->fstat(file->get()));
  if (!same_content(*before, content.stat)) return busy(options_.name, "written");
  return content;
}

Result<SequencesText> SequencesFile::read_unlocked(Nanoseconds timeout) const {
  if (!is_sound(options_.name))
    return fail(ErrorKind::kInvalid, "'" + options_.name + "' cannot name a sequences file");
  Backoff backoff(*fs_, timeout);
  for (;;) {
    auto content = read_once();
    if (content || content.error().kind() != ErrorKind::kBusy || !backoff.wait()) return content;
  }
}

}  // namespace mh
