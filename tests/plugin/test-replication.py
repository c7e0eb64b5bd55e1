# SPDX-License-Identifier: LGPL-2.1-or-later
"""doveadm backup and sync between an MH tree and Dovecot's own stores, and another MH tree."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from mail_maker import as_imap  # noqa: E402

STORES = {"sdbox": "sdbox:~/copy", "maildir": "maildir:~/copy:LAYOUT=fs:DIRNAME=cur-mail",
          "mdbox": "mdbox:~/copy", "mh": "mh:~/Copy"}
FIELDS = "mailbox uid guid flags date.received size.physical body hdr"


class Replication(MhTestCase):
    def fill(self):
        client = self.imap()
        for name in ("work", "work/2024 plans", "empty", "B&APw-cher"):
            client.ok(f'CREATE "{name}"')
        client.ok("SUBSCRIBE work")
        flags = ["", "\\Seen", "\\Flagged $Junk", "\\Answered \\Seen important", "\\Draft"]
        for name in ("INBOX", "work", "work/2024 plans", "B&APw-cher"):
            for n in range(5):
                text = as_imap(mail_maker.plain(n + 1, body=f"{name} {n}\n"))
                self.assertEqual(client.append(name, text, flags=flags[n],
                                               date=f" {n + 1}-Jan-2004 10:00:00 +0000").status, "OK")
        client.select("work")
        client.store(2, "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        client.logout()

    def at(self, location, *args, check=True):
        """doveadm with the user's mail elsewhere."""
        options = () if location is None else ("-o", f"mail_location={location}", "-o", f"mail={location}")
        return self.server.doveadm(*options, *args, check=check)

    def contents(self, location=None):
        out = self.at(location, "fetch", "-u", self.user.name, FIELDS, "all").out
        status = self.at(location, "mailbox", "status", "-u", self.user.name,
                         "messages uidnext uidvalidity guid", "*").out
        subscribed = self.at(location, "mailbox", "list", "-u", self.user.name, "-s").out
        out = re.sub(r"flags: ?(.*)", lambda found: "flags: " + " ".join(
            sorted(set(found[1].split()) - {"\\Recent"})), out)
        mails = sorted(mail.strip() for mail in out.split("\f"))
        return [mails, sorted(status.splitlines()), sorted(subscribed.splitlines())]

    def there_and_back(self, store):
        self.fill()
        there = STORES[store]
        before = self.contents()
        for _ in range(2):
            self.at(None, "backup", "-u", self.user.name, there)
        self.assertEqual(self.contents(there), before)
        # Nothing is transferred the second time.
        again = self.at(None, "-v", "-D", "backup", "-u", self.user.name, there)
        self.assertEqual(re.findall(r"(?:saved|copied|expunged) (?:UID|mail)", again.err), [])
        # Into a tree that has never been.
        os.rename(self.root, self.root + ".away")
        os.mkdir(self.root)
        self.at(None, "backup", "-R", "-u", self.user.name, there)
        self.assertEqual(self.contents(), before)
        self.assertEqual(sorted(os.listdir(self.nmh.folder("inbox")))[0], ".mh_sequences")
        return before

    def test_sdbox(self):
        self.there_and_back("sdbox")

    def test_mdbox(self):
        self.there_and_back("mdbox")

    def test_maildir(self):
        self.there_and_back("maildir")

    def test_another_mh_tree(self):
        self.there_and_back("mh")

    def test_two_trees_changed_on_both_sides_converge(self):
        for store in ("mh", "sdbox"):
            with self.subTest(store):
                self.user = self.new_user()
                self.home = self.user.home
                self.root = os.path.join(self.home, "Mail")
                self.nmh = self.make_nmh()
                self.converge(STORES[store])

    def converge(self, there):
        self.fill()
        self.at(None, "sync", "-u", self.user.name, there)
        client = self.imap()
        client.select("INBOX")
        client.store(1, "+FLAGS", "\\Flagged here")
        client.store(3, "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        client.append("INBOX", as_imap(mail_maker.plain(50)))
        client.logout()
        user = self.user.name
        self.at(there, "flags", "add", "-u", user, "\\Answered there", "mailbox", "INBOX", "uid", "2")
        self.at(there, "expunge", "-u", user, "mailbox", "INBOX", "uid", "4")
        self.at(there, "mailbox", "create", "-u", user, "new there")
        self.at(there, "copy", "-u", user, "new there", "mailbox", "work", "uid", "1")
        for _ in range(2):
            self.at(None, "sync", "-u", user, there)
        here = self.contents()
        self.assertEqual(self.contents(there), here)
        flags = dict(re.findall(r"mailbox: INBOX\nuid: (\d+)\nguid: \S+\nflags: ?(.*)\n", "\f".join(here[0])))
        self.assertIn("here", flags["1"])
        self.assertIn("there", flags["2"])
        self.assertFalse({"3", "4"} & set(flags))


if __name__ == "__main__":
    runner.main(prepare)
