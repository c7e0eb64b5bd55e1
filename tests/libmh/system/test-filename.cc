// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/system/filename.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mh {
namespace {

using namespace std::string_view_literals;

TEST(MessageNumber, IsPlainDigitsWithoutLeadingZero) {
  EXPECT_EQ(message_number("1"), 1u);
  EXPECT_EQ(message_number("10"), 10u);
  EXPECT_EQ(message_number("2147483546"), 2147483546u);
  for (const auto name : {""sv, "0"sv, "00"sv, "007"sv, "-1"sv, "+1"sv, " 1"sv, "1 "sv, "1a"sv,
                          "a1"sv, "1.2"sv, ",1"sv, "1\0"sv, "\0001"sv, "\xd9\xa1"sv, "0x1"sv})
    EXPECT_FALSE(message_number(name)) << name;
}

TEST(MessageNumber, EndsWhereNmhOverflows) {
  for (const auto name : {"2147483547", "2147483548", "2147483647", "2147483648", "4294967295",
                          "4294967296", "4294967297", "9999999999", "10000000000",
                          "18446744073709551617", "340282366920938463463374607431768211457"})
    EXPECT_FALSE(message_number(name)) << name;
}

TEST(ClassifyName, KnowsWhatPeopleFindInFolders) {
  const std::pair<std::string_view, NameKind> cases[] = {
      {"5", NameKind::kMessage},
      {"0", NameKind::kZero},
      {"0000000000000", NameKind::kZero},
      {"007", NameKind::kLeadingZero},
      {"02147483648", NameKind::kLeadingZero},
      {"2147483547", NameKind::kTooLarge},
      {"4294967297", NameKind::kTooLarge},
      {",5", NameKind::kBackup},
      {"#5", NameKind::kBackup},
      {",5.orig", NameKind::kBackup},
      {",", NameKind::kOther},
      {",x", NameKind::kOther},
      {"#", NameKind::kOther},
      {".mh_sequences", NameKind::kSequences},
      {".mh_sequences.lock", NameKind::kSequencesLock},
      {".mh_sequences.new", NameKind::kTemporary},
      {".mh_sequencesX", NameKind::kHidden},
      {"rcvstoreA1b2C3", NameKind::kTemporary},
      {"annotateabcdef", NameKind::kTemporary},
      {"rcvstore", NameKind::kOther},
      {"rcvstore-notes", NameKind::kOther},
      {"LCK.abcdef", NameKind::kTemporary},
      {",LCK.abcdef", NameKind::kTemporary},
      {".mutt-host-1234-5", NameKind::kTemporary},
      {".xmhcache", NameKind::kHidden},
      {".nfs000000000012", NameKind::kHidden},
      {".", NameKind::kHidden},
      {"@", NameKind::kOther},
      {"notes", NameKind::kOther},
      {"1a", NameKind::kOther},
      {"", NameKind::kOther},
  };
  for (const auto& [name, kind] : cases)
    EXPECT_EQ(static_cast<int>(classify_name(name)), static_cast<int>(kind)) << name;
}

TEST(OurNames, AreFoundAgainAfterACrash) {
  EXPECT_EQ(classify_name(incoming_name(0)), NameKind::kOurs);
  EXPECT_EQ(classify_name(outgoing_name(7, UINT64_MAX)), NameKind::kOurs);
  EXPECT_FALSE(parse_our_name(incoming_name(255))->outgoing);
  const auto out = parse_our_name(outgoing_name(kHighestMessageNumber, 1));
  ASSERT_TRUE(out);
  EXPECT_TRUE(out->outgoing);
  EXPECT_EQ(out->number, kHighestMessageNumber);
  for (const auto name :
       {".mhsync", ".mhsync-in.", ".mhsync-in.xyz", ".mhsync-out.5", ".mhsync-out.5.",
        ".mhsync-out..a", ".mhsync-out.05.a", ".mhsync-out.4294967297.a", "mhsync-in.0"})
    EXPECT_FALSE(parse_our_name(name)) << name;
}

TEST(StateNames, AGuidInHex) {
  EXPECT_TRUE(is_state_dir_name("0123456789abcdef0123456789abcdef"));
  EXPECT_FALSE(is_state_dir_name("0123456789ABCDEF0123456789abcdef"));
  EXPECT_FALSE(is_state_dir_name("0123456789abcdef0123456789abcde"));
  EXPECT_FALSE(is_state_dir_name("0123456789abcdef0123456789abcdef0"));
  EXPECT_FALSE(is_state_dir_name("../3456789abcdef0123456789abcdef"));
}

TEST(StateNames, LeftoversAreTold) {
  EXPECT_TRUE(is_leftover_of_state(replacement_name(kJournalFile, 4711)));
  EXPECT_TRUE(is_leftover_of_state("__db.store.db"));
  for (const auto name : {kJournalFile, kStoreFile, kSecretFile, kCatalogueFile, kLockFile,
                          "journal.new"sv, "journal.new."sv, ".new.12"sv})
    EXPECT_FALSE(is_leftover_of_state(name)) << name;
}

}  // namespace
}  // namespace mh
