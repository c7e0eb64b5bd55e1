// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/findings.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "libmh/folder/inspect.h"
#include "libmh/folder/orphans.h"
#include "libmh/folder/probe.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"
#include "libmh/system/sequences-file.h"
#include "mhsync/progress.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

constexpr size_t kMaxContext = 16 << 20;
// Nothing that a living process makes lasts as long.
constexpr Nanoseconds kLeftover = 3600 * kSecond;
// Some write their files at leisure; nobody a whole day.
constexpr Nanoseconds kLeftoverOfOthers = 24 * 3600 * kSecond;
constexpr Nanoseconds kLongWrite = 600 * kSecond;

void add(Findings* found, std::string kind, std::string about, std::string message,
         std::string cure, Remedy remedy = Remedy::kNone) {
  found->push_back({.kind = std::move(kind),
                    .about = std::move(about),
                    .message = std::move(message),
                    .cure = std::move(cure),
                    .remedy = remedy});
}

void check_sequences(const FolderView& view, Findings* found) {
  if (view.sequences_error) {
    add(found, "sequences-unreadable", "", view.sequences_error->message(),
        "make it a readable file of your own");
    return;
  }
  std::vector<std::string> problems;
  const Sequences sequences = Sequences::parse(view.sequences_text, &problems);
  for (const std::string& problem : problems) {
    add(found, "sequences-malformed", "", "the sequences file: " + problem,
        "take that line out; nmh commands may fail on it", Remedy::kSequences);
  }
  const NumberSet there = view.numbers();
  for (const std::string_view name : sequences.names()) {
    NumberSet stale = *sequences.find(name);
    stale.subtract(there);
    if (stale.empty()) continue;
    add(found, "sequence-stale", std::string(name),
        "this sequence names messages that are not there: " + stale.print_nmh(),
        "none is needed, nmh drops them when it next writes the file", Remedy::kSequences);
  }
}

// A name that stands for a message to somebody, and is none. What is no file stays what it is.
void check_number(const FileStat& stat, const std::string& name, NameKind kind, Findings* found) {
  const Remedy remedy = stat.type == FileType::kRegular ? Remedy::kNumber : Remedy::kNone;
  if (kind == NameKind::kZero) {
    add(found, "name", name, "no program takes it for a message",
        "give it a number that is free, or remove it", remedy);
  } else if (kind == NameKind::kLeadingZero) {
    add(found, "name", name, "nmh takes it for a message, and then cannot open it",
        "give it a number without leading zeros that is free, or remove it", remedy);
  } else {
    add(found, "name", name, "no nmh command works in a folder with a number as large as this",
        "give it a smaller number that is free", remedy);
  }
}

void check_name(Fs& fs, int dir, const std::string& name, Findings* found) {
  const NameKind kind = classify_name(name);
  const bool is_number =
      kind == NameKind::kZero || kind == NameKind::kLeadingZero || kind == NameKind::kTooLarge;
  const bool is_passing =
      kind == NameKind::kSequencesLock || kind == NameKind::kTemporary || kind == NameKind::kOurs;
  if (!is_number && !is_passing) return;
  const auto stat = fs.stat(dir, name.c_str(), Follow::kNo);
  if (!stat) return;
  if (is_number) return check_number(*stat, name, kind, found);
  const Nanoseconds age = fs.now() - stat->ctime;
  if (kind == NameKind::kSequencesLock && is_stale_dot_lock(*stat, fs.now())) {
    add(found, "lock", name, "a lock that another mail program left when it died",
        "remove it if that program does not run any more", Remedy::kDeadLock);
  } else if (kind == NameKind::kTemporary && age > kLeftoverOfOthers) {
    add(found, "temporary", name, "another mail program left it when it died",
        "it may be a message that never came in: look at it, then give it a number or remove it");
  } else if (kind == NameKind::kOurs && age > kLeftover) {
    add(found, "leftover", name, "a session or mhsync left it when it died",
        "`mhsync reindex` looks after it", Remedy::kReindex);
  }
}

Status check_names(Fs& fs, int dir, const FolderView& view, Findings* found) {
  std::vector<std::string> names;
  MH_TRY(fs.list(dir, [&](const DirEntry& entry) {
    names.push_back(entry.name);
    return true;
  }));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) check_name(fs, dir, name, found);
  for (const std::string& name : view.listing.junk) {
    if (!message_number(name)) continue;
    add(found, "no-file", name, "it is a link, a pipe or a device, and no message to anybody",
        "remove it, or put the message itself in its place");
  }
  for (const std::string& name : view.listing.subfolders) {
    if (!std::all_of(name.begin(), name.end(), is_digit)) continue;
    add(found, "numeric-folder", name, "nmh takes a folder with this name for a message",
        "rename it");
  }
  return {};
}

// Looks at all messages of a folder, one after the other.
class MessageCheck {
 public:
  MessageCheck(Fs& fs, const FolderView& view, Findings* found)
      : view_(view), found_(found), now_(fs.now()) {
    for (const Record& record : view.records) {
      records_[{record.file.inode, record.file.birth}] = &record;
    }
  }
  const Record* record_of(const Entry& entry) const {
    const auto known = records_.find({entry.file.inode, entry.file.birth});
    return known == records_.end() ? nullptr : known->second;
  }
  void look(const Entry& entry, const Probe& probe);

 private:
  void look_at_content(const Entry& entry, const Probe& probe);
  void look_at_tag(const Entry& entry, const Probe& probe);

  const FolderView& view_;
  Findings* found_;
  Nanoseconds now_;
  std::map<std::pair<uint64_t, Nanoseconds>, const Record*> records_;
  std::map<uint32_t, uint32_t> tagged_;  // UID in a tag -> number of the first that bears it
};

void MessageCheck::look(const Entry& entry, const Probe& probe) {
  const std::string number = std::to_string(entry.number);
  switch (probe.state) {
    case Probe::State::kUnreadable:
      add(found_, "unreadable", number, "it cannot be read", "give its owner the right to read it");
      return;
    case Probe::State::kBeingWritten:
      if (entry.file.mtime + kLongWrite > now_ || entry.file.ctime + kLongWrite > now_) return;
      add(found_, "half-written", number,
          "a program has it open for writing, and has not written for ten minutes: IMAP does not "
          "show it",
          "end that program (fuser tells it), and see whether the message is whole");
      return;
    case Probe::State::kGone:
      return;
    case Probe::State::kRead:
      look_at_content(entry, probe);
      look_at_tag(entry, probe);
  }
}

void MessageCheck::look_at_content(const Entry& entry, const Probe& probe) {
  const std::string number = std::to_string(entry.number);
  if (entry.file.size == 0) {
    add(found_, "empty", number, "it is empty: a delivery broke off, or the disk was full",
        "remove it, or restore it from a backup");
  }
  const Record* record = record_of(entry);
  if (record != nullptr && record->has(Record::kHashKnown) && probe.hash &&
      record->file.same_content(probe.file) && *probe.hash != record->hash) {
    add(found_, "changed", number,
        "its content is another than was recorded, but size and date are not: an edit that hid "
        "itself, or a disk that forgets",
        "compare it with a backup; `mhsync reindex --thorough` takes it as it is");
  }
}

void MessageCheck::look_at_tag(const Entry& entry, const Probe& probe) {
  if (!view_.location || probe.tag_kind == Probe::TagKind::kNone) return;
  const std::string number = std::to_string(entry.number);
  const Record* record = record_of(entry);
  const bool wanted =
      !view_.facts.options.contains(kNoTags) && (record == nullptr || !record->has(Record::kNoTag));
  if (probe.tag_kind == Probe::TagKind::kUnverified) {
    if (!wanted) return;
    add(found_, "foreign-tag", number,
        "it bears an X-MH-UID line that was not written for this mail tree",
        "`mhsync reindex` puts a line of its own in its place", Remedy::kReindex);
    return;
  }
  if (probe.tag.uidvalidity != view_.facts.header.uidvalidity) return;
  const auto [first, is_first] = tagged_.emplace(probe.tag.uid, entry.number);
  if (is_first) return;
  add(found_, "same-tag", number,
      "it bears the X-MH-UID line of message " + std::to_string(first->second),
      "`mhsync reindex` gives it a line of its own", Remedy::kReindex);
}

Status check_messages(Job& job, int dir, const std::string& path, const FolderView& view,
                      Findings* found) {
  MessageCheck check(job.tree.fs(), view, found);
  const TagKey key =
      view.location && view.location->root != nullptr ? view.location->root->key() : TagKey{};
  Progress progress(job.tree.fs(), !job.options.quiet && !job.options.json, Tree::display(path));
  uint64_t done = 0;
  for (const Entry& entry : view.listing.entries) {
    if (stop_asked()) return {};
    const Record* record = check.record_of(entry);
    ProbeRequest request;
    request.number = entry.number;
    request.file = entry.file;
    request.whole = record != nullptr;
    if (record != nullptr) request.recorded = tag_of(*record, view.facts.header.uidvalidity);
    check.look(entry, read_probe(job.tree.fs(), dir, request, key));
    progress.show(++done, view.listing.entries.size());
  }
  return {};
}

// What processes that died have left in the state, old enough to be nobody's work.
uint64_t count_leftovers(Fs& fs, const std::string& directory) {
  const auto dir = fs.open(AT_FDCWD, directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return 0;
  uint64_t count = 0;
  (void)fs.list(dir->get(), [&](const DirEntry& entry) {
    if (!is_leftover_of_state(entry.name) && !parse_our_name(entry.name)) return true;
    const auto stat = fs.stat(dir->get(), entry.name.c_str(), Follow::kNo);
    if (stat && stat->ctime + kLeftover < fs.now()) ++count;
    return true;
  });
  return count;
}

void check_state(Fs& fs, const FolderView& view, Findings* found) {
  if (!view.location) return;
  if (view.facts.rolled_back) {
    add(found, "restored", "", "its journal was restored, copied or damaged",
        "`mhsync reindex`; UIDs that may have been given since are passed over", Remedy::kReindex);
  }
  if (!view.store_fits && view.facts.alive.count() > view.records.size()) {
    add(found, "no-store", "", "store.db is lost or damaged", "`mhsync reindex` makes it anew",
        Remedy::kReindex);
  }
  const auto lost = std::ranges::count_if(
      view.records, [](const Record& record) { return record.has(Record::kNoTag); });
  if (lost != 0) {
    add(found, "lost-tags", "",
        "another program has taken the X-MH-UID line out of " +
            counted(static_cast<uint64_t>(lost), "message", "messages") +
            ": their UIDs live in the journal alone",
        "find out which; `mhsync reindex --tag` writes the lines again");
  }
  const std::string& state = view.location->state_dir;
  const uint64_t left =
      count_leftovers(fs, state) + count_leftovers(fs, state + "/" + std::string(kTemporaryDir));
  if (left == 0) return;
  add(found, "leftover", "",
      counted(left, "file", "files") + " in " + state + ", left by a process that died",
      "`mhsync reindex` looks after them", Remedy::kReindex);
}

// Folder of a line "atr-<sequence>-<path>"; "" when it is none.
std::string private_folder(const std::string& name) {
  const size_t path = name.find("-/");
  return name.starts_with("atr-") && path != std::string::npos ? name.substr(path + 1) : "";
}

// Where the folder is now that nmh calls so; "" when that is not known. Both as nmh spells them.
std::string renamed_to(Job& job, const StateRoot* states, const Directories& directories,
                       const std::string& folder) {
  const NmhUser& user = job.tree.user();
  const std::string top = user.name_in_context(job.tree.fs(), job.tree.mail_root(), "");
  if (states == nullptr || !folder.starts_with(top)) return "";
  const auto now = path_now(*states, directories, folder.substr(top.size()));
  return now ? user.name_in_context(job.tree.fs(), job.tree.mail_root(), *now) : "";
}

void check_context(Job& job, const StateRoot* states, const Directories& directories,
                   Findings* found) {
  Fs& fs = job.tree.fs();
  const std::string path = job.tree.user().context(fs);
  if (path.empty()) return;
  const auto text = read_file(fs, AT_FDCWD, path.c_str(), kMaxContext);
  if (!text) return;
  std::set<std::string> told;
  const ComponentText lines = parse_components(*text);
  for (const Component& line : lines.components) {
    const std::string folder = private_folder(line.name);
    if (folder.empty() || !told.insert(folder).second) continue;
    const auto stat = fs.stat(AT_FDCWD, folder.c_str(), Follow::kYes);
    if (stat || stat.error().kind() != ErrorKind::kNotFound) continue;
    const std::string now = renamed_to(job, states, directories, folder);
    if (now.empty()) {
      add(found, "private-orphan", folder,
          path + " has private sequences of this folder, which is not there",
          "take its atr- lines out, or write the folder's new path in them");
      continue;
    }
    add(found, "private-orphan", folder,
        path + " has private sequences of this folder, which is " + now + " now",
        "write that path in its atr- lines", Remedy::kContext);
    found->back().target = now;
  }
}

void check_profile(Job& job, Findings* found) {
  const Profile& profile = job.tree.user().profile;
  for (const std::string& problem : profile.problems()) {
    add(found, "profile", job.tree.profile_path(), problem, "correct that line");
  }
  if (!profile.unseen_configured()) {
    add(found, "no-unseen-sequence", job.tree.profile_path(),
        "it names no Unseen-Sequence, so nmh marks nothing as unseen",
        "add the line \"Unseen-Sequence: unseen\"");
  }
}

// States of folders that are not there any more.
void check_states(Fs& fs, const StateRoot& states, const Directories& directories,
                  Findings* found) {
  for (const Orphan& orphan : find_orphans(fs, states, directories)) {
    const bool surely = orphan.why_not.empty();
    add(found, "orphan-state", orphan.path,
        "the folder is gone, its state is still there" +
            (surely ? std::string() : "; " + orphan.why_not),
        "remove " + states.state_dir(orphan.guid) + " if the folder does not come back",
        surely ? Remedy::kOrphan : Remedy::kNone);
    found->back().guid = orphan.guid;
  }
  const uint64_t left = count_leftovers(fs, states.path());
  if (left == 0) return;
  add(found, "leftover", "",
      counted(left, "file", "files") + " in " + states.path() + ", left by a process that died",
      "remove what is named *.new.*", Remedy::kLeftover);
}

}  // namespace

Result<Findings> find_in_folder(Job& job, const std::string& path) {
  Fs& fs = job.tree.fs();
  MH_TRY_SET(const FolderView view, job.tree.look_at(path));
  if (view.journal_error) return tl::unexpected(*view.journal_error);
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, view.folder.c_str(), O_RDONLY | O_DIRECTORY));
  Findings found;
  check_state(fs, view, &found);
  check_sequences(view, &found);
  MH_TRY(check_names(fs, dir.get(), view, &found));
  MH_TRY(check_messages(job, dir.get(), path, view, &found));
  return found;
}

Result<Findings> find_in_tree(Job& job) {
  Fs& fs = job.tree.fs();
  Findings found;
  check_profile(job, &found);
  MH_TRY_SET(Root* const root, job.tree.root(true));
  MH_TRY_SET(const Directories directories, find_directories(fs, job.tree.mail_root()));
  std::unique_ptr<StateRoot> states;
  if (!root->state_root().empty()) {
    MH_TRY_SET(states, StateRoot::look(fs, root->state_root()));
  }
  check_context(job, states.get(), directories, &found);
  if (states) check_states(fs, *states, directories, &found);
  return found;
}

}  // namespace mh
