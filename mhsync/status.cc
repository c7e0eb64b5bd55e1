// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync status: what is there. Takes no lock and writes nothing.
#include "libmh/folder/inspect.h"
#include "mhsync/command.h"

namespace mh {
namespace {

// One word for JSON, and what it means.
std::pair<std::string, std::string> state_of(const FolderView& view) {
  if (!view.location) return {"none", "never seen by IMAP or mhsync"};
  if (view.journal_error) return {"damaged", "its journal cannot be read"};
  if (view.facts.rolled_back) return {"restored", "its journal was restored or damaged"};
  if (view.facts.options.contains(kNoTags)) return {"untagged", "UIDs in the journal alone"};
  return {"ok", ""};
}

// Where the state is, and what is in it.
void tell_more(const FolderView& view, Fields* fields, std::string* words) {
  if (!view.has_state()) return;
  std::string options;
  for (const std::string& option : view.facts.options)
    options += (options.empty() ? "" : " ") + option;
  fields->emplace_back("state_dir", view.location->state_dir);
  fields->emplace_back("mailbox_guid", guid_text(view.facts.header.mailbox_guid));
  fields->emplace_back("journal_lines", view.facts.lines);
  fields->emplace_back("store", view.store_fits);
  fields->emplace_back("tombstones", uint64_t{view.facts.tombstones.size()});
  fields->emplace_back("modseq_floor", view.facts.modseq_floor);
  fields->emplace_back("options", options);
  *words += "; state " + view.location->state_dir + ", mailbox GUID " +
            guid_text(view.facts.header.mailbox_guid) + "; " +
            counted(view.facts.lines, "line", "lines") + " in the journal, " +
            counted(view.facts.tombstones.size(), "message", "messages") +
            " remembered that are gone, store.db " + (view.store_fits ? "fits" : "is to be made");
  if (!options.empty()) *words += ", options: " + options;
}

}  // namespace

Result<ExitCode> status_folder(Job& job, const std::string& path) {
  const FolderSettings settings = job.tree.settings(path);
  MH_TRY_SET(const FolderView view, job.tree.look_at(path));

  NumberSet unseen = job.tree.flags().read(Sequences::parse(view.sequences_text)).unseen;
  unseen.intersect(view.numbers());
  const auto [state, meaning] = state_of(view);
  const uint64_t messages = view.listing.entries.size();
  const uint64_t unknown = view.without_uid().count();
  NumberSet untagged = view.untagged();
  untagged.intersect(view.numbers());

  Fields fields = {{"messages", messages},   {"next", uint64_t{view.listing.highest()} + 1},
                   {"gaps", view.gaps()},    {"unseen", unseen.count()},
                   {"without_uid", unknown}, {"untagged", untagged.count()},
                   {"bytes", view.bytes()},  {"state", state}};
  if (view.has_state()) {
    fields.emplace_back("uidvalidity", uint64_t{view.facts.header.uidvalidity});
    fields.emplace_back("uidnext", uint64_t{view.facts.uidnext});
  }
  std::string words = Tree::display(path) + ": " + counted(messages, "message", "messages") +
                      ", next " + std::to_string(view.listing.highest() + 1);
  if (view.gaps() != 0) words += ", " + counted(view.gaps(), "gap", "gaps");
  words +=
      ", " + std::to_string(unseen.count()) + " unseen, " + std::to_string(view.bytes()) + " bytes";
  if (view.has_state()) {
    words += "; UIDVALIDITY " + std::to_string(view.facts.header.uidvalidity) + ", UIDNEXT " +
             std::to_string(view.facts.uidnext);
  }
  if (unknown != 0 && view.location) words += "; " + std::to_string(unknown) + " without UID";
  if (untagged.count() != 0 && state != "untagged") {
    words += "; " + std::to_string(untagged.count()) + " without X-MH-UID line";
  }
  if (!meaning.empty()) words += "; " + meaning;
  if (job.options.verbose) tell_more(view, &fields, &words);
  job.printer.result("status", Tree::display(path), fields, words);
  if (view.journal_error) return tl::unexpected(*view.journal_error);
  return ExitCode::kClean;
}

}  // namespace mh
