# SPDX-License-Identifier: LGPL-2.1-or-later
"""The base of tests in which sessions watch a folder while somebody else changes it.

Every untagged line that a session gets is applied to what it knew before. In the end each session
knows the same, was told of real changes only, and of each once. Every wait is bounded.
"""

import os
import subprocess
import time

import mail_maker
from case import MhTestCase
from imap_client import ImapError

COUNT = 6
NUMBERS = [1, 2, 3, 4, 5, 8]    # of UIDs 1 to 6: with a hole, for pack
SEQUENCES = {"unseen": "2 5", "flagged": "3", "work": "1 4", "replied": "8"}
FLAGS = {1: {"\\Seen", "work"}, 2: set(), 3: {"\\Seen", "\\Flagged"}, 4: {"\\Seen", "work"},
         5: set(), 6: {"\\Seen", "\\Answered"}}
WAIT = 20       # seconds, for anything


def imap_processes(server, name):
    """Pids of the imap processes of a user: sessions that are not hibernated."""
    pids = [line.split()[2] for line in server.doveadm("who", "-1").out.splitlines()
            if line.startswith(name + " ")]
    alive = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/comm") as command:
                if command.read().strip() == "imap":
                    alive.append(int(pid))
        except OSError:
            pass
    return alive


class Known:
    """What one session knows: UIDs in order (None: told of by EXISTS alone) and flags."""

    def __init__(self, test, name, client, uids, flags):
        self.test, self.name, self.client = test, name, client
        self.uids, self.flags = list(uids), {uid: set(flags[uid]) for uid in uids}
        self.expunged, self.fetched, self.lines = [], [], []

    def take(self, lines):
        for line in lines:
            self.lines.append(line)
            if line.kind == "EXPUNGE":
                self.expunged.append(self.uids.pop(line.number - 1))
            elif line.kind == "EXISTS":
                self.test.assertGreaterEqual(line.number, len(self.uids), self.told())
                self.uids += [None] * (line.number - len(self.uids))
            elif line.kind == "FETCH":
                self.test.assertLessEqual(line.number, len(self.uids), self.told())
                uid = self.uids[line.number - 1]
                self.fetched.append(uid)
                if uid is not None:
                    self.flags[uid] = set(line.data["FLAGS"]) - {"\\Recent"}

    def told(self):
        return f"{self.name} was told: {self.lines!r}"

    def lines_in_short(self):
        def short(line):
            flags = f" ({' '.join(sorted(line.data['FLAGS']))})" if line.kind == "FETCH" else ""
            number = "" if line.number is None else f"{line.number} "
            return f"{number}{line.kind}{flags}"
        return ", ".join(map(short, self.lines)) or "nothing"

    def knows(self, change):
        """Whether it was told of all of this change."""
        return (set(self.expunged) == set(change.gone)
                and len(self.uids) == COUNT - len(change.gone) + change.new
                and all(self.flags[uid] == flags for uid, flags in change.flags.items()))


class Change:
    """gone: UIDs that leave; new: how many come; flags: {UID: flags} of those that change."""

    def __init__(self, gone=(), new=0, flags=None, new_flags=None, fetches=1, passing=()):
        self.gone, self.new, self.flags = set(gone), new, flags or {}
        self.new_flags = new_flags
        self.fetches = fetches      # how often the flags of one message may be told
        self.passing = passing      # UIDs whose flags may be told before they leave

    def nothing(self):
        return not (self.gone or self.new or self.flags)


class WatchedCase(MhTestCase):
    """One user who may hibernate, and the same person by a name that never does."""

    server_settings = {"imap_hibernate_timeout": "1s"}
    hibernating = True

    def setUp(self):
        super().setUp()
        self.awake = self.new_user(home=self.home, imap_hibernate_timeout="0",
                                   **self.user_settings)
        for n in NUMBERS:
            self.nmh.put("inbox", n, self.mail(n), mtime=1_234_500_000 + 1000 * n)
        self.nmh.write_sequences("inbox", SEQUENCES)
        self.nmh.make_folder("elsewhere")
        self.known = {}

    @staticmethod
    def mail(n):
        return mail_maker.digest(3) if n == NUMBERS[-1] else mail_maker.plain(n)

    def sh(self, script):
        """A shell command inside the folder inbox."""
        subprocess.run(["sh", "-ec", script], cwd=self.nmh.folder("inbox"), check=True,
                       env=self.nmh.environment(), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def ended(self, client):
        """The server says BYE, or at least ends the connection."""
        with self.assertRaisesRegex((ImapError, OSError), "closed the connection|reset|Broken"):
            for _ in range(WAIT):
                client.untagged(1)

    def know(self, name, user=None):
        client = self.imap(user or self.awake)
        client.select()
        flags = client.flags()
        client.ok("NOOP")
        self.assertEqual(flags, FLAGS)
        self.known[name] = Known(self, name, client, sorted(flags), flags)
        return client

    def watch(self):
        """All four sessions, in their places."""
        self.force_resync()
        if self.hibernating:
            self.know("hibernated", self.user).idle()
        self.know("idle").idle()
        self.know("selected")
        self.other = self.imap(self.awake)
        self.other.select("elsewhere")
        self.other.status("INBOX", "MESSAGES")
        if self.hibernating:
            self.await_hibernation()
        self.assertEqual(self.pending(), {}, "told of a change where there was none")

    def await_hibernation(self, user=None):
        name = (user or self.user).name
        self.eventually(lambda: imap_processes(self.server, name) == [], timeout=WAIT,
                        interval=0.2)

    def pending(self):
        """What has come to the idle sessions without a wait."""
        found = {}
        for name in ("idle", "hibernated"):
            if name in self.known:
                line = self.known[name].client.untagged(0.001)
                if line is not None and line.kind != "OK":
                    found[name] = line
        return found

    # -- what they were told -----------------------------------------------------------------------

    def await_change(self, change):
        """Those that idle are told, those that do not are asked for. {name: milliseconds}"""
        began, took = time.monotonic(), {}
        idle = [known for known in self.known.values() if known.client.idle_tag]
        while len(took) < len(idle):
            for known in idle:
                if known.name not in took and known.knows(change):
                    took[known.name] = (time.monotonic() - began) * 1000
                elif known.name not in took:
                    self.assertLess(time.monotonic() - began, WAIT, known.told())
                    line = known.client.untagged(0.002)
                    known.take([line] if line and line.kind != "OK" else [])
        for known in self.known.values():
            while not known.knows(change):
                self.assertLess(time.monotonic() - began, 2 * WAIT, known.told())
                known.take(known.client.ok("NOOP").untagged)
        return took

    def expect(self, change):
        """All of them learn of the change, each in its way, and of nothing else. Says in the output
        what each was told, and how long after the change."""
        if change.nothing() and "idle" in self.known:
            line = self.known["idle"].client.untagged(1)
            self.assertTrue(line is None or line.kind == "OK", f"told {line!r}")
        took = self.await_change(change)
        for known in self.known.values():
            self.check(known, change)
        status = self.check_status(change)
        for name, known in self.known.items():
            when = f" after {took[name]:.0f} ms" if name in took and not change.nothing() else ""
            print(f"    {name}{when}: {known.lines_in_short()}; UIDs {known.final[0]}")
        print(f"    other session: STATUS {status}")

    def check(self, known, change):
        if known.client.idle_tag:
            known.take(known.client.done(WAIT).untagged)
        self.assertTrue(known.knows(change), known.told())
        self.assertNothing(known.client.ok("NOOP"))
        self.assertEqual(sorted(known.expunged), sorted(change.gone), known.told())
        fetched = [uid for uid in known.fetched if uid is not None and uid not in change.passing]
        self.assertEqual(set(fetched), set(change.flags), known.told())
        self.assertLessEqual(max(map(fetched.count, fetched), default=0), change.fetches,
                             known.told())
        self.assertNotIn(None, known.fetched, "flags of a new message came later: " + known.told())
        uids = known.client.uids()
        kept = [uid for uid in known.uids if uid is not None]
        self.assertEqual(uids[:len(kept)], kept)
        self.assertTrue(all(uid > COUNT for uid in uids[len(kept):]), uids)
        flags = known.client.flags()
        for uid in kept:
            self.assertEqual(flags[uid], change.flags.get(uid, FLAGS[uid]), uid)
        if change.new_flags is not None:
            self.assertEqual([flags[uid] for uid in uids[len(kept):]], change.new_flags)
        known.final = (uids, flags)

    def check_status(self, change):
        finals = [known.final for known in self.known.values()]
        self.assertTrue(all(final == finals[0] for final in finals), finals)
        uids, flags = finals[0]
        status = self.other.status("INBOX", "MESSAGES UIDNEXT UNSEEN")
        unseen = sum("\\Seen" not in flags[uid] for uid in uids)
        self.assertEqual(status, {"MESSAGES": len(uids), "UIDNEXT": COUNT + 1 + change.new,
                                  "UNSEEN": unseen})
        return status
