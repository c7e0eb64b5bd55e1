// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-cases.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "libmh/format/sequences.h"
#include "libmh/store/journal.h"
#include "libmh/system/filename.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"

namespace mh::test {
namespace {

using ::testing::IsEmpty;

constexpr uint32_t kOldDate = kDate / kSecond;
constexpr uint64_t kManyLines = 2200;  // a journal to be compacted

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
  work_without_flushes(true);
  const Status done = plot.work(fs, tree);
  work_without_flushes(false);
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
