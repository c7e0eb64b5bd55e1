# SPDX-License-Identifier: LGPL-2.1-or-later
"""NOTIFY (RFC 5465): a client is told of folders that neither it nor anybody else has open."""

import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from mail_maker import as_imap  # noqa: E402

EVERYTHING = ('NOTIFY SET STATUS (selected (MessageNew (FLAGS) MessageExpunge FlagChange)) '
              '(subtree "" (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))')


class NotifyCase(MhTestCase):
    user_settings = {"mh_unseen_grace": "1"}
    selected = "INBOX"

    def setUp(self):
        super().setUp()
        self.put(1, mail_maker.plain(1))
        for n in (1, 2):
            self.put(n, mail_maker.plain(10 + n), "work")
        self.nmh.write_sequences("work", {"unseen": "2"})
        self.client = self.select(self.selected)
        self.client.ok(EVERYTHING)

    def told(self, kind, matches, timeout=10):
        """The first untagged line of this kind that comes unasked and matches."""
        limit, seen = time.monotonic() + timeout, []
        while time.monotonic() < limit:
            line = self.client.untagged(limit - time.monotonic())
            if line is not None:
                seen.append(line)
                if line.kind == kind and matches(line):
                    return line
        self.fail(f"no such {kind}; came: {seen}")

    def told_status(self, folder, **items):
        def matches(line):
            name, values = line.data
            found = dict(zip(values[::2], values[1::2]))
            return (name if isinstance(name, str) else name.decode()) == folder and all(
                found.get(item) == str(value) for item, value in items.items())
        return self.told("STATUS", matches)

    def told_list(self, folder, flag=None):
        return self.told("LIST", lambda line: line.data[2] in (folder, folder.encode())
                         and (flag is None or flag in line.data[0]))


class Unselected(NotifyCase):
    def test_what_mh_programs_do_to_messages_is_told(self):
        self.nmh.rcvstore(mail_maker.plain(3), "work")
        self.told_status("work", MESSAGES=3, UIDNEXT=4, UNSEEN=2)
        self.nmh.run("rmm", "+work", "1")
        self.told_status("work", MESSAGES=2)
        self.nmh.run("show", "+work", "2", "-showproc", "/bin/true")
        self.told_status("work", UNSEEN=1)
        self.nmh.inc(mail_maker.plain(4), folder="work")
        self.told_status("work", MESSAGES=3, UIDNEXT=5, UNSEEN=2)

    def test_a_changed_flag_is_told(self):
        self.nmh.rcvstore(mail_maker.plain(3), "work")
        self.told_status("work", MESSAGES=3)
        before = self.imap().status("work", "HIGHESTMODSEQ")["HIGHESTMODSEQ"]
        self.nmh.run("mark", "+work", "1", "-sequence", "flagged", "-add")
        line = self.told("STATUS", lambda line: "HIGHESTMODSEQ" in line.data[1] and
                         int(line.data[1][line.data[1].index("HIGHESTMODSEQ") + 1]) > before)
        self.assertNotIn("MESSAGES", line.data[1])

    def test_a_refile_is_told_of_both_folders(self):
        self.nmh.make_folder("done")
        self.told_list("done")
        self.nmh.run("refile", "1", "-src", "+work", "+done")
        self.told_status("work", MESSAGES=1)
        self.assertEqual(self.imap().status("done", "MESSAGES"), {"MESSAGES": 1})

    def test_a_file_that_is_written_slowly_is_told_when_it_is_whole(self):
        text = mail_maker.plain(3, body="x" * 5000 + "\nthe end\n")
        with open(self.nmh.file("work", 3), "wb") as out:
            out.write(text[:2000])
            out.flush()
            time.sleep(0.7)
            out.write(text[2000:])
        self.told_status("work", MESSAGES=3)
        self.assertEqual(self.select("work").body(3), as_imap(text))

    def test_what_other_sessions_do_is_told_as_ever(self):
        other = self.imap()
        other.append("work", as_imap(mail_maker.plain(5)))
        self.told_status("work", MESSAGES=3)
        other.ok("CREATE made")
        self.told_list("made")
        other.ok("RENAME made renamed")
        self.told_list("renamed")
        other.ok("DELETE renamed")
        self.told_list("renamed", "\\NonExistent")

    def test_folders_that_mh_makes_and_removes_are_told_and_watched(self):
        self.nmh.run("folder", "+new/sub", "-create")
        self.told_list("new/sub")
        self.nmh.rcvstore(mail_maker.plain(3), "new/sub")
        self.told_status("new/sub", MESSAGES=1)
        shutil.rmtree(self.nmh.folder("new"))
        self.told_list("new/sub", "\\NonExistent")


class OutsideOfTheInbox(NotifyCase):
    selected = "work"

    def test_mail_that_inc_brings_is_told(self):
        for n in (3, 4):    # the first might be seen as NOTIFY begins
            self.nmh.inc(mail_maker.plain(n))
            self.told_status("INBOX", MESSAGES=n - 1)

    def test_the_selected_folder_is_still_told_of_in_full(self):
        self.nmh.rcvstore(mail_maker.plain(3), "work")
        self.told("EXISTS", lambda line: line.number == 3)
        self.nmh.run("rmm", "+work", "1")
        self.told("EXPUNGE", lambda line: line.number == 1)
        self.nmh.run("mark", "+work", "2", "-sequence", "flagged", "-add")
        self.told("FETCH", lambda line: "\\Flagged" in line.data["FLAGS"])
        self.nmh.inc(mail_maker.plain(4))
        self.told_status("INBOX", MESSAGES=2)

    def test_what_happens_before_the_watch_begins_is_told_all_the_same(self):
        # Dovecot watches the selected folder again a second after a command has ended.
        for number, left in ((1, 1), (2, 0)):
            self.nmh.run("rmm", "+work", str(number))
            self.told("EXPUNGE", lambda line: line.number == 1)
            self.assertEqual(len(self.nmh.numbers("work")), left)

    def test_after_notify_none_nothing_is_told(self):
        self.client.ok("NOTIFY NONE")
        self.nmh.inc(mail_maker.plain(3))
        self.nmh.rcvstore(mail_maker.plain(3), "work")
        self.assertIsNone(self.client.untagged(1.5))
        self.assertEqual(self.client.status("INBOX", "MESSAGES"), {"MESSAGES": 2})


if __name__ == "__main__":
    runner.main(prepare)
