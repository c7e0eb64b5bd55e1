// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/mh-settings.h"

#include <charconv>
#include <string_view>

namespace mh {
namespace {

Error wrong(const std::string& name, const std::string& value, const char* expected) {
  return Error(ErrorKind::kInvalid, name + " = " + value + ": must be " + expected);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(" \t,", at);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(text.find_first_of(" \t,", begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    at = end;
  }
  return words;
}

// "10", "10s", "10 secs", "2m", "500ms".
Result<Nanoseconds> parse_time(const std::string& name, const std::string& value,
                               Nanoseconds highest) {
  static constexpr std::pair<std::string_view, Nanoseconds> kUnits[] = {
      {"", kSecond},       {"s", kSecond},         {"sec", kSecond},
      {"secs", kSecond},   {"ms", kSecond / 1000}, {"msecs", kSecond / 1000},
      {"m", 60 * kSecond}, {"min", 60 * kSecond},  {"mins", 60 * kSecond}};
  const char* const end = value.data() + value.size();
  uint32_t count = 0;
  const auto [rest, problem] = std::from_chars(value.data(), end, count);
  std::string_view unit(rest, static_cast<size_t>(end - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& [text, length] : kUnits) {
    if (problem == std::errc() && unit == text && count * length <= highest) return count * length;
  }
  return tl::unexpected(wrong(name, value, "a time such as 10s, at most an hour"));
}

Result<bool> parse_bool(const std::string& name, const std::string& value) {
  if (value == "yes" || value == "y" || value == "true" || value == "1") return true;
  if (value == "no" || value == "n" || value == "false" || value == "0") return false;
  return tl::unexpected(wrong(name, value, "yes or no"));
}

using Parser = Status (*)(const std::string& name, const std::string& value, Options* options);

Result<std::string> parse_path(const std::string& name, const std::string& value) {
  if (value.starts_with('/') || value.starts_with("~/")) return value;
  return tl::unexpected(wrong(name, value, "an absolute path, or one that begins with ~/"));
}

Status parse_profile(const std::string& name, const std::string& value, Options* options) {
  MH_TRY_SET(options->profile, parse_path(name, value));
  return {};
}

Status parse_notify_dir(const std::string& name, const std::string& value, Options* options) {
  if (value.empty()) return {};
  MH_TRY_SET(options->notify_dir, parse_path(name, value));
  return {};
}

Status parse_new_mail(const std::string& name, const std::string& value, Options* options) {
  if (value != "unseen" && value != "as-mh") {
    return tl::unexpected(wrong(name, value, "unseen or as-mh"));
  }
  options->new_mail = value == "unseen" ? NewMail::kUnseen : NewMail::kAsMh;
  return {};
}

Status parse_grace(const std::string& name, const std::string& value, Options* options) {
  MH_TRY_SET(options->unseen_grace, parse_time(name, value, 3600 * kSecond));
  return {};
}

Status parse_lock_timeout(const std::string& name, const std::string& value, Options* options) {
  MH_TRY_SET(options->lock_timeout, parse_time(name, value, 3600 * kSecond));
  return {};
}

Status parse_keyword_map(const std::string& name, const std::string& value, Options* options) {
  for (const std::string& word : words_of(value)) {
    const size_t equals = word.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == word.size()) {
      return tl::unexpected(wrong(name, value, "a list of keyword=sequence"));
    }
    options->keyword_map.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return {};
}

Status parse_hidden(const std::string&, const std::string& value, Options* options) {
  options->hidden_sequences = words_of(value);
  return {};
}

Status parse_refile_flags(const std::string& name, const std::string& value, Options* options) {
  MH_TRY_SET(options->refile_flags, parse_bool(name, value));
  return {};
}

Status parse_expunge(const std::string& name, const std::string& value, Options* options) {
  if (value != "unlink" && value != "backup") {
    return tl::unexpected(wrong(name, value, "unlink or backup"));
  }
  options->backup = value == "backup";
  return {};
}

Status parse_inc_guard(const std::string& name, const std::string& value, Options* options) {
  using Guard = Options::Guard;
  for (const auto& [word, guard] :
       {std::pair("inbox", Guard::kInbox), std::pair("all", Guard::kAll),
        std::pair("none", Guard::kNone)}) {
    if (value != word) continue;
    options->inc_guard = guard;
    return {};
  }
  return tl::unexpected(wrong(name, value, "inbox, all or none"));
}

constexpr std::pair<std::string_view, Parser> kSettings[] = {
    {"mh_expunge", parse_expunge},           {"mh_inc_guard", parse_inc_guard},
    {"mh_hidden_sequences", parse_hidden},   {"mh_keyword_map", parse_keyword_map},
    {"mh_lock_timeout", parse_lock_timeout}, {"mh_new_mail", parse_new_mail},
    {"mh_notify_dir", parse_notify_dir},     {"mh_profile", parse_profile},
    {"mh_refile_flags", parse_refile_flags}, {"mh_unseen_grace", parse_grace}};

}  // namespace

Result<Options> check_settings(const RawSettings& raw, std::vector<std::string>* warnings) {
  Options options;
  for (const auto& [name, value] : raw) {
    Parser parser = nullptr;
    for (const auto& [known, its_parser] : kSettings) {
      if (known == name) parser = its_parser;
    }
    if (parser != nullptr) {
      MH_TRY(parser(name, value, &options));
      continue;
    }
    std::string text = name + ": there is no such setting, it does nothing. There are:";
    for (const auto& [known, its_parser] : kSettings) (text += ' ') += known;
    warnings->push_back(std::move(text));
  }
  return options;
}

}  // namespace mh
