// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/delivery-date.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace mh {
namespace {

using namespace std::string_literals;

constexpr int64_t kMoment = 1700000000;  // Tue, 14 Nov 2023 22:13:20 +0000

TEST(DeliveryDate, ReadsRfc5322Dates) {
  for (const char* text :
       {"Tue, 14 Nov 2023 22:13:20 +0000", "14 Nov 2023 22:13:20 +0000",
        "Tue, 14 Nov 2023 23:13:20 +0100", "Wed, 15 Nov 2023 03:43:20 +0530",
        "Tue, 14 Nov 2023 17:13:20 -0500", "Tue, 14 Nov 2023 22:13:20 -0000",
        "tue,14 nov 2023 22:13:20 gmt", "Tuesday, 14 November 2023 22:13:20 UT",
        "Tue 14 Nov 2023 22:13:20 UTC", "  Tue ,  14\tNov\t2023  22 : 13 : 20   +0000  ",
        "Tue, 14 Nov 2023 22:13:20 +0000 (GMT)", "(a (b\\) c)) Tue(x), 14 (y) Nov 2023 22:13:20 Z",
        "Tue, 14 Nov 23 22:13:20 +0000", "Tue, 14 Nov 123 22:13:20 +0000",
        "Sun, 14 Nov 2023 22:13:20 +0000", "Tue, 14 Nov 2023 22:13:20 CET"}) {
    EXPECT_EQ(parse_date(text), kMoment) << text;
  }
}

TEST(DeliveryDate, KnowsTheObsoleteZones) {
  for (const auto& [zone, hours] : std::vector<std::pair<std::string, int>>{{"EST", -5},
                                                                            {"EDT", -4},
                                                                            {"CST", -6},
                                                                            {"CDT", -5},
                                                                            {"MST", -7},
                                                                            {"MDT", -6},
                                                                            {"PST", -8},
                                                                            {"pdt", -7},
                                                                            {"A", 0},
                                                                            {"z", 0},
                                                                            {"XYZ", 0}}) {
    EXPECT_EQ(parse_date("14 Nov 2023 22:13:20 " + zone), kMoment - hours * 3600) << zone;
  }
}

TEST(DeliveryDate, SecondsAreOptionalAndMayBeALeapSecond) {
  EXPECT_EQ(parse_date("14 Nov 2023 22:13 +0000"), kMoment - 20);
  EXPECT_EQ(parse_date("31 Dec 2016 23:59:60 +0000"), 1483228800);
}

TEST(DeliveryDate, EdgesOfTheCalendar) {
  EXPECT_EQ(parse_date("1 Jan 1970 00:00:00 +0000"), 0);
  EXPECT_EQ(parse_date("31 Dec 1969 23:59:59 +0000"), -1);
  EXPECT_EQ(parse_date("29 Feb 2024 00:00:00 +0000"), 1709164800);
  EXPECT_EQ(parse_date("29 Feb 2000 00:00:00 +0000"), 951782400);
  EXPECT_FALSE(parse_date("29 Feb 2023 00:00:00 +0000"));
  EXPECT_FALSE(parse_date("29 Feb 1900 00:00:00 +0000"));
  EXPECT_FALSE(parse_date("31 Apr 2023 00:00:00 +0000"));
  EXPECT_EQ(parse_date("1 Jan 49 00:00:00 +0000"), 2493072000);
  EXPECT_EQ(parse_date("1 Jan 70 00:00:00 +0000"), 0);
}

TEST(DeliveryDate, AnythingElseIsNoDate) {
  for (const std::string& text : {""s,
                                  "yesterday"s,
                                  "Tue"s,
                                  "Tue, 14 Nov 2023"s,
                                  "Tue, 14 Nov 2023 22:13:20"s,
                                  "Tue, 14 Nov 2023 22:13:20 +0000 x"s,
                                  "Tue, 14 Nov 2023 22:13:20 +00"s,
                                  "Tue, 14 Nov 2023 22:13:20 +00000"s,
                                  "Tue, 14 Nov 2023 22:13:20 +0060"s,
                                  "Tue, 14 Nov 2023 22:13:20 +2400"s,
                                  "Tue, 14 Nov 2023 22:13:20 + 0000x"s,
                                  "Tue, 32 Nov 2023 22:13:20 +0000"s,
                                  "Tue, 0 Nov 2023 22:13:20 +0000"s,
                                  "Tue, 14 Nox 2023 22:13:20 +0000"s,
                                  "Tue, 14 Nov 3 22:13:20 +0000"s,
                                  "Tue, 14 Nov 20233 22:13:20 +0000"s,
                                  "Tue, 14 Nov 2023 24:13:20 +0000"s,
                                  "Tue, 14 Nov 2023 22:60:20 +0000"s,
                                  "Tue, 14 Nov 2023 22:13:61 +0000"s,
                                  "Tue, 14 Nov 2023 22.13.20 +0000"s,
                                  "Tue, 14 Nov 2023 22:3:20 +0000"s,
                                  "Tux, 14 Nov 2023 22:13:20 +0000"s,
                                  "Tue, 14 Nov 2023 22:13:20 (+0000"s,
                                  "Tue, 14 Nov 2023 22:13:20 +0000 (\\"s,
                                  "Tue, 14 Nov -023 22:13:20 +0000"s,
                                  "Tue, 14 Nov 2023 22:13:20 +0000\0"s,
                                  std::string(100000, '(')}) {
    EXPECT_FALSE(parse_date(text)) << text.substr(0, 60);
  }
}

TEST(DeliveryDate, DoesNotDependOnTheZoneOfTheProcess) {
  setenv("TZ", "America/New_York", 1);
  tzset();
  EXPECT_EQ(parse_date("Tue, 14 Nov 2023 22:13:20 +0000"), kMoment);
  EXPECT_EQ(parse_date("Tue, 14 Nov 2023 22:13:20 XYZ"), kMoment);
  unsetenv("TZ");
  tzset();
}

TEST(DeliveryDate, FieldsAreFoundInTheHeaderOnly) {
  const std::string header = "A: 1\r\nDelivery-DATE :  x\r\n\ty\r\n z\r\nDelivery-Date: second\r\n";
  EXPECT_EQ(find_header_field(header + "\r\nB: 2\r\n", true, "Delivery-Date"), "x y z");
  EXPECT_EQ(find_header_field(header + "\r\nB: 2\r\n", true, "b"), std::nullopt);
  EXPECT_EQ(find_header_field("A: 1\nno colon\nB: 2\n", true, "B"), std::nullopt);
  EXPECT_EQ(find_header_field(" A: 1\nB: 2\n", true, "B"), std::nullopt);
  EXPECT_EQ(find_header_field("A:\n\nx", true, "A"), "");
  EXPECT_EQ(find_header_field("A:\n 1\n", true, "A"), "1");
  EXPECT_EQ(find_header_field("", true, "A"), std::nullopt);
  EXPECT_EQ(find_header_field("AB: 1\nA: 2\n", true, "A"), "2");
}

TEST(DeliveryDate, AFieldThatMayGoOnIsNotTold) {
  const std::string header = "A: 1\nB: 2\n 3\nC: 4\n";
  for (size_t size = 0; size < header.size(); ++size) {
    const auto value = find_header_field(std::string_view(header).substr(0, size), false, "B");
    EXPECT_EQ(value.has_value(), size > header.find('C')) << size;
    EXPECT_EQ(value.value_or("2 3"), "2 3");
  }
  EXPECT_EQ(find_header_field("A: 1", true, "A"), "1");
  EXPECT_EQ(find_header_field("A: 1", false, "A"), std::nullopt);
  EXPECT_EQ(find_header_field("A: 1\n", true, "A"), "1");
  EXPECT_EQ(find_header_field("A: 1\n", false, "A"), std::nullopt);
}

TEST(DeliveryDate, OnlyADateThatFitsTheTagIsTaken) {
  const auto find = [](const std::string& date) {
    return find_delivery_date("X: y\nDelivery-date: " + date + "\n\nbody\n", true);
  };
  EXPECT_EQ(find("Tue, 14 Nov 2023 22:13:20 +0000"), 1700000000u);
  EXPECT_EQ(find("7 Feb 2106 06:28:15 +0000"), 4294967295u);
  EXPECT_EQ(find("7 Feb 2106 06:28:16 +0000"), std::nullopt);
  EXPECT_EQ(find("31 Dec 1969 23:59:59 +0000"), std::nullopt);
  EXPECT_EQ(find("some day"), std::nullopt);
}

}  // namespace
}  // namespace mh
