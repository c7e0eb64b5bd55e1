#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""nmh in loops beside deliveries and clients that copy, move and expunge.

Deliverers bring mail by LMTP, inc and rcvstore bring more, two IMAP clients move, copy and expunge
what they own, while nmh refiles, removes, marks, sorts and packs. Each message says who may take it
away, so that at the end it is known of each where it has to be: exactly once, with its bytes, under
one UID all its life. The long form is the same with 4 x 5,000 deliveries, or as many as
MH_TEST_DELIVERIES says.
"""

import collections
import itertools
import os
import re
import smtplib
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import imap_client  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from nmh import NmhError, find_tag  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
DELIVERERS = 4
EACH = int(os.environ.get("MH_TEST_DELIVERIES", 5000 if LONG else 25))
COMING_IN = 400 if LONG else 6      # by inc and by rcvstore, each
AT_ONCE = 5                         # what a client takes in one command
FULL_LOOK = 20                      # each so many looks a client asks for the whole folder again

# Who may take a message away from the INBOX, by its number modulo 8.
EXPUNGES, MOVES, COPIES, REFILES, REMOVES = 0, 1, 2, 3, 4
FOLDERS = {"INBOX": "inbox", "moved": "moved", "copied": "copied", "refiled": "refiled"}
# nmh's words for a folder that another program changes or locks. It lists a folder before it takes
# its lock, so a pack may look for what has just been removed.
PASSING = re.compile(r"no messages|no .* messages|message \d+ doesn't exist|bad message list|"
                     r"unable to lock|failed to lock|in use|empty|out of range|message list|"
                     r"unable to rename .*No such file|unable to (un)?link", re.I)


def content_id(content):
    return int(re.search(rb"Message-ID: <m(\d+)@", content, re.I).group(1))


def mail(i):
    return mail_maker.plain(i, date=mail_maker.EPOCH + 60 * (i * 7919 % 1000))


class Loops(case.MhTestCase):
    def setUp(self):
        super().setUp()
        self.allow_log(r"Timeout|busy|locked|was removed or edited|message with UID|Message was expunged")
        self.sent, self.errors = set(), []
        self.lock = threading.Lock()
        # nmh's own commands are not safe from each other: of 250 messages that rcvstore brought
        # beside a loop of sortm and pack, two were gone without any Dovecot.
        self.one_nmh = threading.Lock()
        self.delivered = threading.Event()
        self.shown = {}         # (box, validity, uid) -> message
        self.read = {}          # (inode, ctime) -> message
        self.put(1, mail(100001))
        self.nmh.write_sequences("inbox", {"unseen": "1"})
        client = self.imap()
        client.select()
        for box in ("moved", "copied", "refiled"):
            client.ok(f"CREATE {box}")
        self.sent.add(100001)

    # -- the works -------------------------------------------------------------------------------

    def run_all(self, works):
        def guarded(work):
            try:
                work()
            except Exception:  # noqa: BLE001: of whatever kind, it is told at the end
                self.errors.append(traceback.format_exc())
                self.delivered.set()
        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def note(self, i):
        with self.lock:
            self.sent.add(i)

    def deliver(self, first):
        with smtplib.LMTP(self.server.lmtp_socket, timeout=120) as session:
            for i in range(first, first + EACH):
                if self.errors:
                    return      # nothing can come of it any more
                self.send(session, i)
                self.note(i)

    def send(self, session, i):
        """As a mail server does, that tries again what was refused for the time."""
        while True:
            try:
                return session.sendmail("alice@example.org", [self.user.name], mail(i))
            except smtplib.SMTPDataError as error:
                if error.smtp_code // 100 != 4:
                    raise

    def come_in(self):
        for n in range(COMING_IN):
            if self.errors:
                return
            i = 200000 + n
            with self.one_nmh:
                self.nmh.rcvstore(mail(i))
            self.note(i)

    def increase(self):
        for n in range(COMING_IN):
            if self.errors:
                return
            i = 300000 + n
            for _ in range(200):
                spool = os.path.join(self.home, "spool")
                if not os.path.exists(spool) or os.path.getsize(spool) == 0:
                    with open(spool, "wb") as out:
                        out.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n" + mail(i) + b"\n")
                # It refuses where its number was taken meanwhile; its spool stays whole.
                with self.one_nmh:
                    self.nmh.run("inc", "-silent", "-file", spool, "-truncate", "+inbox",
                                 check=False)
                if os.path.getsize(spool) == 0:
                    break
                time.sleep(0.01)
            else:
                raise AssertionError("inc never came in")
            self.note(i)

    def take(self, client, kind, first):
        """UIDs from the first on of what is there and is this client's to take."""
        client.ok("NOOP")
        found = []
        for uid, items in client.fetch(f"{first}:*",
                                       "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]").items():
            text = next((value for name, value in items.items() if name.startswith("BODY")), None)
            if not text or not (match := re.search(rb"<m(\d+)@", text)):
                continue
            i = int(match.group(1))
            self.see("INBOX", client.box.uidvalidity, uid, i)
            if i % 8 == kind:
                found.append(uid)
        return found

    def see(self, box, validity, uid, i):
        with self.lock:
            known = self.shown.setdefault((box, validity, uid), i)
        if known != i:
            raise AssertionError(f"{box}: UID {uid} was message {known} and is {i}")

    def client_loop(self, kinds_and_commands):
        client = self.server.imap(self.user, timeout=120)
        client.box = client.select()
        copied = set()
        highest = {kind: 0 for kind, _ in kinds_and_commands}
        for look in itertools.count():
            last = self.delivered.is_set()
            whole = last or look % FULL_LOOK == 0
            idle = True
            for kind, act in kinds_and_commands:
                found = self.take(client, kind, 1 if whole else highest[kind] + 1)
                uids = [uid for uid in found if uid not in copied]
                highest[kind] = max(found, default=highest[kind])
                idle &= not uids
                for at in range(0, len(uids), AT_ONCE):
                    some = uids[at:at + AT_ONCE]
                    act(client, ",".join(map(str, some)))
                    copied.update(some if kind == COPIES else ())
            if last and idle:
                break
        client.logout()

    def expunge(self, client, uids):
        client.ok(rf"UID STORE {uids} +FLAGS (\Deleted)")
        client.ok(f"UID EXPUNGE {uids}")

    def ok(self, client, command):
        answer = client.command(command)
        if answer.status != "OK":
            raise AssertionError(f"{command}: {answer}")

    def first_client(self):
        self.client_loop([(EXPUNGES, self.expunge),
                          (COPIES, lambda client, uids: self.ok(client, f"UID COPY {uids} copied"))])

    def move(self, client, uids):
        """A message that was moved while nmh had the lock is shown until it can be removed."""
        answer = client.command(f"UID MOVE {uids} moved")
        if answer.status != "OK" and "EXPUNGEISSUED" not in str(answer):
            raise AssertionError(f"UID MOVE {uids}: {answer}")

    def second_client(self):
        self.client_loop([(MOVES, self.move)])

    def passing(self, *command):
        try:
            return self.nmh.run(*command)
        except NmhError as error:
            if PASSING.search(str(error)):
                return None
            raise

    def numbers_of(self, kind):
        found = []
        for number in self.nmh.numbers("inbox"):
            try:
                if self.id_in(self.nmh.file("inbox", number)) % 8 == kind:
                    found.append(number)
            except (FileNotFoundError, AttributeError):
                continue
        return found

    def id_in(self, path):
        """The message in a file, which is read once as long as nobody renames it."""
        stat = os.stat(path)
        key = (stat.st_ino, stat.st_ctime_ns)
        if key not in self.read:
            with open(path, "rb") as file:
                self.read[key] = content_id(file.read())
        return self.read[key]

    def refile_and_remove(self, most=None):
        """By a sequence, which keeps its messages through a sortm and a pack."""
        for kind, command in ((REFILES, ("refile", "-src", "+inbox", "todo", "+refiled")),
                              (REMOVES, ("rmm", "+inbox", "todo"))):
            numbers = self.numbers_of(kind)[:most]
            if not numbers:
                continue
            self.passing("mark", "+inbox", "-sequence", "todo", "-zero", "-add",
                         *map(str, numbers))
            self.passing(*command)

    def mh_user(self):
        n = 0
        while not self.delivered.is_set():
            n += 1
            self.refile_and_remove(AT_ONCE)
            self.passing("mark", "+inbox", "last", "-sequence", "mine", "-add")
            if n % 3 == 0:
                with self.one_nmh:
                    self.passing("sortm", "+inbox")
                    self.passing("folder", "+inbox", "-pack")

    # -- at the end ------------------------------------------------------------------------------

    def found_in(self, client, box, folder):
        validity = client.select(box).uidvalidity
        by_imap = []
        for uid, items in (client.fetch("1:*", "BODY.PEEK[]") if client.uids() else {}).items():
            i = content_id(items["BODY[]"])
            self.assertIn(mail_maker.as_imap(mail(i)).rstrip(), items["BODY[]"], f"bytes of {i}")
            self.see(box, validity, uid, i)
            by_imap.append(i)
        on_disk = []
        for number in self.nmh.numbers(folder):
            content = self.nmh.read(folder, number)
            on_disk.append(content_id(content))
            tag = find_tag(content)
            visible = content if tag is None else tag.message
            self.assertIn(mail(on_disk[-1]).rstrip(), visible, f"{folder}/{number}")
        self.assertEqual(sorted(by_imap), sorted(on_disk), box)
        twice = {i for i, times in collections.Counter(by_imap).items() if times > 1}
        self.assertEqual(twice, set(), f"{box}: there twice; shown before:\n{self.told_of(twice)}")
        left = [name for name in os.listdir(self.nmh.folder(folder))
                if not re.fullmatch(r",?\d+|\.mh_sequences", name)]
        self.assertEqual(left, [], folder)
        return set(by_imap)

    def one_life(self):
        """Under one UID all its life: of each message one UID in each folder and validity."""
        uids = {}
        for (box, validity, uid), i in self.shown.items():
            uids.setdefault((box, i), set()).add((validity, uid))
        several = {key: sorted(value) for key, value in uids.items() if len(value) > 1}
        self.assertEqual(several, {}, "messages that were shown under several UIDs")

    def test_all_messages_are_where_they_belong(self):
        works = [lambda first=1000 * (EACH + 1) * n: self.deliver(first) for n in range(1, DELIVERERS + 1)]
        works += [self.come_in, self.increase]
        others = self.run_all([self.first_client, self.second_client, self.mh_user])
        for thread in self.run_all(works):
            thread.join()
        self.delivered.set()
        for thread in others:
            thread.join()
        self.assertEqual(self.errors, [], "\n".join(self.errors))
        client = self.imap()
        client.select()     # what the last sortm wrote a message over has its number again
        self.refile_and_remove()
        found = {box: self.found_in(client, box, folder) for box, folder in FOLDERS.items()}
        kind = {n: {i for i in self.sent if i % 8 == n} for n in range(8)}
        wanted = {"moved": kind[MOVES], "copied": kind[COPIES], "refiled": kind[REFILES],
                  "INBOX": kind[COPIES] | kind[5] | kind[6] | kind[7]}
        wrong = {box: {"missing": sorted(wanted[box] - found[box]),
                       "too many": sorted(found[box] - wanted[box])}
                 for box in found if wanted[box] != found[box]}
        odd = {i for each in wrong.values() for ids in each.values() for i in ids}
        self.assertEqual(wrong, {}, self.told_of(odd))
        self.one_life()

    def told_of(self, wrong):
        """What the clients were shown of messages that are not where they belong."""
        return "\n".join(f"{i}: {box} UID {uid}" for (box, _, uid), i in sorted(self.shown.items())
                         if i in wrong)


if __name__ == "__main__":
    runner.main(case.prepare)
