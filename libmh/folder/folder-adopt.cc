// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder: giving tags to messages that other tools have put there, a few at a time; and
// taking them away again.
//
// The copies are made and flushed without any lock; the exchange is done under the folder lock and
// nmh's lock, for the messages of one batch. The directory has changed then, and the next sync
// lists it again: so a batch is not too small.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "libmh/folder/folder-impl.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr Nanoseconds kDeadTemporary = 3600 * kSecond;
constexpr size_t kManyCopies = 16;
constexpr size_t kBatch = 128;  // copies whose exchange is done under one hold of the locks

bool wants_tag(const Record& record) {
  return !record.has(Record::kTagged) && !record.has(Record::kNoTag) &&
         !record.has(Record::kUnreadable);
}

bool wants(const Record& record, TagChange change) {
  return change == TagChange::kWrite ? wants_tag(record) : record.has(Record::kTagged);
}

}  // namespace

Result<AdoptPlace> Folder::Impl::adopt_place() {
  AdoptPlace place;
  place.folder = dir.get();
  place.uidvalidity = state().header.uidvalidity;
  place.key = location.root->key();
  MH_TRY_SET(place.workshop, open_workshop());
  return place;
}

bool Folder::Impl::tags() const { return !state().options.contains(std::string(kNoTags)); }

// By this process. What another user's process may do is told by what_is_untidy(). Where numbers
// cannot be locked a file is not exchanged by its number.
bool Folder::Impl::may_exchange() const {
  return !settings.sequences_name.empty() && location.may_tag && journal && writable() &&
         location.root != nullptr && location.root->writable() && !tagging_failed;
}

bool Folder::Impl::may_adopt() const { return may_exchange() && tags(); }

// Without making anything: it is asked at the first sync of a session that finds a change.
bool Folder::Impl::find_leftovers() const {
  if (!state_dir) return false;
  bool found = false;
  (void)fs.list(state_dir.get(), [&](const DirEntry& entry) {
    found = is_leftover_of_state(entry.name);
    return !found;
  });
  if (found || !location.may_tag) return found;
  const auto look_into = [&](int directory) {
    (void)fs.list(directory, [&](const DirEntry& entry) {
      found = parse_adoption_name(entry.name).has_value();
      return !found;
    });
  };
  if (workshop_is_folder()) {
    look_into(dir.get());
    return found;
  }
  const auto own = fs.open(state_dir.get(), kTemporaryDir.data(), O_RDONLY | O_DIRECTORY);
  if (own) look_into(own->get());
  return found;
}

uint32_t Folder::Impl::what_is_untidy() const {
  if (!location.may_tag || !journal || !tags()) return 0;
  return leftovers || std::any_of(records.begin(), records.end(), wants_tag) ? 1 : 0;
}

// Journals, locks and stores whose maker died before it gave them their name. Others make some of
// these without our lock: so only what is old.
Status Folder::Impl::sweep_state() const {
  std::vector<std::string> names;
  MH_TRY(fs.list(state_dir.get(), [&](const DirEntry& entry) {
    if (is_leftover_of_state(entry.name)) names.push_back(entry.name);
    return true;
  }));
  for (const std::string& name : names) {
    const auto stat = fs.stat(state_dir.get(), name.c_str(), Follow::kNo);
    if (!stat || stat->ctime + kDeadTemporary > fs.now()) continue;
    (void)fs.unlink(state_dir.get(), name.c_str());
  }
  return {};
}

Status Folder::Impl::sweep(const AdoptPlace& place) {
  MH_TRY(sweep_state());
  MH_TRY_SET(auto guard, sequences_lock(settings.sequences_wait));
  return sweep_workshop(fs, place, [this](uint32_t uid) { return find(uid); });
}

// Of those that were not exchanged.
void Folder::Impl::discard(const AdoptPlace& place, std::vector<TaggedCopy>& copies) const {
  for (TaggedCopy& copy : copies) {
    if (!copy.name.empty()) (void)fs.unlink(place.workshop, copy.name.c_str());
    copy.name.clear();
  }
}

Result<std::vector<Record>> Folder::Impl::exchange_batch(const AdoptPlace& place, TagChange change,
                                                         std::vector<TaggedCopy>& copies) {
  std::vector<Record> tagged;
  MH_TRY_SET(auto guard, sequences_lock(settings.sequences_wait));
  for (TaggedCopy& copy : copies) {
    const Record* now_known = find(copy.record.uid);
    if (now_known == nullptr || !wants(*now_known, change)) continue;
    copy.record.number = now_known->number;
    const Status done = exchange_in(fs, place, copy);
    copy.name.clear();  // that name is the original's now, or nobody's
    if (done) {
      tagged.push_back(copy.record);
    } else if (done.error().sys_errno() == EXDEV) {
      MH_TRY(leave_workshop());
      break;
    } else if (done.error().kind() == ErrorKind::kUnsupported ||
               done.error().kind() == ErrorKind::kInvalid) {
      tagging_failed = true;
      warn(change == TagChange::kWrite
               ? "this file system cannot exchange two files: messages stay without a tag, their "
                 "UIDs live in the journal alone"
               : "this file system cannot exchange two files: tags cannot be taken away");
      break;
    }
  }
  return tagged;
}

// Each flush of a file makes the disk empty its cache, which takes milliseconds; for many files one
// flush of the file system does the same.
Status Folder::Impl::flush_copies(const AdoptPlace& place, std::vector<TaggedCopy>& copies) const {
  if (copies.size() >= kManyCopies) {
    const Status all = fs.syncfs(place.workshop);
    if (all || all.error().kind() != ErrorKind::kUnsupported) return all;
  }
  for (TaggedCopy& copy : copies) MH_TRY(flush_copy(fs, copy));
  return {};
}

bool Folder::Impl::number_is(const Record& record) const {
  const auto stat = fs.stat(dir.get(), std::to_string(record.number).c_str(), Follow::kNo);
  return stat && FileIdentity::of(*stat) == record.file;
}

// Flushed copies of the next candidates, from *next on. On an error none is left.
Result<std::vector<TaggedCopy>> Folder::Impl::make_batch(const AdoptPlace& place, TagChange change,
                                                         const std::vector<Record>& candidates,
                                                         size_t most, Nanoseconds end,
                                                         size_t* next) {
  std::vector<TaggedCopy> copies;
  while (*next < candidates.size() && copies.size() < most) {
    const Record& candidate = candidates[(*next)++];
    auto copy = change == TagChange::kWrite ? make_tagged_copy(fs, place, candidate)
                                            : make_untagged_copy(fs, place, candidate);
    if (copy) {
      copies.push_back(std::move(*copy));
    } else if (copy.error().kind() == ErrorKind::kNoSpace ||
               copy.error().kind() == ErrorKind::kIo) {
      discard(place, copies);
      return pass_on(copy);
    } else {
      const ErrorKind kind = copy.error().kind();
      if (kind == ErrorKind::kPermission || kind == ErrorKind::kInvalid) never.add(candidate.uid);
      // Perhaps its ctime alone: of what moves that, the directory shows nothing.
      suspicious |= !number_is(candidate);
      if (settings.tell) {
        settings.tell(location.folder + ": message " + std::to_string(candidate.number) +
                      " stays as it is: " + copy.error().message());
      }
      not_now.add(candidate.uid);
    }
    if (fs.monotonic() >= end) break;
  }
  const Status flushed = flush_copies(place, copies);
  if (flushed) return copies;
  discard(place, copies);
  return pass_on(flushed);
}

// Exchanges one batch and writes it down; returns how many. Whatever happens, no copy is left.
Result<size_t> Folder::adopt_batch(const AdoptPlace& place, TagChange change,
                                   std::vector<TaggedCopy>& copies) {
  Impl& in = *impl_;
  const Status locked = lock();
  Result<std::vector<Record>> tagged = std::vector<Record>();
  Status done = locked ? in.load_records() : locked;
  if (done) {
    tagged = in.exchange_batch(place, change, copies);
    if (!tagged) done = pass_on(tagged);
  }
  in.discard(place, copies);
  // The journal must not know of tags that a loss of power undoes: they would seem to have been
  // taken away by another program.
  if (done && !tagged->empty()) done = in.fs.fsync(in.dir.get());
  if (done && !tagged->empty()) done = in.commit(*tagged, {});
  unlock();
  MH_TRY(done);
  return tagged->size();
}

Status Folder::sweep() {
  Impl& in = *impl_;
  MH_TRY_SET(const AdoptPlace place, in.adopt_place());
  in.leftovers = in.find_leftovers();
  Status done;
  if (in.leftovers) {
    done = lock();
    if (done) done = in.load_records();
    if (done) done = in.sweep(place);
    unlock();
    in.leftovers = in.find_leftovers();
  }
  in.swept = static_cast<bool>(done);
  return done;
}

Result<Folder::Adopted> Folder::adopt(size_t most, Nanoseconds budget) {
  Impl& in = *impl_;
  Adopted result;
  if (!in.state_loaded && !in.untidy) return result;
  MH_TRY(in.load_state());
  if (!in.may_adopt()) return result;
  const Nanoseconds end = in.fs.monotonic() + budget;
  MH_TRY(in.load_records());
  const bool tidy = in.swept || (in.looked_for_leftovers && !in.leftovers);
  if (tidy && std::none_of(in.records.begin(), in.records.end(), wants_tag)) return result;
  if (!tidy) {
    MH_TRY(sweep());
    MH_TRY(in.load_records());
  }
  return change_tags(TagChange::kWrite, most, end);
}

Result<Folder::Adopted> Folder::change_tags(TagChange change, size_t most, Nanoseconds end) {
  Impl& in = *impl_;
  Adopted result;
  std::vector<Record> candidates;
  for (const Record& record : in.records) {
    if (wants(record, change) && !in.not_now.contains(record.uid)) candidates.push_back(record);
  }
  const uint64_t refused_before = in.never.count();
  for (size_t next = 0; next < candidates.size();) {
    if (result.done >= most || in.tagging_failed || in.fs.monotonic() >= end) {
      result.more = !in.tagging_failed;
      break;
    }
    const size_t first = next;
    MH_TRY_SET(const AdoptPlace place, in.adopt_place());
    MH_TRY_SET(
        std::vector<TaggedCopy> copies,
        in.make_batch(place, change, candidates, std::min(kBatch, most - result.done), end, &next));
    if (copies.empty()) continue;
    MH_TRY_SET(const size_t done, adopt_batch(place, change, copies));
    result.done += done;
    // None of them could be exchanged from there.
    if (in.workshop_is_folder() != (place.workshop == place.folder)) next = first;
  }
  result.refused = in.never.count() - refused_before;
  return result;
}

Result<Folder::Adopted> Folder::remove_tags(size_t most, Nanoseconds budget) {
  Impl& in = *impl_;
  MH_TRY(in.load_state());
  if (in.tags()) {
    return fail(ErrorKind::kInvalid, in.location.folder + ": its messages are to be tagged");
  }
  if (!in.may_exchange()) return Adopted();
  const Nanoseconds end = in.fs.monotonic() + budget;
  MH_TRY(in.load_records());
  if (!in.swept) {
    MH_TRY(sweep());
    MH_TRY(in.load_records());
  }
  return change_tags(TagChange::kRemove, most, end);
}

Status Folder::set_tagging(bool on) {
  Impl& in = *impl_;
  if (!in.journal || !in.writable()) {
    return fail(ErrorKind::kReadOnly, in.location.folder + ": its state cannot be written");
  }
  MH_TRY(in.load_records());
  std::vector<Record> changed;
  for (Record record : in.records) {
    if (on && !record.has(Record::kNoTag)) continue;
    if (on) record.set(Record::kNoTag, false);
    if (!on && in.state().records.contains(record.uid)) continue;
    changed.push_back(record);
  }
  if (in.tags() != on) in.journal->add_option(kNoTags, !on);
  in.not_now.clear();
  in.never.clear();
  return in.commit(changed, {});
}

Result<uint64_t> Folder::Impl::count(TagChange change) {
  MH_TRY(load_state());
  if (journal) MH_TRY(journal->refresh());
  MH_TRY(load_records());
  const bool possible = change == TagChange::kWrite ? may_adopt() : may_exchange();
  if (!possible) return uint64_t{0};
  return static_cast<uint64_t>(std::ranges::count_if(records, [&](const Record& record) {
    return wants(record, change) && !never.contains(record.uid);
  }));
}

Result<uint64_t> Folder::count_untagged() { return impl_->count(TagChange::kWrite); }
Result<uint64_t> Folder::count_tagged() { return impl_->count(TagChange::kRemove); }

}  // namespace mh
