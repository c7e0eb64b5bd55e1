// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/store/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "libmh/format/fingerprint.h"
#include "libmh/store/journal-facts.h"
#include "libmh/store/state-file.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

// Of literals, so they end in a NUL.
constexpr const char* kName = kJournalFile.data();
constexpr const char* kSealName = kSealFile.data();

constexpr size_t kReadStep = size_t{256} << 10;
constexpr size_t kHeaderRead = 4096;
// The longest line is the content of a sequences file (at most 16 MB), with its escapes.
constexpr size_t kLongestLine = size_t{64} << 20;
constexpr size_t kSealSize = 256;
constexpr uint64_t kUnknownSize = UINT64_MAX;

bool is_possible_uid(uint32_t uid) { return uid != 0 && uid < kMaxUidNext; }

JournalIdentity identity_of(Fs& fs, int fd, const FileIdentity& file) {
  JournalIdentity identity{file.inode, file.birth, {}};
  if (file.birth == 0) identity.handle = fs.handle(fd).value_or("");
  return identity;
}

// A value that no journal of this folder had before, without a source of randomness: the name of
// the new file, the time, and the generation before it.
uint64_t next_generation(Fs& fs, uint64_t before, const FileIdentity& file) {
  const std::array<uint64_t, 5> parts{before, file.inode, static_cast<uint64_t>(file.birth),
                                      static_cast<uint64_t>(fs.now()),
                                      static_cast<uint64_t>(fs.monotonic())};
  return fingerprint({reinterpret_cast<const char*>(parts.data()), sizeof(parts)});
}

Status give_name(Fs& fs, int dir, const std::string& temporary, bool replace) {
  const char* from = temporary.c_str();
  const Status renamed =
      fs.rename(dir, from, dir, kName, replace ? RenameMode::kReplace : RenameMode::kNoReplace);
  if (renamed || replace || renamed.error().kind() != ErrorKind::kUnsupported) return renamed;
  MH_TRY(fs.link(dir, from, dir, kName));
  return fs.unlink(dir, from);
}

std::optional<Seal> read_seal(Fs& fs, int dir) {
  const Result<std::string> text = read_file(fs, dir, kSealName, kSealSize);
  if (!text) return std::nullopt;
  return parse_seal(std::string_view(*text).substr(0, text->find('\n')));
}

void add_all_uids(const JournalState& state, NumberSet& to) {
  to.unite(state.alive);
  for (const auto& [uid, tombstone] : state.tombstones) to.add(uid);
}

}  // namespace

// ---- Reading --------------------------------------------------------------------------------

std::optional<Seal> read_own_seal(Fs& fs, int dir) {
  const std::optional<Seal> seal = read_seal(fs, dir);
  const auto stat = fs.stat(dir, kSealName, Follow::kNo);
  if (!seal || !stat || stat->inode != seal->own_inode || stat->birth != seal->own_birth)
    return std::nullopt;
  return seal;
}

Result<Journal> Journal::open(Fs& fs, int state_dir) {
  for (int attempt = 0;; ++attempt) {
    Result<Journal> journal = load(fs, state_dir);
    if (!journal || !journal->state_.rolled_back || attempt == 2) return journal;
    // Without the lock, a writer at work can look like damage: then the file has changed by now.
    const Result<FileStat> now = fs.fstat(journal->fd_.get());
    if (now && FileIdentity::of(*now) == journal->own_) return journal;
  }
}

Result<JournalHeader> Journal::header_of(Fs& fs, int state_dir) {
  Journal journal(fs, state_dir);
  MH_TRY(journal.open_file());
  MH_TRY_SET(const HeaderLine line, journal.read_header());
  return line.header;
}

Result<Journal> Journal::load(Fs& fs, int state_dir) {
  Journal journal(fs, state_dir);
  // Before the journal, which only grows: so the seal can be behind what is read, never ahead.
  const std::optional<Seal> seal = read_seal(fs, state_dir);
  MH_TRY(journal.open_file());
  MH_TRY_SET(const HeaderLine header, journal.read_header());
  MH_TRY(journal.read_lines(nullptr));
  const JournalIdentity own = identity_of(fs, journal.fd_.get(), journal.own_);
  const bool same_file = seal && seal->inode == own.inode && seal->birth == own.birth &&
                         seal->generation == header.header.generation;
  if (same_file) journal.flushed_to_ = std::min(seal->offset, journal.offset_);
  if (!journal.is_as_left(header.own, own, seal)) jump(journal.state_, fs.now());
  return journal;
}

Status Journal::open_file() {
  constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK;  // whatever stands there, do not hang on it
  Result<Fd> fd = fs_->open(state_dir_, kName, O_RDWR | kFlags);
  writable_ = fd.has_value();
  if (!fd &&
      (fd.error().kind() == ErrorKind::kPermission || fd.error().kind() == ErrorKind::kReadOnly)) {
    fd = fs_->open(state_dir_, kName, O_RDONLY | kFlags);
  }
  MH_TRY_SET(fd_, std::move(fd));
  MH_TRY_SET(const FileStat stat, fs_->fstat(fd_.get()));
  if (stat.type != FileType::kRegular)
    return fail(ErrorKind::kCorrupt, std::string(kName) + " is not a regular file");
  own_ = FileIdentity::of(stat);
  return {};
}

Result<HeaderLine> Journal::read_header() {
  std::string start(std::min<uint64_t>(kHeaderRead, own_.size), '\0');
  MH_TRY_SET(const size_t got, fs_->pread(fd_.get(), start.data(), start.size(), 0));
  start.resize(got);
  const size_t newline = start.find('\n');
  if (newline == std::string::npos)
    return fail(ErrorKind::kCorrupt, std::string(kName) + " has no header line");
  MH_TRY_SET(HeaderLine header, parse_header(std::string_view(start).substr(0, newline)));
  state_.header = header.header;
  take_good_line(newline + 1, 0);
  return header;
}

// From offset_ to own_.size, in steps: memory is bounded by the longest line, not by the file.
Status Journal::read_lines(std::vector<NumberRange>* changed) {
  std::string buffer;
  bool overlong = false;  // in a line whose start was dropped
  uint64_t at = offset_;  // of buffer's first byte
  while (at + buffer.size() < own_.size) {
    const size_t had = buffer.size();
    const size_t want = std::min<uint64_t>(kReadStep, own_.size - at - had);
    buffer.resize(had + want);
    MH_TRY_SET(const size_t got, fs_->pread(fd_.get(), buffer.data() + had, want, at + had));
    buffer.resize(had + got);
    size_t start = 0;
    for (size_t newline = buffer.find('\n', had); newline != std::string::npos;
         newline = buffer.find('\n', start)) {
      const auto line = std::string_view(buffer).substr(start, newline - start);
      start = newline + 1;
      if (overlong) {
        bad_line_ = true;
        overlong = false;
      } else {
        take_line(line, at + start, changed);
      }
    }
    if (buffer.size() - start > kLongestLine) {
      overlong = true;
      start = buffer.size();
    }
    buffer.erase(0, start);
    at += start;
    if (got < want) own_.size = at + buffer.size();  // cut meanwhile
  }
  return {};
}

void Journal::take_line(std::string_view line, uint64_t end, std::vector<NumberRange>* changed) {
  const Applied applied = apply_line(line, state_);
  if (!applied.good) {
    bad_line_ = true;
    return;
  }
  if (std::exchange(bad_line_, false) && !state_.rolled_back) jump(state_, fs_->now());
  take_good_line(end, applied.uid);
  if (changed != nullptr && applied.uid != 0) changed->push_back({applied.uid, applied.uid});
}

void Journal::take_good_line(uint64_t end, uint32_t uid) {
  offset_ = end;
  ++state_.lines;
  lines_.push_back({end, uid});
}

// Whether the file is the one that the header names and holds all that was ever flushed.
bool Journal::is_as_left(const JournalIdentity& named, const JournalIdentity& own,
                         const std::optional<Seal>& seal) const {
  if (state_.rolled_back) return true;  // has jumped already
  const bool of_this = seal && seal->generation == state_.header.generation;
  const bool untouched = of_this && seal->offset == own_.size && seal->ctime == own_.ctime;
  if (named != own) {
    const auto nameless = [](const JournalIdentity& id) {
      return id.birth == 0 && id.handle.empty();
    };
    return nameless(named) && nameless(own) && untouched;
  }
  if (!of_this || seal->inode != own.inode || seal->birth != own.birth) return true;
  return offset_ >= seal->offset && (own_.size != seal->offset || untouched);
}

Result<bool> Journal::refresh(NumberSet* changed) {
  MH_TRY_SET(const FileStat stat, fs_->stat(state_dir_, kName, Follow::kNo));
  const FileIdentity now = FileIdentity::of(stat);
  if (!now.same_file(own_) || now.size < own_.size) return reload(changed);
  // A torn tail may have been cut off and as many bytes put in its place.
  if (now.size > own_.size || own_.size != offset_) return refresh_grown(now, changed);
  // Written to, but not longer: somebody has copied something over it.
  if (ctime_known_ && now.ctime != own_.ctime) return reload(changed);
  own_ = now;
  ctime_known_ = true;
  return false;
}

Result<bool> Journal::refresh_grown(const FileIdentity& now, NumberSet* changed) {
  const std::optional<Seal> seal = read_seal(*fs_, state_dir_);
  own_ = now;
  ctime_known_ = true;
  bad_line_ = false;
  const uint64_t before = offset_;
  std::vector<NumberRange> uids;
  const Status read = read_lines(&uids);
  if (changed != nullptr) changed->unite(NumberSet::from_ranges(std::move(uids)));
  if (!read) {
    own_.size = kUnknownSize;
    return pass_on(read);
  }
  if (seal && seal->generation == state_.header.generation && seal->inode == own_.inode)
    flushed_to_ = std::max(flushed_to_, std::min(seal->offset, offset_));
  return offset_ != before;
}

Result<bool> Journal::reload(NumberSet* changed) {
  MH_TRY_SET(Journal fresh, load(*fs_, state_dir_));
  const bool same =
      fresh.own_.same_file(own_) && fresh.state_.header.generation == state_.header.generation;
  if (same && fresh.offset_ < flushed_to_ && !fresh.state_.rolled_back)
    jump(fresh.state_, fs_->now());
  if (changed != nullptr) {
    add_all_uids(state_, *changed);
    add_all_uids(fresh.state_, *changed);
  }
  fresh.pending_ = std::move(pending_);
  fresh.pending_sequences_ = std::move(pending_sequences_);
  fresh.impossible_ = impossible_;
  *this = std::move(fresh);
  return true;
}

Result<NumberSet> Journal::changed_since(uint64_t offset) const {
  auto line = std::lower_bound(lines_.begin(), lines_.end(), offset,
                               [](const LineEnd& end, uint64_t at) { return end.offset < at; });
  if (line == lines_.end() || line->offset != offset)
    return fail(ErrorKind::kNotFound, "no line of the journal ends at " + std::to_string(offset));
  std::vector<NumberRange> uids;
  for (++line; line != lines_.end(); ++line) {
    if (line->uid != 0) uids.push_back({line->uid, line->uid});
  }
  return NumberSet::from_ranges(std::move(uids));
}

// ---- Writing --------------------------------------------------------------------------------

Result<Journal> Journal::create(Fs& fs, int state_dir, JournalState state, mode_t mode, gid_t gid,
                                bool replace) {
  Journal journal(fs, state_dir);
  const std::string temporary = replacement_name(kName, static_cast<uint64_t>(fs.process()));
  // One left by a process of our pid that was killed would stand in the way.
  const Status stale = fs.unlink(state_dir, temporary.c_str());
  if (!stale && stale.error().kind() != ErrorKind::kNotFound) return pass_on(stale);
  Status written = journal.write_new(temporary, state, mode, gid);
  if (written) written = give_name(fs, state_dir, temporary, replace);
  if (!written) {
    const Status swept = fs.unlink(state_dir, temporary.c_str());
    static_cast<void>(swept);  // the first error is the one to tell
    return pass_on(written);
  }
  MH_TRY(flush_directory(fs, state_dir));
  journal.flushed_to_ = journal.offset_;
  journal.write_seal();
  return journal;
}

Status Journal::write_new(const std::string& temporary, const JournalState& facts, mode_t mode,
                          gid_t gid) {
  MH_TRY_SET(fd_, fs_->open(state_dir_, temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
                            S_IRUSR | S_IWUSR));
  writable_ = true;
  MH_TRY_SET(const FileStat stat, fs_->fstat(fd_.get()));
  MH_TRY(set_rights(*fs_, fd_.get(), mode, gid));
  own_ = FileIdentity::of(stat);
  HeaderLine header{facts.header, identity_of(*fs_, fd_.get(), own_)};
  header.header.generation = next_generation(*fs_, facts.header.generation, own_);
  std::string text;
  print_header(text, header);
  state_.header = header.header;
  take_good_line(text.size(), 0);
  print_facts(text, facts);
  take_lines(std::string_view(text).substr(offset_));
  if (bad_line_ || state_.rolled_back || offset_ != text.size())
    return fail(ErrorKind::kInvalid, "impossible facts for a journal");
  own_.size = text.size();
  ctime_known_ = false;
  MH_TRY(fs_->pwrite(fd_.get(), text.data(), text.size(), 0));
  return fs_->fsync(fd_.get());
}

// Whole lines that stand in the file from offset_ on.
void Journal::take_lines(std::string_view lines) {
  const uint64_t at = offset_;
  for (size_t start = 0; start < lines.size();) {
    const size_t newline = lines.find('\n', start);
    take_line(lines.substr(start, newline - start), at + newline + 1, nullptr);
    start = newline + 1;
  }
}

void Journal::add_uidnext_limit(uint32_t limit) { print_uidnext_limit(pending_, limit); }
void Journal::add_modseq_floor(uint64_t floor) { print_modseq_floor(pending_, floor); }
void Journal::add_directory(const DirectoryIdentity& directory) {
  print_directory(pending_, directory);
}
void Journal::add_record(const Record& record) {
  impossible_ |= !is_possible_uid(record.uid);
  print_record(pending_, record);
}
void Journal::add_tombstone(const Tombstone& tombstone) {
  impossible_ |= !is_possible_uid(tombstone.uid);
  print_tombstone(pending_, tombstone);
}
void Journal::add_pending_sequences(PendingSequences text) { pending_sequences_ = std::move(text); }
void Journal::add_sequences_written() {
  pending_sequences_.reset();
  print_pending_sequences(pending_, "");
}
void Journal::add_pending_flags(std::string_view text) { print_pending_flags(pending_, text); }
void Journal::add_undecided(const NumberSet& uids) { print_undecided(pending_, uids); }
void Journal::add_option(std::string_view option, bool on) { print_option(pending_, option, on); }
void Journal::add_pending_save(const PendingSave& save) {
  impossible_ |= !is_possible_uid(save.uid) || save.first == 0 || save.count == 0;
  print_pending_save(pending_, save);
}
void Journal::add_saves_finished() { print_saves_finished(pending_); }
void Journal::add_untold(const Untold& untold) { print_untold(pending_, untold); }
void Journal::add_told() { print_told(pending_); }
void Journal::add_pop3(uint32_t uid, const Pop3Identity& identity) {
  impossible_ |= !is_possible_uid(uid);
  print_pop3(pending_, uid, identity);
}

void Journal::add_renumbering(const Renumbering& renumbering) {
  print_renumbering(pending_, renumbering);
}
void Journal::add_renumbered(const Renumbered& renumbered) {
  print_renumbered(pending_, renumbered);
}
void Journal::add_renumbered_known(uint64_t serial) { print_renumbered_known(pending_, serial); }

Status Journal::reserve_uids(uint32_t next, uint32_t count) {
  const uint64_t needed = uint64_t{next} + count;
  if (needed > kMaxUidNext)
    return fail(ErrorKind::kInvalid, "the UIDs of this UIDVALIDITY are used up");
  if (needed > state_.uidnext_limit) {
    add_uidnext_limit(static_cast<uint32_t>(std::min<uint64_t>(needed + kUidBlock, kMaxUidNext)));
  }
  return {};
}

void Journal::discard_pending() {
  pending_.clear();
  pending_sequences_.reset();
  impossible_ = false;
}

Status Journal::append() {
  if (!has_pending()) return {};
  if (impossible_) return fail(ErrorKind::kInvalid, "impossible facts for a journal");
  if (!writable_) return fail(ErrorKind::kReadOnly, std::string(kName) + " cannot be written");
  if (state_.rolled_back || flush_failed_) return rewrite(true);
  MH_TRY_SET(const FileStat stat, fs_->fstat(fd_.get()));
  if (stat.size != own_.size)
    return fail(ErrorKind::kBusy, "the journal was changed since it was read");
  ctime_known_ = false;
  if (own_.size != offset_) {
    MH_TRY(fs_->truncate(fd_.get(), offset_));
    own_.size = offset_;
    bad_line_ = false;
  }
  // An edit of the text that stands there now, which is another when others come before us.
  const size_t others = pending_.size();
  if (pending_sequences_)
    print_pending_sequences(pending_, state_.sequences_base, *pending_sequences_);
  const Status written = fs_->pwrite(fd_.get(), pending_.data(), pending_.size(), offset_);
  if (!written) {
    pending_.resize(others);
    if (!fs_->truncate(fd_.get(), offset_)) {
      own_.size = kUnknownSize;
    } else if (flushed_to_ == offset_) {
      write_seal();
    }
    return written;
  }
  own_.size += pending_.size();
  take_lines(pending_);
  std::string().swap(pending_);  // after a first sync of a large folder it has many megabytes
  pending_sequences_.reset();
  return {};
}

Status Journal::flush() {
  if (!flush_failed_) {
    if (flushed_to_ >= offset_) return {};
    const Status flushed = fs_->fdatasync(fd_.get());
    if (flushed) {
      flushed_to_ = offset_;
      write_seal();
      return {};
    }
    flush_failed_ = true;
    if (!writable_) return flushed;
  }
  if (!writable_) return fail(ErrorKind::kIo, std::string(kName) + " could not be flushed");
  return rewrite(false);
}

// Everything into a new file, which is flushed before it gets the name.
Status Journal::rewrite(bool with_pending) {
  MH_TRY_SET(const FileStat stat, fs_->stat(state_dir_, kName, Follow::kNo));
  if (!FileIdentity::of(stat).same_file(own_) || stat.size != own_.size)
    return fail(ErrorKind::kBusy, "the journal was changed since it was read");
  JournalState facts = state_;
  std::string_view rest = with_pending ? std::string_view(pending_) : std::string_view();
  while (!rest.empty()) {
    const size_t newline = rest.find('\n');
    apply_line(rest.substr(0, newline), facts);
    rest.remove_prefix(newline + 1);
  }
  if (with_pending && pending_sequences_) {
    const PendingSequences& text = *pending_sequences_;
    facts.pending_sequences = text.head + text.before + text.after;
  }
  MH_TRY_SET(Journal fresh,
             create(*fs_, state_dir_, std::move(facts), stat.mode & 07777, stat.gid, true));
  if (!with_pending) {
    fresh.pending_ = std::move(pending_);
    fresh.pending_sequences_ = std::move(pending_sequences_);
    fresh.impossible_ = impossible_;
  }
  *this = std::move(fresh);
  return {};
}

// Only a hint that gets better all else: what fails here costs a jump or a flush, no truth.
void Journal::write_seal() {
  const Result<FileStat> stat = fs_->fstat(fd_.get());
  if (!stat || stat->size != offset_) return;
  own_ = FileIdentity::of(*stat);
  ctime_known_ = true;
  const auto file = open_in_place(*fs_, state_dir_, kSealName, stat->mode & 07777, stat->gid);
  if (!file) return;
  const Result<FileStat> own = fs_->fstat(file->get());
  if (!own) return;
  std::string line;
  print_seal(line, {own_.inode, own_.birth, state_.header.generation, offset_, own_.ctime,
                    own->inode, own->birth});
  const Status written = fs_->pwrite(file->get(), line.data(), line.size(), 0);
  static_cast<void>(written);
}

}  // namespace mh
