# SPDX-License-Identifier: LGPL-2.1-or-later
"""Loss: state deleted, damaged by a byte, restored from yesterday, copied with the tree.

Which of it may cost what is the table "where the truth is" of the design. Above all: under one
UIDVALIDITY no UID ever shows another message, and UIDNEXT and HIGHESTMODSEQ never go down. The
History holds every look against all looks before it.
"""

import contextlib
import fnmatch
import glob
import os
import random
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from history import History  # noqa: E402
from imap_client import ImapError  # noqa: E402

JUMP = 1 << 20

# What a damaged file makes Dovecot or us say.
DAMAGE = r"corrupt|damaged|journal|store\.db|index|lost|rebuil|UIDVALIDITY|restored"

INDEX, CACHE, JOURNAL = "dovecot.index*", "store.db*", "journal"
SEAL = "journal.seal"       # where the journal ended, as its last writer knows
BULK = 600                  # so many messages that the journal is folded into store.db
PARTS = (INDEX, CACHE, JOURNAL)


class LossCase(MhTestCase):
    """INBOX with messages 1-3 tagged and 4-6 not, one of each removed before; and `bulk` more."""

    bulk = 0
    dates = True

    def setUp(self):
        super().setUp()
        self.begin()

    def begin(self):
        self.history = History(self, self.dates)
        self.number = 0
        for _ in range(4):
            self.arrive()
        self.nmh.write_sequences("inbox", {"unseen": "2", "flagged": "1 3"})
        self.look()
        self.force_resync()
        self.nmh.run("rmm", "+inbox", "4")
        self.look()
        for _ in range(4 + self.bulk):
            self.arrive()
        os.unlink(self.nmh.file("inbox", 8))
        self.look()
        # An arrival that nobody has decided about is unseen in the index alone.
        self.nmh.run("mark", "+inbox", f"5-{self.number}", "-sequence", "unseen", "-add")
        self.before = self.look()

    def arrive(self):
        self.number += 1
        self.nmh.put("inbox", self.number, mail_maker.plain(self.number),
                     mtime=1_200_000_000 + self.number)
        return self.number

    def look(self):
        return self.history.look(self.imap())

    def bodies_on_disk(self):
        return sorted(mail_maker.as_imap(self.nmh.visible("inbox", n))
                      for n in self.nmh.numbers())

    def state(self):
        """The directory of this folder's state."""
        found = [os.path.dirname(path) for path in
                 glob.glob(os.path.join(self.root, ".mhsync", "*", "journal"))]
        self.assertTrue(found, os.listdir(os.path.join(self.root, ".mhsync")))
        for directory in found:
            with open(os.path.join(directory, "journal"), "rb") as journal:
                if str(self.before.uidvalidity).encode() in journal.read():
                    return directory
        return found[0]

    def files(self, *patterns):
        """Files of the state that match, in whatever depth Dovecot put its own."""
        found = []
        for top, _, names in os.walk(self.state()):
            for pattern in patterns:
                found += [os.path.join(top, name) for name in names
                          if fnmatch.fnmatch(name, pattern)]
        return sorted(found)

    def lose(self, *patterns):
        files = self.files(*patterns)
        self.assertTrue(files, f"nothing matches {patterns} in {os.listdir(self.state())}")
        for path in files:
            os.unlink(path)

    def shows_all(self, now):
        self.assertEqual(sorted(now.bodies()), self.bodies_on_disk())

    def unchanged(self):
        """Nothing at all may have changed for a client."""
        now = self.look()
        self.assertEqual(now.uidvalidity, self.before.uidvalidity)
        self.assertEqual(now.uids, self.before.uids)
        self.assertEqual(now.all_flags(), self.before.all_flags())
        self.shows_all(now)
        return now

    def changed_since(self, modseq):
        """UIDs that a client is told of who was here last at `modseq`."""
        client = self.imap()
        client.ok("ENABLE CONDSTORE")
        client.select()
        told = client.ok(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})").all("FETCH")
        return sorted(int(line.data["UID"]) for line in told)

    def told_of_everything(self):
        told = self.changed_since(self.before.highestmodseq)
        self.assertEqual(told, self.look().uids)

    def goes_on(self):
        """After the event the folder works: an arrival, a removal, a flag, adoption."""
        number = self.arrive()
        self.shows_all(self.look())
        os.unlink(self.nmh.file("inbox", self.nmh.numbers()[0]))
        now = self.look()
        self.shows_all(now)
        client = self.select()
        client.store(now.uids[-1], "+FLAGS", "\\Flagged")
        client.logout()
        self.assertIn(number, self.nmh.sequences()["flagged"])
        self.force_resync()
        again = self.look()
        self.assertEqual(again.uids, now.uids)
        self.shows_all(again)


class Deleted(LossCase):
    def test_the_indexes(self):
        self.lose(INDEX)
        self.unchanged()
        self.goes_on()

    def test_without_its_index_a_client_that_was_away_is_told_everything(self):
        self.lose(INDEX)
        self.told_of_everything()

    def keeps_uidvalidity_with_a_jump(self):
        now = self.look()
        self.assertEqual(now.uidvalidity, self.before.uidvalidity)
        self.assertGreaterEqual(now.uidnext, self.before.uidnext)
        self.shows_all(now)
        for uid in (1, 2, 3):
            self.assertIn(uid, now.uids, "a tagged message keeps its UID")
            self.assertEqual(now.flags(uid), self.before.flags(uid))
        self.arrive()
        later = self.look()
        self.assertGreaterEqual(later.uids[-1], self.before.uidnext + JUMP // 2)
        self.goes_on()

    def test_the_journal(self):
        self.allow_log(DAMAGE)
        self.lose(JOURNAL)
        self.keeps_uidvalidity_with_a_jump()

    def test_the_journal_and_the_indexes(self):
        self.allow_log(DAMAGE)
        self.lose(JOURNAL, INDEX)
        now = self.look()
        self.shows_all(now)
        self.goes_on()

    def all_is_new(self):
        now = self.look()
        self.assertGreater(now.uidvalidity, self.before.uidvalidity)
        self.shows_all(now)
        by_body = {now.body(uid): now.flags(uid) for uid in now.uids}
        for uid in self.before.uids:
            self.assertEqual(by_body[self.before.body(uid)], self.before.flags(uid),
                             "flags are in .mh_sequences and stay")
        dates = {now.body(uid): now.date(uid) for uid in now.uids}
        for uid in self.before.uids:
            self.assertEqual(dates[self.before.body(uid)], self.before.date(uid))
        self.goes_on()

    def test_the_journal_with_its_seal(self):
        self.allow_log(DAMAGE)
        self.lose(JOURNAL, SEAL)
        self.keeps_uidvalidity_with_a_jump()

    def test_the_seal_alone(self):
        self.allow_log(DAMAGE)
        self.lose(SEAL)
        now = self.look()
        self.assertEqual((now.uidvalidity, now.uids), (self.before.uidvalidity, self.before.uids))
        self.goes_on()

    def test_journal_and_indexes_with_the_seal(self):
        self.allow_log(DAMAGE)
        self.lose(JOURNAL, SEAL, INDEX)
        self.all_is_new()

    def test_all_of_mhsync(self):
        shutil.rmtree(os.path.join(self.root, ".mhsync"))
        self.all_is_new()

    def test_the_catalogue_of_folders(self):
        self.nmh.put("work", 1, mail_maker.plain(50))
        work = History(self)
        before = work.look(self.imap(), "work")
        os.unlink(os.path.join(self.root, ".mhsync", "folders"))
        self.unchanged()
        now = work.look(self.imap(), "work")
        self.assertEqual((now.uidvalidity, now.uids), (before.uidvalidity, before.uids))

    def test_the_secret(self):
        os.unlink(os.path.join(self.root, ".mhsync", "secret"))
        self.allow_log(DAMAGE + "|secret|key")
        self.unchanged()
        self.goes_on()

    def test_the_sequences_cost_the_flags_only(self):
        os.unlink(self.nmh.file("inbox", ".mh_sequences"))
        now = self.look()
        self.assertEqual(now.uids, self.before.uids)
        self.assertEqual(set(map(frozenset, now.all_flags().values())), {frozenset({"\\Seen"})})

    def test_under_the_eyes_of_an_open_session(self):
        client = self.select()
        client.fetch("1:*", "FLAGS")
        self.lose(INDEX)
        self.allow_log(DAMAGE + "|stale|deleted")
        self.arrive()
        with contextlib.suppress(ImapError):    # Dovecot may end a session that lost its index
            client.command("NOOP")
        client.close()
        now = self.look()
        self.assertEqual(now.uidvalidity, self.before.uidvalidity)
        self.shows_all(now)


class Waiting(LossCase):
    """Changes of flags that wait for nmh's lock, when the index that has them is lost."""

    @unittest.skipUnless(runner.LONG, "takes a minute")
    def test_what_has_waited_for_a_minute_survives_the_index(self):
        first, second, third = self.before.uids[:3]
        with self.nmh.sequences_locked():
            client = self.select()
            client.ok(rf"UID STORE {second} +FLAGS (\Seen \Flagged $Label1)")
            client.ok(rf"UID STORE {third} -FLAGS (\Flagged)")
            client.logout()
            time.sleep(61)
            self.look()
            self.lose(INDEX)
        now = self.look()
        self.assertEqual(now.flags(second), {"\\Seen", "\\Flagged", "$Label1"})
        self.assertEqual(now.flags(third), {"\\Seen"})
        self.assertEqual(now.flags(first), self.before.flags(first))
        sequences = self.nmh.sequences()
        self.assertEqual(set(sequences["flagged"]), {1, 2})
        self.assertNotIn(2, sequences["unseen"])
        self.assertEqual(self.look().all_flags(), now.all_flags())
        self.goes_on()


class Undecided(LossCase):
    """An arrival that no tool has called seen or unseen yet, when what knew of it is lost."""

    def test_the_index_is_lost_within_the_grace(self):
        number = self.arrive()
        uid = self.look().uids[-1]
        self.lose(INDEX)
        now = self.look()
        self.assertEqual(now.flags(uid), set())
        self.nmh.run("mark", "+inbox", "1", "-sequence", "unseen", "-add")
        self.assertEqual(self.look().flags(uid), {"\\Seen"}, "others could decide all the time")

    def test_it_arrived_while_there_was_no_index(self):
        self.lose(INDEX)
        self.arrive()
        now = self.look()
        self.assertEqual(now.flags(now.uids[-1]), set())

    def test_what_was_decided_stays_so(self):
        number = self.arrive()
        uid = self.look().uids[-1]
        self.nmh.run("mark", "+inbox", str(number), "-sequence", "unseen", "-add")
        self.look()
        self.nmh.run("mark", "+inbox", str(number), "-sequence", "unseen", "-delete")
        self.assertEqual(self.look().flags(uid), {"\\Seen"})
        self.lose(INDEX)
        self.assertEqual(self.look().flags(uid), {"\\Seen"})

    def test_what_a_client_decided_stays_so(self):
        self.arrive()
        uid = self.look().uids[-1]
        client = self.select()
        client.store(uid, "+FLAGS", "\\Seen")
        client.logout()
        self.lose(INDEX)
        self.assertEqual(self.look().flags(uid), {"\\Seen"})

    def test_messages_that_were_there_when_the_journal_was_lost_are_no_arrivals(self):
        self.nmh.run("mark", "+inbox", "1-last", "-sequence", "unseen", "-add")
        self.look()
        self.nmh.run("mark", "+inbox", "all", "-sequence", "unseen", "-delete")
        before = self.look()
        self.assertEqual([uid for uid in before.uids if "\\Seen" not in before.flags(uid)], [])
        self.allow_log(DAMAGE)
        self.lose(JOURNAL, CACHE)
        self.arrive()
        now = self.look()
        self.assertGreater(now.uids[-2], JUMP, "untagged messages get new UIDs")
        self.assertEqual([uid for uid in now.uids if "\\Seen" not in now.flags(uid)],
                         now.uids[-1:], "only the new one is new")


class UndecidedForLong(LossCase):
    user_settings = {"mh_unseen_grace": "1"}

    def test_the_index_is_lost_and_nobody_comes_within_the_grace(self):
        number = self.arrive()
        uid = self.look().uids[-1]
        self.lose(INDEX)
        time.sleep(2.1)
        self.assertEqual(self.look().flags(uid), set())
        self.assertIn(number, self.nmh.sequences()["unseen"], "the policy has decided")


class DeletedWithStore(LossCase):
    bulk = BULK

    def test_the_cache(self):
        self.lose(CACHE)
        self.unchanged()
        self.goes_on()

    def test_the_indexes_and_the_cache(self):
        self.lose(INDEX, CACHE)
        self.unchanged()
        self.goes_on()

    def jumped(self):
        self.allow_log(DAMAGE)
        now = self.look()
        self.assertEqual(now.uidvalidity, self.before.uidvalidity)
        self.shows_all(now)
        for uid in (1, 2, 3):
            self.assertIn(uid, now.uids, "a tagged message keeps its UID")
            self.assertEqual(now.flags(uid), self.before.flags(uid))
        self.arrive()
        self.assertGreaterEqual(self.look().uids[-1], self.before.uidnext + JUMP // 2)
        self.goes_on()

    def test_the_journal(self):
        self.lose(JOURNAL)
        self.jumped()

    def test_the_journal_and_the_indexes(self):
        self.lose(JOURNAL, INDEX)
        self.jumped()

    def test_the_journal_and_the_cache(self):
        self.lose(JOURNAL, CACHE)
        self.jumped()

    def test_all_of_them(self):
        self.lose(*PARTS, SEAL)
        self.allow_log(DAMAGE)
        now = self.look()
        self.assertGreater(now.uidvalidity, self.before.uidvalidity)
        self.shows_all(now)
        self.goes_on()

    def test_the_cache_under_the_eyes_of_an_open_session(self):
        client = self.select()
        self.lose(CACHE)
        self.arrive()
        client.command("NOOP")
        client.close()
        now = self.look()
        self.assertEqual(now.uids[:-1], self.before.uids)
        self.shows_all(now)


class Damage(LossCase):
    """One byte is wrong, or the end is missing, or it is something else altogether."""

    def flip(self, path, where):
        with open(path, "r+b") as victim:
            content = bytearray(victim.read())
            content[where % len(content)] ^= 0x41
            victim.seek(0)
            victim.write(content)

    def garbage(self, path):
        size = os.path.getsize(path)
        with open(path, "wb") as out:
            out.write(random.Random(5).randbytes(size))

    def change(self, path, way):
        size = os.path.getsize(path)
        {"a byte at the start": lambda: self.flip(path, 3),
         "a byte in the middle": lambda: self.flip(path, size // 2),
         "a byte near the end": lambda: self.flip(path, -4),
         "cut in half": lambda: os.truncate(path, size // 2),
         "the last byte is missing": lambda: os.truncate(path, size - 1),
         "emptied": lambda: os.truncate(path, 0),
         "garbage": lambda: self.garbage(path)}[way]()

    WAYS = ("a byte at the start", "a byte in the middle", "a byte near the end", "cut in half",
            "the last byte is missing", "emptied", "garbage")

    def another_user(self):
        """A fresh tree for the next damage."""
        self.user = self.new_user()
        self.home = self.user.home
        self.root = os.path.join(self.home, "Mail")
        self.nmh = self.make_nmh()
        self.begin()

    def each_way(self, name, repaired_by_dovecot=False):
        self.allow_log(DAMAGE)
        for way in self.WAYS:
            with self.subTest(way):
                self.another_user()
                for path in self.files(name):
                    self.change(path, way)
                if repaired_by_dovecot:
                    self.first_session()
                self.shows_all(self.look())
                self.goes_on()

    def first_session(self):
        """A SELECT works at once. What Dovecot reads of a damaged log or cache only when it writes
        to it again may end that session afterwards, in any store."""
        client = self.imap()
        client.ok("SELECT INBOX")
        with contextlib.suppress(ImapError):
            client.fetch("1:*", "FLAGS BODY.PEEK[]")
            client.ok("NOOP")
            client.logout()

    def something_else(self, name, make, unmake):
        self.allow_log(DAMAGE + "|directory|FIFO|regular|lock")
        self.another_user()
        (path,) = self.files(name)
        os.unlink(path)
        make(path)
        client = self.imap(timeout=20)
        client.command("SELECT INBOX")
        client.close()
        if os.path.lexists(path):
            unmake(path)
        self.shows_all(self.look())
        self.goes_on()


class Damaged(Damage):
    def test_the_journal(self):
        self.each_way(JOURNAL)

    def test_the_seal(self):
        self.each_way(SEAL)

    def test_the_index_log(self):
        self.each_way("dovecot.index.log", repaired_by_dovecot=True)

    def test_a_directory_or_a_fifo_in_its_place_hangs_nobody(self):
        for name in (JOURNAL, SEAL, "lock"):
            for make, unmake in ((os.mkdir, os.rmdir), (os.mkfifo, os.unlink)):
                with self.subTest(f"{make.__name__} {name}"):
                    self.something_else(name, make, unmake)


class DamagedCacheOfDovecot(Damage):
    # What Dovecot keeps of a message in its cache has no checksum, dates included.
    dates = False

    def test_the_index_cache(self):
        self.each_way("dovecot.index.cache", repaired_by_dovecot=True)


class DamagedStore(Damage):
    bulk = BULK

    def test_the_store(self):
        self.each_way(CACHE)

    def test_a_directory_or_a_fifo_in_its_place_hangs_nobody(self):
        for make, unmake in ((os.mkdir, os.rmdir), (os.mkfifo, os.unlink)):
            with self.subTest(make.__name__):
                self.something_else(CACHE, make, unmake)


class Restore(LossCase):
    """Yesterday's file comes back: whatever was given out since must not be given out again."""

    def save(self):
        self.saved = os.path.join(self.home, "saved")
        self.saved_state = self.state()
        shutil.copytree(os.path.join(self.root, ".mhsync"), self.saved, symlinks=True)

    def a_day(self):
        """Arrivals, removals, flags, adoption: what yesterday's state knows nothing of."""
        for _ in range(3):
            self.arrive()
        self.look()
        client = self.select()
        client.store("1:*", "+FLAGS", "\\Flagged today")
        client.logout()
        os.unlink(self.nmh.file("inbox", self.number))
        os.unlink(self.nmh.file("inbox", 2))
        self.look()
        self.force_resync()
        self.nmh.run("folder", "+inbox", "-pack")
        self.number = self.nmh.numbers()[-1] + 20
        self.arrive()
        self.before = self.look()

    def bring_back(self, *patterns):
        relative = os.path.relpath(self.saved_state, os.path.join(self.root, ".mhsync"))
        old = os.path.join(self.saved, relative)
        now = self.state()
        for path in self.files(*patterns):
            os.unlink(path)
        for top, _, names in os.walk(old):
            for name in names:
                if any(fnmatch.fnmatch(name, p) for p in patterns):
                    target = os.path.join(now, os.path.relpath(os.path.join(top, name), old))
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    shutil.copy2(os.path.join(top, name), target)

    def check(self, *patterns, same=True):
        self.save()
        self.a_day()
        self.bring_back(*patterns)
        self.allow_log(DAMAGE)
        now = self.look()
        self.shows_all(now)
        if same:
            self.assertEqual(now.uidvalidity, self.before.uidvalidity)
            self.assertEqual(now.uids, self.before.uids)
            self.assertEqual(now.all_flags(), self.before.all_flags())
        for _ in range(3):
            self.arrive()
        self.shows_all(self.look())
        self.goes_on()


class Restored(Restore):
    def test_the_indexes(self):
        self.check(INDEX)

    def test_the_journal(self):
        self.check(JOURNAL, same=False)

    def test_the_journal_with_its_seal(self):
        self.check(JOURNAL, SEAL, same=False)

    def test_the_journal_and_the_indexes(self):
        self.check(JOURNAL, SEAL, INDEX, same=False)

    def test_all_of_mhsync(self):
        self.save()
        self.a_day()
        shutil.rmtree(os.path.join(self.root, ".mhsync"))
        shutil.copytree(self.saved, os.path.join(self.root, ".mhsync"), symlinks=True)
        self.allow_log(DAMAGE)
        self.shows_all(self.look())
        for _ in range(3):
            self.arrive()
        self.shows_all(self.look())
        self.goes_on()

    def test_the_whole_tree(self):
        saved = os.path.join(self.home, "tree")
        shutil.copytree(self.root, saved, symlinks=True)
        self.a_day()
        shutil.rmtree(self.root)
        shutil.copytree(saved, self.root, symlinks=True)
        self.allow_log(DAMAGE)
        self.number = 100
        # The mail of yesterday is back as well, and nothing in the tree knows of what was removed
        # since: it has its UID again, and the client is told of it as changed.
        self.history.gone.clear()
        self.told_of_everything()
        self.shows_all(self.look())
        for _ in range(3):
            self.arrive()
        self.shows_all(self.look())
        self.goes_on()

    def test_the_mail_without_its_state(self):
        saved = os.path.join(self.home, "mail")
        shutil.copytree(self.nmh.folder("inbox"), saved, symlinks=True)
        self.a_day()
        shutil.rmtree(self.nmh.folder("inbox"))
        shutil.copytree(saved, self.nmh.folder("inbox"), symlinks=True)
        self.allow_log(DAMAGE)
        self.number = 100
        self.shows_all(self.look())
        self.goes_on()


class RestoredTwice(Restore):
    """One backup, restored a second time: it knows nothing of what came after the first time."""

    def restore(self):
        shutil.rmtree(os.path.join(self.root, ".mhsync"))
        shutil.copytree(self.saved, os.path.join(self.root, ".mhsync"), symlinks=True)

    def test_what_was_tagged_in_between_is_not_given_again(self):
        self.allow_log(DAMAGE)
        self.save()
        self.restore()
        for _ in range(5):
            self.arrive()
        self.look()
        self.force_resync()
        for number in self.nmh.numbers()[-3:-1]:
            os.unlink(self.nmh.file("inbox", number))
        self.before = self.look()
        self.assertGreater(self.before.uidnext, JUMP)
        self.restore()
        for _ in range(3):
            self.arrive()
            now = self.look()
        self.assertGreater(now.uidvalidity, self.before.uidvalidity)
        self.shows_all(now)
        self.goes_on()


class RestoredIndex(Restore):
    """The index alone is another day's, in each way that it can come to be so."""

    ways = 0

    def index_dir(self):
        return os.path.dirname(self.files("dovecot.index.log")[0])

    def keep(self):
        """A copy of the index as it is now, outside of the tree."""
        RestoredIndex.ways += 1
        kept = os.path.join(self.home, f"index{RestoredIndex.ways}")
        shutil.copytree(self.index_dir(), kept)
        return kept

    def raise_modseq(self):
        """Changes of flags that leave the flags as they were."""
        client = self.select()
        for _ in range(5):
            client.store("1", "+FLAGS", "\\Answered")
            client.store("1", "-FLAGS", "\\Answered")
        client.logout()
        self.before = self.look()

    def settle(self):
        """Until the folder counts as unchanged by its stamps alone."""
        time.sleep(3.5)
        self.look()
        self.look()

    def is_noticed(self):
        self.allow_log(DAMAGE)
        self.told_of_everything()
        self.unchanged()
        self.goes_on()

    def test_copied_over_the_files_that_are_there(self):
        kept = self.keep()
        self.raise_modseq()
        for name in os.listdir(kept):
            with open(os.path.join(kept, name), "rb") as old, \
                    open(os.path.join(self.index_dir(), name), "r+b") as now:
                content = old.read()
                now.write(content)
                now.truncate()
        self.is_noticed()

    def test_moved_away_and_back(self):
        aside = os.path.join(self.home, "aside")
        now = self.index_dir()
        os.rename(now, aside)
        self.raise_modseq()
        shutil.rmtree(now)
        os.rename(aside, now)
        self.is_noticed()

    def test_of_an_unchanged_folder(self):
        """Nothing in the folder tells of it: its stamps are those that the old index remembers."""
        self.settle()
        kept = self.keep()
        self.lose(INDEX)
        self.before = self.look()           # starts at the floor
        now = self.index_dir()
        shutil.rmtree(now)
        shutil.copytree(kept, now)
        self.is_noticed()

    def test_without_its_log(self):
        """dovecot.index is written now and then only: what stands in the log alone is lost."""
        self.raise_modseq()
        self.lose("dovecot.index.log*")
        self.is_noticed()

    def test_a_lost_seal_counts_as_a_lost_index(self):
        self.lose("index.seal")
        self.is_noticed()

    def test_a_seal_of_yesterday_alone_says_nothing_wrong(self):
        (seal,) = self.files("index.seal")
        with open(seal, "rb") as kept:
            content = kept.read()
        self.raise_modseq()
        with open(seal, "r+b") as victim:
            victim.write(content)
            victim.truncate()
        self.nothing_is_lifted()

    def nothing_is_lifted(self):
        self.before = self.look()
        self.assertEqual(self.changed_since(self.before.highestmodseq), [])
        self.assertEqual(self.look().highestmodseq, self.before.highestmodseq)
        self.goes_on()
        self.assertLess(self.look().highestmodseq, self.before.highestmodseq + 1000)

    def test_an_index_that_is_as_it_was_is_left_alone(self):
        self.nothing_is_lifted()

    def test_a_log_that_dovecot_rotated_is_no_other(self):
        """As Dovecot does it: beyond a size the log becomes .log.2, and a new one is begun."""
        self.before = self.look()
        client = self.select()
        rotated = os.path.join(self.index_dir(), "dovecot.index.log.2")
        if os.path.exists(rotated):
            os.unlink(rotated)
        long = " ".join(f"keyword{i:03}" for i in range(60))
        for i in range(2000):
            client.store("1:*", "+FLAGS" if i % 2 == 0 else "-FLAGS", long)
            if os.path.exists(rotated):
                break
        self.assertTrue(os.path.exists(rotated), "the log was not rotated")
        client.logout()
        self.nothing_is_lifted()
        self.assertLess(self.look().highestmodseq, self.before.highestmodseq + 200_000)


class RestoredStore(Restore):
    bulk = BULK

    def test_the_cache(self):
        self.check(CACHE)

    def test_the_indexes_and_the_cache(self):
        self.check(INDEX, CACHE)

    def test_the_journal_and_the_cache(self):
        self.check(JOURNAL, SEAL, CACHE, same=False)

    def test_all_of_them(self):
        self.check(*PARTS, SEAL, same=False)


class Aged(LossCase):
    """The journal is lost, and what is left is from long ago: more UIDs were given since than the
    jump makes up for. Each of two jumps that damage has caused stands for a million messages."""

    def begin(self):
        super().begin()
        self.allow_log(DAMAGE)
        kept = os.path.join(self.home, "kept")
        shutil.copytree(self.state(), kept)
        self.kept = kept
        for _ in range(2):
            self.jump()
        self.force_resync()                     # every message has its tag
        self.before = self.look()
        self.assertGreater(self.before.uidnext, 2 * JUMP)

    def jump(self):
        (journal,) = self.files(JOURNAL)
        with open(journal, "r+b") as victim:
            victim.seek(os.path.getsize(journal) // 2)
            victim.write(b"\x5a")
        for _ in range(3):
            self.arrive()
        self.look()
        self.look()

    def bring_back(self, *patterns, in_place=False):
        """Files of the early state; `in_place` as cp does it over a file that is there."""
        for top, _, names in os.walk(self.kept):
            for name in names:
                if not any(fnmatch.fnmatch(name, p) for p in patterns):
                    continue
                target = os.path.join(self.state(), os.path.relpath(os.path.join(top, name),
                                                                    self.kept))
                if not in_place and os.path.exists(target):
                    os.unlink(target)
                shutil.copyfile(os.path.join(top, name), target)

    def no_uid_is_given_twice(self):
        """Whatever the UIDVALIDITY is: the History looks at each arrival."""
        for _ in range(4):
            self.arrive()
            now = self.look()
        self.shows_all(now)
        self.goes_on()
        return now

    def test_the_cache_of_long_ago(self):
        self.bring_back(CACHE)
        self.lose(JOURNAL, INDEX)
        self.assertGreater(self.no_uid_is_given_twice().uidvalidity, self.before.uidvalidity)

    def test_the_cache_and_the_seals_of_long_ago(self):
        self.bring_back(CACHE, SEAL, "index.seal")
        self.lose(JOURNAL, INDEX)
        self.assertGreater(self.no_uid_is_given_twice().uidvalidity, self.before.uidvalidity)

    def test_the_cache_and_the_seals_of_long_ago_copied_over_those_that_are_there(self):
        """Nothing but the tags of the messages tells."""
        self.bring_back(CACHE, SEAL, "index.seal", in_place=True)
        self.lose(JOURNAL, INDEX)
        self.assertGreater(self.no_uid_is_given_twice().uidvalidity, self.before.uidvalidity)

    def test_the_index_of_long_ago(self):
        self.bring_back(INDEX)
        self.lose(JOURNAL, CACHE)
        self.assertGreater(self.no_uid_is_given_twice().uidvalidity, self.before.uidvalidity)

    def test_the_index_and_all_seals_of_long_ago(self):
        self.bring_back(INDEX, SEAL, "index.seal")
        self.lose(JOURNAL, CACHE)
        self.assertGreater(self.no_uid_is_given_twice().uidvalidity, self.before.uidvalidity)

    def test_a_cache_of_now_is_enough(self):
        self.lose(JOURNAL, INDEX, "index.seal")
        now = self.look()
        self.assertEqual((now.uidvalidity, now.uids),
                         (self.before.uidvalidity, self.before.uids))
        self.assertLess(now.uidnext, self.before.uidnext + 2 * JUMP)
        self.no_uid_is_given_twice()

    def test_an_index_of_now_is_enough(self):
        self.lose(JOURNAL, CACHE, SEAL)
        now = self.look()
        self.assertEqual((now.uidvalidity, now.uids),
                         (self.before.uidvalidity, self.before.uids))
        self.no_uid_is_given_twice()

    def test_a_forged_tag_raises_nothing(self):
        with open(self.nmh.file("inbox", 1), "rb") as tagged:
            line, rest = tagged.read().split(b"\n", 1)
        uid = b"%010d" % 4294967290
        at = line.index(b".") + 1
        self.nmh.put("inbox", 900, line[:at] + uid + line[at + 10:] + b"\n" + rest)
        self.lose(JOURNAL, INDEX)
        now = self.look()
        self.assertEqual(now.uidvalidity, self.before.uidvalidity)
        self.assertLess(now.uidnext, self.before.uidnext + 2 * JUMP)
        self.no_uid_is_given_twice()


class Copied(LossCase):
    def copy(self, with_state):
        other = self.new_user()
        target = os.path.join(other.home, "Mail")
        shutil.copytree(self.root, target, symlinks=True,
                        ignore=None if with_state else shutil.ignore_patterns(".mhsync"))
        return other

    def both_go_their_way(self, other, history):
        copied = history.look(self.imap(other))
        self.assertEqual(sorted(copied.bodies()), self.bodies_on_disk())
        self.unchanged()
        target = os.path.join(other.home, "Mail", "inbox")
        for number in (61, 62):
            with open(os.path.join(target, str(number)), "wb") as out:
                out.write(mail_maker.plain(number))
        later = history.look(self.imap(other))
        self.assertEqual(len(later.uids), len(copied.uids) + 2)
        self.force_resync(user=other)
        self.assertEqual(history.look(self.imap(other)).uids, later.uids)
        self.unchanged()
        self.goes_on()
        return copied

    def test_with_its_state(self):
        # The same history: should the copy have the UIDVALIDITY, it has the past as well.
        other = self.copy(with_state=True)
        history = History(self)
        history.shown = dict(self.history.shown)
        self.allow_log(DAMAGE)
        self.both_go_their_way(other, history)

    def test_without_its_state(self):
        other = self.copy(with_state=False)
        copied = self.both_go_their_way(other, History(self))
        self.assertNotEqual(copied.uidvalidity, self.before.uidvalidity)

    def test_moved_to_another_place_with_its_state(self):
        other = self.new_user()
        target = os.path.join(other.home, "Mail")
        os.rename(self.root, target)
        self.allow_log(DAMAGE)
        now = self.history.look(self.imap(other))
        self.assertEqual((now.uidvalidity, now.uids), (self.before.uidvalidity, self.before.uids))


class Walk(LossCase):
    """A random walk over all of the above; a failure tells the seed (MH_TEST_SEED repeats it)."""

    # UIDNEXT jumps by the age of the journal, too, so that two jumps from one state are told apart;
    # here years are seconds. So a state that was kept is forgotten when there is a jump.

    def step(self, source):
        numbers = self.nmh.numbers()
        choice = source.randrange(14)
        if choice <= 2:
            self.number = max([self.number, *numbers])
            self.arrive()
        elif choice == 3 and numbers:
            os.unlink(self.nmh.file("inbox", source.choice(numbers)))
        elif choice == 4:
            self.nmh.run("folder", "+inbox", "-pack", check=False)
        elif choice == 5 and numbers:
            os.rename(self.nmh.file("inbox", source.choice(numbers)),
                      self.nmh.file("inbox", max(numbers) + source.randrange(1, 9)))
        elif choice == 6:
            self.force_resync()
        elif choice == 7 and numbers:
            with open(self.nmh.file("inbox", source.choice(numbers)), "ab") as out:
                out.write(b"one more line %d\n" % source.randrange(1000))
        elif choice == 8 and numbers:
            number = source.choice(numbers)
            shutil.copy2(self.nmh.file("inbox", number),
                         self.nmh.file("inbox", max(numbers) + 1))
        elif choice == 9:
            self.copies += 1
            kept = os.path.join(self.home, f"kept{self.copies}")
            shutil.copytree(os.path.join(self.root, ".mhsync"), kept, symlinks=True)
            self.kept.append(kept)
        elif choice == 10 and self.kept:
            shutil.rmtree(os.path.join(self.root, ".mhsync"))
            shutil.copytree(source.choice(self.kept), os.path.join(self.root, ".mhsync"),
                            symlinks=True)
            self.kept.clear()
        elif choice == 11:
            for path in self.files(source.choice(PARTS)):
                os.unlink(path)
            self.kept.clear()
        elif choice == 12:
            # The index has no checksums: a byte of it that is wrong may be seen, in any store.
            files = [p for p in self.files(JOURNAL, CACHE) if os.path.getsize(p)]
            if files:
                self.kept.clear()
                path = source.choice(files)
                with open(path, "r+b") as victim:
                    victim.seek(source.randrange(os.path.getsize(path)))
                    victim.write(b"\x5a")
        elif choice == 13:
            kept = os.path.join(self.home, "mail.bak")
            if os.path.exists(kept):
                for name in os.listdir(kept):
                    shutil.copy2(os.path.join(kept, name), self.nmh.file("inbox", name))
                shutil.rmtree(kept)
            else:
                os.makedirs(kept)
                for number in numbers[:3]:
                    shutil.copy2(self.nmh.file("inbox", number), kept)
        return choice

    def test_no_uid_ever_shows_another_message(self):
        seed = int(os.environ.get("MH_TEST_SEED") or random.randrange(1 << 30))
        source = random.Random(seed)
        self.kept = []
        self.copies = 0
        self.allow_log(DAMAGE)
        done = []
        for _ in range(250 if runner.LONG else 40):
            done.append(self.step(source))
            try:
                for _ in range(3):
                    with contextlib.suppress(ImapError):    # Dovecot mends a damaged index itself
                        self.look()
                        break
                self.shows_all(self.look())
            except (AssertionError, ImapError) as error:
                self.fail(f"MH_TEST_SEED={seed}, step {len(done)}, last steps {done[-12:]}: {error}")


if __name__ == "__main__":
    runner.main(prepare)
