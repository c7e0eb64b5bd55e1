# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of folders on their way to disk: CREATE, RENAME, SUBSCRIBE and DELETE with blanks, quotes,
8-bit, modified UTF-7, and names that are too long or lead elsewhere.

On disk a folder has the name that its user typed, in UTF-8, so that MH tools find it under that
name. (What a tree that is there already looks like over IMAP: test-list.py.)
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from imap_client import mutf7, quote  # noqa: E402
from mail_maker import as_imap  # noqa: E402

ODD = ["two words", "  led by blanks", "trailing blank ", "Entwürfe", "日本語/箱", "emoji 📬",
       "a&b", "&", "a & ü", "it's", 'quo"te', "back\\slash", "100%", "%41", "%2", "#hash",
       "semi;colon", "(paren)", "[bracket]", "{brace}", "tilde~", "x+y=z", "comma,name", "at@sign",
       "a.b.c", "-dash", "--", "+plus", "$dollar", "`tick`", "cur", "new", "tmp", "dovecot.index",
       "subscriptions", "journal", "inbox2", "Inbox/ä", "e\u0301 decomposed", "\u00e9 composed",
       "2024", "007"]


def as_listed(name):
    """INBOX has one spelling, however it was typed."""
    return "INBOX" + name[5:] if name.startswith("Inbox/") else name


class NameCase(MhTestCase):
    def setUp(self):
        super().setUp()
        self.client = self.imap()

    def say(self, verb, *names):
        return self.client.command(" ".join([verb, *(quote(mutf7(name)) for name in names)]))

    def ok(self, verb, *names):
        answer = self.say(verb, *names)
        self.assertEqual(answer.status, "OK", (verb, names, answer))
        return answer

    def listed(self, verb="LIST"):
        """Names as the server sends them, by a session that has not cached any."""
        return set(self.imap().list(verb=verb))

    def on_disk(self, name):
        return self.nmh.folder("inbox" + name[5:] if name[:6].lower() == "inbox/" else name)

    def directories(self):
        """Every directory of the tree that is not the state, as bytes below the root."""
        root = os.fsencode(self.root)
        found = set()
        for top, names, _ in os.walk(root):
            names[:] = [name for name in names if name != b".mhsync"]
            found |= {os.path.relpath(os.path.join(top, name), root) for name in names}
        return found


class Odd(NameCase):
    def test_a_folder_has_the_name_on_disk_that_its_user_typed(self):
        for name in ODD:
            with self.subTest(name):
                self.ok("CREATE", name)
                self.assertTrue(os.path.isdir(self.on_disk(name)))
                self.assertEqual(self.client.append(mutf7(name), as_imap(mail_maker.plain(1)))
                                 .status, "OK")
                self.assertEqual(self.client.select(mutf7(name)).exists, 1)
                self.client.ok("UNSELECT")
        self.assertEqual({mutf7(as_listed(name)) for name in ODD} - self.listed(), set())

    def test_nmh_and_imap_work_in_the_same_folder(self):
        for name in ODD:
            with self.subTest(name):
                path = os.path.relpath(self.on_disk(name), self.root)
                self.ok("CREATE", name)
                self.nmh.rcvstore(mail_maker.plain(2), path)
                client = self.select(mutf7(name))
                self.assertEqual(client.body(1), as_imap(mail_maker.plain(2)))
                client.store(1, "+FLAGS", "\\Flagged")
                self.assertEqual(self.nmh.sequences_by_nmh(path)["flagged"], {1})
                client.close()

    def test_rename_to_and_fro_keeps_mail_uidvalidity_and_children(self):
        self.ok("CREATE", "plain")
        self.ok("CREATE", "plain/child ü")
        self.client.append("plain", as_imap(mail_maker.plain(1)))
        self.client.append(mutf7("plain/child ü"), as_imap(mail_maker.plain(2)))
        items = "UIDVALIDITY UIDNEXT MESSAGES"
        before = [self.client.status(mutf7(name), items) for name in ("plain", "plain/child ü")]
        at = "plain"
        for name in ODD:
            if name.startswith("Inbox/"):
                continue
            with self.subTest(name):
                self.ok("RENAME", at, name)
                at = name
                self.assertFalse(os.path.exists(self.nmh.folder("plain")))
                self.assertEqual([self.client.status(mutf7(one), items)
                                  for one in (name, name + "/child ü")], before)
        self.ok("RENAME", at, "plain")
        self.assertEqual([self.imap().status(mutf7(name), items)
                          for name in ("plain", "plain/child ü")], before)

    def test_subscriptions_come_back_as_they_were_given(self):
        for name in ODD:
            self.ok("CREATE", name)
            self.ok("SUBSCRIBE", name)
        self.assertEqual(self.listed("LSUB"), {mutf7(as_listed(name)) for name in ODD})
        self.ok("RENAME", "Entwürfe", "Entwürfe & mehr")
        self.ok("UNSUBSCRIBE", "日本語/箱")
        self.assertNotIn(mutf7("日本語/箱"), self.listed("LSUB"))
        for name in ODD:
            self.say("UNSUBSCRIBE", name)
        self.assertEqual(self.listed("LSUB"), set())

    def test_a_folder_called_subscriptions_is_listed_as_any_other(self):
        self.nmh.rcvstore(mail_maker.plain(1), self.nmh.run(
            "folder", "+subscriptions", "-create", "-fast").strip())
        self.ok("SUBSCRIBE", "subscriptions")
        self.assertEqual(self.listed(), {"INBOX", "subscriptions"})
        self.assertEqual(self.listed("LSUB"), {"subscriptions"})
        self.assertEqual(self.select("subscriptions").uids(), [1])

    def test_delete_removes_that_folder_and_no_other(self):
        for name in ODD:
            self.ok("CREATE", name)
        everything = self.directories()
        for name in ODD:
            with self.subTest(name):
                self.ok("DELETE", name)
                everything.discard(os.fsencode(os.path.relpath(self.on_disk(name), self.root)))
                left = self.directories()
                # A parent that was made for its child may go with it.
                self.assertLessEqual(left, everything)
                self.assertLessEqual(everything - left, {"日本語".encode(), b"inbox"})
                everything = left

    def test_names_that_differ_only_in_how_they_are_encoded_are_two(self):
        self.ok("CREATE", "\u00e9")
        self.ok("CREATE", "e\u0301")
        self.client.append(mutf7("\u00e9"), as_imap(mail_maker.plain(1)))
        self.client.append(mutf7("e\u0301"), as_imap(mail_maker.plain(2)))
        self.assertIn(b"message 1", self.select(mutf7("\u00e9")).body(1))
        self.assertIn(b"message 2", self.select(mutf7("e\u0301")).body(1))


class EightBit(NameCase):
    """Directories that no UTF-8 name can mean: made by MH tools in another locale."""

    NAMES = [b"lat\xedn", b"\xff\xfe", b"half \xc3", b"over\xc0\xaflong", b"\xed\xa0\x80surrogate"]

    def setUp(self):
        super().setUp()
        for n, name in enumerate(self.NAMES, 1):
            folder = os.path.join(os.fsencode(self.root), name)
            os.makedirs(folder)
            with open(os.path.join(folder, b"1"), "wb") as out:
                out.write(mail_maker.plain(n))

    def test_each_is_a_folder_under_a_name_of_its_own(self):
        names = self.listed() - {"INBOX"}
        self.assertEqual(len(names), len(self.NAMES), names)
        found = set()
        for name in names:
            client = self.select(name)
            found.add(client.body(1))
            client.store(1, "+FLAGS", "\\Flagged")
            client.close()
        self.assertEqual(found, {as_imap(mail_maker.plain(n))
                                 for n in range(1, len(self.NAMES) + 1)})
        for name in self.NAMES:
            path = os.path.join(os.fsencode(self.root), name, b".mh_sequences")
            with open(path, "rb") as sequences:
                self.assertIn(b"flagged: 1", sequences.read())

    def test_they_are_subscribed_renamed_filled_and_deleted_by_that_name(self):
        names = sorted(self.listed() - {"INBOX"})
        for name in names:
            self.client.ok(f"SUBSCRIBE {quote(name)}")
        self.assertEqual(self.listed("LSUB"), set(names))
        for n, name in enumerate(names):
            with self.subTest(name):
                self.assertEqual(self.client.append(name, as_imap(mail_maker.plain(9))).status,
                                 "OK")
                self.client.ok(f"CREATE {quote(name + '/child')}")
                self.client.ok(f"RENAME {quote(name)} now{n}")
                self.assertEqual(len(self.nmh.numbers(f"now{n}")), 2)
                self.client.ok(f"RENAME now{n} {quote(name)}")
        self.assertEqual({name for name in self.directories() if b"/" not in name},
                         set(self.NAMES))
        for name in names:
            self.client.ok(f"DELETE {quote(name + '/child')}")
            self.client.ok(f"DELETE {quote(name)}")
        self.assertEqual(self.directories() - {b"inbox"}, set())


class Refused(NameCase):
    def refused(self, command):
        answer = self.client.command(command)
        self.assertIn(answer.status, ("NO", "BAD"), (command[:200], answer))
        return answer

    def test_names_that_are_too_long_are_refused_and_leave_nothing(self):
        before = self.directories()
        self.ok("CREATE", "short")
        for name in ("n" * 256, "ü" * 128, "deep/" + "n" * 300, "n" * 5000, "/".join(["d"] * 3000),
                     "/".join(["n" * 200] * 30)):
            for verb in (f"CREATE {quote(mutf7(name))}", f"RENAME short {quote(mutf7(name))}"):
                with self.subTest(verb[:40], length=len(name)):
                    self.refused(verb)
                    self.assertEqual(self.client.status("short", "MESSAGES"), {"MESSAGES": 0})
        self.assertEqual(self.directories() - {b"deep"}, before | {b"short"})

    def test_the_longest_names_that_disk_and_dovecot_allow_work(self):
        for name in ("n" * 255, "ü" * 127, "/".join(["n" * 200] * 4)):
            with self.subTest(length=len(name)):
                self.ok("CREATE", name)
                self.client.append(mutf7(name), as_imap(mail_maker.plain(1)))
                self.assertEqual(self.client.status(mutf7(name), "MESSAGES"), {"MESSAGES": 1})
                self.ok("RENAME", name, "elsewhere")
                self.ok("RENAME", "elsewhere", name)
                self.assertEqual(self.select(mutf7(name)).uids(), [1])

    def test_names_that_are_no_modified_utf7_are_refused(self):
        for name in ("&", "a&b", "&AP", "&AOQ-&AOQ-", "&AGE-", "&-&", "&2AA-", "tab\there"):
            with self.subTest(name):
                self.refused(f"CREATE {quote(name)}")
        self.assertEqual(self.directories() - {b"inbox"}, set())

    def test_8_bit_and_control_characters_in_a_command_do_no_harm(self):
        for name in (b"raw\xc3\xbc", b"raw\xfc", b"bell\x07", b"del\x7f", b"nul&AAA-", b"lf&AAo-x"):
            with self.subTest(name):
                answer = self.client.command(b'CREATE "' + name + b'"')
                if answer.status == "OK":
                    self.assertEqual(self.client.command(b'SELECT "' + name + b'"').status, "OK")
                    self.client.ok("UNSELECT")
                    self.assertEqual(self.client.command(b'DELETE "' + name + b'"').status, "OK")
        self.assertEqual(self.directories() - {b"inbox"}, set())
        self.assertEqual(self.listed(), {"INBOX"})

    def test_a_name_that_would_be_listed_as_another_is_refused(self):
        self.ok("CREATE", "here")
        for name in ("R%26D", "100%25", "gr%c3%bcn", "Entw&APw-rfe", "other/%2541"):
            with self.subTest(name):
                for verb in (f"CREATE {quote(mutf7(name))}", f"RENAME here {quote(mutf7(name))}"):
                    self.assertIn("stands for", self.refused(verb).text)
        # A byte that is no UTF-8, and a percent sign that would be read so, are such names' own.
        for name in ("lat%edn", "%25c3"):
            self.ok("CREATE", name)
        self.assertEqual(self.listed(), {"INBOX", "here", "lat%edn", "%25c3"})
        self.assertEqual(self.directories() - {b"inbox"}, {b"here", b"lat\xedn", b"%c3"})

    def test_names_that_lead_elsewhere_are_refused(self):
        self.ok("CREATE", "here")
        for name in ("../out", "here/../../out", "/abs", "~/home", "a//b", ".", "..", "here/.",
                     "here/..", ".hidden", "here/.hidden", ".mhsync", ".mhsync/x",
                     "here/.mh_sequences"):
            with self.subTest(name):
                self.refused(f"CREATE {quote(name)}")
                self.refused(f"RENAME here {quote(name)}")
        self.assertEqual(self.directories() - {b"inbox"}, {b"here"})
        self.assertFalse(os.path.exists(os.path.join(self.home, "out")))


if __name__ == "__main__":
    runner.main(prepare)
