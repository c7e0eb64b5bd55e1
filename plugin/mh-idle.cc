// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-idle.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

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

constexpr uint32_t kFolderEvents = IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | IN_CLOSE_WRITE |
                                   IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t kFileEvents = IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF;

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

std::string log_of(struct mailbox* box) {
  const char* dir;
  if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_INDEX, &dir) <= 0) return "";
  return std::string(dir) + "/" + box->index_prefix + ".log";
}

}  // namespace

Watch::Watch(struct mailbox* box) : box_(box) {
  folder_.path = mailbox_get_path(box);
  log_.path = log_of(box);
  context_.path = context_of(box);
  never_there_ = folder_.path + "/.mhsync/unsettled";
  make_notice();
  watch_by_dovecot();
  listen();
}

Watch::~Watch() {
  if (inotify_) {
    read_events();
    if (heard_) write_notice();
  }
  timeout_remove(&soon_);
  io_remove(&io_);
  mailbox_watch_remove_all(box_);
}

void Watch::watch_by_dovecot() {
  mailbox_watch_remove_all(box_);
  for (const std::string* path : {&folder_.path, &log_.path, &context_.path, &notice_}) {
    if (!path->empty()) mailbox_watch_add(box_, path->c_str());
  }
  if (!may_hibernate_) mailbox_watch_add(box_, never_there_.c_str());
}

// Without inotify, or beyond its limits, Dovecot's watches must do. Adding what is watched already
// changes nothing.
void Watch::listen() {
  if (!inotify_) {
    inotify_ = Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) return;
    io_ = io_add(inotify_.get(), IO_READ, on_event, this);
  }
  const auto add = [this](Place& place, uint32_t events) {
    if (!place.path.empty()) {
      place.descriptor = inotify_add_watch(inotify_.get(), place.path.c_str(), events);
    }
  };
  add(folder_, kFolderEvents);
  add(log_, kFileEvents);
  add(context_, kFileEvents);
}

void Watch::read_events() {
  alignas(struct inotify_event) std::array<char, 16384> buffer;
  while (true) {
    const ssize_t size = read(inotify_.get(), buffer.data(), buffer.size());
    if (size <= 0) return;
    for (size_t at = 0; at < static_cast<size_t>(size);) {
      struct inotify_event event;
      memcpy(&event, buffer.data() + at, sizeof(event));
      const char* name = buffer.data() + at + sizeof(event);
      take(event.wd, event.mask, std::string_view(name, strnlen(name, event.len)));
      at += sizeof(event) + event.len;
    }
  }
}

void Watch::take(int descriptor, uint32_t mask, std::string_view name) {
  // Whoever locks the sequences closes them after it, changed or not: two sessions would wake each
  // other for ever.
  if ((mask & IN_CLOSE_WRITE) != 0 && !is_number(name)) return;
  heard_ = true;
  if (descriptor == folder_.descriptor) heard_folder_ = true;
  // A file written in place leaves the stamps of the directory as they were. None of ours is.
  const bool in_place = (mask & (IN_MODIFY | IN_CLOSE_WRITE)) != 0 && is_number(name);
  if (in_place || (mask & IN_Q_OVERFLOW) != 0) mailbox_state(box_).folder->distrust();
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
  if (inotify_) read_events();
  const bool other = may_hibernate_ == work_is_due;
  if (!std::exchange(heard_, false) && !other) return;
  may_hibernate_ = !work_is_due;
  if (other) watch_by_dovecot();
  // The index may have rotated its log, and nmh replaced its context: the names are other files
  // now.
  if (inotify_) listen();
  if (is_settled()) return;
  heard_ = true;
  ++in_a_row_;
  call_soon();
}

void Watch::make_notice() {
  const Location& location = mailbox_state(box_).folder->location();
  if (location.state_dir.empty()) return;
  const std::string path = location.state_dir + "/" + kNoticeFile;
  Fs& fs = Fs::posix();
  auto file = fs.open(AT_FDCWD, path.c_str(), O_WRONLY);
  if (!file && file.error().kind() == ErrorKind::kNotFound) {
    const mode_t mode = location.directory_mode & 0666;
    file = fs.open(AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT, mode);
    if (file) (void)set_rights(fs, file->get(), mode, location.gid);
  }
  if (file) notice_ = path;
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
