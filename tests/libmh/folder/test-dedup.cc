// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages that are there more than once: found, compared, taken away, beside others who rename and
// remove at the worst moment.
#include "libmh/folder/dedup.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "libmh/folder/dedup-flags.h"
#include "libmh/folder/folder.h"
#include "libmh/folder/root.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using test::FsCall;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Numbers = std::vector<std::string>;

std::string text(int i, const std::string& on_the_way = "", const std::string& more = "") {
  return on_the_way + "Subject: message " + std::to_string(i) + "\nMessage-ID: <" +
         std::to_string(i) + "@x>\n\nThis is " + std::to_string(i) + ".\n" + more;
}

class DedupTest : public ::testing::Test {
 protected:
  DedupTest() {
    temp_.make_dir("Mail");
    for (const char* name : {"inbox", "lists", "dups"}) temp_.make_dir(std::string("Mail/") + name);
    fs_.sleep_in_no_time();
  }

  // "inbox/3"; a day older with each number.
  void put(const std::string& name, const std::string& content, int days_ago = 1) {
    temp_.write("Mail/" + name, content);
    const timespec then = {::time(nullptr) - days_ago * 24 * 3600, 0};
    const timespec times[2] = {then, then};
    ASSERT_EQ(0, ::utimensat(AT_FDCWD, temp_.path("Mail/" + name).c_str(), times, 0));
  }
  void run(const std::string& command) { ASSERT_EQ(0, std::system(command.c_str())) << command; }
  bool exists(const std::string& name) const { return temp_.exists("Mail/" + name); }
  std::string sequences(const std::string& folder) const {
    const std::string text = temp_.read("Mail/" + folder + "/.mh_sequences");
    return Sequences::parse(text).print();
  }

  std::vector<DuplicateGroup> find(DedupBy by, DedupKeep keep = DedupKeep::kOldest,
                                   const Numbers& folders = {"inbox", "lists"}) {
    DuplicateFinder finder(fs_, by);
    const auto go_on = [](uint64_t, uint64_t) { return true; };
    names_.clear();
    for (const std::string& folder : folders) {
      const auto added = finder.add_folder(temp_.path("Mail/" + folder), TagKey{}, go_on);
      EXPECT_TRUE(added) << added.error().message();
      if (added && *added) names_.push_back(folder);
    }
    auto groups = finder.find(keep, go_on);
    EXPECT_TRUE(groups) << groups.error().message();
    passed_over_ = finder.passed_over();
    return groups ? std::move(*groups) : std::vector<DuplicateGroup>();
  }
  std::string name_of(const ComparedMessage& message) const {
    return names_[message.folder] + "/" + std::to_string(message.number);
  }
  // "inbox/1 inbox/3" for each group.
  Numbers printed(const std::vector<DuplicateGroup>& groups) const {
    Numbers all;
    for (const DuplicateGroup& group : groups) {
      std::string line;
      for (const ComparedMessage& each : group) line += (line.empty() ? "" : " ") + name_of(each);
      all.push_back(line);
    }
    return all;
  }
  std::unique_ptr<Folder> open(const std::string& path) {
    if (!root_) {
      auto root = Root::open(fs_, temp_.path("Mail"), "");
      EXPECT_TRUE(root);
      root_ = std::move(*root);
    }
    auto map = FlagMap::make(FlagOptions());
    FolderSettings settings{.flags = std::move(*map), .warn = {}};
    settings.flush = false;  // hundreds of runs on a disk
    auto folder = Folder::open(fs_, *root_, path, std::move(settings), {});
    EXPECT_TRUE(folder) << folder.error().message();
    return std::move(*folder);
  }
  std::vector<CopyToRemove> items_of(const std::vector<DuplicateGroup>& groups) {
    std::vector<CopyToRemove> items;
    for (const DuplicateGroup& group : groups) {
      for (size_t i = 1; i < group.size(); ++i) {
        items.emplace_back();
        items.back().kept = group[0];
        items.back().copy = group[i];
      }
    }
    return items;
  }
  // Of copies within inbox.
  Status remove(std::vector<CopyToRemove>* items, CopyGoes goes = CopyGoes::kAway) {
    const auto inbox = open("inbox");
    const auto dups = goes == CopyGoes::kToFolder ? open("dups") : nullptr;
    return Folder::remove_copies(*inbox, *inbox, dups.get(), goes, *items);
  }

  test::TempDir temp_;
  FaultFs fs_;
  std::unique_ptr<Root> root_;
  Numbers names_;
  uint64_t passed_over_ = 0;
};

// ---- Finding ----------------------------------------------------------------------------------

TEST_F(DedupTest, ExactContentAndMessageIdFindWhatTheySay) {
  put("inbox/1", text(1));
  put("inbox/2", text(1, "Received: from here\n"));
  put("inbox/3", text(1));
  put("inbox/4", "Subject: other\nMessage-ID: <1@x>\n\nother\n");
  put("inbox/5", text(2));
  EXPECT_THAT(printed(find(DedupBy::kExact)), ElementsAre("inbox/1 inbox/3"));
  EXPECT_THAT(printed(find(DedupBy::kContent)), ElementsAre("inbox/1 inbox/2 inbox/3"));
  EXPECT_THAT(printed(find(DedupBy::kMessageId)), ElementsAre("inbox/1 inbox/2 inbox/3 inbox/4"));
}

TEST_F(DedupTest, AMessageWithoutAnIdIsNobodysCopyById) {
  for (const char* name : {"inbox/1", "inbox/2"}) put(name, "Subject: x\n\nb\n");
  for (const char* name : {"inbox/3", "inbox/4"}) put(name, "Message-ID: <>\n\nb\n");
  put("inbox/5", "Message-ID: <A@x>\n\nb\n");
  put("inbox/6", "Message-ID: <a@x>\n\nb\n");
  EXPECT_THAT(printed(find(DedupBy::kMessageId)), IsEmpty());
  EXPECT_THAT(printed(find(DedupBy::kExact)), ElementsAre("inbox/1 inbox/2", "inbox/3 inbox/4"));
}

TEST_F(DedupTest, OneOfThemIsKeptAsAsked) {
  put("inbox/1", text(1), 2);
  put("inbox/2", text(1), 3);
  put("lists/1", text(1), 1);
  put("lists/2", text(1), 9);
  EXPECT_THAT(printed(find(DedupBy::kExact, DedupKeep::kOldest)),
              ElementsAre("lists/2 inbox/1 inbox/2 lists/1"));
  EXPECT_THAT(printed(find(DedupBy::kExact, DedupKeep::kNewest)),
              ElementsAre("lists/1 inbox/1 inbox/2 lists/2"));
  EXPECT_THAT(printed(find(DedupBy::kExact, DedupKeep::kFirstFolder)),
              ElementsAre("inbox/2 inbox/1 lists/1 lists/2"));
  EXPECT_THAT(printed(find(DedupBy::kExact, DedupKeep::kFirstFolder, {"lists", "inbox"})),
              ElementsAre("lists/2 lists/1 inbox/1 inbox/2"));
}

TEST_F(DedupTest, AFolderUnderTwoNamesIsOneFolder) {
  put("inbox/1", text(1));
  run("ln -s inbox " + temp_.path("Mail/alias"));
  EXPECT_THAT(printed(find(DedupBy::kExact, DedupKeep::kOldest, {"inbox", "alias", "inbox"})),
              IsEmpty());
}

TEST_F(DedupTest, LargeMessagesOfOneSizeAndBeginAreToldApart) {
  for (int i = 1; i <= 6; ++i) {
    std::string body(200000, 'x');
    body[150000] = static_cast<char>('a' + i / 2);  // 1, 2 3, 4 5, 6
    put("inbox/" + std::to_string(i), "Subject: x\n\n" + body);
  }
  const Numbers pairs = {"inbox/2 inbox/3", "inbox/4 inbox/5"};
  EXPECT_EQ(printed(find(DedupBy::kExact)), pairs);
  EXPECT_EQ(printed(find(DedupBy::kContent)), pairs);
}

TEST_F(DedupTest, WhatIsBeingWrittenIsNobodysCopy) {
  put("inbox/1", text(1));
  put("inbox/2", text(1));
  FILE* writer = std::fopen(temp_.path("Mail/inbox/2").c_str(), "r+");
  EXPECT_THAT(printed(find(DedupBy::kExact)), IsEmpty());
  EXPECT_EQ(passed_over_, 1u);
  std::fclose(writer);
  EXPECT_THAT(printed(find(DedupBy::kExact)), ElementsAre("inbox/1 inbox/2"));
}

TEST_F(DedupTest, TheLineOfOurOwnAndAnnotationsDoNotCount) {
  put("inbox/1", text(1));
  put("inbox/2", text(1));
  FolderClient client(fs_, temp_.path("Mail"), "inbox");
  ASSERT_TRUE(client.sync());
  const auto adopted = client.folder().adopt(1, 10 * kSecond);
  ASSERT_TRUE(adopted);
  ASSERT_EQ(adopted->done, 1u);
  put("inbox/3", "Replied: today\n" + text(1));
  EXPECT_THAT(printed(find(DedupBy::kExact)), ElementsAre("inbox/1 inbox/2 inbox/3"));
}

// ---- Sequences --------------------------------------------------------------------------------

Sequences parsed(const std::string& text) { return Sequences::parse(text); }

TEST(DedupFlags, WhatIsKeptHasAllThatCopiesHad) {
  const auto map = FlagMap::make(FlagOptions());
  Sequences kept = parsed("cur: 9\nunseen: 1-3\nmine: 5\n");
  const KeptAndCopy pairs[] = {{1, 9}, {2, 3}};
  unite_sequences(*map, pairs, parsed("cur: 9\nunseen: 1-3\nmine: 3 5\nflagged: 9\n"),
                  SameFolder::kYes, &kept);
  EXPECT_EQ(kept.print(), "cur: 1\nunseen: 2-3\nmine: 2 5\nflagged: 1\n");
}

TEST(DedupFlags, DeletedOnlyIfAllWere) {
  const auto map = FlagMap::make(FlagOptions());
  Sequences kept = parsed("deleted: 1-2\nDeleted: 3\n");
  const KeptAndCopy pairs[] = {{1, 11}, {2, 12}, {3, 13}, {4, 14}};
  unite_sequences(*map, pairs, parsed("deleted: 11\nDeleted: 14\n"), SameFolder::kNo, &kept);
  EXPECT_EQ(kept.print(), "deleted: 1\n");
}

TEST(DedupFlags, FromAnotherFolderComeFlagsAndNotCur) {
  FlagOptions options;
  options.previous_names = {"pseq"};
  const auto map = FlagMap::make(options);
  Sequences kept = parsed("cur: 4\n");
  const KeptAndCopy pairs[] = {{1, 9}};
  const Sequences copies = parsed("cur: 9\npseq: 9\nmine: 9\n");
  unite_sequences(*map, pairs, copies, SameFolder::kNo, &kept);
  EXPECT_EQ(kept.print(), "cur: 4\nmine: 1\n");
  unite_sequences(*map, pairs, copies, SameFolder::kYes, &kept);
  EXPECT_EQ(kept.print(), "cur: 4\nmine: 1\npseq: 1\n");
}

TEST(DedupFlags, WhatMovesTakesItsFlagsAlong) {
  const auto map = FlagMap::make(FlagOptions());
  Sequences there = parsed("mine: 1 4\n");
  const NumberMove moves[] = {{9, 4}, {8, 5}};
  carry_sequences(*map, moves, parsed("cur: 9\nunseen: 8\nflagged: 9\n"), &there);
  EXPECT_EQ(there.print(), "mine: 1\nunseen: 5\nflagged: 4\n");
}

// ---- Taking away ------------------------------------------------------------------------------

class RemoveCopiesTest : public DedupTest {
 protected:
  std::vector<CopyToRemove> found() {
    put("inbox/1", text(1), 9);
    put("inbox/2", text(2), 8);
    put("inbox/3", text(1), 7);
    put("inbox/4", text(1), 6);
    temp_.write("Mail/inbox/.mh_sequences", "cur: 3\nunseen: 1 4\nflagged: 4\n");
    return items_of(find(DedupBy::kExact));
  }
  // Some of message 1 must be there, complete, under a number.
  int left() const {
    int count = 0;
    for (const char* name :
         {"inbox/1", "inbox/3", "inbox/4", "inbox/9", "dups/1", "dups/2", "dups/3"}) {
      count += exists(name) && temp_.read(std::string("Mail/") + name) == text(1) ? 1 : 0;
    }
    return count;
  }
};

TEST_F(RemoveCopiesTest, ForGood) {
  auto items = found();
  ASSERT_TRUE(remove(&items));
  EXPECT_TRUE(exists("inbox/1") && exists("inbox/2"));
  EXPECT_FALSE(exists("inbox/3") || exists("inbox/4"));
  EXPECT_EQ(sequences("inbox"), "cur: 1\nflagged: 1\n");
}

TEST_F(RemoveCopiesTest, AsRmm) {
  auto items = found();
  ASSERT_TRUE(remove(&items, CopyGoes::kToBackup));
  EXPECT_TRUE(exists("inbox/,3") && exists("inbox/,4"));
  EXPECT_FALSE(exists("inbox/3") || exists("inbox/4"));
}

TEST_F(RemoveCopiesTest, ToAnotherFolderWithTheirFlags) {
  auto items = found();
  ASSERT_TRUE(remove(&items, CopyGoes::kToFolder));
  EXPECT_EQ(left(), 3);
  EXPECT_TRUE(exists("dups/1") && exists("dups/2"));
  EXPECT_EQ(sequences("dups"), "unseen: 2\nflagged: 2\n");
  EXPECT_EQ(sequences("inbox"), "cur: 1\nflagged: 1\n");
}

TEST_F(RemoveCopiesTest, ALinkThatADeadRunHasMadeIsNotMadeTwice) {
  auto items = found();
  ASSERT_EQ(0, ::link(temp_.path("Mail/inbox/3").c_str(), temp_.path("Mail/dups/1").c_str()));
  ASSERT_TRUE(remove(&items, CopyGoes::kToFolder));
  EXPECT_EQ(left(), 3);
}

TEST_F(RemoveCopiesTest, NumbersThatMovedAreFoundAgain) {
  auto items = found();
  run("cd " + temp_.path("Mail/inbox") + " && mv 1 9 && mv 4 1");
  temp_.write("Mail/inbox/.mh_sequences", "cur: 3\nunseen: 1 9\nflagged: 1\n");
  ASSERT_TRUE(remove(&items));
  EXPECT_TRUE(exists("inbox/9"));
  EXPECT_EQ(left(), 1);
  EXPECT_EQ(sequences("inbox"), "cur: 9\nflagged: 9\n");
}

TEST_F(RemoveCopiesTest, WhatWasChangedSinceIsLeftAlone) {
  auto items = found();
  put("inbox/3", text(1, "", "more\n"), 7);
  ASSERT_TRUE(remove(&items));
  EXPECT_TRUE(exists("inbox/1") && exists("inbox/3"));
  EXPECT_FALSE(exists("inbox/4"));
  EXPECT_EQ(items[0].fate, CopyToRemove::Fate::kChanged);
  EXPECT_EQ(items[1].fate, CopyToRemove::Fate::kGone);
}

TEST_F(RemoveCopiesTest, WhereTheKeptOneIsGoneCopiesStay) {
  auto items = found();
  run("rm " + temp_.path("Mail/inbox/1"));
  ASSERT_TRUE(remove(&items));
  EXPECT_EQ(left(), 2);
}

TEST_F(RemoveCopiesTest, AnotherMessageUnderTheNumberOfTheKeptOneGetsNoFlags) {
  auto items = found();
  const std::string before = sequences("inbox");
  run("rm " + temp_.path("Mail/inbox/1"));
  put("inbox/1", text(5));
  ASSERT_TRUE(remove(&items));
  EXPECT_EQ(left(), 2);
  EXPECT_EQ(sequences("inbox"), before);
}

// The other run has decided to keep another one.
TEST_F(RemoveCopiesTest, TwoRunsAtOnceLeaveOne) {
  auto items = found();
  auto others = items_of(find(DedupBy::kExact, DedupKeep::kNewest));
  ASSERT_TRUE(remove(&items));
  ASSERT_TRUE(remove(&others));
  EXPECT_EQ(left(), 1);
}

// By a program that knows no lock, at each system call of ours.
TEST_F(RemoveCopiesTest, AnRmOfTheKeptOneUpToTheLastLookSavesTheCopy) {
  for (const CopyGoes goes : {CopyGoes::kAway, CopyGoes::kToFolder}) {
    int saved = 0, gone = 0;
    for (int n = 1, calls = n; n <= calls; ++n) {
      // Their state stays: a new one would be flushed each time.
      for (const char* name : {"inbox", "dups"}) {
        for (const auto& file :
             std::filesystem::directory_iterator(temp_.path("Mail") + "/" + name)) {
          std::filesystem::remove(file);
        }
      }
      auto items = found();
      items.resize(1);
      fs_.reset();
      fs_.before(n, [&] { ::unlink(temp_.path("Mail/inbox/1").c_str()); });
      ASSERT_TRUE(remove(&items, goes));
      calls = fs_.count();
      const Numbers trace = fs_.trace();
      fs_.reset();
      const auto last_look = std::find(trace.rbegin(), trace.rend(), "stat 1");
      const bool in_time = n <= trace.rend() - last_look;
      const bool is_gone = items[0].fate == CopyToRemove::Fate::kGone;
      EXPECT_EQ(in_time, !is_gone) << n << " " << trace[static_cast<size_t>(n) - 1];
      EXPECT_EQ(exists("inbox/3"), !is_gone);
      const auto taken_out = std::find_if(trace.rbegin(), trace.rend(), [](const auto& call) {
        return call.starts_with("rename 3 ");
      });
      if (is_gone) {
        EXPECT_NE(taken_out, trace.rend());
        EXPECT_LT(last_look, taken_out) << "the last look comes too early";
      }
      EXPECT_EQ(exists("dups/1"), is_gone && goes == CopyGoes::kToFolder);
      (is_gone ? gone : saved) += 1;
    }
    EXPECT_GT(saved, 10);
    EXPECT_GT(gone, 3);
  }
}

// ---- Sharing ----------------------------------------------------------------------------------

TEST_F(DedupTest, OnlyWholeBlocksAtTheSamePlaceCanBeShared) {
  ComparedMessage kept, copy;
  kept.file.size = 10000 + 150;
  kept.prefix = 150;
  copy = kept;
  EXPECT_EQ(shareable(kept, copy), 10150u - 4096);
  copy.prefix = 0;
  copy.file.size = 10000;
  EXPECT_EQ(shareable(kept, copy), 0u);
  kept = copy;
  EXPECT_EQ(shareable(kept, copy), 10000u);
  kept.file.size = copy.file.size = 2000;
  kept.prefix = copy.prefix = 150;
  EXPECT_EQ(shareable(kept, copy), 0u);
}

TEST_F(DedupTest, WhereTheFileSystemCannotShareItSaysSo) {
  put("inbox/1", "Subject: x\n\n" + std::string(20000, 'x'));
  put("inbox/2", "Subject: x\n\n" + std::string(20000, 'x'));
  const auto groups = find(DedupBy::kExact);
  ASSERT_EQ(groups.size(), 1u);
  fs_.fail(FsCall::kShareRange, 1, EOPNOTSUPP);
  const auto shared = share(fs_, temp_.path("Mail/inbox/1"), groups[0][0],
                            temp_.path("Mail/inbox/2"), groups[0][1]);
  ASSERT_FALSE(shared);
  EXPECT_EQ(shared.error().kind(), ErrorKind::kUnsupported);
  put("inbox/2", "Subject: y\n\n" + std::string(20000, 'x'), 3);
  const auto changed = share(fs_, temp_.path("Mail/inbox/1"), groups[0][0],
                             temp_.path("Mail/inbox/2"), groups[0][1]);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().kind(), ErrorKind::kBusy);
}

}  // namespace
}  // namespace mh
