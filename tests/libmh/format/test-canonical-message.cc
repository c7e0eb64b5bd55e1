// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/canonical-message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mh {
namespace {

using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

const std::string kRule(47, '_');

std::string form(std::string_view message, size_t piece = std::string_view::npos) {
  CanonicalMessage canonical;
  std::string out;
  for (size_t at = 0; at < message.size();) {
    const std::string_view next = message.substr(at, piece);
    canonical.add(next);
    out += canonical.take();
    at += next.size();
  }
  canonical.finish();
  return out + canonical.take();
}

std::string mail(const std::string& on_the_way, const std::string& body = "Hello.\n") {
  return on_the_way + "From: a@example.org\nSubject: one\nDate: 1 Jan 2020\nMessage-ID: <1@x>\n\n" +
         body;
}

std::string footer(const std::string& list) {
  return kRule + "\n" + list + " mailing list\n" + list +
         "@example.org\nhttp://example.org/mailman/listinfo/" + list + "\n";
}

TEST(CanonicalMessage, WhatWasWrittenOnTheWayDoesNotCount) {
  const std::string plain = form(mail(""));
  for (const char* field : {"Received: from a by b\n\tfor <c>; today\n",
                            "RECEIVED: x\n",
                            "Return-Path: <>\n",
                            "Delivered-To: me\n",
                            "X-Original-To: me\n",
                            "DKIM-Signature: v=1\n b=x\n",
                            "ARC-Seal: i=1\n",
                            "Authentication-Results: x\n",
                            "List-Id: <l>\n",
                            "List-Post: x\n",
                            "X-Mailman-Version: 2.1\n",
                            "X-BeenThere: l@x\n",
                            "Precedence: list\n",
                            "Errors-To: l\n",
                            "Sender: l-bounces@x\n",
                            "Reply-To: l@x\n",
                            "X-Spam-Status: No\n",
                            "X-Spam-Report: a\n b\n",
                            "Status: RO\n",
                            "X-Status: A\n",
                            "Lines: 3\n",
                            "Content-Length: 7\n",
                            "Replied: today\n",
                            "Resent-From: b@x\n",
                            "X-asimapd-uid: 1\n"}) {
    EXPECT_EQ(plain, form(mail(field))) << field;
  }
}

TEST(CanonicalMessage, AllElseCounts) {
  const std::string plain = form(mail(""));
  for (const char* field : {"To: b@x\n", "Cc: b@x\n", "X-Mailer: x\n", "X-Receive: x\n",
                            "In-Reply-To: <2@x>\n", "Content-Type: text/html\n", "no field\n"}) {
    EXPECT_NE(plain, form(mail(field))) << field;
  }
  EXPECT_NE(plain, form(mail("", "Hello!\n")));
  EXPECT_NE(plain, form(mail("", " Hello.\n")));
}

TEST(CanonicalMessage, OrderFoldingCaseOfNamesAndLineEndsDoNotCount) {
  const std::string plain = form("A: x y z\nB: 1\n\nline\nnext\n");
  EXPECT_EQ(plain, form("B:1\nA: x y z\n\nline\nnext\n"));
  EXPECT_EQ(plain, form("a:  x\n\ty\n  z \nb: 1\n\nline\nnext\n"));
  EXPECT_EQ(plain, form("A: x y z\r\nB: 1\r\n\r\nline\r\nnext\r\n"));
  EXPECT_EQ(plain, form("A: x y z\nB: 1\n\nline\nnext\n\n \n\n"));
  EXPECT_EQ(plain, form("A: x y z\nB: 1\n\nline\nnext"));
  EXPECT_NE(plain, form("A: x y z\nB: 1\n\nline\n\nnext\n"));
  EXPECT_NE(plain, form("A: x y Z\nB: 1\n\nline\nnext\n"));
  EXPECT_NE(form("A: 1\nA: 2\n\n"), form("A: 2\nA: 1\n\n"));
}

TEST(CanonicalMessage, TagsOfListsInTheSubjectDoNotCountWhereAMessageIdTellsMailsApart) {
  const auto with = [](const std::string& subject) {
    return form("Subject: " + subject + "\nMessage-ID: <1@x>\n\nb\n");
  };
  EXPECT_EQ(with("one"), with("[list] one"));
  EXPECT_EQ(with("one"), with("[list-a] [list b] one"));
  EXPECT_EQ(with("Re: one"), with("[list] Re: one"));
  EXPECT_EQ(with("Re: one"), with("Re: [list] one"));
  EXPECT_NE(with("one"), with("Re: one"));
  EXPECT_NE(with("one"), with("one [list]"));
  EXPECT_NE(with("one"), with("[list one"));
  EXPECT_NE(form("Subject: one\n\nb\n"), form("Subject: [list] one\n\nb\n"));
}

TEST(CanonicalMessage, FootersOfListsDoNotCount) {
  const std::string plain = form(mail(""));
  EXPECT_EQ(plain, form(mail("", "Hello.\n" + footer("aa"))));
  EXPECT_EQ(plain, form(mail("", "Hello.\n\n" + footer("aa") + "\n\n")));
  EXPECT_EQ(plain, form(mail("", "Hello.\n\n" + footer("aa") + "\n" + footer("bb"))));
  EXPECT_EQ(plain, form(mail("",
                             "Hello.\n-\nTo unsubscribe from this list: send the line\n"
                             "\"unsubscribe kernel\" to majordomo@example.org\n")));
  EXPECT_EQ(plain, form(mail("", "Hello.\n-- \nTo UNSUBSCRIBE, email to x-request@example.org\n")));
}

TEST(CanonicalMessage, ASignatureAndARuleAreNoFooter) {
  const std::string plain = form(mail(""));
  EXPECT_NE(plain, form(mail("", "Hello.\n-- \nAnn\nhttp://example.org/\n")));
  EXPECT_NE(plain, form(mail("", "Hello.\n" + kRule + "\n")));
  EXPECT_NE(plain, form(mail("", "Hello.\nhow do I unsubscribe from a@example.org\n")));
  EXPECT_NE(plain, form(mail("", "Hello.\n" + footer("aa") + "P.S.\n" + std::string(2000, 'x'))));
  std::string long_one = "Hello.\n" + kRule + "\n";
  for (int i = 0; i < 30; ++i) long_one += "unsubscribe at http://example.org\n";
  EXPECT_NE(plain, form(mail("", long_one)));
}

TEST(CanonicalMessage, APartOfItsOwnForTheFooterDoesNotCount) {
  const std::string parts =
      "--b\nContent-Type: text/plain\n\ntext\n--b\nContent-Type: image/png\n\n"
      "xx\n";
  const std::string with_footer =
      parts + "--b\nContent-Type: text/plain; charset=us-ascii\nContent-Disposition: inline\n\n" +
      footer("aa") + "\n--b--\n";
  EXPECT_EQ(form(mail("", parts + "--b--\n")), form(mail("", with_footer)));
  const std::string with_text =
      parts + "--b\nContent-Type: text/plain\n\nread this\n" + footer("aa") + "\n--b--\n";
  EXPECT_NE(form(mail("", parts + "--b--\n")), form(mail("", with_text)));
}

TEST(CanonicalMessage, AMessageOfFooterAloneIsNotNothing) {
  EXPECT_THAT(form(mail("", footer("aa"))), HasSubstr("message-id:<1@x>"));
  EXPECT_EQ(form(""), "canonical\n\n");
}

TEST(CanonicalMessage, PiecesDoNotMatter) {
  std::string body;
  for (int i = 0; i < 700; ++i) body += "line " + std::to_string(i) + (i % 3 ? "\n" : "\r\n");
  for (const std::string& text :
       {mail("Received: a\r\n\tb\r\n", body + footer("aa")), mail("", "x\r\r\n\r"),
        std::string("\r\nbody\n"), std::string("\nbody\n\n"), std::string("A: b\n\r\nbody\r\n"),
        std::string("no header at all"), mail("", std::string(20000, '\n') + "x")}) {
    const std::string whole = form(text);
    for (const size_t piece : {1, 2, 3, 7, 64, 4096}) EXPECT_EQ(whole, form(text, piece)) << piece;
  }
}

TEST(CanonicalMessage, AHeaderTooLongIsTakenAsItIs) {
  const std::string huge =
      "Received: " + std::string(CanonicalMessage::kMostHeader, 'x') + "\n\nb\n";
  EXPECT_EQ("as it is\n" + huge, form(huge));
  EXPECT_EQ("as it is\n" + huge, form(huge, 60000));
}

TEST(MessageId, IsWhatStandsBetweenTheBrackets) {
  EXPECT_THAT(message_id_of("Message-ID: <a@b>\n\n"), Optional(Eq("<a@b>")));
  EXPECT_THAT(message_id_of("message-id:\n\t<a@b> (x)\n\n"), Optional(Eq("<a@b>")));
  EXPECT_THAT(message_id_of("Message-Id: odd one\n\n"), Optional(Eq("odd one")));
  EXPECT_THAT(message_id_of("Message-ID: <1@x>\nMessage-ID: <2@x>\n\n"), Optional(Eq("<1@x>")));
  EXPECT_EQ(message_id_of("Message-ID: <A@b>\n\n") == message_id_of("Message-ID: <a@b>\n\n"),
            false);
  for (const char* none : {"", "Subject: x\n\nMessage-ID: <a@b>\n", "Message-ID:\n\n",
                           "Message-ID: <>\n\n", "Message-ID:  \n \n\n"}) {
    EXPECT_FALSE(message_id_of(none)) << none;
  }
}

TEST(MessageId, KnowsWhereAHeaderEnds) {
  EXPECT_TRUE(has_whole_header("A: b\n\n"));
  EXPECT_TRUE(has_whole_header("A: b\r\n\r\n"));
  EXPECT_TRUE(has_whole_header("\nbody"));
  EXPECT_FALSE(has_whole_header("A: b\n"));
  EXPECT_FALSE(has_whole_header(""));
}

}  // namespace
}  // namespace mh
