#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The gate itself: it sees each call that changes a file, and does at it what it is told.

Then its pattern, on the smallest thing that must survive a kill: replacing a file.
"""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gate as gates  # noqa: E402
import imap_client  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402

staged = {}

# Each line one call, by the name that the gate gives it. Run in the root.
CALLS = """
open        os.open("a", os.O_WRONLY | os.O_CREAT, 0o600)
write       os.write(fd, b"0123456789")
pwrite      os.pwrite(fd, b"0123456789", 5)
writev      os.writev(fd, [b"abc", b"def"])
pwritev     os.pwritev(fd, [b"abc", b"def"], 3)
ftruncate   os.ftruncate(fd, 3)
truncate    os.truncate("a", 9)
fallocate   os.posix_fallocate(fd, 0, 100)
fsync       os.fsync(fd)
fdatasync   os.fdatasync(fd)
fchmod      os.fchmod(fd, 0o640)
fchown      os.fchown(fd, -1, -1)
chmod       os.chmod("a", 0o600)
utime       os.utime("a", (1, 1))
link        os.link("a", "b")
rename      os.rename("b", "c")
symlink     os.symlink("a", "l")
unlink      os.unlink("l")
mkdir       os.mkdir("d")
rmdir       os.rmdir("d")
copy_file_range os.copy_file_range(fd, other, 5, 0, 0)
sendfile    os.sendfile(other, fd, 0, 5)
open        os.open("a", os.O_RDONLY | os.O_TRUNC)
open        os.open(".", os.O_WRONLY | os.O_TMPFILE)
"""


def prepare():
    staged["gate"] = gates.find_library()
    staged["actor"] = gates.find_actor()
    if None in staged.values():
        raise unittest.SkipTest("the gate is not built")
    if gates.is_sanitized(staged["actor"]):
        raise unittest.SkipTest("a program with a sanitizer does not let the gate be loaded first")
    for name in staged:
        staged[name] = runner.stage(staged[name])


class GateTest(unittest.TestCase):
    count = 0

    def setUp(self):
        GateTest.count += 1
        top = os.path.join(runner.scratch(), f"g{GateTest.count}")
        self.root = os.path.join(top, "root")
        os.makedirs(self.root)
        self.gate = gates.Gate(os.path.join(top, "gate"), self.root, staged["gate"])

    def python(self, code, **keywords):
        # The interpreter of these tests may lie where their account cannot reach it.
        python = sys.executable if os.access(sys.executable, os.X_OK) else "/usr/bin/python3"
        return subprocess.Popen([python, "-S", "-c", "import os, fcntl\n" + code],
                                cwd=self.root, env=self.gate.environment({"PATH": "/usr/bin:/bin"}),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **keywords)

    def run_python(self, code):
        process = self.python(code)
        output = process.communicate(timeout=60)[0].decode()
        return process.returncode, output

    def read(self, name):
        with open(os.path.join(self.root, name), "rb") as text:
            return text.read()

    # -- counting --------------------------------------------------------------------------------

    def test_every_call_that_changes_a_file_is_seen(self):
        expected = [line.split(None, 1) for line in CALLS.strip().split("\n")]
        with open(os.path.join(self.root, "a"), "wb") as out:
            out.write(b"x" * 20)
        with open(os.path.join(self.root, "o"), "wb"):
            pass
        code = 'fd = os.open("a", os.O_RDWR)\nother = os.open("o", os.O_RDWR)\n'
        code += "".join(statement + "\n" for _, statement in expected)
        self.gate.arm()
        status, output = self.run_python(code)
        self.assertEqual((status, output), (0, ""))
        calls = self.gate.calls()
        self.assertEqual([call.name for call in calls], [name for name, _ in expected])
        self.assertEqual([call.n for call in calls], list(range(1, len(expected) + 1)))
        for call in calls:
            self.assertTrue(call.path.startswith(self.root + "/") or call.path == self.root, call)

    def test_what_reads_or_lies_elsewhere_is_not_counted(self):
        self.run_python('open("a", "rb").close() if os.path.exists("a") else None\n'
                        'os.listdir(".")\nfd = os.open("../x", os.O_WRONLY | os.O_CREAT)\n'
                        'os.write(fd, b"x")\nos.write(1, b"")\nos.rename("../x", "../root2")\n')
        self.assertEqual(self.gate.calls(), [])

    def test_a_name_that_only_begins_like_the_root_is_elsewhere(self):
        self.run_python('os.mkdir("../rootless")')
        self.assertEqual(self.gate.calls(), [])

    def test_only_the_command_that_is_meant(self):
        self.gate.comm = "mkdir"
        self.gate.arm(kill_at=1)
        self.assertEqual(self.run_python('os.mkdir("d")')[0], 0)
        done = subprocess.run(["mkdir", os.path.join(self.root, "e")],
                              env=self.gate.environment({"PATH": "/usr/bin:/bin"}))
        self.assertEqual(done.returncode, -9)
        self.assertEqual(os.listdir(self.root), ["d"])

    def test_locks_count_when_asked(self):
        code = ('fd = os.open("a", os.O_RDWR | os.O_CREAT)\n'
                'fcntl.lockf(fd, fcntl.LOCK_EX)\nfcntl.flock(fd, fcntl.LOCK_EX)\n')
        self.run_python(code)
        self.assertEqual([call.name for call in self.gate.calls()], ["open"])
        self.gate.locks = True
        self.gate.arm()
        self.run_python(code)
        self.assertIn("fcntl", [call.name for call in self.gate.calls()])
        self.assertIn("flock", [call.name for call in self.gate.calls()])

    # -- acting ----------------------------------------------------------------------------------

    def test_kills_before_the_call(self):
        self.gate.arm(kill_at=2)
        self.assertEqual(self.run_python('os.mkdir("a")\nos.mkdir("b")')[0], -9)
        self.assertEqual(os.listdir(self.root), ["a"])
        self.gate.arm(kill_at="rename/1")
        self.assertEqual(self.run_python('os.mkdir("b")\nos.rename("b", "c")')[0], -9)
        self.assertEqual(sorted(os.listdir(self.root)), ["a", "b"])

    def test_tears_a_write(self):
        for size, left in (("3", b"012"), ("0", b""), ("half", b"01234"), ("last", b"012345678")):
            self.gate.arm(torn_at=f"write/1:{size}")
            status, _ = self.run_python('fd = os.open("f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\n'
                                        'os.write(fd, b"0123456789")')
            self.assertEqual((status, self.read("f")), (-9, left))
        self.gate.arm(torn_at="writev/1:4")
        self.run_python('fd = os.open("v", os.O_WRONLY | os.O_CREAT)\n'
                        'os.writev(fd, [b"abc", b"def", b"ghi"])')
        self.assertEqual(self.read("v"), b"abcd")

    def test_cuts_a_write_short(self):
        self.gate.arm(short_at="write/1:3")
        status, output = self.run_python('fd = os.open("f", os.O_WRONLY | os.O_CREAT)\n'
                                         'print(os.write(fd, b"0123456789"))')
        self.assertEqual((status, output, self.read("f")), (0, "3\n", b"012"))

    def test_fails_once_or_from_then_on(self):
        code = ('for name in "abc":\n'
                '  try: os.mkdir(name)\n'
                '  except OSError as e: print(e.errno)\n')
        self.gate.arm(fail_at="2:ENOSPC")
        self.assertEqual(self.run_python(code)[1], "28\n")
        self.assertEqual(sorted(os.listdir(self.root)), ["a", "c"])
        self.gate.arm(fail_at="1:EIO:sticky")
        self.assertEqual(self.run_python(code)[1], "5\n5\n5\n")
        self.gate.arm(fail_at="mkdir/2:122:sticky")    # b is not there yet
        self.assertEqual(self.run_python(code)[1], "17\n122\n122\n")

    def test_a_running_process_is_told_anew(self):
        process = self.python('import sys\nfor line in sys.stdin:\n'
                              '  try: os.mkdir(line.strip()); print("made", flush=True)\n'
                              '  except OSError as e: print(e.errno, flush=True)\n',
                              stdin=subprocess.PIPE)

        def ask(name):
            process.stdin.write(name + b"\n")
            process.stdin.flush()
            return process.stdout.readline()

        self.assertEqual(ask(b"a"), b"made\n")
        self.gate.arm(fail_at="1:EIO")
        self.assertEqual(ask(b"b"), b"5\n")
        self.assertEqual(ask(b"b"), b"made\n")
        self.gate.arm(kill_at="mkdir/1")
        self.assertEqual(ask(b"c"), b"")
        self.assertEqual(process.wait(), -9)
        process.stdin.close()
        process.stdout.close()

    def test_holds_a_process_at_a_call(self):
        self.gate.hold_at("mkdir/1")
        process = self.python('os.mkdir("a")')
        self.assertTrue(self.gate.wait_until_held(process))
        self.assertEqual(os.listdir(self.root), [])
        self.gate.go()
        process.communicate(timeout=60)
        self.assertEqual(os.listdir(self.root), ["a"])
        self.gate.hold_at("rmdir/1")
        process = self.python("pass")
        self.assertFalse(self.gate.wait_until_held(process))
        process.communicate(timeout=60)

    # -- the pattern -----------------------------------------------------------------------------

    def replace(self, content):
        return subprocess.run([staged["actor"], "replace", self.root, "f", content],
                              env=self.gate.environment({}), capture_output=True).returncode

    def write_old(self):
        for name in os.listdir(self.root):
            os.unlink(os.path.join(self.root, name))
        with open(os.path.join(self.root, "f"), "wb") as out:
            out.write(b"old")

    def test_a_replaced_file_is_old_or_new_wherever_the_process_dies(self):
        seen = set()
        for point in self.gate.every_point(self.write_old, lambda: self.replace("longer new"),
                                           gates.KILL + gates.TORN):
            with self.subTest(point):
                self.assertEqual(point.result, -9)
                seen.add(self.read("f"))
                self.assertIn(self.read("f"), (b"old", b"longer new"))
                self.assertEqual(self.replace("next"), 0)
                self.assertEqual(self.read("f"), b"next")
        self.assertEqual(seen, {b"old", b"longer new"})

    def test_a_replaced_file_is_old_or_new_whatever_call_fails(self):
        for point in self.gate.every_point(self.write_old, lambda: self.replace("longer new"),
                                           gates.FAIL):
            with self.subTest(point):
                self.assertIn(self.read("f"), (b"old", b"longer new"))
                if point.result == 0:
                    self.assertEqual(self.read("f"), b"longer new")
                # An error says that nothing was changed, unless it came of the last flush.
                elif (point.call.name, point.call.path) != ("fsync", self.root):
                    self.assertEqual(self.read("f"), b"old")

    def test_an_interrupted_or_short_call_is_no_failure(self):
        for point in self.gate.every_point(self.write_old, lambda: self.replace("longer new"),
                                           gates.INTERRUPT):
            with self.subTest(point):
                self.assertEqual((point.result, self.read("f")), (0, b"longer new"))


class InDovecot(unittest.TestCase):
    """A session of a running server is told by the file what to do at its next call."""

    def test_an_imap_session_is_counted_failed_and_killed(self):
        top = os.path.join(runner.scratch(), "in-dovecot")
        os.makedirs(os.path.join(top, "d"))
        gate = gates.Gate(os.path.join(top, "gate"), os.path.join(top, "d", "home"),
                          staged["gate"], comm="imap")
        with private_dovecot.PrivateDovecot(os.path.join(top, "d"), driver="maildir",
                                            env=gate.environment()) as server:
            client = server.imap(server.add_user("u"))
            gate.arm()
            client.ok("CREATE one")
            self.assertIn("mkdir", [call.name for call in gate.calls()])
            self.assertEqual({call.comm for call in gate.calls()}, {"imap"})
            gate.arm(fail_at="1:ENOSPC:sticky")
            self.assertEqual(client.command("CREATE two").status, "NO")
            gate.arm(kill_at="mkdir/1")
            with self.assertRaises((OSError, EOFError, imap_client.ImapError)):
                client.ok("CREATE three")
            gate.arm()
            server.imap("u").ok("CREATE three")


if __name__ == "__main__":
    runner.main(prepare)
