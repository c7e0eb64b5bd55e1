// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace mh::test {

Child::Child(const std::function<int(Child&)>& body) {
  if (::pipe2(to_child_, O_CLOEXEC) != 0 || ::pipe2(from_child_, O_CLOEXEC) != 0) std::abort();
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) ::_exit(body(*this));
  ::close(to_child_[0]);
  ::close(from_child_[1]);
}

Child::~Child() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  wait();
  ::close(to_child_[1]);
  ::close(from_child_[0]);
}

void Child::ready() {
  char c = 'r';
  if (::write(from_child_[1], &c, 1) != 1 || ::read(to_child_[0], &c, 1) != 1) ::_exit(99);
}

bool Child::wait_until_ready() {
  char c = 0;
  return ::read(from_child_[0], &c, 1) == 1;
}

void Child::go() {
  if (::write(to_child_[1], "g", 1) != 1) std::abort();
}

int Child::wait() {
  if (pid_ > 0) {
    ::waitpid(pid_, &status_, 0);
    pid_ = -1;
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
}

bool Child::running() {
  if (pid_ <= 0) return false;
  if (::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

int run_in_child(const std::function<int()>& body) {
  Child child([&](Child&) { return body(); });
  return child.wait();
}

}  // namespace mh::test
