// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Many new messages at once: Folder::look_at_part(), and adoption with one flush for many copies.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/power-loss-fs.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr size_t kPart = 4;

std::string mail(int i) {
  return "From: a@example.org\nSubject: s" + std::to_string(i) + "\n\nThis is message " +
         std::to_string(i) + ".\n";
}

class PartsTest : public ::testing::Test {
 protected:
  PartsTest() {
    tree_.make_dir("Mail");
    tree_.make_dir("Mail/inbox");
  }

  std::string path(int number) const { return tree_.path("Mail/inbox/" + std::to_string(number)); }
  void put(int number) {
    tree_.write("Mail/inbox/" + std::to_string(number), mail(number));
    const Fd file(::open(path(number).c_str(), O_WRONLY));
    const timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    ASSERT_EQ(0, ::futimens(file.get(), times));
  }
  void put_all(int count) {
    for (int i = 1; i <= count; ++i) put(i);
  }

  // A process without an index.
  void open_folder() {
    auto root = Root::open(fs_, tree_.path("Mail"), "");
    ASSERT_TRUE(root);
    root_ = std::move(*root);
    const FolderSettings settings{.flags = *FlagMap::make(FlagOptions()), .warn = {}};
    auto folder = Folder::open(fs_, *root_, "inbox", settings, {});
    ASSERT_TRUE(folder);
    folder_ = std::move(*folder);
  }
  // How many got UIDs.
  size_t sync() {
    EXPECT_TRUE(folder_->lock());
    const FolderUnlock unlock(*folder_);
    const auto done = folder_->sync_arrivals(false);
    EXPECT_TRUE(done && !done->deferred);
    return done ? done->added.size() : 0;
  }
  std::vector<size_t> all_parts() {
    std::vector<size_t> sizes;
    for (;;) {
      const auto more = folder_->look_at_part(kPart);
      EXPECT_TRUE(more);
      if (!more || !*more) break;
      sizes.push_back(sync());
    }
    EXPECT_TRUE(folder_->look(false));
    sizes.push_back(sync());
    return sizes;
  }
  std::vector<uint32_t> numbers_by_uid() {
    std::vector<uint32_t> numbers;
    const auto records = folder_->records();
    EXPECT_TRUE(records);
    if (!records) return numbers;
    for (const Record& record : *records) numbers.push_back(record.number);
    return numbers;
  }

  TempDir tree_;
  FaultFs fs_;
  std::unique_ptr<Root> root_;
  std::unique_ptr<Folder> folder_;
};

TEST_F(PartsTest, UidsAreGivenInTheOrderOfNumbersAPartAfterTheOther) {
  put_all(10);
  open_folder();
  EXPECT_THAT(all_parts(), ElementsAre(4, 4, 2, 0));
  EXPECT_THAT(numbers_by_uid(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  EXPECT_THAT(all_parts(), ElementsAre(0));  // nothing is looked at twice
}

TEST_F(PartsTest, AFewAreLookedAtWithAllOthers) {
  put_all(4);
  open_folder();
  EXPECT_THAT(all_parts(), ElementsAre(4));
}

TEST_F(PartsTest, WhatIsRemovedRenamedOrReplacedBetweenIsNeitherLostNorDoubled) {
  put_all(10);
  open_folder();
  ASSERT_TRUE(*folder_->look_at_part(kPart));
  std::filesystem::remove(path(2));
  std::filesystem::rename(path(3), path(12));
  std::filesystem::rename(path(10), path(3));
  sync();
  all_parts();
  const std::vector<uint32_t> numbers = numbers_by_uid();
  EXPECT_THAT(numbers, ::testing::UnorderedElementsAre(1, 3, 4, 5, 6, 7, 8, 9, 12));
  FolderClient client(fs_, tree_.path("Mail"), "inbox");
  ASSERT_TRUE(client.sync());
  EXPECT_EQ(mail(10), client.fetch(client.uid_of(3)));
  EXPECT_EQ(mail(3), client.fetch(client.uid_of(12)));
  EXPECT_EQ(9U, client.uids().size());
  EXPECT_THAT(client.violations(), IsEmpty());
}

TEST_F(PartsTest, ASecondNameOfAMessageInAnotherPartIsAMessageOfItsOwn) {
  put_all(9);
  std::filesystem::create_hard_link(path(1), path(10));
  open_folder();
  all_parts();
  EXPECT_THAT(numbers_by_uid(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

TEST_F(PartsTest, ASessionThatComesBetweenTakesTheFlagsAsTheSequencesSay) {
  put_all(10);
  tree_.write("Mail/inbox/.mh_sequences", "unseen: 2 9\nflagged: 3 10\n");
  open_folder();
  ASSERT_TRUE(*folder_->look_at_part(kPart));
  EXPECT_EQ(4U, sync());
  FolderClient client(fs_, tree_.path("Mail"), "inbox");
  ASSERT_TRUE(client.sync());
  EXPECT_EQ(10U, client.uids().size());
  for (const int number : {1, 2, 3, 8, 9, 10}) {
    const uint32_t uid = client.uid_of(static_cast<uint32_t>(number));
    EXPECT_EQ(number != 2 && number != 9, client.seen(uid)) << number;
    EXPECT_EQ(number == 3 || number == 10, client.flagged(uid, "\\Flagged")) << number;
  }
  all_parts();
  EXPECT_EQ(10U, numbers_by_uid().size());
}

TEST_F(PartsTest, ManyCopiesAreFlushedTogether) {
  put_all(40);
  open_folder();
  EXPECT_TRUE(folder_->look(false));
  sync();
  const int before = fs_.count(FsCall::kFsync);
  const auto adopted = folder_->adopt(SIZE_MAX, 60 * kSecond);
  ASSERT_TRUE(adopted);
  EXPECT_EQ(40U, adopted->done);
  EXPECT_GE(fs_.count(FsCall::kSyncfs), 1);
  EXPECT_LT(fs_.count(FsCall::kFsync) - before, 40);
}

TEST_F(PartsTest, WhereThatIsNotDurableEachIsFlushed) {
  put_all(40);
  open_folder();
  EXPECT_TRUE(folder_->look(false));
  sync();
  fs_.fail(FsCall::kSyncfs, 1, EOPNOTSUPP, FaultFs::Times::kFromThenOn);
  const int before = fs_.count(FsCall::kFsync);
  const auto adopted = folder_->adopt(SIZE_MAX, 60 * kSecond);
  ASSERT_TRUE(adopted);
  EXPECT_EQ(40U, adopted->done);
  EXPECT_GE(fs_.count(FsCall::kFsync) - before, 40);
}

TEST_F(PartsTest, CopiesThatCouldNotBeFlushedTakeNoMessagesPlace) {
  put_all(40);
  open_folder();
  EXPECT_TRUE(folder_->look(false));
  sync();
  fs_.fail(FsCall::kSyncfs, 1, EIO);
  EXPECT_EQ(ErrorKind::kIo, folder_->adopt(SIZE_MAX, 60 * kSecond).error().kind());
  for (int i = 1; i <= 40; ++i) {
    EXPECT_EQ(mail(i), tree_.read("Mail/inbox/" + std::to_string(i)));
  }
  ASSERT_TRUE(folder_->adopt(SIZE_MAX, 60 * kSecond));
  EXPECT_THAT(tree_.read("Mail/inbox/1"), StartsWith("X-MH-UID: "));
}

TEST_F(PartsTest, NoMessageIsLostWithThePowerWhileManyAreExchanged) {
  constexpr int kCount = 20;
  put_all(kCount);
  open_folder();
  EXPECT_TRUE(folder_->look(false));
  sync();
  PowerLossFs disk(std::filesystem::canonical(tree_.path("")));
  FaultFs stopped(disk);
  int images = 0;
  const auto lose_power = [&] {
    for (uint64_t seed = 0; seed < 2 * PowerLossFs::kFirstRandom; ++seed, ++images) {
      const TempDir left;
      disk.leave(left.path(""), seed);
      for (int i = 1; i <= kCount; ++i) {
        const std::string text = left.read("Mail/inbox/" + std::to_string(i));
        EXPECT_THAT(text, ::testing::EndsWith(mail(i))) << "seed " << seed;
      }
    }
  };
  for (const int nth : {1, kCount / 2, kCount}) stopped.after(FsCall::kRename, nth, lose_power);
  auto root = Root::open(stopped, tree_.path("Mail"), "");
  ASSERT_TRUE(root);
  const FolderSettings settings{.flags = *FlagMap::make(FlagOptions()), .warn = {}};
  auto folder = Folder::open(stopped, **root, "inbox", settings, {});
  ASSERT_TRUE(folder);
  ASSERT_TRUE((*folder)->look(false));
  const auto adopted = (*folder)->adopt(SIZE_MAX, 60 * kSecond);
  ASSERT_TRUE(adopted);
  EXPECT_EQ(size_t{kCount}, adopted->done);
  EXPECT_GE(images, 3);
  lose_power();
}

}  // namespace
}  // namespace mh::test
