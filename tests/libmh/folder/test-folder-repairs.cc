// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What stops and faults have once broken, each by itself. (The search for more is in
// test-folder-crash.cc and test-folder-faults.cc.)
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "libmh/system/filename.h"
#include "libmh/system/folder-lock.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr Nanoseconds kLater = 7200 * kSecond;

std::string mail(int i) {
  return "From: a@example.org\nSubject: s" + std::to_string(i) + "\n\nThis is message " +
         std::to_string(i) + ".\n";
}

class FolderRepair : public ::testing::Test {
 protected:
  FolderRepair() {
    tree_.make_dir("Mail");
    tree_.make_dir("Mail/inbox");
    for (int i = 1; i <= 3; ++i) put(std::to_string(i), mail(i));
    tree_.write("Mail/inbox/.mh_sequences", "flagged: 3\nunseen: 2\n");
  }

  // Old enough that nobody is thought to be writing it still.
  void put(const std::string& name, const std::string& text) {
    tree_.write("Mail/inbox/" + name, text);
    const Fd file(::open(tree_.path("Mail/inbox/" + name).c_str(), O_WRONLY));
    const timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    ASSERT_EQ(0, ::futimens(file.get(), times));
  }
  std::string read(const std::string& name) const { return tree_.read("Mail/inbox/" + name); }
  // Another process, with the same index.
  FolderClient session() {
    FolderClient client(fs_, tree_.path("Mail"), "inbox");
    client.keep_index_in(tree_.path("index"));
    return client;
  }
  void sync(FolderClient& client) {
    const Status done = client.sync();
    ASSERT_TRUE(done) << done.error().message();
  }
  std::string state_dir() {
    for (const auto& entry : std::filesystem::directory_iterator(tree_.path("Mail/.mhsync")))
      if (is_state_dir_name(entry.path().filename().string())) return entry.path();
    return "";
  }
  std::vector<std::string> workshop() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(state_dir() + "/tmp"))
      names.push_back(entry.path().filename());
    return names;
  }
  std::vector<std::string> shown(FolderClient& client) {
    std::vector<std::string> all;
    for (const uint32_t uid : client.uids()) all.push_back(client.fetch(uid).value_or("ERROR"));
    return all;
  }

  void lengthen_journal() {
    const Fd directory(::open(state_dir().c_str(), O_RDONLY | O_DIRECTORY));
    auto journal = Journal::open(Fs::posix(), directory.get());
    ASSERT_TRUE(journal);
    for (uint64_t i = 0; i < 4000; ++i) journal->add_modseq_floor(i);
    ASSERT_TRUE(journal->append() && journal->flush());
  }

  TempDir tree_;
  FaultFs fs_;
};

TEST_F(FolderRepair, NoMessageSeemsGoneWhileAnotherProcessCompactsTheJournal) {
  FolderClient writer = session();
  sync(writer);
  ASSERT_TRUE(writer.adopt_all());
  lengthen_journal();
  FaultFs other;
  FolderClient reader(other, tree_.path("Mail"), "inbox");
  reader.settings.lock_timeout = kSecond / 20;
  int looks = 0;
  for (int n = 1; n < 200; ++n) {
    fs_.before(FsCall::kRename, fs_.count(FsCall::kRename) + n, [&] {
      ++looks;
      FolderClient late(other, tree_.path("Mail"), "inbox");
      late.settings.lock_timeout = kSecond / 20;
      ASSERT_TRUE(late.open());
      const auto record = late.folder().record(1);
      EXPECT_TRUE(record || record.error().kind() == ErrorKind::kBusy) << record.error().message();
    });
  }
  FolderClient compacting = session();
  ASSERT_TRUE(compacting.open() && compacting.folder().lock());
  ASSERT_TRUE(compacting.folder().maintain(true));
  compacting.folder().unlock();
  fs_.reset();
  EXPECT_GE(looks, 2) << "before the journal and before the store get their names";
  ASSERT_TRUE(reader.sync());
  EXPECT_EQ(3u, reader.uids().size());
  EXPECT_TRUE(reader.folder().record(1));
}

// ---- Several processes ----------------------------------------------------------------------

// Its journal was read, for the lock, and its records were not: the lines between were skipped, and
// the message was given another UID.
TEST_F(FolderRepair, WhatAnotherProcessHasFoundStaysKnownWhenSomethingElseIsWritten) {
  FolderClient first = session();
  sync(first);
  ASSERT_EQ(3u, first.folder().records()->size());
  put("4", mail(4));
  FolderClient second = session();
  sync(second);
  ASSERT_EQ(4u, second.uid_of(4));

  ASSERT_TRUE(first.folder().lock());
  ASSERT_TRUE(first.folder().reserve_modseq(first.folder().modseq_floor() + 1));
  first.folder().unlock();
  EXPECT_EQ(4u, first.folder().records()->size());
  sync(first);
  EXPECT_EQ(4u, first.uid_of(4));
}

TEST_F(FolderRepair, WhatAnotherProcessHasFoundStaysKnownWhenAMessageIsSaved) {
  FolderClient first = session();
  sync(first);
  ASSERT_EQ(3u, first.folder().records()->size());
  put("4", mail(4));
  FolderClient second = session();
  sync(second);

  ASSERT_TRUE(first.folder().lock());
  auto fifth = first.folder().begin_message();
  ASSERT_TRUE(fifth);
  ASSERT_TRUE(first.folder().finish_message(*fifth, 0));
  fifth->record.uid = first.folder().uidnext();
  ASSERT_EQ(5u, fifth->record.uid);
  ASSERT_TRUE(first.folder().store_messages(std::span(&*fifth, 1), FolderMemory()));
  ASSERT_TRUE(first.folder().saves_finished());
  first.folder().unlock();
  EXPECT_EQ(5u, first.folder().records()->size());
}

// The one that has been replaced is looked at by the other process just then, and so cannot be told
// from one that is being written.
TEST_F(FolderRepair, AMessageCanBeReadWhileAnotherProcessTagsIt) {
  FolderClient reader = session();
  sync(reader);
  FolderClient adopter(Fs::posix(), tree_.path("Mail"), "inbox");
  adopter.keep_index_in(tree_.path("index"));
  sync(adopter);
  fs_.reset();
  fs_.after(FsCall::kOpen, 1, [&] { EXPECT_TRUE(adopter.adopt_all()); });
  fs_.fail(FsCall::kSetLease, 1, EAGAIN);
  const auto shown = reader.fetch(1);
  ASSERT_TRUE(shown) << shown.error().message();
  EXPECT_EQ(mail(1), *shown);
}

// ---- Adoption -------------------------------------------------------------------------------

TEST_F(FolderRepair, AdoptionGoesOnInALaterSessionOfAnUnchangedFolder) {
  FolderClient first = session();
  sync(first);
  fs_.shift_clocks(kLater);  // all is settled: the next session looks at nothing
  FolderClient quiet = session();
  sync(quiet);
  FolderClient next = session();
  sync(next);
  ASSERT_TRUE(next.adopt_all());
  EXPECT_THAT(read("1"), StartsWith("X-MH-UID: "));
  EXPECT_THAT(next.events(), IsEmpty());
}

TEST_F(FolderRepair, ASessionWithNothingToTagSweepsTheWorkshop) {
  FolderClient client = session();
  sync(client);
  // The originals stay: their exchange is done, and then every unlink fails.
  fs_.fail(FsCall::kUnlink, 1, EIO, FaultFs::Times::kFromThenOn);
  ASSERT_TRUE(client.adopt_all());
  fs_.reset();
  ASSERT_EQ(3u, workshop().size());
  fs_.shift_clocks(kLater);
  FolderClient next = session();
  sync(next);
  ASSERT_TRUE(next.adopt_all());
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_F(FolderRepair, NoCopyStaysInTheWorkshopWhenTheFolderIsLocked) {
  FolderClient client = session();
  client.settings.lock_timeout = kSecond / 100;
  sync(client);
  const Fd state(::open(state_dir().c_str(), O_RDONLY | O_DIRECTORY));
  {
    const auto held = FolderLock::acquire(Fs::posix(), state.get(), kLockFile.data(),
                                          {0600, static_cast<gid_t>(-1), kSecond});
    ASSERT_TRUE(held);
    EXPECT_FALSE(client.folder().adopt(100, kSecond));
  }
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_F(FolderRepair, NoCopyStaysInTheWorkshopWhenTheSequencesAreLocked) {
  FolderClient client = session();
  sync(client);
  const Fd file(::open(tree_.path("Mail/inbox/.mh_sequences").c_str(), O_RDWR));
  ASSERT_TRUE(Fs::posix().set_lock(file.get(), Lock::kWrite));
  EXPECT_FALSE(client.folder().adopt(100, kSecond));
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_F(FolderRepair, WhatCameUnderTheNumberAtTheExchangeIsNotRemovedAsADeadCopy) {
  FolderClient client = session();
  sync(client);
  // An editor renames its file onto the number just before the exchange, and the exchange back
  // never happens.
  fs_.reset();
  fs_.before(FsCall::kRename, 1, [&] {
    put("x", mail(9));
    ASSERT_TRUE(Fs::posix().rename(tree_.fd(), "Mail/inbox/x", tree_.fd(), "Mail/inbox/1",
                                   RenameMode::kReplace));
  });
  fs_.fail(FsCall::kRename, 2, EIO, FaultFs::Times::kFromThenOn);
  (void)client.folder().adopt(1, kSecond);
  ASSERT_LE(2, fs_.count(FsCall::kRename));
  fs_.reset();
  fs_.shift_clocks(kLater);
  for (int again = 0; again < 3; ++again) {
    FolderClient next = session();
    sync(next);
    ASSERT_TRUE(next.adopt_all());
    if (again == 0) continue;
    EXPECT_THAT(shown(next), ::testing::UnorderedElementsAre(mail(2), mail(3), mail(9)));
    EXPECT_THAT(next.violations(), IsEmpty());
  }
  EXPECT_THAT(workshop(), IsEmpty());
}

TEST_F(FolderRepair, AnOriginalThatWasPutBackIsNotPutBackAgain) {
  FolderClient client = session();
  sync(client);
  fs_.fail(FsCall::kUnlink, 1, EIO, FaultFs::Times::kFromThenOn);
  ASSERT_TRUE(client.adopt_all());
  fs_.reset();
  // A blocked writer went on in the original of a message that is gone meanwhile; who put it back
  // died before he could remove its other name.
  const std::string name = workshop().front();
  {
    const Fd original(::open((state_dir() + "/tmp/" + name).c_str(), O_WRONLY | O_APPEND));
    ASSERT_EQ(5, ::write(original.get(), "more\n", 5));
  }
  const std::string number =
      std::to_string(client.messages().at(parse_adoption_name(name)->uid).hint.number);
  ASSERT_EQ(0, ::unlink(tree_.path("Mail/inbox/" + number).c_str()));
  ASSERT_EQ(0, ::link((state_dir() + "/tmp/" + name).c_str(), tree_.path("Mail/inbox/4").c_str()));
  fs_.shift_clocks(kLater);
  FolderClient next = session();
  sync(next);
  ASSERT_TRUE(next.adopt_all());
  EXPECT_EQ(3u, next.uids().size());
  EXPECT_FALSE(tree_.exists("Mail/inbox/5"));
}

// ---- Arrivals -------------------------------------------------------------------------------

TEST_F(FolderRepair, ArrivalsThatCouldNotBeJournalledComeWithTheNextSync) {
  FolderClient client = session();
  sync(client);
  put("4", mail(4));
  tree_.write("Mail/inbox/.mh_sequences", "flagged: 3-4\nunseen: 2\n");
  bool failed = false;
  for (int nth = 1; nth < 4 && !failed; ++nth) {
    fs_.reset();
    fs_.fail(FsCall::kPwrite, nth, ENOSPC, FaultFs::Times::kFromThenOn);
    sync(client);
    failed = client.uid_of(4) == 0;
  }
  fs_.reset();
  ASSERT_TRUE(failed);
  fs_.shift_clocks(kLater);
  FolderClient next = session();
  sync(next);
  ASSERT_NE(0u, next.uid_of(4));
  EXPECT_TRUE(next.flagged(next.uid_of(4), "\\Flagged")) << read(".mh_sequences");
  EXPECT_THAT(read(".mh_sequences"), HasSubstr("flagged: 3-4"));
}

TEST_F(FolderRepair, FlagsOfAFolderFirstSeenOnAFullDiskStay) {
  tree_.make_dir("Mail/new");
  {
    FolderClient other(fs_, tree_.path("Mail"), "new");  // there is a state, and no message yet
    sync(other);
  }
  for (const char* name : {"1", "2", "3", ".mh_sequences"}) {
    ASSERT_TRUE(Fs::posix().rename(tree_.fd(), ("Mail/inbox/" + std::string(name)).c_str(),
                                   tree_.fd(), ("Mail/new/" + std::string(name)).c_str(),
                                   RenameMode::kReplace));
  }
  FolderClient client(fs_, tree_.path("Mail"), "new");
  fs_.fail(FsCall::kPwrite, fs_.count(FsCall::kPwrite) + 1, ENOSPC, FaultFs::Times::kFromThenOn);
  sync(client);
  ASSERT_THAT(client.uids(), IsEmpty());
  fs_.reset();
  for (int again = 0; again < 2; ++again) {
    fs_.shift_clocks(kLater);
    sync(client);
    ASSERT_EQ(3u, client.uids().size());
    EXPECT_TRUE(client.flagged(client.uid_of(3), "\\Flagged"));
    EXPECT_TRUE(client.seen(client.uid_of(3)));
    EXPECT_TRUE(client.seen(client.uid_of(1)));
    EXPECT_FALSE(client.seen(client.uid_of(2)));
  }
}

// ---- Sequences ------------------------------------------------------------------------------

TEST_F(FolderRepair, WhatNmhWroteInALongFileIsNotTakenForATornWrite) {
  std::string many;
  for (int i = 0; i < 120; ++i) many += "sequence" + std::to_string(i) + ": 1\n";
  tree_.write("Mail/inbox/.mh_sequences", many + "flagged: 3\nunseen: 2\n");
  FolderClient client = session();
  sync(client);
  client.store(1, "\\Flagged", true);
  sync(client);
  std::string text = read(".mh_sequences");
  const size_t at = text.find("unseen: 2");
  ASSERT_NE(std::string::npos, at) << text;
  text[at + 8] = '3';
  tree_.write("Mail/inbox/.mh_sequences", text);
  FolderClient next = session();
  sync(next);
  EXPECT_TRUE(next.seen(2));
  EXPECT_FALSE(next.seen(3));
  EXPECT_THAT(read(".mh_sequences"), HasSubstr("unseen: 3"));
  EXPECT_THAT(next.warnings(), IsEmpty());
}

}  // namespace
}  // namespace mh::test
