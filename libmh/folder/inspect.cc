// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libmh/folder/inspect.h"

#include <fcntl.h>

#include <set>

#include "libmh/store/records.h"

namespace mh {
namespace {

constexpr Nanoseconds kStandingStill = 2 * kSecond;

// A process that folds or compacts the journal at this moment is done by then.
constexpr int kMostReadings = 5;
constexpr Nanoseconds kBetweenReadings = kSecond / 20;

// Whether all that are alive have a record.
Result<bool> read_state_once(Fs& fs, FolderView* view) {
  MH_TRY_SET(const Fd dir,
             fs.open(AT_FDCWD, view->location->state_dir.c_str(), O_RDONLY | O_DIRECTORY));
  MH_TRY_SET(const Journal journal, Journal::open(fs, dir.get()));
  const auto store = open_bdb_store(fs, dir.get(), view->location->state_dir, 0600,
                                    static_cast<gid_t>(-1));  // for reading
  const auto header = store->header();
  view->store_fits = header && header->generation == journal.state().header.generation;
  view->records = all_records(journal, *store);
  view->facts = journal.state();
  // Then, too, when it can be opened, and not read to its end.
  const bool all_known = view->facts.alive.count() <= view->records.size();
  if (view->store_fits && !all_known) view->store_fits = store->load().has_value();
  return all_known;
}

Status read_state(Fs& fs, FolderView* view) {
  for (int i = 1;; ++i) {
    MH_TRY_SET(const bool all_known, read_state_once(fs, view));
    if (all_known || i == kMostReadings) return {};
    fs.sleep(kBetweenReadings);
  }
}

}  // namespace

uint64_t FolderView::bytes() const {
  uint64_t sum = 0;
  for (const Entry& entry : listing.entries) sum += entry.file.size;
  return sum;
}

uint64_t FolderView::gaps() const { return listing.highest() - listing.entries.size(); }

NumberSet FolderView::numbers() const {
  std::vector<NumberRange> numbers;
  for (const Entry& entry : listing.entries) numbers.push_back({entry.number, entry.number});
  return NumberSet::from_ranges(std::move(numbers));
}

NumberSet FolderView::without_uid() const {
  std::set<std::pair<uint64_t, Nanoseconds>> known;
  for (const Record& record : records) known.emplace(record.file.inode, record.file.birth);
  NumberSet unknown;
  for (const Entry& entry : listing.entries) {
    if (!known.contains({entry.file.inode, entry.file.birth})) unknown.add(entry.number);
  }
  return unknown;
}

NumberSet FolderView::untagged() const {
  std::vector<NumberRange> found;
  for (const Record& record : records) {
    if (!record.has(Record::kTagged)) found.push_back({record.number, record.number});
  }
  return NumberSet::from_ranges(std::move(found));
}

Result<FolderView> look_at_folder(Fs& fs, Root& root, const std::string& path,
                                  const FolderSettings& settings) {
  FolderView view;
  view.folder = path.empty() ? root.mail_root() : root.mail_root() + "/" + path;
  MH_TRY_SET(const Fd dir, fs.open(AT_FDCWD, view.folder.c_str(), O_RDONLY | O_DIRECTORY));
  MH_TRY_SET(view.listing, scan_folder(fs, dir.get()));
  if (!settings.sequences_name.empty()) {
    const SequencesFile file(fs, dir.get(),
                             {.name = settings.sequences_name, .locking = settings.locking});
    auto text = file.read_unlocked(kStandingStill);
    if (text) {
      view.sequences_text = std::move(text->text);
      view.sequences_exist = text->exists;
    } else {
      view.sequences_error = text.error();
    }
  }
  auto found = root.find(path);
  if (!found && found.error().kind() != ErrorKind::kNotFound) return pass_on(found);
  if (!found) return view;
  view.location = std::move(*found);
  if (const Status read = read_state(fs, &view); !read) view.journal_error = read.error();
  return view;
}

}  // namespace mh
