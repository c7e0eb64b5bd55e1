// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-cases.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "libmh/format/component-text.h"
#include "libmh/format/sequences.h"
#include "libmh/store/journal.h"
#include "libmh/system/filename.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"

namespace mh::test {
namespace {

using ::testing::IsEmpty;

constexpr const char* kSequences = "cur: 2\nunseen: 2 4\nflagged: 3\nmine: 1 5\n";
constexpr int kKnown = 5;                            // messages that the client knows
constexpr Nanoseconds kDate = 1600000000 * kSecond;  // of all message files
constexpr uint32_t kOldDate = kDate / kSecond;
constexpr Nanoseconds kLater = 7200 * kSecond;  // by then nothing is fresh
constexpr uint64_t kManyLines = 2200;           // a journal to be compacted

std::string mail(int i) {
  // The bodies differ in length, and one is longer than a block.
  const std::string name = "message " + std::to_string(i);
  std::string text = "From: a@example.org\nSubject: " + name + "\n\n";
  for (int line = 0; line < (i == 3 ? 200 : i); ++line) text += "This is " + name + ".\n";
  return text;
}

int number_of_mail(const std::string& text) {
  for (int i = 1; i < 20; ++i)
    if (text == mail(i)) return i;
  return 0;
}

void set_date(const TempDir& tree, const std::string& name) {
  const Fd file(::open(tree.path(name).c_str(), O_RDONLY | O_NONBLOCK));
  const timespec times[2] = {{kDate / kSecond, 0}, {kDate / kSecond, 0}};
  if (!file || ::futimens(file.get(), times) != 0) std::abort();
}

void put(const TempDir& tree, const std::string& number, const std::string& text) {
  tree.write("Mail/inbox/" + number, text);
  set_date(tree, "Mail/inbox/" + number);
}

// Whether the work is done under mail_fsync=never.
bool g_unflushed = false;

FolderClient client_of(Fs& fs, const TempDir& tree) {
  FolderClient client(fs, tree.path("Mail"), "inbox");
  client.settings.flush = !g_unflushed;
  client.keep_index_in(tree.path("index"));
  return client;
}

void must(const Status& done) {
  if (!done) ADD_FAILURE() << done.error().message();
}

// What there is to be when all is well again: per message its flags, "seen" among them; the same
// before the work; and what may be either.
struct Expected {
  std::map<int, std::set<std::string>> flags;
  std::set<std::pair<int, std::string>> unsure = {};
  std::set<int> optional = {};  // may be there or not, with whatever flags
  std::set<int> together = {};  // all of them are there or none
  bool backups = false;         // files such as ",5" are no litter
  bool new_validity = false;    // the work changes it
};

Expected as_put() {
  return {{{1, {"\\Seen", "mine"}},
           {2, {}},
           {3, {"\\Seen", "\\Flagged"}},
           {4, {}},
           {5, {"\\Seen", "mine"}}}};
}

// ---- What must hold -------------------------------------------------------------------------

// A state whose maker died before it had a journal is nobody's.
std::vector<std::string> state_dirs(const TempDir& tree) {
  std::vector<std::string> found;
  const Fd root(::open(tree.path("Mail/.mhsync").c_str(), O_RDONLY | O_DIRECTORY));
  if (!root) return found;
  must(Fs::posix().list(root.get(), [&](const DirEntry& entry) {
    const std::string path = "Mail/.mhsync/" + entry.name;
    if (is_state_dir_name(entry.name) && tree.exists(path + "/journal")) found.push_back(path);
    return true;
  }));
  return found;
}

// `path` absolute, or below the tree.
std::vector<std::string> names_in(const TempDir& tree, const std::string& path) {
  std::vector<std::string> names;
  const Fd directory(
      ::open((path.starts_with('/') ? path : tree.path(path)).c_str(), O_RDONLY | O_DIRECTORY));
  if (!directory) return names;
  must(Fs::posix().list(directory.get(), [&](const DirEntry& entry) {
    names.push_back(entry.name);
    return true;
  }));
  return names;
}

// As it is before any repair. Inside a write of ours it may be torn, but is never empty.
void check_sequences(const TempDir& tree, const std::string& what) {
  ASSERT_TRUE(tree.exists("Mail/inbox/.mh_sequences")) << what;
  const std::string text = tree.read("Mail/inbox/.mh_sequences");
  EXPECT_FALSE(text.empty()) << what;
  if (what.find("bytes of") != std::string::npos) return;
  EXPECT_THAT(parse_components(text).problems, IsEmpty()) << what << "\n" << text;
}

void check_nothing_of_ours(const TempDir& tree, bool backups, const std::string& what) {
  for (const std::string& name : names_in(tree, "Mail/inbox")) {
    const bool backup = backups && name.starts_with(',') && message_number(name.substr(1));
    EXPECT_TRUE(message_number(name) || name == ".mh_sequences" || backup) << what << ": " << name;
  }
}

// A guarded message may have its second name still.
void check_no_leftover(const TempDir& tree, const std::string& state, const std::string& what) {
  std::vector<std::string> names = names_in(tree, state + "/tmp");
  std::erase(names, kept_name(6));
  EXPECT_THAT(names, IsEmpty()) << what;
  for (const std::string& name : names_in(tree, state))
    EXPECT_FALSE(is_leftover_of_state(name)) << what << ": " << name;
}

// The messages of the folder by what they are, from what a client is shown.
std::map<int, uint32_t> check_messages(FolderClient& client, const Expected& expected,
                                       const std::string& what) {
  std::map<int, uint32_t> found;
  for (const uint32_t uid : client.uids()) {
    const auto text = client.fetch(uid);
    if (!text) {
      ADD_FAILURE() << what << ": UID " << uid << ": " << text.error().message();
      continue;
    }
    const int i = number_of_mail(*text);
    EXPECT_TRUE(expected.flags.contains(i)) << what << ": not expected: " << i << "\n" << *text;
    EXPECT_TRUE(found.emplace(i, uid).second) << what << ": twice: " << i;
  }
  for (const auto& [i, flags] : expected.flags) {
    EXPECT_TRUE(found.contains(i) || expected.optional.contains(i)) << what << ": lost: " << i;
  }
  for (const int i : expected.together) {
    EXPECT_EQ(found.contains(*expected.together.begin()), found.contains(i))
        << what << ": a part of a transaction";
  }
  return found;
}

void check_flags(FolderClient& client, const std::map<int, uint32_t>& found,
                 const Expected& expected, const TempDir& tree, const std::string& what) {
  const std::string text = tree.read("Mail/inbox/.mh_sequences");
  const Sequences file = Sequences::parse(text);
  const auto in_file = [&](const char* name, uint32_t number) {
    const NumberSet* numbers = file.find(name);
    return numbers != nullptr && numbers->contains(number);
  };
  for (const auto& [i, uid] : found) {
    const auto& message = client.messages().at(uid);
    const uint32_t number = message.hint.number;
    std::set<std::string> flags = message.flags;
    // Without the index and the journal's word it counts as an arrival that nobody has decided
    // about.
    if (!expected.unsure.contains({i, "\\Seen"})) {
      EXPECT_EQ(flags.contains("\\Seen"), !in_file("unseen", number)) << what << ": " << i << text;
    }
    EXPECT_EQ(flags.contains("\\Flagged"), in_file("flagged", number)) << what << ": " << i << text;
    EXPECT_EQ(flags.contains("mine"), in_file("mine", number)) << what << ": " << i << text;
    std::set<std::string> wanted =
        expected.flags.contains(i) ? expected.flags.at(i) : std::set<std::string>();
    for (const auto& [which, flag] : expected.unsure) {
      if (which != i) continue;
      flags.erase(flag);
      wanted.erase(flag);
    }
    EXPECT_EQ(wanted, flags) << what << ": message " << i << "\n" << text;
  }
}

struct Lasting {
  Guid guid{};
  uint32_t date = 0;
  bool operator==(const Lasting&) const = default;
};

std::map<uint32_t, Lasting> lasting(FolderClient& client) {
  std::map<uint32_t, Lasting> all;
  const auto records = client.folder().records();
  if (!records) return all;
  for (const Record& record : *records) all[record.uid] = {record.guid, record.internal_date};
  return all;
}

// A UID that was told shows what it showed, or nothing.
void check_told(FolderClient& client, const std::map<uint32_t, std::string>& told,
                const std::string& what) {
  for (const auto& [uid, text] : told) {
    if (!client.messages().contains(uid)) continue;
    const auto now = client.fetch(uid);
    EXPECT_TRUE(now && *now == text) << what << ": UID " << uid << " shows something else";
  }
  EXPECT_THAT(client.violations(), IsEmpty()) << what;
}

// What is as it must be in a session that comes after another.
void check_session(Fs& fs, const TempDir& tree, const Expected& expected, Loss loss, bool adopt,
                   const std::string& what) {
  FolderClient client = client_of(fs, tree);
  const auto told = client.told();
  const uint32_t validity = client.uidvalidity();
  const Status done = client.sync();
  ASSERT_TRUE(done) << what << ": " << done.error().message();
  if (adopt) must(client.adopt_all());
  if (validity != 0 && !expected.new_validity) {
    EXPECT_EQ(validity, client.uidvalidity()) << what;
  }
  check_sequences(tree, what);
  check_nothing_of_ours(tree, expected.backups, what);
  const auto found = check_messages(client, expected, what);
  check_flags(client, found, expected, tree, what);
  // Under another UIDVALIDITY the same UID is another message.
  if (validity == client.uidvalidity()) check_told(client, told, what);
  const auto before = lasting(client);

  FolderClient next = client_of(fs, tree);
  must(next.sync());
  EXPECT_THAT(next.events(), IsEmpty()) << what << ": told in a second session";
  if (loss == Loss::kProcess) {
    EXPECT_THAT(next.warnings(), IsEmpty()) << what << ": the admin is told twice";
  }
  EXPECT_EQ(before, lasting(next)) << what;
  EXPECT_EQ(client.uids(), next.uids()) << what;
}

// Those that keep what they had before the work: by tag, or by what the file system tells of them.
void check_dates(FolderClient& client, const std::string& what) {
  for (const auto& [uid, kept] : lasting(client))
    EXPECT_EQ(kDate / kSecond, kept.date) << what << ": UID " << uid;
}

// Stamps that the model of power loss does not keep.
void give_dates_back(const TempDir& tree) {
  std::vector<std::string> directories = state_dirs(tree);
  for (std::string& directory : directories) directory += "/tmp";
  directories.insert(directories.end(), {"Mail/inbox", "Mail/other"});
  for (const std::string& directory : directories) {
    for (const std::string& name : names_in(tree, directory)) {
      const bool ours = directory.ends_with("/tmp");
      if (ours || message_number(name)) set_date(tree, directory + "/" + name);
    }
  }
}

void check(const TempDir& tree, const Stop& stop, const Expected& expected, Loss loss) {
  if (loss == Loss::kPower) {
    give_dates_back(tree);
  } else {
    check_sequences(tree, stop.what);
  }
  FaultFs fs;
  fs.sleep_in_no_time();
  check_session(fs, tree, expected, loss, false, stop.what + ", the next session");
  fs.shift_clocks(kLater);
  check_session(fs, tree, expected, loss, true, stop.what + ", a later session");
  fs.shift_clocks(kLater);  // every guard is over, whenever the last message came
  FolderClient client = client_of(fs, tree);
  must(client.sync(expected.new_validity));  // which an unchanged folder does not ask for
  must(client.adopt_all());                  // what the session before had just touched
  check_dates(client, stop.what);
  check_no_leftover(tree, client.folder().location().state_dir, stop.what);
  for (const auto& [uid, message] : client.messages())
    EXPECT_THAT(tree.read("Mail/inbox/" + std::to_string(message.hint.number)),
                ::testing::HasSubstr("X-MH-UID: "))
        << stop.what << ": a message was never tagged";
}

// ---- The cases ------------------------------------------------------------------------------

void put_folder(const TempDir& tree) {
  tree.make_dir("Mail");
  tree.make_dir("Mail/inbox");
  for (int i = 1; i <= kKnown; ++i) put(tree, std::to_string(i), mail(i));
  tree.write("Mail/inbox/.mh_sequences", kSequences);
  set_date(tree, "Mail/inbox/.mh_sequences");
}

// A folder whose client is up to date.
void put_known(const TempDir& tree, bool tagged) {
  put_folder(tree);
  FaultFs fs;
  fs.shift_clocks(kLater);
  FolderClient client = client_of(fs, tree);
  must(client.sync());
  if (tagged) must(client.adopt_all());
}

void rename_file(const TempDir& tree, const std::string& from, const std::string& to) {
  must(Fs::posix().rename(tree.fd(), ("Mail/inbox/" + from).c_str(), tree.fd(),
                          ("Mail/inbox/" + to).c_str(), RenameMode::kNoReplace));
}

void change_like_nmh(const TempDir& tree) {
  must(Fs::posix().unlink(tree.fd(), "Mail/inbox/1"));
  rename_file(tree, "3", "1");
  rename_file(tree, "5", "3");
  put(tree, "6", mail(6));
  tree.write("Mail/inbox/.mh_sequences", "cur: 2\nunseen: 2 4 6\nflagged: 1\nmine: 3\n");
}

Expected changed_like_nmh() {
  Expected expected = as_put();
  expected.flags.erase(1);
  expected.flags[6] = {};
  return expected;
}

// As most programs do that write a file in place, by a copy beside it: so the folder has changed.
void touch_folder(const TempDir& tree) {
  tree.write("Mail/inbox/copy", "");
  must(Fs::posix().unlink(tree.fd(), "Mail/inbox/copy"));
}

// The hidden lines of a message stay, what is shown is another.
void edit(const TempDir& tree) {
  const std::string content = tree.read("Mail/inbox/3");
  put(tree, "3", content.substr(0, content.size() - mail(3).size()) + mail(9));
  touch_folder(tree);
}

Expected edited() {
  Expected expected = as_put();
  expected.flags[9] = expected.flags.at(3);
  expected.flags.erase(3);
  return expected;
}

void annotate(const TempDir& tree) {
  put(tree, "4", "Replied: Thu, 01 Jan 2004 10:00:00 +0000\n" + tree.read("Mail/inbox/4"));
  touch_folder(tree);
}

Expected annotated() {
  Expected expected = as_put();
  expected.flags[4].insert("\\Answered");
  return expected;
}

// Removed as rmm does, noticed, and put back.
void bring_back(const TempDir& tree) {
  rename_file(tree, "5", ",5");
  tree.write("Mail/inbox/.mh_sequences", "cur: 2\nunseen: 2 4\nflagged: 3\nmine: 1\n");
  must(client_of(Fs::posix(), tree).sync());
  rename_file(tree, ",5", "5");
}

void lengthen_journal(const TempDir& tree) {
  const std::string path = tree.path(state_dirs(tree).front());
  const Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY));
  auto journal = Journal::open(Fs::posix(), directory.get());
  if (!journal) return must(pass_on(journal));
  for (uint64_t i = 0; i < kManyLines; ++i) journal->add_modseq_floor(i);
  must(journal->append());
  must(journal->flush());
}

Status sync(Fs& fs, const TempDir& tree) { return client_of(fs, tree).sync(); }

Status sync_thoroughly(Fs& fs, const TempDir& tree) { return client_of(fs, tree).sync(true); }

Status adopt(Fs& fs, const TempDir& tree) {
  FolderClient client = client_of(fs, tree);
  MH_TRY(client.sync());
  return client.adopt_all();
}

// What STORE has put into the index is there before the sync begins.
void store_flags(const TempDir& tree) {
  FolderClient client = client_of(Fs::posix(), tree);
  client.store(1, "\\Flagged", true);
  client.store(2, "\\Seen", true);
  client.store(3, "\\Flagged", false);
  client.store(5, "\\Flagged", true);
}

Expected stored_flags() {
  Expected expected = as_put();
  expected.flags[1].insert("\\Flagged");
  expected.flags[2].insert("\\Seen");
  expected.flags[3].erase("\\Flagged");
  expected.flags[5].insert("\\Flagged");
  return expected;
}

// ---- Messages that we bring in and take away ------------------------------------------------

FolderClient::Mail saved_mail(int i, std::set<std::string> flags) {
  FolderClient::Mail saved;
  saved.text = mail(i);
  saved.flags = std::move(flags);
  saved.date = kOldDate;
  return saved;
}

const std::map<int, std::set<std::string>>& saved_flags() {
  static const std::map<int, std::set<std::string>> kFlags = {
      {6, {"\\Flagged"}}, {7, {"\\Seen", "mine"}}, {8, {}}};
  return kFlags;
}

Status save(Fs& fs, const TempDir& tree, const std::set<int>& which) {
  std::vector<FolderClient::Mail> mails;
  for (const int i : which) mails.push_back(saved_mail(i, saved_flags().at(i)));
  const auto uids = client_of(fs, tree).append(mails);
  return uids ? Status() : pass_on(uids);
}

Status save_one(Fs& fs, const TempDir& tree) { return save(fs, tree, {6}); }

Status save_several(Fs& fs, const TempDir& tree) { return save(fs, tree, {6, 7, 8}); }

Expected saved(const std::set<int>& which) {
  Expected expected = as_put();
  for (const int i : which) expected.flags[i] = saved_flags().at(i);
  expected.optional = expected.together = which;
  return expected;
}

// The folder that messages are copied from.
FolderClient source_of(Fs& fs, const TempDir& tree) {
  FolderClient client(fs, tree.path("Mail"), "other");
  client.keep_index_in(tree.path("index-other"));
  return client;
}

void put_source(const TempDir& tree) {
  tree.make_dir("Mail/other");
  std::vector<FolderClient::Mail> mails;
  for (const auto& [i, flags] : saved_flags()) mails.push_back(saved_mail(i, flags));
  FaultFs fs;
  fs.sleep_in_no_time();
  FolderClient source = source_of(fs, tree);
  const auto uids = source.append(mails);
  if (!uids) must(pass_on(uids));
  must(source.sync());
}

Status copy(Fs& fs, const TempDir& tree) {
  FolderClient source = source_of(fs, tree);
  MH_TRY(source.sync());
  const auto uids = client_of(fs, tree).copy_from(source, source.uids());
  return uids ? Status() : pass_on(uids);
}

// By what they are: the GUIDs in the tags of a folder's files.
std::map<int, std::string> guids_in(const TempDir& tree, const std::string& folder) {
  constexpr size_t kGuidAt = 32;
  constexpr size_t kGuidSize = 32;
  std::map<int, std::string> guids;
  for (const std::string& name : names_in(tree, folder)) {
    if (!message_number(name)) continue;
    const std::string content = tree.read(folder + "/" + name);
    guids[number_of_mail(content.substr(content.find('\n') + 1))] =
        content.substr(kGuidAt, kGuidSize);
  }
  return guids;
}

void check_copies(const TempDir& tree, const Stop& stop) {
  const auto source = guids_in(tree, "Mail/other");
  const auto here = guids_in(tree, "Mail/inbox");
  EXPECT_EQ(saved_flags().size(), source.size()) << stop.what;
  for (const auto& [i, guid] : source) {
    EXPECT_TRUE(!here.contains(i) || here.at(i) == guid) << stop.what << ": GUID of " << i;
  }
}

// What EXPUNGE has put into the index is there before the sync begins.
void ask_to_expunge(const TempDir& tree) { client_of(Fs::posix(), tree).expunge({2, 5}); }

Status sync_with_backup(Fs& fs, const TempDir& tree) {
  FolderClient client = client_of(fs, tree);
  client.settings.backup = true;
  return client.sync();
}

Expected expunged(bool backups) {
  Expected expected = as_put();
  expected.backups = backups;
  expected.optional = {2, 5};
  return expected;
}

Folder::Identity wanted_identity() {
  Folder::Identity wanted;
  wanted.guid.fill(7);
  wanted.uidvalidity = 2000000000;
  wanted.uidnext = 500;
  return wanted;
}

Status change_identity(Fs& fs, const TempDir& tree) {
  const Folder::Identity wanted = wanted_identity();
  FolderClient client = client_of(fs, tree);
  MH_TRY(client.change_identity(wanted));
  return client.sync();
}

void check_identity(const TempDir& tree, const Stop& stop) {
  FolderClient client = client_of(Fs::posix(), tree);
  must(client.sync(true));
  const auto guid = client.folder().mailbox_guid();
  ASSERT_TRUE(guid) << stop.what;
  const Folder::Identity wanted = wanted_identity();
  const bool is_changed = client.uidvalidity() == wanted.uidvalidity;
  EXPECT_EQ(is_changed, *guid == wanted.guid) << stop.what;
  EXPECT_TRUE(!is_changed || client.folder().uidnext() >= wanted.uidnext) << stop.what;
  EXPECT_TRUE(is_changed || !stop.finished) << stop.what;
}

// A message that came with the guard against inc, a minute ago.
void put_guarded(const TempDir& tree) {
  FolderClient client = client_of(Fs::posix(), tree);
  client.settings.inc_guard = true;
  const auto uids = client.append({saved_mail(6, saved_flags().at(6))});
  if (!uids) must(pass_on(uids));
}

Status give_back(Fs& fs, const TempDir& tree) {
  dynamic_cast<FaultFs&>(fs).shift_clocks(2 * kLater);
  FolderClient client = client_of(fs, tree);
  client.settings.inc_guard = true;
  return client.sync();
}

Expected guarded() {
  Expected expected = saved({6});
  expected.optional = {};
  return expected;
}

void check_guard(const TempDir& tree, const Stop& stop) {
  FaultFs fs;
  fs.shift_clocks(3 * kLater);
  FolderClient client = client_of(fs, tree);
  must(client.sync());
  const auto file = Fs::posix().stat(tree.fd(), "Mail/inbox/7", Follow::kNo);
  ASSERT_TRUE(file) << stop.what;
  EXPECT_NE(0u, file->mode & 0200) << stop.what << ": never given back";
  EXPECT_THAT(names_in(tree, client.folder().location().state_dir + "/tmp"), IsEmpty())
      << stop.what;
}

// Numbers 2 4 5 7 8 of the same messages; nothing of it is fresh.
void put_gaps(const TempDir& tree) {
  for (int i = kKnown; i > 0; --i) {
    rename_file(tree, std::to_string(i), std::to_string(i == 1 ? 2 : i < 4 ? i + 2 : i + 3));
  }
  tree.write("Mail/inbox/.mh_sequences", "cur: 4\nunseen: 4 7\nflagged: 5\nmine: 2 8\n");
  set_date(tree, "Mail/inbox/.mh_sequences");
  FaultFs fs;
  fs.shift_clocks(kLater);
  must(client_of(fs, tree).sync());
}

Status pack(Fs& fs, const TempDir& tree) {
  dynamic_cast<FaultFs&>(fs).shift_clocks(2 * kLater);
  const auto moved = client_of(fs, tree).pack();
  return moved ? Status() : pass_on(moved);
}

// Whatever it was stopped in, the next one does the rest, and no client is told.
void check_packed(const TempDir& tree, const Stop& stop) {
  FaultFs fs;
  fs.shift_clocks(3 * kLater);
  const auto moved = client_of(fs, tree).pack();
  ASSERT_TRUE(moved) << stop.what << ": " << moved.error().message();
  EXPECT_TRUE(!stop.finished || *moved == 0) << stop.what;
  for (int i = 1; i <= kKnown; ++i) {
    EXPECT_TRUE(tree.read("Mail/inbox/" + std::to_string(i)).ends_with(mail(i))) << stop.what;
  }
  const Sequences all = Sequences::parse(tree.read("Mail/inbox/.mh_sequences"));
  EXPECT_EQ(2u, all.cur()) << stop.what;
  FolderClient client = client_of(fs, tree);
  must(client.sync());
  EXPECT_THAT(client.events(), IsEmpty()) << stop.what;
}

Status order_by_number(Fs& fs, const TempDir& tree) {
  const auto ordered = client_of(fs, tree).order_by_number();
  return ordered ? Status() : pass_on(ordered);
}

// 1 is behind the others now.
void put_out_of_order(const TempDir& tree) {
  rename_file(tree, "1", "9");
  tree.write("Mail/inbox/.mh_sequences", "cur: 2\nunseen: 2 4\nflagged: 3\nmine: 5 9\n");
  set_date(tree, "Mail/inbox/.mh_sequences");
  FaultFs fs;
  fs.shift_clocks(kLater);
  must(client_of(fs, tree).sync());
}

void check_order(const TempDir& tree, const Stop& stop) {
  FaultFs fs;
  fs.shift_clocks(3 * kLater);
  FolderClient client = client_of(fs, tree);
  const auto ordered = client.order_by_number();
  ASSERT_TRUE(ordered) << stop.what << ": " << ordered.error().message();
  EXPECT_TRUE(!stop.finished || !*ordered) << stop.what;
  must(client.sync(true));
  uint32_t last = 0;
  for (const uint32_t uid : client.uids()) {
    EXPECT_GT(client.messages().at(uid).hint.number, last) << stop.what;
    last = client.messages().at(uid).hint.number;
  }
}

struct Plot {
  std::string name;
  std::function<void(const TempDir& tree)> prepare;
  Status (*work)(Fs& fs, const TempDir& tree);
  Expected expected;
  void (*check_more)(const TempDir& tree, const Stop& stop) = nullptr;  // after the repair
};

// What is optional only because the work did not come to its end, or lost what it had done.
Expected after(const Plot& plot, const Stop& stop, Loss loss) {
  Expected expected = plot.expected;
  const bool saves = !expected.together.empty();
  const bool killed = stop.what.starts_with("killed") || stop.what.starts_with("undisturbed");
  if (!saves && killed && loss == Loss::kProcess) {
    // What was asked for stands in the index.
    for (const int i : expected.optional) expected.flags.erase(i);
    expected.optional.clear();
  }
  if (saves && stop.finished) expected.optional.clear();
  if (loss == Loss::kPower) {
    for (const int i : plot.expected.optional) {
      for (const char* flag : {"\\Seen", "\\Flagged", "mine"}) expected.unsure.insert({i, flag});
    }
    // The sequences are never flushed: when they grew, the last line may be torn.
    if (saves) expected.unsure.insert({{1, "mine"}, {5, "mine"}});
    if (plot.name.starts_with("Annotated")) expected.unsure.insert({4, "\\Answered"});
  }
  return expected;
}

std::vector<Plot> plots() {
  Expected arrived = as_put();
  arrived.flags[6] = {};
  arrived.flags[7] = {};
  const auto arrive = [](const TempDir& tree) {
    put(tree, "6", mail(6));
    put(tree, "7", mail(7));
    tree.write("Mail/inbox/.mh_sequences", "cur: 2\nunseen: 2 4 6-7\nflagged: 3\nmine: 1 5\n");
  };
  std::vector<Plot> plots;
  plots.push_back({"FirstOpen", put_folder, sync, as_put()});
  plots.push_back(
      {"Adoption", [](const TempDir& tree) { put_known(tree, false); }, adopt, as_put()});
  for (const bool tagged : {false, true}) {
    const std::string suffix = tagged ? "Tagged" : "Untagged";
    const auto with = [tagged](const std::function<void(const TempDir&)>& then) {
      return [tagged, then](const TempDir& tree) {
        put_known(tree, tagged);
        then(tree);
      };
    };
    plots.push_back({"Arrivals" + suffix, with(arrive), sync, arrived});
    plots.push_back({"Flags" + suffix, with(store_flags), sync, stored_flags()});
    plots.push_back({"Renames" + suffix, with(change_like_nmh), sync, changed_like_nmh()});
    plots.push_back({"Edited" + suffix, with(edit), sync, edited()});
    plots.push_back({"Annotated" + suffix, with(annotate), sync, annotated()});
    plots.push_back({"BroughtBack" + suffix, with(bring_back), sync, as_put()});
    plots.push_back({"Compaction" + suffix, with(lengthen_journal), sync_thoroughly, as_put()});
    plots.push_back({"Expunge" + suffix, with(ask_to_expunge), sync, expunged(false)});
    plots.push_back({"Backup" + suffix, with(ask_to_expunge), sync_with_backup, expunged(true)});
    plots.push_back({"Identity" + suffix, with([](const TempDir&) {}), change_identity, as_put(),
                     check_identity});
    plots.back().expected.new_validity = true;
    plots.push_back({"Pack" + suffix, with(put_gaps), pack, as_put(), check_packed});
    plots.push_back(
        {"Order" + suffix, with(put_out_of_order), order_by_number, as_put(), check_order});
    plots.back().expected.new_validity = true;
  }
  const auto known = [](const TempDir& tree) { put_known(tree, true); };
  plots.push_back({"SaveOne", known, save_one, saved({6})});
  plots.push_back({"SaveSeveral", known, save_several, saved({6, 7, 8})});
  plots.push_back({"SaveIntoNew", put_folder, save_several, saved({6, 7, 8})});
  plots.push_back({"Copy",
                   [](const TempDir& tree) {
                     put_known(tree, true);
                     put_source(tree);
                   },
                   copy, saved({6, 7, 8}), check_copies});
  plots.push_back({"Guard",
                   [](const TempDir& tree) {
                     put_known(tree, true);
                     put_guarded(tree);
                   },
                   give_back, guarded(), check_guard});
  return plots;
}

// What was there before the work, whatever is left of it.
void check_old_messages(const TempDir& tree, const Stop& stop, const Expected& expected) {
  give_dates_back(tree);
  FaultFs fs;
  fs.sleep_in_no_time();
  must(client_of(fs, tree).sync());
  std::map<int, int> found;
  for (const std::string& name : names_in(tree, "Mail/inbox")) {
    if (!message_number(name)) continue;
    const std::string content = tree.read("Mail/inbox/" + name);
    for (const auto& [i, flags] : expected.flags) {
      if (content.ends_with(mail(i))) ++found[i];
    }
  }
  for (const auto& [i, flags] : expected.flags) {
    if (expected.optional.contains(i)) continue;
    EXPECT_EQ(1, found[i]) << stop.what << ": message " << i;
  }
}

Status work_unflushed(const Plot& plot, Fs& fs, const TempDir& tree) {
  g_unflushed = true;
  const Status done = plot.work(fs, tree);
  g_unflushed = false;
  return done;
}

FolderCase unflushed_case(const Plot& plot) {
  return {
      plot.name,
      {plot.prepare, [plot](Fs& fs, const TempDir& tree) { return work_unflushed(plot, fs, tree); },
       [plot](const TempDir& tree, const Stop& stop) {
         check_old_messages(tree, stop, plot.expected);
       }}};
}

}  // namespace

std::vector<FolderCase> folder_cases(Loss loss) {
  std::vector<FolderCase> cases;
  for (const Plot& plot : plots()) {
    // In the model a rename may leave both names: of a pack that is a second message, under a UID of
    // its own. File systems with a journal leave one.
    if (loss != Loss::kProcess && plot.name.starts_with("Pack")) continue;
    if (loss == Loss::kPowerUnflushed) {
      cases.push_back(unflushed_case(plot));
      continue;
    }
    // Without a tag, or with that of another UID, and then without its inode: nothing tells which
    // message it was.
    const bool needs_inode = plot.name == "RenamesUntagged" || plot.name.starts_with("Edited") ||
                             plot.name.starts_with("BroughtBack") || plot.name == "OrderUntagged";
    if (loss == Loss::kPower && needs_inode) continue;
    const auto check_all = [plot, loss](const TempDir& tree, const Stop& stop) {
      check(tree, stop, after(plot, stop, loss), loss);
      if (plot.check_more != nullptr) plot.check_more(tree, stop);
    };
    cases.push_back({plot.name, {plot.prepare, plot.work, check_all}});
  }
  return cases;
}

}  // namespace mh::test
