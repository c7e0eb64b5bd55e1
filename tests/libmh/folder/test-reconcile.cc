// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every row of the table of identity, and for each rule the case that it exists for.
#include "libmh/folder/reconcile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "libmh/format/fingerprint.h"
#include "tests/support/reconcile-world.h"

namespace mh::test {
namespace {

using State = Probe::State;
using Uids = std::vector<uint32_t>;

// A folder with three known messages under 1, 2, 3: UIDs 1, 2, 3. The third is a long one.
ReconcileWorld three() {
  ReconcileWorld world;
  world.create(1, "Subject: one\n\nfirst\n");
  world.create(2, "Subject: two\n\nsecond\n");
  world.create(3, long_message("third"));
  world.sync();
  return world;
}

ReconcileWorld three_adopted() {
  ReconcileWorld world = three();
  for (uint32_t uid : {1u, 2u, 3u}) world.adopt(uid);
  EXPECT_TRUE(world.plan().empty());
  return world;
}

void expect_nothing_told(const Plan& plan) {
  EXPECT_TRUE(plan.added.empty());
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_TRUE(plan.annotated.empty());
}

void expect_edited(const Plan& plan, uint32_t uid) {
  EXPECT_EQ(plan.dropped, Uids{uid});
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].edited_from, uid);
  EXPECT_FALSE(plan.added[0].keeps_guid);
}

void expect_replaced(const Plan& plan, uint32_t uid) {
  EXPECT_EQ(plan.dropped, Uids{uid});
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].edited_from);
}

Tag foreign_tag(const std::string& visible, uint8_t guid) {
  Tag tag{4711,
          77,
          {},
          1111111111,
          1222222222,
          static_cast<uint32_t>(visible.size()),
          fingerprint(visible)};
  tag.guid.fill(guid);
  return tag;
}

// ---- First sight ------------------------------------------------------------------------------

TEST(ReconcileArrival, AFirstPassReadsTheStartOfEachFileAndNothingMore) {
  ReconcileWorld world;
  for (uint32_t i = 1; i <= 50; ++i) world.create(2 * i, long_message(std::to_string(i)));
  const Plan plan = world.sync();
  EXPECT_EQ(plan.added.size(), 50u);
  EXPECT_EQ(world.rounds, 2);
  EXPECT_EQ(world.starts, 50);
  EXPECT_EQ(world.wholes, 0);
  EXPECT_EQ(world.uid_at(2), 1u);
  EXPECT_EQ(world.uid_at(100), 50u);
}

TEST(ReconcileArrival, AnUnchangedFolderAsksNothing) {
  ReconcileWorld world = three_adopted();
  EXPECT_TRUE(world.sync().empty());
  EXPECT_EQ(world.rounds, 1);
}

TEST(ReconcileArrival, TheDateIsThatOfDeliveryElseOfTheFile) {
  ReconcileWorld world;
  world.create(1, "a\n").delivery_date = 1234567890;
  world.create(2, "b\n").file.mtime = 1300000000 * kSecond + 999999999;
  world.create(3, "c\n").file.mtime = -5 * kSecond;
  world.create(4, "d\n").file.mtime = int64_t{5000000000} * kSecond;
  world.sync();
  EXPECT_EQ(world.find(1)->internal_date, 1234567890u);
  EXPECT_EQ(world.find(2)->internal_date, 1300000000u);
  EXPECT_EQ(world.find(3)->internal_date, 0u);
  EXPECT_EQ(world.find(4)->internal_date, 0xffffffffu);
  EXPECT_EQ(world.find(1)->saved, world.now);
}

TEST(ReconcileArrival, AnEmptyFolderIsAPlanOfNothing) {
  ReconcileWorld world;
  EXPECT_TRUE(world.sync().empty());
}

TEST(ReconcileArrival, AnnotationsOfAnArrivalAreToldOnceWithIt) {
  ReconcileWorld world;
  FakeFile& file = world.create(1, "a\n");
  file.annotation = 40;
  file.replied = true;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.added.at(0).replied);
  EXPECT_FALSE(plan.added.at(0).forwarded);
  EXPECT_TRUE(world.find(1)->has(Record::kRepliedSeen));
  EXPECT_EQ(world.find(1)->prefix, 40u);
}

// ---- Row: identity under another number -------------------------------------------------------

TEST(ReconcileIdentity, MovedIsKeptAndNobodyIsTold) {
  ReconcileWorld world = three_adopted();
  world.move(1, 50);
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(plan.renumbered, Uids{1});
  EXPECT_EQ(world.find(1)->number, 50u);
  EXPECT_EQ(world.starts + world.wholes, 0) << "a rename costs no reading";
}

TEST(ReconcileIdentity, SwappedIsKept) {
  ReconcileWorld world = three();
  world.move(1, 99);
  world.move(3, 1);
  world.move(99, 3);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(1), 3u);
  EXPECT_EQ(world.uid_at(3), 1u);
  EXPECT_EQ(world.uid_at(2), 2u);
}

TEST(ReconcileIdentity, PackedOverTheNumberOfARemovedOneIsKept) {
  ReconcileWorld world = three();
  world.files.erase(1);
  world.move(2, 1);
  world.move(3, 2);
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{1});
  EXPECT_TRUE(plan.added.empty());
  EXPECT_EQ(world.uid_at(1), 2u);
  EXPECT_EQ(world.uid_at(2), 3u);
}

TEST(ReconcileIdentity, AMovedCtimeDropsVerified) {
  ReconcileWorld world = three_adopted();
  world.records[0].set(Record::kVerified, true);
  world.records[1].set(Record::kVerified, true);
  world.files[1].file.ctime += 5;
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_FALSE(world.find(1)->has(Record::kVerified));
  EXPECT_TRUE(world.find(2)->has(Record::kVerified));
  EXPECT_EQ(world.starts, 0);
}

TEST(ReconcileIdentity, RemovedIsDropped) {
  ReconcileWorld world = three();
  world.files.erase(2);
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{2});
  EXPECT_TRUE(plan.added.empty());
}

TEST(ReconcileIdentity, AReusedInodeIsAnotherFile) {
  ReconcileWorld world = three();
  const FakeFile old = world.files[1];
  world.files.erase(1);
  FakeFile& other = world.create(7, old.visible);
  other.file.inode = old.file.inode;  // as ext4 does at once; the birth time differs
  other.file.mtime = old.file.mtime;
  const Plan plan = world.sync();
  expect_replaced(plan, 1);
  EXPECT_EQ(plan.added.at(0).record.number, 7u);
}

// ---- Row: only lines above the tag changed; touch ---------------------------------------------

TEST(ReconcileAnnotation, InPlaceIsKeptAndToldOnce) {
  for (const bool adopted : {false, true}) {
    ReconcileWorld world = adopted ? three_adopted() : three();
    for (uint32_t number : {1u, 3u}) {
      world.files[number].annotation += 37;
      world.files[number].replied = true;
      world.touch(world.files[number]);
    }
    Plan plan = world.sync();
    EXPECT_TRUE(plan.added.empty());
    EXPECT_TRUE(plan.dropped.empty());
    ASSERT_EQ(plan.annotated.size(), 2u);
    EXPECT_TRUE(plan.annotated[0].replied);
    EXPECT_FALSE(plan.annotated[0].forwarded);
    EXPECT_EQ(world.find(3)->has(Record::kTagged), adopted);

    world.files[1].annotation += 37;  // answered a second time
    world.files[1].forwarded = true;
    world.touch(world.files[1]);
    plan = world.sync();
    ASSERT_EQ(plan.annotated.size(), 1u);
    EXPECT_FALSE(plan.annotated[0].replied);
    EXPECT_TRUE(plan.annotated[0].forwarded);
  }
}

TEST(ReconcileAnnotation, WithUnmovedMtimeIsKept) {  // anno -preserve
  ReconcileWorld world = three();
  world.files[3].annotation += 30;
  world.files[3].file.ctime += 7;
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.find(3)->prefix, 30u);
}

TEST(ReconcileAnnotation, OfALongMessageThatWasNeverHashedVerifiesNothing) {
  ReconcileWorld world = three();
  world.files[3].annotation = 30;
  world.touch(world.files[3]);
  expect_nothing_told(world.sync());
  EXPECT_FALSE(world.find(3)->has(Record::kVerified));
}

TEST(ReconcileAnnotation, ByANewFileIsKept) {  // anno -noinplace
  ReconcileWorld world = three_adopted();
  world.files[3] = world.copy_of(world.files[3]);
  world.files[3].annotation += 30;
  world.files[3].replied = true;
  world.touch(world.files[3]);
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.added.empty());
  EXPECT_TRUE(plan.dropped.empty());
  ASSERT_EQ(plan.annotated.size(), 1u);
  EXPECT_EQ(plan.annotated[0].uid, 3u);
  EXPECT_TRUE(world.find(3)->has(Record::kTagged));
}

TEST(ReconcileAnnotation, TogetherWithAnEditIsAnEdit) {
  ReconcileWorld world = three_adopted();
  std::string edited = world.files[3].visible;
  edited[4000] = 'y';  // same length, same first block
  world.files[3].annotation += 30;
  world.rewrite(world.files[3], edited);
  expect_edited(world.sync(), 3);
}

TEST(ReconcileTouch, OfATaggedOrShortMessageIsKept) {
  ReconcileWorld world = three();
  world.adopt(3);
  world.touch(world.files[1]);
  world.touch(world.files[3]);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.wholes, 1) << "only the long one has to be read";
  EXPECT_TRUE(world.find(3)->has(Record::kVerified));
}

TEST(ReconcileTouch, OfALongMessageThatWasNeverHashedIsAnEdit) {
  ReconcileWorld world = three();
  world.touch(world.files[3]);
  expect_edited(world.sync(), 3);
}

TEST(ReconcileTouch, OfALongUntaggedMessageWithAHashIsKept) {
  ReconcileWorld world = three();
  world.records[2].hash = fingerprint(world.files[3].visible);
  world.records[2].set(Record::kHashKnown, true);
  world.touch(world.files[3]);
  expect_nothing_told(world.sync());
  std::string edited = world.files[3].visible;
  edited[4000] = 'y';
  world.rewrite(world.files[3], edited);
  expect_edited(world.sync(), 3);
}

// ---- Row: visible bytes changed ---------------------------------------------------------------

TEST(ReconcileEdit, InPlaceGivesANewUidAndCarriesFlagsAndDates) {
  for (const bool adopted : {false, true}) {
    ReconcileWorld world = adopted ? three_adopted() : three();
    const Record old = *world.find(2);
    world.now += 1000;
    world.rewrite(world.files[2], "Subject: two\n\nsecond, edited\n");
    const Plan plan = world.sync();
    expect_edited(plan, 2);
    const Record& now = *world.find(4);
    EXPECT_EQ(now.number, 2u);
    EXPECT_EQ(now.internal_date, old.internal_date);
    EXPECT_EQ(now.saved, old.saved);
    EXPECT_NE(now.guid, old.guid);
    EXPECT_FALSE(now.has(Record::kTagged)) << "the tag in the file is that of the old UID";
    EXPECT_FALSE(plan.added[0].origin);
  }
}

TEST(ReconcileEdit, OfTheSameLengthIsSeenBehindTheFirstBlock) {
  ReconcileWorld world = three_adopted();
  std::string edited = world.files[3].visible;
  edited[4000] = 'y';
  world.rewrite(world.files[3], edited);
  expect_edited(world.sync(), 3);
}

TEST(ReconcileEdit, ByANewFileThatStillBearsTheTag) {  // sed -i, editors
  ReconcileWorld world = three_adopted();
  const Record old = *world.find(2);
  world.files[2] = world.copy_of(world.files[2]);
  world.rewrite(world.files[2], "Subject: two\n\nsecond, by sed\n");
  expect_edited(world.sync(), 2);
  EXPECT_EQ(world.find(4)->internal_date, old.internal_date);
}

TEST(ReconcileEdit, ByANewFileUnderAnotherNumberThatStillBearsTheTag) {
  ReconcileWorld world = three_adopted();
  FakeFile edited = world.copy_of(world.files[3]);
  world.files.erase(3);
  edited.visible[4000] = 'y';
  world.files[9] = edited;
  const Plan plan = world.sync();
  expect_edited(plan, 3);
  EXPECT_EQ(plan.added.at(0).record.number, 9u);
}

TEST(ReconcileEdit, UnderAVerifiedTagOfOtherBytesIsAnEdit) {
  ReconcileWorld world = three_adopted();
  FakeFile& file = world.files[3];
  std::string edited = file.visible;
  edited[4000] = 'y';
  file.tag = FakeTag{foreign_tag(file.visible, 9), true, true};
  world.rewrite(file, edited);
  expect_edited(world.sync(), 3);
}

TEST(ReconcileEdit, OfAFileWhoseOwnTagContradictsTheRecordIsAnEdit) {
  ReconcileWorld world = three();
  FakeFile& file = world.files[2];
  world.rewrite(file, "Subject: two\n\nother bytes\n");
  Tag tag = foreign_tag(file.visible, 9);
  tag.uidvalidity = kValidity;
  tag.uid = 2;
  tag.guid = world.find(2)->guid;
  file.tag = FakeTag{tag, true, true};
  expect_edited(world.sync(), 2);
}

TEST(ReconcileEdit, OfTwoNewFilesTheOneUnderTheRecordedNumberCarries) {
  ReconcileWorld world = three_adopted();
  const FakeFile a = world.copy_of(world.files[3]), b = world.copy_of(world.files[3]);
  world.files[1] = a;
  world.files[3] = b;
  world.rewrite(world.files[1], "edited\n");
  world.rewrite(world.files[3], "edited in another way\n");
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 2u);
  EXPECT_FALSE(plan.added[0].edited_from);
  EXPECT_EQ(plan.added[1].edited_from, 3u);
}

TEST(ReconcileEdit, TruncatedToNothingIsAnEdit) {
  ReconcileWorld world = three_adopted();
  world.files[2].tag.reset();
  world.rewrite(world.files[2], "");
  expect_edited(world.sync(), 2);
  EXPECT_EQ(world.find(4)->visible_size(), 0u);
}

TEST(ReconcileEdit, AnAnnotationSeenBeforeIsNotToldAgain) {
  ReconcileWorld world = three_adopted();
  world.files[2].annotation += 37;
  world.files[2].replied = true;
  world.touch(world.files[2]);
  world.sync();
  world.rewrite(world.files[2], "Subject: two\n\nedited\n");
  const Plan plan = world.sync();
  expect_edited(plan, 2);
  EXPECT_FALSE(plan.added[0].replied) << "the client may have cleared \\Answered since";
  EXPECT_TRUE(world.find(4)->has(Record::kRepliedSeen));
}

TEST(ReconcileEdit, WhatWasSeenOfTheOldOneStaysSeenThoughTheEditRemovedIt) {
  ReconcileWorld world = three_adopted();
  world.files[2].annotation += 37;
  world.files[2].replied = true;
  world.touch(world.files[2]);
  world.sync();
  world.records[1].set(Record::kNoTag, true);
  world.files[2].annotation = 0;
  world.files[2].replied = false;
  world.rewrite(world.files[2], "Subject: two\n\nedited\n");
  world.sync();
  EXPECT_TRUE(world.find(4)->has(Record::kRepliedSeen));
  EXPECT_TRUE(world.find(4)->has(Record::kNoTag));
}

TEST(ReconcileEdit, NeverTakesAGuidFromATag) {
  ReconcileWorld world = three_adopted();
  FakeFile& file = world.files[2];
  world.rewrite(file, "Subject: x\n\nx\n");
  file.tag = FakeTag{foreign_tag(file.visible, 9), false, true};
  Probe read;
  read.state = State::kRead;
  read.file = file.file;
  read.file.size = file.prefix() + file.visible.size();
  read.tag_kind = Probe::TagKind::kUnverified;
  read.tag = file.tag->tag;
  read.tag_is_first = true;
  read.prefix = file.prefix();
  read.first_hash = fingerprint(file.visible);
  read.hash = read.first_hash;
  world.known_probes[2] = read;
  expect_edited(world.sync(), 2);
}

TEST(ReconcileEdit, FoundByAnOpenIsBelievedAgainstTheStamps) {
  ReconcileWorld world = three_adopted();
  FakeFile& file = world.files[3];
  file.visible[4000] = 'y';  // and touch -r: size and mtime as they were
  file.file.ctime += 9;
  EXPECT_TRUE(world.sync().added.empty());
  Probe read;
  read.state = State::kRead;
  read.file = world.find(3)->file;
  read.tag_kind = Probe::TagKind::kRecorded;
  read.tag = file.tag->tag;
  read.prefix = file.prefix();
  read.first_hash = world.find(3)->first_hash;
  read.hash = fingerprint(file.visible);
  world.known_probes[3] = read;
  expect_edited(world.sync(), 3);
}

TEST(ReconcileEdit, AReadThatFindsAllAsItWasMakesItVerified) {
  ReconcileWorld world = three_adopted();
  Probe read;
  read.state = State::kRead;
  read.file = world.find(3)->file;
  read.tag_kind = Probe::TagKind::kRecorded;
  read.tag = world.files[3].tag->tag;
  read.prefix = world.files[3].prefix();
  read.first_hash = world.find(3)->first_hash;
  read.hash = fingerprint(world.files[3].visible);
  world.known_probes[3] = read;
  expect_nothing_told(world.sync());
  EXPECT_TRUE(world.find(3)->has(Record::kVerified));
}

TEST(ReconcileEdit, OfAUidThatNobodyKnowsIsJustAnArrival) {
  ReconcileWorld world = three();
  FakeFile& file = world.create(9, "Subject: later\n\nx\n");
  Tag tag = foreign_tag("other bytes", 9);
  tag.uidvalidity = kValidity;
  tag.uid = 3000;  // reserved, never given
  file.tag = FakeTag{tag, true, true};
  world.uidnext = 5000;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].edited_from);
}

// ---- Row: a tag taken away --------------------------------------------------------------------

TEST(ReconcileTag, TakenAwayInPlaceKeepsTheMessageAndIsToldToTheCaller) {
  ReconcileWorld world = three_adopted();
  world.files[3].tag.reset();
  world.touch(world.files[3]);
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(plan.untagged, Uids{3});
  EXPECT_FALSE(world.find(3)->has(Record::kTagged));
  EXPECT_TRUE(world.find(3)->has(Record::kNoTag));
}

TEST(ReconcileTag, MissingInARestoredFileIsToBeWrittenAgain) {
  ReconcileWorld world = three_adopted();
  world.files[3] = world.copy_of(world.files[3]);
  world.files[3].tag.reset();
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(plan.untagged, Uids{3});
  EXPECT_FALSE(world.find(3)->has(Record::kTagged));
  EXPECT_FALSE(world.find(3)->has(Record::kNoTag));
}

TEST(ReconcileTag, ReplacedByThatOfAnotherRootIsLeftAlone) {
  ReconcileWorld world = three_adopted();
  world.files[3] = world.copy_of(world.files[3]);
  world.files[3].tag = FakeTag{foreign_tag(world.files[3].visible, 5), false, true};
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(plan.untagged, Uids{3});
  EXPECT_TRUE(world.find(3)->has(Record::kNoTag));
}

TEST(ReconcileTag, ReplacedWithoutATraceIsNoLongerOnDisk) {
  ReconcileWorld world = three_adopted();
  world.records[2].set(Record::kTagFlushed, true);
  FakeFile& file = world.files[3];
  file.file.ctime += 9;  // size and mtime as they were
  file.tag = FakeTag{foreign_tag(file.visible, 5), false, true};
  Probe read;
  read.state = State::kRead;
  read.file = file.file;
  read.tag_kind = Probe::TagKind::kUnverified;
  read.tag = file.tag->tag;
  read.prefix = file.prefix();
  read.first_hash = world.find(3)->first_hash;
  read.hash = fingerprint(file.visible);
  world.known_probes[3] = read;
  expect_nothing_told(world.sync());
  EXPECT_FALSE(world.find(3)->has(Record::kTagFlushed));
}

TEST(ReconcileTag, OnRecordNeedsNoCheckThatVerifies) {  // the secret was lost
  ReconcileWorld world = three_adopted();
  world.files[3].tag->genuine = false;
  world.files[3].annotation += 30;
  world.touch(world.files[3]);
  expect_nothing_told(world.sync());
  EXPECT_TRUE(world.find(3)->has(Record::kTagged));
  ASSERT_EQ(world.requests.size(), 2u);
  for (const ProbeRequest& request : world.requests) {
    EXPECT_EQ(request.recorded, world.files[3].tag->tag) << "it counts wherever it stands";
  }
}

TEST(ReconcileTag, OfAnAdoptionCutShortByACrashTellsTheHash) {
  for (const bool edited : {false, true}) {
    ReconcileWorld world = three();
    const Record before = *world.find(3);
    world.adopt(3);
    world.records[2] = before;
    if (edited) world.files[3].visible[4000] = 'y';
    if (!edited) world.touch(world.files[3]);
    const Plan plan = world.sync();
    if (edited) expect_edited(plan, 3);
    if (!edited) expect_nothing_told(plan);
  }
}

TEST(ReconcileTag, OfAnAdoptionCutShortByACrashIsRecognised) {
  ReconcileWorld world = three();
  const Record before = *world.find(3);
  world.adopt(3);
  world.records[2] = before;  // the record of it was lost
  expect_nothing_told(world.sync());
  EXPECT_TRUE(world.find(3)->has(Record::kTagged));
  EXPECT_TRUE(world.find(3)->has(Record::kVerified));
  EXPECT_FALSE(world.find(3)->has(Record::kTagFlushed));
}

// ---- Row: same number, new inode --------------------------------------------------------------

TEST(ReconcileSameNumber, RestoredWithEqualBytesIsKept) {
  for (const bool adopted : {false, true}) {
    ReconcileWorld world = adopted ? three_adopted() : three();
    for (uint32_t number : {1u, 2u, 3u}) world.files[number] = world.copy_of(world.files[number]);
    const Plan plan = world.sync();
    expect_nothing_told(plan);
    EXPECT_EQ(plan.changed.size(), 3u);
    EXPECT_TRUE(plan.renumbered.empty());
  }
}

TEST(ReconcileSameNumber, RestoredIsNoLongerKnownToBeOnDisk) {
  ReconcileWorld world = three_adopted();
  for (Record& record : world.records) record.set(Record::kTagFlushed, true);
  world.files[1] = world.copy_of(world.files[1]);
  world.move(2, 9);
  world.sync();
  EXPECT_FALSE(world.find(1)->has(Record::kTagFlushed));
  EXPECT_TRUE(world.find(2)->has(Record::kTagFlushed));
}

TEST(ReconcileSameNumber, ALongUntaggedMessageNeedsItsMtime) {
  ReconcileWorld world = three();
  world.files[3] = world.copy_of(world.files[3]);
  world.touch(world.files[3]);
  expect_replaced(world.sync(), 3);
}

TEST(ReconcileSameNumber, ALongUntaggedMessageWithLinesAboveNeedsItsMtime) {
  ReconcileWorld world = three();
  world.files[3] = world.copy_of(world.files[3]);
  world.files[3].annotation = 30;
  world.touch(world.files[3]);
  expect_replaced(world.sync(), 3);
}

TEST(ReconcileSameNumber, AnotherLengthIsAnotherMessage) {
  ReconcileWorld world = three();
  world.files[3] = world.copy_of(world.files[3]);
  world.files[3].visible += "more\n";  // first block and mtime as they were
  expect_replaced(world.sync(), 3);
}

TEST(ReconcileSameNumber, AShortUntaggedMessageIsProvenByItsBytes) {
  ReconcileWorld world = three();
  world.files[1] = world.copy_of(world.files[1]);
  world.touch(world.files[1]);
  expect_nothing_told(world.sync());
}

TEST(ReconcileSameNumber, OtherBytesAreAnotherMessage) {
  for (const bool adopted : {false, true}) {
    ReconcileWorld world = adopted ? three_adopted() : three();
    world.files.erase(2);
    world.create(2, "Subject: new\n\nunrelated\n");
    const Plan plan = world.sync();
    expect_replaced(plan, 2);
    EXPECT_FALSE(plan.added[0].origin);
  }
}

TEST(ReconcileSameNumber, AReusedInodeIsJudgedByItsBytes) {  // rm 2; create 2
  ReconcileWorld world = three_adopted();
  const FakeFile old = world.files[2];
  world.files.erase(2);
  world.create(2, "Subject: new\n\nunrelated\n").file.inode = old.file.inode;
  expect_replaced(world.sync(), 2);
}

TEST(ReconcileSameNumber, WhileItIsBeingWrittenBothWait) {
  ReconcileWorld world = three();
  world.files[2] = world.copy_of(world.files[2]);
  world.files[2].state = State::kBeingWritten;
  const std::string all = std::exchange(world.files[2].visible, "Subj");
  Plan plan = world.sync();
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.waiting, Uids{2});
  world.files[2].visible = all;
  world.files[2].state = State::kRead;
  plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(plan.changed.size(), 1u);
}

// ---- Row: unknown file, verified tag of this UIDVALIDITY --------------------------------------

TEST(ReconcileClaim, RestoredUnderAnotherNumberIsKept) {
  ReconcileWorld world = three_adopted();
  const FakeFile restored = world.copy_of(world.files[3]);
  world.files.erase(3);
  world.files[8] = restored;
  const Plan plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(world.find(3)->number, 8u);
  EXPECT_EQ(plan.renumbered, Uids{3});
}

TEST(ReconcileClaim, AllRestoredIntoEachOthersNumbersIsKept) {
  ReconcileWorld world = three_adopted();
  std::map<uint32_t, FakeFile> restored;
  restored[1] = world.copy_of(world.files[3]);
  restored[2] = world.copy_of(world.files[1]);
  restored[3] = world.copy_of(world.files[2]);
  world.files = restored;
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(1), 3u);
  EXPECT_EQ(world.uid_at(2), 1u);
  EXPECT_EQ(world.uid_at(3), 2u);
}

// cp -a of a backup over a folder that was packed since: cp keeps the inodes that it finds.
TEST(ReconcileClaim, AllWrittenIntoEachOthersFilesIsKept) {
  ReconcileWorld world = three_adopted();
  const auto before = world.files;
  const auto overwrite = [&](uint32_t number, uint32_t from) {
    world.files[number].visible = before.at(from).visible;
    world.files[number].tag = before.at(from).tag;
    world.touch(world.files[number]);
  };
  overwrite(1, 3);
  overwrite(2, 1);
  overwrite(3, 2);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(1), 3u);
  EXPECT_EQ(world.uid_at(2), 1u);
  EXPECT_EQ(world.uid_at(3), 2u);
}

TEST(ReconcileClaim, ACopyWrittenOverAnotherMessageIsACopy) {
  for (const bool of_here : {true, false}) {
    ReconcileWorld world = three_adopted();
    world.files[2].visible = world.files[3].visible;
    world.files[2].tag = world.files[3].tag;
    if (!of_here) world.files[2].tag = FakeTag{foreign_tag(world.files[3].visible, 9), true, true};
    world.touch(world.files[2]);
    const Plan plan = world.sync();
    expect_replaced(plan, 2);
    EXPECT_EQ(plan.added[0].keeps_guid, !of_here);
    EXPECT_EQ(world.uid_at(3), 3u);
  }
}

TEST(ReconcileClaim, ATagOverItsOwnBytesIsOfAnotherMessageWhereAnyNameDiffers) {
  for (const int differs : {0, 1, 2}) {
    ReconcileWorld world = three_adopted();
    FakeFile& file = world.files[2];
    file.visible = "Subject: other\n\nwritten over it\n";
    Tag tag = file.tag->tag;
    tag.length = static_cast<uint32_t>(file.visible.size());
    tag.hash = fingerprint(file.visible);
    if (differs == 0) tag.uid = 77;
    if (differs == 1) tag.guid[3] ^= 1;
    if (differs == 2) tag.uidvalidity = kValidity - 1;
    file.tag = FakeTag{tag, true, true};
    world.touch(file);
    expect_replaced(world.sync(), 2);
  }
}

TEST(ReconcileClaim, AnEditOfACopyThatBearsTheTagOfItsOriginalIsAnEdit) {
  ReconcileWorld world = three_adopted();
  world.files[9] = world.copy_of(world.files[3]);
  world.sync();
  world.rewrite(world.files[9], "edited\n");
  expect_edited(world.sync(), 4);
}

TEST(ReconcileClaim, ADroppedUidNeverReturns) {
  ReconcileWorld world = three_adopted();
  const FakeFile backup = world.copy_of(world.files[2]);
  world.files.erase(2);
  world.sync();
  world.files[2] = backup;
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(world.uid_at(2), 4u);
  EXPECT_TRUE(plan.added[0].keeps_guid);
  EXPECT_EQ(plan.added[0].record.guid, backup.tag->tag.guid);
  EXPECT_EQ(plan.added[0].origin, backup.tag->tag.guid);
  EXPECT_EQ(plan.added[0].record.internal_date, backup.tag->tag.internal_date);
}

TEST(ReconcileClaim, ACopyBesideItsOriginalIsAMessageOfItsOwn) {
  ReconcileWorld world = three_adopted();
  world.files[9] = world.copy_of(world.files[3]);
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
  EXPECT_EQ(plan.added[0].record.guid, Guid{});
  EXPECT_EQ(plan.added[0].record.internal_date, world.find(3)->internal_date);
  EXPECT_FALSE(world.find(4)->has(Record::kTagged));
}

TEST(ReconcileClaim, OfTwoFilesTheLowerNumberGetsTheUid) {
  ReconcileWorld world = three_adopted();
  const FakeFile a = world.copy_of(world.files[3]), b = world.copy_of(world.files[3]);
  world.files.erase(3);
  world.files[8] = a;
  world.files[6] = b;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_EQ(world.uid_at(6), 3u);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
}

TEST(ReconcileClaim, OfTwoFilesTheRecordedNumberGetsTheUid) {
  ReconcileWorld world = three_adopted();
  const FakeFile a = world.copy_of(world.files[3]), b = world.copy_of(world.files[3]);
  world.files[3] = a;
  world.files.erase(2);
  world.files[2] = b;
  const Plan plan = world.sync();
  EXPECT_EQ(world.uid_at(3), 3u);
  EXPECT_EQ(plan.dropped, Uids{2});
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].record.number, 2u);
}

TEST(ReconcileClaim, RightBytesElsewhereBeatAnEditUnderTheNumber) {
  ReconcileWorld world = three_adopted();
  const FakeFile backup = world.copy_of(world.files[3]);
  world.files[3] = world.copy_of(world.files[3]);
  world.rewrite(world.files[3], "edited\n");
  world.files[7] = backup;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_EQ(world.uid_at(7), 3u);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
  EXPECT_FALSE(plan.added[0].edited_from);
}

TEST(ReconcileClaim, ForgedTagsClaimNothing) {
  for (const uint32_t uid : {2u, 4u, 4294967295u}) {
    ReconcileWorld world = three_adopted();
    const Tag real = world.files[2].tag->tag;
    world.files.erase(2);
    FakeFile& file = world.create(9, "Subject: evil\n\nx\n");
    Tag tag = real;
    tag.uid = uid;
    tag.length = static_cast<uint32_t>(file.visible.size());
    tag.hash = fingerprint(file.visible);
    file.tag = FakeTag{tag, false, false};
    const Plan plan = world.sync();
    expect_replaced(plan, 2);
    EXPECT_FALSE(plan.added[0].keeps_guid);
    EXPECT_FALSE(plan.added[0].origin);
    EXPECT_NE(plan.added[0].record.internal_date, tag.internal_date);
  }
}

TEST(ReconcileClaim, AGenuineTagOfAUidThatWasNeverGivenClaimsNothing) {
  for (const uint32_t uid : {4u, 5u, 4294967295u}) {
    ReconcileWorld world = three_adopted();
    FakeFile& file = world.create(9, "Subject: x\n\nx\n");
    Tag tag = foreign_tag(file.visible, 7);
    tag.uidvalidity = kValidity;
    tag.uid = uid;
    file.tag = FakeTag{tag, true, true};
    const Plan plan = world.sync();
    ASSERT_EQ(plan.added.size(), 1u);
    EXPECT_EQ(world.given, Uids{4});
    EXPECT_TRUE(plan.added[0].keeps_guid);
  }
}

TEST(ReconcileClaim, NoUidAboveUidnextIsClaimedThoughItCountsAsAlive) {
  ReconcileWorld world = three_adopted();
  FakeFile& file = world.create(9, "Subject: x\n\nx\n");
  Tag tag = foreign_tag(file.visible, 7);
  tag.uidvalidity = kValidity;
  tag.uid = 3000;
  file.tag = FakeTag{tag, true, true};
  world.alive.add(3000);  // the state contradicts itself
  world.sync();
  EXPECT_EQ(world.given, Uids{4});
}

TEST(ReconcileClaim, AReplayedTagAboveOtherBytesOfAMessageThatIsThereIsAnArrival) {
  ReconcileWorld world = three_adopted();
  FakeFile& file = world.create(9, "Subject: evil\n\nx\n");
  file.tag = FakeTag{world.files[2].tag->tag, true, true};
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
  EXPECT_FALSE(plan.added[0].edited_from);
}

TEST(ReconcileClaim, ATagThatContradictsTheRecordClaimsNothing) {
  ReconcileWorld world = three_adopted();
  FakeFile file = world.copy_of(world.files[3]);
  world.files.erase(3);
  file.visible = long_message("other");  // same uid and guid, tag right about these bytes
  file.tag->tag.length = static_cast<uint32_t>(file.visible.size());
  file.tag->tag.hash = fingerprint(file.visible);
  world.files[9] = file;
  expect_replaced(world.sync(), 3);
}

TEST(ReconcileClaim, ATagOfAnotherGuidClaimsNothing) {
  ReconcileWorld world = three_adopted();
  FakeFile file = world.copy_of(world.files[3]);
  world.files.erase(3);
  file.tag->tag.guid[5] ^= 1;
  world.files[9] = file;
  expect_replaced(world.sync(), 3);
}

// ---- Lost records -----------------------------------------------------------------------------

TEST(ReconcileLost, RecordsAreMadeAnewFromTags) {
  ReconcileWorld world = three_adopted();
  world.files[2].annotation += 20;
  world.files[2].replied = true;
  world.touch(world.files[2]);
  world.sync();
  const std::vector<Record> before = world.records;
  world.records.clear();
  expect_nothing_told(world.sync());
  ASSERT_EQ(world.records.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    Record expected = before[i];
    expected.set(Record::kVerified, true);
    EXPECT_EQ(world.records[i], expected);
  }
}

TEST(ReconcileLost, WhatHasNoFileIsDropped) {
  ReconcileWorld world = three_adopted();
  world.lose_record(2);
  world.lose_record(3);
  world.files.erase(2);
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{2});
  EXPECT_NE(world.find(3), nullptr);
}

TEST(ReconcileLost, EditedMeanwhileIsAnEdit) {
  ReconcileWorld world = three_adopted();
  const Record old = *world.find(3);
  world.lose_record(3);
  world.files[3].visible[4000] = 'y';
  expect_edited(world.sync(), 3);
  EXPECT_EQ(world.find(4)->internal_date, old.internal_date);
}

TEST(ReconcileLost, OfTwoEditsOneCarries) {
  ReconcileWorld world = three_adopted();
  world.lose_record(3);
  world.files[3].visible[4000] = 'y';
  world.files[9] = world.copy_of(world.files[3]);
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{3});
  ASSERT_EQ(plan.added.size(), 2u);
  EXPECT_EQ(plan.added[0].edited_from, 3u);
  EXPECT_FALSE(plan.added[1].edited_from);
}

TEST(ReconcileLost, NeverTaggedGetsANewUid) {
  ReconcileWorld world = three();
  world.records.clear();
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, (Uids{1, 2, 3}));
  EXPECT_EQ(world.given, (Uids{4, 5, 6}));
}

TEST(ReconcileLost, AFileThatCannotBeReadMayBeOneOfThem) {
  for (const State state : {State::kUnreadable, State::kBeingWritten}) {
    ReconcileWorld world = three_adopted();
    world.lose_record(2);
    world.files[2].state = state;
    Plan plan = world.sync();
    EXPECT_TRUE(plan.empty());
    world.files[2].state = State::kRead;
    plan = world.sync();
    expect_nothing_told(plan);
    EXPECT_EQ(world.uid_at(2), 2u);
  }
}

TEST(ReconcileLost, OfTwoFilesOneGetsTheUidAndTheOtherANewGuid) {
  ReconcileWorld world = three_adopted();
  world.lose_record(3);
  world.files[9] = world.copy_of(world.files[3]);
  const Plan plan = world.sync();
  EXPECT_EQ(world.uid_at(3), 3u);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
}

// ---- Row: unknown file, any other tag ---------------------------------------------------------

TEST(ReconcileForeignTag, ARefiledMessageKeepsGuidAndDates) {
  for (const bool genuine : {true, false}) {
    ReconcileWorld world = three();
    FakeFile& file = world.create(9, "Subject: from elsewhere\n\nx\n");
    const Tag tag = foreign_tag(file.visible, 9);
    file.tag = FakeTag{tag, genuine, true};
    const Plan plan = world.sync();
    ASSERT_EQ(plan.added.size(), 1u);
    EXPECT_TRUE(plan.added[0].keeps_guid);
    EXPECT_EQ(world.find(4)->guid, tag.guid);
    EXPECT_EQ(world.find(4)->internal_date, tag.internal_date);
    EXPECT_EQ(world.find(4)->saved, tag.saved);
    EXPECT_EQ(plan.added[0].origin, tag.guid);
    EXPECT_EQ(world.find(4)->prefix, kTagLineSize);
    EXPECT_FALSE(world.find(4)->has(Record::kTagged));
  }
}

TEST(ReconcileForeignTag, OfOtherBytesGivesNoGuid) {
  for (const bool same_length : {false, true}) {
    ReconcileWorld world = three();
    FakeFile& file = world.create(9, long_message("edited"));
    file.tag = FakeTag{foreign_tag(long_message(same_length ? "EDITED" : "was"), 9), true, true};
    const Plan plan = world.sync();
    ASSERT_EQ(plan.added.size(), 1u);
    EXPECT_FALSE(plan.added[0].keeps_guid) << "a GUID stands for the same bytes for ever";
    EXPECT_EQ(world.wholes, same_length ? 1 : 0) << "a wrong length needs no reading";
    EXPECT_EQ(plan.added[0].record.internal_date, 1111111111u);
    EXPECT_EQ(plan.added[0].origin, file.tag->tag.guid);
  }
}

TEST(ReconcileForeignTag, TwoArrivalsOfOneGuidAreAMessageAndACopy) {
  ReconcileWorld world = three();
  const std::string text = "Subject: from elsewhere\n\nx\n";
  for (uint32_t number : {9u, 12u}) {
    world.create(number, text).tag = FakeTag{foreign_tag(text, 9), true, true};
  }
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 2u);
  EXPECT_TRUE(plan.added[0].keeps_guid);
  EXPECT_FALSE(plan.added[1].keeps_guid);
}

TEST(ReconcileForeignTag, AGuidInUseIsNotGivenTwice) {
  ReconcileWorld world = three();
  FakeFile& file = world.create(9, "Subject: evil\n\nx\n");
  Tag tag = foreign_tag(file.visible, 9);
  tag.guid = world.find(1)->guid;
  file.tag = FakeTag{tag, false, true};
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
}

TEST(ReconcileForeignTag, AGuidThatGoesInThisPassIsFree) {  // refile out and in again
  ReconcileWorld world = three();
  FakeFile back = world.create(9, world.files[1].visible);
  Tag tag = foreign_tag(back.visible, 9);
  tag.guid = world.find(1)->guid;
  world.files[9].tag = FakeTag{tag, true, true};
  world.files.erase(1);
  const Plan plan = world.sync();
  expect_replaced(plan, 1);
  EXPECT_TRUE(plan.added[0].keeps_guid);
}

TEST(ReconcileForeignTag, AllZeroIsNoGuid) {
  ReconcileWorld world;
  FakeFile& file = world.create(9, "Subject: x\n\nx\n");
  file.tag = FakeTag{foreign_tag(file.visible, 0), false, true};
  EXPECT_FALSE(world.sync().added.at(0).keeps_guid);
}

// ---- Row: second name of one inode ------------------------------------------------------------

TEST(ReconcileLinks, ASecondNameIsAMessageOfItsOwn) {
  for (const bool adopted : {false, true}) {
    ReconcileWorld world = adopted ? three_adopted() : three();
    world.files[2].nlink = 2;
    world.files[2].file.ctime += 3;
    world.files[1] = world.files[2];  // refile -link over a removed lower number
    const Plan plan = world.sync();
    EXPECT_EQ(world.uid_at(2), 2u) << "the recorded number keeps its UID";
    ASSERT_EQ(plan.added.size(), 1u);
    EXPECT_EQ(plan.added[0].record.number, 1u);
    EXPECT_FALSE(plan.added[0].keeps_guid);
  }
}

TEST(ReconcileLinks, WhenTheRecordedNameIsGoneTheLowestIsIt) {
  ReconcileWorld world = three();
  FakeFile file = world.files[2];
  file.nlink = 2;
  world.files.erase(2);
  world.files[9] = world.files[7] = file;
  const Plan plan = world.sync();
  EXPECT_EQ(world.uid_at(7), 2u);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].record.number, 9u);
}

TEST(ReconcileLinks, TwoMessagesOfOneInodeStayTwo) {
  ReconcileWorld world = three();
  world.files[2].nlink = 2;
  world.files[9] = world.files[2];
  world.sync();
  const uint32_t second = world.uid_at(9);
  world.files[20] = world.files[9];  // packed, sorted: both names move
  world.files[10] = world.files[2];
  world.files.erase(2);
  world.files.erase(9);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(10), 2u);
  EXPECT_EQ(world.uid_at(20), second);
  world.files.erase(10);
  EXPECT_EQ(world.sync().dropped, Uids{2});
  EXPECT_EQ(world.uid_at(20), second);
}

TEST(ReconcileLinks, ASecondNameTakesNoGuidThoughItIsFree) {
  ReconcileWorld world = three_adopted();
  world.files[9] = world.copy_of(world.files[3]);
  world.sync();  // a copy: another GUID than that of the tag in it
  world.files.erase(3);
  world.sync();  // that GUID is free now
  world.files[9].nlink = 2;
  world.files[12] = world.files[9];
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].keeps_guid);
}

TEST(ReconcileLinks, OfTwoNamesOfAnArrivalOnlyTheFirstTakesTheGuid) {
  ReconcileWorld world;
  FakeFile& file = world.create(4, "Subject: x\n\nx\n");
  file.tag = FakeTag{foreign_tag(file.visible, 9), true, true};
  file.nlink = 2;
  world.files[5] = file;
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 2u);
  EXPECT_TRUE(plan.added[0].keeps_guid);
  EXPECT_FALSE(plan.added[1].keeps_guid);
}

// ---- Row: unreadable --------------------------------------------------------------------------

TEST(ReconcileUnreadable, AKnownFileKeepsItsUid) {
  ReconcileWorld world = three_adopted();
  world.files[2].state = State::kUnreadable;
  world.files[2].file.ctime += 3;  // chmod 0
  expect_nothing_told(world.sync());
  world.move(2, 8);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(8), 2u);
}

TEST(ReconcileUnreadable, AnEditThatCannotBeReadIsSeenWhenItCan) {
  ReconcileWorld world = three_adopted();
  world.rewrite(world.files[2], "edited\n");
  world.files[2].state = State::kUnreadable;
  EXPECT_TRUE(world.sync().empty());
  world.move(2, 8);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(8), 2u);
  world.files[8].state = State::kRead;
  expect_edited(world.sync(), 2);
}

TEST(ReconcileUnreadable, ANewFileUnderTheNumberKeepsTheUidUntilItCanBeRead) {
  ReconcileWorld world = three_adopted();
  world.files[2] = world.copy_of(world.files[2]);
  world.files[2].state = State::kUnreadable;  // restored by root
  EXPECT_TRUE(world.sync().empty());
  world.files[2].state = State::kRead;
  expect_nothing_told(world.sync());
  world.files[2] = world.copy_of(world.files[1]);
  world.files[2].state = State::kUnreadable;
  EXPECT_TRUE(world.sync().empty());
  world.files[2].state = State::kRead;
  expect_replaced(world.sync(), 2);
}

TEST(ReconcileUnreadable, AnArrivalIsAMessageAndFilledInLater) {
  ReconcileWorld world = three();
  FakeFile& file = world.create(9, "Subject: hidden\n\nx\n");
  file.annotation = 12;
  file.state = State::kUnreadable;
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  const Record unread = *world.find(4);
  EXPECT_TRUE(unread.has(Record::kUnreadable));
  EXPECT_EQ(unread.internal_date, static_cast<uint32_t>(file.file.mtime / kSecond));
  world.touch(file);
  expect_nothing_told(world.sync());
  file.state = State::kRead;
  expect_nothing_told(world.sync());
  const Record& read = *world.find(4);
  EXPECT_FALSE(read.has(Record::kUnreadable));
  EXPECT_EQ(read.prefix, 12u);
  EXPECT_EQ(read.guid, unread.guid);
  EXPECT_EQ(read.internal_date, unread.internal_date) << "it was served";
}

TEST(ReconcileUnreadable, AnotherFileUnderTheNumberOfOneNeverReadIsAnotherMessage) {
  ReconcileWorld world = three();
  world.create(9, "Subject: hidden\n\nx\n").state = State::kUnreadable;
  world.sync();
  world.files.erase(9);
  world.create(9, "Subject: new\n\ny\n");
  expect_replaced(world.sync(), 4);
}

// ---- Half-written files -----------------------------------------------------------------------

TEST(ReconcileWriting, AnArrivalWaits) {
  ReconcileWorld world = three();
  world.create(9, "Sub").state = State::kBeingWritten;
  Plan plan = world.sync();
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.waiting, Uids{9});
  world.files[9].state = State::kRead;
  world.rewrite(world.files[9], "Subject: all\n\nof it\n");
  EXPECT_EQ(world.sync().added.size(), 1u);
}

TEST(ReconcileWriting, AKnownMessageStaysAsItWasUnderItsNumber) {
  ReconcileWorld world = three_adopted();
  world.rewrite(world.files[2], "half");
  world.files[2].state = State::kBeingWritten;
  const Record before = *world.find(2);
  Plan plan = world.sync();
  EXPECT_TRUE(plan.empty());
  EXPECT_EQ(plan.waiting, Uids{2});
  world.move(2, 8);
  plan = world.sync();
  expect_nothing_told(plan);
  EXPECT_EQ(world.uid_at(8), 2u);
  EXPECT_EQ(world.find(2)->file, before.file);
  world.files[8].state = State::kRead;
  expect_edited(world.sync(), 2);
}

TEST(ReconcileWriting, DoesNotHoldUpOtherRemovals) {
  ReconcileWorld world = three();
  world.create(9, "Sub").state = State::kBeingWritten;
  world.files.erase(1);
  EXPECT_EQ(world.sync().dropped, Uids{1});
}

// ---- Listings that are not whole, or outdated -------------------------------------------------

TEST(ReconcilePartial, TakesPlainArrivalsOnly) {
  ReconcileWorld world = three_adopted();
  const FakeFile backup = world.copy_of(world.files[3]);
  const FakeFile moved = world.files[2];
  const FakeFile third = world.files[3];
  world.files.clear();
  world.create(4, "Subject: plain\n\nx\n");
  world.files[5] = backup;
  world.files[6] = moved;
  world.create(7, "Sub").state = State::kBeingWritten;
  world.create(8, "hidden").state = State::kUnreadable;
  world.create(1, "under a number that is known\n");
  world.whole = false;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.changed.empty());
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_TRUE(plan.annotated.empty());
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].record.number, 4u);
  EXPECT_EQ(plan.waiting, Uids{7});
  EXPECT_FALSE(plan.relist);
}

TEST(ReconcilePartial, LeavesRenamedFilesAndSecondNamesToThePass) {
  ReconcileWorld world = three();
  world.move(2, 8);
  FakeFile& file = world.create(10, "Subject: x\n\nx\n");
  file.nlink = 2;
  world.files[11] = file;
  world.whole = false;
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].record.number, 10u);
}

TEST(ReconcilePartial, TakesForeignTagsAndTheirGuids) {
  ReconcileWorld world = three();
  world.files.clear();
  FakeFile& file = world.create(9, "Subject: from elsewhere\n\nx\n");
  file.tag = FakeTag{foreign_tag(file.visible, 9), true, true};
  world.whole = false;
  const Plan plan = world.sync();
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_TRUE(plan.added[0].keeps_guid);
}

TEST(ReconcileOutdated, AFileGoneSinceTheListingDropsNothing) {
  ReconcileWorld world = three_adopted();
  const FakeFile restored = world.copy_of(world.files[3]);
  world.files.erase(3);
  world.files.erase(1);
  world.files[8] = restored;
  world.files[8].state = State::kGone;  // moved on while we were reading
  world.create(9, "Subject: plain\n\nx\n");
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.relist);
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_TRUE(plan.changed.empty());
  ASSERT_EQ(plan.added.size(), 1u);
  world.files[8].state = State::kRead;
  const Plan next = world.sync();
  EXPECT_FALSE(next.relist);
  EXPECT_EQ(next.dropped, Uids{1});
  EXPECT_EQ(world.uid_at(8), 3u);
}

TEST(ReconcileOutdated, AKnownFileGoneSinceTheListingIsNotDropped) {
  ReconcileWorld world = three_adopted();
  world.rewrite(world.files[2], "x");
  world.files[2].state = State::kGone;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.relist);
  EXPECT_TRUE(plan.empty());
}

TEST(ReconcileOutdated, AProbeOfAnotherFileCountsAsGone) {
  ReconcileWorld world = three_adopted();
  world.files[2] = world.copy_of(world.files[2]);
  Probe other;
  other.state = State::kRead;
  other.file = world.files[1].file;
  world.known_probes[2] = other;
  EXPECT_TRUE(world.sync().relist);
  world.create(9, "Subject: x\n\nx\n");
  world.known_probes = {{9, other}};
  EXPECT_TRUE(world.sync().empty());
}

TEST(ReconcileOutdated, AShortProbeOfAnUnchangedFileTakesNothingAway) {
  ReconcileWorld world = three_adopted();
  world.records[0].set(Record::kVerified, true);
  Probe read;
  read.state = State::kRead;
  read.file = world.find(1)->file;
  read.tag_kind = Probe::TagKind::kRecorded;
  read.tag = world.files[1].tag->tag;
  read.prefix = world.files[1].prefix();
  read.first_hash = world.find(1)->first_hash;
  world.known_probes[1] = read;
  EXPECT_TRUE(world.sync().empty());
  EXPECT_TRUE(world.find(1)->has(Record::kVerified));
}

// ---- File systems without birth time ----------------------------------------------------------

ReconcileWorld three_without_birth() {
  ReconcileWorld world;
  world.keeps_birth = false;
  world.create(1, "Subject: one\n\nfirst\n");
  world.create(2, "Subject: two\n\nsecond\n");
  world.create(3, long_message("third"));
  world.sync();
  return world;
}

TEST(ReconcileWithoutBirth, RenamesAreKeptWithoutReading) {
  ReconcileWorld world = three_without_birth();
  world.move(1, 50);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(50), 1u);
  EXPECT_EQ(world.starts, 0);
}

TEST(ReconcileWithoutBirth, AReusedInodeNeverServesAnotherMessage) {
  for (const uint32_t number : {2u, 9u}) {
    ReconcileWorld world = three_without_birth();
    const FakeFile old = world.files[2];
    world.files.erase(2);
    world.create(number, "Subject: unrelated\n\nx\n").file.inode = old.file.inode;
    const Plan plan = world.sync();
    expect_replaced(plan, 2);
    EXPECT_EQ(world.uid_at(number), 4u);
  }
}

TEST(ReconcileWithoutBirth, AnAnnotationIsKept) {
  ReconcileWorld world = three_without_birth();
  world.files[3].annotation = 30;
  world.touch(world.files[3]);
  expect_nothing_told(world.sync());
}

TEST(ReconcileWithoutBirth, AnEditBelowTheTagIsAnEdit) {
  ReconcileWorld world = three_without_birth();
  world.adopt(3);
  world.rewrite(world.files[3], "edited\n");
  expect_edited(world.sync(), 3);
}

TEST(ReconcileWithoutBirth, ATagAboveOtherBytesInAReusedInodeIsNotTheMessage) {
  ReconcileWorld world = three_without_birth();
  const Record before = *world.find(3);
  world.adopt(3);  // and a crash: the record is as it was, its inode is free
  world.records[2] = before;
  FakeFile& replayed = world.create(4, "Subject: evil\n\nx\n");
  replayed.tag = world.files[3].tag;
  replayed.file.inode = before.file.inode;
  const Plan plan = world.sync();
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_EQ(world.uid_at(3), 3u);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_FALSE(plan.added[0].edited_from);
}

TEST(ReconcileWithoutBirth, OfTwoRecordsOfOneInodeTheOneThatAgreesGetsTheFile) {
  ReconcileWorld world = three_without_birth();
  Record saved = *world.find(3);
  world.files[3] = world.create(3, "Subject: saved\n\nx\n");
  world.files[3].file.inode = saved.file.inode;
  saved.uid = world.uidnext++;  // saved through us under the free number, into the free inode
  saved.file = world.files[3].file;
  saved.file.size = world.files[3].visible.size();
  saved.first_hash = fingerprint(world.files[3].visible);
  saved.guid[0] ^= 1;
  world.records.push_back(saved);
  world.alive.add(saved.uid);
  world.files[3].nlink = 2;
  world.files[8] = world.files[3];
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{3});
  EXPECT_EQ(world.uid_at(3), saved.uid);
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].record.number, 8u);
}

TEST(ReconcileWithoutBirth, OfTwoRecordsOfOneInodeTheLikelierIsTriedFirst) {
  ReconcileWorld world = three_without_birth();
  // Message 1 was replaced by a file that cannot be read, and its inode went to a new message.
  FakeFile& next = world.create(4, long_message("next"));
  next.file.inode = world.files[1].file.inode;
  world.files[1] = world.copy_of(world.files[1]);
  world.files[1].state = State::kUnreadable;
  world.sync();
  ASSERT_EQ(world.uid_at(1), 1u);
  ASSERT_EQ(world.uid_at(4), 4u);
  world.files[4].annotation = 30;
  world.touch(world.files[4]);
  expect_nothing_told(world.sync());
  world.move(4, 9);
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.uid_at(9), 4u) << "by size and mtime, not by the lower number";
}

TEST(ReconcileWithoutBirth, AnEditBelowARecordedTagThatNoLongerVerifiesIsAnEdit) {
  ReconcileWorld world = three_without_birth();
  world.adopt(3);
  world.files[3].tag->genuine = false;  // the secret was lost
  std::string edited = world.files[3].visible;
  edited[0] = 's';  // same length, other first block
  world.rewrite(world.files[3], edited);
  expect_edited(world.sync(), 3);
}

TEST(ReconcileWithoutBirth, WhenBirthTimesAppearANameKeepsItsUidThoughTheOtherOneIsGone) {
  ReconcileWorld world = three_without_birth();
  world.files[3].nlink = 2;
  world.files[5] = world.files[3];
  world.sync();
  const uint32_t second = world.uid_at(5);
  world.files.erase(3);
  world.files[5].nlink = 1;
  world.files[5].file.birth = 77 * kSecond;
  const Plan plan = world.sync();
  EXPECT_EQ(plan.dropped, Uids{3});
  EXPECT_TRUE(plan.renumbered.empty());
  EXPECT_EQ(world.uid_at(5), second);
}

TEST(ReconcileWithoutBirth, ABirthTimeThatAppearsLaterChangesNothing) {
  ReconcileWorld world = three_without_birth();
  for (auto& [number, file] : world.files) file.file.birth = 77 * kSecond;
  expect_nothing_told(world.sync());
  EXPECT_EQ(world.find(1)->file.birth, 77 * kSecond);
  EXPECT_EQ(world.starts, 0);
}

// ---- Size -------------------------------------------------------------------------------------

TEST(ReconcileCost, AHundredThousandUnchangedMessagesTakeMilliseconds) {
  Listing listing;
  std::vector<Record> records;
  NumberSet alive;
  for (uint32_t i = 1; i <= 100000; ++i) {
    const FileIdentity file{i * 7919u % 1000003u, i, 1000, i, i};
    listing.entries.push_back({i, file, 1, 1000, 0600});
    Record record;
    record.uid = record.number = i;
    record.file = file;
    records.push_back(record);
  }
  listing.whole = true;
  alive.add_range(1, 100000);
  ReconcileInput input;
  input.listing = &listing;
  input.records = records;
  input.alive = &alive;
  input.uidnext = 100001;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(reconcile(input).empty());
  const auto took = std::chrono::steady_clock::now() - start;
  // Ten times what it takes, for slow machines and sanitizers: a square would take minutes.
  EXPECT_LT(took, std::chrono::milliseconds(300));
  RecordProperty("microseconds", std::to_string(took / std::chrono::microseconds(1)));
}

TEST(ReconcileCost, ThousandsOfNamesOfOneInodeAreNoSquare) {
  ReconcileWorld world;
  FakeFile file = world.create(1, "Subject: x\n\nx\n");
  file.nlink = 5000;
  for (uint32_t number = 1; number <= 5000; ++number) world.files[number] = file;
  EXPECT_EQ(world.sync().added.size(), 5000u);
  std::map<uint32_t, FakeFile> moved;
  for (uint32_t number = 1; number <= 5000; ++number) moved[number + 2500] = file;
  world.files = moved;
  expect_nothing_told(world.sync());
}

TEST(TagOf, IsNothingForAMessageWithoutHashOrOver4GiB) {
  Record record;
  record.uid = 1;
  EXPECT_FALSE(tag_of(record, kValidity));
  record.set(Record::kHashKnown, true);
  EXPECT_TRUE(tag_of(record, kValidity));
  record.file.size = uint64_t{1} << 32;
  EXPECT_FALSE(tag_of(record, kValidity));
}

}  // namespace
}  // namespace mh::test
