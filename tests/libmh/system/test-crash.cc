// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Replacing a file and writing sequences, stopped everywhere; and that the pattern sees it when
// somebody does it wrong.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/system/filename.h"
#include "libmh/system/fs.h"
#include "libmh/system/sequences-file.h"
#include "tests/support/crash-case.h"

namespace mh {
namespace {

using test::CrashCase;
using test::Stop;
using test::TempDir;

constexpr uint64_t kOutcomes = 12;

// Another one in each run; a failure names its outcome's seed, which means the same in every run.
uint64_t seed() {
  static const uint64_t seed = std::random_device{}();
  return seed;
}

const std::string& long_text() {
  static const std::string text(3000, 'n');
  return text;
}

// Whatever happened, the file is old or new, it is new after a success, and can be replaced.
void check_replaced(const TempDir& tree, const Stop& stop) {
  const std::string now = tree.read("f");
  EXPECT_TRUE(now == long_text() || (now == "old" && !stop.finished)) << stop.what << ": " << now;
  EXPECT_TRUE(replace_file(Fs::posix(), tree.fd(), "f", "next", 0600)) << stop.what;
  EXPECT_EQ(tree.read("f"), "next");
  for (const std::string& name : tree.names())
    EXPECT_TRUE(name == "f" || is_leftover_of_state(name)) << stop.what << ": " << name;
}

CrashCase replacing() {
  return {[](const TempDir& tree) { tree.write("f", "old"); },
          [](Fs& fs, const TempDir& tree) {
            return replace_file(fs, tree.fd(), "f", long_text(), 0600);
          },
          check_replaced};
}

TEST(CrashOfReplaceFile, KilledAtEveryCall) { EXPECT_GT(kill_at_every_call(replacing()), 8); }

TEST(CrashOfReplaceFile, FailedAtEveryCall) {
  EXPECT_GT(fail_at_every_call(replacing(), {ENOSPC, EIO, EDQUOT, EROFS}), 40);
}

TEST(CrashOfReplaceFile, PowerLostAtEveryCall) {
  EXPECT_GT(lose_power_at_every_call(replacing(), kOutcomes, seed()), 60);
}

// ---- The pattern would see it ---------------------------------------------------------------

Status replace_carelessly(Fs& fs, const TempDir& tree, bool flush_file, bool flush_names) {
  MH_TRY_SET(const Fd file, fs.open(tree.fd(), "f.new.1", O_WRONLY | O_CREAT | O_EXCL, 0600));
  MH_TRY(fs.pwrite(file.get(), long_text().data(), long_text().size(), 0));
  if (flush_file) MH_TRY(fs.fsync(file.get()));
  MH_TRY(fs.rename(tree.fd(), "f.new.1", tree.fd(), "f", RenameMode::kReplace));
  return flush_names ? fs.fsync(tree.fd()) : Status();
}

// The number of outcomes in which a careless way of replacing loses something.
int losses(bool flush_file, bool flush_names) {
  int lost = 0;
  CrashCase careless = replacing();
  careless.work = [&](Fs& fs, const TempDir& tree) {
    return replace_carelessly(fs, tree, flush_file, flush_names);
  };
  careless.check = [&](const TempDir& tree, const Stop& stop) {
    const std::string now = tree.read("f");
    if (now != long_text() && (now != "old" || stop.finished)) ++lost;
  };
  lose_power_at_every_call(careless, kOutcomes, seed());
  return lost;
}

TEST(CrashPattern, SeesAFlushThatIsMissing) {
  EXPECT_EQ(losses(true, true), 0);
  EXPECT_GT(losses(false, true), 0);
  EXPECT_GT(losses(true, false), 0);
}

TEST(CrashPattern, SeesAFileWrittenInPlace) {
  int torn = 0;
  CrashCase careless = replacing();
  careless.work = [](Fs& fs, const TempDir& tree) -> Status {
    MH_TRY_SET(const Fd file, fs.open(tree.fd(), "f", O_WRONLY));
    return fs.pwrite(file.get(), long_text().data(), long_text().size(), 0);
  };
  careless.check = [&](const TempDir& tree, const Stop&) {
    if (tree.read("f") != "old" && tree.read("f") != long_text()) ++torn;
  };
  kill_at_every_call(careless);
  EXPECT_GT(torn, 0);
}

// ---- Sequences ------------------------------------------------------------------------------

constexpr const char* kOld = "cur: 1\nunseen: 1-3\n";
constexpr const char* kNew = "cur: 1\nflagged: 2\nunseen: 1-3\n";

Status write_sequences(Fs& fs, const TempDir& tree, std::string_view text) {
  MH_TRY_SET(auto hold, SequencesFile(fs, tree.fd(), {}).acquire(kSecond));
  MH_TRY(hold.read());
  MH_TRY(hold.write(text));
  return {};
}

// The repair of a caller who has the new text in his journal: he writes it again.
void check_sequences(const TempDir& tree, const Stop& stop, bool may_be_torn) {
  const std::string now = tree.read(".mh_sequences");
  if (!may_be_torn) {
    EXPECT_TRUE(now == kNew || (now == kOld && !stop.finished)) << stop.what << ": " << now;
  }
  EXPECT_GE(now.size(), std::string_view(kOld).size()) << stop.what;  // at no instant shorter
  const Status repaired =
      write_sequences(Fs::posix(), tree, std::string(kNew).append("unread:    \n"));
  EXPECT_TRUE(repaired) << stop.what << ": " << repaired.error().message();
  EXPECT_EQ(tree.names(), std::vector<std::string>{".mh_sequences"}) << stop.what;
}

CrashCase writing_sequences(bool may_be_torn) {
  return {[](const TempDir& tree) { tree.write(".mh_sequences", kOld); },
          [](Fs& fs, const TempDir& tree) { return write_sequences(fs, tree, kNew); },
          [may_be_torn](const TempDir& tree, const Stop& stop) {
            check_sequences(tree, stop, may_be_torn);
          }};
}

TEST(CrashOfSequences, KilledAtEveryCall) {
  // Inside the write the file may be a mix, which its writer's journal repairs; never shorter.
  EXPECT_GT(kill_at_every_call(writing_sequences(true)), 8);
}

TEST(CrashOfSequences, FailedAtEveryCallItIsOldOrNew) {
  EXPECT_GT(fail_at_every_call(writing_sequences(false), {ENOSPC, EIO, EDQUOT}), 40);
}

}  // namespace
}  // namespace mh
