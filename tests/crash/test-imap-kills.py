#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plugin inside Dovecot's imap process, killed or failed at each call that changes a file.

While it takes in arrivals, writes flags of many messages, and gives tags. Then a new session looks
at the folder, and one more. The long form does it at every call; the short one at some, others in
each run: the random seed is printed.
"""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gate as gates  # noqa: E402
import gated  # noqa: E402
import imap_client  # noqa: E402
import runner  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
SEED = int(os.environ.get("MH_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
SAMPLE = 8          # stops of each kind in the short form
LOST = (OSError, EOFError, imap_client.ImapError)


class InImap(gated.GatedCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")
        # Dovecot's words for a process that is killed, and for calls that fail.
        self.allow_log(r"killed with signal 9|No space left|Input/output error|quota exceeded|"
                       r"Interrupted system call|Timeout|Corrupted|in-memory|fscking|"
                       r"Transaction log|reset, view is now inconsistent|Index file|"
                       r"failed to map|journal")

    # -- the works: each gets a session that is logged in; what it does is counted ---------------

    def arrive(self):
        self.fill()
        for i, number in ((7, 8), (8, 9), (9, 10)):
            self.nmh.put("inbox", number, gated.mail(i), gated.OLD)
        self.nmh.write_sequences("inbox", {"cur": "1", "unseen": "4 8-10", "mine": "1 5 9"})
        return self.imap()

    def known(self):
        self.fill(count=20)
        client = self.imap()
        client.select()
        return client

    def untagged(self):
        self.fill(adopted=False)
        client = self.imap()
        client.select()
        return client

    def run_at(self, start, command, armed):
        """The command's answer, None when the process died of it."""
        client = start()
        self.gate.arm(**armed)
        try:
            return client.command(command)
        except LOST:
            return None
        finally:
            self.gate.arm()

    def stops(self, calls, actions):
        """Which of all stops are tried."""
        # A torn log of Dovecot's costs one failed command, with every driver; the kernel tears no
        # write that small.
        every = [(action, call) for action in actions for call in calls
                 if action not in gates.TORN or not os.path.basename(call.path).startswith("dovecot")]
        every = [(action, call, armed) for action, call in every
                 if (armed := gates.Gate._action_at(action, call)) is not None]
        return every if LONG or len(every) <= SAMPLE else self.random.sample(every, SAMPLE)

    def everywhere(self, start, command, wanted, check, actions):
        client = start()
        self.gate.arm()
        client.ok(command)
        calls = self.gate.calls()
        self.gate.arm()
        self.assertGreater(len(calls), 3, "the gate saw next to nothing")
        for action, call, armed in self.stops(calls, actions):
            with self.subTest(f"{action} at {call.n}: {call.name} {os.path.basename(call.path)}, seed {SEED}"):
                answer = self.run_at(start, command, armed)
                if action in gates.KILL:
                    self.nmh.sequences_by_nmh("inbox")
                # Without a disk Dovecot goes on with its index in memory.
                acknowledged = (answer is not None and answer.status == "OK"
                                and not action.endswith("sticky"))
                check(self.look(wanted), acknowledged)
                self.assertEqual(self.look(wanted), self.look(wanted))

    # -- what must be there ----------------------------------------------------------------------

    def arrived(self, flags, _acknowledged):
        self.assertEqual({i for i, of in flags.items() if "\\Seen" not in of}, {3, 7, 8, 9})
        self.assertEqual({i for i, of in flags.items() if "mine" in of}, {1, 4, 8})

    def flagged(self, flags, acknowledged):
        having = {i for i, of in flags.items() if "\\Flagged" in of}
        if acknowledged:
            self.assertEqual(having, set(flags))
        self.assertEqual({i for i, of in flags.items() if "\\Seen" not in of}, {3})
        self.assertEqual({i for i, of in flags.items() if "mine" in of}, {1, 4})

    def as_before(self, flags, _acknowledged):
        self.assertEqual({i for i, of in flags.items() if "\\Seen" not in of}, {3})
        self.assertEqual({i for i, of in flags.items() if "mine" in of}, {1, 4})

    # -- killed ----------------------------------------------------------------------------------

    def test_killed_in_select_of_arrivals(self):
        self.everywhere(self.arrive, "SELECT INBOX", range(1, 10), self.arrived,
                        gates.KILL + gates.TORN)

    def test_killed_in_store(self):
        self.everywhere(self.known, r"STORE 1:* +FLAGS (\Flagged)", range(1, 21), self.flagged,
                        gates.KILL + gates.TORN)

    def test_killed_in_adoption(self):
        self.everywhere(self.untagged, "NOOP", range(1, 7), self.as_before, gates.KILL)

    # -- failed ----------------------------------------------------------------------------------

    def test_failed_in_select_of_arrivals(self):
        self.everywhere(self.arrive, "SELECT INBOX", range(1, 10), self.arrived,
                        gates.FAIL + gates.INTERRUPT)

    def test_failed_in_store(self):
        self.everywhere(self.known, r"STORE 1:* +FLAGS (\Flagged)", range(1, 21), self.flagged,
                        gates.FAIL + gates.INTERRUPT)

    def test_failed_in_adoption(self):
        self.everywhere(self.untagged, "NOOP", range(1, 7), self.as_before,
                        gates.FAIL + gates.INTERRUPT)


if __name__ == "__main__":
    print(f"random seed {SEED}")
    runner.main(gated.prepare)
