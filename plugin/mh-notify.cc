// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-notify.h"

#include <fcntl.h>

#include "plugin/guard.h"
#include "plugin/mh-mailbox.h"

namespace mh {
namespace {

// A message and its entry in .mh_sequences come one after the other: one look for both.
constexpr Nanoseconds kPause = kSecond / 5;
// Between two looks at a folder that is not settled (a message half written, a clock too coarse).
constexpr Nanoseconds kUnsettled = kSecond;

void mh_list_notify_wait(struct mailbox_list_notify* notify,
                         mailbox_list_notify_callback_t* callback, void* context) noexcept {
  struct mailbox_list* list = notify->list;
  ListState& state = list_state(list);
  state.super.notify_wait(notify, callback, context);
  guard_list(list, [&] {
    if (callback == nullptr) {
      state.watchers.erase(notify);
    } else if (!state.watchers.contains(notify)) {
      auto watch = PathWatch::open();
      if (watch) {
        state.watchers[notify] = std::make_unique<FolderWatcher>(list, std::move(*watch));
      } else {
        e_warning(list->ns->user->event,
                  "mh: a client that asked for NOTIFY will not be told at once of what MH programs "
                  "do: %s (see fs.inotify.max_user_instances)",
                  watch.error().message().c_str());
      }
    }
    return 0;
  });
}

void mh_list_notify_deinit(struct mailbox_list_notify* notify) noexcept {
  ListState& state = list_state(notify->list);
  state.watchers.erase(notify);
  state.super.notify_deinit(notify);
}

}  // namespace

FolderWatcher::FolderWatcher(struct mailbox_list* list, PathWatch watch)
    : list_(list), watch_(std::move(watch)) {
  watch_folders();
  io_ = io_add(watch_.descriptor(), IO_READ, on_event, this);
}

FolderWatcher::~FolderWatcher() {
  io_remove(&io_);
  timeout_remove(&timer_);
}

void FolderWatcher::on_event(FolderWatcher* self) noexcept {
  guard_list(self->list_, [&] {
    self->take_events();
    self->set_timer();
    return 0;
  });
}

void FolderWatcher::on_time(FolderWatcher* self) noexcept {
  guard_list(self->list_, [&] {
    timeout_remove(&self->timer_);
    if (std::exchange(self->tree_changed_, false)) self->list_again();
    self->look_at_what_is_due();
    self->set_timer();
    return 0;
  });
}

void FolderWatcher::take_events() {
  const Nanoseconds soon = Fs::posix().now() + kPause;
  std::set<int> changed;
  watch_.read([&](const PathWatch::Event& event) {
    using enum PathWatch::Kind;
    if (event.place == hints_place_ && event.kind == kWritten) return take_hint(event.name);
    if (event.place == hints_place_ && event.kind != kTree) return;
    tree_changed_ |= event.kind == kTree || event.kind == kLost;
    if (event.kind == kLost) {
      for (const auto& [number, name] : names_) changed.insert(number);
    } else if (event.kind != kTree) {
      changed.insert(event.place);
    }
  });
  for (const auto& [number, name] : names_) {
    if (changed.contains(number)) due(name, soon);
  }
}

void FolderWatcher::take_hint(std::string_view name) {
  const auto [begin, end] = names_by_hint_.equal_range(std::string(name));
  for (auto each = begin; each != end; ++each) {
    hinted_.insert(each->second);
    due(each->second, Fs::posix().now() + kPause);
  }
}

void FolderWatcher::due(const std::string& name, Nanoseconds when) {
  const auto known = due_.try_emplace(name, when).first;
  known->second = std::min(known->second, when);
}

void FolderWatcher::set_timer() {
  timeout_remove(&timer_);
  Nanoseconds wait = tree_changed_ ? kPause : INT64_MAX;
  const Nanoseconds now = Fs::posix().now();
  for (const auto& [name, when] : due_) wait = std::min(wait, std::max<Nanoseconds>(when - now, 0));
  if (wait == INT64_MAX) return;
  timer_ = timeout_add(static_cast<unsigned int>(wait / kMillisecond) + 1, on_time, this);
}

void FolderWatcher::look_at_what_is_due() {
  const Nanoseconds now = Fs::posix().now();
  std::vector<std::string> names;
  for (const auto& [name, when] : due_) {
    if (when <= now) names.push_back(name);
  }
  for (const std::string& name : names) {
    due_.erase(name);
    look_at(name);
  }
}

// A folder that cannot be opened any more is none to tell of; the listing tells that it went.
void FolderWatcher::look_at(const std::string& name) {
  const DataStackFrame frame;
  struct mailbox* box = mailbox_alloc(
      list_, name.c_str(),
      static_cast<enum mailbox_flags>(MAILBOX_FLAG_READONLY | MAILBOX_FLAG_IGNORE_ACLS));
  const bool hinted = hinted_.erase(name) > 0;
  const bool open = mailbox_open(box) == 0;
  // The kernel here may still believe that nothing has changed.
  if (open && hinted) mailbox_state(box).folder->distrust();
  if (open && mailbox_sync(box, static_cast<enum mailbox_sync_flags>(0)) == 0) {
    const auto memory = mailbox_state(box).extension.memory(box->view);
    if (memory && memory->recheck_at != 0) {
      due(name, std::max(memory->recheck_at + kPause, Fs::posix().now() + kUnsettled));
    }
  }
  mailbox_free(&box);
}

// Folders came or went: into the list index with them, and watch what is new.
void FolderWatcher::list_again() {
  const DataStackFrame frame;
  list_state(list_).forget_paths();
  (void)mailbox_list_index_sync(list_, true);
  watch_folders();
}

void FolderWatcher::watch_folders() {
  const DataStackFrame frame;
  std::set<std::string> known;
  for (const auto& [number, name] : names_) known.insert(name);
  names_.clear();
  names_by_hint_.clear();
  (void)watch_.add_directory(list_state(list_).mail_root());
  const std::string hints = list_state(list_).user().notify_dir();
  if (!hints.empty()) hints_place_ = watch_.add_directory(hints).value_or(-1);
  struct mailbox_list_iterate_context* folders = mailbox_list_iter_init(
      list_, "*",
      static_cast<enum mailbox_list_iter_flags>(MAILBOX_LIST_ITER_RETURN_NO_FLAGS |
                                                MAILBOX_LIST_ITER_NO_AUTO_BOXES));
  const Nanoseconds soon = Fs::posix().now() + kPause;
  while (const struct mailbox_info* info = mailbox_list_iter_next(folders)) {
    const char* name = mailbox_list_get_storage_name(list_, info->vname);
    const char* path;
    if (mailbox_list_get_path(list_, name, MAILBOX_LIST_PATH_TYPE_MAILBOX, &path) <= 0) continue;
    const auto number = watch_.add_directory(path);
    if (!number) continue;
    if (hints_place_ >= 0) {
      const auto stat = Fs::posix().stat(AT_FDCWD, path, Follow::kYes);
      if (stat) names_by_hint_.emplace(std::to_string(stat->inode), info->vname);
    }
    names_.emplace(*number, info->vname);  // a symlink is a second name
    // Something may have come into it before it was watched.
    if (!known.empty() && !known.contains(info->vname)) due(info->vname, soon);
  }
  (void)mailbox_list_iter_deinit(&folders);
}

void fill_list_notify(struct mailbox_list_vfuncs* v) {
  if (v->notify_init == nullptr || v->notify_wait == nullptr) return;
  v->notify_wait = mh_list_notify_wait;
  v->notify_deinit = mh_list_notify_deinit;
}

}  // namespace mh
