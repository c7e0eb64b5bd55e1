// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which state belongs to which folder, whatever was done to the directories by hand.
#include "libmh/folder/root.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/temp-dir.h"

namespace mh {
namespace {

class RootTest : public ::testing::Test {
 protected:
  void SetUp() override {
    mail_ = temp_.path() + "/Mail";
    make("");
  }

  void make(const std::string& path) { ASSERT_EQ(0, mkdir(at(path).c_str(), 0700)) << path; }
  std::string at(const std::string& path) const {
    return path.empty() ? mail_ : mail_ + "/" + path;
  }
  void write(const std::string& path, const std::string& text) { std::ofstream(at(path)) << text; }
  void run(const std::string& command) { ASSERT_EQ(0, std::system(command.c_str())) << command; }

  std::unique_ptr<Root> root(const std::string& private_root = "") {
    auto opened = Root::open(Fs::posix(), mail_, private_root);
    EXPECT_TRUE(opened) << opened.error().message();
    return std::move(*opened);
  }
  // The state of the folder for somebody who starts anew.
  Location locate(const std::string& path) {
    held_ = root();
    auto location = held_->find_or_create(path);
    EXPECT_TRUE(location) << location.error().message();
    return location ? *location : Location{};
  }
  uint32_t uidvalidity(const Location& location) {
    const Fd dir(open(location.state_dir.c_str(), O_RDONLY | O_DIRECTORY));
    auto journal = Journal::open(Fs::posix(), dir.get());
    EXPECT_TRUE(journal);
    return journal ? journal->state().header.uidvalidity : 0;
  }
  // Gives the folder's state a record of this message, as a sync would.
  void remember(const Location& location, uint32_t number) {
    struct stat st {};
    const std::string name = location.folder + "/" + std::to_string(number);
    ASSERT_EQ(0, stat(name.c_str(), &st));
    const Fd dir(open(location.state_dir.c_str(), O_RDONLY | O_DIRECTORY));
    auto journal = Journal::open(Fs::posix(), dir.get());
    ASSERT_TRUE(journal);
    Record record;
    record.uid = number;
    record.number = number;
    record.file.inode = st.st_ino;
    record.file.size = static_cast<uint64_t>(st.st_size);
    record.file.mtime = st.st_mtim.tv_sec * kSecond + st.st_mtim.tv_nsec;
    journal->add_uidnext_limit(number + 1);
    journal->add_record(record);
    ASSERT_TRUE(journal->append());
    ASSERT_TRUE(journal->flush());
  }

  test::TempDir temp_;
  std::string mail_;
  std::unique_ptr<Root> held_;
};

TEST_F(RootTest, FolderKeepsItsState) {
  make("inbox");
  const Location first = locate("inbox");
  EXPECT_EQ(first.guid, locate("inbox").guid);
  EXPECT_EQ(mail_ + "/.mhsync/" + guid_text(first.guid), first.state_dir);
}

TEST_F(RootTest, FindDoesNotMakeState) {
  make("inbox");
  const auto found = root()->find("inbox");
  ASSERT_FALSE(found);
  EXPECT_EQ(ErrorKind::kNotFound, found.error().kind());
  EXPECT_EQ(ErrorKind::kNotFound, root()->find("nowhere").error().kind());
}

TEST_F(RootTest, NoTwoFoldersShareAUidvalidity) {
  make("a");
  make("b");
  make("c");
  const uint32_t a = uidvalidity(locate("a"));
  const uint32_t b = uidvalidity(locate("b"));
  EXPECT_LT(a, b);
  EXPECT_LT(b, uidvalidity(locate("c")));
}

TEST_F(RootTest, NoTwoFoldersShareAUidvalidityAfterLossOfTheCatalogue) {
  make("a");
  make("b");
  const uint32_t a = uidvalidity(locate("a"));
  run("rm " + at(".mhsync/folders"));
  EXPECT_LT(a, uidvalidity(locate("b")));
}

TEST_F(RootTest, MovedFolderTakesItsStateAlong) {
  make("old");
  const Location before = locate("old");
  ASSERT_EQ(0, rename(at("old").c_str(), at("new").c_str()));
  EXPECT_EQ(before.guid, locate("new").guid);
}

TEST_F(RootTest, MovedFolderLeavesItsOldNameFree) {
  make("old");
  write("old/1", "Subject: one\n\nbody\n");
  const Location before = locate("old");
  remember(before, 1);
  ASSERT_EQ(0, rename(at("old").c_str(), at("new").c_str()));
  make("old");
  write("old/1", "Subject: one\n\nbody\n");
  const Location after = locate("old");
  EXPECT_NE(before.guid, after.guid);
  EXPECT_LT(uidvalidity(before), uidvalidity(after));
}

TEST_F(RootTest, SwappedFoldersSwapTheirState) {
  make("a");
  make("b");
  const Guid a = locate("a").guid;
  const Guid b = locate("b").guid;
  run("cd " + mail_ + " && mv a x && mv b a && mv x b");
  EXPECT_EQ(b, locate("a").guid);
  EXPECT_EQ(a, locate("b").guid);
}

TEST_F(RootTest, FolderRemovedAndMadeAgainIsAnotherOne) {
  make("a");
  write("a/1", "Subject: one\n\nbody\n");
  const Location before = locate("a");
  remember(before, 1);
  run("rm -r " + at("a"));
  make("a");
  const Location after = locate("a");
  EXPECT_NE(before.guid, after.guid);
  EXPECT_LT(uidvalidity(before), uidvalidity(after));
}

TEST_F(RootTest, RestoredFolderGetsItsStateBack) {
  make("a");
  write("a/1", "Subject: one\n\nbody\n");
  const Location before = locate("a");
  remember(before, 1);
  run("cd " + mail_ + " && cp -a a " + temp_.path() + "/backup && rm -r a && cp -a " +
      temp_.path() + "/backup a");
  EXPECT_EQ(before.guid, locate("a").guid);
}

TEST_F(RootTest, RestoredTreeGetsItsStatesBack) {
  make("a");
  make("a/deep");
  write("a/1", "Subject: one\n\nbody\n");
  write("a/deep/7", "Subject: seven\n\nbody\n");
  const Location a = locate("a");
  remember(a, 1);
  const Location deep = locate("a/deep");
  remember(deep, 7);
  const std::string backup = temp_.path() + "/backup";
  run("cp -a " + mail_ + " " + backup + " && rm -r " + mail_ + " && cp -a " + backup + " " + mail_);
  EXPECT_EQ(a.guid, locate("a").guid);
  EXPECT_EQ(deep.guid, locate("a/deep").guid);
}

TEST_F(RootTest, CopiedFolderIsAnotherOne) {
  make("a");
  write("a/1", "Subject: one\n\nbody\n");
  const Location original = locate("a");
  remember(original, 1);
  run("cd " + mail_ + " && cp -a a b");
  EXPECT_NE(original.guid, locate("b").guid);
  EXPECT_EQ(original.guid, locate("a").guid);
}

TEST_F(RootTest, LostCatalogueIsMadeFromTheJournals) {
  make("a");
  const Guid a = locate("a").guid;
  ASSERT_EQ(0, unlink(at(".mhsync/folders").c_str()));
  EXPECT_EQ(a, locate("a").guid);
}

TEST_F(RootTest, TornCatalogueIsMadeFromTheJournals) {
  make("a");
  make("b");
  const Guid a = locate("a").guid;
  const Guid b = locate("b").guid;
  run("head -c 100 " + at(".mhsync/folders") + " > " + at("t") + " && cp " + at("t") + " " +
      at(".mhsync/folders"));
  EXPECT_EQ(a, locate("a").guid);
  EXPECT_EQ(b, locate("b").guid);
  make("c");
  EXPECT_NE(a, locate("c").guid);
}

TEST_F(RootTest, LinkedFolderOfAnotherTreeHasTheStateOfThatTree) {
  const std::string other = temp_.path() + "/Other";
  run("mkdir -p " + other + "/shared");
  auto there = Root::open(Fs::posix(), other, "");
  ASSERT_TRUE(there);
  const auto location = (*there)->find_or_create("shared");
  ASSERT_TRUE(location);
  ASSERT_EQ(0, symlink((other + "/shared").c_str(), at("link").c_str()));
  const Location linked = locate("link");
  EXPECT_EQ(location->guid, linked.guid);
  EXPECT_TRUE(linked.may_tag);
}

TEST_F(RootTest, LinkedFolderOutsideOfAnyTreeIsNotTagged) {
  run("mkdir " + temp_.path() + "/elsewhere");
  ASSERT_EQ(0, symlink((temp_.path() + "/elsewhere").c_str(), at("link").c_str()));
  const Location linked = locate("link");
  EXPECT_FALSE(linked.may_tag);
  EXPECT_EQ(0u, linked.state_dir.find(mail_));
}

TEST_F(RootTest, LinkWithinTheTreeLeadsToTheSameState) {
  make("a");
  ASSERT_EQ(0, symlink("a", at("b").c_str()));
  const Guid a = locate("a").guid;
  EXPECT_EQ(a, locate("b").guid);
  EXPECT_EQ(a, locate("a").guid);
}

TEST_F(RootTest, TreeWithinATreeKeepsItsOwnState) {
  make("work");
  make("work/x");
  auto inner = Root::open(Fs::posix(), at("work"), "");
  ASSERT_TRUE(inner);
  const auto location = (*inner)->find_or_create("x");
  ASSERT_TRUE(location);
  EXPECT_EQ(location->guid, locate("work/x").guid);
}

TEST_F(RootTest, TreeThatCannotBeWrittenIsServedFromThePrivateRoot) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  make("a");
  ASSERT_EQ(0, chmod(mail_.c_str(), 0500));
  held_ = root(temp_.path() + "/home/state");
  auto location = held_->find_or_create("a");
  ASSERT_EQ(0, chmod(mail_.c_str(), 0700));
  ASSERT_TRUE(location) << location.error().message();
  EXPECT_EQ(0u, location->state_dir.find(temp_.path("home/state/")));
  EXPECT_FALSE(location->may_tag);
}

// A UID of one user's own view must never be taken for one of the folder, which may get its own
// state within the same second.
TEST_F(RootTest, UidvaliditiesOfAPrivateRootAreNeverThoseOfATree) {
  const uint32_t now = static_cast<uint32_t>(Fs::posix().now() / kSecond);
  const auto given = [&](const std::string& path, bool is_private) {
    auto root = StateRoot::open(Fs::posix(), path, true, 0700, static_cast<gid_t>(-1));
    EXPECT_TRUE(root);
    if (is_private) (*root)->set_private();
    const auto lock = (*root)->lock(kSecond);
    const auto first = (*root)->new_uidvalidity(0);
    const auto second = (*root)->new_uidvalidity(0);
    EXPECT_TRUE(first && second && *second > *first);
    return *first;
  };
  const uint32_t own = given(temp_.path("own"), true);
  const uint32_t of_all = given(temp_.path("all"), false);
  EXPECT_GE(of_all, now);
  EXPECT_LT(own, now - (1u << 29));
  EXPECT_GE(own, kPrivateUidvalidities);
}

TEST_F(RootTest, StateHasTheRightsOfItsFolder) {
  make("a");
  ASSERT_EQ(0, chmod(at("a").c_str(), 0750));
  const Location location = locate("a");
  struct stat st {};
  ASSERT_EQ(0, stat(location.state_dir.c_str(), &st));
  EXPECT_EQ(0750u, st.st_mode & 0777u);
  ASSERT_EQ(0, stat((location.state_dir + "/journal").c_str(), &st));
  EXPECT_EQ(0640u, st.st_mode & 0777u);
}

TEST_F(RootTest, SecretIsMadeOnceAndKept) {
  make("a");
  const TagKey key = locate("a").root->key();
  EXPECT_EQ(key, locate("a").root->key());
  EXPECT_NE(TagKey{}, key);
}

TEST_F(RootTest, DamagedSecretIsNotReplacedSilently) {
  make("a");
  locate("a");
  write(".mhsync/secret", "rubbish\n");
  const auto opened = Root::open(Fs::posix(), mail_, "");
  ASSERT_FALSE(opened);
  EXPECT_EQ(ErrorKind::kCorrupt, opened.error().kind());
}

}  // namespace
}  // namespace mh
