// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync check: what is wrong, in words, each with its cure. Takes no lock and writes nothing.
//
// What the next session or the next reindex does by itself is not wrong, so a tree at work is
// clean.
#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "libmh/folder/inspect.h"
#include "libmh/folder/probe.h"
#include "libmh/format/text.h"
#include "libmh/system/filename.h"
#include "mhsync/command.h"
#include "mhsync/progress.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

constexpr size_t kMaxContext = 16 << 20;

// Tells problems of one folder, or of the tree.
class Findings {
 public:
  Findings(Printer& printer, std::string folder) : printer_(printer), folder_(std::move(folder)) {}

  // `kind` is one word for programs, `about` what it concerns: a name or a number; "" for the
  // whole.
  void add(const std::string& kind, const std::string& about, const std::string& what,
           const std::string& cure) {
    ++count_;
    const std::string where = folder_.empty() ? "" : folder_ + (about.empty() ? ": " : " ");
    printer_.problem("problem", folder_,
                     {{"kind", kind}, {"about", about}, {"message", what}, {"cure", cure}},
                     where + (about.empty() ? "" : about + ": ") + what + ". Cure: " + cure);
  }
  ExitCode finish(const std::string& clean) {
    if (count_ != 0) return ExitCode::kProblems;
    printer_.result("clean", folder_, {}, clean);
    return ExitCode::kClean;
  }

 private:
  Printer& printer_;
  std::string folder_;
  uint64_t count_ = 0;
};

void check_sequences(const FolderView& view, Findings* findings) {
  if (view.sequences_error) {
    findings->add("sequences-unreadable", "", view.sequences_error->message(),
                  "make it a readable file of your own");
    return;
  }
  std::vector<std::string> problems;
  const Sequences sequences = Sequences::parse(view.sequences_text, &problems);
  for (const std::string& problem : problems) {
    findings->add("sequences-malformed", "", "the sequences file: " + problem,
                  "take that line out; nmh commands may fail on it");
  }
  const NumberSet there = view.numbers();
  for (const std::string_view name : sequences.names()) {
    NumberSet stale = *sequences.find(name);
    stale.subtract(there);
    if (stale.empty()) continue;
    findings->add("sequence-stale", std::string(name),
                  "this sequence names messages that are not there: " + stale.print_nmh(),
                  "none is needed, nmh drops them when it next writes the file");
  }
}

void check_name(const std::string& name, Findings* findings) {
  switch (classify_name(name)) {
    case NameKind::kLeadingZero:
      findings->add("name", name, "nmh takes it for a message, and then cannot open it",
                    "give it a number without leading zeros that is free, or remove it");
      break;
    case NameKind::kTooLarge:
      findings->add("name", name, "no nmh command works in a folder with a number as large as this",
                    "give it a smaller number that is free");
      break;
    case NameKind::kSequencesLock:
      findings->add("lock", name, "a lock of another mail program",
                    "remove it if that program does not run any more");
      break;
    default:
      break;
  }
}

Status check_names(Fs& fs, int dir, const FolderView& view, Findings* findings) {
  std::vector<std::string> names;
  MH_TRY(fs.list(dir, [&](const DirEntry& entry) {
    names.push_back(entry.name);
    return true;
  }));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) check_name(name, findings);
  for (const std::string& name : view.listing.junk) {
    if (!message_number(name)) continue;
    findings->add("no-file", name, "it is a link, a pipe or a device, and no message to anybody",
                  "remove it, or put the message itself in its place");
  }
  for (const std::string& name : view.listing.subfolders) {
    if (!std::all_of(name.begin(), name.end(), is_digit)) continue;
    findings->add("numeric-folder", name, "nmh takes a folder with this name for a message",
                  "rename it");
  }
  return {};
}

// One message: can it be read, is it what was recorded, does it bear the tag of another.
void check_message(const Entry& entry, const Probe& probe, const Record* record,
                   uint32_t uidvalidity, std::map<uint32_t, uint32_t>* uids, Findings* findings) {
  const std::string number = std::to_string(entry.number);
  if (probe.state == Probe::State::kUnreadable) {
    findings->add("unreadable", number, "it cannot be read", "give its owner the right to read it");
    return;
  }
  if (probe.state != Probe::State::kRead) return;  // it is on its way
  if (entry.file.size == 0) {
    findings->add("empty", number, "it is empty: a delivery broke off, or the disk was full",
                  "remove it, or restore it from a backup");
  }
  if (record != nullptr && record->has(Record::kHashKnown) && probe.hash &&
      record->file.same_content(probe.file) && *probe.hash != record->hash) {
    findings->add("changed", number,
                  "its content is another than was recorded, but size and date are not: an edit "
                  "that hid itself, or a disk that forgets",
                  "compare it with a backup; `mhsync reindex --thorough` takes it as it is");
  }
  const bool ours =
      probe.tag_kind == Probe::TagKind::kVerified || probe.tag_kind == Probe::TagKind::kRecorded;
  if (!ours || probe.tag.uidvalidity != uidvalidity) return;
  const auto [first, is_first] = uids->emplace(probe.tag.uid, entry.number);
  if (is_first) return;
  findings->add("same-tag", number,
                "it bears the X-MH-UID line of message " + std::to_string(first->second),
                "`mhsync reindex` gives it a line of its own");
}

Status check_messages(Job& job, int dir, const std::string& path, const FolderView& view,
                      Findings* findings) {
  std::map<std::pair<uint64_t, Nanoseconds>, const Record*> records;
  for (const Record& record : view.records) {
    records[{record.file.inode, record.file.birth}] = &record;
  }
  const TagKey key =
      view.location && view.location->root != nullptr ? view.location->root->key() : TagKey{};
  Progress progress(job.tree.fs(), !job.options.quiet && !job.options.json, Tree::display(path));
  std::map<uint32_t, uint32_t> uids;
  uint64_t done = 0;
  for (const Entry& entry : view.listing.entries) {
    if (stop_asked()) return {};
    const auto found = records.find({entry.file.inode, entry.file.birth});
    ProbeRequest request;
    request.number = entry.number;
    request.file = entry.file;
    request.whole = found != records.end();
    if (request.whole) request.recorded = tag_of(*found->second, view.facts.header.uidvalidity);
    check_message(entry, read_probe(job.tree.fs(), dir, request, key),
                  request.whole ? found->second : nullptr, view.facts.header.uidvalidity, &uids,
                  findings);
    progress.show(++done, view.listing.entries.size());
  }
  return {};
}

void check_state(const FolderView& view, Findings* findings) {
  if (!view.location) return;
  if (view.facts.rolled_back) {
    findings->add("restored", "", "its journal was restored, copied or damaged",
                  "`mhsync reindex`; UIDs that may have been given since are passed over");
  }
  if (!view.store_fits && view.facts.alive.count() > view.records.size()) {
    findings->add("no-store", "", "store.db is lost or damaged", "`mhsync reindex` makes it anew");
  }
}

// Folder of a line "atr-<sequence>-<path>"; "" when it is none.
std::string private_folder(const std::string& name) {
  const size_t path = name.find("-/");
  return name.starts_with("atr-") && path != std::string::npos ? name.substr(path + 1) : "";
}

void check_context(Job& job, Findings* findings) {
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
    findings->add("private-orphan", folder,
                  path + " has private sequences of this folder, which is not there",
                  "take its atr- lines out, or write the folder's new path in them");
  }
}

void check_profile(Job& job, Findings* findings) {
  const Profile& profile = job.tree.user().profile;
  for (const std::string& problem : profile.problems()) {
    findings->add("profile", job.tree.profile_path(), problem, "correct that line");
  }
  if (!profile.unseen_configured()) {
    findings->add("no-unseen-sequence", job.tree.profile_path(),
                  "it names no Unseen-Sequence, so nmh marks nothing as unseen",
                  "add the line \"Unseen-Sequence: unseen\"");
  }
}

// States of folders that are not there any more.
Status check_states(Job& job, Findings* findings) {
  Fs& fs = job.tree.fs();
  MH_TRY_SET(Root* const root, job.tree.root(true));
  if (root->state_root().empty()) return {};
  MH_TRY_SET(const std::unique_ptr<StateRoot> states, StateRoot::look(fs, root->state_root()));
  MH_TRY_SET(std::vector<std::string> paths, job.tree.all_folders());
  paths.emplace_back();
  std::set<std::pair<uint64_t, Nanoseconds>> there;
  for (const std::string& path : paths) {
    const std::string where = job.tree.mail_root() + (path.empty() ? "" : "/" + path);
    const auto stat = fs.stat(AT_FDCWD, where.c_str(), Follow::kNo);
    if (stat) there.emplace(stat->inode, stat->birth);
  }
  for (const Guid& guid : states->all()) {
    const DirectoryIdentity& directory = *states->directory_of(guid);
    if (there.contains({directory.inode, directory.birth})) continue;
    // Elsewhere, behind a link; or restored, which the next session finds out.
    if (fs.stat(AT_FDCWD, states->folder_path(directory).c_str(), Follow::kYes)) continue;
    findings->add("orphan-state", directory.path, "the folder is gone, its state is still there",
                  "remove " + states->state_dir(guid) + " if the folder does not come back");
  }
  return {};
}

}  // namespace

Result<ExitCode> check_folder(Job& job, const std::string& path) {
  MH_TRY_SET(Root* const root, job.tree.root(true));
  Fs& fs = job.tree.fs();
  MH_TRY_SET(const FolderView view, look_at_folder(fs, *root, path, job.tree.settings(path)));
  if (view.journal_error) return tl::unexpected(*view.journal_error);
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, view.folder.c_str(), O_RDONLY | O_DIRECTORY));
  Findings findings(job.printer, Tree::display(path));
  check_state(view, &findings);
  check_sequences(view, &findings);
  MH_TRY(check_names(fs, dir.get(), view, &findings));
  MH_TRY(check_messages(job, dir.get(), path, view, &findings));
  return findings.finish(Tree::display(path) + ": clean");
}

Result<ExitCode> check_tree(Job& job) {
  Findings findings(job.printer, "");
  check_profile(job, &findings);
  check_context(job, &findings);
  MH_TRY(check_states(job, &findings));
  return findings.finish(job.tree.mail_root() + ": profile, context and state are clean");
}

}  // namespace mh
