#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync pack and reindex --order=folder: beside nmh's own, beside connected clients and commands
of nmh, and stopped at every call."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402
from nmh import Nmh, parse_sequences  # noqa: E402
from watched import COUNT, Change, WatchedCase  # noqa: E402

LONG = os.environ.get("MH_TEST_LONG") == "1"
SEED = random.SystemRandom().randrange(1 << 32)
AHEAD = 3600        # by then a sequences file that was just made is not new any more
OLD = 1_234_500_000


class PackCase(MhsyncCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.later_gate = self.gate(AHEAD)

    def pack(self, *options, code=0):
        got, out, err = self.run_mhsync("--json", *options, "pack", "+inbox",
                                        env=self.later_gate.environment())
        self.assertEqual(got, code, out + err)
        return re.search(r'"moved":(\d+)', out) and int(re.search(r'"moved":(\d+)', out).group(1))

    def put(self, numbers, sequences):
        for n in numbers:
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", sequences)

    def context(self, nmh=None):
        nmh = nmh or self.nmh
        return os.path.join(nmh.root, "context")

    def look(self):
        if not hasattr(self, "history"):
            self.history = History(self)
        return self.history.look(self.imap())


class AsNmh(PackCase):
    """Against `folder -pack` on a copy."""

    def state_of(self, nmh):
        """Messages by number, and what nmh says of sequences, private ones and cur."""
        visible = {n: nmh.visible("inbox", n) for n in nmh.numbers()}
        listed = nmh.run("mark", "+inbox", "-list")
        current = nmh.run("pick", "+inbox", "cur", check=False).strip()
        with open(self.context(nmh)) as text:
            private = parse_sequences("".join(line.replace(nmh.home, "HOME") for line in text
                                              if line.startswith("atr-")))
        return visible, sorted(listed.splitlines()), current, private

    def random_folder(self):
        numbers = sorted(self.random.sample(range(1, 40), self.random.randrange(1, 14)))
        def some():
            return " ".join(str(n) for n in sorted(self.random.sample(
                numbers, self.random.randrange(1, len(numbers) + 1))))
        # One that names a message that is not there, too.
        sequences = {"cur": self.random.choice(numbers + [41]), "unseen": some() + " 50",
                     "mine": some()}
        private = {"own": some(), "cur": self.random.choice(numbers)}
        return numbers, sequences, {name: private[name] for name in private
                                    if self.random.randrange(2)}

    def test_the_result_is_that_of_folder_pack(self):
        for i in range(40 if LONG else 5):
            with self.subTest(f"folder {i}, seed {SEED}"):
                shutil.rmtree(self.root)
                os.makedirs(self.nmh.folder("inbox"), mode=0o700)
                numbers, sequences, private = self.random_folder()
                other = Nmh(os.path.join(self.home, f"copy{i}"))
                for nmh in (self.nmh, other):
                    nmh.make_folder("inbox")
                    for n in numbers:
                        nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
                    nmh.write_sequences("inbox", sequences)
                    with open(self.context(nmh), "w") as text:
                        text.write("Current-Folder: inbox\n" + "".join(
                            f"atr-{name}-{nmh.folder('inbox')}: {value}\n"
                            for name, value in private.items()))
                other.run("folder", "+inbox", "-pack")
                self.pack()
                self.assertEqual(self.state_of(self.nmh), self.state_of(other))

    def test_what_is_no_message_is_left_alone(self):
        self.put([2, 4, 9], {"unseen": "4"})
        self.nmh.make_folder("inbox/3")
        os.symlink("9", self.nmh.file("inbox", 1))
        for name in (",4", "007", "5x"):
            with open(os.path.join(self.nmh.folder("inbox"), name), "w") as out:
                out.write(name)
        self.assertEqual(self.pack(), 1)
        self.assertEqual(self.nmh.numbers(), [2, 4, 5])
        self.assertEqual(self.nmh.visible("inbox", 5), mail_maker.plain(9))
        self.assertEqual(sorted(os.listdir(self.nmh.folder("inbox"))),
                         [",4", ".mh_sequences", "007", "1", "2", "3", "4", "5", "5x"])


class Refused(PackCase):
    def test_new_sequences(self):
        self.put([2], {"unseen": "2"})
        code, _, err = self.run_mhsync("pack", "+inbox")
        self.assertEqual(code, 75, err)
        self.assertIn("try again in a minute", err)
        self.assertEqual(self.nmh.numbers(), [2])

    def test_a_packed_folder_needs_no_lock(self):
        self.put([1, 2], {"unseen": "2"})
        self.assertIn("0 messages renumbered", self.mhsync("pack", "+inbox"))

    def test_no_sequences_file_in_the_profile(self):
        self.put([2], {})
        self.nmh.components["mh-sequences"] = ""
        self.nmh.write_profile()
        self.pack(code=78)
        self.assertEqual(self.nmh.numbers(), [2])

    def test_the_holder_of_nmhs_lock_is_named(self):
        self.put([2], {"unseen": "2"})
        with self.nmh.sequences_locked():
            code, _, err = self.run_mhsync("--lock-timeout", "0.1", "pack", "+inbox",
                                           env=self.later_gate.environment())
        self.assertEqual(code, 75, err)
        self.assertIn(f"pid {os.getpid()}", err)
        self.assertEqual(self.nmh.numbers(), [2])

    def test_dry_run_changes_nothing(self):
        self.put([2, 5], {"unseen": "2"})
        self.assertEqual(self.pack("--dry-run"), 2)
        self.assertEqual(self.nmh.numbers(), [2, 5])


class Clients(PackCase, WatchedCase):
    """Idle, selected, hibernated, and in another folder."""

    def test_a_pack_tells_nobody_anything(self):
        self.watch()
        self.assertEqual(self.pack(), 1)
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5, 6])
        self.expect(Change())
        self.assertEqual(self.nmh.sequences()["replied"], {6})

    def test_a_pack_after_rmm_tells_what_rmm_did(self):
        self.watch()
        self.nmh.run("rmm", "+inbox", "2")
        self.pack()
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5])
        self.expect(Change(gone=[2]))

    def test_mail_that_just_came_is_still_new(self):
        self.watch()
        self.nmh.put("inbox", 12, mail_maker.plain(12), mtime=OLD)
        self.pack()
        self.expect(Change(new=1, new_flags=[set()]))

    def test_new_uids_end_the_session_and_keep_the_flags(self):
        self.force_resync()
        before = self.look()
        client = self.imap()
        client.select()
        self.allow_log("reset, view is now inconsistent")
        client.idle()
        with_flags = {before.body(uid): before.flags(uid) for uid in before.uids}
        self.nmh.run("sortm", "+inbox", "-noverbose", "-datefield", "Date", "1-3")
        os.rename(self.nmh.file("inbox", 1), self.nmh.file("inbox", 20))
        self.look()
        got, = self.mhsync_json("reindex", "--order=folder", "+inbox")
        self.assertEqual((got["ordered"], got["remaining"]), (True, 0))
        self.ended(client)
        after = History(self).look(self.imap())
        self.assertGreater(after.uidvalidity, before.uidvalidity)
        numbers = self.nmh.numbers()
        self.assertEqual(after.uids, list(range(COUNT + 1, COUNT + len(numbers) + 1)))
        for uid, number in zip(after.uids, numbers):
            self.assertEqual(after.body(uid),
                             self.nmh.visible("inbox", number).replace(b"\n", b"\r\n"))
            self.assertEqual(after.flags(uid), with_flags[after.body(uid)])
            self.assertEqual(self.nmh.tag("inbox", number).uid, uid)
        got, = self.mhsync_json("reindex", "--order=folder", "+inbox")
        self.assertFalse(got["ordered"])
        self.assertEqual(History(self).look(self.imap()).uidvalidity, after.uidvalidity)


class Stopped(PackCase):
    """At every call of mhsync."""

    NUMBERS = [2, 3, 6]
    ACTIONS = ("kill",) if not LONG else ("kill", "torn half", "fail EIO", "fail ENOSPC",
                                          "fail EIO:sticky", "fail ENOSPC:sticky")

    def tree(self):
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        for name in os.listdir(self.root):
            path = os.path.join(self.root, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        self.put(self.NUMBERS, {"cur": "6", "unseen": "3", "flagged": "6", "mine": "2-3"})
        with open(self.context(), "w") as text:
            text.write(f"Current-Folder: inbox\natr-own-{self.nmh.folder('inbox')}: 3\n")
        self.mhsync("reindex", "+inbox")
        self.history = History(self)

    def tree_seen(self):
        self.tree()
        client = self.imap()
        self.history.look(client)
        client.logout()
        self._sessions.remove(client)

    def every_point(self, prepare, *arguments):
        gate = self.later_gate
        for action in self.ACTIONS:
            calls = gate.count(prepare, lambda: self.run_mhsync(*arguments,
                                                                env=gate.environment()))
            self.assertGreater(len(calls), 10)
            some = calls if LONG else self.random.sample(calls, min(len(calls), 12))
            for call in some:
                armed = gate._action_at(action, call)
                if armed is None:
                    continue
                prepare()
                gate.arm(**armed)
                code, _, err = self.run_mhsync(*arguments, env=gate.environment())
                gate.arm()
                if action == "kill":
                    # It waits for a tick of the clock, or not: then the last are not reached.
                    self.assertIn(code, (-signal.SIGKILL, 0), err)
                with self.subTest(f"{action} at {call.n}: {call.name} {call.path}, seed {SEED}"):
                    yield

    def messages(self):
        return sorted(self.nmh.visible("inbox", n) for n in self.nmh.numbers())

    def same_as_undisturbed(self):
        """After a run to the end."""
        self.assertEqual(self.nmh.numbers(), [1, 2, 3])
        for n, name in zip((1, 2, 3), self.NUMBERS):
            self.assertEqual(self.nmh.visible("inbox", n), mail_maker.plain(name))
            self.assertEqual(self.nmh.tag("inbox", n).uid, n)
        self.assertEqual(self.nmh.sequences(), {"unseen": {2}, "flagged": {3}, "mine": {1, 2}})
        self.assertIn("cur: 3\n", self.nmh.sequences_text())
        with open(self.context()) as text:
            self.assertIn(f"atr-own-{self.nmh.folder('inbox')}: 2\n", text.read())

    def test_pack_then_another_pack(self):
        want = sorted(mail_maker.plain(n) for n in self.NUMBERS)
        for _ in self.every_point(self.tree, "pack", "+inbox"):
            self.assertEqual(self.messages(), want)
            self.nmh.sequences_by_nmh()
            self.pack()
            self.same_as_undisturbed()

    def test_pack_then_a_session(self):
        for _ in self.every_point(self.tree_seen, "pack", "+inbox"):
            snapshot = self.history.look(self.imap())
            self.assertEqual(snapshot.uids, [1, 2, 3])
            self.assertEqual(snapshot.all_flags(), {1: {"\\Seen", "mine"}, 2: {"mine"},
                                                    3: {"\\Seen", "\\Flagged"}})
            self.pack()
            self.same_as_undisturbed()

    def test_new_uids(self):
        def out_of_order():
            self.tree()
            os.rename(self.nmh.file("inbox", 2), self.nmh.file("inbox", 9))
            self.nmh.write_sequences("inbox", {"unseen": "3", "flagged": "6", "mine": "3 9"})
        want = [mail_maker.plain(n) for n in (3, 6, 2)]
        for _ in self.every_point(out_of_order, "reindex", "--order=folder", "+inbox"):
            self.assertEqual(self.messages(), sorted(want))
            self.mhsync("reindex", "--order=folder", "+inbox")
            self.assertEqual([self.nmh.visible("inbox", n) for n in self.nmh.numbers()], want)
            self.assertEqual([self.nmh.tag("inbox", n).uid for n in self.nmh.numbers()], [4, 5, 6])
            after = History(self).look(self.imap())
            self.assertEqual(after.all_flags(), {4: {"mine"}, 5: {"\\Seen", "\\Flagged"},
                                                 6: {"\\Seen", "mine"}})


class Races(PackCase):
    """Commands of nmh between any two calls of ours; and ours between any two of theirs."""

    NUMBERS = [2, 3, 5, 8]
    COMMANDS = {
        "mark": (["mark", "+inbox", "-sequence", "mine", "last"], {2, 3, 5, 8}, {"mine": {2, 8}}),
        "rmm": (["rmm", "+inbox", "first"], {3, 5, 8}, {"mine": set()}),
        "refile": (["refile", "+other", "-src", "+inbox", "last"], {2, 3, 5}, {"mine": {2}}),
        "rcvstore": (["rcvstore", "+inbox"], {2, 3, 5, 8, 30}, {"mine": {2}}),
        "inc": (["inc", "-silent", "-file", "spool", "+inbox"], {2, 3, 5, 8, 30}, {"mine": {2}}),
        "sortm": (["sortm", "+inbox", "-datefield", "Date"], {2, 3, 5, 8}, {"mine": {2}}),
    }

    def tree(self):
        for name in os.listdir(self.root):
            path = os.path.join(self.root, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        for n in self.NUMBERS:
            self.nmh.put("inbox", n, mail_maker.plain(n, date=OLD - 60 * n), mtime=OLD)
        self.nmh.write_sequences("inbox", {"cur": "3", "unseen": "5", "mine": "2"})
        self.nmh.make_folder("other")
        with open(os.path.join(self.home, "spool"), "wb") as out:
            out.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n" + mail_maker.plain(30))
        self.mhsync("reindex", "+inbox")

    def message(self, number):
        return int(re.search(rb"Message-ID: <m?(\d+)", self.nmh.read("inbox", number), re.I)
                   .group(1))

    def check(self, wanted, flags):
        self.pack()
        on_disk = {n: self.message(n) for n in self.nmh.numbers()}
        self.assertEqual(sorted(on_disk), list(range(1, len(wanted) + 1)))
        self.assertEqual(set(on_disk.values()), wanted)
        sequences = self.nmh.sequences_by_nmh()
        for name, messages in {"unseen": {5} | (wanted & {30}), **flags}.items():
            self.assertEqual({on_disk[n] for n in sequences.get(name, ())}, messages, name)
        snapshot = History(self).look(self.imap())
        self.assertEqual(len(snapshot.uids), len(wanted))

    def check_whole(self):
        """A command of nmh lists the folder before it waits for the lock. One that began while
        files were renamed works with numbers of before, as it does beside `folder -pack`."""
        self.pack()
        on_disk = [self.message(n) for n in self.nmh.numbers()]
        gone = [n for n in os.listdir(self.nmh.folder("inbox")) if n.startswith(",")]
        gone += self.nmh.numbers("other")
        self.assertEqual(len(set(on_disk)), len(on_disk))
        self.assertLessEqual(set(on_disk), {*self.NUMBERS, 30})
        self.assertGreaterEqual(len(on_disk) + len(gone), len(self.NUMBERS))
        snapshot = History(self).look(self.imap())
        self.assertEqual(len(snapshot.uids), len(on_disk))

    def test_nmh_between_any_two_calls_of_ours(self):
        gate = self.later_gate
        for name, (command, wanted, flags) in self.COMMANDS.items():
            def ours():
                return self.run_mhsync("pack", "+inbox", env=gate.environment())
            calls = gate.count(self.tree, ours)
            renames = [call.n for call in calls if call.name == "rename"
                       and call.path.startswith(self.nmh.folder("inbox") + "/")]
            self.assertEqual(len(renames), len(self.NUMBERS))
            written = max(call.n for call in calls if call.path.endswith("/.mh_sequences"))
            for call in calls if LONG else self.random.sample(calls, 4):
                with self.subTest(f"{name} at {call.n}: {call.name} {call.path}, seed {SEED}"):
                    self.tree()
                    gate.hold_at(call.n)
                    running = self.start("pack", "+inbox", env=gate.environment())
                    if not gate.wait_until_held(running):
                        running.communicate()
                        continue
                    theirs = subprocess.Popen(
                        [shutil.which(command[0], path=self.nmh.environment()["PATH"]),
                         *command[1:]], cwd=self.home, env=self.nmh.environment(),
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    if name == "rcvstore":
                        theirs.stdin.write(mail_maker.plain(30))
                    theirs.stdin.close()
                    theirs.stdin = None
                    try:
                        theirs.wait(0.3)
                    except subprocess.TimeoutExpired:
                        pass        # it waits for our lock
                    gate.go()
                    out, err = running.communicate(timeout=60)
                    self.assertIn(running.returncode, (0, 1), out + err)
                    output = theirs.communicate(timeout=90)[0]
                    gate.arm()
                    if renames[0] <= call.n <= written:
                        self.check_whole()
                    else:
                        self.assertEqual(theirs.returncode, 0, output)
                        self.check(wanted, flags)


if __name__ == "__main__":
    print(f"random seed {SEED}")
    runner.main(prepare)
