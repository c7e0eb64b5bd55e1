#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real nmh commands against libmh's way of writing sequences, each held at each of its calls.

Nothing here hopes for a coincidence: one side is stopped at one call, the other does all it can,
then the first goes on. What both did must be there at the end, and nmh must be able to read it.
"""

import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gate as gates  # noqa: E402
import runner  # noqa: E402
from nmh import COMMAND_FOLDERS, Nmh  # noqa: E402

staged = {}

COUNT = 6


def prepare():
    staged["gate"] = gates.find_library()
    staged["actor"] = gates.find_actor()
    if None in staged.values():
        raise unittest.SkipTest("the gate is not built")
    if gates.is_sanitized(staged["actor"]):
        raise unittest.SkipTest("a program with a sanitizer does not let the gate be loaded first")
    if not Nmh.installed():
        raise unittest.SkipTest("nmh is not installed")
    for name in staged:
        staged[name] = runner.stage(staged[name])


def message_id(i):
    return f"<m{i}@example.org>"


def message(i):
    # Dates fall, so that sortm has something to do.
    return (f"From: a@example.org\nDate: Thu, {COUNT + 1 - i} Jan 2004 00:00:00 +0000\n"
            f"Subject: m{i}\nMessage-ID: {message_id(i)}\n\nbody {i}\n").encode()


class RaceTest(unittest.TestCase):
    count = 0

    def setUp(self):
        RaceTest.count += 1
        self.home = os.path.join(runner.scratch(), f"r{RaceTest.count}")
        os.makedirs(self.home)
        self.nmh = Nmh(self.home)
        self.gate = gates.Gate(os.path.join(self.home, "gate"), self.nmh.root, staged["gate"],
                               locks=True)

    # -- the folder ------------------------------------------------------------------------------

    def fill(self):
        """Messages 1, 2, 4, 5, 6, 7: a hole for the packer; m3 (number 4) is unseen."""
        folder = self.nmh.make_folder("inbox")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        for i in range(1, COUNT + 1):
            self.nmh.put("inbox", i if i < 3 else i + 1, message(i))
        self.nmh.write_sequences("inbox", {"cur": "1", "unseen": "4"})
        context = os.path.join(self.nmh.root, "context")
        if os.path.exists(context):     # the same calls each time
            os.unlink(context)
        self.nmh.make_folder("other")

    def marked(self, sequence):
        """The Message-IDs in a sequence, by nmh's own account of the numbers."""
        numbers = self.nmh.sequences_by_nmh("inbox").get(sequence, set())
        found = set()
        for number in numbers:
            content = self.nmh.read("inbox", number).decode()
            found.add(content.split("Message-ID: ")[1].split("\n")[0])
        return found

    # -- the two sides ---------------------------------------------------------------------------

    def start_nmh(self, *command, gated=True, input=b""):
        environment = self.nmh.environment()
        command = (shutil.which(command[0], path=COMMAND_FOLDERS), *command[1:])
        process = subprocess.Popen(
            command, cwd=self.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.gate.environment(environment) if gated else environment)
        process.stdin.write(input)
        process.stdin.close()
        process.stdin = None
        return process

    def end(self, process):
        output = process.communicate(timeout=90)[0].decode(errors="replace")
        self.assertEqual(process.returncode, 0, output)
        return output

    def start_actor(self, what="mark", gated=False):
        return subprocess.Popen(
            [staged["actor"], what, self.nmh.folder("inbox"), "flagged", message_id(5)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.gate.environment({}) if gated else {})

    def play(self, where, command, input, actor="mark"):
        """nmh is held at a call, the actor does its work or waits for the lock; then nmh goes on.
        False when nmh never comes there."""
        self.fill()
        self.gate.hold_at(where)
        process = self.start_nmh(*command, input=input)
        if not self.gate.wait_until_held(process):
            self.end(process)
            return False
        ours = self.start_actor(actor)
        try:
            ours.wait(timeout=0.15)
        except subprocess.TimeoutExpired:
            pass                        # it waits for nmh's lock
        self.gate.go()
        self.end(process)
        self.end(ours)
        return True

    def every_call_of(self, check, *command, input=b""):
        self.fill()
        self.gate.arm()
        self.end(self.start_nmh(*command, input=input))
        calls = self.gate.calls()
        self.assertIn("fcntl", [call.name for call in calls])
        for call in calls:
            with self.subTest(f"{' '.join(command)} held at {call.n}: {call.name} {call.path}"):
                self.assertTrue(self.play(call.n, command, input), "did not come there again")
                self.assertEqual(self.marked("flagged"), {message_id(5)})
                self.nmh.run("scan", "+inbox")
                check()

    # -- nmh held --------------------------------------------------------------------------------

    def test_mark(self):
        self.every_call_of(lambda: self.assertEqual(self.marked("theirs"), {message_id(2)}),
                           "mark", "+inbox", "2", "-sequence", "theirs", "-add")

    def test_pick(self):
        self.every_call_of(lambda: self.assertEqual(self.marked("theirs"), {message_id(4)}),
                           "pick", "+inbox", "-subject", "m4", "-sequence", "theirs")

    def test_show_next(self):
        self.every_call_of(lambda: self.assertEqual(self.marked("unseen"), set()),
                           "show", "+inbox", "4", "-showproc", "cat", "-nocheckmime")

    def test_rcvstore(self):
        def check():
            self.assertEqual(self.marked("unseen"), {message_id(3), message_id(9)})
        self.every_call_of(check, "rcvstore", "+inbox", input=message(9))

    def test_rmm(self):
        def check():
            self.assertEqual(self.nmh.numbers("inbox"), [1, 4, 5, 6, 7])
            self.assertEqual(self.marked("unseen"), {message_id(3)})
        self.every_call_of(check, "rmm", "+inbox", "2")

    def test_refile(self):
        def check():
            self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 5, 6, 7])
            self.assertEqual(self.marked("unseen"), set())
        self.every_call_of(check, "refile", "-src", "+inbox", "4", "+other")

    def test_pack(self):
        def check():
            self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 3, 4, 5, 6])
            self.assertEqual(self.marked("unseen"), {message_id(3)})
        self.every_call_of(check, "folder", "+inbox", "-pack")

    def test_sortm(self):
        def check():
            self.assertEqual(self.nmh.read("inbox", 1), message(6))
            self.assertEqual(self.marked("unseen"), {message_id(3)})
        self.every_call_of(check, "sortm", "+inbox")

    # -- libmh held ------------------------------------------------------------------------------

    def test_libmh_held_at_each_of_its_calls_while_nmh_marks(self):
        self.fill()
        self.gate.arm()
        self.end(self.start_actor(gated=True))
        calls = self.gate.calls()
        self.assertIn("pwrite", [call.name for call in calls])
        for call in calls:
            with self.subTest(f"held at {call.n}: {call.name}"):
                self.fill()
                self.gate.hold_at(call.n)
                ours = self.start_actor(gated=True)
                self.assertTrue(self.gate.wait_until_held(ours))
                nmh = self.start_nmh("mark", "+inbox", "2", "-sequence", "theirs", "-add",
                                     gated=False)
                try:
                    nmh.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    pass                # it waits for our lock, a second at a time
                self.gate.go()
                self.end(ours)
                self.end(nmh)
                self.assertEqual(self.marked("flagged"), {message_id(5)})
                self.assertEqual(self.marked("theirs"), {message_id(2)})

    def test_libmh_killed_at_each_of_its_calls_leaves_no_lock_and_what_nmh_can_read(self):
        work = lambda: self.start_actor(gated=True).wait()   # noqa: E731
        for point in self.gate.every_point(self.fill, work, gates.KILL):
            with self.subTest(point):
                self.assertEqual(point.result, -9)
                began = time.monotonic()
                self.assertIn(self.marked("flagged"), (set(), {message_id(5)}))
                self.assertLess(time.monotonic() - began, 1)
                self.end(self.start_actor())
                self.assertEqual(self.marked("flagged"), {message_id(5)})

    # -- the control -----------------------------------------------------------------------------

    def test_a_writer_that_renames_is_seen_to_lose_the_update_of_nmh(self):
        # Between nmh's open and its lock. Were this not seen, the tests above would prove nothing.
        command = ("mark", "+inbox", "2", "-sequence", "theirs", "-add")
        self.assertTrue(self.play("fcntl/1", command, b"", actor="mark-by-rename"))
        self.assertEqual(self.marked("theirs"), set())
        self.assertTrue(self.play("fcntl/1", command, b""))
        self.assertEqual(self.marked("theirs"), {message_id(2)})
        self.assertEqual(self.marked("flagged"), {message_id(5)})

    def test_where_the_file_was_absent_nmh_truncates_ours_and_we_knew(self):
        # nmh found no file, takes no lock, and opens with O_TRUNC: nothing that we do with the
        # file can help. So who had to make it is told, and treats the folder as one without lock.
        self.fill()
        os.unlink(os.path.join(self.nmh.folder("inbox"), ".mh_sequences"))
        self.gate.hold_at("open/1")
        process = self.start_nmh("mark", "+inbox", "2", "-sequence", "theirs", "-add")
        self.assertTrue(self.gate.wait_until_held(process))
        self.assertEqual(self.end(self.start_actor()), "made\n")
        self.gate.go()
        self.end(process)
        self.assertEqual(self.marked("theirs"), {message_id(2)})
        self.assertEqual(self.marked("flagged"), set())


if __name__ == "__main__":
    runner.main(prepare)
