// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/killed-child.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace mh::test {
namespace {

bool is_write(uint64_t call) {
  return call == SYS_write || call == SYS_pwrite64 || call == SYS_writev || call == SYS_pwritev;
}

bool changes_files(uint64_t call) {
  switch (call) {
    case SYS_openat:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_linkat:
    case SYS_unlinkat:
    case SYS_fchmod:
    case SYS_fchown:
#ifdef SYS_open
    case SYS_open:
    case SYS_rename:
    case SYS_unlink:
    case SYS_link:
#endif
      return true;
    default:
      return is_write(call);
  }
}

// Lets the write at whose entry the child stands do only half. False on other processors.
bool halve_write([[maybe_unused]] pid_t child) {
#ifdef __x86_64__
  user_regs_struct registers{};
  if (::ptrace(PTRACE_GETREGS, child, nullptr, &registers) != 0) return false;
  registers.rdx /= 2;
  return ::ptrace(PTRACE_SETREGS, child, nullptr, &registers) == 0;
#else
  return false;
#endif
}

bool resume(pid_t child, int signal, int* status) {
  return ::ptrace(PTRACE_SYSCALL, child, nullptr, signal) == 0 &&
         ::waitpid(child, status, 0) == child;
}

Ended end(pid_t child, Ended how) {
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return how;
}

Ended follow(pid_t child, int n, Kill kill) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return Ended::kCannot;
  constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SETOPTIONS, child, nullptr, kOptions) != 0) return end(child, Ended::kCannot);
  int signal = 0;
  for (int seen = 0;;) {
    if (!resume(child, signal, &status)) return end(child, Ended::kCannot);
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? Ended::kByItself : Ended::kFailed;
    if (WIFSIGNALED(status)) return Ended::kFailed;
    const bool at_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
    signal = at_call ? 0 : WSTOPSIG(status);
    if (!at_call) continue;
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0) {
      return end(child, Ended::kCannot);
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_files(info.entry.nr) || ++seen < n)
      continue;
    if (kill == Kill::kInside && is_write(info.entry.nr)) {
      if (!halve_write(child) || !resume(child, 0, &status)) return end(child, Ended::kCannot);
    }
    return end(child, Ended::kKilled);
  }
}

}  // namespace

Ended run_and_kill(int n, Kill kill, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child < 0) return Ended::kCannot;
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(99);
    ::raise(SIGSTOP);
    ::_exit(body());
  }
  return follow(child, n, kill);
}

}  // namespace mh::test
