// SPDX-License-Identifier: LGPL-2.1-or-later
//
// mhsync check: tells what is wrong, in words, each with its cure; with --fix, cures it where that
// endangers nothing. Without --fix it takes no lock and writes nothing.
//
// Whether a cure has helped is not believed but looked at: what is found again is still wrong.
#include <algorithm>

#include "mhsync/command.h"
#include "mhsync/findings.h"
#include "mhsync/fix.h"
#include "mhsync/signals.h"

namespace mh {
namespace {

using Find = std::function<Result<Findings>()>;
using Fix = std::function<Cures(const Findings&)>;

// A folder, or the tree (its name is "").
class Check {
 public:
  Check(Job& job, std::string folder) : job_(job), folder_(std::move(folder)) {}
  Result<ExitCode> run(const Find& find, const Fix& fix, const std::string& clean);

 private:
  void tell(const Finding& finding, const std::string& what, Fields more);
  void tell_problem(const Finding& finding);
  void tell_cured(const Findings& first, const Findings& left, const Cures& cures);
  ExitCode tell_left(const Findings& left, const Cures& cures);

  Job& job_;
  std::string folder_;
};

void Check::tell(const Finding& finding, const std::string& what, Fields more) {
  std::string where = folder_;
  if (!finding.about.empty()) where += (where.empty() ? "" : " ") + finding.about;
  Fields fields = {{"kind", finding.kind}, {"about", finding.about}, {"message", finding.message}};
  fields.insert(fields.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
  job_.printer.problem("problem", folder_, fields, where, finding.message + ". " + what);
}

// Nothing is to be cured, or this is only to be told.
void Check::tell_problem(const Finding& finding) {
  Fields more = {{"cure", finding.cure}};
  std::string what = "Cure: " + finding.cure;
  const std::string would = job_.options.fix ? remedy_text(finding) : "";
  if (job_.options.fix && job_.options.dry_run) more.emplace_back("curable", !would.empty());
  if (job_.options.fix && !job_.options.dry_run) more.emplace_back("cured", false);
  if (!would.empty()) what = "With --fix " + would;
  tell(finding, what, std::move(more));
}

void Check::tell_cured(const Findings& first, const Findings& left, const Cures& cures) {
  for (const Finding& finding : first) {
    const bool stays = std::ranges::any_of(
        left, [&](const Finding& other) { return other.is_about_the_same_as(finding); });
    if (stays) continue;
    const auto cure = cures.find({finding.kind, finding.about});
    const std::string how =
        cure != cures.end() && cure->second ? *cure->second : "it is gone by now";
    tell(finding, "Cured: " + how, {{"cure", how}, {"cured", true}});
  }
}

ExitCode Check::tell_left(const Findings& left, const Cures& cures) {
  ExitCode code = ExitCode::kClean;
  for (const Finding& finding : left) {
    code = graver(code, ExitCode::kProblems);
    Fields more = {{"cure", finding.cure}, {"cured", false}};
    std::string what = "Cure: " + finding.cure;
    const auto cure = cures.find({finding.kind, finding.about});
    if (cure != cures.end() && !cure->second) {
      what = "Not cured: " + cure->second.error().message();
      more.emplace_back("not_cured", cure->second.error().message());
      code = graver(code, exit_code_of(cure->second.error()));
    }
    tell(finding, what, std::move(more));
  }
  return code;
}

Result<ExitCode> Check::run(const Find& find, const Fix& fix, const std::string& clean) {
  MH_TRY_SET(const Findings first, find());
  if (first.empty()) {
    if (!stop_asked()) job_.printer.result("clean", folder_, {}, clean);
    return ExitCode::kClean;
  }
  const bool curable = std::ranges::any_of(
      first, [](const Finding& finding) { return finding.remedy != Remedy::kNone; });
  if (!job_.options.fix || job_.options.dry_run || !curable || stop_asked()) {
    for (const Finding& finding : first) tell_problem(finding);
    return ExitCode::kProblems;
  }
  const Cures cures = fix(first);
  job_.tree.look_anew();
  MH_TRY_SET(const Findings left, find());
  tell_cured(first, left, cures);
  return tell_left(left, cures);
}

}  // namespace

Result<ExitCode> check_folder(Job& job, const std::string& path) {
  const std::string folder = Tree::display(path);
  return Check(job, folder)
      .run([&] { return find_in_folder(job, path); },
           [&](const Findings& findings) { return fix_folder(job, path, findings); },
           folder + ": clean");
}

Result<ExitCode> check_tree(Job& job) {
  return Check(job, "").run([&] { return find_in_tree(job); },
                            [&](const Findings& findings) { return fix_tree(job, findings); },
                            job.tree.mail_root() + ": profile, context and state are clean");
}

}  // namespace mh
