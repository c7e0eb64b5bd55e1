// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/probe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "libmh/format/fingerprint.h"
#include "libmh/format/visible-part.h"
#include "tests/support/fault-fs.h"
#include "tests/support/temp-dir.h"

namespace mh::test {
namespace {

using State = Probe::State;
using TagKind = Probe::TagKind;

constexpr TagKey kKey{1, 2, 3};
const std::string kShort = "Subject: short\nDelivery-Date: Fri, 13 Feb 2009 23:31:30 +0000\n\nx\n";

std::string long_text() { return "Subject: long\n\n" + std::string(100000, 'x') + "end\n"; }

class ProbeTest : public ::testing::Test {
 protected:
  // A file that was written long enough ago, as far as `fs` knows.
  void make(uint32_t number, const std::string& text) {
    dir.write(std::to_string(number), text);
    fs.sleep(3600 * kSecond);
  }
  void SetUp() override { fs.sleep_in_no_time(); }

  ProbeRequest request(uint32_t number, bool whole = false) {
    const auto stat = Fs::posix().stat(dir.fd(), std::to_string(number).c_str(), Follow::kNo);
    ProbeRequest made;
    made.number = number;
    if (stat) made.file = FileIdentity::of(*stat);
    made.whole = whole;
    return made;
  }
  Probe probe(uint32_t number, bool whole = false) {
    return read_probe(fs, dir.fd(), request(number, whole), kKey);
  }
  static Tag tag_for(const std::string& visible) {
    Tag tag{1700000000,          7,          {},
            1111111111,          1222222222, static_cast<uint32_t>(visible.size()),
            fingerprint(visible)};
    tag.guid.fill(9);
    return tag;
  }
  void forbid_leases() { fs.fail(FsCall::kSetLease, 1, EACCES, FaultFs::Times::kFromThenOn); }

  TempDir dir;
  FaultFs fs;
};

TEST_F(ProbeTest, AShortMessageIsReadAndHashedByOneRead) {
  make(5, kShort);
  fs.reset();
  const Probe read = probe(5);
  EXPECT_EQ(read.state, State::kRead);
  EXPECT_EQ(read.tag_kind, TagKind::kNone);
  EXPECT_EQ(read.prefix, 0u);
  EXPECT_EQ(read.file, request(5).file);
  EXPECT_EQ(read.first_hash, fingerprint(kShort));
  EXPECT_EQ(read.hash, fingerprint(kShort));
  EXPECT_EQ(read.delivery_date, 1234567890u);
  EXPECT_EQ(fs.count(FsCall::kPread), 1);
  EXPECT_EQ(fs.count(FsCall::kFstat), 1);
  EXPECT_EQ(fs.count(FsCall::kOpen), 1);
}

TEST_F(ProbeTest, OfALongMessageOnlyTheFirstBlockIsRead) {
  make(5, long_text());
  fs.reset();
  const Probe read = probe(5);
  EXPECT_EQ(read.state, State::kRead);
  EXPECT_FALSE(read.hash);
  EXPECT_EQ(read.first_hash, fingerprint(long_text().substr(0, kFirstHashSize)));
  EXPECT_EQ(std::count(fs.trace().begin(), fs.trace().end(), "pread 8192"), 1);
  EXPECT_EQ(fs.count(FsCall::kPread), 1);
}

TEST_F(ProbeTest, TheWholeIsHashedWhenAskedFor) {
  const std::string text = "From joe Mon Jan 1 00:00:00 2001\n" + long_text();
  make(5, text);
  for (const bool leased : {true, false}) {
    if (!leased) forbid_leases();
    const Probe read = probe(5, true);
    EXPECT_EQ(read.state, State::kRead);
    EXPECT_EQ(read.prefix, 33u);
    EXPECT_EQ(read.hash, fingerprint(long_text()));
  }
}

TEST_F(ProbeTest, ATagIsVerifiedAndHidden) {
  for (const std::string& visible : {kShort, long_text()}) {
    make(5, format_tag(tag_for(visible), kKey) + visible);
    const Probe read = probe(5, true);
    EXPECT_EQ(read.tag_kind, TagKind::kVerified);
    EXPECT_EQ(read.tag, tag_for(visible));
    EXPECT_EQ(read.prefix, kTagLineSize);
    EXPECT_EQ(read.first_hash, fingerprint(visible.substr(0, kFirstHashSize)));
    EXPECT_EQ(read.hash, fingerprint(visible));
    EXPECT_EQ(read.visible_size(), visible.size());
  }
}

TEST_F(ProbeTest, ATagOfAnotherRootTellsGuidAndDatesOnlyAtTheTop) {
  const std::string tag = format_tag(tag_for(kShort), TagKey{9});
  make(5, "From joe Mon Jan 1 00:00:00 2001\n" + tag + kShort);
  EXPECT_EQ(probe(5).tag_kind, TagKind::kUnverified);
  EXPECT_TRUE(probe(5).tag_is_first);
  make(6, "Replied: x\n" + tag + kShort);
  const Probe read = probe(6);
  EXPECT_EQ(read.tag_kind, TagKind::kUnverified);
  EXPECT_FALSE(read.tag_is_first);
  EXPECT_TRUE(read.replied);
  EXPECT_EQ(read.delivery_date, 1234567890u);
  make(7, std::string(tag_placeholder()) + kShort);
  EXPECT_FALSE(probe(7).tag_is_first);
  EXPECT_EQ(probe(7).prefix, kTagLineSize);
}

TEST_F(ProbeTest, TheRecordedTagIsFoundWhateverItsCheck) {
  make(5, "Replied: x\nForwarded: y\n" + format_tag(tag_for("old"), TagKey{9}) + kShort);
  ProbeRequest wanted = request(5);
  wanted.recorded = tag_for("old");
  const Probe read = read_probe(fs, dir.fd(), wanted, kKey);
  EXPECT_EQ(read.tag_kind, TagKind::kRecorded);
  EXPECT_TRUE(read.replied);
  EXPECT_TRUE(read.forwarded);
  EXPECT_EQ(read.hash, fingerprint(kShort));
}

// anno -component X-Label puts a field above our tag that may be anybody's.
TEST_F(ProbeTest, BelowOtherFieldsATagSpeaksForItsOwnContentOnly) {
  for (const std::string& visible : {kShort, long_text()}) {
    std::string other = visible;
    other[other.size() - 2] = 'y';
    const std::string above = "X-Label: work\n";
    const std::string tag = format_tag(tag_for(visible), kKey);
    for (const bool recorded : {false, true}) {
      make(5, above + tag + visible);
      make(6, above + tag + other);
      make(7, above + tag + visible + "longer\n");
      const auto read = [&](uint32_t number) {
        ProbeRequest wanted = request(number);
        if (recorded) wanted.recorded = tag_for(visible);
        return read_probe(fs, dir.fd(), wanted, kKey);
      };
      EXPECT_EQ(read(5).tag_kind, recorded ? TagKind::kRecorded : TagKind::kVerified);
      EXPECT_EQ(read(5).prefix, above.size() + kTagLineSize);
      EXPECT_EQ(read(5).hash, fingerprint(visible));
      for (const uint32_t number : {6u, 7u}) {
        EXPECT_EQ(read(number).tag_kind, TagKind::kNone) << number;
        EXPECT_EQ(read(number).prefix, 0u);
        const std::string all = dir.read(std::to_string(number));
        EXPECT_EQ(read(number).first_hash, fingerprint(all.substr(0, kFirstHashSize)));
        const auto hash = read(number).hash;
        if (all.size() <= kFirstRead) {
          EXPECT_EQ(hash, fingerprint(all));
        } else {
          EXPECT_FALSE(hash) << "that of other bytes";
        }
      }
    }
  }
}

TEST_F(ProbeTest, ATagBelowManyAnnotationsIsFound) {
  std::string above;
  while (above.size() < 20000) above += "Replied: Mon, 1 Jan 2001 00:00:00 +0000\n";
  make(5, above + format_tag(tag_for(long_text()), kKey) + long_text());
  const Probe read = probe(5, true);
  EXPECT_EQ(read.tag_kind, TagKind::kVerified);
  EXPECT_EQ(read.prefix, above.size() + kTagLineSize);
  EXPECT_EQ(read.hash, fingerprint(long_text()));
}

TEST_F(ProbeTest, TheFirstBlockMayLieBeyondTheFirstRead) {
  std::string above;
  while (above.size() < kFirstRead - 500) above += "Replied: Mon, 1 Jan 2001 00:00:00 +0000\n";
  make(5, above + long_text());
  const Probe read = probe(5);
  EXPECT_EQ(read.prefix, above.size());
  EXPECT_EQ(read.first_hash, fingerprint(long_text().substr(0, kFirstHashSize)));
  EXPECT_FALSE(read.hash);
}

TEST_F(ProbeTest, AHeaderWithoutEndIsReadNoFurtherThanAPrefixMayReach) {
  std::string endless;
  while (endless.size() < 300000) endless += "X-Field: value\n";
  make(5, endless);
  fs.reset();
  const Probe read = probe(5);
  EXPECT_EQ(read.state, State::kRead);
  EXPECT_EQ(read.prefix, 0u);
  EXPECT_LE(fs.count(FsCall::kPread), 2);
}

TEST_F(ProbeTest, WhatIsNoMessageAnyMoreIsGone) {
  make(5, kShort);
  const ProbeRequest wanted = request(5);
  const auto again = [&] { return read_probe(fs, dir.fd(), wanted, kKey).state; };
  ::unlink(dir.path("5").c_str());
  EXPECT_EQ(again(), State::kGone);
  ASSERT_EQ(::mkfifo(dir.path("5").c_str(), 0600), 0);
  EXPECT_EQ(again(), State::kGone) << "and does not hang";
  EXPECT_EQ(probe(5).state, State::kGone) << "meant or not";
  ::unlink(dir.path("5").c_str());
  dir.write("target", kShort);
  ASSERT_EQ(::symlink("target", dir.path("5").c_str()), 0);
  EXPECT_EQ(again(), State::kGone);
  ProbeRequest through = wanted;
  through.file = FileIdentity::of(*fs.stat(dir.fd(), "target", Follow::kNo));
  EXPECT_EQ(read_probe(fs, dir.fd(), through, kKey).state, State::kGone) << "no link is followed";
  ::unlink(dir.path("5").c_str());
  dir.make_dir("5");
  EXPECT_EQ(again(), State::kGone);
  ::rmdir(dir.path("5").c_str());
  dir.write("other", kShort);  // so that the inode is another one
  dir.write("5", kShort);
  ProbeRequest before = wanted;
  before.file.birth -= 1;
  EXPECT_EQ(read_probe(fs, dir.fd(), before, kKey).state, State::kGone);
  before = wanted;
  before.file.inode += 1000000;
  EXPECT_EQ(read_probe(fs, dir.fd(), before, kKey).state, State::kGone);
}

TEST_F(ProbeTest, UnreadableIsPermissionOrAFailingDisk) {
  make(5, kShort);
  for (const int error : {EACCES, EIO}) {
    fs.reset();
    fs.fail(FsCall::kOpen, 1, error, FaultFs::Times::kFromThenOn);
    EXPECT_EQ(probe(5).state, State::kUnreadable);
    EXPECT_TRUE(probe(5).file.same_file(request(5).file));
  }
  fs.reset();
  fs.fail(FsCall::kPread, 1, EIO);
  EXPECT_EQ(probe(5).state, State::kUnreadable);
}

TEST_F(ProbeTest, WhatWeLackTheMeansForWaits) {
  make(5, kShort);
  for (const int error : {EMFILE, ENFILE, ENOMEM, EAGAIN}) {
    fs.reset();
    fs.fail(FsCall::kOpen, 1, error, FaultFs::Times::kFromThenOn);
    EXPECT_EQ(probe(5).state, State::kBeingWritten);
  }
}

TEST_F(ProbeTest, AFileOfAnotherOwnerIsOpenedWithoutNoatime) {
  make(5, kShort);
  fs.fail(FsCall::kOpen, 1, EPERM);
  EXPECT_EQ(probe(5).state, State::kRead);
}

TEST_F(ProbeTest, AFileThatIsOpenForWritingWaits) {
  make(5, kShort);
  const int writer = ::open(dir.path("5").c_str(), O_WRONLY | O_APPEND);
  EXPECT_EQ(probe(5).state, State::kBeingWritten) << "however long it was quiet";
  ::close(writer);
  EXPECT_EQ(probe(5).state, State::kRead);
}

TEST_F(ProbeTest, WithoutALeaseAFileMustHaveBeenQuiet) {
  dir.write("5", kShort);
  forbid_leases();
  EXPECT_EQ(probe(5).state, State::kBeingWritten);
  fs.sleep(kQuiet + kSecond);
  EXPECT_EQ(probe(5).state, State::kRead);
}

TEST_F(ProbeTest, AClockThatWasSetBackIsNotWaitedFor) {
  class PastFs : public FaultFs {
   public:
    Nanoseconds now() override { return FaultFs::now() - 5 * 24 * 3600 * kSecond; }
  } past;
  dir.write("5", kShort);
  dir.write("6", "");
  past.fail(FsCall::kSetLease, 1, EACCES, FaultFs::Times::kFromThenOn);
  for (const uint32_t number : {5u, 6u}) {
    EXPECT_EQ(read_probe(past, dir.fd(), request(number), kKey).state, State::kRead);
  }
}

TEST_F(ProbeTest, AReadThatEndsEarlyProvesNothing) {
  make(5, long_text());
  fs.select({FsCall::kPread});
  for (const int nth : {1, 2}) {
    fs.reset();
    fs.cut_at(nth, 100, 0);
    EXPECT_EQ(probe(5, true).state, State::kBeingWritten);
  }
}

TEST_F(ProbeTest, AnEmptyFileWaitsAndIsAnEmptyMessageThen) {
  dir.write("5", "");
  EXPECT_EQ(probe(5).state, State::kBeingWritten);
  fs.sleep(kEmptyWait + kSecond);
  const Probe read = probe(5);
  EXPECT_EQ(read.state, State::kRead);
  EXPECT_EQ(read.visible_size(), 0u);
  EXPECT_EQ(read.hash, fingerprint(""));
}

TEST_F(ProbeTest, AWriterWhoComesWhileALongFileIsReadGetsHisTurn) {
  make(5, long_text());
  fs.after(FsCall::kPread, 2, [&] {
    EXPECT_EQ(::open(dir.path("5").c_str(), O_WRONLY | O_NONBLOCK), -1);
    EXPECT_EQ(errno, EWOULDBLOCK);
  });
  const int before = fs.count(FsCall::kPread);
  EXPECT_EQ(probe(5, true).state, State::kBeingWritten);
  EXPECT_EQ(fs.count(FsCall::kPread), before + 2) << "no more is read once he waits";
  const int writer = ::open(dir.path("5").c_str(), O_WRONLY | O_NONBLOCK);
  EXPECT_GE(writer, 0) << "the lease was given back";
  ::close(writer);
}

TEST_F(ProbeTest, WithoutALeaseAChangeDuringTheReadIsNoticed) {
  for (const bool shorter : {false, true}) {
    make(5, long_text());
    fs.reset();
    forbid_leases();
    fs.after(FsCall::kPread, 1, [&] { dir.write("5", shorter ? "x" : long_text()); });
    EXPECT_EQ(probe(5, true).state, State::kBeingWritten);
  }
}

TEST_F(ProbeTest, AnOpenFileKeepsOffsetAndLease) {
  make(5, kShort);
  Fd fd = *fs.open(dir.fd(), "5", O_RDONLY, 0);
  ASSERT_EQ(::lseek(fd.get(), 3, SEEK_SET), 3);
  EXPECT_EQ(probe_open_file(fs, fd.get(), request(5), kKey).state, State::kRead);
  EXPECT_EQ(*fs.get_lease(fd.get()), Lease::kNone);
  ASSERT_TRUE(fs.set_lease(fd.get(), Lease::kRead));
  EXPECT_EQ(probe_open_file(fs, fd.get(), request(5), kKey).hash, fingerprint(kShort));
  EXPECT_EQ(*fs.get_lease(fd.get()), Lease::kRead);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 3);
}

TEST_F(ProbeTest, NulBytesAndLinesWithoutEndAreContent) {
  for (const std::string& text :
       {std::string("\0\0\0", 3), std::string(200000, 'a'), std::string("no header"),
        std::string("From without newline"), std::string("\n"), std::string("X-MH-UID: 1.1\n\n")}) {
    make(5, text);
    const Probe read = probe(5, true);
    EXPECT_EQ(read.state, State::kRead);
    EXPECT_EQ(read.hash, fingerprint(text.substr(read.prefix)));
  }
}

}  // namespace
}  // namespace mh::test
