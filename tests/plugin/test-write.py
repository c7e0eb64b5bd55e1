# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages that come and go over IMAP: APPEND, COPY, MOVE, EXPUNGE, and what MH sees of it."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from mail_maker import as_imap  # noqa: E402


class WriteCase(MhTestCase):
    def setUp(self):
        super().setUp()
        for n in (1, 2, 3):
            self.put(n, mail_maker.plain(n))
        self.nmh.write_sequences("inbox", {"unseen": "2", "cur": "1"})
        past = time.time() - 3600
        os.utime(os.path.join(self.nmh.folder("inbox"), ".mh_sequences"), (past, past))
        self.client = self.select()

    def sane(self, folder="INBOX"):
        """A second session, and one that trusts no index, see the same as the first."""
        def seen():
            client = self.imap()
            box = client.select(folder)
            uids = client.uids()
            bodies = {uid: client.body(uid) for uid in uids}
            return box.uidvalidity, uids, client.flags(), bodies
        before = seen()
        self.assertEqual(seen(), before)
        self.force_resync(folder)
        self.assertEqual(seen(), before)
        self.assertClean(self.nmh.folder("inbox"))
        return before

    def assertClean(self, path):
        strange = [name for name in os.listdir(path)
                   if not name.isdigit() and name != ".mh_sequences" and name[0] != "," and
                   not os.path.isdir(os.path.join(path, name))]
        self.assertEqual(strange, [], "left in the MH folder")


class Append(WriteCase):
    def test_it_is_a_plain_mh_message_with_its_tag(self):
        text = mail_maker.plain(9)
        answer = self.client.append("INBOX", as_imap(text), flags="\\Flagged work",
                                    date=" 5-Jan-2004 10:00:00 +0000")
        validity, uid = answer.codes("APPENDUID")[0].split()
        self.assertEqual(uid, "4")
        self.assertEqual(self.client.select("INBOX").uidvalidity, int(validity))
        number = max(self.nmh.numbers("inbox"))
        self.assertEqual(self.nmh.visible("inbox", number), text)
        self.assertIsNotNone(self.nmh.tag("inbox", number))
        found = self.nmh.sequences()
        self.assertEqual((found["flagged"], found["work"], found["unseen"]),
                         ({number}, {number}, {2, number}))
        self.assertEqual(self.client.flags()[4], {"\\Flagged", "work"})
        self.assertEqual(os.stat(self.nmh.file("inbox", number)).st_mtime, 1073296800)
        self.assertEqual(self.client.fetch(4, "INTERNALDATE")[4]["INTERNALDATE"],
                         b"05-Jan-2004 10:00:00 +0000")
        self.assertIn("message 9", self.nmh.run("scan", "+inbox", str(number)))
        self.sane()

    def test_seen_mail_is_in_no_unseen_sequence(self):
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9)),
                                            flags="\\Seen").status, "OK")
        self.assertEqual(self.nmh.sequences()["unseen"], {2})

    def test_multiappend_is_one_transaction(self):
        mails = [(as_imap(mail_maker.plain(10 + n)), "\\Seen" if n % 2 else "", "")
                 for n in range(20)]
        answer = self.client.append("INBOX", *mails)
        self.assertEqual(answer.codes("APPENDUID")[0].split()[1], "4:23")
        for n in range(20):
            self.assertEqual(self.client.body(4 + n), as_imap(mail_maker.plain(10 + n)))
        self.sane()

    def test_catenate_takes_parts_of_messages(self):
        tag = self.client.send('APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=HEADER" '
                               'TEXT {6+}\r\nhello\n)')
        self.assertEqual(self.client.wait(tag).status, "OK")
        head = as_imap(mail_maker.plain(1)).partition(b"\r\n\r\n")[0]
        self.assertEqual(self.client.body(4), head + b"\r\n\r\nhello\r\n")

    def test_what_looks_like_a_tag_stays_content(self):
        forged = self.nmh_tag_line()
        for first in (forged, b"From somebody Mon Jan  5 10:00:00 2004\r\n", b"Replied: x\r\n"):
            mail = first + as_imap(mail_maker.plain(9))
            self.assertEqual(self.client.append("INBOX", mail).status, "OK")
            uid = self.client.uids()[-1]
            self.assertEqual(self.client.body(uid), mail)
        self.sane()

    def nmh_tag_line(self):
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9))).status, "OK")
        number = max(self.nmh.numbers("inbox"))
        return self.nmh.read("inbox", number).split(b"\n", 1)[0] + b"\r\n"

    def test_empty_long_and_eight_bit(self):
        for mail in (b"Subject: only a header\r\n\r\n", b"\r\n", b"no header at all\r\n",
                     b"Subject: \xfc\r\n\r\n\xff\xfe\r\n",
                     b"Subject: long\r\n\r\n" + b"x" * 3_000_000 + b"\r\n"):
            self.assertEqual(self.client.append("INBOX", mail).status, "OK", mail[:20])
            self.assertEqual(self.client.body(self.client.uids()[-1]), mail)
        self.sane()

    def test_an_aborted_append_leaves_nothing(self):
        self.allow_log("Connection reset by peer")
        other = self.imap()
        other.socket.sendall(b"x APPEND INBOX {1000000}\r\n")
        time.sleep(0.2)
        other.socket.sendall(b"From: x\r\n\r\n" + b"y" * 1000)
        other.close()
        time.sleep(0.2)
        self.assertEqual(self.client.ok("NOOP").all("EXISTS"), [])
        self.assertEqual(sorted(self.nmh.numbers("inbox")), [1, 2, 3])
        self.assertClean(self.nmh.folder("inbox"))

    def test_numbers_that_vanished_a_moment_ago_are_not_given_again(self):
        self.nmh.run("rmm", "+inbox", "3")
        self.client.ok("NOOP")
        os.unlink(os.path.join(self.nmh.folder("inbox"), ",3"))
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9))).status, "OK")
        numbers = sorted(self.nmh.numbers("inbox"))
        self.assertEqual(numbers[:2], [1, 2])
        self.assertGreater(numbers[2], 3)

    def test_a_pack_makes_them_free(self):
        self.nmh.run("rmm", "+inbox", "1", "3")
        self.client.ok("NOOP")
        self.nmh.run("folder", "+inbox", "-pack")
        self.client.ok("NOOP")
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9))).status, "OK")
        self.assertLessEqual(max(self.nmh.numbers("inbox")), 3)
        self.assertEqual(self.client.uids(), [2, 4])

    def test_what_inc_brought_a_moment_before_keeps_its_number_and_comes_first(self):
        self.nmh.inc(mail_maker.plain(8))
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9))).status, "OK")
        self.assertEqual(self.client.uids(), [1, 2, 3, 4, 5])
        self.assertIn(b"message 8", self.client.body(4))
        self.assertIn(b"message 9", self.client.body(5))
        self.sane()

    def test_stale_entries_of_its_number_do_not_make_its_flags(self):
        self.nmh.write_sequences("inbox", {"unseen": "2", "flagged": "4-9", "work": "4-6"})
        self.client.ok("NOOP")
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9)),
                                            flags="\\Seen").status, "OK")
        self.assertEqual(self.client.flags()[4], {"\\Seen"})
        self.sane()

    def test_keywords_that_nmh_cannot_name(self):
        self.client.append("INBOX", as_imap(mail_maker.plain(9)), flags="$Junk a_b \\Answered")
        number = max(self.nmh.numbers("inbox"))
        found = self.nmh.sequences()
        self.assertEqual(found["kwzz24Junk"], {number})
        self.assertEqual(self.select().flags()[4], {"$Junk", "a_b", "\\Answered"})


class CopyAndMove(WriteCase):
    def setUp(self):
        super().setUp()
        self.nmh.make_folder("other")
        self.client.store(3, "+FLAGS", "\\Answered $Junk")

    def other(self):
        client = self.imap()
        client.select("other")
        return client

    def test_copy_keeps_bytes_flags_dates_and_guid(self):
        answer = self.client.ok("UID COPY 2:3 other")
        self.assertEqual(answer.codes("COPYUID")[0].split()[1:], ["2:3", "1:2"])
        other = self.other()
        self.assertEqual([other.body(1), other.body(2)],
                         [self.client.body(2), self.client.body(3)])
        self.assertEqual(other.flags(), {1: set(), 2: {"\\Seen", "\\Answered", "$Junk"}})
        dates = [client.fetch("1:*", "INTERNALDATE") for client in (self.client, other)]
        self.assertEqual(dates[1][1]["INTERNALDATE"], dates[0][2]["INTERNALDATE"])
        guids = [dict(re.findall(r"uid: (\d+)\nguid: (\S+)",
                                 self.doveadm("fetch", "uid guid", "mailbox", name, "all").out))
                 for name in ("INBOX", "other")]
        self.assertEqual(guids[1]["1"], guids[0]["2"])
        self.sane("other")
        self.sane()

    def test_a_copy_within_a_folder_is_a_message_of_its_own(self):
        self.client.ok("UID COPY 1 INBOX")
        out = self.doveadm("fetch", "guid", "mailbox", "INBOX", "all").out
        guids = re.findall(r"guid: (\S+)", out)
        self.assertEqual(len(set(guids)), 4)
        self.assertEqual(self.client.uids(), [1, 2, 3, 4])
        self.sane()

    def test_move_leaves_nothing_behind(self):
        answer = self.client.ok("UID MOVE 1,3 other")
        self.assertEqual(answer.codes("COPYUID")[0].split()[1:], ["1,3", "1:2"])
        self.assertEqual(self.client.uids(), [2])
        self.assertEqual(sorted(self.nmh.numbers("inbox")), [2])
        self.assertEqual(len(self.nmh.numbers("other")), 2)
        self.assertEqual(self.nmh.sequences()["unseen"], {2})
        self.assertNotIn("kwzz24Junk", self.nmh.sequences())
        self.sane()
        self.sane("other")

    def test_copy_of_a_message_that_was_removed_says_so(self):
        self.nmh.run("rmm", "+inbox", "2")
        answer = self.client.command("UID COPY 1:3 other")
        self.assertEqual(answer.status, "NO")
        self.assertEqual(self.nmh.numbers("other"), [])

    def test_to_a_folder_that_is_not_there(self):
        answer = self.client.command("UID COPY 1 nowhere")
        self.assertEqual((answer.status, answer.codes("TRYCREATE")), ("NO", [""]))


class Expunge(WriteCase):
    def test_the_file_and_its_entries_are_gone(self):
        self.client.store("2,3", "+FLAGS", "\\Deleted")
        told = [line.number for line in self.client.ok("EXPUNGE").all("EXPUNGE")]
        self.assertEqual(sorted(told), [2, 3] if told[0] != told[1] else [2, 2])
        self.assertEqual(sorted(self.nmh.numbers("inbox")), [1])
        found = self.nmh.sequences()
        self.assertNotIn("unseen", found)
        self.assertNotIn("deleted", found)
        self.assertEqual(os.listdir(self.nmh.folder("inbox")).count(",2"), 0)
        self.sane()

    def test_what_was_packed_a_moment_before_is_what_goes(self):
        self.client.store(3, "+FLAGS", "\\Deleted")
        self.nmh.run("rmm", "+inbox", "1")
        self.nmh.run("folder", "+inbox", "-pack")
        self.nmh.inc(mail_maker.plain(8))       # is 3 now
        self.client.ok("UID EXPUNGE 3")
        self.client.ok("NOOP")
        left = [self.nmh.visible("inbox", n) for n in sorted(self.nmh.numbers("inbox"))]
        self.assertEqual(left[0], mail_maker.plain(2))
        self.assertEqual(len(left), 2)
        self.assertIn(b"message 8", left[1])
        self.sane()

    def test_another_file_put_under_the_number_stays(self):
        self.client.store(3, "+FLAGS", "\\Deleted")
        os.unlink(self.nmh.file("inbox", 3))
        self.put(3, mail_maker.plain(77))
        self.client.ok("EXPUNGE")
        self.client.ok("NOOP")
        self.assertEqual(self.nmh.visible("inbox", 3), mail_maker.plain(77))
        self.assertEqual(self.client.uids(), [1, 2, 4])
        self.sane()

    def test_who_was_not_told_yet_sees_what_is_gone_as_it_was(self):
        self.client.store("2:3", "-FLAGS", "\\Seen")
        watcher = self.select()
        self.client.store("2", "+FLAGS", "\\Deleted")
        self.client.ok("EXPUNGE")
        self.nmh.run("rmm", "+inbox", "last")
        self.client.ok("NOOP")
        for n in (2, 3):
            answer = watcher.ok(rf"STORE {n} +FLAGS (\Flagged)")
            for line in answer.all("FETCH"):
                self.assertNotIn("\\Seen", line.data["FLAGS"], f"message {n}: nobody has seen it")

    def test_uids_never_come_again(self):
        self.client.store("1:*", "+FLAGS", "\\Deleted")
        self.client.ok("EXPUNGE")
        self.assertEqual(self.client.append("INBOX", as_imap(mail_maker.plain(9))).status, "OK")
        self.assertEqual(self.client.uids(), [4])
        self.sane()

    def test_two_sessions_expunge_at_once(self):
        other = self.select()
        self.client.store("1:2", "+FLAGS", "\\Deleted")
        tags = [client.send("EXPUNGE") for client in (self.client, other)]
        for client, tag in zip((self.client, other), tags):
            self.assertEqual(client.wait(tag).status, "OK")
        self.assertEqual(self.nmh.numbers("inbox"), [3])
        self.sane()

    def test_a_lock_held_by_another_program_delays_it_and_loses_nothing(self):
        self.client.store(2, "+FLAGS", "\\Deleted")
        with self.nmh.sequences_locked("inbox"):
            self.client.ok("EXPUNGE")
            self.assertEqual(sorted(self.nmh.numbers("inbox")), [1, 2, 3])
        self.client.ok("NOOP")
        self.assertEqual(sorted(self.nmh.numbers("inbox")), [1, 3])
        self.assertEqual(self.client.uids(), [1, 3])
        self.sane()

    def test_what_waits_for_its_removal_is_not_moved_a_second_time(self):
        self.client.ok("CREATE other")
        with self.nmh.sequences_locked("inbox"):
            self.client.ok("UID MOVE 2 other")
            self.assertEqual(self.client.uids(), [1, 2, 3], "nothing is removed without the lock")
            again = self.client.command("UID MOVE 2:3 other")
            self.assertEqual(again.status, "NO", again)
            self.assertIn("EXPUNGEISSUED", str(again))
            self.assertEqual(len(self.nmh.numbers("other")), 1, "all of a command or nothing")
            self.client.ok("UID COPY 2 other")
        self.client.ok("NOOP")
        self.assertEqual(self.client.uids(), [1, 3])
        self.client.ok("UID MOVE 3 other")
        self.assertEqual(len(self.nmh.numbers("other")), 3)
        self.sane()


class IncGuard(WriteCase):
    def mode(self, number, folder="inbox"):
        return os.stat(self.nmh.file(folder, number)).st_mode & 0o777

    def test_inc_cannot_overwrite_what_was_just_delivered(self):
        self.client.append("INBOX", as_imap(mail_maker.plain(9)))
        number = max(self.nmh.numbers())
        self.assertEqual(self.mode(number), 0o400)
        self.assertRaises(PermissionError, open, self.nmh.file("inbox", number), "r+b")
        self.client.ok("CREATE other")
        self.client.append("other", as_imap(mail_maker.plain(9)))
        self.assertEqual(self.mode(1, "other"), 0o600)


class Backup(WriteCase):
    user_settings = {"mh_expunge": "backup"}

    def test_expunge_leaves_what_rmm_would_leave(self):
        self.client.store(2, "+FLAGS", "\\Deleted")
        self.client.ok("EXPUNGE")
        self.assertIn(",2", os.listdir(self.nmh.folder("inbox")))
        self.assertEqual(sorted(self.nmh.numbers("inbox")), [1, 3])
        os.rename(os.path.join(self.nmh.folder("inbox"), ",2"), self.nmh.file("inbox", 2))
        self.client.ok("NOOP")
        self.assertEqual(self.client.uids(), [1, 3, 4])
        self.assertEqual(self.client.body(4), as_imap(mail_maker.plain(2)))


class Folders(WriteCase):
    def names(self):
        return set(self.imap().list())

    def test_create_makes_a_plain_directory(self):
        self.client.ok("CREATE a/b/c")
        self.assertTrue(os.path.isdir(self.nmh.folder("a/b/c")))
        self.assertEqual(os.listdir(self.nmh.folder("a/b/c")), [])
        self.assertEqual(self.client.append("a/b/c", as_imap(mail_maker.plain(1))).status, "OK")
        self.assertEqual(self.nmh.numbers("a/b/c"), [1])
        self.assertEqual(self.client.command("CREATE a/b/c").codes("ALREADYEXISTS"), [""])

    def test_digits_within_a_folder_are_refused_with_the_reason(self):
        for name in ("INBOX/2024", "a/2024/b"):
            answer = self.client.command(f"CREATE {name}")
            self.assertEqual(answer.status, "NO")
            self.assertIn("digits", answer.text)
        self.client.ok("CREATE 2024")
        answer = self.client.command("RENAME 2024 INBOX/7")
        self.assertEqual(answer.status, "NO")
        self.assertIn("digits", answer.text)

    def test_delete_takes_the_directory_and_its_state(self):
        self.client.ok("CREATE gone")
        self.client.append("gone", as_imap(mail_maker.plain(1)))
        first = self.client.status("gone", "UIDVALIDITY")["UIDVALIDITY"]
        states = len(self.states())
        self.client.ok("DELETE gone")
        self.assertFalse(os.path.exists(self.nmh.folder("gone")))
        self.assertEqual(len(self.states()), states - 1)
        self.client.ok("CREATE gone")
        self.assertGreater(self.client.status("gone", "UIDVALIDITY")["UIDVALIDITY"], first)

    def states(self):
        return [name for name in os.listdir(os.path.join(self.root, ".mhsync"))
                if re.fullmatch("[0-9a-f]{32}", name)]

    def test_delete_with_children_leaves_a_noselect(self):
        self.client.ok("CREATE p/child")
        self.client.append("p", as_imap(mail_maker.plain(1)))
        self.client.append("p/child", as_imap(mail_maker.plain(2)))
        self.client.ok("DELETE p")
        self.assertEqual(self.nmh.numbers("p/child"), [1])
        listed = self.imap().list()
        self.assertIn("\\Noselect", listed["p"])
        self.assertNotIn("\\Noselect", listed["p/child"])
        self.assertEqual(self.client.command("SELECT p").status, "NO")
        self.client.select("p/child")
        self.assertEqual(self.client.uids(), [1])
        self.client.ok("CREATE p")
        self.assertEqual(self.imap().select("p").exists, 0)

    def test_delete_with_files_of_others_leaves_them(self):
        self.client.ok("CREATE p")
        self.client.append("p", as_imap(mail_maker.plain(1)))
        notes = os.path.join(self.nmh.folder("p"), "notes.txt")
        with open(notes, "w") as out:
            out.write("keep me")
        self.client.ok("DELETE p")
        self.assertEqual(os.listdir(self.nmh.folder("p")), ["notes.txt"])
        self.assertEqual(self.client.command("SELECT p").status, "NO")
        self.nmh.rcvstore(mail_maker.plain(5), "p")     # a message makes it a folder again
        self.assertEqual(self.imap().select("p").exists, 1)

    def test_what_rmf_would_remove_goes_too(self):
        self.client.ok("CREATE p")
        for name in (",5", ".xmhcache", "#7"):
            with open(os.path.join(self.nmh.folder("p"), name), "w") as out:
                out.write("x")
        self.client.ok("DELETE p")
        self.assertFalse(os.path.exists(self.nmh.folder("p")))

    def test_rename_keeps_uids_and_children(self):
        self.client.ok("CREATE a/b")
        for n in (1, 2):
            self.client.append("a", as_imap(mail_maker.plain(n)))
        self.client.append("a/b", as_imap(mail_maker.plain(3)))
        self.client.select("a")
        self.client.store(1, "+FLAGS", "\\Deleted")
        self.client.ok("EXPUNGE")
        self.client.ok("UNSELECT")
        items = "UIDVALIDITY UIDNEXT HIGHESTMODSEQ MESSAGES"
        before = [self.client.status(name, items) for name in ("a", "a/b")]
        self.client.ok("RENAME a x/y")
        self.assertEqual([self.imap().status(name, items) for name in ("x/y", "x/y/b")], before)
        self.assertNotIn("a", self.names())
        client = self.imap()
        client.select("x/y")
        self.assertEqual((client.uids(), client.body(2)), ([2], as_imap(mail_maker.plain(2))))

    def test_private_sequences_follow_a_rename_and_go_with_the_folder(self):
        context = os.path.join(self.root, "context")
        self.client.ok("CREATE a/b")
        self.nmh.rcvstore(mail_maker.plain(1), "a/b")
        self.nmh.run("mark", "+a/b", "1", "-sequence", "mine", "-nopublic", "-add")
        self.client.ok("RENAME a c")
        with open(context) as text:
            self.assertIn(f"atr-mine-{self.root}/c/b: 1\n", text.read())
        self.assertIn("mine", self.nmh.run("mark", "+c/b", "-list"))
        self.client.ok("DELETE c/b")
        with open(context) as text:
            self.assertNotIn("atr-mine", text.read())

    def test_rename_onto_another_is_refused(self):
        self.client.ok("CREATE a")
        self.client.ok("CREATE b")
        self.assertEqual(self.client.command("RENAME a b").status, "NO")
        self.assertTrue({"a", "b"} <= self.names())

    def test_rename_of_inbox_moves_messages_and_no_folder(self):
        self.client.ok("CREATE INBOX/child")
        self.client.append("INBOX/child", as_imap(mail_maker.plain(5)))
        self.client.ok("RENAME INBOX old")
        self.assertEqual(self.nmh.numbers("inbox"), [])
        self.assertEqual(len(self.nmh.numbers("old")), 3)
        self.assertEqual(self.nmh.numbers("inbox/child"), [1])
        old = self.imap()
        old.select("old")
        self.assertEqual(old.flags(), {1: {"\\Seen"}, 2: set(), 3: {"\\Seen"}})
        self.assertEqual(self.imap().select("INBOX").exists, 0)

    def test_a_session_in_a_folder_that_is_renamed_or_deleted(self):
        self.client.ok("CREATE a")
        self.client.append("a", as_imap(mail_maker.plain(1)))
        inside = self.imap()
        inside.select("a")
        self.client.ok("RENAME a b")
        inside.command("NOOP")
        self.client.ok("CREATE c")
        self.client.append("c", as_imap(mail_maker.plain(1)))
        other = self.imap()
        other.select("c")
        self.client.ok("DELETE c")
        self.allow_log("c: .*")
        try:
            other.command("NOOP")
        except Exception:   # noqa: BLE001: the server may end the session: that is what it is for
            pass
        self.assertEqual(self.imap().select("b").exists, 1)


if __name__ == "__main__":
    runner.main(prepare)
