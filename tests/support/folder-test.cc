// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/folder-test.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <cstdlib>

#include "libmh/format/sequences.h"
#include "libmh/system/filename.h"

namespace mh::test {

using ::testing::IsEmpty;

FolderTest::FolderTest(std::unique_ptr<FaultFs> fs)
    : owned_fs_(std::move(fs)), fs_(*owned_fs_), client_(fs_, temp_.path("Mail"), "inbox") {
  temp_.make_dir("Mail");
  temp_.make_dir("Mail/inbox");
  fs_.sleep_in_no_time();
}

std::string FolderTest::text(int i) {
  return "Subject: message " + std::to_string(i) + "\n\nThis is " + std::to_string(i) + ".\n";
}

void FolderTest::must(const Status& done) {
  if (!done) ADD_FAILURE() << done.error().message();
}

std::string FolderTest::read(const std::string& name) const {
  return exists(name) ? temp_.read("Mail/inbox/" + name) : "there is none";
}

void FolderTest::put(const std::string& number, const std::string& content) {
  temp_.write("Mail/inbox/" + number, content);
  run("touch -d '1 hour ago' " + at(number));
}

void FolderTest::run(const std::string& command) {
  ASSERT_EQ(0, std::system(command.c_str())) << command;
}

void FolderTest::start(int count, const std::string& sequences) {
  for (int i = 1; i <= count; ++i) put(std::to_string(i), text(i));
  temp_.write("Mail/inbox/.mh_sequences", sequences);
  must(client_.sync());
  fs_.shift_clocks(120 * kSecond);
  must(client_.sync());
  client_.events();
  fs_.reset();
}

std::vector<std::string> FolderTest::names_in(const std::string& path) const {
  std::vector<std::string> names;
  const Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY));
  if (!dir) return names;
  must(Fs::posix().list(dir.get(), [&](const DirEntry& entry) {
    names.push_back(entry.name);
    return true;
  }));
  return names;
}

std::vector<std::string> FolderTest::workshop() {
  return names_in(client_.folder().location().state_dir + "/tmp");
}

NumberSet FolderTest::sequence(const std::string& name) const {
  const Sequences all = Sequences::parse(read(".mh_sequences"));
  const NumberSet* found = all.find(name);
  return found != nullptr ? *found : NumberSet();
}

void FolderTest::expect_sane(FolderClient& client) {
  client.events();
  must(client.sync());
  EXPECT_THAT(client.events(), IsEmpty());
  fs_.shift_clocks(7200 * kSecond);
  must(client.sync());
  EXPECT_THAT(client.events(), IsEmpty());
  EXPECT_THAT(client.violations(), IsEmpty());
  EXPECT_FALSE(client.folder().has_unfinished_saves());
  EXPECT_THAT(workshop(), IsEmpty());
  for (const std::string& name : names_in(temp_.path("Mail/inbox"))) {
    EXPECT_TRUE(message_number(name) || name == ".mh_sequences" || name.starts_with(',')) << name;
  }
}

}  // namespace mh::test
