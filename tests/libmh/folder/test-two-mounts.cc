// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A folder whose state lies on another mount: nothing can be renamed or linked between the two.
// With another device number, as on another file system; and with the same one, as where a
// directory is mounted a second time, or belongs to another quota project.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "libmh/system/filename.h"
#include "tests/support/child.h"
#include "tests/support/folder-test.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using test::FsCall;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr uint64_t kOtherDevice = 1'000'000;

class TwoMounts : public FaultFs {
 public:
  explicit TwoMounts(bool other_device) : other_device_(other_device) {}

  Status rename(int from_dir, const char* from, int to_dir, const char* to,
                RenameMode mode) override {
    if (is_state(from_dir, from) != is_state(to_dir, to)) return fail_errno("rename", from, EXDEV);
    return FaultFs::rename(from_dir, from, to_dir, to, mode);
  }
  Status link(int from_dir, const char* from, int to_dir, const char* to) override {
    if (is_state(from_dir, from) != is_state(to_dir, to)) return fail_errno("link", from, EXDEV);
    return FaultFs::link(from_dir, from, to_dir, to);
  }
  Result<FileStat> fstat(int fd) override { return seen(FaultFs::fstat(fd), is_state(fd, "")); }
  Result<FileStat> stat(int dir, const char* name, Follow follow) override {
    return seen(FaultFs::stat(dir, name, follow), is_state(dir, name));
  }

 private:
  Result<FileStat> seen(Result<FileStat> stat, bool is_state) const {
    if (stat && other_device_ && is_state) stat->device += kOtherDevice;
    return stat;
  }
  static bool is_state(int dir, const std::string& name) {
    const auto path = name.starts_with('/')
                          ? Result<std::string>(name)
                          : Fs::posix().real_path("/proc/self/fd/" + std::to_string(dir));
    return path && path->find("/.mhsync") != std::string::npos;
  }

  bool other_device_;
};

class TwoMountsTest : public test::FolderTest, public ::testing::WithParamInterface<bool> {
 protected:
  TwoMountsTest() : FolderTest(std::make_unique<TwoMounts>(GetParam())) {}
  void start() { FolderTest::start(5, "unseen: 2 4\nflagged: 3-4\n"); }
  std::vector<std::string> hidden() const {
    std::vector<std::string> names = names_in(temp_.path("Mail/inbox"));
    std::erase_if(names, [](const std::string& name) {
      return message_number(name) || name == ".mh_sequences";
    });
    return names;
  }
  void expect_whole(const std::vector<int>& messages) {
    fs_.shift_clocks(7200 * kSecond);
    must(client_.sync());
    must(client_.adopt_all());
    ASSERT_EQ(messages.size(), client_.uids().size());
    for (const int i : messages) {
      EXPECT_EQ(text(i), client_.fetch(static_cast<uint32_t>(i)).value_or("")) << i;
    }
    EXPECT_THAT(client_.violations(), IsEmpty());
    EXPECT_THAT(hidden(), IsEmpty());
    EXPECT_THAT(workshop(), IsEmpty());
  }
};

INSTANTIATE_TEST_SUITE_P(Device, TwoMountsTest, ::testing::Values(false, true),
                         [](const auto& device) { return device.param ? "Other" : "Same"; });

TEST_P(TwoMountsTest, MessagesGetTheirTags) {
  start();
  must(client_.adopt_all());
  for (int i = 1; i <= 5; ++i) EXPECT_THAT(read(std::to_string(i)), StartsWith("X-MH-UID: "));
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_THAT(client_.warnings(), IsEmpty());
  expect_whole({1, 2, 3, 4, 5});
}

TEST_P(TwoMountsTest, TagsAreTakenAwayAgain) {
  start();
  must(client_.adopt_all());
  client_.reopen();
  must(client_.open());
  must(client_.folder().lock());
  must(client_.folder().set_tagging(false));
  client_.folder().unlock();
  const auto removed = client_.folder().remove_tags(100, 60 * kSecond);
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(5u, removed->done);
  for (int i = 1; i <= 5; ++i) EXPECT_EQ(text(i), read(std::to_string(i)));
  EXPECT_THAT(hidden(), IsEmpty());
}

TEST_P(TwoMountsTest, MessagesAreRemoved) {
  start();
  client_.expunge({2, 3});
  must(client_.sync());
  EXPECT_THAT(client_.events(), ElementsAre("EXPUNGE 2", "EXPUNGE 3"));
  EXPECT_FALSE(exists("2"));
  EXPECT_FALSE(exists("3"));
  expect_whole({1, 4, 5});
}

TEST_P(TwoMountsTest, AMessageThatCameUnderTheNumberStays) {
  start();
  client_.expunge({2});
  fs_.before(FsCall::kRename, 1, [&] { run("cd " + at(".") + " && mv 5 x && rm 2 && mv x 2"); });
  must(client_.sync());
  EXPECT_EQ(text(5), read("2"));
  expect_whole({1, 3, 4, 5});
}

TEST_P(TwoMountsTest, WhatADeadProcessLeftInTheFolderIsPutBack) {
  start();
  client_.keep_index_in(temp_.path("index"));
  must(client_.sync(true));
  const int end = test::run_in_child([&] {
    TwoMounts fs(GetParam());
    FolderClient dying(fs, temp_.path("Mail"), "inbox");
    dying.keep_index_in(temp_.path("index"));
    must(dying.sync());
    dying.expunge({2});
    fs.reset();
    fs.after(FsCall::kRename, 1, [] { ::kill(::getpid(), SIGKILL); });
    must(dying.sync());
    return 0;
  });
  ASSERT_EQ(-SIGKILL, end);
  ASSERT_FALSE(exists("2"));
  FolderClient session(fs_, temp_.path("Mail"), "inbox");
  must(session.sync());
  EXPECT_EQ(text(2), session.fetch(2).value_or(""));
  EXPECT_THAT(hidden(), IsEmpty());
}

TEST_P(TwoMountsTest, MessagesAreSavedWithoutNamelessFiles) {
  start();
  const auto save = [&] {
    fs_.reset();
    fs_.fail(FsCall::kOpen, 1, EOPNOTSUPP);
    FolderClient::Mail mail;
    mail.text = text(6);
    return client_.append({mail});
  };
  auto saved = save();
  // Where the device does not tell, the first attempt does.
  if (!saved && saved.error().kind() == ErrorKind::kBusy && !GetParam()) saved = save();
  ASSERT_TRUE(saved) << saved.error().message();
  EXPECT_EQ(text(6), client_.fetch(saved->front()).value_or(""));
  EXPECT_THAT(hidden(), IsEmpty());
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_P(TwoMountsTest, ADeadCopyInTheFolderIsSwept) {
  start();
  const int end = test::run_in_child([&] {
    TwoMounts fs(GetParam());
    FolderClient dying(fs, temp_.path("Mail"), "inbox");
    must(dying.sync());
    fs.shift_clocks(120 * kSecond);
    fs.reset();
    // Another device is known from the start; else a first copy was made in vain.
    fs.before(FsCall::kRename, 1, [] { ::kill(::getpid(), SIGKILL); });
    must(dying.adopt_all());
    return 0;
  });
  ASSERT_EQ(-SIGKILL, end);
  ASSERT_THAT(hidden(), Each(StartsWith(".")));
  ASSERT_EQ(5u, hidden().size());
  client_.reopen();
  expect_whole({1, 2, 3, 4, 5});
}

}  // namespace
}  // namespace mh
