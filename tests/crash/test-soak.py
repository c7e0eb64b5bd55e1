#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everybody at once, for a long time, at random, with a ledger.

IMAP clients that store, move, copy, expunge and append, others that idle or hibernate; LMTP, inc and
rcvstore; nmh's refile, rmm, mark, sortm, folder -pack, show; a writer that locks nothing; processes
of the server killed at any time, and indexes lost. The ledger knows of each message where it may be
and with which flags: for each there is one, by its number, who may move it or remove it, and each
flag is one's own. What was answered with OK has to be so in the end; of what was interrupted, either.
And whatever any client was ever shown of a UID is held against what all others were.

MH_TEST_SEED repeats the choices, not the moments. MH_TEST_SECONDS is how long (20, or 1800 in the
long form).
"""

import collections
import functools
import os
import random
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import gate as gates  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from imap_client import ImapError  # noqa: E402
from nmh import NmhError, find_tag  # noqa: E402
from watched import imap_processes  # noqa: E402

SECONDS = float(os.environ.get("MH_TEST_SECONDS", 1800 if runner.LONG else 20))
BOXES = {"INBOX": "inbox", "work": "work", "lists": "lists"}
LOCKLESS = "exmh"           # nmh is not used there, nor LMTP: only IMAP and who locks nothing
WORKERS = 2
MOST = 250                  # messages in a folder; beyond that none are brought

# What becomes of a message, by its number modulo 8.
MOVES, COPIES, EXPUNGES, REFILES, REMOVES = range(5)
# Flags are stored on those that stay where they are.
STAYS = (5, 6, 7)
BY_STORE = ("\\Flagged", "\\Answered", "\\Deleted", "mine", "$Mine")
BY_MARK = ("task", "later")

# nmh's words for a folder that another program changes or locks.
PASSING = re.compile(r"no messages|no .* messages|message \d+ doesn't exist|bad message list|"
                     r"unable to lock|failed to lock|in use|empty|out of range|message list|"
                     r"unable to rename .*No such file|unable to (un)?link|no such sequence|"
                     r"No such file", re.I)


def content_id(content):
    found = re.search(rb"Message-ID: <m(\d+)@", content, re.I)
    return int(found.group(1)) if found else None


def mail(i):
    return mail_maker.plain(i, date=mail_maker.EPOCH + 60 * (i * 7919 % 1000))


class Ledger:
    """What is known of each message. All of it is under one lock. What happened when is written
    into a file beside, for whoever looks for the cause of a failure (MH_TEST_KEEP)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.book = open("ledger", "w", buffering=1)
        self.places = {}        # message -> set of what may be: sorted tuples of folders
        self.flags = {}         # (message, flag) -> True, False, None: either
        self.shown = {}         # (folder, UIDVALIDITY, UID) -> (message, who was shown it)
        self.touched = {}       # message -> when it was put somewhere last
        self.under_way = {}     # message -> what befell it while a command was not answered yet
        self.beside_nmh = set()     # came while nmh worked with a list that it is not in
        self.wrong = []

    def note(self, text):
        self.book.write(f"{time.time():.3f} {threading.current_thread().name}: {text}\n")

    def came(self, i, folder):
        self.is_now(i, (folder,))

    def comes(self, i, folder):
        self.is_now(i, (), (folder,), under_way=True)

    def is_now(self, i, *worlds, under_way=False):
        with self.lock:
            self.touched[i] = time.monotonic()
            overwritten = self.under_way.pop(i, None)
            self.places[i] = {tuple(sorted(world)) for world in worlds}
            if overwritten:
                self.overwrite(i, overwritten)
            if under_way:
                self.under_way[i] = set()
            self.note(f"<{i}> is in {sorted(self.places[i])}")

    def flag_is(self, i, flag, value):
        with self.lock:
            self.flags[(i, flag)] = value
            self.note(f"<{i}> {flag} {value}")

    def overwrite(self, i, folders):
        for folder in folders:
            for world in list(self.places[i]):
                if folder in world:
                    self.places[i].add(tuple(each for each in world if each != folder))

    def nmh_worked(self, folder, since, renames=False, gave_up=False):
        """nmh lists a folder before it locks it, and when the lock is busy it goes on a second later
        with the list it has: it drops the flags of what came meanwhile, and sortm uses the number
        behind the last one that it knows, whatever has got it since. A pack that meets a message
        that is gone gives up, and leaves the sequences in the old numbers."""
        with self.lock:
            for i, worlds in self.places.items():
                new = self.touched[i] >= since or i in self.under_way
                if not (new or gave_up) or not any(folder in world for world in worlds):
                    continue
                for key in [key for key in self.flags if key[0] == i]:
                    self.flags[key] = None
                if i in self.under_way:
                    self.beside_nmh.add(i)
                if new and renames:
                    self.note(f"<{i}> may have been overwritten")
                    self.overwrite(i, [folder])
                    if i in self.under_way:
                        self.under_way[i].add(folder)

    def show(self, folder, validity, uid, i, by):
        with self.lock:
            if (folder, validity, uid) not in self.shown:
                self.note(f"<{i}> is {validity}.{uid} in {folder}")
            known = self.shown.setdefault((folder, validity, uid), (i, by))
            if known[0] != i:
                self.wrong.append(f"{folder}: {validity}.{uid} was message {known[0]} to {known[1]} "
                                  f"and is {i} to {by}")

    def settled(self, i, folder):
        """Whether it is known to be there, and only there."""
        with self.lock:
            return self.places.get(i) == {(folder,)}


class Soak(case.MhTestCase):
    server_settings = {"imap_hibernate_timeout": "1s", "recipient_delimiter": "+",
                       "lmtp_save_to_detail_mailbox": "yes", "lda_mailbox_autocreate": "yes"}
    # A keyword would follow a refile, and have the next command take messages that nobody chose.
    user_settings = {"mh_unseen_grace": "1", "mh_inc_guard": "all", "mh_hidden_sequences": "todo"}

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("MH_TEST_SEED", time.time_ns() % 10**9))
        print(f"MH_TEST_SEED={self.seed}", flush=True)
        self.awake = self.new_user(home=self.home, imap_hibernate_timeout="0", **self.user_settings)
        self.ledger = Ledger()
        self.to_detail = {}     # message -> folder: by LMTP
        self.stop = threading.Event()
        self.errors = []
        self.counts = collections.Counter()
        self.numbers = iter(range(1, 10**9))
        for folder in [*BOXES.values(), LOCKLESS]:
            self.nmh.make_folder(folder)
            for _ in range(16):
                i = self.next_number()
                self.nmh.put(folder, i, mail(i))
                self.ledger.came(i, folder)
            self.nmh.write_sequences(folder, {"unseen": "1-9"})

    def next_number(self):
        with self.ledger.lock:
            return next(self.numbers)

    # -- the works -------------------------------------------------------------------------------

    def start(self, name, step, pause, first=0):
        """step(chance) again and again, from the second `first` on."""
        def run():
            chance = random.Random(f"{self.seed} {name}")
            self.stop.wait(first)
            try:
                while not self.stop.is_set():
                    step(chance)
                    self.counts[name] += 1
                    self.stop.wait(chance.random() * pause)
            except Exception:  # noqa: BLE001: of whatever kind, it is told at the end
                self.errors.append(f"{name}:\n{traceback.format_exc()}")
                self.stop.set()
        thread = threading.Thread(target=run, name=name)
        thread.start()
        return thread

    def full(self, folder):
        return len(self.nmh.numbers(folder)) > MOST

    def deliver(self, chance):
        box = chance.choice(list(BOXES))
        if self.full(BOXES[box]):
            return
        i = self.next_number()
        detail = "" if box == "INBOX" else f"+{box}"
        if detail:
            self.to_detail[i] = BOXES[box]
        self.ledger.comes(i, BOXES[box])
        # What is refused for the moment was not delivered.
        for _ in range(20):
            try:
                with smtplib.LMTP(self.server.lmtp_socket, timeout=120) as session:
                    session.sendmail("alice@example.org", [self.awake.name + detail], mail(i))
                self.ledger.came(i, BOXES[box])
                return
            except smtplib.SMTPResponseException as refused:
                self.ledger.note(f"<{i}> was refused: {refused}")
                if refused.smtp_code // 100 != 4:
                    raise
                time.sleep(0.1)
        raise AssertionError(f"{i} was never delivered")

    def store_by_nmh(self, chance):
        folder = chance.choice(list(BOXES.values()))
        if self.full(folder):
            return
        i = self.next_number()
        with self.person:
            began = time.monotonic()
            self.nmh.rcvstore(mail(i), folder)
            self.ledger.nmh_worked(folder, began)
        self.ledger.came(i, folder)

    def increase(self, chance):
        folder = chance.choice(list(BOXES.values()))
        if self.full(folder):
            return
        i = self.next_number()
        spool = os.path.join(self.home, "spool")
        with open(spool, "wb") as out:
            out.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n" + mail(i) + b"\n")
        # It refuses where its number was taken meanwhile; its spool stays whole.
        for _ in range(200):
            with self.person:
                began = time.monotonic()
                self.nmh.run("inc", "-silent", "-file", spool, "-truncate", "+" + folder,
                             check=False)
                self.ledger.nmh_worked(folder, began)
            if os.path.getsize(spool) == 0:
                self.ledger.came(i, folder)
                return
            time.sleep(0.01)
        raise AssertionError("inc never came in")

    def passing(self, *command):
        """True when it did all it was asked for."""
        self.ledger.note(" ".join(command))
        began, done = time.monotonic(), False
        try:
            self.nmh.run(*command)
            done = True
        except NmhError as error:
            if not PASSING.search(str(error)):
                raise
            self.ledger.note(f"not all of it: {error}")
        for folder in [word[1:] for word in command if word.startswith("+")]:
            self.ledger.nmh_worked(folder, began, renames=command[0] == "sortm",
                                   gave_up=not done and command[0] in ("sortm", "folder"))
        return done

    def on_disk(self, folder, wanted):
        """{number: message} of those that are wanted."""
        found = {}
        for number in self.nmh.numbers(folder):
            try:
                i = content_id(self.nmh.read(folder, number))
            except (FileNotFoundError, PermissionError):
                continue
            if i is not None and wanted(i) and self.ledger.settled(i, folder):
                found[number] = i
        return found

    def file_by_nmh(self, chance):
        """By a sequence, which keeps its messages through a sortm and a pack."""
        folder = chance.choice(list(BOXES.values()))
        kind = chance.choice((REFILES, REMOVES))
        there = self.on_disk(folder, lambda i: i % 8 == kind)
        numbers = chance.sample(sorted(there), min(len(there), 3))
        if not numbers:
            return
        # A number says which message only until the next pack: this one is done by who packs.
        if not self.passing("mark", "+" + folder, "-sequence", "todo", "-zero", "-add",
                            *map(str, numbers)):
            return
        chosen = [there[number] for number in numbers]
        if kind == REMOVES:
            done = self.passing("rmm", "+" + folder, "todo")
            for i in chosen:
                self.ledger.is_now(i, *([()] if done else [(), (folder,)]))
        else:
            to = chance.choice([each for each in BOXES.values() if each != folder])
            done = self.passing("refile", "-src", "+" + folder, "todo", "+" + to)
            for i in chosen:
                self.ledger.is_now(i, *([(to,)] if done else [(to,), (folder,), (to, folder)]))

    def mark_by_nmh(self, chance):
        folder = chance.choice(list(BOXES.values()))
        there = self.on_disk(folder, lambda i: i % 8 in STAYS)
        if not there:
            return
        number = chance.choice(sorted(there))
        flag, add = chance.choice(BY_MARK), chance.random() < 0.6
        i = there[number]
        self.ledger.flag_is(i, flag, None)
        if self.passing("mark", "+" + folder, str(number), "-sequence", flag,
                        "-add" if add else "-delete", "-nozero"):
            self.ledger.flag_is(i, flag, add)

    def arrange(self, chance):
        folder = "+" + chance.choice(list(BOXES.values()))
        command = chance.choice([("folder", folder, "-pack"), ("sortm", folder),
                                 ("sortm", folder, "-textfield", "subject", "-limit", "0"),
                                 ("scan", folder, "last:5")])
        self.passing(*command)

    def nmh_user(self, chance):
        """One person, who does one thing after the other: so a number stays what it is between a
        look at the folder and the command. inc is one of them, for it overwrites what rcvstore,
        refile and sortm have put under the number that it believes to be free."""
        with self.person:
            chance.choice([self.file_by_nmh, self.mark_by_nmh, self.mark_by_nmh, self.arrange])(chance)

    def lockless(self, chance):
        there = self.on_disk(LOCKLESS, lambda i: True)
        subprocess.run([_tools["actor"], "mark-by-rename", self.nmh.folder(LOCKLESS),
                        chance.choice(("seenbyx", "later")),
                        f"<m{there[chance.choice(sorted(there))]}@"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A next one that has read this before it was mended would be taken at its word.
        self.stop.wait(0.5)

    # -- IMAP ------------------------------------------------------------------------------------

    def session(self, user, box):
        """A session, whatever is being killed at the moment."""
        while True:
            try:
                client = self.server.imap(user, timeout=60)
                client.validity = client.select(box).uidvalidity
                return client
            except (ImapError, OSError) as error:
                if isinstance(error, TimeoutError) or self.stop.is_set():
                    raise
                time.sleep(0.05)

    def look(self, client, box, by):
        """{UID: message}; tells the ledger."""
        found = {}
        answer = client.fetch("1:*", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]")
        for uid, items in answer.items():
            text = next((value for name, value in items.items() if name.startswith("BODY")), None)
            i = content_id(text) if text else None
            if i is not None:
                found[uid] = i
                self.ledger.show(box, client.validity, uid, i, by)
        return found

    def worker(self, own, chance):
        """A session of some commands, by a client that may be cut off at any of them. Each has its
        own messages."""
        box = chance.choice([*BOXES, LOCKLESS])
        try:
            client = self.session(self.awake, box)
        except (ImapError, OSError):
            return
        try:
            for _ in range(chance.randrange(1, 12)):
                if self.stop.is_set():
                    break
                client.ok("NOOP")
                self.work_once(own, chance, client, box)
            client.logout()
        except (ImapError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            self.counts["cut off"] += 1
            client.close()

    def work_once(self, own, chance, client, box):
        folder = BOXES.get(box, box)
        found = self.look(client, box, "a worker")
        mine = {uid: i for uid, i in found.items()
                if i // 8 % WORKERS == own and self.ledger.settled(i, folder)}
        others = [each for each in BOXES if each != box]
        acts = [self.store, self.store, self.store, self.append]
        if folder != LOCKLESS:
            acts += [self.move, self.copy, self.expunge]
        chance.choice(acts)(chance, client, folder, mine, chance.choice(others))

    def worlds(self, messages, during, after, command, client):
        """Runs it; the ledger knows what may be while it is not answered."""
        for i in messages:
            self.ledger.is_now(i, *during, under_way=True)
        answer = client.command(command)
        if answer.status == "OK":
            for i in messages:
                self.ledger.is_now(i, after)
        return answer

    @staticmethod
    def some(chance, mine, kind, most=4):
        uids = [uid for uid, i in mine.items() if i % 8 == kind]
        return chance.sample(uids, min(len(uids), chance.randrange(1, most + 1)))

    def move(self, chance, client, folder, mine, to):
        uids = self.some(chance, mine, MOVES)
        if uids:
            there = BOXES[to]
            self.worlds([mine[uid] for uid in uids], [(folder,), (there,), (folder, there)], (there,),
                        f"UID MOVE {','.join(map(str, uids))} {to}", client)

    def copy(self, chance, client, folder, mine, to):
        uids = self.some(chance, mine, COPIES, 2)
        if uids and not self.full(BOXES[to]):
            there = BOXES[to]
            self.worlds([mine[uid] for uid in uids], [(folder,), (folder, there)], (folder, there),
                        f"UID COPY {','.join(map(str, uids))} {to}", client)

    def expunge(self, chance, client, folder, mine, _to):
        uids = self.some(chance, mine, EXPUNGES)
        if uids:
            numbers = ",".join(map(str, uids))
            client.ok(rf"UID STORE {numbers} +FLAGS (\Deleted)")
            self.worlds([mine[uid] for uid in uids], [(folder,), ()], (), f"UID EXPUNGE {numbers}",
                        client)

    def append(self, chance, client, folder, _mine, _to):
        if self.full(folder):
            return
        box = next((box for box, each in BOXES.items() if each == folder), folder)
        several = [self.next_number() for _ in range(chance.choice((1, 1, 3)))]
        flag = chance.choice(BY_STORE[:2])
        for i in several:
            self.ledger.comes(i, folder)
            self.ledger.flag_is(i, flag, None)
        answer = client.append(box, *map(mail, several), flags=flag)
        if answer.status == "OK":
            for i in several:
                self.ledger.came(i, folder)
                self.ledger.flag_is(i, flag, None if i in self.ledger.beside_nmh else True)

    def store(self, chance, client, _folder, mine, _to):
        uids = [uid for uid, i in mine.items() if i % 8 in STAYS]
        if not uids:
            return
        uids = chance.sample(uids, min(len(uids), chance.choice((1, 2, 30))))
        flag, add = chance.choice(BY_STORE), chance.random() < 0.6
        messages = [mine[uid] for uid in uids]
        with self.storing:
            for i in messages:
                self.ledger.flag_is(i, flag, None)
            answer = client.store(",".join(map(str, uids)), "+FLAGS" if add else "-FLAGS", flag)
            self.assertEqual(answer.status, "OK")
            for i in messages:
                self.ledger.flag_is(i, flag, add)

    def watcher(self, user, box, by):
        """A client that idles, and holds what it is told against what it then finds."""
        def step(chance):
            try:
                client = self.session(user, box)
                for _ in range(chance.randrange(1, 6)):
                    self.look(client, box, by)
                    client.idle()
                    limit = time.monotonic() + chance.random() * 6
                    while time.monotonic() < limit and not self.stop.is_set():
                        client.untagged(0.2)
                    client.done()
                    self.read_some(chance, client)
                client.logout()
            except (ImapError, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
        return step

    def read_some(self, chance, client):
        uids = client.uids()
        for uid in chance.sample(uids, min(len(uids), 5)):
            items = client.fetch(uid, "BODY.PEEK[]").get(uid, {})
            if items.get("BODY[]"):
                self.check_bytes(items["BODY[]"], f"UID {uid}")

    def check_bytes(self, shown, where):
        i = content_id(shown)
        if i is None or mail_maker.as_imap(mail(i)).rstrip() not in shown:      # fields come above
            self.ledger.wrong.append(f"{where} has other bytes: {shown[:300]!r}")

    # -- disasters -------------------------------------------------------------------------------

    def kill_one(self, chance):
        processes = [pid for user in (self.user, self.awake)
                     for pid in imap_processes(self.server, user.name)]
        if processes:
            pid = chance.choice(processes)
            self.ledger.note(f"kills {pid}")
            self.kill(pid)

    @staticmethod
    def kill(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def lose_index(self, chance):
        """Of one folder; sessions that have it are ended before. Flags that nmh's lock kept from the
        sequences are lost with it."""
        with self.storing:
            states = [os.path.join(self.root, ".mhsync", name, "index")
                      for name in os.listdir(os.path.join(self.root, ".mhsync"))]
            index = chance.choice([state for state in states if os.path.isdir(state)])
            self.ledger.note(f"loses {index}")
            for user in (self.user, self.awake):
                for pid in imap_processes(self.server, user.name):
                    self.kill(pid)
            for name in os.listdir(index):
                try:
                    os.unlink(os.path.join(index, name))
                except FileNotFoundError:
                    pass

    # -- at the end ------------------------------------------------------------------------------

    def found_in(self, client, box, folder):
        """{message: (UIDs, flags)}; nmh and IMAP see the same."""
        validity = client.select(box).uidvalidity
        client.ok("NOOP")
        found = collections.defaultdict(list)
        answer = client.fetch("1:*", "FLAGS BODY.PEEK[]") if client.uids() else {}
        for uid, items in answer.items():
            self.check_bytes(items["BODY[]"], f"{box} UID {uid}")
            i = content_id(items["BODY[]"])
            self.ledger.show(box, validity, uid, i, "the last look")
            found[i].append(set(items["FLAGS"]) - {"\\Recent"})
        on_disk, by_nmh = collections.Counter(), {}
        sequences = self.nmh.sequences_by_nmh(folder)
        for number in self.nmh.numbers(folder):
            content = self.nmh.read(folder, number)
            tag = find_tag(content)
            i = content_id(content)
            on_disk[i] += 1
            by_nmh[i] = {name for name, numbers in sequences.items() if number in numbers}
            self.check_bytes(mail_maker.as_imap(content if tag is None else tag.message),
                             f"{folder}/{number}")
        self.assertEqual({i: len(all_of_it) for i, all_of_it in found.items()}, dict(on_disk), box)
        names = {"\\Flagged": "flagged", "\\Answered": "replied", "\\Deleted": "deleted",
                 "$Mine": "kwzz24Mine"}
        for i, (flags, *_more) in found.items():
            for flag in (*BY_STORE, *BY_MARK):
                if (flag in flags) != (names.get(flag, flag) in by_nmh[i]):
                    self.ledger.wrong.append(f"{folder}: message {i}: {flag} is not the same to IMAP "
                                             f"{sorted(flags)} and nmh {sorted(by_nmh[i])}")
        left = [name for name in os.listdir(self.nmh.folder(folder))
                if not re.fullmatch(r",?\d+|\.mh_sequences", name)]
        self.assertEqual(left, [], folder)
        return found

    def check_all(self):
        client = self.imap(self.awake)
        where, flags = collections.defaultdict(list), {}
        for box, folder in [*BOXES.items(), (LOCKLESS, LOCKLESS)]:
            for i, all_of_it in self.found_in(client, box, folder).items():
                where[i] += [folder] * len(all_of_it)
                flags[i] = all_of_it[0]
        wrong = self.ledger.wrong
        for i, worlds in self.ledger.places.items():
            # What Dovecot cannot bring there it brings into the INBOX, where nobody knew of it.
            if where.get(i) == ["inbox"] and worlds == {(self.to_detail.get(i),)}:
                continue
            if tuple(sorted(where.get(i, ()))) not in worlds:
                wrong.append(f"message {i} (of kind {i % 8}) is in {where.get(i, [])}, "
                             f"not in {sorted(worlds)}")
        wrong += [f"message {i} is nobody's" for i in where if i not in self.ledger.places]
        for (i, flag), value in self.ledger.flags.items():
            if i % 8 in STAYS and i in flags and value is not None and (flag in flags[i]) != value:
                wrong.append(f"message {i} in {where[i]}: {flag} should be {value}: {sorted(flags[i])}")
        lives = collections.defaultdict(set)
        for (box, validity, uid), (i, _by) in self.ledger.shown.items():
            if i % 8 in STAYS:
                lives[(box, i)].add((validity, uid))
        wrong += [f"message {i} had several UIDs in {box}: {sorted(uids)}"
                  for (box, i), uids in lives.items() if len(uids) > 1]
        print(f"    {len(self.ledger.places)} messages, {len(self.ledger.shown)} UIDs shown; "
              + ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items())),
              flush=True)
        self.assertEqual(len(wrong), 0, "\n".join(wrong[:40]))

    def test_nothing_is_lost_doubled_or_mistaken(self):
        self.allow_log(r"killed with signal 9|Timeout|busy|locked|was removed or edited|"
                       r"message with UID|Message was expunged|hibernat|imap-master|Disconnected|"
                       r"made anew|index was restored|reset, view is now inconsistent|"
                       r"corrupted cache: reset_id|dovecot\.index|list\.index|Connection|unexpectedly|anvil|being written to")
        self.storing, self.person = threading.Lock(), threading.Lock()
        threads = [
            self.start("LMTP", self.deliver, 0.6),
            self.start("rcvstore", self.store_by_nmh, 1.0),
            self.start("inc", self.increase, 1.5),
            self.start("nmh", self.nmh_user, 0.3),
            self.start("lock-less", self.lockless, 1.0),
            self.start("kill", self.kill_one, 4, 2),
            self.start("lose index", self.lose_index, 12, 4),
        ]
        threads += [self.start(f"worker {n}", functools.partial(self.worker, n), 0.1)
                    for n in range(WORKERS)]
        for n, box in enumerate([*BOXES, LOCKLESS]):
            threads.append(self.start(f"idle {box}", self.watcher(self.awake, box, f"idle {n}"), 0.1))
            threads.append(self.start(f"hibernated {box}",
                                      self.watcher(self.user, box, f"hibernated {n}"), 0.1))
        self.stop.wait(SECONDS)
        self.stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.errors, [], "\n".join(self.errors))
        self.check_all()


_tools = {}


def prepare():
    case.prepare()
    _tools["actor"] = runner.stage(gates.find_actor())


if __name__ == "__main__":
    runner.main(prepare)
