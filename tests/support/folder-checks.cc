// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-checks.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "libmh/format/component-text.h"
#include "libmh/format/sequences.h"
#include "libmh/system/filename.h"
#include "tests/support/fault-fs.h"

namespace mh::test {
namespace {

using ::testing::IsEmpty;

bool g_unflushed = false;

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

}  // namespace

void work_without_flushes(bool on) { g_unflushed = on; }

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

FolderClient client_of(Fs& fs, const TempDir& tree) {
  FolderClient client(fs, tree.path("Mail"), "inbox");
  client.settings.flush = !g_unflushed;
  client.keep_index_in(tree.path("index"));
  return client;
}

void must(const Status& done) {
  if (!done) ADD_FAILURE() << done.error().message();
}

Expected as_put() {
  return {{{1, {"\\Seen", "mine"}},
           {2, {}},
           {3, {"\\Seen", "\\Flagged"}},
           {4, {}},
           {5, {"\\Seen", "mine"}}}};
}

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

}  // namespace mh::test
