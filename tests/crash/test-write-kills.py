#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dovecot's processes killed or failed at each call while they bring in, copy, move and remove mail.

APPEND of one and of several messages, COPY, MOVE, EXPUNGE, a delivery by LMTP, CREATE, DELETE and
RENAME of a folder. Then a new session looks at both folders, and one more: what was acknowledged is there,
once, with its bytes, flags and date; of a transaction all or nothing; no UID shows another message
or comes back. The long form does it at every call; the short one at some, others in each run: the
random seed is printed.
"""

import os
import random
import re
import smtplib
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gate as gates  # noqa: E402
import gated  # noqa: E402
import imap_client  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from nmh import find_tag  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
SEED = int(os.environ.get("MH_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
SAMPLE = 2          # stops of each kind in the short form
LOST = (OSError, EOFError, imap_client.ImapError, smtplib.SMTPException)
DATE = " 5-Jan-2004 10:00:00 +0000"
KNOWN = set(range(1, 7))
NEW = {20: {"\\Flagged", "mine"}, 21: {"\\Seen"}, 22: set()}
SOURCE = {1, 2, 3}


class Result:
    """What a new session and the file system show of a folder after a stop."""

    def __init__(self, acknowledged, inbox, other):
        self.acknowledged, self.inbox, self.other = acknowledged, inbox, other


class Writes(gated.GatedCase):
    server_settings = {"mail_fsync": "always"}

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")
        # Dovecot has many words for a process that is killed, and for calls that fail. None of them
        # may be a panic.
        self.allow_log(r"^(?!.*(?:panic|assertion)).*$")

    # -- the folders -----------------------------------------------------------------------------

    def start(self):
        """Two folders that a client knows; the session has the INBOX selected."""
        self.fill()
        self.histories = {"INBOX": self.history, "other": History(self), "third": History(self)}
        client = self.imap()
        for i in (11, 12):
            self.assertEqual(client.append("other", gated.crlf(gated.mail(i)), date=DATE).status, "OK")
        self.histories["other"].look(client, "other")
        client.select()
        return client

    def show(self, client, box, folder):
        """{message: flags} as IMAP and the files agree; None: there is no such folder."""
        if not os.path.isdir(self.nmh.folder(folder)):
            self.assertNotIn(box, client.list())
            return None
        answer = client.command(f"SELECT {box}")
        if "deleted under us" in answer.text:
            # As Dovecot has it for five minutes after a DELETE that did not come to its end.
            client.ok(f"DELETE {box}")
            self.assertFalse(os.path.exists(self.nmh.folder(folder)))
            return None
        snapshot = self.histories[box].look(client, box)
        shown, uids = {}, {}
        for uid in snapshot.uids:
            body = snapshot.body(uid)
            i = gated.content_id(body)
            # What smtplib sends ends with an empty line.
            self.assertTrue(body.rstrip().endswith(gated.crlf(gated.mail(i)).rstrip()),
                            f"{box}: bytes of UID {uid}: {body!r}")
            self.assertNotIn(i, shown, f"{box}: message {i} is there twice")
            shown[i], uids[i] = snapshot.flags(uid), uid
        files = []
        for number in self.nmh.numbers(folder):
            content = self.nmh.read(folder, number)
            tag = find_tag(content)
            visible = content if tag is None else tag.message
            files.append(gated.content_id(content))
            self.assertTrue(visible.rstrip().endswith(gated.mail(files[-1]).rstrip()),
                            f"{box}: file {number}")
            if tag is not None and tag.uidvalidity == snapshot.uidvalidity:
                self.assertEqual(tag.uid, uids[files[-1]], f"{box}: the tag of file {number}")
        self.assertEqual(sorted(files), sorted(shown), f"{box}: files and messages")
        if files:
            self.nmh.sequences_by_nmh(folder)
        for name in os.listdir(self.nmh.folder(folder)):
            self.assertRegex(name, r"^(\d+|,\d+|\.mh_sequences)$", f"left in {folder}")
        return shown

    def look_at_all(self, folders):
        client = self.imap()
        seen = {}
        for folder in folders:
            seen[folder] = self.show(client, "INBOX" if folder == "inbox" else folder, folder)
        client.logout()
        self._sessions.remove(client)
        return seen

    def forget_dead_locks(self):
        """Dovecot makes a new log under a lock file that it believes in for three minutes, whoever
        is dead and whatever the driver."""
        for top, _, names in os.walk(os.path.join(self.root, ".mhsync")):
            for name in names:
                if name.endswith(".newlock"):
                    os.unlink(os.path.join(top, name))

    # -- the stops -------------------------------------------------------------------------------

    def run_at(self, act, armed, prepare):
        client = self.start()
        if prepare:
            prepare(client)
        self.gate.arm(**armed)
        try:
            answer = act(client)
        except LOST:
            return False
        finally:
            self.gate.arm()
            self.forget_dead_locks()
        return answer is None or answer.status == "OK"

    def stops(self, calls, actions):
        every = [(action, call) for action in actions for call in calls
                 if action not in gates.TORN or not os.path.basename(call.path).startswith("dovecot")]
        every = [(action, call, armed) for action, call in every
                 if (armed := gates.Gate._action_at(action, call)) is not None]
        return every if LONG or len(every) <= SAMPLE else self.random.sample(every, SAMPLE)

    def everywhere(self, act, check, prepare=None, folders=("inbox", "other")):
        client = self.start()
        if prepare:
            prepare(client)
        self.gate.arm()
        answer = act(client)
        self.assertTrue(answer is None or answer.status == "OK", answer)
        calls = self.gate.calls()
        self.gate.arm()
        self.assertGreater(len(calls), 3, "the gate saw next to nothing")
        check(True, self.look_at_all(folders))
        for actions in (gates.KILL + gates.TORN, gates.FAIL + gates.INTERRUPT):
            for action, call, armed in self.stops(calls, actions):
                where = f"{action} at {call.n}: {call.name} {call.path[len(self.home):]}"
                with self.subTest(f"{where}, seed {SEED}"):
                    # Without a disk Dovecot goes on with its index in memory.
                    acknowledged = self.run_at(act, armed, prepare) and not action.endswith("sticky")
                    seen = self.look_at_all(folders)
                    check(acknowledged, seen)
                    self.assertEqual(self.look_at_all(folders), seen)

    # -- APPEND ----------------------------------------------------------------------------------

    def same_inbox(self, seen, without=frozenset(), new=frozenset()):
        inbox = seen["inbox"]
        self.assertEqual(set(inbox) - new - without, KNOWN - without)
        for i in KNOWN & set(inbox):
            self.assertEqual("\\Seen" in inbox[i], i != 3, f"message {i}: {inbox[i]}")
            self.assertEqual("mine" in inbox[i], i in (1, 4), f"message {i}: {inbox[i]}")

    def appended(self, new):
        def check(acknowledged, seen):
            self.same_inbox(seen, new=new)
            there = new & set(seen["inbox"])
            self.assertIn(there, (set(), new), "a part of a transaction")
            if acknowledged:
                self.assertEqual(there, new)
            for i in there:
                self.assertEqual(seen["inbox"][i], NEW[i], f"flags of {i}")
            self.assertEqual(set(seen["other"]), {11, 12})
        return check

    def test_append(self):
        self.everywhere(lambda client: client.append("INBOX", gated.crlf(gated.mail(20)),
                                                     flags=" ".join(NEW[20]), date=DATE),
                        self.appended({20}))

    def test_append_of_several(self):
        mails = [(gated.crlf(gated.mail(i)), " ".join(flags), DATE) for i, flags in NEW.items()]
        self.everywhere(lambda client: client.append("INBOX", *mails), self.appended(set(NEW)))

    def test_flags_are_kept_when_the_index_goes_to_memory(self):
        mails = [(gated.crlf(gated.mail(i)), " ".join(flags), DATE) for i, flags in NEW.items()]
        client = self.start()
        self.gate.arm()
        client.append("INBOX", *mails)
        calls = [call for call in self.gate.calls() if "/index/dovecot.index" in call.path
                 and call.name in ("write", "pwrite", "fdatasync")][-8:]
        for call in calls:
            done = self.run_at(lambda each: each.append("INBOX", *mails),
                               {"fail_at": f"{call.n}:ENOSPC"}, None)
            self.appended(set(NEW))(done, self.look_at_all(("inbox", "other")))

    # -- COPY and MOVE -----------------------------------------------------------------------------

    def flags_followed(self, seen):
        for i in SOURCE & set(seen["other"]):
            self.assertEqual("\\Seen" in seen["other"][i], i != 3, f"copy of {i}")
            self.assertEqual("mine" in seen["other"][i], i == 1, f"copy of {i}")

    def test_copy(self):
        def check(acknowledged, seen):
            self.same_inbox(seen)
            there = SOURCE & set(seen["other"])
            self.assertIn(there, (set(), SOURCE), "a part of a transaction")
            self.assertEqual(set(seen["other"]) - SOURCE, {11, 12})
            if acknowledged:
                self.assertEqual(there, SOURCE)
            self.flags_followed(seen)
        self.everywhere(lambda client: client.command("COPY 1:3 other"), check)

    def test_move(self):
        def check(acknowledged, seen):
            self.same_inbox(seen, without=SOURCE)
            here, there = SOURCE & set(seen["inbox"]), SOURCE & set(seen["other"])
            self.assertIn(there, (set(), SOURCE), "a part of a transaction")
            self.assertEqual(here | there, SOURCE, "lost")
            self.assertEqual(set(seen["other"]) - SOURCE, {11, 12})
            if acknowledged:
                self.assertEqual(there, SOURCE)
            self.flags_followed(seen)
        self.everywhere(lambda client: client.command("MOVE 1:3 other"), check)

    # -- EXPUNGE ---------------------------------------------------------------------------------

    def test_expunge(self):
        def prepare(client):
            client.ok(r"STORE 2:3 +FLAGS (\Deleted)")

        def check(_acknowledged, seen):
            # What cannot be removed stays, with its flag, and the admin is told.
            self.same_inbox(seen, without={2, 3})
            for i in {2, 3} & set(seen["inbox"]):
                self.assertIn("\\Deleted", seen["inbox"][i])
            self.assertEqual(set(seen["other"]), {11, 12})
        self.everywhere(lambda client: client.command("EXPUNGE"), check, prepare)

    def test_what_cannot_be_removed_stays_and_the_client_is_told(self):
        client = self.start()
        client.ok(r"STORE 2:3 +FLAGS (\Deleted)")
        self.gate.arm()
        client.ok("EXPUNGE")
        removals = [call for call in self.gate.calls() if call.name.startswith("rename")
                    and re.search(r"/\.mhsync-out\.\d+\.", call.path)]
        self.assertEqual(len(removals), 2, self.gate.calls())
        client = self.start()
        client.ok(r"STORE 2:3 +FLAGS (\Deleted)")
        self.gate.arm(fail_at=f"{removals[0].n}:EIO")
        answer = client.command("EXPUNGE")
        self.gate.arm()
        self.assertIn("NO", [line.kind for line in answer.untagged], "nothing tells that one stays")
        client.ok("NOOP")
        flags = client.fetch("1:*", "FLAGS")
        deleted = [n for n, items in flags.items() if "\\Deleted" in items["FLAGS"]]
        self.assertEqual(len(flags), 5, "the other one is gone")
        self.assertEqual(len(deleted), 1)
        seen = self.look_at_all(("inbox", "other"))
        self.same_inbox(seen, without={2, 3})
        self.assertEqual(len({2, 3} & set(seen["inbox"])), 1)
        answer = client.ok("EXPUNGE")
        self.assertNotIn("NO", [line.kind for line in answer.untagged])
        self.assertEqual(set(self.look_at_all(("inbox", "other"))["inbox"]), {1, 4, 5, 6})

    # -- CREATE, DELETE and RENAME -------------------------------------------------------------------------

    def test_create(self):
        def check(acknowledged, seen):
            self.same_inbox(seen)
            self.assertEqual(set(seen["other"]), {11, 12})
            if acknowledged:
                self.assertEqual(seen["third"], {})
            else:
                self.assertIn(seen["third"], (None, {}))
        self.everywhere(lambda client: client.command("CREATE third"), check,
                        folders=("inbox", "other", "third"))

    def test_delete(self):
        def check(acknowledged, seen):
            self.same_inbox(seen)
            if acknowledged:
                self.assertIsNone(seen["other"])
            else:
                self.assertLessEqual(set(seen["other"] or ()), {11, 12})
        self.everywhere(lambda client: client.command("DELETE other"), check)

    def test_an_interrupted_delete_can_be_repeated(self):
        for call in ("unlink", "rmdir"):
            client = self.start()
            self.gate.arm()
            client.ok("DELETE other")
            last = [each for each in self.gate.calls() if each.name == call and
                    "/other" in each.path][-1]
            self.assertFalse(self.run_at(lambda each: each.command("DELETE other"),
                                         {"kill_at": last.n}, None))
            client = self.imap()
            answer = client.command("DELETE other")
            self.assertFalse(os.path.exists(self.nmh.folder("other")), f"{call}: {answer}")
            self.assertNotIn("other", client.list())

    def test_rename(self):
        def check(acknowledged, seen):
            self.same_inbox(seen)
            have = [folder for folder in ("other", "third") if seen[folder] is not None]
            self.assertEqual(len(have), 1, f"there are {have}")
            self.assertEqual(set(seen[have[0]]), {11, 12})
            if acknowledged:
                self.assertEqual(have, ["third"])
        self.everywhere(lambda client: client.command("RENAME other third"), check,
                        folders=("inbox", "other", "third"))


class WritesOptimized(Writes):
    server_settings = {"mail_fsync": "optimized"}


class Delivery(Writes):
    comm = "lmtp"

    def deliver(self, _client):
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            session.sendmail("alice@example.org", [self.user.name], gated.mail(20))

    def test_delivery(self):
        def check(acknowledged, seen):
            self.same_inbox(seen, new={20})
            if acknowledged:
                self.assertIn(20, seen["inbox"])
            self.assertNotIn("\\Seen", seen["inbox"].get(20, ()))
        self.everywhere(self.deliver, check)


for name in [name for name in dir(Writes) if name.startswith("test_")]:
    setattr(Delivery, name, None)


if __name__ == "__main__":
    print(f"random seed {SEED}")
    runner.main(gated.prepare)
