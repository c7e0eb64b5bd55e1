#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""nmh, editors and the plugin in one folder at the same moment, each race forced.

One side is held at one of its calls (changes and locks), the other does its work meanwhile, or
waits for the lock; then the first goes on. Whichever it was: nothing is lost or doubled, nothing
that was removed comes back, each flag is on the message that it was given to, and no UID shows
another message. The short form takes some of the calls, others in each run: the random seed is
printed.
"""

import os
import random
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gated  # noqa: E402
import runner  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
SEED = int(os.environ.get("MH_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
SAMPLE = 1          # calls of each pair of works in the short form
PATIENCE = 0.15     # for what may wait for a lock of the one who is held

ALL = {1, 2, 3, 4, 5, 6}

# What nmh does: the command, its input, and who is there, unseen and "mine" then. Message 3 has
# number 4, and so on.
COMMANDS = {
    "pack": (("folder", "+inbox", "-pack"), b"", ALL, {3}, {1, 4}),
    "sortm": (("sortm", "+inbox"), b"", ALL, {3}, {1, 4}),
    "refile": (("refile", "-src", "+inbox", "4", "+other"), b"", ALL - {3}, set(), {1, 4}),
    "rmm": (("rmm", "+inbox", "2"), b"", ALL - {2}, {3}, {1, 4}),
    "mark": (("mark", "+inbox", "2", "-sequence", "mine", "-add"), b"", ALL, {3}, {1, 2, 4}),
    "unmark": (("mark", "+inbox", "5", "-sequence", "mine", "-delete"), b"", ALL, {3}, {1}),
    "rcvstore": (("rcvstore", "+inbox"), gated.mail(9), ALL | {9}, {3, 9}, {1, 4}),
    "anno": (("anno", "+inbox", "2", "-component", "Replied", "-nodate", "-text", "x"), b"", ALL,
             {3}, {1, 4}),
    "inc": (("inc", "-silent", "-file", "spool", "-truncate", "+inbox"), b"", ALL | {8}, {3, 8},
            {1, 4}),
}


class RaceCase(gated.GatedCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")
        # One waits longer than it likes while the other is held.
        self.allow_log(r"Timeout|busy|locked")

    def some(self, calls):
        return calls if LONG or len(calls) <= SAMPLE else self.random.sample(calls, SAMPLE)

    def uid_of(self, i):
        return next(uid for uid in self.history.last.uids
                    if gated.content_id(self.history.last.body(uid)) == i)

    def wait_until_held(self, client, timeout=60):
        """False when the answer comes first."""
        limit = time.monotonic() + timeout
        while not os.path.exists(self.gate.meeting + ".reached"):
            if select.select([client.socket], [], [], 0.002)[0]:
                return False
            self.assertLess(time.monotonic(), limit, "neither held nor answered")
        return True

    def calls_of(self, work):
        self.gate.locks = True
        client, command = work()
        self.gate.arm()
        client.ok(command)
        calls = self.gate.calls()
        self.assertGreater(len(calls), 5)
        return calls


class Race(RaceCase):
    def spool(self):
        with open(os.path.join(self.home, "spool"), "wb") as out:
            out.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n" + gated.mail(8))

    # -- our works: a session that is ready, and its command -------------------------------------

    def store(self):
        self.fill()
        self.spool()
        client = self.imap()
        client.select()
        return client, rf"UID STORE {self.uid_of(5)} +FLAGS (\Flagged)"

    def arrive(self):
        self.fill()
        self.spool()
        self.nmh.put("inbox", 20, gated.mail(7), gated.OLD)
        self.nmh.write_sequences("inbox", {"cur": "1", "unseen": "4 20", "mine": "1 5"})
        return self.imap(), "SELECT INBOX"

    def adopt(self):
        self.fill(adopted=False)
        self.spool()
        client = self.imap()
        client.select()
        return client, "NOOP"

    # -- what must be there ----------------------------------------------------------------------

    def check(self, work, wanted, unseen, mine):
        arrived = {7} if work == self.arrive else set()
        for _ in range(2):
            flags = self.look(wanted | arrived)
        self.assertEqual({i for i, of in flags.items() if "\\Seen" not in of}, unseen | arrived)
        self.assertEqual({i for i, of in flags.items() if "mine" in of}, mine)
        flagged = {5} if work == self.store else set()
        self.assertEqual({i for i, of in flags.items() if "\\Flagged" in of}, flagged & wanted)

    # -- ours held -------------------------------------------------------------------------------

    def ours_held(self, work, n, theirs):
        """False when we did not come there."""
        client, command = work()
        self.gate.hold_at(n)
        tag = client.send(command)
        if not self.wait_until_held(client):
            return False
        process = theirs()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        self.gate.go()
        output = process.communicate(timeout=90)[0]
        self.assertEqual(process.returncode, 0, output)
        self.assertEqual(client.wait(tag).status, "OK")
        self.gate.arm()
        client.ok("NOOP")
        return True

    def every_call_of_ours(self, work):
        calls = self.calls_of(work)
        for name, (command, input, wanted, unseen, mine) in COMMANDS.items():
            came = 0
            for call in self.some(calls):
                where = f"{name} while we are held at {call.n}: {call.name} {call.path}"
                with self.subTest(f"{where}, seed {SEED}"):
                    if self.ours_held(work, call.n,
                                      lambda: self.start_nmh(*command, input=input)):
                        came += 1
                        self.check(work, wanted, unseen, mine)
            # Near the end of a run a call may not come again (a coarse clock decides).
            self.assertGreaterEqual(came, 1 if LONG else 0, f"{name}: never held")

    def test_we_are_held_in_store(self):
        self.every_call_of_ours(self.store)

    def test_we_are_held_in_taking_in_arrivals(self):
        self.every_call_of_ours(self.arrive)

    def test_we_are_held_in_adoption(self):
        self.every_call_of_ours(self.adopt)

    # -- an editor while we give tags ------------------------------------------------------------

    def python(self, code):
        return subprocess.Popen(["/usr/bin/python3", "-S", "-c", "import os, sys\n" + code],
                                cwd=self.nmh.folder("inbox"), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def every_call_of_adoption(self, code, edited, mine, unseen):
        calls = self.calls_of(self.adopt)
        for call in calls if LONG else self.random.sample(calls, min(len(calls), 9)):
            with self.subTest(f"held at {call.n}: {call.name} {call.path}, seed {SEED}"):
                if not self.ours_held(self.adopt, call.n, lambda: self.python(code)):
                    continue
                self.edited = {4: edited}
                self.undecided = unseen - {3}
                flags = self.look(ALL)
                self.assertEqual({i for i, of in flags.items() if "mine" in of}, mine)
                self.assertEqual({i for i, of in flags.items() if "\\Seen" not in of}, unseen)
                self.force_resync("INBOX")
                self.look(ALL)

    def test_an_editor_that_writes_in_place(self):
        # It may have opened the file before we had our lease.
        self.every_call_of_adoption("with open('5', 'ab') as out: out.write(b'more\\n')\n",
                                    gated.mail(4) + b"more\n", {1, 4}, {3})

    def test_an_editor_that_renames(self):
        # Another file with other bytes: another message, with no flags of the old one's.
        edited = gated.mail(4) + b"another\n"
        self.every_call_of_adoption(
            f"with open('x', 'wb') as out: out.write({edited!r})\nos.rename('x', '5')\n", edited,
            {1}, {3, 4})

    # -- nmh held --------------------------------------------------------------------------------

    def theirs_held(self, work, n, command, input):
        client, ours = work()
        self.gate.comm = command[0]
        self.gate.hold_at(n)
        process = self.start_nmh(*command, gated=True, input=input)
        if not self.gate.wait_until_held(process):
            process.communicate()
            return False
        tag = client.send(ours)
        select.select([client.socket], [], [], PATIENCE)
        self.gate.go()
        output = process.communicate(timeout=90)[0]
        self.assertEqual(process.returncode, 0, output)
        self.assertEqual(client.wait(tag).status, "OK")
        client.ok("NOOP")
        return True

    def every_call_of_theirs(self, work):
        for name, (command, input, wanted, unseen, mine) in COMMANDS.items():
            self.gate.locks = True
            client, ours = work()
            self.gate.comm = command[0]
            self.gate.arm()
            process = self.start_nmh(*command, gated=True, input=input)
            output = process.communicate()[0]
            self.assertEqual(process.returncode, 0, output)
            calls = self.gate.calls()
            self.assertGreater(len(calls), 0, name)
            for call in self.some(calls):
                where = f"{name} held at {call.n}: {call.name} {call.path}"
                with self.subTest(f"{where}, seed {SEED}"):
                    if self.theirs_held(work, call.n, command, input):
                        self.check(work, wanted, unseen, mine)

    def test_nmh_is_held_while_we_store(self):
        self.every_call_of_theirs(self.store)

    def test_nmh_is_held_while_we_take_in_arrivals(self):
        self.every_call_of_theirs(self.arrive)

    def test_nmh_is_held_while_we_give_tags(self):
        self.every_call_of_theirs(self.adopt)

    def test_flags_follow_a_message_whose_folder_is_synced_at_that_moment(self):
        """Its index has lost the message between our look at its journal and at its flags."""
        self.fill()
        client = self.imap()
        client.select("other")
        self.nmh.run("refile", "-src", "+inbox", "1", "+other")
        self.gate.comm = "imap"
        self.gate.hold_at("fdatasync/1")
        tag = client.send("NOOP")
        self.assertTrue(self.wait_until_held(client))
        self.doveadm("mailbox", "status", "messages", "INBOX")
        self.gate.go()
        self.assertEqual(client.wait(tag).status, "OK")
        self.assertEqual(list(client.flags().values()), [{"\\Seen", "mine"}])

    def test_rmf_removes_a_folder_that_sessions_look_at_meanwhile(self):
        """Its last step fails if anybody has made a sequences file again."""
        self.fill()
        client = self.imap()
        client.select()
        client.idle()
        self.gate.comm = "rmf"
        self.gate.hold_at("rmdir/1")
        process = self.start_nmh("rmf", "-nointeractive", "+inbox", gated=True)
        self.assertTrue(self.gate.wait_until_held(process))
        for _ in ALL:
            client.wait_for("EXPUNGE", 20)
        self.assertEqual(self.imap().status("INBOX", "MESSAGES"), {"MESSAGES": 0})
        self.assertEqual(os.listdir(self.nmh.folder("inbox")), [])
        self.gate.go()
        output = process.communicate(timeout=60)[0]
        self.assertEqual((process.returncode, output), (0, b""))
        self.assertFalse(os.path.exists(self.nmh.folder("inbox")))


class Requests(RaceCase):
    """A session is held while it copies a message into the folder; another asks for something
    meanwhile, and ends when its own sync cannot have the lock. Dovecot writes dovecot.index at the
    end of every sync here, and counts all that was asked until then as done."""

    server_settings = {"mail_index_rewrite_min_log_bytes": "1",
                       "mail_index_rewrite_max_log_bytes": "1"}
    user_settings = {"mh_lock_timeout": "1s"}

    def copy_beside_another(self):
        self.fill()
        self.nmh.put("other", 1, gated.mail(9), gated.OLD)
        asking = self.imap()
        asking.select()
        asking.store(self.uid_of(2), "+FLAGS", r"\Deleted")
        client = self.imap()
        client.select("other")
        # So the save begins with a sync of the folder, and gives the log free after it.
        self.nmh.put("inbox", 20, gated.mail(7), gated.OLD)
        self.undecided = {7}
        return asking, client, "UID COPY 1 INBOX"

    def copy(self):
        return self.copy_beside_another()[1:]

    def ask_while_held(self, where):
        asking, client, command = self.copy_beside_another()
        self.gate.hold_at(where)
        tag = client.send(command)
        if not self.wait_until_held(client):
            return
        asked = [asking.send(rf"UID STORE {self.uid_of(5)} +FLAGS (\Flagged hello)"),
                 asking.send("EXPUNGE"), asking.send("LOGOUT")]
        # Each waits a second for the folder; or all of them for the log, if that is locked.
        select.select([asking.socket], [], [], 8)
        self.gate.go()
        self.assertEqual(client.wait(tag).status, "OK")
        self.assertEqual({asking.wait(each).status for each in asked}, {"OK"})
        self.gate.arm()
        client.logout()
        flags = self.look(ALL - {2} | {7, 9})
        for flag in ("\\Flagged", "hello"):
            self.assertEqual({i for i, of in flags.items() if flag in of}, {5})

    def test_what_is_asked_while_another_saves(self):
        calls = self.calls_of(self.copy)
        places = []
        for n, call in enumerate(calls):
            where = f"{call.name}/{1 + sum(each.name == call.name for each in calls[:n])}"
            # The short form: between the sync and the save. Whoever waits for a lock tries it often.
            if call.name != "fcntl" and (LONG or call.path.endswith("index.seal")):
                places.append((where, call.path))
        for where, path in places:
            with self.subTest(f"held at {where}: {path}, seed {SEED}"):
                self.ask_while_held(where)


if __name__ == "__main__":
    print(f"random seed {SEED}")
    runner.main(gated.prepare)
