// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-sync.h"

#include "plugin/guard.h"
#include "plugin/index-sync.h"
#include "plugin/mh-mailbox.h"
#include "plugin/mh-status.h"
#include "plugin/sync-pass.h"

namespace mh {
namespace {

// Adoption after a sync, and for force-resync.
constexpr size_t kFewMessages = 16;
constexpr Nanoseconds kShortTime = kSecond / 50;
constexpr size_t kManyMessages = 1000;
constexpr Nanoseconds kLongTime = 5 * kSecond;
// Each batch in a big folder is followed by a pass over it: there they are rare and large.
constexpr Nanoseconds kBigFolderPause = 30 * kSecond;
constexpr Nanoseconds kBigFolderTime = kSecond / 5;
// Between two batches while a client is idle, and the longest wait for anything else.
constexpr Nanoseconds kIdlePause = 2 * kSecond;
constexpr Nanoseconds kLongestPause = 3600 * kSecond;

class Syncing {
 public:
  explicit Syncing(MailboxState& state) : state_(state) { state_.syncing = true; }
  ~Syncing() { state_.syncing = false; }
  Syncing(const Syncing&) = delete;
  Syncing& operator=(const Syncing&) = delete;

 private:
  MailboxState& state_;
};

int run_sync(struct mailbox* box, bool thorough) {
  MailboxState& state = mailbox_state(box);
  // The index refuses a sync within a sync with an assertion; whoever is in one sees its result
  // soon.
  if (state.syncing || box->index->syncing) return 0;
  const Syncing syncing(state);
  return run_sync_passes(box, thorough);
}

// Not in the first sync of a session, which a client waits for, and not in a mailbox opened for
// reading.
bool may_adopt(struct mailbox* box) {
  const MailboxState& state = mailbox_state(box);
  return state.synced && !state.nothing_to_adopt && !state.syncing && !mailbox_is_readonly(box);
}

// How long until the next batch, 0: now.
Nanoseconds adoption_pause(struct mailbox* box) {
  const MailboxState& state = mailbox_state(box);
  if (!state.folder->big()) return 0;
  return std::max<Nanoseconds>(0, state.adopted_at + kBigFolderPause - Fs::posix().monotonic());
}

// True when files were changed: the index then follows at once, so that the next session finds the
// folder as it remembers it.
bool adopt_some(struct mailbox* box) {
  MailboxState& state = mailbox_state(box);
  const bool big = state.folder->big();
  const auto adopted =
      state.folder->adopt(big ? kManyMessages : kFewMessages, big ? kBigFolderTime : kShortTime);
  state.adopted_at = Fs::posix().monotonic();
  state.nothing_to_adopt = !adopted || !adopted->more;
  if (!adopted && adopted.error().kind() != ErrorKind::kBusy) {
    e_warning(box->event, "mh: tagging messages: %s", adopted.error().message().c_str());
  }
  return adopted && adopted->done > 0;
}

int adopt_all(struct mailbox* box) {
  for (bool more = true; more;) {
    const auto adopted = mailbox_state(box).folder->adopt(kManyMessages, kLongTime);
    if (!adopted) return set_error(box, adopted.error(), "tagging messages");
    more = adopted->more && adopted->done > 0;
  }
  return 0;
}

int sync_mailbox(struct mailbox* box, enum mailbox_sync_flags flags) {
  MailboxState& state = mailbox_state(box);
  if (mail_index_reset_fscked(box->index)) state.compare_all = true;
  const bool force = (flags & MAILBOX_SYNC_FLAG_FORCE_RESYNC) != 0;
  if (run_sync(box, force) < 0) return -1;
  if (force) return adopt_all(box) < 0 ? -1 : run_sync(box, false);
  const bool adopt = may_adopt(box) && adoption_pause(box) == 0;
  if (adopt && adopt_some(box) && run_sync(box, false) < 0) return -1;
  state.synced = true;
  schedule_idle_work(box);
  return 0;
}

void do_idle_work(struct mailbox* box) noexcept {
  guard(box, [&] {
    MailboxState& state = mailbox_state(box);
    timeout_remove(&state.idle_work);
    if (may_adopt(box) && adoption_pause(box) == 0) (void)adopt_some(box);
    // The client syncs, and that schedules what remains.
    box->notify_callback(box, box->notify_context);
    return 0;
  });
}

// How long until something is to be done that no event will tell of; INT64_MAX: there is nothing.
Nanoseconds idle_pause(struct mailbox* box) {
  Nanoseconds wait = INT64_MAX;
  const MailboxState& state = mailbox_state(box);
  const FreshView view(box->index);
  const auto memory = state.extension.memory(view.get());
  if (memory && memory->recheck_at != 0) {
    const Nanoseconds left = memory->recheck_at - Fs::posix().now();
    wait = left > 0 ? left + kSecond / 20 : kIdlePause;  // late: something keeps it unsettled
  }
  // The flags could not be merged, or arrivals not be written down: nobody will say when they can.
  if (!memory || memory->directory == DirectoryStamp()) wait = std::min(wait, kIdlePause);
  if (may_adopt(box)) wait = std::min(wait, std::max(kIdlePause, adoption_pause(box)));
  return wait;
}

// A damaged log is marked so by Dovecot when it meets it, and replaced when the index is opened the
// next time; until then every use fails, or the view is found inconsistent and the session ends
// (sdbox fails its first SELECT so). As long as nothing of this opening was told, open it again.
bool must_open_anew(struct mailbox* box, int synced) {
  return mail_index_view_is_inconsistent(box->view) ||
         (synced < 0 && std::exchange(mailbox_state(box).index_broken, false));
}

int sync_opened(struct mailbox* box, enum mailbox_sync_flags flags) {
  const bool first = !mailbox_state(box).synced;
  const int synced = sync_mailbox(box, flags);
  if (!first || !must_open_anew(box, synced)) return synced;
  mailbox_close(box);
  // Or the process would go on with what it has of it in memory.
  mail_index_alloc_cache_unref(&box->index);
  mail_index_alloc_cache_destroy_unrefed();
  if (mailbox_open(box) < 0) return -1;
  return sync_mailbox(box, flags);
}

}  // namespace

void schedule_idle_work(struct mailbox* box) {
  MailboxState& state = mailbox_state(box);
  timeout_remove(&state.idle_work);
  if (box->notify_callback == nullptr) return;
  const Nanoseconds wait = idle_pause(box);
  if (state.watch) state.watch->synced(wait != INT64_MAX);
  if (wait == INT64_MAX) return;
  const auto msecs = static_cast<unsigned int>(std::min(wait, kLongestPause) / (kSecond / 1000));
  state.idle_work = timeout_add(msecs, do_idle_work, box);
}

void look_at_what_was_missed(struct mailbox* box) {
  MailboxState& state = mailbox_state(box);
  const auto stamps = present_stamps(box);
  // Stamps that no sync can make its own (a folder that cannot be read) are looked at once.
  if (stamps == state.synced_stamps || std::exchange(state.missed_stamps, stamps) == stamps) return;
  timeout_remove(&state.idle_work);
  state.idle_work = timeout_add_short(0, do_idle_work, box);
}

struct mailbox_sync_context* mh_sync_init(struct mailbox* box,
                                          enum mailbox_sync_flags flags) noexcept {
  const int ret = guard(box, [&] {
    if (!box->opened && mailbox_open(box) < 0) return -1;
    const bool must = std::exchange(mailbox_state(box).must_sync, false);
    const int synced =
        index_mailbox_want_full_sync(box, flags) || must ? sync_opened(box, flags) : 0;
    mailbox_state(box).synced_stamps = recorded_stamps(box);
    return synced;
  });
  return index_mailbox_sync_init(box, flags, ret < 0);
}

}  // namespace mh
