// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages that come in through us: their numbers, flags and UIDs, beside others who do the same.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "libmh/folder/folder.h"
#include "libmh/format/sequences.h"
#include "libmh/system/filename.h"
#include "tests/support/folder-test.h"

namespace mh {
namespace {

using test::FaultFs;
using test::FolderClient;
using test::FsCall;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Mail = FolderClient::Mail;

constexpr uint32_t kDate = 1600000000;

class SaveTest : public test::FolderTest {
 protected:
  static Mail mail(int i, std::set<std::string> flags = {}) {
    Mail mail;
    mail.text = text(i);
    mail.flags = std::move(flags);
    mail.date = kDate;
    return mail;
  }
  void start() { FolderTest::start(3, "unseen: 2\n"); }
  std::vector<uint32_t> append(FolderClient& client, const std::vector<Mail>& mails) {
    auto uids = client.append(mails);
    if (uids) return *uids;
    ADD_FAILURE() << uids.error().message();
    return {};
  }
  std::vector<uint32_t> append(const std::vector<Mail>& mails) { return append(client_, mails); }
  uint32_t number_of(uint32_t uid) { return client_.messages().at(uid).hint.number; }
  // Another process on the same folder, with an index of its own.
  FolderClient other() { return FolderClient(fs_, temp_.path("Mail"), "inbox"); }
};

TEST_F(SaveTest, AMessageGetsTheNextNumberUidAndATag) {
  start();
  EXPECT_THAT(append({mail(4)}), ElementsAre(4u));
  EXPECT_EQ(4u, number_of(4));
  EXPECT_THAT(read("4"), StartsWith("X-MH-UID: "));
  EXPECT_THAT(read("4"), EndsWith(text(4)));
  EXPECT_EQ(text(4), client_.fetch(4).value_or(""));
  EXPECT_TRUE(sequence("unseen").contains(4));
  EXPECT_TRUE(sequence("unseen").contains(2));
  const auto record = client_.folder().record(4);
  ASSERT_TRUE(record);
  EXPECT_EQ(kDate, record->internal_date);
  expect_sane(client_);
}

TEST_F(SaveTest, SeveralMessagesWithTheirFlags) {
  start();
  const auto uids = append({mail(4, {"\\Seen", "\\Flagged"}), mail(5, {"\\Answered", "work"}),
                            mail(6, {"\\Seen", "$Junk"})});
  EXPECT_THAT(uids, ElementsAre(4u, 5u, 6u));
  EXPECT_EQ("2,5", sequence("unseen").print_uids());
  EXPECT_EQ("4", sequence("flagged").print_uids());
  EXPECT_EQ("5", sequence("replied").print_uids());
  EXPECT_EQ("5", sequence("work").print_uids());
  EXPECT_EQ("6", sequence("kwzz24Junk").print_uids());
  client_.lose_index();
  must(client_.sync());
  EXPECT_TRUE(client_.seen(4));
  EXPECT_FALSE(client_.seen(5));
  EXPECT_TRUE(client_.flagged(6, "$Junk"));
  expect_sane(client_);
}

TEST_F(SaveTest, TheFirstMessageOfAnEmptyFolderIsOne) {
  append({mail(1)});
  EXPECT_TRUE(exists("1"));
  expect_sane(client_);
}

TEST_F(SaveTest, ExplicitUidsAreKept) {
  start();
  Mail late = mail(4);
  late.uid = 1000;
  EXPECT_THAT(append({late, mail(5)}), ElementsAre(1000u, 1001u));
  EXPECT_THAT(read("4"), ::testing::HasSubstr(".0000001000 "));
  EXPECT_EQ(1002u, client_.folder().uidnext());
  expect_sane(client_);
}

TEST_F(SaveTest, Pop3IdentityIsKept) {
  start();
  Mail old = mail(4);
  old.pop3.uidl = "uidl-of-another-server";
  old.pop3.order = 7;
  append({old, mail(5)});
  client_.reopen();
  must(client_.sync(true));
  const auto kept = client_.folder().pop3_identity(4);
  ASSERT_TRUE(kept);
  EXPECT_EQ("uidl-of-another-server", kept->uidl);
  EXPECT_EQ(7u, kept->order);
}

TEST_F(SaveTest, StaleEntriesOfANewNumberGo) {
  start();
  temp_.write("Mail/inbox/.mh_sequences", "unseen: 2\nflagged: 3-9\nmine: 4\n");
  append({mail(4, {"\\Seen"})});
  EXPECT_FALSE(sequence("flagged").contains(4));
  EXPECT_TRUE(sequence("flagged").contains(3));
  EXPECT_FALSE(sequence("mine").contains(4));
  must(client_.sync());
  EXPECT_FALSE(client_.flagged(4, "\\Flagged"));
  EXPECT_FALSE(client_.flagged(4, "mine"));
  expect_sane(client_);
}

TEST_F(SaveTest, AnotherProcessWasFasterSoTheGuessOfTheUidIsWrong) {
  start();
  const std::vector<Mail> ours = {mail(4), mail(5)};
  auto begun = client_.begin_append(ours);
  ASSERT_TRUE(begun);
  FolderClient second = other();
  must(second.sync());
  EXPECT_THAT(append(second, {mail(6)}), ElementsAre(4u));
  const auto uids = client_.finish_append(ours, std::move(*begun));
  ASSERT_TRUE(uids);
  EXPECT_THAT(*uids, ElementsAre(5u, 6u));
  EXPECT_EQ(text(6), client_.fetch(4).value_or(""));
  EXPECT_EQ(text(4), client_.fetch(5).value_or(""));
  EXPECT_THAT(read("5"), ::testing::HasSubstr(".0000000005 "));
  client_.reopen();
  client_.lose_index();
  must(client_.sync(true));
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5, 6));
  expect_sane(client_);
}

// Two processes share one index. The one that saves finds it up to date and lists nothing: what it
// had read of the folder before is then older than what it writes.
TEST_F(SaveTest, WhatAnotherProcessRemovedDoesNotComeBackWithTheNextSave) {
  start();
  client_.keep_index_in(temp_.path("index"));
  must(client_.sync());
  append({mail(4)});
  FolderClient second = other();
  second.keep_index_in(temp_.path("index"));
  second.expunge({2, 4});
  must(second.sync());
  ASSERT_THAT(second.uids(), ElementsAre(1, 3));
  client_.lose_index();
  client_.keep_index_in(temp_.path("index"));
  fs_.reset();
  EXPECT_THAT(append({mail(5)}), ElementsAre(5u));
  EXPECT_EQ(0, fs_.count(FsCall::kList));
  must(client_.folder().lock());
  const auto records = client_.folder().records();
  ASSERT_TRUE(records);
  std::vector<uint32_t> alive;
  for (const Record& record : *records) alive.push_back(record.uid);
  EXPECT_THAT(alive, ElementsAre(1u, 3u, 5u));
  client_.folder().unlock();
  expect_sane(client_);
}

// inc gives the number of a message that was removed to the next one at once. What it writes says
// nothing of the old one, and is waited for.
TEST_F(SaveTest, AMessageWhoseNumberIsBeingWrittenAnewIsGone) {
  start();
  must(Fs::posix().unlink(temp_.fd(), "Mail/inbox/3"));
  std::ofstream writer(at("3"));
  writer << "Subject: another";
  writer.flush();
  fs_.before(FsCall::kSleep, 3, [&] { writer.close(); });
  const auto shown = client_.fetch(3);
  ASSERT_FALSE(shown);
  EXPECT_EQ(ErrorKind::kNotFound, shown.error().kind()) << shown.error().message();
}

TEST_F(SaveTest, AMessageThatIsBeingRestoredIsShownWhenThatIsDone) {
  start();
  must(Fs::posix().unlink(temp_.fd(), "Mail/inbox/3"));
  std::ofstream writer(at("3"));
  fs_.before(FsCall::kSleep, 3, [&] {
    writer << text(3);
    writer.close();
    run("touch -d '1 hour ago' " + at("3"));
  });
  EXPECT_EQ(text(3), client_.fetch(3).value_or("none"));
}

TEST_F(SaveTest, AWriterThatDoesNotEndIsNotWaitedForForEver) {
  start();
  std::ofstream writer(at("3"), std::ios::app);
  writer << "more";
  writer.flush();
  const auto shown = client_.fetch(3);
  ASSERT_FALSE(shown);
  EXPECT_EQ(ErrorKind::kBusy, shown.error().kind());
  EXPECT_THAT(shown.error().message(), EndsWith("is being written to: try again"));
}

// No file that has a number ever bears a tag that is not its own, also where it has to be written
// again.
TEST_F(SaveTest, ATagIsRightBeforeTheFileHasItsNumber) {
  start();
  const std::vector<Mail> ours = {mail(4)};
  auto begun = client_.begin_append(ours);
  ASSERT_TRUE(begun);
  FolderClient second = other();
  must(second.sync());
  append(second, {mail(6)});
  int flushed = fs_.count(FsCall::kFdatasync);
  fs_.before(FsCall::kLinkFd, fs_.count(FsCall::kLinkFd) + 1,
             [&] { flushed = fs_.count(FsCall::kFdatasync) - flushed; });
  ASSERT_TRUE(client_.finish_append(ours, std::move(*begun)));
  EXPECT_GE(flushed, 2) << "the tag, and the journal";
}

TEST_F(SaveTest, WithoutNamelessFilesTheyAreMadeInTheWorkshop) {
  start();
  auto reference = client_.begin_append({mail(9)});
  ASSERT_TRUE(reference);
  client_.folder().drop_message(reference->front());
  fs_.reset();
  fs_.fail(FsCall::kOpen, 1, EOPNOTSUPP);
  const std::vector<Mail> mails = {mail(4, {"\\Flagged"})};
  auto begun = client_.begin_append(mails);
  ASSERT_TRUE(begun) << begun.error().message();
  EXPECT_FALSE(begun->front().temporary.empty());
  EXPECT_EQ(1u, workshop().size());
  ASSERT_TRUE(client_.finish_append(mails, std::move(*begun)));
  EXPECT_THAT(workshop(), IsEmpty());
  EXPECT_EQ(text(4), client_.fetch(4).value_or(""));
  struct stat stat {};
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(1u, stat.st_nlink);
  expect_sane(client_);
}

TEST_F(SaveTest, ANamedFileOfADeadWriterIsSweptAndThatOfALiveOneIsNot) {
  start();
  FolderClient dead = other();
  must(dead.open());
  for (FolderClient* client : {&client_, &dead}) {
    must(client->sync());
    auto first = client->begin_append({mail(9)});
    ASSERT_TRUE(first);
    client->folder().drop_message(first->front());
  }
  fs_.reset();
  fs_.fail(FsCall::kOpen, 1, EOPNOTSUPP);
  const std::vector<Mail> mails = {mail(4)};
  auto alive = client_.begin_append(mails);
  fs_.reset();
  fs_.fail(FsCall::kOpen, 1, EOPNOTSUPP);
  auto left = dead.begin_append({mail(5)});
  ASSERT_TRUE(alive && left);
  const std::string left_name = left->front().temporary;
  left->front().file.reset();  // its process died
  ASSERT_EQ(2u, workshop().size());
  FolderClient third = other();
  must(third.sync());
  EXPECT_THAT(workshop(), ElementsAre(alive->front().temporary));
  ASSERT_TRUE(client_.finish_append(mails, std::move(*alive)));
  EXPECT_THAT(workshop(), IsEmpty());
  EXPECT_EQ(text(4), client_.fetch(4).value_or(""));
  expect_sane(client_);
}

// Between the making of a file in the workshop and the lock on it somebody may sweep.
TEST_F(SaveTest, ANamedFileThatIsSweptBeforeItIsLockedIsMadeAgain) {
  start();
  auto first = client_.begin_append({mail(9)});
  ASSERT_TRUE(first);
  client_.folder().drop_message(first->front());
  fs_.reset();
  fs_.fail(FsCall::kOpen, 1, EOPNOTSUPP);
  FolderClient sweeper(Fs::posix(), temp_.path("Mail"), "inbox");
  fs_.before(FsCall::kSetLock, 1, [&] { must(sweeper.sync()); });
  const std::vector<Mail> mails = {mail(4)};
  auto begun = client_.begin_append(mails);
  ASSERT_TRUE(begun) << begun.error().message();
  const auto uids = client_.finish_append(mails, std::move(*begun));
  ASSERT_TRUE(uids) << uids.error().message();
  EXPECT_EQ(text(4), client_.fetch(4).value_or(""));
  expect_sane(client_);
}

// A number that something else has taken meanwhile is passed over.
TEST_F(SaveTest, NeverOntoANumberThatIsTaken) {
  start();
  const std::vector<Mail> mails = {mail(4)};
  fs_.before(FsCall::kLinkFd, 1, [&] { temp_.write("Mail/inbox/4", text(7)); });
  append(mails);
  EXPECT_EQ(text(7), read("4"));
  EXPECT_THAT(read("5"), EndsWith(text(4)));
  run("touch -d '1 hour ago' " + at("4"));
  must(client_.sync());
  EXPECT_EQ(text(7), client_.fetch(client_.uid_of(4)).value_or(""));
  EXPECT_EQ(text(4), client_.fetch(client_.uid_of(5)).value_or(""));
  expect_sane(client_);
}

TEST_F(SaveTest, NumbersOfMessagesThatVanishedRestTenMinutes) {
  start();
  must(Fs::posix().unlink(temp_.fd(), "Mail/inbox/3"));
  must(client_.sync());
  append({mail(4)});
  EXPECT_FALSE(exists("3"));
  EXPECT_TRUE(exists("4"));
  must(Fs::posix().unlink(temp_.fd(), "Mail/inbox/4"));
  must(client_.sync());
  fs_.shift_clocks(601 * kSecond);
  must(client_.sync());
  append({mail(5)});
  EXPECT_TRUE(exists("3"));
  expect_sane(client_);
}

TEST_F(SaveTest, APackFreesTheNumbersThatRest) {
  start();
  run("cd " + at(".") + " && rm 1 2");
  must(client_.sync());
  run("cd " + at(".") + " && mv 3 1 && printf 'unseen: 1\\n' > .mh_sequences");
  must(client_.sync());
  fs_.shift_clocks(70 * kSecond);
  must(client_.sync());
  append({mail(4)});
  EXPECT_TRUE(exists("2")) << "not behind the numbers of before the pack";
  expect_sane(client_);
}

TEST_F(SaveTest, WhereNobodyCouldLockTheNextButOneNumberIsTaken) {
  for (int i = 1; i <= 3; ++i) put(std::to_string(i), text(i));
  append({mail(4)});  // makes the sequences file
  EXPECT_FALSE(exists("4")) << "sortm's slot";
  EXPECT_TRUE(exists("5"));
  expect_sane(client_);
}

TEST_F(SaveTest, TwoClientsSaveAtOnce) {
  start();
  FolderClient second = other();
  must(second.sync());
  const std::vector<Mail> ours = {mail(4), mail(5)};
  const std::vector<Mail> theirs = {mail(6), mail(7)};
  auto a = client_.begin_append(ours);
  auto b = second.begin_append(theirs);
  ASSERT_TRUE(a && b);
  ASSERT_TRUE(client_.finish_append(ours, std::move(*a)));
  ASSERT_TRUE(second.finish_append(theirs, std::move(*b)));
  must(client_.sync());
  must(second.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(second.uids(), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  for (uint32_t uid = 1; uid <= 7; ++uid) {
    EXPECT_EQ(text(static_cast<int>(uid)), client_.fetch(uid).value_or("")) << uid;
    EXPECT_EQ(text(static_cast<int>(uid)), second.fetch(uid).value_or("")) << uid;
  }
  expect_sane(client_);
  expect_sane(second);
}

TEST_F(SaveTest, ACopyKeepsGuidAndDate) {
  start();
  temp_.make_dir("Mail/other");
  FolderClient there(fs_, temp_.path("Mail"), "other");
  Mail made = mail(8, {"\\Seen", "\\Flagged", "work"});
  append(there, {made});
  const auto uids = client_.copy_from(there, {1});
  ASSERT_TRUE(uids);
  EXPECT_THAT(*uids, ElementsAre(4u));
  EXPECT_EQ(there.folder().record(1)->guid, client_.folder().record(4)->guid);
  EXPECT_EQ(kDate, client_.folder().record(4)->internal_date);
  EXPECT_TRUE(client_.flagged(4, "work"));
  EXPECT_EQ(text(8), client_.fetch(4).value_or(""));
  const auto within = client_.copy_from(client_, {4});
  ASSERT_TRUE(within);
  EXPECT_NE(client_.folder().record(4)->guid, client_.folder().record(within->front())->guid);
  expect_sane(client_);
}

// ---- What fails -----------------------------------------------------------------------------

TEST_F(SaveTest, WhatCouldNotBeMergedBeforeASaveIsMergedAfterIt) {
  client_.settings.sequences_wait = 0;
  FolderTest::start(4, "unseen: 1\nflagged: 3\n");
  run("mv " + at("3") + " " + at("30"));
  fs_.fail(FsCall::kSetLock, 2, EAGAIN);  // of the sync before the save; 1 is the folder's own
  ASSERT_TRUE(client_.append({mail(5)}));
  EXPECT_EQ(NumberSet{3}, sequence("flagged")) << "nothing was merged yet";
  must(client_.sync());
  EXPECT_EQ(NumberSet{30}, sequence("flagged"));
  EXPECT_TRUE(client_.flagged(client_.uid_of(30), "\\Flagged"));
  expect_sane(client_);
}

TEST_F(SaveTest, NothingIsSavedWhileNmhHoldsItsLock) {
  start();
  const Fd held(::open(at(".mh_sequences").c_str(), O_RDWR));
  must(Fs::posix().set_lock(held.get(), Lock::kWrite));
  client_.settings.lock_timeout = kSecond / 10;
  client_.reopen();
  const auto refused = client_.append({mail(4), mail(5)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(ErrorKind::kBusy, refused.error().kind());
  EXPECT_FALSE(exists("4"));
  must(Fs::posix().set_lock(held.get(), Lock::kNone));
  must(client_.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3));
  append({mail(6)});
  EXPECT_EQ(4u, client_.messages().size());
  expect_sane(client_);
}

TEST_F(SaveTest, OfSeveralMessagesNoneStaysWhenOneCannotComeIn) {
  start();
  fs_.fail(FsCall::kLinkFd, 3, ENOSPC);
  EXPECT_FALSE(client_.append({mail(4), mail(5), mail(6)}));
  EXPECT_THAT(names_in(temp_.path("Mail/inbox")),
              ::testing::UnorderedElementsAre("1", "2", "3", ".mh_sequences"));
  must(client_.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3));
  const auto uids = append({mail(4)});
  ASSERT_EQ(1u, uids.size());
  EXPECT_GT(uids.front(), 6u) << "UIDs of what was undone are not given again";
  expect_sane(client_);
}

// ---- inc ------------------------------------------------------------------------------------

TEST_F(SaveTest, ANewMessageIsKeptFromIncForAMinute) {
  client_.settings.inc_guard = true;
  start();
  append({mail(4)});
  struct stat stat {};
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0u, stat.st_mode & 0222);
  must(client_.sync());
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0u, stat.st_mode & 0222) << "given back at once";
  client_.events();
  fs_.shift_clocks(61 * kSecond);
  must(client_.sync());
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0200u, stat.st_mode & 0200);
  EXPECT_THAT(client_.events(), IsEmpty());
  EXPECT_EQ(text(4), client_.fetch(4).value_or(""));
  expect_sane(client_);
}

TEST_F(SaveTest, AForeignArrivalKeepsTheGuardForAnotherMinute) {
  client_.settings.inc_guard = true;
  start();
  append({mail(4)});
  fs_.shift_clocks(50 * kSecond);
  put("5", text(5));
  must(client_.sync());
  fs_.shift_clocks(20 * kSecond);
  must(client_.sync());
  struct stat stat {};
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0u, stat.st_mode & 0222);
  fs_.shift_clocks(45 * kSecond);
  must(client_.sync());
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0200u, stat.st_mode & 0200);
}

TEST_F(SaveTest, AFolderThatOthersMayWriteToHasNoGuard) {
  client_.settings.inc_guard = true;
  ASSERT_EQ(0, ::chmod(at(".").c_str(), 0770));
  start();
  append({mail(4)});
  struct stat stat {};
  ASSERT_EQ(0, ::stat(at("4").c_str(), &stat));
  EXPECT_EQ(0200u, stat.st_mode & 0200);
}

// sortm lists the folder, waits for the lock that a delivery holds, and then takes the number of
// what was delivered for a free one.
TEST_F(SaveTest, AMessageThatSortmOverwritesGetsANumberAgain) {
  client_.settings.inc_guard = true;
  start();
  append({mail(4), mail(5)});
  EXPECT_THAT(workshop(), ::testing::UnorderedElementsAre("kept-4", "kept-5"));
  run("cd " + at("") + " && mv 1 4 && mv 2 1 && mv 4 2");
  must(client_.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(text(4), client_.fetch(4).value_or("none"));
  EXPECT_EQ(6u, number_of(4));
  EXPECT_EQ(1u, number_of(2));
  for (const std::string& event : client_.events()) EXPECT_THAT(event, StartsWith("EXISTS"));
  expect_sane(client_);
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_F(SaveTest, AMessageThatRmmRemovedStaysSoBesideARenumbering) {
  client_.settings.inc_guard = true;
  start();
  append({mail(4)});
  run("cd " + at("") + " && mv 4 ,4 && mv 3 9");
  must(client_.sync());
  EXPECT_THAT(client_.uids(), ElementsAre(1, 2, 3));
  EXPECT_TRUE(exists(",4"));
  EXPECT_THAT(workshop(), IsEmpty());
  expect_sane(client_);
}

TEST_F(SaveTest, WhatAClientRemovesHasNoSecondName) {
  client_.settings.inc_guard = true;
  start();
  append({mail(4)});
  client_.expunge({4});
  must(client_.sync());
  EXPECT_THAT(workshop(), IsEmpty());
  expect_sane(client_);
}

// A guarded message is not the newest by a date of another day that replication gives it.
TEST_F(SaveTest, TheGuardDoesNotGoByASaveDateThatWasGiven) {
  client_.settings.inc_guard = true;
  Mail old = mail(1);
  old.saved = kDate;
  append({old});
  must(client_.sync(true));
  struct stat stat {};
  ASSERT_EQ(0, ::stat(at("1").c_str(), &stat));
  EXPECT_EQ(0u, stat.st_mode & 0222) << "inc may be at work this minute";
}

}  // namespace
}  // namespace mh
