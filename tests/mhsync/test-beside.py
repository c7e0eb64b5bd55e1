#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync pack, dedup and reindex in a loop, beside five IMAP clients, without and with loops of nmh.

Two clients read, one flags, two append; nmh brings mail, marks and refiles. A ledger holds
each message that was acknowledged, and each flag. At the end every message is where it belongs,
exactly once, with its flags on both sides, and no UID ever showed another message. Of the copies
that are put in on purpose dedup leaves one, with the flags of all of them.

nmh lists a folder before it waits for the lock, and drops from the sequences what it did not see in
that list: a command that waits while a folder is packed, by whatever program, takes flags from
messages that have got numbers which were free before. So beside nmh flags are not counted; but both
sides show the same.

pack refuses where .mh_sequences is less than a minute old. In the short form it has a clock that is
ahead, with which it ends the protection of new messages from inc (folder-guard.cc): there mail comes
by rcvstore. The long form runs for ten minutes, by the clock of the day, with inc.
"""

import os
import random
import re
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from imap_client import ImapError, Literal  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402
from nmh import NmhError  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
SECONDS = 600 if LONG else 8
AT_FIRST = 60
AHEAD = 120         # seconds, the clock of a pack
KINDS = ("keep", "flag", "mark", "refile", "twice")
# nmh's words where another program is at work at the same moment.
PASSING = re.compile(r"no messages|no .* messages|doesn't exist|bad message list|unable to lock|"
                     r"failed to lock|in use|empty|message list|unable to (un)?link", re.I)


def kind_of(i):
    return KINDS[i % len(KINDS)]


def mail(i, way=0):
    """Message i as it came this way: ways differ in what was written on the road alone."""
    road = b"Received: from road%d.example.org by here; Thu, 1 Jan 2004 00:00:%02d +0000\n"
    return road % (way, way) + mail_maker.plain(i)


def id_of(content):
    return int(re.search(rb"Message-ID: <m(\d+)@", content, re.I).group(1))


class Beside(MhsyncCase):
    def setUp(self):
        super().setUp()
        self.allow_log(r"Timeout|busy|locked|was removed or edited|message with UID|Message was expunged")
        self.later = self.gate(AHEAD).environment()
        self.lock = threading.Lock()
        self.next = 0
        self.there = set()          # acknowledged messages
        self.flags = {}             # message -> acknowledged flags
        self.shown = {}             # (box, UIDVALIDITY, UID) -> message
        self.errors, self.codes = [], {}
        self.end = time.monotonic() + SECONDS
        for n in range(1, AT_FIRST + 1):
            i = self.new()
            self.put(2 * n, mail(i))
            self.came(i)
        self.nmh.write_sequences("inbox", {"flagged": "2-8"})
        for n in range(1, 5):
            self.flags.setdefault(n, set()).add("\\Flagged")
        self.nmh.make_folder("refiled")
        self.imap().select()

    # -- the ledger ------------------------------------------------------------------------------

    def new(self):
        with self.lock:
            self.next += 1
            return self.next

    def came(self, i, *flags):
        with self.lock:
            self.there.add(i)
            self.flags.setdefault(i, set()).update(flags)

    def see(self, box, validity, uid, i):
        with self.lock:
            known = self.shown.setdefault((box, validity, uid), i)
        if known != i:
            raise AssertionError(f"{box}: UID {uid} was message {known} and is {i}")

    # -- the works -------------------------------------------------------------------------------

    def going(self):
        return time.monotonic() < self.end and not self.errors

    def session(self):
        client = self.server.imap(self.user, timeout=120)
        client.box = client.select()
        return client

    def messages(self, client):
        """{UID: message} of what a client sees now; told to the ledger."""
        client.ok("NOOP")
        found = {}
        for uid, items in client.fetch("1:*", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]").items():
            text = next((value for name, value in items.items() if name.startswith("BODY")), None)
            if text and b"<m" in text:
                found[uid] = int(re.search(rb"<m(\d+)@", text).group(1))
                self.see("INBOX", client.box.uidvalidity, uid, found[uid])
        return found

    def reader(self, seed):
        chance = random.Random(seed)
        client = self.session()
        while self.going():
            there = self.messages(client)
            uid = chance.choice(sorted(there))
            body = client.fetch(uid, "BODY.PEEK[]").get(uid, {}).get("BODY[]")
            if body is not None and id_of(body) != there[uid]:
                raise AssertionError(f"UID {uid} is {there[uid]}, its body that of {id_of(body)}")
        client.logout()

    def flagger(self):
        client = self.session()
        rounds = 0
        while self.going():
            rounds += 1
            flags = {"flag": ("\\Answered", f"word{rounds % 5}"), "mark": ("asked",),
                     "refile": ("todo",)}
            wanted = {uid: (i, flags[kind_of(i)]) for uid, i in self.messages(client).items()
                      if kind_of(i) in flags and not self.flags.get(i, set()).issuperset(flags[kind_of(i)])}
            for uid, (i, words) in list(wanted.items())[:20]:
                answer = client.ok(f"UID STORE {uid} +FLAGS ({' '.join(words)})")
                if any(int(line.data.get("UID", 0)) == uid for line in answer.all("FETCH")):
                    self.came(i, *words)
        client.logout()

    def appender(self, way):
        client = self.session()
        while self.going():
            i = self.new()
            client.ok(f"APPEND INBOX (way{way}) ", Literal(mail_maker.as_imap(mail(i, way))))
            self.came(i, f"way{way}")
            if kind_of(i) == "twice":
                other = f"way{way + 1}"
                client.ok(f"APPEND INBOX ({other}) ", Literal(mail_maker.as_imap(mail(i, way + 1))))
                self.came(i, other)
        client.logout()

    def nmh_passing(self, *command):
        try:
            return self.nmh.run(*command)
        except NmhError as error:
            if PASSING.search(str(error)):
                return None
            raise

    def store(self):
        while self.going():
            i = self.new()
            self.nmh.rcvstore(mail(i))
            self.came(i)
            time.sleep(0.01)

    def increase(self):
        while self.going():
            i = self.new()
            spool = os.path.join(self.home, "spool")
            with open(spool, "wb") as out:
                out.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n" + mail(i) + b"\n")
            while os.path.getsize(spool):
                # It refuses where its number was taken meanwhile; its spool stays whole.
                self.nmh.run("inc", "-silent", "-file", spool, "-truncate", "+inbox", check=False)
            self.came(i)
            time.sleep(0.01)

    def marker(self):
        """By sequences that a client sets, as keywords: one command takes them under one lock.
        (pick reads the folder twice, and takes what came in between for found.)"""
        while self.going():
            with self.lock:
                known = [i for i in self.there if "asked" in self.flags[i]]
            if self.nmh_passing("mark", "+inbox", "asked", "-sequence", "chosen", "-add") is not None:
                for i in known:
                    self.came(i, "chosen")
            self.nmh_passing("refile", "-src", "+inbox", "todo", "+refiled")

    def tidy(self, *command):
        ahead = command[0] == "pack" and not LONG
        return self.run_mhsync(*command, "+inbox", env=self.later if ahead else None)

    def tidier(self):
        while self.going():
            for command in (("pack",), ("dedup", "--by", "content", "--delete"), ("reindex",)):
                code, out, err = self.tidy(*command)
                self.codes.setdefault(command[0], []).append(code)
                self.said = out + err
                # 1: something is left for later; 75: nmh or a client had the lock all the time.
                if code not in (0, 1, 75):
                    raise AssertionError(f"mhsync {command}: {code}\n{out}{err}")

    def run_all(self, with_nmh):
        works = [lambda: self.reader(1), lambda: self.reader(2), self.flagger,
                 lambda: self.appender(1), lambda: self.appender(3), self.tidier]
        if with_nmh:
            works += [self.increase if LONG else self.store, self.marker]

        def guarded(work):
            try:
                work()
            except Exception:  # noqa: BLE001: of whatever kind, it is told at the end
                self.errors.append(traceback.format_exc())
        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            self.fail("\n".join(self.errors))

    # -- at the end ------------------------------------------------------------------------------

    def shown_by_imap(self, client, box):
        """{message: [flags of each that shows it]}"""
        client.box = client.select(box)
        found = {}
        for uid, items in client.fetch("1:*", "FLAGS BODY.PEEK[]").items():
            i = id_of(items["BODY[]"])
            self.see(box, client.box.uidvalidity, uid, i)
            found.setdefault(i, []).append(set(items["FLAGS"]) - {"\\Recent"})
        return found

    def run_and_tidy(self, with_nmh):
        """What IMAP shows of both folders after all of it."""
        self.run_all(with_nmh)
        for command in ("pack", "dedup"):
            self.assertIn(0, self.codes[command], f"{command} never had its way: {self.said}")
        for command in (("dedup", "--by", "content", "--delete"), ("pack",), ("reindex",)):
            code, out, err = self.tidy(*command)
            self.assertEqual(code, 0, f"{command}\n{out}{err}")
        client = self.imap()
        inbox, refiled = (self.shown_by_imap(client, box) for box in ("INBOX", "refiled"))
        self.assertEqual(set(inbox) | set(refiled), self.there)
        self.assertEqual([i for i, them in inbox.items() if len(them) > 1 or i in refiled], [])
        self.assertEqual([i for i, them in refiled.items() if len(them) > 1], [])
        self.assertEqual([i for i in refiled if kind_of(i) != "refile"], [])
        numbers = self.nmh.numbers("inbox")
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.both_sides_agree(inbox)
        return inbox, refiled

    def both_sides_agree(self, inbox):
        for name, numbers in self.nmh.sequences_by_nmh().items():
            if name in ("unseen", "flagged", "replied"):
                continue
            marked = {id_of(self.nmh.read("inbox", n)) for n in numbers}
            self.assertEqual(marked, {i for i, (flags,) in inbox.items() if name in flags}, name)

    def lost(self, *boxes):
        """{message: acknowledged flags that it lacks}"""
        return {i: self.flags[i] - flags for box in boxes for i, (flags,) in box.items()
                if not self.flags[i] <= flags}

    def test_no_flag_is_lost_where_all_lock(self):
        self.assertEqual(self.lost(*self.run_and_tidy(with_nmh=False)), {})

    def test_no_message_is_lost_doubled_or_mistaken_beside_nmh(self):
        self.run_and_tidy(with_nmh=True)


if __name__ == "__main__":
    runner.main(prepare)
