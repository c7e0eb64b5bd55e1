// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/visible-part.h"

#include <algorithm>

#include "libmh/format/text.h"

namespace mh {
namespace {

constexpr std::string_view kFromStart = "From ";

enum class Annotation { kNone, kReplied, kForwarded, kResent };

Annotation annotation_of(std::string_view field_name) {
  if (equal_ignoring_case(field_name, "Replied")) return Annotation::kReplied;
  if (equal_ignoring_case(field_name, "Forwarded")) return Annotation::kForwarded;
  if (equal_ignoring_case(field_name, "Resent")) return Annotation::kResent;
  return Annotation::kNone;
}

// The name before the colon of a field's first line; nothing if it is no field.
std::optional<std::string_view> field_name(std::string_view line) {
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ':') {
      if (i == 0) return std::nullopt;
      return line.substr(0, i);
    }
    if (line[i] <= ' ' || line[i] > '~') return std::nullopt;
  }
  return std::nullopt;
}

// One pass down a header. Positions are offsets in `text_`.
class Scanner {
 public:
  Scanner(std::string_view text, bool whole) : text_(text.substr(0, kMaxPrefix)), whole_(whole) {
    if (text.size() >= kMaxPrefix) whole_ = true;  // what lies beyond counts as not being there
  }

  PrefixScan run() {
    if (take_from_line()) {
      while (take_field()) {
      }
    }
    if (scan_.more_needed) scan_.prefix_open = only_annotations_;
    return std::move(scan_);
  }

 private:
  // The line at `at` with its newline; empty when the newline is not among the bytes.
  std::string_view line_at(size_t at) {
    const size_t newline = text_.find('\n', at);
    if (newline != std::string_view::npos) return text_.substr(at, newline + 1 - at);
    scan_.more_needed = !whole_;
    return {};
  }

  bool take_from_line() {
    const size_t seen = std::min(text_.size(), kFromStart.size());
    if (text_.substr(0, seen) != kFromStart.substr(0, seen)) return true;
    if (seen < kFromStart.size()) {
      scan_.more_needed = !whole_;
      return false;
    }
    const std::string_view line = line_at(0);
    if (line.empty()) return false;
    from_seen_ = true;
    at_ = scan_.from_line = scan_.untagged_offset = line.size();
    return true;
  }

  // anno prepends: what it added stands above the "From " line then. There is one such line.
  bool take_from_line_below(std::string_view line) {
    if (from_seen_ || !line.starts_with(kFromStart)) return false;
    from_seen_ = true;
    at_ += line.size();
    if (only_annotations_) scan_.untagged_offset = at_;
    return true;
  }

  // False when the header ends here, for whatever reason.
  bool take_field() {
    const std::string_view line = line_at(at_);
    if (take_from_line_below(line)) return true;
    const auto name = field_name(line);
    if (!name || line.find('\0') != std::string_view::npos) return false;
    note_candidate(line);
    size_t end = at_ + line.size();
    while (begins_with_blank(text_.substr(end))) {
      const std::string_view continuation = line_at(end);
      if (continuation.empty() || continuation.find('\0') != std::string_view::npos) return false;
      end += continuation.size();
    }
    note_field(annotation_of(*name), end);
    at_ = end;
    return true;
  }

  void note_candidate(std::string_view line) {
    if (line.size() != kTagLineSize) return;
    TagCandidate candidate;
    candidate.parsed = parse_tag(line);
    if (!candidate.parsed && !is_tag_placeholder(line)) return;
    candidate.begin = at_;
    candidate.end = at_ + line.size();
    candidate.only_annotations_above = only_annotations_;
    candidate.first_line = at_ == scan_.from_line;
    candidate.replied_above = replied_;
    candidate.forwarded_above = forwarded_;
    scan_.candidates.push_back(candidate);
  }

  void note_field(Annotation annotation, size_t end) {
    replied_ = replied_ || annotation == Annotation::kReplied;
    forwarded_ = forwarded_ || annotation == Annotation::kForwarded;
    only_annotations_ = only_annotations_ && annotation != Annotation::kNone;
    if (!only_annotations_) return;
    scan_.untagged_offset = end;
    scan_.replied = replied_;
    scan_.forwarded = forwarded_;
  }

  std::string_view text_;
  bool whole_;
  size_t at_ = 0;
  bool from_seen_ = false;
  bool only_annotations_ = true;  // so far
  bool replied_ = false;
  bool forwarded_ = false;
  PrefixScan scan_;
};

TagChoice chosen(TagChoice::Kind kind, const TagCandidate& candidate) {
  TagChoice choice;
  choice.kind = kind;
  choice.visible_offset = candidate.end;
  if (candidate.parsed) choice.tag = candidate.parsed->tag;
  choice.replied = candidate.replied_above;
  choice.forwarded = candidate.forwarded_above;
  return choice;
}

}  // namespace

PrefixScan scan_prefix(std::string_view start_of_file, bool is_whole_file) {
  return Scanner(start_of_file, is_whole_file).run();
}

TagChoice choose_tag(const PrefixScan& scan, const TagKey& key, const Tag* recorded,
                     bool content_refuted) {
  using Kind = TagChoice::Kind;
  for (const TagCandidate& candidate : scan.candidates) {
    if (recorded == nullptr || !candidate.parsed || candidate.parsed->tag != *recorded) continue;
    TagChoice choice = chosen(Kind::kRecorded, candidate);
    choice.take_guid_and_dates = choice.settled = true;
    return choice;
  }
  const bool could_be_recorded = recorded != nullptr && scan.more_needed;
  for (const TagCandidate& candidate : scan.candidates) {
    if (content_refuted && !candidate.only_annotations_above) continue;
    if (!candidate.parsed || !verify(*candidate.parsed, key)) continue;
    TagChoice choice = chosen(Kind::kVerified, candidate);
    choice.take_guid_and_dates = true;
    choice.must_match_content = !candidate.only_annotations_above;
    choice.settled = !could_be_recorded;
    return choice;
  }
  for (const TagCandidate& candidate : scan.candidates) {
    if (!candidate.only_annotations_above) continue;
    TagChoice choice = chosen(Kind::kUnverified, candidate);
    choice.take_guid_and_dates = candidate.first_line && candidate.parsed.has_value();
    choice.settled = !scan.more_needed;
    return choice;
  }
  TagChoice none;
  none.visible_offset = scan.untagged_offset;
  none.replied = scan.replied;
  none.forwarded = scan.forwarded;
  none.settled = !scan.more_needed;
  return none;
}

}  // namespace mh
