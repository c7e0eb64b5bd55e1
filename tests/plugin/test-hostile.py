# SPDX-License-Identifier: LGPL-2.1-or-later
"""Anything a folder may hold: never a crash, a hang, a lost message or a look outside the tree.

Every session here has a timeout of its own that is far above what a healthy server needs, so a
hang is a failure and not a test that never ends. Whatever the odd thing is, the messages beside it
are served.
"""

import hashlib
import os
import re
import shutil
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from imap_client import ImapError  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from history import History  # noqa: E402

TIMEOUT = 25

# What we may say of it, once, at whatever level.
COMPLAINT = r"mh_sequences|sequence|profile|\bmh\b|not a (regular|directory)|permission|denied"


class HostileCase(MhTestCase):
    """INBOX with three good messages, 1 to 3, that must be there whatever happens."""

    good = {n: mail_maker.as_imap(mail_maker.plain(n)) for n in (1, 2, 3)}

    def setUp(self):
        super().setUp()
        for n in self.good:
            self.nmh.put("inbox", n, mail_maker.plain(n))

    def path(self, name):
        return os.path.join(self.nmh.folder("inbox"), name)

    def imap(self, user=None, timeout=TIMEOUT):
        return super().imap(user, timeout)

    def bodies(self, name="INBOX"):
        client = self.imap()
        box = client.select(name)
        if not box.exists:
            return []
        found = client.fetch("1:*", "BODY.PEEK[] FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE")
        client.search('TEXT "body"')
        client.logout()
        return sorted(items["BODY[]"] for items in found.values())

    def only_the_good(self, extra=()):
        expected = sorted([*self.good.values(), *extra])
        self.assertEqual(self.bodies(), expected)
        self.force_resync()
        self.assertEqual(self.bodies(), expected)


class Names(HostileCase):
    def test_junk_names_are_no_messages(self):
        junk = ["0", "00", "007", "01", "-1", "+4", "1a", "a1", "1.5", "5~", "5.orig", "5 ", " 5",
                ",5", "#5", ".5", "@", "LCK.1", "core", "٣", "５", "²", "5\n", "x" * 255, "0x5",
                "2147483547", "2147483548", "2147483647", "2147483648", "4294967295",
                "4294967297", "18446744073709551617", "9" * 200]
        for name in junk:
            with open(self.path(name), "wb") as out:
                out.write(b"Subject: junk\n\n" + name.encode() + b"\n")
        self.only_the_good()
        for name in junk:
            self.assertTrue(os.path.exists(self.path(name)), f"{name!r} is gone")
            with open(self.path(name), "rb") as kept:
                self.assertEqual(kept.read(), b"Subject: junk\n\n" + name.encode() + b"\n")

    def test_the_highest_number_is_a_message_and_takes_flags(self):
        content = mail_maker.plain(9)
        self.nmh.put("inbox", 2147483546, content)
        client = self.imap()
        self.assertEqual(client.select().exists, 4)
        client.store(4, "+FLAGS", "\\Flagged")
        client.store("1:4", "-FLAGS", "\\Seen")
        client.logout()
        self.assertEqual(self.nmh.sequences_text().count("2147483546"), 2)
        self.only_the_good(extra=[mail_maker.as_imap(content)])

    def test_things_that_are_no_files_are_no_messages(self):
        os.mkfifo(self.path("7"))
        with socket.socket(socket.AF_UNIX) as end:
            os.chdir(self.nmh.folder("inbox"))
            end.bind("8")
            os.chdir(runner.scratch())
        os.mkdir(self.path("9"))
        os.symlink("1", self.path("10"))
        os.symlink("nowhere", self.path("11"))
        os.symlink("12", self.path("12"))
        os.symlink("/etc/passwd", self.path("13"))
        os.symlink("7", self.path("14"))
        os.symlink("/dev/zero", self.path("15"))
        self.only_the_good()
        self.assertEqual(sorted(os.listdir(self.nmh.folder("inbox")))[:3], [".mh_sequences", "1",
                                                                            "10"])

    @runner.needs_root
    def test_a_device_is_no_message(self):
        runner.as_root("mknod", "-m", "666", self.path("7"), "c", "1", "5")
        self.only_the_good()

    def test_five_thousand_junk_names(self):
        for n in range(5000):
            with open(self.path(f",{n}"), "wb"):
                pass
        began = time.monotonic()
        self.only_the_good()
        self.assertLess(time.monotonic() - began, 15)

    def test_a_numeric_directory_is_a_folder_beside_the_messages(self):
        self.nmh.put("inbox/7", 1, mail_maker.plain(70))
        self.only_the_good()
        self.assertEqual(self.bodies("INBOX/7"), [mail_maker.as_imap(mail_maker.plain(70))])


class Rights(HostileCase):
    def test_an_unreadable_message_keeps_its_uid_and_fails_alone(self):
        history = History(self)
        history.look(self.imap())
        os.chmod(self.path("2"), 0)
        self.allow_log("permission|denied|EACCES")
        client = self.imap()
        self.assertEqual(client.select().exists, 3)
        self.assertEqual(client.uids(), [1, 2, 3])
        answer = client.command("UID FETCH 2 (BODY.PEEK[])")
        self.assertEqual(answer.status, "NO", answer)
        self.assertRegex(answer.text, "[a-z]")
        self.assertEqual([line for line in answer.untagged if line.kind == "EXPUNGE"], [])
        for uid in (1, 3):
            self.assertEqual(client.body(uid), self.good[uid])
        client.logout()
        self.force_resync_tolerant()
        client = self.imap()
        client.select()
        self.assertEqual(client.uids(), [1, 2, 3])
        client.logout()
        os.chmod(self.path("2"), 0o600)
        self.assertEqual(history.look(self.imap()).uids, [1, 2, 3])

    def force_resync_tolerant(self):
        self.server.doveadm("force-resync", "-u", self.user.name, "*", check=False)

    def test_one_that_was_never_readable_disturbs_nobody(self):
        self.nmh.put("inbox", 4, mail_maker.plain(4))
        os.chmod(self.path("4"), 0)
        self.allow_log("permission|denied|EACCES")
        client = self.imap()
        client.select()
        for uid, body in self.good.items():
            self.assertEqual(client.body(uid), body)
        client.logout()
        os.chmod(self.path("4"), 0o600)
        self.assertEqual(self.bodies(), sorted([*self.good.values(),
                                                mail_maker.as_imap(mail_maker.plain(4))]))

    @runner.needs_root
    def test_a_foreign_owned_message_is_served_and_never_tagged(self):
        self.nmh.put("inbox", 4, mail_maker.plain(4), mode=0o644)
        runner.as_root("chown", "root", self.path("4"))
        # No read lease on another's file: it counts as whole after some quiet.
        time.sleep(2.5)
        history = History(self)
        before = history.look(self.imap())
        self.assertEqual(len(before.uids), 4)
        self.force_resync()
        self.assertIsNone(self.nmh.tag("inbox", 4))
        self.assertIsNotNone(self.nmh.tag("inbox", 3))
        self.assertEqual(history.look(self.imap()).uids, before.uids)
        os.rename(self.path("4"), self.path("40"))
        self.assertEqual(history.look(self.imap()).uids, before.uids)

    def test_a_folder_that_may_not_be_entered(self):
        self.nmh.put("closed", 1, mail_maker.plain(1))
        os.chmod(self.nmh.folder("closed"), 0)
        self.addCleanup(os.chmod, self.nmh.folder("closed"), 0o700)
        self.allow_log("permission|denied|EACCES")
        client = self.imap()
        self.assertEqual(client.command("SELECT closed").status, "NO")
        client.list()
        client.logout()
        self.assertEqual(self.bodies(), sorted(self.good.values()))

    def test_a_folder_closed_while_it_is_selected(self):
        client = self.imap()
        client.select()
        os.chmod(self.nmh.folder("inbox"), 0)
        self.addCleanup(os.chmod, self.nmh.folder("inbox"), 0o700)
        self.allow_log("permission|denied|EACCES")
        answer = client.command("NOOP")
        self.assertEqual([x for x in answer.untagged if x.kind in ("EXPUNGE", "VANISHED")], [])
        client.command("UID FETCH 1 (BODY.PEEK[])")
        client.close()
        os.chmod(self.nmh.folder("inbox"), 0o700)
        self.assertEqual(self.bodies(), sorted(self.good.values()))


class Vanishing(HostileCase):
    """The file changes between the listing and the reading of it."""

    def fetch(self, change):
        client = self.imap()
        client.select()
        change(self.path("2"))
        answer = client.command("UID FETCH 2 (BODY.PEEK[])")
        shown = [line.data["BODY[]"] for line in answer.all("FETCH") if "BODY[]" in line.data]
        for body in shown:
            if body is not None and body != b"":
                self.assertEqual(body, self.good[2], "other bytes under the old UID")
        for uid in (1, 3):
            self.assertEqual(client.body(uid), self.good[uid])
        client.logout()
        return answer

    def test_removed(self):
        self.allow_log("no such file|expunged")
        self.fetch(os.unlink)
        self.assertEqual(self.bodies(), sorted([self.good[1], self.good[3]]))

    def test_replaced_by_a_fifo(self):
        self.allow_log("regular|expunged|FIFO|no such")

        def change(path):
            os.unlink(path)
            os.mkfifo(path)
        self.fetch(change)
        self.assertEqual(self.bodies(), sorted([self.good[1], self.good[3]]))

    def test_replaced_by_a_link_out_of_the_tree(self):
        secret = os.path.join(self.home, "secret")
        with open(secret, "wb") as out:
            out.write(b"Subject: secret\n\nsecret\n")
        self.allow_log("link|regular|expunged|ELOOP|no such")

        def change(path):
            os.unlink(path)
            os.symlink(secret, path)
        answer = self.fetch(change)
        self.assertNotIn("secret", repr(answer.untagged))
        with open(secret, "rb") as kept:
            self.assertEqual(kept.read(), b"Subject: secret\n\nsecret\n")

    def test_truncated(self):
        self.allow_log("size|shrank|truncat|expunged|changed")
        self.fetch(lambda path: os.truncate(path, 20))

    def test_swapped_with_another(self):
        def change(path):
            os.rename(path, path + "t")
            os.rename(self.path("1"), path)
            os.rename(path + "t", self.path("1"))
        self.fetch(change)
        self.assertEqual(self.bodies(), sorted(self.good.values()))

    def test_the_folder_is_removed_while_it_is_selected(self):
        client = self.imap()
        self.nmh.put("gone", 1, mail_maker.plain(1))
        client.select("gone")
        shutil.rmtree(self.nmh.folder("gone"))
        self.allow_log("deleted|no such|gone|exist")
        with self.assertRaisesRegex(ImapError, "closed the connection"):     # after a BYE
            client.command("NOOP")
        client.close()
        self.assertEqual(self.bodies(), sorted(self.good.values()))


class Big(HostileCase):
    def test_a_big_message(self):
        size = (100 if runner.LONG else 20) << 20
        hasher, length, tail = hashlib.sha256(), 0, b""
        with open(self.path("4"), "wb") as out:
            for chunk in mail_maker.big(size):
                out.write(chunk)
                shown = mail_maker.as_imap(chunk)
                hasher.update(shown)
                length += len(shown)
                tail = shown[-100:]
        for _ in range(2):
            client = self.imap(timeout=120)
            client.select()
            self.assertEqual(int(client.fetch(4, "RFC822.SIZE")[4]["RFC822.SIZE"]), length)
            got = client.body(4)
            self.assertEqual(len(got), length)
            self.assertEqual(hashlib.sha256(got).digest(), hasher.digest())
            got = client.fetch(4, f"BODY.PEEK[]<{length - 100}.1000>")[4]
            self.assertEqual(list(v for k, v in got.items() if k.startswith("BODY[]")), [tail])
            self.assertEqual(client.search('TEXT "no such words"'), [])
            client.logout()
            self.force_resync()
        self.assertIsNotNone(self.nmh.tag("inbox", 4))


class Sequences(HostileCase):
    """.mh_sequences of every kind: the messages are there, and a flag can be stored after it."""

    TEXTS = {
        "empty": b"",
        "one newline": b"\n",
        "blank lines": b"\n\nflagged: 2\n\n\n",
        "a line without a colon": b"no colon here\nflagged: 2\n",
        "only a colon": b":\nflagged: 2\n",
        "only blanks": b"   \t \n",
        "no newline at the end": b"flagged: 2",
        "CRLF": b"flagged: 2\r\nunseen: 1\r\n",
        "a NUL": b"work: 1 \0 3\nflagged: 2\n",
        "NULs only": b"\0" * 500,
        "binary": bytes(range(256)) * 20,
        "folded": b"work: 1\n\t3\nflagged: 2\n",
        "backwards and broken ranges": b"work: 5-3 3- -3 1,2 x 2y 1--2\nflagged: 2\n",
        "huge numbers": b"work: 4294967295 4294967297 99999999999999999999999\nflagged: 2\n",
        "a huge range": b"work: 1-4294967295\nflagged: 2\n",
        "another huge range": b"work: 1-2147483647 5-18446744073709551615\nflagged: 2\n",
        "zero and below": b"work: 0 00 -5 0-2\nflagged: 2\n",
        "a line of 200 KB": b"work: " + b" ".join(b"%d" % n for n in range(1, 80000, 2)) + b"\n"
                            b"flagged: 2\n",
        "a name of 2000 bytes": b"n" * 2000 + b": 1\nflagged: 2\n",
        "a name of 200 KB": b"n" * 200000 + b": 1\nflagged: 2\n",
        "ten thousand sequences": b"".join(b"s%d: 1\n" % n for n in range(10000))
                                  + b"flagged: 2\n",
        "a thousand times the same name": b"work: 1\n" * 1000 + b"flagged: 2\n",
        "names that IMAP cannot say": b"a b: 1\n\\Seen: 1\n\\Flagged: 1\n(x): 1\n\xff\xfe: 1\n"
                                      b"{5}: 1\n\"q\": 1\nflagged: 2\n",
        "a comment": b"#: comment\n# another\nflagged: 2\n",
    }

    def check(self, flagged):
        self.allow_log(COMPLAINT)
        client = self.imap()
        self.assertEqual(client.select().exists, 3)
        flags = client.flags()
        if flagged:
            self.assertEqual({u for u, f in flags.items() if "\\Flagged" in f}, {2})
        for uid, body in self.good.items():
            self.assertEqual(client.body(uid), body)
        answer = client.command("UID STORE 3 +FLAGS (\\Flagged)")
        self.assertEqual(answer.status, "OK", answer)
        self.assertIn("\\Flagged", client.flags()[3])
        client.logout()

    def test_every_text(self):
        for name, text in self.TEXTS.items():
            with self.subTest(name):
                for n in self.good:
                    self.nmh.put(f"f{len(name)}", n, mail_maker.plain(n))
                # In place: a new file so soon after a write of ours is taken for one of a program
                # that locks nothing (libmh/folder/overwritten.h).
                with open(self.path(".mh_sequences"), "wb") as out:
                    out.write(text)
                self.check(flagged=b"flagged: 2" in text)
                client = self.imap()
                client.select()
                self.assertIn("\\Flagged", client.flags()[3], "the flag was not stored")
                client.store("1:3", "FLAGS", "\\Seen")
                client.logout()

    def test_of_ten_thousand_sequences_a_thousand_are_keywords_and_none_is_lost(self):
        self.expect_log("9000 sequences more than the 1000.*mh_hidden_sequences")
        with open(self.path(".mh_sequences"), "wb") as out:
            out.write(b"".join(b"s%05d: 1-2\n" % n for n in range(10_000)))
        client = self.imap()
        keywords = {flag for flag in client.select().flags if flag.startswith("s")}
        self.assertEqual(len(keywords), 1000)
        client.ok("STORE 3 +FLAGS (s09999 s00000)")
        client.ok("STORE 1 -FLAGS (s09999)")
        client.ok("NOOP")
        self.assertEqual({uid for uid, flags in client.flags().items() if "s09999" in flags},
                         {2, 3})
        client.logout()
        sequences = self.nmh.sequences()
        self.assertEqual(len([name for name in sequences if name.startswith("s")]), 10_000)
        self.assertEqual(sequences["s09999"], {2, 3})
        self.assertEqual(sequences["s00000"], {1, 2, 3})
        self.assertEqual(sequences["s05000"], {1, 2})

    def test_it_is_a_directory(self):
        os.mkdir(self.path(".mh_sequences"))
        self.check(flagged=False)

    def test_it_is_a_fifo(self):
        os.mkfifo(self.path(".mh_sequences"))
        self.check(flagged=False)

    def test_it_is_a_link_out_of_the_tree(self):
        victim = os.path.join(self.home, "victim")
        with open(victim, "wb") as out:
            out.write(b"precious\n")
        os.symlink(victim, self.path(".mh_sequences"))
        self.check(flagged=False)
        with open(victim, "rb") as kept:
            self.assertEqual(kept.read(), b"precious\n")

    def test_it_is_a_link_to_an_endless_device(self):
        os.symlink("/dev/zero", self.path(".mh_sequences"))
        self.check(flagged=False)

    def test_it_is_unreadable(self):
        self.nmh.write_sequences("inbox", {"flagged": "2"})
        os.chmod(self.path(".mh_sequences"), 0)
        self.check(flagged=False)

    def test_it_has_fifty_megabytes(self):
        with open(self.path(".mh_sequences"), "wb") as out:
            out.write(b"flagged: 2\n" + b"work: 1 2 3\n" * (50 * 1024 * 1024 // 12))
        self.check(flagged=False)

    def test_a_stale_dot_lock_does_not_stop_anybody(self):
        self.nmh.write_sequences("inbox", {"flagged": "2"})
        with open(self.path(".mh_sequences.lock"), "wb"):
            pass
        os.utime(self.path(".mh_sequences.lock"), (1_000_000_000, 1_000_000_000))
        self.check(flagged=True)
        self.assertEqual(self.nmh.sequences()["flagged"], {2, 3})
        self.assertEqual(len(re.findall(r"mh: .*sequences\.lock was left", self.log())), 1)


class Profiles(HostileCase):
    TEXTS = {
        "empty": b"",
        "no Path": b"Inbox: inbox\n",
        "a blank line": b"Path: Mail\n\nInbox: inbox\n",
        "a line without a colon": b"Path: Mail\nthis is nothing\n",
        "binary": bytes(range(256)) * 10,
        "NULs": b"Path: Mail\0x\nInbox: in\0box\n",
        "CRLF": b"Path: Mail\r\nUnseen-Sequence: unseen\r\n",
        "folded": b"Path: Mail\nUnseen-Sequence:\n unseen\n  fresh\n",
        "no newline at the end": b"Path: Mail",
        "Path elsewhere": b"Path: /etc\n",
        "Inbox out of the tree": b"Path: Mail\nInbox: ../../../etc\n",
        "Inbox absolute": b"Path: Mail\nInbox: /etc\n",
        "Inbox empty": b"Path: Mail\nInbox:\n",
        "Inbox just a plus": b"Path: Mail\nInbox: +\n",
        "Inbox is our own state": b"Path: Mail\nInbox: .mhsync\n",
        "sequences file out of the tree": b"Path: Mail\nmh-sequences: ../../victim\n",
        "sequences file absolute": b"Path: Mail\nmh-sequences: /etc/passwd\n",
        "sequences file is a message": b"Path: Mail\nmh-sequences: 1\n",
        "odd unseen names": b"Path: Mail\nUnseen-Sequence: a:b cur new -x " + b"y" * 3000 + b"\n",
        "a thousand unseen names": b"Path: Mail\nUnseen-Sequence: "
                                   + b" ".join(b"u%d" % n for n in range(1000)) + b"\n",
        "context endless": b"Path: Mail\ncontext: /dev/zero\n",
        "unknown locking": b"Path: Mail\ndatalocking: prayer\n",
        "a line of 5 MB": b"Path: Mail\nX: " + b"x" * (5 << 20) + b"\n",
        "duplicates": b"Path: Mail\nPath: Elsewhere\nInbox: inbox\nInbox: other\n",
    }

    def attempt(self):
        """Log in and read; a refusal in plain words is fine, a hang or a crash is not."""
        self.allow_log(COMPLAINT + "|namespace|invalid|inbox|context")
        client = self.imap()
        answer = client.command("SELECT INBOX")
        if answer.status == "OK":
            client.command("FETCH 1:* (FLAGS BODY.PEEK[HEADER])")
            client.command("STORE 1:* +FLAGS (\\Flagged)")
        else:
            self.assertTrue(answer.text)
        client.command('LIST "" "*"')
        client.logout()

    def test_every_text(self):
        victim = os.path.join(self.home, "victim")
        with open(victim, "wb") as out:
            out.write(b"precious\n")
        for name, text in self.TEXTS.items():
            with self.subTest(name):
                with open(os.path.join(self.home, ".mh_profile"), "wb") as out:
                    out.write(text)
                self.attempt()
                with open(victim, "rb") as kept:
                    self.assertEqual(kept.read(), b"precious\n")
                for n in self.good:
                    self.assertTrue(self.nmh.visible("inbox", n) == mail_maker.plain(n))
        self.nmh.write_profile()
        self.assertEqual(self.bodies(), sorted(self.good.values()))

    def test_it_is_something_else(self):
        profile = os.path.join(self.home, ".mh_profile")
        for name, make in {"a FIFO": os.mkfifo, "a directory": os.mkdir,
                           "a loop": lambda path: os.symlink(path, path),
                           "endless": lambda path: os.symlink("/dev/zero", path)}.items():
            with self.subTest(name):
                if os.path.isdir(profile) and not os.path.islink(profile):
                    os.rmdir(profile)
                else:
                    os.unlink(profile)
                make(profile)
                self.attempt()
        os.unlink(profile)

    def test_it_is_unreadable(self):
        os.chmod(os.path.join(self.home, ".mh_profile"), 0)
        self.attempt()


class Forgeries(HostileCase):
    """Lines that look like our tag, in mail that somebody sent."""

    @staticmethod
    def tag(uidvalidity=1, uid=1, guid="0" * 32, date=1, saved=1, length=10, code="0" * 16,
            check="0" * 16):
        return (f"X-MH-UID: {uidvalidity:010}.{uid:010} {guid} {date:010} {saved:010} "
                f"{length:010} {code} {check}\n").encode()

    def test_forged_tags_give_nobody_a_uid(self):
        client = self.imap()
        box = client.select()
        client.logout()
        valid = box.uidvalidity
        hidden = [self.tag(valid, 4294967295), self.tag(valid, 4294967294),
                  self.tag(4294967295, 4294967295), self.tag(valid, 1),
                  self.tag(valid, 2, length=4294967295), self.tag(valid, 100, date=4294967295)]
        forged = [*hidden, self.tag(valid, 0), self.tag(0, 0), self.tag(valid, 3) * 3]
        for n, line in enumerate(forged, 10):
            self.nmh.put("inbox", n, line + mail_maker.plain(n))
        history = History(self)
        now = history.look(self.imap())
        self.assertEqual(len(now.uids), 3 + len(forged))
        self.assertLess(now.uidnext, 1 << 21)
        self.assertEqual([now.body(uid) for uid in (1, 2, 3)], list(self.good.values()))
        # One line is taken for a tag and hidden; what stands below it is the message.
        for uid, n in zip(now.uids[3:], range(10, 10 + len(hidden))):
            self.assertEqual(now.body(uid), mail_maker.as_imap(mail_maker.plain(n)))
        self.force_resync()
        again = history.look(self.imap())
        self.assertEqual(again.uids, now.uids)
        for n in range(10, 10 + len(hidden)):
            self.assertEqual(self.nmh.read("inbox", n).count(b"X-MH-UID"), 1,
                             "a tag was stacked on another")

    def test_a_tag_below_the_first_fields_is_content(self):
        content = b"Subject: x\n" + self.tag(1, 1) + b"To: y\n\nbody\n"
        self.nmh.put("inbox", 4, content)
        body_tag = mail_maker.plain(5, body=self.tag(1, 1).decode() + "text\n")
        self.nmh.put("inbox", 5, body_tag)
        self.only_the_good(extra=[mail_maker.as_imap(content), mail_maker.as_imap(body_tag)])

    def test_lines_that_are_nearly_a_tag_are_content(self):
        line = self.tag(1, 1)
        near = [line[:-2] + b"\n", line.replace(b"X-MH-UID", b"x-mh-uid"), line[:-1] + b"\r\n",
                line.replace(b" ", b"  ", 1), line[:-1] + b" \n", line.replace(b"0", b"g", 1),
                line[:-1] + b"\0\n", line[:60]]
        contents = [prefix + mail_maker.plain(n) for n, prefix in enumerate(near, 10)]
        for n, content in enumerate(contents, 10):
            self.nmh.put("inbox", n, content)
        self.only_the_good(extra=[mail_maker.as_imap(content).replace(b"\0", b"\x80")
                                  for content in contents])

    def test_the_tag_of_another_message_is_of_no_use(self):
        self.imap().select()
        self.force_resync()
        stolen = self.nmh.tag("inbox", 2).line
        self.nmh.put("inbox", 4, stolen + mail_maker.plain(44))
        self.nmh.put("inbox", 5, stolen + mail_maker.plain(2))
        history = History(self)
        now = history.look(self.imap())
        self.assertEqual([now.body(uid) for uid in (1, 2, 3)], list(self.good.values()))
        self.assertEqual(len(now.uids), 5)
        self.force_resync()
        self.assertEqual(history.look(self.imap()).uids, now.uids)
        guids = {self.nmh.tag("inbox", n).guid for n in self.nmh.numbers()}
        self.assertEqual(len(guids), 5)

    def test_a_guid_cannot_be_claimed_from_below_a_from_line(self):
        claimed = "deadbeef" * 4
        self.nmh.put("inbox", 4, b"From x@y Sun Sep  9 01:46:40 2001\n"
                     + self.tag(9, 9, guid=claimed) + mail_maker.plain(4))
        self.imap().select()
        self.assertNotIn(claimed, self.doveadm("fetch", "guid", "mailbox", "INBOX", "all").out)

    def test_a_flood_of_annotations_above_the_message(self):
        for n, count in ((4, 1000), (5, 100000)):
            self.nmh.put("inbox", n, b"Replied: Sun, 09 Sep 2001 01:46:40 +0000\n" * count
                         + mail_maker.plain(n))
        client = self.imap()
        self.assertEqual(client.select().exists, 5)
        for uid in (4, 5):
            client.body(uid)
        client.logout()
        history = History(self)
        before = history.look(self.imap())
        self.force_resync()
        self.assertEqual(history.look(self.imap()).uids, before.uids)


class State(HostileCase):
    """.mhsync is not what it should be."""

    def attempt(self):
        self.allow_log("mhsync|mh:|state|permission|denied|index|not a directory|link|autocreate")
        client = self.imap()
        answer = client.command("SELECT INBOX")
        if answer.status == "OK":
            self.assertEqual(answer.one("EXISTS").number, 3)
        else:
            self.assertTrue(answer.text)
        client.close()

    def test_it_is_a_file(self):
        with open(os.path.join(self.root, ".mhsync"), "wb"):
            pass
        self.attempt()

    def test_it_is_a_dangling_link(self):
        os.symlink("/nowhere/at/all", os.path.join(self.root, ".mhsync"))
        self.attempt()

    def test_it_may_not_be_written(self):
        self.imap().select()
        for top, folders, _ in os.walk(os.path.join(self.root, ".mhsync")):
            os.chmod(top, 0o500)
        self.attempt()
        for top, folders, _ in os.walk(os.path.join(self.root, ".mhsync")):
            os.chmod(top, 0o700)
        self.assertEqual(self.bodies(), sorted(self.good.values()))

    def test_strange_things_lie_in_it(self):
        self.imap().select()
        state = os.path.join(self.root, ".mhsync")
        os.mkdir(os.path.join(state, "0" * 32))
        os.mkdir(os.path.join(state, "not-a-guid"))
        os.mkfifo(os.path.join(state, "f" * 32))
        with open(os.path.join(state, "a" * 32), "wb"):
            pass
        self.assertEqual(self.bodies(), sorted(self.good.values()))
        os.unlink(os.path.join(state, "folders"))
        self.assertEqual(self.bodies(), sorted(self.good.values()))

    def test_the_tree_is_not_there(self):
        user = self.new_user()
        client = self.imap(user)
        self.assertEqual(client.select().exists, 0)
        self.assertEqual(client.command("NOOP").status, "OK")


@runner.needs_root
class FullDisk(HostileCase):
    """A file system of its own, as small as needed (made by root; skipped without)."""

    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.home, "disk")
        runner.small_file_system(self.disk, "2m")
        self.small = self.new_user(mail=f"mh:{self.disk}/Mail")
        self.inbox = os.path.join(self.disk, "Mail", "inbox")
        os.makedirs(self.inbox)
        for n in self.good:
            self.write(n, mail_maker.plain(n))

    def write(self, number, content):
        with open(os.path.join(self.inbox, str(number)), "wb") as out:
            out.write(content)

    def fill(self):
        with open(os.path.join(self.disk, "ballast"), "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"\0" * 4096)
            except OSError:
                pass

    def test_known_messages_are_served_new_ones_wait_nothing_is_lost(self):
        history = History(self)
        before = history.look(self.imap(self.small))
        self.write(4, mail_maker.plain(4))
        self.fill()
        self.allow_log("space|ENOSPC|disk|full|wait|index|mmap|mhsync")
        client = self.imap(self.small)
        client.command("SELECT INBOX")
        for uid in before.uids:
            answer = client.command(f"UID FETCH {uid} (BODY.PEEK[])")
            for line in answer.all("FETCH"):
                self.assertEqual(line.data["BODY[]"], self.good[uid])
        client.command("STORE 1:* +FLAGS (\\Flagged)")
        client.close()
        self.server.doveadm("force-resync", "-u", self.small.name, "*", check=False)
        os.unlink(os.path.join(self.disk, "ballast"))
        now = history.look(self.imap(self.small))
        self.assertEqual(len(now.uids), 4)
        self.assertEqual(now.uids[:3], before.uids)
        with open(os.path.join(self.inbox, ".mh_sequences")) as sequences:
            self.assertNotIn("\0", sequences.read())


if __name__ == "__main__":
    runner.main(prepare)
