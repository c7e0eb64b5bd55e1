# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one test script: drops privileges, keeps the scratch directory, prints the count.

Every integration test runs wholly as an ordinary account, because that is how mail is read. A
script started by root gives root up before its first test (account: MH_TEST_USER, default
`nobody`); what only root could reach afterwards, the plugin and the like, is copied into the
scratch directory before. A child that stays root makes what a test needs a second owner or a file
system of its own for, and nothing else; without root such a test is skipped.

The last line a script prints is `N passed, N failed`, with `, N skipped` when there are any. Exit:
0 all well, 1 a failure, 77 (Automake's word for it) when every test was skipped.
"""

import atexit
import encodings.idna  # noqa: F401: loaded at first use otherwise, when python may be out of reach
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

LONG = os.environ.get("MH_TEST_LONG", "") not in ("", "0")
DRIVER = os.environ.get("MH_TEST_DRIVER", "mh")

_scratch = None
_helper = None
_ending = []        # called after the last test: (name, function); a raise is a failure


def scratch():
    """The directory of this run; removed at its end unless MH_TEST_KEEP is set."""
    return _scratch


def at_end(name, function):
    _ending.append((name, function))


def stage(path):
    """Copy a file into the scratch directory while root can still read it."""
    target = os.path.join(_scratch, "staged", os.path.basename(path))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.exists(target):
        shutil.copy(path, target)
        os.chmod(target, 0o755)
    return target


# -- the child that stays root -------------------------------------------------------------------


class _RootHelper:
    """Runs single commands as root for the tests, in a fork made before root was given up."""

    def __init__(self):
        ask_read, self.ask = os.pipe()
        self.answer, answer_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.close(self.ask)
            os.close(self.answer)
            self._serve(os.fdopen(ask_read, "r"), answer_write)
            os._exit(0)
        os.close(ask_read)
        os.close(answer_write)

    def _serve(self, questions, answers):
        mounted = []
        for line in questions:
            command = line.rstrip("\n").split("\0")
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
            if done.returncode == 0 and command[0] == "mount" and "remount" not in command[2]:
                mounted.append(command[-1])
            os.write(answers, b"%d\n" % done.returncode)
        for path in reversed(mounted):
            subprocess.run(["umount", "-l", path], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not os.environ.get("MH_TEST_KEEP"):
            shutil.rmtree(_scratch, ignore_errors=True)     # some of it may be another owner's

    def run(self, *command):
        os.write(self.ask, ("\0".join(command) + "\n").encode())
        reply = b""
        while not reply.endswith(b"\n"):
            reply += os.read(self.answer, 16) or b"255\n"
        return int(reply)

    def end(self):
        os.close(self.ask)
        os.waitpid(self.pid, 0)


def as_root(*command):
    """Run a command as root; skips the test where there is no root or it is refused."""
    if _helper is None:
        raise unittest.SkipTest(f"needs root for {command[0]}")
    if _helper.run(*command) != 0:
        raise unittest.SkipTest(f"root may not do {' '.join(command)} here")


def have_root():
    return _helper is not None


def needs_root(test):
    """Marks a test, or a class of them, that calls as_root(). With MH_TEST_NEEDS_ROOT=only a script
    started by root runs these alone: the rest has been run by the account already."""
    test.needs_root = True
    return test


def _only_with_root(suite):
    if os.environ.get("MH_TEST_NEEDS_ROOT") != "only":
        return suite
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(_only_with_root(test))
        elif hasattr(test, "needs_root") or hasattr(getattr(test, test._testMethodName),
                                                    "needs_root"):
            kept.addTest(test)
    return kept


def small_file_system(path, size="4m"):
    """A tmpfs of its own at `path`, owned by this account."""
    os.makedirs(path, exist_ok=True)
    as_root("mount", "-t", "tmpfs", "-o",
            f"size={size},uid={os.geteuid()},gid={os.getegid()},mode=700", "tmpfs", path)


# -- results -------------------------------------------------------------------------------------


class _Result(unittest.TestResult):
    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.passed = 0
        self.bad = set()
        self.began = 0.0

    @staticmethod
    def _name(test):
        return test.id().replace("__main__.", "")

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def _say(self, word, test, text=""):
        took = time.monotonic() - self.began
        print(f"{word} {self._name(test)} ({took:.1f} s)", flush=True)
        if text:
            print("    " + text.rstrip().replace("\n", "\n    "), flush=True)

    def addSuccess(self, test):
        if test.id() in self.bad:
            return
        self.passed += 1
        self._say("ok  ", test)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.bad.add(test.id())
            self._say("FAIL", subtest, "".join(traceback.format_exception(*error)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say("skip", test, reason)

    def _bad(self, test, error):
        self.bad.add(test.id())     # a test that fails and then tears down badly is one
        self._say("FAIL", test, "".join(traceback.format_exception(*error)))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._bad(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self._bad(test, error)


def _drop_root(account_name):
    global _helper
    account = pwd.getpwnam(account_name)
    os.chown(_scratch, account.pw_uid, account.pw_gid)
    for top, folders, files in os.walk(_scratch):
        for name in folders + files:
            os.chown(os.path.join(top, name), account.pw_uid, account.pw_gid)
    _helper = _RootHelper()
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["USER"] = os.environ["LOGNAME"] = account.pw_name


def main(prepare=None, module="__main__"):
    """Run the tests of the calling script. `prepare` runs first, still as the caller (root)."""
    global _scratch
    arguments = [a for a in sys.argv[1:] if not a.startswith("-")]
    os.umask(0o077)
    _scratch = tempfile.mkdtemp(prefix="mh-")
    owner = os.getpid()
    clean = not os.environ.get("MH_TEST_KEEP")

    def remove():
        if os.getpid() == owner and clean:
            subprocess.run(["chmod", "-R", "u+rwX", _scratch], stderr=subprocess.DEVNULL)
            shutil.rmtree(_scratch, ignore_errors=True)
    atexit.register(remove)

    result = _Result("-v" in sys.argv)
    skipped_all = None
    if prepare:
        try:
            prepare()
        except unittest.SkipTest as reason:
            skipped_all = str(reason)
    if os.geteuid() == 0:
        _drop_root(os.environ.get("MH_TEST_USER", "nobody"))
    os.chdir(_scratch)
    os.environ["HOME"] = _scratch
    os.environ["TZ"] = "UTC"        # the server's INTERNALDATE, nmh's dates and ours agree
    time.tzset()

    loader = unittest.TestLoader()
    if arguments:
        loader.testNamePatterns = [f"*{n}*" for n in arguments]
    suite = _only_with_root(loader.loadTestsFromModule(sys.modules[module]))
    if skipped_all is not None:
        print(f"skip everything: {skipped_all}")
        count = suite.countTestCases()
        print(f"0 passed, 0 failed, {count} skipped")
        sys.exit(77)
    suite.run(result)
    for name, function in reversed(_ending):
        try:
            function()
        except Exception as error:  # noqa: BLE001: whatever it was, it is this script's failure
            result.bad.add(name)
            print(f"FAIL {name}\n    {error}", flush=True)
    if _helper:
        _helper.end()
    skipped = len(result.skipped)
    if not clean:
        print(f"kept: {_scratch}")
    print(f"{result.passed} passed, {len(result.bad)} failed"
          + (f", {skipped} skipped" if skipped else ""), flush=True)
    sys.exit(1 if result.bad else 77 if skipped and not result.passed else 0)
