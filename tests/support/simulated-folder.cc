// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/simulated-folder.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mh::test {
namespace {

using Kind = HeaderLine::Kind;

constexpr uint64_t kAmbiguous = 0;

uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0xbf58476d1ce4e5b9u + b;
  x ^= x >> 31;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 29);
}

bool is_annotation(Kind kind) {
  return kind == Kind::kReplied || kind == Kind::kForwarded || kind == Kind::kResent;
}

Content content_below(const SimulatedFile& file, size_t hidden_lines) {
  Content content{file.body.start, 0, file.body.length};
  for (size_t i = file.above.size(); i > hidden_lines; --i) {
    content.start = mix(content.start, file.above[i - 1].text);
    content.length += file.above[i - 1].size;
  }
  content.whole =
      content.length <= kFirstHashSize ? content.start : mix(content.start, file.body.rest);
  return content;
}

// Lines above the tag at `at` are "From " and annotations only.
bool well_placed(const SimulatedFile& file, size_t at) {
  for (size_t i = 0; i < at; ++i) {
    const Kind kind = file.above[i].kind;
    if (!is_annotation(kind) && !(i == 0 && kind == Kind::kFrom)) return false;
  }
  return true;
}

bool speaks_of_its_content(const SimulatedFile& file, size_t at) {
  const Content below = content_below(file, at + 1);
  return file.above[at].tag.length == below.length && file.above[at].tag.hash == below.whole;
}

Reading below_lines(const SimulatedFile& file, size_t hidden) {
  Reading reading;
  reading.hidden_lines = hidden;
  for (size_t i = 0; i < hidden; ++i) {
    reading.prefix += file.above[i].size;
    reading.replied = reading.replied || file.above[i].kind == Kind::kReplied;
    reading.forwarded = reading.forwarded || file.above[i].kind == Kind::kForwarded;
  }
  reading.content = content_below(file, hidden);
  return reading;
}

Reading below_tag(const SimulatedFile& file, size_t at, Reading::TagKind kind) {
  Reading reading = below_lines(file, at + 1);
  reading.kind = kind;
  reading.tag = file.above[at].tag;
  reading.first = at == 0 || (at == 1 && file.above[0].kind == Kind::kFrom);
  return reading;
}

}  // namespace

std::optional<uint32_t> Body::delivery_date() const {
  if (start % 4 != 0) return std::nullopt;
  return static_cast<uint32_t>(1'500'000'000 + start % 1000);
}

Reading read_as_message(const SimulatedFile& file, const Tag* recorded) {
  std::vector<size_t> tags;
  for (size_t i = 0; i < file.above.size(); ++i) {
    if (file.above[i].kind == Kind::kTag) tags.push_back(i);
  }
  const auto counts = [&](size_t at) {
    return well_placed(file, at) || speaks_of_its_content(file, at);
  };
  const auto on_record = std::find_if(tags.begin(), tags.end(), [&](size_t at) {
    return recorded != nullptr && file.above[at].tag == *recorded;
  });
  if (on_record != tags.end() && counts(*on_record))
    return below_tag(file, *on_record, Reading::TagKind::kRecorded);
  const auto genuine =
      std::find_if(tags.begin(), tags.end(), [&](size_t at) { return file.above[at].genuine; });
  if (genuine != tags.end() && counts(*genuine))
    return below_tag(file, *genuine, Reading::TagKind::kVerified);
  if (!tags.empty() && well_placed(file, tags.front()))
    return below_tag(file, tags.front(), Reading::TagKind::kUnverified);
  size_t hidden = 0;
  while (hidden < file.above.size() && well_placed(file, hidden + 1)) ++hidden;
  return below_lines(file, hidden);
}

Body SimulatedFolder::new_body(uint32_t kind) {
  // Short ones, some that a first read covers, some longer than that. Few lengths, so that
  // different messages are often equally long.
  constexpr std::array<uint32_t, 8> kLengths = {300, 300, 700, 3000, 3000, 9000, 9000, 12000};
  Body body;
  body.length = kLengths[kind % kLengths.size()];
  body.start = symbol();
  if (body.length > kFirstHashSize) body.rest = symbol();
  return body;
}

Body SimulatedFolder::edited(const Body& body, uint32_t kind) {
  Body after = body;
  const bool is_long = body.length > kFirstHashSize;
  switch (kind % 4) {
    case 0:
      after.start = symbol();
      break;
    case 1:
      (is_long ? after.rest : after.start) = symbol();
      break;
    case 2:
      (is_long ? after.rest : after.start) = symbol();
      after.length += 40;
      break;
    default:
      after = {symbol(), 0, body.length == 120 ? 80u : 120u};
  }
  return after;
}

uint64_t SimulatedFolder::new_inode() {
  if (!reuses_inodes || free_inodes_.empty()) return next_inode_++;
  const uint64_t inode = free_inodes_.back();
  free_inodes_.pop_back();
  return inode;
}

void SimulatedFolder::drop_link(const File& file) {
  if (--file->links == 0) free_inodes_.push_back(file->stamp.inode);
  file->stamp.ctime = clock_;
}

SimulatedFolder::File SimulatedFolder::put(uint32_t number, SimulatedFile like,
                                           std::optional<Nanoseconds> mtime) {
  const Nanoseconds now = tick();
  auto file = std::make_shared<SimulatedFile>(std::move(like));
  file->stamp.inode = new_inode();
  file->stamp.birth = keeps_birth ? now : 0;
  file->links = 1;
  written(file, mtime);
  remove(number);
  names[number] = file;
  return file;
}

SimulatedFolder::File SimulatedFolder::remove_and_put(uint32_t number, SimulatedFile like,
                                                      std::optional<Nanoseconds> mtime) {
  remove(number);
  return put(number, std::move(like), mtime);
}

void SimulatedFolder::written(const File& file, std::optional<Nanoseconds> mtime) {
  const Nanoseconds now = tick();
  file->stamp.ctime = now;
  file->stamp.mtime = mtime.value_or(now);
  file->stamp.size = file->body.length;
  for (const HeaderLine& line : file->above) file->stamp.size += line.size;
  file->silently_changed = looks_like_other_bytes(*file);
}

bool SimulatedFolder::looks_like_other_bytes(const SimulatedFile& file) {
  const uint64_t bytes = mix(content_below(file, 0).whole, read_as_message(file, nullptr).prefix);
  had_no_birth_ = had_no_birth_ || !keeps_birth;
  const Nanoseconds birth = had_no_birth_ ? 0 : file.stamp.birth;
  const auto before = seen_
                          .try_emplace({file.stamp.inode, static_cast<uint64_t>(birth),
                                        file.stamp.size, static_cast<uint64_t>(file.stamp.mtime)},
                                       bytes)
                          .first;
  if (before->second != bytes) before->second = kAmbiguous;  // and stays so when the first are back
  return before->second == kAmbiguous;
}

void SimulatedFolder::remove(uint32_t number) {
  const auto found = names.find(number);
  if (found == names.end()) return;
  tick();
  drop_link(found->second);
  names.erase(found);
}

void SimulatedFolder::move(uint32_t from, uint32_t to) {
  const File file = names.at(from);
  if (from == to || (names.contains(to) && names[to] == file)) return;  // as rename() does
  remove(to);
  names.erase(from);
  file->stamp.ctime = tick();
  names[to] = file;
}

void SimulatedFolder::link(uint32_t from, uint32_t to) {
  const File file = names.at(from);
  remove(to);
  file->stamp.ctime = tick();
  ++file->links;
  names[to] = file;
}

void SimulatedFolder::renumber(const std::map<uint32_t, uint32_t>& new_numbers) {
  std::map<uint32_t, File> moved;
  for (const auto& [from, to] : new_numbers) {
    const File file = names.at(from);
    if (from != to) file->stamp.ctime = tick();
    moved[to] = file;
  }
  names = std::move(moved);
}

}  // namespace mh::test
