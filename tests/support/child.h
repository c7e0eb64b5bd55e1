// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Child: another process that does something and then waits, for tests of locks and races.
//
// The body runs in a forked copy of the test, says "here I am" with child.ready() and goes on when
// the test calls go(). A child that is still there at the end of the test is killed.
#pragma once

#include <sys/types.h>

#include <functional>

namespace mh::test {

class Child {
 public:
  // The body's result is the exit code.
  explicit Child(const std::function<int(Child&)>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // In the child: tell the test, and wait for its go().
  void ready();

  // In the test.
  pid_t pid() const { return pid_; }
  bool wait_until_ready();  // false when the child ended instead
  void go();
  int wait();  // the exit code, -signal when killed
  bool running();

 private:
  pid_t pid_ = -1;
  int status_ = -1;
  int to_child_[2];
  int from_child_[2];
};

// Runs `body` in a child to its end.
int run_in_child(const std::function<int()>& body);

}  // namespace mh::test
