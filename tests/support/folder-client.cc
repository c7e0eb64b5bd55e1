// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-client.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace mh::test {
namespace {

constexpr int kMostTries = 5;

const std::map<std::string, SystemFlag>& system_flags() {
  static const std::map<std::string, SystemFlag> kFlags = {{"\\Seen", kSeen},
                                                           {"\\Answered", kAnswered},
                                                           {"\\Flagged", kFlagged},
                                                           {"\\Deleted", kDeleted},
                                                           {"\\Draft", kDraft}};
  return kFlags;
}

std::string name_of(const FlagChange& change) {
  for (const auto& [name, flag] : system_flags()) {
    if (flag == change.flag) return name;
  }
  return change.keyword;
}

FlagChange change_of(const std::string& flag, uint32_t uid, bool on) {
  FlagChange change;
  const auto found = system_flags().find(flag);
  if (found != system_flags().end()) {
    change.flag = found->second;
  } else {
    change.keyword = flag;
  }
  (on ? change.add : change.remove).add(uid);
  return change;
}

std::string joined(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

FolderSettings default_settings() {
  auto map = FlagMap::make(FlagOptions());
  if (!map) std::abort();
  return FolderSettings{.flags = std::move(*map), .warn = nullptr};
}

}  // namespace

FolderClient::FolderClient(Fs& fs, std::string mail_root, std::string folder)
    : settings(default_settings()),
      fs_(fs),
      mail_root_(std::move(mail_root)),
      path_(std::move(folder)) {
  settings.warn = [this](const std::string& text) { warnings_.push_back(text); };
}

void FolderClient::reopen() {
  folder_.reset();
  root_.reset();
}

void FolderClient::lose_index() {
  messages_.clear();
  memory_ = {};
  uidvalidity_ = 0;
  uidnext_ = 1;
  pending_.clear();
  to_expunge_ = {};
}

Status FolderClient::open() {
  if (folder_) return {};
  MH_TRY_SET(root_, Root::open(fs_, mail_root_, ""));
  const auto hints = [this](const Location&) {
    Hints known;
    known.uidvalidity = uidvalidity_;
    known.uidnext = uidnext_;
    for (const auto& [uid, message] : messages_) known.uids.add(uid);
    return known;
  };
  MH_TRY_SET(folder_, Folder::open(fs_, *root_, path_, settings, hints));
  return {};
}

Status FolderClient::sync(bool thorough) {
  MH_TRY(open());
  bool again = true;
  for (int tries = 0; again && tries < kMostTries; ++tries) {
    again = false;
    MH_TRY_SET(const bool same, folder_->unchanged(memory_));
    if (same && pending_.empty() && to_expunge_.empty() && !thorough) return {};
    MH_TRY(folder_->look());
    MH_TRY(folder_->lock());
    const Status done = try_sync(thorough, &again);
    folder_->unlock();
    MH_TRY(done);
  }
  return {};
}

void FolderClient::take_records(const FilesOutcome& files) {
  old_numbers_.clear();
  for (const auto& [uid, message] : messages_) old_numbers_[uid] = message.hint.number;
  const auto records = folder_->records();
  std::map<uint32_t, Message> now;
  for (const Record& record : *records) {
    Message message;
    const auto known = messages_.find(record.uid);
    if (known != messages_.end()) {
      message = known->second;
    } else if (files.deferred && record.uid >= uidnext_) {
      continue;
    } else {
      events_.push_back("EXISTS " + std::to_string(record.uid));
      if (expunged_.contains({uidvalidity_, record.uid})) {
        violations_.push_back("UID " + std::to_string(record.uid) + " came back");
      }
    }
    message.hint = hint_of(record);
    now[record.uid] = std::move(message);
  }
  for (const auto& [uid, message] : messages_) {
    if (now.contains(uid)) continue;
    events_.push_back("EXPUNGE " + std::to_string(uid));
    expunged_.insert({uidvalidity_, uid});
  }
  for (const Added& added : files.added) {
    if (!added.edited_from) continue;
    const auto old = messages_.find(*added.edited_from);
    if (old == messages_.end() || messages_.contains(added.uid)) continue;
    now[added.uid].flags = old->second.flags;
    old_numbers_[added.uid] = old->second.hint.number;
  }
  messages_ = std::move(now);
  uidnext_ = folder_->uidnext();
}

// As they were when the message left, or was saved.
void FolderClient::set_flags(const std::string& text, uint32_t uid) {
  bool is_seen = false;
  std::istringstream flags(text);
  for (std::string flag; flags >> flag;) {
    is_seen |= flag == "\\Seen";
    pending_.push_back(change_of(flag, uid, true));
  }
  if (!is_seen) pending_.push_back(change_of("\\Seen", uid, false));
}

std::string FolderClient::flags_text(uint32_t uid) const {
  const auto found = messages_.find(uid);
  return found == messages_.end() ? std::string() : joined(found->second.flags);
}

FlagsInput FolderClient::flags_input(const FilesOutcome& files) {
  FlagsInput input;
  for (const auto& [uid, message] : messages_) {
    if (!message.flags.contains("\\Seen")) input.base.unseen.add(uid);
    if (message.flags.contains("\\Answered")) input.base.answered.add(uid);
    if (message.flags.contains("\\Flagged")) input.base.flagged.add(uid);
    if (message.flags.contains("\\Deleted")) input.base.deleted.add(uid);
    if (message.flags.contains("\\Draft")) input.base.draft.add(uid);
    for (const std::string& flag : message.flags) {
      if (flag[0] != '\\') input.base.keywords[flag].add(uid);
    }
    if (message.undecided_since == 0) continue;
    input.undecided.add(uid);
    if (message.undecided_since + settings.unseen_grace <= fs_.now()) input.expired.add(uid);
  }
  for (const Annotation& annotation : files.annotated) {
    if (annotation.replied) pending_.push_back(change_of("\\Answered", annotation.uid, true));
    if (annotation.forwarded) pending_.push_back(change_of("$Forwarded", annotation.uid, true));
  }
  for (const Added& added : files.added) {
    if (added.tombstone_flags) set_flags(*added.tombstone_flags, added.uid);
    if (added.tombstone_flags && !added.edited_from) input.brought.add(added.uid);
  }
  for (const PendingSave& save : files.saved) set_flags(save.flags, save.uid);
  for (const FlagChange& change : pending_) apply(change);
  input.pending = pending_;
  input.expunge = to_expunge_;
  input.flags_of = [this](uint32_t uid) { return flags_text(uid); };
  input.old_number = [this](uint32_t uid) {
    const auto found = old_numbers_.find(uid);
    return found == old_numbers_.end() ? 0 : found->second;
  };
  return input;
}

void FolderClient::apply(const FlagChange& change) {
  const std::string name = name_of(change);
  const auto set = [&](uint32_t uid, bool on) {
    const auto found = messages_.find(uid);
    if (found == messages_.end()) return;
    const bool was = found->second.flags.contains(name);
    if (was == on) return;
    on ? (void)found->second.flags.insert(name) : (void)found->second.flags.erase(name);
    events_.push_back("FLAGS " + std::to_string(uid) + (on ? " +" : " -") + name);
  };
  change.add.for_each([&](uint32_t uid) { set(uid, true); });
  change.remove.for_each([&](uint32_t uid) { set(uid, false); });
}

Status FolderClient::try_sync(bool thorough, bool* again) {
  const auto flags_of = [this](uint32_t uid) { return flags_text(uid); };
  MH_TRY_SET(FilesOutcome files, folder_->sync_files(thorough, flags_of));
  if (folder_->uidvalidity() != uidvalidity_) {
    if (uidvalidity_ != 0) events_.push_back("VALIDITY");
    messages_.clear();
    memory_ = {};
    uidvalidity_ = folder_->uidvalidity();
  }
  if (files.first_sight) memory_ = {};
  folder_->recall_untold(memory_, &files);
  take_records(files);
  MH_TRY_SET(const FlagsOutcome flags, folder_->sync_flags(memory_, flags_input(files)));
  take_expunged(flags.expunged);
  for (const FlagChange& change : flags.to_index) apply(change);
  const FolderMemory before = std::exchange(memory_, folder_->memory());
  if (flags.busy || flags.moved) {
    *again = flags.moved;
    keep_last_merge(before);
    commit();
    static_cast<void>(folder_->told());
    return {};
  }
  pending_.clear();
  to_expunge_ = {};
  for (auto& [uid, message] : messages_) {
    if (!flags.undecided.contains(uid)) {
      message.undecided_since = 0;
    } else if (message.undecided_since == 0) {
      message.undecided_since = fs_.now();
    }
  }
  commit();
  if (!files.saved.empty()) static_cast<void>(folder_->saves_finished());
  static_cast<void>(folder_->told());
  return folder_->maintain();
}

void FolderClient::take_expunged(const NumberSet& uids) {
  uids.for_each([&](uint32_t uid) {
    messages_.erase(uid);
    expunged_.insert({uidvalidity_, uid});
    events_.push_back("EXPUNGE " + std::to_string(uid));
  });
}

// The next merge sees as changed what has changed since the last one.
void FolderClient::keep_last_merge(const FolderMemory& before) {
  memory_.generation = before.generation;
  memory_.journal_offset = before.journal_offset;
  for (auto& [uid, message] : messages_) {
    const auto old = old_numbers_.find(uid);
    message.hint.number = old == old_numbers_.end() ? 0 : old->second;
  }
}

void FolderClient::store(uint32_t uid, const std::string& flag, bool on) {
  pending_.push_back(change_of(flag, uid, on));
  commit();
}

void FolderClient::expunge(const std::vector<uint32_t>& uids) {
  for (const uint32_t uid : uids) to_expunge_.add(uid);
  commit();
}

// ---- Saving ---------------------------------------------------------------------------------

Status FolderClient::write_text(const Mail& mail, NewMessage* message) {
  message->record.internal_date = mail.date;
  message->record.saved = mail.saved != 0 ? mail.saved : static_cast<uint32_t>(fs_.now() / kSecond);
  message->record.guid = mail.guid;
  message->flags = joined(mail.flags);
  message->pop3 = mail.pop3;
  if (mail.copy_of != nullptr) {
    return copy_text(fs_, mail.copy_of->fd.get(), mail.copy_of->prefix, mail.copy_of->size,
                     *message);
  }
  return fs_.pwrite(message->file.get(), mail.text.data(), mail.text.size(), message->text_at);
}

Result<std::vector<NewMessage>> FolderClient::begin_append(const std::vector<Mail>& mails) {
  MH_TRY(open());
  std::vector<NewMessage> messages;
  Status done;
  for (const Mail& mail : mails) {
    auto message = folder_->begin_message();
    if (!message) {
      done = pass_on(message);
      break;
    }
    const auto nth = static_cast<uint32_t>(messages.size());
    messages.push_back(std::move(*message));
    done = write_text(mail, &messages.back());
    if (done) done = folder_->finish_message(messages.back(), nth);
    if (!done) break;
  }
  for (size_t i = 0; done && i < messages.size(); ++i) done = folder_->flush_message(messages[i]);
  if (done) return messages;
  for (NewMessage& message : messages) folder_->drop_message(message);
  return pass_on(done);
}

// As run_locked_sync().
Status FolderClient::locked_sync() {
  for (int tries = 0; tries < kMostTries; ++tries) {
    if (tries == 0) {
      MH_TRY_SET(const bool same, folder_->unchanged(memory_));
      const auto changed = folder_->changed_since(memory_.generation, memory_.journal_offset);
      const bool current = folder_->uidvalidity() == uidvalidity_ && changed && changed->empty();
      if (same && current && pending_.empty() && to_expunge_.empty() &&
          !folder_->has_unfinished_saves()) {
        return {};
      }
    }
    bool again = false;
    MH_TRY(folder_->look(false));
    MH_TRY(try_sync(false, &again));
    if (!again) return {};
  }
  return {};
}

Status FolderClient::bring_in(const std::vector<Mail>& mails, std::vector<NewMessage>* messages) {
  MH_TRY(locked_sync());
  uint32_t next = std::max(uidnext_, folder_->uidnext());
  for (size_t i = 0; i < mails.size(); ++i) {
    if (mails[i].uid != 0) next = mails[i].uid;
    (*messages)[i].record.uid = next++;
  }
  MH_TRY_SET(memory_, folder_->store_messages(*messages, memory_));
  for (size_t i = 0; i < mails.size(); ++i) {
    const Record& record = (*messages)[i].record;
    Message& message = messages_[record.uid];
    message.hint = hint_of(record);
    message.flags = mails[i].flags;
    events_.push_back("EXISTS " + std::to_string(record.uid));
  }
  uidnext_ = folder_->uidnext();
  commit();
  // The index has them: what fails now is made up for later.
  static_cast<void>(folder_->saves_finished());
  static_cast<void>(folder_->maintain());
  return {};
}

Result<std::vector<uint32_t>> FolderClient::finish_append(const std::vector<Mail>& mails,
                                                          std::vector<NewMessage> messages) {
  Status done = folder_->lock();
  if (done) {
    done = bring_in(mails, &messages);
    if (!done) {
      for (NewMessage& message : messages) folder_->drop_message(message);
    }
    folder_->unlock();
  }
  if (!done) return pass_on(done);
  std::vector<uint32_t> uids;
  for (const NewMessage& message : messages) uids.push_back(message.record.uid);
  return uids;
}

Result<std::vector<uint32_t>> FolderClient::append(const std::vector<Mail>& mails) {
  MH_TRY_SET(auto messages, begin_append(mails));
  return finish_append(mails, std::move(messages));
}

Result<std::vector<uint32_t>> FolderClient::copy_from(FolderClient& from,
                                                      const std::vector<uint32_t>& uids) {
  std::vector<Mail> mails;
  std::vector<OpenMessage> open_messages;
  open_messages.reserve(uids.size());
  for (const uint32_t uid : uids) {
    const Message& message = from.messages_.at(uid);
    MH_TRY_SET(OpenMessage opened, from.folder_->open_message(uid, message.hint));
    open_messages.push_back(std::move(opened));
    MH_TRY_SET(const Record record, from.folder_->record(uid));
    Mail mail;
    mail.flags = message.flags;
    mail.date = record.internal_date;
    if (&from != this) mail.guid = record.guid;
    mail.copy_of = &open_messages.back();
    mails.push_back(std::move(mail));
  }
  return append(mails);
}

Status FolderClient::change_identity(const Folder::Identity& wanted) {
  MH_TRY(open());
  const Status done = folder_->change_identity(wanted);
  memory_ = {};  // all is compared
  return done;
}

Result<uint64_t> FolderClient::pack() {
  MH_TRY_SET(const auto root, Root::open(fs_, mail_root_, ""));
  MH_TRY_SET(const auto folder, Folder::open(fs_, *root, path_, settings, {}));
  uint64_t moved = 0;
  for (bool more = true; more;) {
    MH_TRY_SET(const Folder::Packed packed, folder->pack_some());
    moved += packed.moved;
    more = packed.more;
  }
  MH_TRY(folder->lock());
  const FolderUnlock unlock(*folder);
  MH_TRY(folder->maintain());
  return moved;
}

Result<bool> FolderClient::order_by_number() {
  MH_TRY_SET(const auto root, Root::open(fs_, mail_root_, ""));
  MH_TRY_SET(const auto folder, Folder::open(fs_, *root, path_, settings, {}));
  return folder->order_by_number();
}

// ---- The index as a file --------------------------------------------------------------------

namespace {

std::string bytes_of(const FolderMemory& memory) {
  return {reinterpret_cast<const char*>(&memory), sizeof(memory)};
}

// A text of any bytes: its length, a blank, itself.
void put(std::ostream& out, const std::string& text) { out << text.size() << ' ' << text << '\n'; }

std::string get(std::istream& in) {
  size_t size = 0;
  in >> size;
  in.get();
  std::string text(in ? size : 0, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  return text;
}

size_t get_count(std::istream& in) {
  size_t count = 0;
  in >> count;
  return in ? count : 0;
}

}  // namespace

void FolderClient::keep_index_in(std::string file) {
  index_file_ = std::move(file);
  std::ifstream in(index_file_, std::ios::binary);
  if (in) read_index(in);
}

// Past fs_: this is not what is tested.
void FolderClient::commit() {
  if (index_file_.empty()) return;
  remember_told();
  const std::string temporary = index_file_ + ".new";
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  write_index(out);
  out.close();
  if (!out || std::rename(temporary.c_str(), index_file_.c_str()) != 0) std::abort();
}

void FolderClient::remember_told() {
  for (const auto& [uid, message] : messages_) {
    if (history_.contains({uidvalidity_, uid})) continue;
    std::ifstream file(mail_root_ + "/" + path_ + "/" + std::to_string(message.hint.number),
                       std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (file.is_open() && text.size() >= message.hint.prefix)
      history_[{uidvalidity_, uid}] = text.substr(message.hint.prefix);
  }
}

void FolderClient::write_index(std::ostream& out) const {
  put(out, bytes_of(memory_));
  out << uidvalidity_ << ' ' << uidnext_ << '\n' << messages_.size() << '\n';
  for (const auto& [uid, message] : messages_) {
    out << uid << ' ' << message.hint.number << ' ' << message.hint.prefix << ' '
        << message.hint.stamp << ' ' << message.undecided_since << ' ';
    put(out, joined(message.flags));
  }
  out << pending_.size() << '\n';
  for (const FlagChange& change : pending_) {
    put(out, name_of(change));
    put(out, change.add.print_uids());
    put(out, change.remove.print_uids());
  }
  put(out, to_expunge_.print_uids());
  out << history_.size() << '\n';
  for (const auto& [key, text] : history_) {
    out << key.first << ' ' << key.second << ' ';
    put(out, text);
  }
  out << expunged_.size() << '\n';
  for (const auto& key : expunged_) out << key.first << ' ' << key.second << '\n';
}

void FolderClient::read_index(std::istream& in) {
  const std::string memory = get(in);
  if (memory.size() != sizeof(memory_)) std::abort();
  memory.copy(reinterpret_cast<char*>(&memory_), sizeof(memory_));
  in >> uidvalidity_ >> uidnext_;
  for (size_t left = get_count(in); left > 0; --left) {
    uint32_t uid = 0;
    Message message;
    in >> uid >> message.hint.number >> message.hint.prefix >> message.hint.stamp >>
        message.undecided_since;
    std::istringstream flags(get(in));
    for (std::string flag; flags >> flag;) message.flags.insert(flag);
    messages_[uid] = std::move(message);
  }
  for (size_t left = get_count(in); left > 0; --left) {
    FlagChange change = change_of(get(in), 0, true);
    change.add = NumberSet::parse_uids(get(in)).value_or(NumberSet());
    change.remove = NumberSet::parse_uids(get(in)).value_or(NumberSet());
    pending_.push_back(std::move(change));
  }
  to_expunge_ = NumberSet::parse_uids(get(in)).value_or(NumberSet());
  for (size_t left = get_count(in); left > 0; --left) {
    std::pair<uint32_t, uint32_t> key;
    in >> key.first >> key.second;
    history_[key] = get(in);
  }
  for (size_t left = get_count(in); left > 0; --left) {
    std::pair<uint32_t, uint32_t> key;
    in >> key.first >> key.second;
    expunged_.insert(key);
  }
  if (!in) std::abort();
}

std::map<uint32_t, std::string> FolderClient::told() const {
  std::map<uint32_t, std::string> told;
  for (const auto& [key, text] : history_) {
    if (key.first == uidvalidity_) told[key.second] = text;
  }
  return told;
}

Result<std::string> FolderClient::fetch(uint32_t uid) {
  MH_TRY_SET(const OpenMessage message, folder_->open_message(uid, messages_.at(uid).hint));
  std::string bytes(message.size, '\0');
  MH_TRY_SET(const size_t got,
             fs_.pread(message.fd.get(), bytes.data(), bytes.size(), message.prefix));
  bytes.resize(got);
  return bytes;
}

Status FolderClient::adopt_all() {
  for (bool more = true; more;) {
    MH_TRY_SET(const Folder::Adopted adopted, folder_->adopt(1000, 60 * kSecond));
    more = adopted.more;
  }
  return sync();
}

std::vector<uint32_t> FolderClient::uids() const {
  std::vector<uint32_t> all;
  for (const auto& [uid, message] : messages_) all.push_back(uid);
  return all;
}

uint32_t FolderClient::uid_of(uint32_t number) const {
  for (const auto& [uid, message] : messages_) {
    if (message.hint.number == number) return uid;
  }
  return 0;
}

std::vector<std::string> FolderClient::events() { return std::exchange(events_, {}); }

std::vector<std::string> FolderClient::violations() {
  for (const auto& [uid, message] : messages_) {
    const auto bytes = fetch(uid);
    if (!bytes) continue;
    const auto [known, fresh] = history_.try_emplace({uidvalidity_, uid}, *bytes);
    if (!fresh && known->second != *bytes) {
      violations_.push_back("UID " + std::to_string(uid) + " shows other bytes than before");
    }
  }
  return violations_;
}

}  // namespace mh::test
