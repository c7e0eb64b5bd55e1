// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/canonical-message.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "libmh/format/delivery-date.h"
#include "libmh/format/text.h"

namespace mh {
namespace {

// Of the body so much is held back, for the footers: three of them, and what stands around.
constexpr size_t kTail = 8192;
constexpr int kMostFooters = 3;
constexpr size_t kShortestRule = 8;

// See the header. A name that ends in '*' stands for all that begin so.
constexpr std::array kOnTheWay = std::to_array<std::string_view>(
    {// transport
     "return-path", "received", "received-*", "x-received", "delivered-to", "x-delivered-to",
     "x-original-to", "envelope-to", "x-envelope-*", "delivery-date", "resent-*",
     "x-originalarrivaltime", "dkim-signature", "domainkey-signature", "x-google-*", "arc-*",
     "authentication-results", "x-ms-exchange-*", "x-gm-*",
     // lists
     "list-*", "x-list-*", "mailing-list", "x-mailing-list", "x-mailman-*", "x-beenthere", "x-ml-*",
     "x-listprocessor-*", "x-loop", "x-sequence", "precedence", "errors-to", "sender", "x-sender",
     "reply-to",
     // filters
     "x-spam", "x-spam-*", "x-virus-*", "x-scanned-*", "x-mailscanner*", "x-amavis-*", "x-bogosity",
     "x-dspam-*", "x-rspamd-*", "x-greylist",
     // mail stores
     "status", "x-status", "x-keywords", "x-uid", "x-uidl", "x-imap", "x-imapbase", "x-mozilla-*",
     "x-evolution*", "x-gnus-*", "xref", "lines", "content-length", "x-mh-uid", "x-asimapd-uid",
     "replied", "forwarded"});

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (is_blank(text.front()) || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (is_blank(text.back()) || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

bool is_on_the_way(std::string_view name) {
  return std::ranges::any_of(kOnTheWay, [&](std::string_view each) {
    if (!each.ends_with('*')) return name == each;
    each.remove_suffix(1);
    return name.starts_with(each);
  });
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), to_lower);
  return out;
}

// Runs of blanks and line ends are one blank, none at either end.
std::string unfolded(std::string_view value) {
  std::string out;
  for (const char c : without_blanks(value)) {
    const bool blank = is_blank(c) || c == '\n';
    if (!blank) out += c;
    if (blank && out.back() != ' ') out += ' ';
  }
  return out;
}

struct HeaderField {
  std::string name;  // lower case; "" for a line that is no field
  std::string value;
};

std::string_view next_line(std::string_view* rest) {
  const size_t end = rest->find('\n');
  const std::string_view line = rest->substr(0, end == std::string_view::npos ? end : end + 1);
  rest->remove_prefix(line.size());
  return line;
}

HeaderField field_of(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {"", unfolded(text)};
  return {lower(without_blanks(text.substr(0, colon))), unfolded(text.substr(colon + 1))};
}

// `header` has LF alone as line ends.
std::vector<HeaderField> fields_of(std::string_view header) {
  std::vector<HeaderField> fields;
  while (!header.empty()) {
    const char* begin = header.data();
    size_t size = next_line(&header).size();
    while (!header.empty() && is_blank(header.front())) size += next_line(&header).size();
    HeaderField field = field_of(std::string_view(begin, size));
    if (!is_on_the_way(field.name)) fields.push_back(std::move(field));
  }
  return fields;
}

// Length of "Re:", "Fwd:" and the like in front, blanks behind it included; 0 for none.
size_t reply_mark(std::string_view subject) {
  for (const std::string_view mark : {"re:", "fwd:", "fw:", "aw:", "sv:"}) {
    if (!equal_ignoring_case(subject.substr(0, mark.size()), mark)) continue;
    const size_t end = subject.find_first_not_of(' ', mark.size());
    return end == std::string_view::npos ? subject.size() : end;
  }
  return 0;
}

// Takes every "[tag]" off the front, keeps the marks of a reply between them.
std::string without_list_tags(std::string_view subject) {
  std::string kept;
  for (;;) {
    if (const size_t mark = reply_mark(subject); mark != 0) {
      kept += lower(without_blanks(subject.substr(0, mark)));
      subject.remove_prefix(mark);
      continue;
    }
    const size_t end = subject.starts_with('[') ? subject.find(']') : std::string_view::npos;
    if (end == std::string_view::npos) return kept.append(subject);
    subject = without_blanks(subject.substr(end + 1));
  }
}

std::string canonical_header(std::string_view header) {
  std::vector<HeaderField> fields = fields_of(header);
  std::ranges::stable_sort(fields, {}, &HeaderField::name);
  const bool has_id = std::ranges::any_of(fields, [](const HeaderField& field) {
    return field.name == "message-id" && !field.value.empty();
  });
  std::string out;
  for (const HeaderField& field : fields) {
    const bool cut = has_id && field.name == "subject";
    out += field.name + ":" + (cut ? without_list_tags(field.value) : field.value) + "\n";
  }
  return out;
}

// ---- Footers ----------------------------------------------------------------------------------

bool is_rule(std::string_view line) {
  line = without_blanks(line);
  if (line == "--" || line == "-") return true;
  return line.size() >= kShortestRule &&
         std::string_view("-_=*~#").find(line[0]) != std::string_view::npos &&
         line.find_first_not_of(line[0]) == std::string_view::npos;
}

bool speaks_of_a_list(std::string_view text) {
  const std::string words = lower(text);
  const auto says = [&](std::string_view what) { return words.find(what) != std::string::npos; };
  return (says("unsubscribe") || says("listinfo") || says("mailing list")) &&
         (says("://") || says("@"));
}

void cut_blank_end(std::string_view* text) {
  while (!text->empty() && (is_blank(text->back()) || text->back() == '\n')) text->remove_suffix(1);
}

// Where the line before the one that begins at `line` begins.
size_t line_before(std::string_view text, size_t line) {
  if (line < 2) return 0;
  const size_t end = text.rfind('\n', line - 2);
  return end == std::string_view::npos ? 0 : end + 1;
}

// Where the footer at the end of `text` begins; nothing when there is none. `text` has no blank
// lines at its end; its first line may be a part of one when `whole_lines` is false.
std::optional<size_t> footer_at_end(std::string_view text, bool whole_lines) {
  size_t line = text.size() + 1;
  for (size_t lines = 0; lines <= CanonicalMessage::kMostFooterLines && line != 0; ++lines) {
    line = line_before(text, line);
    const std::string_view below = text.substr(line);
    if (below.size() > CanonicalMessage::kMostFooterBytes) return std::nullopt;
    if (line == 0 && !whole_lines) return std::nullopt;
    const std::string_view rule = below.substr(0, below.find('\n'));
    if (is_rule(rule) && speaks_of_a_list(below)) return line;
  }
  return std::nullopt;
}

// A part of its own before the last delimiter, with nothing but a footer in it: where it begins and
// ends, delimiters and all but the last excluded.
std::optional<std::pair<size_t, size_t>> footer_part(std::string_view text, bool whole_lines) {
  const size_t last = line_before(text, text.size() + 1);
  const std::string_view close = without_blanks(text.substr(last));
  if (close.size() < 5 || !close.starts_with("--") || !close.ends_with("--")) return std::nullopt;
  const std::string_view open = close.substr(0, close.size() - 2);
  size_t line = last;
  for (size_t lines = 0; lines <= 2 * CanonicalMessage::kMostFooterLines && line != 0; ++lines) {
    line = line_before(text, line);
    if (line == 0 && !whole_lines) return std::nullopt;
    std::string_view part = text.substr(line, last - line);
    if (without_blanks(part.substr(0, part.find('\n'))) != open) continue;
    const size_t header_end = part.find("\n\n");
    if (header_end == std::string_view::npos) return std::nullopt;
    if (lower(part.substr(0, header_end)).find("text/plain") == std::string::npos) {
      return std::nullopt;
    }
    std::string_view content = without_blanks(part.substr(header_end));
    const auto footer = footer_at_end(content, true);
    if (!footer || *footer != 0) return std::nullopt;
    return std::pair(line, last);
  }
  return std::nullopt;
}

std::string without_footers(std::string text, bool whole_lines) {
  for (int count = 0; count < kMostFooters; ++count) {
    std::string_view rest = text;
    cut_blank_end(&rest);
    text.resize(rest.size());
    if (const auto part = footer_part(text, whole_lines)) {
      text.erase(part->first, part->second - part->first);
    } else if (const auto footer = footer_at_end(text, whole_lines)) {
      text.resize(*footer);
    } else {
      return text;
    }
  }
  std::string_view rest = text;
  cut_blank_end(&rest);
  text.resize(rest.size());
  return text;
}

std::string with_lf(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += text[i];
  }
  return out;
}

// Length of the header, the empty line included; nothing when it has not ended. Before `from` it is
// known not to end.
std::optional<size_t> end_of_header(std::string_view text, size_t from = 0) {
  if (text.starts_with("\n")) return 1;
  if (text.starts_with("\r\n")) return 2;
  const size_t lf = text.find("\n\n", from);
  const size_t crlf = text.find("\n\r\n", from);
  if (lf == std::string_view::npos && crlf == std::string_view::npos) return std::nullopt;
  return lf < crlf ? lf + 2 : crlf + 3;
}

}  // namespace

bool has_whole_header(std::string_view start) { return end_of_header(start).has_value(); }

std::optional<std::string> message_id_of(std::string_view start) {
  const auto value = find_header_field(start, true, "Message-ID");
  if (!value) return std::nullopt;
  const size_t begin = value->find('<');
  const size_t end = begin == std::string::npos ? begin : value->find('>', begin);
  const std::string_view text = *value;
  std::string id(end == std::string::npos ? without_blanks(text)
                                          : text.substr(begin, end + 1 - begin));
  if (id.empty() || id == "<>") return std::nullopt;
  return id;
}

void CanonicalMessage::add(std::string_view bytes) {
  if (part_ == Part::kAsItIs) return give(bytes);
  if (part_ == Part::kBody) return add_body(bytes);
  // The end may lie across two pieces.
  const size_t from = header_.size() < 3 ? 0 : header_.size() - 3;
  header_ += bytes;
  const auto end = end_of_header(header_, from);
  const size_t size = end.value_or(header_.size());
  if (size > kMostHeader) {
    part_ = Part::kAsItIs;
    give("as it is\n");
    give(std::exchange(header_, {}));
  } else if (end) {
    const std::string body = header_.substr(size);
    header_.resize(size);
    end_header();
    add_body(body);
  }
}

void CanonicalMessage::end_header() {
  std::string text = with_lf(std::exchange(header_, {}));
  if (text.ends_with("\n\n") || text == "\n") text.pop_back();
  give("canonical\n" + canonical_header(text) + "\n");
  part_ = Part::kBody;
}

void CanonicalMessage::add_body(std::string_view bytes) {
  for (const char c : bytes) {
    if (ends_in_cr_ && c != '\n') tail_ += '\r';
    ends_in_cr_ = c == '\r';
    if (!ends_in_cr_) tail_ += c;
  }
  if (tail_.size() < 2 * kTail) return;
  const size_t size = tail_.size() - kTail;
  give(std::string_view(tail_).substr(0, size));
  tail_at_line_ = tail_[size - 1] == '\n';
  tail_.erase(0, size);
}

void CanonicalMessage::finish() {
  if (part_ == Part::kAsItIs) return;
  if (part_ == Part::kHeader) end_header();
  if (std::exchange(ends_in_cr_, false)) tail_ += '\r';
  if (tail_.size() > kTail) {
    const size_t size = tail_.size() - kTail;
    give(std::string_view(tail_).substr(0, size));
    tail_at_line_ = tail_[size - 1] == '\n';
    tail_.erase(0, size);
  }
  const std::string rest = without_footers(std::exchange(tail_, {}), tail_at_line_);
  give(rest);
  if (!rest.empty()) give("\n");
}

std::string CanonicalMessage::take() { return std::exchange(ready_, {}); }

}  // namespace mh
