// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-flags.h"

#include <map>

#include "plugin/guard.h"

namespace mh {
namespace {

constexpr SystemFlag kFlags[] = {kAnswered, kFlagged, kDeleted, kSeen, kDraft};
static_assert(int{kAnswered} == int{MAIL_ANSWERED} && int{kFlagged} == int{MAIL_FLAGGED} &&
              int{kDeleted} == int{MAIL_DELETED} && int{kSeen} == int{MAIL_SEEN} &&
              int{kDraft} == int{MAIL_DRAFT});

// Ranges of one flag or keyword, as they come.
struct Ranges {
  std::vector<NumberRange> add;
  std::vector<NumberRange> remove;
};

const char* keyword_name(struct mail_index* index, unsigned int keyword) {
  unsigned int count;
  const char* const* names = array_get(mail_index_get_keywords(index), &count);
  i_assert(keyword < count);
  return names[keyword];
}

void append_change(SystemFlag flag, const char* keyword, Ranges ranges,
                   std::vector<FlagChange>* changes) {
  if (ranges.add.empty() && ranges.remove.empty()) return;
  FlagChange& change = changes->emplace_back();
  change.flag = flag;
  if (flag == kNoFlag) change.keyword = keyword;
  change.add = NumberSet::from_ranges(std::move(ranges.add));
  change.remove = NumberSet::from_ranges(std::move(ranges.remove));
}

void update_keyword(struct mail_index_transaction* trans, struct mail_index_view* view,
                    const NumberSet& uids, enum modify_type modify, struct mail_keywords* keyword) {
  for (const NumberRange& range : uids.ranges()) {
    uint32_t first, last;
    if (!mail_index_lookup_seq_range(view, range.first, range.last, &first, &last)) continue;
    for (uint32_t seq = first; seq <= last; ++seq) {
      mail_index_update_keywords(trans, seq, modify, keyword);
    }
  }
}

void update_flag(struct mail_index_transaction* trans, struct mail_index_view* view,
                 const NumberSet& uids, enum modify_type modify, SystemFlag flag) {
  for (const NumberRange& range : uids.ranges()) {
    uint32_t first, last;
    if (mail_index_lookup_seq_range(view, range.first, range.last, &first, &last)) {
      mail_index_update_flags_range(trans, first, last, modify, static_cast<enum mail_flags>(flag));
    }
  }
}

}  // namespace

PendingChanges read_pending(struct mailbox* box, struct mail_index_sync_ctx* sync) {
  Ranges flags[std::size(kFlags)];
  std::map<unsigned int, Ranges> keywords;
  std::vector<NumberRange> expunges;
  // Asked first, mail_index_sync_next() never comes to its end, which would count as consuming.
  while (mail_index_sync_have_more(sync)) {
    struct mail_index_sync_rec record;
    if (!mail_index_sync_next(sync, &record)) break;
    const NumberRange uids = {record.uid1, record.uid2};
    switch (record.type) {
      case MAIL_INDEX_SYNC_TYPE_FLAGS:
        for (size_t i = 0; i < std::size(kFlags); ++i) {
          if ((record.add_flags & kFlags[i]) != 0) flags[i].add.push_back(uids);
          if ((record.remove_flags & kFlags[i]) != 0) flags[i].remove.push_back(uids);
        }
        break;
      case MAIL_INDEX_SYNC_TYPE_KEYWORD_ADD:
        keywords[record.keyword_idx].add.push_back(uids);
        break;
      case MAIL_INDEX_SYNC_TYPE_KEYWORD_REMOVE:
        keywords[record.keyword_idx].remove.push_back(uids);
        break;
      case MAIL_INDEX_SYNC_TYPE_EXPUNGE:
        expunges.push_back(uids);
        break;
    }
  }
  PendingChanges pending;
  for (size_t i = 0; i < std::size(kFlags); ++i) {
    append_change(kFlags[i], nullptr, std::move(flags[i]), &pending.flags);
  }
  for (auto& [index, ranges] : keywords) {
    append_change(kNoFlag, keyword_name(box->index, index), std::move(ranges), &pending.flags);
  }
  pending.expunges = NumberSet::from_ranges(std::move(expunges));
  return pending;
}

void consume(struct mail_index_sync_ctx* sync) {
  struct mail_index_sync_rec record;
  while (mail_index_sync_next(sync, &record)) {
  }
}

FlagSets flags_of_view(struct mailbox* box, struct mail_index_view* view) {
  const DataStackFrame frame;
  FlagSets sets;
  std::map<unsigned int, NumberSet> keywords;
  ARRAY_TYPE(keyword_indexes) indexes;
  t_array_init(&indexes, 32);
  const uint32_t count = mail_index_view_get_messages_count(view);
  for (uint32_t seq = 1; seq <= count; ++seq) {
    const struct mail_index_record* record = mail_index_lookup(view, seq);
    const uint32_t uid = record->uid;
    if ((record->flags & MAIL_SEEN) == 0) sets.unseen.add(uid);
    if ((record->flags & MAIL_ANSWERED) != 0) sets.answered.add(uid);
    if ((record->flags & MAIL_FLAGGED) != 0) sets.flagged.add(uid);
    if ((record->flags & MAIL_DELETED) != 0) sets.deleted.add(uid);
    if ((record->flags & MAIL_DRAFT) != 0) sets.draft.add(uid);
    mail_index_lookup_keywords(view, seq, &indexes);
    unsigned int keyword_count;
    const unsigned int* keyword = array_get(&indexes, &keyword_count);
    for (unsigned int i = 0; i < keyword_count; ++i) keywords[keyword[i]].add(uid);
  }
  for (auto& [index, uids] : keywords) {
    sets.keywords[keyword_name(box->index, index)].unite(uids);
  }
  return sets;
}

void update_flags(struct mailbox* box, struct mail_index_transaction* trans,
                  const std::vector<FlagChange>& changes) {
  if (changes.empty()) return;
  struct mail_index_view* view = mail_index_transaction_open_updated_view(trans);
  for (const FlagChange& change : changes) {
    if (change.flag != kNoFlag) {
      update_flag(trans, view, change.add, MODIFY_ADD, change.flag);
      update_flag(trans, view, change.remove, MODIFY_REMOVE, change.flag);
      continue;
    }
    const char* const names[] = {change.keyword.c_str(), nullptr};
    struct mail_keywords* keyword = mail_index_keywords_create(box->index, names);
    update_keyword(trans, view, change.add, MODIFY_ADD, keyword);
    update_keyword(trans, view, change.remove, MODIFY_REMOVE, keyword);
    mail_index_keywords_unref(&keyword);
  }
  mail_index_view_close(&view);
}

static std::string text_of(struct mail_index* index, unsigned int flags,
                           const unsigned int* keywords, unsigned int count) {
  std::string text;
  const auto append = [&text](std::string_view name) {
    if (!text.empty()) text += ' ';
    text += name;
  };
  for (const SystemFlag flag : kFlags) {
    if ((flags & flag) != 0) append(name_of(flag));
  }
  for (unsigned int i = 0; i < count; ++i) append(keyword_name(index, keywords[i]));
  return text;
}

std::string flags_text(struct mail_index* index, struct mail_index_view* view, uint32_t uid) {
  uint32_t seq;
  if (!mail_index_lookup_seq(view, uid, &seq)) return {};
  const DataStackFrame frame;
  ARRAY_TYPE(keyword_indexes) indexes;
  t_array_init(&indexes, 32);
  mail_index_lookup_keywords(view, seq, &indexes);
  unsigned int count;
  const unsigned int* keywords = array_get(&indexes, &count);
  return text_of(index, mail_index_lookup(view, seq)->flags, keywords, count);
}

std::string flags_text(struct mail_index* index, enum mail_flags flags,
                       const struct mail_keywords* keywords) {
  return keywords == nullptr ? text_of(index, flags, nullptr, 0)
                             : text_of(index, flags, keywords->idx, keywords->count);
}

void add_from_text(std::string_view text, uint32_t uid, std::vector<FlagChange>* changes) {
  for_each_flag(text, [&](SystemFlag flag, std::string_view name) {
    FlagChange& change = changes->emplace_back();
    change.flag = flag;
    if (flag == kNoFlag) change.keyword = name;
    change.add.add(uid);
  });
}

std::string without_flag(std::string text, std::string_view name) {
  const size_t at = text.find(name);  // no keyword contains a backslash
  if (at != std::string::npos) text.erase(at, name.size());
  return text;
}

void set_from_text(std::string_view text, uint32_t uid, std::vector<FlagChange>* changes) {
  const size_t before = changes->size();
  add_from_text(text, uid, changes);
  const auto is_seen = [](const FlagChange& change) { return change.flag == kSeen; };
  if (std::any_of(changes->begin() + static_cast<std::ptrdiff_t>(before), changes->end(),
                  is_seen)) {
    return;
  }
  FlagChange& unread = changes->emplace_back();
  unread.flag = kSeen;
  unread.remove.add(uid);
}

}  // namespace mh
