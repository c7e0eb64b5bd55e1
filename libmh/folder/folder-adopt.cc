// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Folder, part four: giving tags to messages that other tools have put there, a few at a time.
//
// The copies are made and flushed without any lock; the exchange is done under the folder lock and
// nmh's lock, for the messages of one batch. The directory has changed then, and the next sync lists
// it again: so a batch is not too small.
#include <fcntl.h>

#include "libmh/folder/folder-impl.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr size_t kBatch = 64;  // copies whose exchange is done under one hold of the locks

bool wants_tag(const Record& record) {
  return !record.has(Record::kTagged) && !record.has(Record::kNoTag) &&
         !record.has(Record::kUnreadable);
}

}  // namespace

Result<AdoptPlace> Folder::Impl::adopt_place() {
  AdoptPlace place;
  place.folder = dir.get();
  place.uidvalidity = state().header.uidvalidity;
  place.key = location.root->key();
  place.flush = settings.flush;
  MH_TRY_SET(place.workshop, open_workshop());
  place.workshop_is_folder = place.workshop == place.folder;
  return place;
}

// Where numbers cannot be locked a file is not exchanged by its number.
bool Folder::Impl::may_adopt() const {
  return !settings.sequences_name.empty() && location.may_tag && journal && writable() && location.root != nullptr &&
         location.root->writable() && !tagging_failed && !state().options.contains("notag");
}

Result<std::vector<Record>> Folder::Impl::exchange_batch(const AdoptPlace& place,
                                                         std::vector<TaggedCopy>& copies) {
  std::vector<Record> tagged;
  MH_TRY_SET(auto guard, sequences_lock(settings.sequences_wait));
  if (!swept) {
    MH_TRY(sweep_workshop(fs, place, [this](uint32_t uid) { return find(uid); }));
    swept = true;
  }
  for (TaggedCopy& copy : copies) {
    const Record* now_known = find(copy.record.uid);
    if (now_known == nullptr || !wants_tag(*now_known)) {
      (void)fs.unlink(place.workshop, copy.name.c_str());
      continue;
    }
    copy.record.number = now_known->number;
    const Status done = exchange_in(fs, place, copy);
    if (done) {
      tagged.push_back(copy.record);
    } else if (done.error().kind() == ErrorKind::kUnsupported ||
               done.error().kind() == ErrorKind::kInvalid) {
      tagging_failed = true;
      warn("this file system cannot exchange two files: messages stay without a tag, their UIDs "
           "live in the journal alone");
      break;
    }
  }
  return tagged;
}

Result<Folder::Adopted> Folder::adopt(size_t most, Nanoseconds budget) {
  Impl& in = *impl_;
  Adopted result;
  if (!in.may_adopt()) return result;
  const Nanoseconds end = in.fs.monotonic() + budget;
  MH_TRY(in.load_records());
  MH_TRY_SET(const AdoptPlace place, in.adopt_place());
  std::vector<Record> candidates;
  for (const Record& record : in.records) {
    if (wants_tag(record) && !in.not_now.contains(record.uid)) candidates.push_back(record);
  }
  for (size_t next = 0; next < candidates.size();) {
    if (result.done >= most || in.tagging_failed || in.fs.monotonic() >= end) {
      result.more = !in.tagging_failed;
      break;
    }
    std::vector<TaggedCopy> copies;
    for (; next < candidates.size() && copies.size() < std::min(kBatch, most - result.done);
         ++next) {
      auto copy = make_tagged_copy(in.fs, place, candidates[next]);
      if (copy) {
        copies.push_back(std::move(*copy));
      } else if (copy.error().kind() == ErrorKind::kNoSpace ||
                 copy.error().kind() == ErrorKind::kIo) {
        for (const TaggedCopy& made : copies) {
          (void)in.fs.unlink(place.workshop, made.name.c_str());
        }
        return pass_on(copy);
      } else {
        in.not_now.add(candidates[next].uid);
      }
      if (in.fs.monotonic() >= end) {
        ++next;
        break;
      }
    }
    if (copies.empty()) continue;
    MH_TRY(lock());
    const auto tagged = in.load_records() ? in.exchange_batch(place, copies)
                                          : Result<std::vector<Record>>(std::vector<Record>());
    Status committed;
    if (tagged && !tagged->empty()) committed = in.commit(*tagged, {});
    unlock();
    if (!tagged) return pass_on(tagged);
    MH_TRY(committed);
    result.done += tagged->size();
  }
  return result;
}

}  // namespace mh
