// SPDX-License-Identifier: LGPL-2.1-or-later
//
// CanonicalMessage: what of a message is the same in every copy of it, whichever way each came.
//
// Two copies of one mail, come through two mailing lists or directly and through one, differ in
// what was written on the way. Their canonical forms do not. It errs to the side of "another
// message": what is not known to be written on the way is kept. It is made of
//
//   Header fields, names in lower case, values unfolded with runs of blanks as one, sorted by name
//   (their order says nothing, and list managers change it), fields of one name in their order.
//   Without those of
//     transport    Return-Path Received Received-* X-Received Delivered-To X-Delivered-To
//                  X-Original-To Envelope-To X-Envelope-* Delivery-Date Resent-*
//                  X-OriginalArrivalTime DKIM-Signature DomainKey-Signature X-Google-* ARC-*
//                  Authentication-Results X-MS-Exchange-* X-Gm-*
//     lists        List-* X-List-* Mailing-List X-Mailing-List X-Mailman-* X-BeenThere X-ML-*
//                  X-Listprocessor-* X-Loop X-Sequence Precedence Errors-To Sender X-Sender
//                  Reply-To (lists set these three, to themselves)
//     filters      X-Spam X-Spam-* X-Virus-* X-Scanned-* X-MailScanner* X-Amavis-* X-Bogosity
//                  X-DSPAM-* X-Rspamd-* X-Greylist
//     mail stores  Status X-Status X-Keywords X-UID X-UIDL X-IMAP X-IMAPbase X-Mozilla-*
//                  X-Evolution* X-Gnus-* Xref Lines Content-Length, our own X-MH-UID, asimap's
//                  X-asimapd-uid, and what nmh's anno and repl write: Replied Forwarded
//   A Subject loses every "[tag]" in front, also between Re: and Fwd:, if there is a Message-ID:
//   the list wrote the tag, and the Message-ID tells mails apart that differ in nothing else.
//   From, Date, Message-ID, To and Cc stay: of one mail they are the same everywhere.
//
//   The body, without blank lines at its end and without footers of mailing lists there: a rule (a
//   line of "--", "-", or of eight and more of one of -_=*~#), below it up to the end no more than
//   kMostFooterLines lines and kMostFooterBytes bytes, which speak of unsubscribing, listinfo or a
//   mailing list and name an address. Up to three of them, for a list may feed another. Also the
//   part of its own that Mailman appends to a multipart message. A footer in base64, or one for
//   which a list wrapped the message in another multipart, is not seen: such copies stay apart.
//
//   Line ends as LF.
//
// A header of more than kMostHeader bytes is none: such a file is taken as it is.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mh {

// The first Message-ID of a header, from '<' to '>' (RFC 5322, 3.6.4), else as it stands; case
// matters. `start` holds all of the header. Nothing when there is none or it is empty.
std::optional<std::string> message_id_of(std::string_view start);

// Whether `start`, the first bytes of a message, holds all of its header.
bool has_whole_header(std::string_view start);

class CanonicalMessage {
 public:
  static constexpr size_t kMostHeader = size_t{1} << 20;
  static constexpr size_t kMostFooterLines = 20;
  static constexpr size_t kMostFooterBytes = 2000;

  // The bytes of the message from its beginning, in pieces however they are cut. The form does not
  // depend on where.
  void add(std::string_view bytes);
  // All were added.
  void finish();

  // What is there of the form and was not taken yet. It is held back by no more than the header and
  // the last few kilobytes of the body.
  std::string take();

 private:
  enum class Part { kHeader, kBody, kAsItIs };

  void add_line(std::string_view line);
  void add_body(std::string_view bytes);
  void end_header();
  void give(std::string_view bytes) { ready_ += bytes; }

  Part part_ = Part::kHeader;
  std::string header_;        // as it came
  bool ends_in_cr_ = false;   // of the body: dropped if a LF follows
  std::string tail_;          // of the body, line ends made LF
  bool tail_at_line_ = true;  // it begins a line
  std::string ready_;
};

}  // namespace mh
