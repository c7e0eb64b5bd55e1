// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-idle.h"

#include <fcntl.h>

#include "plugin/guard.h"
#include "plugin/index-sync.h"
#include "plugin/mh-mailbox.h"
#include "plugin/mh-sync.h"

namespace mh {
namespace {

// One command of nmh makes several changes: they are told together.
constexpr unsigned int kDelayMsecs = 20;
// When each sync finds the next change, not more often than this in the end.
constexpr unsigned int kLongestDelayMsecs = 1000;

// How long a folder may look here as it was although mh-notify-hook has told of a change: what NFS
// has by default.
constexpr Nanoseconds kStale = 60 * kSecond;

constexpr const char* kNoticeFile = "notice";

bool is_number(std::string_view name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

// nmh's context, where the flags of this folder are in it.
std::string context_of(struct mailbox* box) {
  const MailboxState& state = mailbox_state(box);
  const FolderSettings& settings = state.folder->settings();
  const FreshView view(box->index);
  const auto memory = state.extension.memory(view.get());
  const bool used = settings.sequences_name.empty() || (memory && memory->context != 0);
  return used ? settings.context : std::string();
}

// For writing; made with these rights when it is missing.
Result<Fd> open_or_make(const std::string& path, mode_t mode, gid_t gid) {
  Fs& fs = Fs::posix();
  auto file = fs.open(AT_FDCWD, path.c_str(), O_WRONLY | O_NOFOLLOW);
  if (file || file.error().kind() != ErrorKind::kNotFound) return file;
  file = fs.open(AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW, mode);
  if (file) (void)set_rights(fs, file->get(), mode, gid);
  return file;
}

std::string log_of(struct mailbox* box) {
  const char* dir;
  if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0) return "";
  return std::string(dir) + "/" + box->index_prefix + ".log";
}

}  // namespace

Watch::Watch(struct mailbox* box) : box_(box) {
  folder_ = mailbox_get_path(box);
  log_ = log_of(box);
  context_ = context_of(box);
  never_there_ = folder_ + "/.mhsync/unsettled";
  make_hint();
  make_notice();
  watch_by_dovecot();
  listen();
}

Watch::~Watch() {
  read_events();
  if (heard_) write_notice();
  timeout_remove(&soon_);
  io_remove(&io_);
  mailbox_watch_remove_all(box_);
}

void Watch::watch_by_dovecot() {
  mailbox_watch_remove_all(box_);
  for (const std::string* path : {&folder_, &log_, &context_, &notice_, &hint_}) {
    if (!path->empty()) mailbox_watch_add(box_, path->c_str());
  }
  if (!may_hibernate_) mailbox_watch_add(box_, never_there_.c_str());
}

// Without inotify, or beyond its limits, Dovecot's watches must do. Adding what is watched already
// changes nothing.
void Watch::listen() {
  if (!watch_) {
    auto watch = PathWatch::open();
    if (!watch) return;
    watch_.emplace(std::move(*watch));
    io_ = io_add(watch_->descriptor(), IO_READ, on_event, this);
  }
  folder_place_ = watch_->add_directory(folder_).value_or(-1);
  for (const std::string* path : {&log_, &context_}) {
    if (!path->empty()) (void)watch_->add_file(*path);
  }
  if (!hint_.empty()) hint_place_ = watch_->add_file(hint_).value_or(-1);
}

void Watch::read_events() {
  if (watch_) watch_->read([this](const PathWatch::Event& event) { take(event); });
}

void Watch::take(const PathWatch::Event& event) {
  using enum PathWatch::Kind;
  // Whoever locks the sequences closes them after it, changed or not: two sessions would wake each
  // other for ever.
  if (event.kind == kClosed && !is_number(event.name)) return;
  heard_ = true;
  if (event.place == folder_place_) heard_folder_ = true;
  // A file written in place leaves the stamps of the directory as they were. None of ours is.
  const bool in_place = (event.kind == kWritten || event.kind == kClosed) && is_number(event.name);
  const bool hint = event.place == hint_place_ && event.kind == kWritten;
  if (in_place || hint || event.kind == kLost) mailbox_state(box_).folder->distrust();
}

void Watch::on_event(Watch* watch) noexcept {
  guard(watch->box_, [watch] {
    watch->heard_folder_ = false;
    watch->read_events();
    watch->in_a_row_ = 0;
    if (!watch->heard_) return 0;
    // Nor does a change within one tick of the clock that stamps them. In a big folder that can
    // wait.
    Folder& folder = *mailbox_state(watch->box_).folder;
    if (watch->heard_folder_ && !folder.big()) folder.distrust();
    watch->call_soon();
    return 0;
  });
}

void Watch::call_soon() {
  if (soon_ != nullptr) return;
  const unsigned int delay = kDelayMsecs << std::min(in_a_row_, 6u);
  soon_ = timeout_add_short(std::min(delay, kLongestDelayMsecs), on_time, this);
}

void Watch::on_time(Watch* watch) noexcept {
  timeout_remove(&watch->soon_);
  struct mailbox* box = watch->box_;
  box->notify_callback(box, box->notify_context);
}

// Whether nothing has changed since the sync that just ended. What could not be merged is no
// change: it is tried again when that is due.
bool Watch::is_settled() {
  mail_index_refresh(box_->index);
  const MailboxState& state = mailbox_state(box_);
  const FreshView view(box_->index);
  const auto memory = state.extension.memory(view.get());
  if (!memory || memory->directory == DirectoryStamp()) return true;
  const auto same = state.folder->unchanged(*memory);
  return same && *same;
}

void Watch::synced(bool work_is_due) {
  read_events();
  const bool other = may_hibernate_ == work_is_due;
  if (!std::exchange(heard_, false) && !other) return;
  may_hibernate_ = !work_is_due;
  if (other) watch_by_dovecot();
  // The index may have rotated its log, and nmh replaced its context: the names are other files
  // now.
  if (watch_) listen();
  if (is_settled()) return;
  heard_ = true;
  ++in_a_row_;
  call_soon();
}

void Watch::make_hint() {
  const std::string dir = list_state(box_->list).user().notify_dir();
  Fs& fs = Fs::posix();
  const auto folder = fs.stat(AT_FDCWD, folder_.c_str(), Follow::kYes);
  if (dir.empty() || !folder) return;
  const std::string path = dir + "/" + std::to_string(folder->inode);
  const auto before = fs.stat(AT_FDCWD, path.c_str(), Follow::kNo);
  if (!open_or_make(path, 0600, static_cast<gid_t>(-1))) return;
  hint_ = path;
  // Told while this session hibernated, or between two commands.
  Nanoseconds& heeded = mailbox_state(box_).heeded_hint;
  if (!before || before->mtime == heeded || before->mtime + kStale < fs.now()) return;
  heeded = before->mtime;
  mailbox_state(box_).folder->distrust();
  call_soon();
}

void Watch::make_notice() {
  const Location& location = mailbox_state(box_).folder->location();
  if (location.state_dir.empty()) return;
  const std::string path = location.state_dir + "/" + kNoticeFile;
  if (open_or_make(path, location.directory_mode & 0666, location.gid)) notice_ = path;
}

void Watch::write_notice() {
  if (notice_.empty()) return;
  Fs& fs = Fs::posix();
  const auto file = fs.open(AT_FDCWD, notice_.c_str(), O_WRONLY);
  const auto stat = file ? fs.fstat(file->get()) : Result<FileStat>(pass_on(file));
  if (stat) (void)fs.truncate(file->get(), stat->size == 0 ? 1 : 0);
}

void mh_notify_changes(struct mailbox* box) noexcept {
  guard(box, [&] {
    MailboxState& state = mailbox_state(box);
    timeout_remove(&state.idle_work);
    state.watch.reset();
    if (box->notify_callback == nullptr) return 0;
    state.watch = std::make_unique<Watch>(box);
    schedule_idle_work(box);
    look_at_what_was_missed(box);
    return 0;
  });
}

}  // namespace mh
