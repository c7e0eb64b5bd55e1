// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/format/component-text.h"

#include <algorithm>

#include "libmh/format/text.h"

namespace mh {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text), size_(text.size()) {}

  ComponentText run() {
    while (!rest_.empty()) {
      const size_t newline = rest_.find('\n');
      ended_ = newline != std::string_view::npos;
      begin_ = size_ - rest_.size();
      const std::string_view line = rest_.substr(0, newline);
      rest_.remove_prefix(ended_ ? newline + 1 : rest_.size());
      ++number_;
      take(line);
    }
    finish_value();
    return std::move(result_);
  }

 private:
  void take(std::string_view line) {
    if (begins_with_blank(line) && in_field_) {
      value_.append(line).push_back('\n');  // of no use if that line is left out
      if (!skipping_) result_.components.back().end = size_ - rest_.size();
      return;
    }
    finish_value();
    in_field_ = skipping_ = true;  // a line that is left out takes its continuation with it
    if (trimmed(line).empty()) {
      // nmh does not mind one empty line at the very end.
      if (!line.empty() || !rest_.empty()) note("is blank: every nmh command stops at it");
      in_field_ = false;
      return;
    }
    if (begins_with_blank(line)) {
      note("begins with a blank, but there is no line to continue");
      line = trimmed(line);
    }
    take_field(line);
  }

  void take_field(std::string_view line) {
    const size_t colon = line.find(':');
    if (line[0] == '-' || colon == std::string_view::npos) {
      return note("is left out, no \"name:\" at its start: every nmh command stops at it");
    }
    if (colon > kMaxComponentName) return note("is left out: its name is too long for nmh");
    if (!ended_ && colon + 1 == line.size()) note("ends at its colon: nmh stops at it");
    std::string_view name = line.substr(0, colon);
    if (name.find('\0') != std::string_view::npos) note("has a NUL in its name");
    name = name.substr(0, name.find('\0'));
    while (!name.empty() && is_space(name.back())) name.remove_suffix(1);
    result_.components.push_back({std::string(name), {}, begin_, size_ - rest_.size()});
    value_.assign(line.substr(colon + 1)).push_back('\n');
    skipping_ = false;
  }

  void finish_value() {
    if (skipping_) return;
    const size_t nul = value_.find('\0');
    if (nul != std::string::npos)
      note("or the one before it has a NUL: the text after it is ignored");
    std::string& value = result_.components.back().value;
    value = trimmed(std::string_view(value_).substr(0, nul));
    std::replace_if(value.begin(), value.end(), is_space, ' ');
    skipping_ = true;
  }

  void note(std::string_view what) {
    note_problem(result_.problems, "line " + std::to_string(number_) + " " + std::string(what));
  }

  std::string_view rest_;  // behind the line
  const size_t size_;      // of the text
  size_t begin_ = 0;       // of the line
  size_t number_ = 0;      // of the line
  bool ended_ = false;     // it had a newline
  bool in_field_ = false;  // a line that begins with a blank continues something
  bool skipping_ = true;   // ... that is left out, or nothing
  std::string value_;      // lines joined so far
  ComponentText result_;
};

}  // namespace

ComponentText parse_components(std::string_view text) { return Parser(text).run(); }

}  // namespace mh
