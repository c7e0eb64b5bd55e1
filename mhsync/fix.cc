// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/fix.h"

#include <fcntl.h>

#include <algorithm>
#include <functional>

#include "libmh/folder/orphans.h"
#include "libmh/system/filename.h"

namespace mh {
namespace {

constexpr Nanoseconds kLeftover = 3600 * kSecond;

bool has(const Findings& findings, Remedy remedy) {
  return std::ranges::find(findings, remedy, &Finding::remedy) != findings.end();
}

void cure(const Findings& findings, Remedy remedy, Cures* cures,
          const std::function<Result<std::string>(const Finding&)>& how) {
  for (const Finding& finding : findings) {
    if (finding.remedy == remedy)
      cures->emplace(std::pair(finding.kind, finding.about), how(finding));
  }
}

// The same words, or the same error, for all of a kind.
void note(const Findings& findings, Remedy remedy, const Status& done, const std::string& words,
          Cures* cures) {
  cure(findings, remedy, cures, [&](const Finding&) -> Result<std::string> {
    if (!done) return pass_on(done);
    return words;
  });
}

// What only the folder's own process may do: all of it under its lock.
Status fix_names_and_sequences(Job& job, const std::string& path, const Findings& findings,
                               Cures* cures) {
  MH_TRY_SET(const std::unique_ptr<Folder> folder, job.tree.open_folder(path));
  MH_TRY(folder->look(false));
  MH_TRY(folder->lock());
  const FolderUnlock unlock(*folder);
  cure(findings, Remedy::kDeadLock, cures, [&](const Finding&) -> Result<std::string> {
    MH_TRY(folder->remove_dead_lock());
    return "removed";
  });
  if (has(findings, Remedy::kSequences)) {
    MH_TRY(folder->sync_arrivals(false));
    note(findings, Remedy::kSequences, folder->tidy_sequences(), "the sequences were written anew",
         cures);
  }
  cure(findings, Remedy::kNumber, cures, [&](const Finding& finding) -> Result<std::string> {
    MH_TRY_SET(const uint32_t number, folder->give_number(finding.about));
    return "it is message " + std::to_string(number) + " now";
  });
  return {};
}

Status remove_leftovers(Fs& fs, StateRoot& states, Nanoseconds lock_timeout) {
  MH_TRY_SET(const FolderLock list, states.lock(lock_timeout));
  std::vector<std::string> names;
  MH_TRY(fs.list(states.dir(), [&](const DirEntry& entry) {
    if (is_leftover_of_state(entry.name)) names.push_back(entry.name);
    return true;
  }));
  for (const std::string& name : names) {
    MH_TRY_SET(const FileStat stat, fs.stat(states.dir(), name.c_str(), Follow::kNo));
    if (stat.ctime + kLeftover < fs.now()) MH_TRY(fs.unlink(states.dir(), name.c_str()));
  }
  return {};
}

}  // namespace

std::string remedy_text(const Finding& finding) {
  switch (finding.remedy) {
    case Remedy::kNone:
      return "";
    case Remedy::kSequences:
      return "the sequences would be written anew";
    case Remedy::kNumber:
      return "it would get a number that is free";
    case Remedy::kDeadLock:
    case Remedy::kLeftover:
    case Remedy::kOrphan:
      return "it would be removed";
    case Remedy::kReindex:
      return "the folder would be reindexed";
    case Remedy::kContext:
      return "they would be given to " + finding.target;
  }
  return "";
}

Cures fix_folder(Job& job, const std::string& path, const Findings& findings) {
  Cures cures;
  if (has(findings, Remedy::kDeadLock) || has(findings, Remedy::kNumber) ||
      has(findings, Remedy::kSequences)) {
    const Status done = fix_names_and_sequences(job, path, findings, &cures);
    if (!done) {
      for (const Remedy remedy : {Remedy::kDeadLock, Remedy::kNumber, Remedy::kSequences}) {
        note(findings, remedy, done, "", &cures);
      }
    }
  }
  if (has(findings, Remedy::kReindex)) {
    note(findings, Remedy::kReindex, reindex_quietly(job, path), "the folder was reindexed",
         &cures);
  }
  return cures;
}

Cures fix_tree(Job& job, const Findings& findings) {
  Cures cures;
  Fs& fs = job.tree.fs();
  const Nanoseconds timeout = job.options.lock_timeout;
  cure(findings, Remedy::kContext, &cures, [&](const Finding& finding) -> Result<std::string> {
    MH_TRY(move_in_context(fs, job.tree.settings(""), finding.about, finding.target));
    return "they are of " + finding.target + " now";
  });
  if (!has(findings, Remedy::kOrphan) && !has(findings, Remedy::kLeftover)) return cures;
  const auto root = job.tree.root(true);
  auto states =
      root ? StateRoot::open(fs, (*root)->state_root(), false, 0700, static_cast<gid_t>(-1))
           : Result<std::unique_ptr<StateRoot>>(pass_on(root));
  cure(findings, Remedy::kOrphan, &cures, [&](const Finding& finding) -> Result<std::string> {
    if (!states) return pass_on(states);
    MH_TRY(remove_orphan(fs, **states, job.tree.mail_root(), finding.guid, timeout));
    return "its state was removed";
  });
  cure(findings, Remedy::kLeftover, &cures, [&](const Finding&) -> Result<std::string> {
    if (!states) return pass_on(states);
    MH_TRY(remove_leftovers(fs, **states, timeout));
    return "removed";
  });
  return cures;
}

}  // namespace mh
