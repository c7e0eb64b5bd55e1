// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FolderTest: a folder "inbox" in a tree of its own, a client of it, and what a test does to its
// files as somebody else.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "libmh/format/number-set.h"
#include "tests/support/fault-fs.h"
#include "tests/support/folder-client.h"
#include "tests/support/temp-dir.h"

namespace mh::test {

class FolderTest : public ::testing::Test {
 protected:
  explicit FolderTest(std::unique_ptr<FaultFs> fs = std::make_unique<FaultFs>());

  // The content of message i.
  static std::string text(int i);
  static void must(const Status& done);
  std::string at(const std::string& name) const { return temp_.path("Mail/inbox/" + name); }
  std::string read(const std::string& name) const;
  bool exists(const std::string& name) const { return temp_.exists("Mail/inbox/" + name); }
  // An hour old.
  void put(const std::string& number, const std::string& content);
  static void run(const std::string& command);
  // Messages 1 to `count` that the client knows; the sequences file is old enough to be locked by
  // all. Nothing has been told or counted.
  void start(int count, const std::string& sequences);
  std::vector<std::string> names_in(const std::string& path) const;
  // What lies in tmp/ of the state.
  std::vector<std::string> workshop();
  NumberSet sequence(const std::string& name) const;
  // Nothing changes at a later look, nothing ever was wrong, nothing of ours lies in the folder.
  void expect_sane(FolderClient& client);

  TempDir temp_;
  std::unique_ptr<FaultFs> owned_fs_;
  FaultFs& fs_;
  FolderClient client_;
};

}  // namespace mh::test
