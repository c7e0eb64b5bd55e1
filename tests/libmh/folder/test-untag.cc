// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Callers without an index, and the way back: Folder::sync_arrivals(), set_tagging(),
// remove_tags().
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "libmh/folder/inspect.h"
#include "libmh/system/filename.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string mail(int i) {
  return "From: a@example.org\nSubject: s" + std::to_string(i) + "\n\nThis is message " +
         std::to_string(i) + ".\n";
}

class UntagTest : public ::testing::Test {
 protected:
  UntagTest() {
    tree_.make_dir("Mail");
    tree_.make_dir("Mail/inbox");
    for (int i = 1; i <= 3; ++i) put(i, mail(i));
  }

  void put(int number, const std::string& text) {
    const std::string name = "Mail/inbox/" + std::to_string(number);
    tree_.write(name, text);
    const Fd file(::open(tree_.path(name).c_str(), O_WRONLY));
    const timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    ASSERT_EQ(0, ::futimens(file.get(), times));
  }
  std::string read(int number) const { return tree_.read("Mail/inbox/" + std::to_string(number)); }

  FolderClient session() { return FolderClient(fs_, tree_.path("Mail"), "inbox"); }
  FolderSettings settings() { return {.flags = *FlagMap::make(FlagOptions()), .warn = {}}; }
  // A process without an index; gives what it left.
  size_t sync_arrivals() {
    auto root = Root::open(fs_, tree_.path("Mail"), "");
    auto folder = Folder::open(fs_, **root, "inbox", settings(), {});
    EXPECT_TRUE((*folder)->look(false));
    EXPECT_TRUE((*folder)->lock());
    const auto done = (*folder)->sync_arrivals(false);
    EXPECT_TRUE(done);
    return done ? done->left : 0;
  }
  std::vector<std::string> workshop() {
    std::vector<std::string> names;
    for (const auto& state : std::filesystem::directory_iterator(tree_.path("Mail/.mhsync"))) {
      if (!std::filesystem::exists(state.path() / "tmp")) continue;
      for (const auto& entry : std::filesystem::directory_iterator(state.path() / "tmp"))
        names.push_back(entry.path());
    }
    return names;
  }
  std::string make_workshop() {
    std::string tmp;
    for (const auto& state : std::filesystem::directory_iterator(tree_.path("Mail/.mhsync")))
      if (is_state_dir_name(state.path().filename().string())) tmp = state.path() / "tmp";
    std::filesystem::create_directory(tmp);
    return tmp;
  }
  void remove_tags(Folder& folder) {
    ASSERT_TRUE(folder.lock());
    ASSERT_TRUE(folder.set_tagging(false));
    folder.unlock();
    ASSERT_TRUE(folder.remove_tags(SIZE_MAX, 10 * kSecond));
  }

  TempDir tree_;
  FaultFs fs_;
};

TEST_F(UntagTest, ArrivalsOfAProcessWithoutIndexAreArrivalsToTheNextSession) {
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  client.events();
  put(4, mail(4));
  EXPECT_EQ(0U, sync_arrivals());
  ASSERT_TRUE(client.sync());
  EXPECT_THAT(client.uids(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(mail(4), client.fetch(4));
  EXPECT_THAT(client.violations(), IsEmpty());
}

TEST_F(UntagTest, WhatNeedsTheFlagsOfAnIndexIsLeftToIt) {
  tree_.write("Mail/inbox/.mh_sequences", "flagged: 2\n");
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  put(2, mail(22));
  std::filesystem::remove(tree_.path("Mail/inbox/1"));
  EXPECT_EQ(3U, sync_arrivals());  // one gone; one edited is gone and new
  ASSERT_TRUE(client.sync());
  EXPECT_THAT(client.uids(), ElementsAre(3, 4));
  EXPECT_TRUE(client.flagged(4, "\\Flagged"));
  EXPECT_THAT(client.violations(), IsEmpty());
}

TEST_F(UntagTest, InAFolderWithoutIndexAllIsDoneAtOnce) {
  sync_arrivals();
  std::filesystem::remove(tree_.path("Mail/inbox/1"));
  EXPECT_EQ(0U, sync_arrivals());
  auto root = Root::look(fs_, tree_.path("Mail"), "");
  const auto view = look_at_folder(fs_, **root, "inbox", settings());
  ASSERT_TRUE(view);
  EXPECT_EQ("2-3", view->facts.alive.print_uids());
}

TEST_F(UntagTest, TagsAreTakenAwayByteForByte) {
  put(2, "Replied: yesterday\n" + mail(2));
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  ASSERT_TRUE(client.adopt_all());
  ASSERT_NE(mail(1), read(1));
  remove_tags(client.folder());
  EXPECT_EQ(mail(1), read(1));
  EXPECT_EQ("Replied: yesterday\n" + mail(2), read(2));
  client.reopen();
  ASSERT_TRUE(client.sync(true));
  EXPECT_THAT(client.uids(), ElementsAre(1, 2, 3));
  EXPECT_THAT(client.violations(), IsEmpty());
}

TEST_F(UntagTest, TagsAreNotTakenAwayWhereTheyAreToBe) {
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  const auto removed = client.folder().remove_tags(SIZE_MAX, kSecond);
  ASSERT_FALSE(removed);
  EXPECT_EQ(ErrorKind::kInvalid, removed.error().kind());
}

// A copy without tag looks like a message: a dead one must not become one.
TEST_F(UntagTest, ADeadCopyWithoutTagIsNoMessage) {
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  ASSERT_TRUE(client.adopt_all());
  tree_.write("Mail/inbox/2", "X-Note: mine\n" + read(2));
  const auto records = client.folder().records();
  ASSERT_TRUE(records);
  const FileIdentity other{.inode = (*records)[1].file.inode + 1000, .size = 10, .mtime = 5};
  const std::string tmp = make_workshop();
  const std::string dead = tmp + "/" + adoption_name({2, other.inode, other.size, other.mtime});
  const Fd file(::open(dead.c_str(), O_WRONLY | O_CREAT, 0600));
  const std::string text = "X-Note: mine\n" + mail(2);
  ASSERT_EQ(static_cast<ssize_t>(text.size()), ::write(file.get(), text.data(), text.size()));
  const std::string before = read(2);
  client.reopen();
  ASSERT_TRUE(client.sync(true));
  ASSERT_TRUE(client.adopt_all());
  EXPECT_EQ(before, read(2));
  EXPECT_THAT(workshop(), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(tree_.path("Mail/inbox/4")));
}

// Without it, what was killed in the middle of adoption was in its own way for a minute.
TEST_F(UntagTest, ACopyWhoseMakerDiedAMomentAgoIsSweptAtOnce) {
  FolderClient client = session();
  ASSERT_TRUE(client.sync());
  const auto records = client.folder().records();
  ASSERT_TRUE(records);
  const Record& record = (*records)[0];
  const std::string tmp = make_workshop();
  const std::string dead =
      tmp + "/" +
      adoption_name({record.uid, record.file.inode, record.file.size, record.file.mtime});
  { const Fd file(::open(dead.c_str(), O_WRONLY | O_CREAT, 0600)); }
  client.reopen();
  ASSERT_TRUE(client.sync());
  ASSERT_TRUE(client.adopt_all());
  EXPECT_THAT(workshop(), IsEmpty());
  EXPECT_NE(mail(1), read(1));
}

TEST(StateRootLook, MakesNothing) {
  TempDir tree;
  tree.make_dir("Mail");
  tree.make_dir("Mail/inbox");
  const auto root = Root::look(Fs::posix(), tree.path("Mail"), tree.path("elsewhere"));
  ASSERT_TRUE(root);
  EXPECT_FALSE((*root)->find("inbox"));
  EXPECT_FALSE(std::filesystem::exists(tree.path("Mail/.mhsync")));
  EXPECT_FALSE(std::filesystem::exists(tree.path("elsewhere")));
}

}  // namespace
}  // namespace mh::test
