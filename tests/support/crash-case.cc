// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/crash-case.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/fault-fs.h"
#include "tests/support/power-loss-fs.h"

namespace mh::test {
namespace {

// Where a flush costs nothing: some thousand trees are made. What a flush is worth is PowerLossFs's
// to say.
std::string quick_directory() {
  constexpr const char* kMemory = "/dev/shm";
  const bool chosen = std::getenv("TMPDIR") != nullptr;
  return !chosen && ::access(kMemory, W_OK | X_OK) == 0 ? kMemory : std::string();
}

// The calls of an undisturbed run.
std::vector<std::string> calls_of(const CrashCase& what) {
  const TempDir tree(quick_directory());
  what.prepare(tree);
  FaultFs fs;
  const Status done = what.work(fs, tree);
  EXPECT_TRUE(done) << "undisturbed: " << done.error().message();
  if (done) what.check(tree, {"undisturbed", true});
  return fs.trace();
}

// How much of a pwrite is written before the end; nothing for other calls.
std::set<size_t> cuts_of(const std::string& call) {
  size_t size = 0;
  constexpr std::string_view kPwrite = "pwrite ";
  if (!call.starts_with(kPwrite)) return {};
  std::from_chars(call.data() + kPwrite.size(), call.data() + call.size(), size);
  std::set<size_t> cuts;
  for (const size_t cut : {size_t{1}, size / 2, size > 0 ? size - 1 : 0})
    if (cut > 0 && cut < size) cuts.insert(cut);
  return cuts;
}

// Where a coarse clock decides whether something is looked at once more, the last calls of the
// undisturbed run may not come.
constexpr int kMayNotCome = 10;

void kill_once(const CrashCase& what, int n, int calls, size_t bytes, const std::string& where) {
  const TempDir tree(quick_directory());
  what.prepare(tree);
  const int end = run_in_child([&] {
    FaultFs fs;
    fs.kill_at(n, bytes);
    return what.work(fs, tree) ? 0 : 1;
  });
  const bool finished = end == 0 && n > calls - kMayNotCome && calls > 2 * kMayNotCome;
  EXPECT_TRUE(end == -SIGKILL || finished) << where << ": ended with " << end;
  what.check(tree, {where, finished});
}

void fail_once(const CrashCase& what, int n, int error, FaultFs::Times times,
               const std::string& call) {
  const TempDir tree(quick_directory());
  what.prepare(tree);
  FaultFs fs;
  fs.fail_at(n, error, times);
  const Status done = what.work(fs, tree);
  fs.reset();
  what.check(tree, {std::string(std::strerror(error)) +
                        (times == FaultFs::Times::kOnce ? " at call " : " from call ") +
                        std::to_string(n) + ": " + call,
                    done.has_value()});
}

}  // namespace

int kill_at_every_call(const CrashCase& what) {
  const auto calls = calls_of(what);
  int tried = 0;
  for (int n = 1; n <= static_cast<int>(calls.size()); ++n) {
    const std::string& call = calls[static_cast<size_t>(n) - 1];
    const std::string where = "call " + std::to_string(n) + ": " + call;
    kill_once(what, n, static_cast<int>(calls.size()), 0, "killed before " + where);
    ++tried;
    for (const size_t cut : cuts_of(call)) {
      kill_once(what, n, static_cast<int>(calls.size()), cut,
                "killed after " + std::to_string(cut) + " bytes of " + where);
      ++tried;
    }
  }
  return tried;
}

int fail_at_every_call(const CrashCase& what, std::initializer_list<int> errors) {
  const auto calls = calls_of(what);
  int tried = 0;
  for (int n = 1; n <= static_cast<int>(calls.size()); ++n) {
    for (const int error : errors) {
      for (const auto times : {FaultFs::Times::kOnce, FaultFs::Times::kFromThenOn}) {
        fail_once(what, n, error, times, calls[static_cast<size_t>(n) - 1]);
        ++tried;
      }
    }
  }
  return tried;
}

int lose_power_at_every_call(const CrashCase& what, uint64_t outcomes, uint64_t seed) {
  const int calls = static_cast<int>(calls_of(what).size());
  const TempDir tree(quick_directory());
  what.prepare(tree);
  PowerLossFs power(tree.path());
  FaultFs fs(power);
  std::vector<std::pair<std::unique_ptr<TempDir>, Stop>> left;
  const auto leave_all = [&](const std::string& where, bool finished) {
    for (uint64_t i = 0; i < outcomes; ++i) {
      const uint64_t outcome = i < PowerLossFs::kFirstRandom ? i : seed + i;
      left.emplace_back(std::make_unique<TempDir>(quick_directory()),
                        Stop{"power lost " + where + ", outcome " + std::to_string(i) +
                                 " of MH_TEST_SEED=" + std::to_string(seed),
                             finished});
      power.leave(left.back().first->path(), outcome);
    }
  };
  for (int n = 1; n <= calls; ++n)
    fs.before(n, [&, n] {
      leave_all("before call " + std::to_string(n) + ": " + fs.trace().back(), false);
    });
  const Status done = what.work(fs, tree);
  fs.reset();
  EXPECT_TRUE(done) << done.error().message();
  leave_all("after the end", true);
  for (const auto& [where, stop] : left) what.check(*where, stop);
  return static_cast<int>(left.size());
}

}  // namespace mh::test
