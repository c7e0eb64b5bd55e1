# SPDX-License-Identifier: LGPL-2.1-or-later
"""Flags, keywords and sequences, both ways: the table of which flag is which sequence.

Each test reads what IMAP wrote with nmh's own `mark -list` too: a file that we can parse and nmh
cannot would be a broken folder.
"""

import fcntl
import glob
import os
import re
import smtplib
import stat
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from nmh import Nmh  # noqa: E402


class FlagCase(MhTestCase):
    """INBOX with five messages, UIDs equal to their numbers."""

    count = 5

    def setUp(self):
        super().setUp()
        for n in range(1, self.count + 1):
            self.nmh.put("inbox", n, mail_maker.plain(n))

    def with_flag(self, flag, client=None):
        """UIDs that have the flag, in a session of its own unless one is given."""
        flags = (client or self.select()).flags()
        return {uid for uid, names in flags.items() if flag in names}

    def both(self):
        """The sequences as the file says; nmh must read the same."""
        found = self.nmh.sequences()
        self.assertEqual(self.nmh.sequences_by_nmh(), found)
        return found


class FromSequences(FlagCase):
    def see(self, sequences, flag):
        self.nmh.write_sequences("inbox", sequences)
        return self.with_flag(flag)

    def test_unseen_is_the_inverse_of_seen(self):
        self.assertEqual(self.see({"unseen": "2 4"}, "\\Seen"), {1, 3, 5})

    def test_replied_is_answered(self):
        self.assertEqual(self.see({"replied": "1-2"}, "\\Answered"), {1, 2})

    def test_flagged(self):
        self.assertEqual(self.see({"flagged": "5"}, "\\Flagged"), {5})

    def test_deleted_in_either_case(self):
        self.assertEqual(self.see("deleted: 1\nDeleted: 3\n", "\\Deleted"), {1, 3})

    def test_draft_in_either_case(self):
        self.assertEqual(self.see("draft: 1\nDraft: 3\n", "\\Draft"), {1, 3})

    def test_forwarded_in_either_form(self):
        self.assertEqual(self.see("forwarded: 1\n$Forwarded: 3\n", "$Forwarded"), {1, 3})

    def test_recent_is_ignored(self):
        self.nmh.write_sequences("inbox", {"Recent": "1-5"})
        flags = self.select().flags()
        self.assertEqual(set().union(*flags.values()) - {"\\Seen"}, set())

    def test_a_sequence_of_another_name_is_that_keyword(self):
        self.assertEqual(self.see({"work": "2-3", "todo2": "3"}, "work"), {2, 3})
        self.assertEqual(self.with_flag("todo2"), {3})

    def test_an_encoded_name_is_the_keyword_it_encodes(self):
        self.assertEqual(self.see({"kwzz24Junk": "4"}, "$Junk"), {4})
        self.assertEqual(self.with_flag("kwzz24Junk"), set())

    def test_a_raw_name_that_nmh_could_not_make_is_read_too(self):
        self.assertEqual(self.see({"$Junk": "4"}, "$Junk"), {4})

    def test_cur_is_never_a_keyword(self):
        self.nmh.write_sequences("inbox", {"cur": "3", "work": "1"})
        client = self.imap()
        box = client.select()
        self.assertNotIn("cur", box.flags)
        self.assertEqual(self.with_flag("cur", client), set())
        client.store("1:5", "+FLAGS", "\\Flagged")
        self.assertRegex(self.nmh.sequences_text(), r"(?m)^cur: 3$")

    def test_numbers_of_messages_that_are_not_there_do_no_harm(self):
        self.assertEqual(self.see({"flagged": "1 7 90-95", "cur": "77"}, "\\Flagged"), {1})

    def test_a_later_line_of_a_name_replaces_an_earlier_one_as_in_nmh(self):
        text = "flagged: 1\nwork: 2\nflagged: 3\n"
        self.nmh.write_sequences("inbox", text)
        self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], {3})
        self.assertEqual(self.with_flag("\\Flagged"), {3})

    def test_changed_by_mark_between_two_commands_of_a_session(self):
        self.nmh.write_sequences("inbox", {"flagged": "1"})
        client = self.select()
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        self.nmh.run("mark", "+inbox", "1", "-sequence", "flagged", "-delete")
        answer = client.ok("NOOP")
        told = {line.number: set(line.data["FLAGS"]) - {"\\Recent"} for line in
                answer.all("FETCH")}
        self.assertEqual(set(told), {1, 2})
        self.assertIn("\\Flagged", told[2])
        self.assertNotIn("\\Flagged", told[1])
        self.assertNothing(client.ok("NOOP"))

    def test_next_and_prev_tell_clients_nothing_but_seen(self):
        self.nmh.write_sequences("inbox", {"flagged": "1"})
        client = self.select()
        client.ok("NOOP")
        for command in ("first", "next", "next", "prev"):
            if command == "first":
                self.nmh.run("show", "+inbox", "first", "-showproc", "cat", check=False)
            else:
                self.nmh.run(command, "+inbox", "-showproc", "cat", check=False)
            self.assertNothing(client.ok("NOOP"))


class ToSequences(FlagCase):
    def test_each_flag_is_written_as_its_sequence(self):
        client = self.select()
        client.store("1:5", "FLAGS.SILENT", "\\Seen")
        for uid, flag in enumerate(("\\Answered", "\\Flagged", "\\Deleted", "\\Draft",
                                    "$Forwarded"), 1):
            client.store(uid, "+FLAGS", flag)
        client.store("2,3", "-FLAGS", "\\Seen")
        self.assertEqual(self.both(), {"replied": {1}, "flagged": {2}, "deleted": {3},
                                       "draft": {4}, "forwarded": {5}, "unseen": {2, 3}})

    def test_keywords_are_written_as_names_that_nmh_can_make(self):
        keywords = {"work": "work", "Todo": "Todo", "$Junk": "kwzz24Junk", "a_b": "kwzaz5fb",
                    "1st": "kwz1st", "kwzfoo": None, "jazz": "jazz", "z": "z", "new": None,
                    "all": None, "cur": None, "a.b-c": "kwzaz2ebz2dc", "$MDNSent": "kwzz24MDNSent"}
        client = self.select()
        client.store(1, "FLAGS.SILENT", "\\Seen " + " ".join(keywords))
        written = set(self.both()) - {"unseen"}
        for keyword, name in keywords.items():
            if name:
                self.assertIn(name, written, keyword)
        for name in written:
            self.assertRegex(name, r"^[A-Za-z][A-Za-z0-9]*$")
            self.assertNotIn(name, ("new", "all", "first", "last", "prev", "next", "cur"))
            self.nmh.run("pick", "+inbox", name)
        client.logout()
        self.assertEqual(self.select().flags()[1], {"\\Seen", *keywords})

    def test_every_encoding_can_be_taken_back(self):
        keywords = ["$Junk", "zz", "$z", "z$", "kwz", "kwzz24", "_", "+-", "a~b", "=?x?=", "!"]
        client = self.select()
        for uid, keyword in enumerate(keywords[:5], 1):
            client.store(uid, "FLAGS.SILENT", f"\\Seen {keyword}")
        client.store(1, "+FLAGS.SILENT", " ".join(keywords[5:]))
        client.logout()
        flags = self.select().flags()
        self.assertEqual(flags[1], {"\\Seen", keywords[0], *keywords[5:]})
        for uid, keyword in enumerate(keywords[1:5], 2):
            self.assertEqual(flags[uid], {"\\Seen", keyword})
        for n in range(1, 6):
            self.nmh.run("mark", "+inbox", str(n), "-sequence", "other", "-add")
        self.both()

    def test_clearing_the_last_flag_leaves_a_file_that_nmh_reads(self):
        client = self.select()
        client.store("1:5", "FLAGS", "\\Seen \\Flagged work and some more keywords")
        client.store("1:5", "FLAGS", "\\Seen")
        self.assertEqual(self.both(), {})
        self.assertTrue(os.path.exists(self.nmh.file("inbox", ".mh_sequences")))
        self.nmh.run("scan", "+inbox")
        self.nmh.run("mark", "+inbox", "2", "-sequence", "unseen", "-add")
        self.assertEqual(self.with_flag("\\Seen"), {1, 3, 4, 5})

    def test_shrinking_step_by_step_stays_readable(self):
        client = self.select()
        names = [f"keyword{n}" for n in range(20)]
        client.store("1:5", "FLAGS.SILENT", "\\Seen " + " ".join(names))
        for name in names:
            client.store("1:5", "-FLAGS.SILENT", name)
            self.assertNotIn(name, self.both())

    def test_no_blank_line_and_no_folding_is_ever_written(self):
        client = self.select()
        for change in ("+FLAGS", "-FLAGS"):
            for uid in (1, 3, 5, 2, 4):
                client.store(uid, change, "\\Flagged one two three")
                text = self.nmh.sequences_text()
                for line in text.splitlines():
                    self.assertRegex(line, r"^[^\s:][^:]*:")
        self.both()

    def test_what_others_wrote_stays(self):
        self.nmh.write_sequences("inbox", "cur: 2\nzebra: 4\nweird name: 1 3\npseq: 5\n")
        client = self.select()
        client.store(1, "+FLAGS", "\\Flagged")
        found = self.both()
        self.assertEqual(found["zebra"], {4})
        self.assertEqual(found["weird name"], {1, 3})
        self.assertEqual(found["flagged"], {1})
        self.assertRegex(self.nmh.sequences_text(), r"(?m)^cur: 2$")

    def test_ours_and_theirs_on_different_messages_are_both_kept(self):
        client = self.select()
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        client.store(4, "+FLAGS.SILENT", "\\Flagged")
        self.assertEqual(self.both()["flagged"], {2, 4})
        self.assertEqual(self.with_flag("\\Flagged"), {2, 4})

    def test_the_file_keeps_its_inode_and_its_rights(self):
        self.nmh.write_sequences("inbox", {"flagged": "1 2 3"})
        path = self.nmh.file("inbox", ".mh_sequences")
        os.chmod(path, 0o640)
        before = os.stat(path)
        client = self.select()
        client.store("1:5", "-FLAGS", "\\Flagged")
        client.store("1:5", "+FLAGS", "work")
        after = os.stat(path)
        self.assertEqual(after.st_ino, before.st_ino)
        self.assertEqual(stat.S_IMODE(after.st_mode), 0o640)

    def test_the_whole_second_of_its_mtime_differs_from_the_one_before(self):
        path = self.nmh.file("inbox", ".mh_sequences")
        client = self.select()
        client.store(1, "+FLAGS", "\\Flagged")
        seen = [int(os.stat(path).st_mtime)]
        for uid in (2, 3):
            client.store(uid, "+FLAGS", "\\Flagged")
            seen.append(int(os.stat(path).st_mtime))
        for before, after in zip(seen, seen[1:]):
            self.assertNotEqual(before, after, seen)
        self.assertLess(max(seen), time.time() + 4)

    def test_storing_what_is_already_so_writes_nothing(self):
        client = self.select()
        client.store("1:5", "+FLAGS", "\\Flagged")
        path = self.nmh.file("inbox", ".mh_sequences")
        before = os.stat(path)
        client.store("1:5", "+FLAGS", "\\Flagged")
        client.ok("NOOP")
        after = os.stat(path)
        self.assertEqual((before.st_mtime_ns, before.st_size), (after.st_mtime_ns, after.st_size))

    def test_flags_written_in_one_session_show_in_another(self):
        one, two = self.select(), self.select()
        one.store(3, "+FLAGS", "\\Flagged work")
        told = two.ok("NOOP").all("FETCH")
        self.assertEqual([line.number for line in told], [3])
        self.assertLessEqual({"\\Flagged", "work"}, set(told[0].data["FLAGS"]))

    def test_own_changes_are_not_told_twice(self):
        client = self.select()
        client.ok("NOOP")
        client.store(3, "+FLAGS.SILENT", "\\Flagged")
        self.assertNothing(client.ok("NOOP"))

    def test_store_unchangedsince_sees_what_nmh_changed(self):
        client = self.imap()
        client.select("INBOX", " (CONDSTORE)")
        modseq = client.fetch(2, "MODSEQ")[2]["MODSEQ"][0]
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        client.ok("NOOP")
        answer = client.ok(f"UID STORE 2 (UNCHANGEDSINCE {modseq}) +FLAGS (\\Deleted)")
        self.assertEqual(answer.codes("MODIFIED"), ["2"])
        self.assertNotIn("deleted", self.both())

    def test_a_busy_lock_fails_no_store_and_loses_none(self):
        client = self.select()
        client.store(1, "+FLAGS", "\\Flagged")
        # As an `anno` does that waits at its prompt.
        path = self.nmh.file("inbox", ".mh_sequences")
        pid = os.fork()
        if pid == 0:
            try:
                descriptor = os.open(path, os.O_RDWR)
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
                time.sleep(3)
            finally:
                os._exit(0)
        time.sleep(0.3)
        self.allow_log("lock|busy")
        began = time.monotonic()
        client.store(3, "+FLAGS", "\\Flagged")
        took = time.monotonic() - began
        self.assertLess(took, 2.5, "STORE waited for nmh's lock")
        self.assertIn("\\Flagged", client.flags()[3])
        os.waitpid(pid, 0)
        client.ok("NOOP")
        self.assertEqual(self.both()["flagged"], {1, 3})
        client.logout()
        self.assertEqual(self.with_flag("\\Flagged"), {1, 3})


class Unseen(FlagCase):
    """Which sequences mean unseen is the profile's to say."""

    def profile(self, value):
        Nmh(self.home, profile={"Unseen-Sequence": value})

    def test_several_names_unseen_in_any_seen_in_none(self):
        self.profile("unseen fresh")
        self.nmh.write_sequences("inbox", {"unseen": "1", "fresh": "2"})
        self.assertEqual(self.with_flag("\\Seen"), {3, 4, 5})

    def test_several_names_written_to_all_cleared_from_all(self):
        self.profile("unseen fresh")
        self.nmh.write_sequences("inbox", {"unseen": "1", "fresh": "2"})
        client = self.select()
        client.store("1,2", "+FLAGS", "\\Seen")
        client.store("3", "-FLAGS", "\\Seen")
        self.assertEqual(self.both(), {"unseen": {3}, "fresh": {3}})

    def test_unset_it_is_unseen(self):
        self.profile(None)
        self.nmh.write_sequences("inbox", {"unseen": "1"})
        client = self.select()
        self.assertEqual(self.with_flag("\\Seen", client), {2, 3, 4, 5})
        client.store("5", "-FLAGS", "\\Seen")
        self.assertEqual(self.both(), {"unseen": {1, 5}})

    def test_another_name(self):
        self.profile("neu")
        self.nmh.write_sequences("inbox", {"unseen": "1", "neu": "2"})
        client = self.select()
        self.assertEqual(self.with_flag("\\Seen", client), {1, 3, 4, 5})
        self.assertEqual(self.with_flag("unseen", client), {1})

    def test_scan_unseen_shows_what_is_unseen_over_imap(self):
        client = self.select()
        client.store("1:5", "+FLAGS", "\\Seen")
        client.store("2,4", "-FLAGS", "\\Seen")
        out = self.nmh.run("scan", "+inbox", "unseen", "-format", "%(msg)")
        self.assertEqual(out.split(), ["2", "4"])

    def test_show_makes_it_seen_over_imap(self):
        client = self.select()
        client.store("1:5", "-FLAGS.SILENT", "\\Seen")
        self.nmh.run("show", "+inbox", "2", "-showproc", "cat")
        client.ok("NOOP")
        self.assertEqual(self.with_flag("\\Seen", client), {2})


class HiddenNames(FlagCase):
    def make_nmh(self):
        return Nmh(self.home, profile={"Previous-Sequence": "pseq", "Sequence-Negation": "not"})

    def test_previous_sequence_and_negations_are_no_keywords_and_are_kept(self):
        self.nmh.write_sequences("inbox", {"pseq": "1-3", "notwork": "2", "work": "4"})
        client = self.imap()
        box = client.select()
        self.assertFalse({"pseq", "notwork"} & box.flags, box.flags)
        client.store(5, "+FLAGS", "work")
        found = self.nmh.sequences()
        self.assertEqual((found["pseq"], found["notwork"], found["work"]),
                         ({1, 2, 3}, {2}, {4, 5}))

    def test_a_keyword_of_such_a_name_comes_back_all_the_same(self):
        client = self.select()
        client.store(2, "FLAGS.SILENT", "\\Seen pseq notable")
        client.logout()
        self.assertEqual(self.select().flags()[2], {"\\Seen", "pseq", "notable"})
        self.assertNotIn("pseq", self.nmh.sequences())


class Settings(FlagCase):
    user_settings = {"mh_hidden_sequences": "secret", "mh_keyword_map": "$Junk=junk"}

    def test_hidden_sequences_are_no_keywords_and_are_kept(self):
        self.nmh.write_sequences("inbox", {"secret": "1", "work": "2"})
        client = self.imap()
        self.assertNotIn("secret", client.select().flags)
        client.store(3, "+FLAGS", "work")
        self.assertEqual(self.both()["secret"], {1})

    def test_the_keyword_map_gives_the_name_both_ways(self):
        self.nmh.write_sequences("inbox", {"junk": "1"})
        client = self.select()
        self.assertEqual(self.with_flag("$Junk", client), {1})
        client.store(2, "+FLAGS", "$Junk")
        self.assertEqual(self.both()["junk"], {1, 2})


class Annotations(FlagCase):
    def test_replied_is_answered_and_forwarded_is_forwarded(self):
        client = self.select()
        client.ok("NOOP")
        self.nmh.run("anno", "+inbox", "2", "-component", "Replied", "-text", "x")
        self.nmh.run("anno", "+inbox", "3", "-component", "Forwarded", "-text", "x")
        client.ok("NOOP")
        self.assertEqual(self.with_flag("\\Answered", client), {2})
        self.assertEqual(self.with_flag("$Forwarded", client), {3})
        self.assertEqual(client.uids(), [1, 2, 3, 4, 5])
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))

    def test_it_is_set_once_and_may_be_taken_off(self):
        self.nmh.run("anno", "+inbox", "2", "-component", "Replied", "-text", "x")
        client = self.select()
        self.assertEqual(self.with_flag("\\Answered", client), {2})
        client.store(2, "-FLAGS", "\\Answered")
        client.logout()
        self.assertEqual(self.with_flag("\\Answered"), set())
        self.force_resync()
        self.assertEqual(self.with_flag("\\Answered"), set())
        self.assertNotIn("replied", self.both())


class Drafts(FlagCase):
    def make_nmh(self):
        return Nmh(self.home, profile={"Draft-Folder": "drafts"})

    def test_every_message_of_the_draft_folder_is_a_draft(self):
        self.nmh.put("drafts", 1, mail_maker.plain(1))
        client = self.imap()
        client.select("drafts")
        self.assertEqual(self.with_flag("\\Draft", client), {1})
        client.select("INBOX")
        self.assertEqual(self.with_flag("\\Draft", client), set())


class Arrivals(FlagCase):
    """inc and rcvstore add `unseen` last; cp and procmail never do."""

    user_settings = {"mh_unseen_grace": "1"}

    def start(self):
        self.nmh.write_sequences("inbox", {"work": "1"})
        client = self.select()
        self.assertEqual(self.with_flag("\\Seen", client), {1, 2, 3, 4, 5},
                         "messages found at first are taken as their sequences say")
        return client

    def test_an_arrival_counts_as_unseen_at_once(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        self.assertEqual([line.number for line in client.ok("NOOP").all("EXISTS")], [6])
        self.assertNotIn("\\Seen", client.flags()[6])

    def test_after_the_grace_it_is_written_to_the_sequence(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        time.sleep(1.3)
        client.ok("NOOP")
        self.assertEqual(self.both()["unseen"], {6})
        self.assertNotIn("\\Seen", client.flags()[6])

    def test_rcvstore_decides_unseen_and_nothing_flickers(self):
        client = self.start()
        self.nmh.rcvstore(mail_maker.plain(6))
        answer = client.ok("NOOP")
        time.sleep(1.3)
        self.assertEqual(len(answer.all("EXISTS")), 1)
        self.assertNotIn("\\Seen", client.flags()[6])
        self.assertNothing(client.ok("NOOP"))
        self.assertEqual(self.both()["unseen"], {6})

    def test_inc_decides_for_all_it_delivers(self):
        client = self.start()
        self.nmh.inc(mail_maker.plain(6), mail_maker.plain(7), mail_maker.plain(8))
        client.ok("NOOP")
        time.sleep(1.3)
        self.assertNothing(client.ok("NOOP"))
        flags = client.flags()
        for uid in (6, 7, 8):
            self.assertNotIn("\\Seen", flags[uid])

    def test_rcvstore_without_unseen_decides_nothing_by_itself(self):
        client = self.start()
        self.nmh.rcvstore(mail_maker.plain(6), "inbox", "-nounseen")
        client.ok("NOOP")
        self.assertNotIn("\\Seen", client.flags()[6])

    def test_read_by_show_within_the_grace_it_is_seen(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        self.nmh.run("show", "+inbox", "6", "-showproc", "cat")
        client.ok("NOOP")
        time.sleep(1.3)
        client.ok("NOOP")
        self.assertIn("\\Seen", client.flags()[6])
        self.assertNotIn("unseen", self.both())

    def test_another_move_of_cur_decides_nothing(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        self.nmh.run("show", "+inbox", "2", "-showproc", "cat")
        client.ok("NOOP")
        time.sleep(1.3)
        client.ok("NOOP")
        self.assertNotIn("\\Seen", client.flags()[6])
        self.assertEqual(self.both()["unseen"], {6})

    def test_our_own_write_decides_nothing(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        client.store(2, "-FLAGS", "\\Seen")
        client.ok("NOOP")
        self.assertNotIn("\\Seen", client.flags()[6])

    def test_stored_seen_by_a_client_it_stays_seen(self):
        client = self.start()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        client.store(6, "+FLAGS", "\\Seen")
        time.sleep(1.3)
        client.ok("NOOP")
        self.assertIn("\\Seen", client.flags()[6])
        self.assertNotIn("unseen", self.both())

    def test_arrivals_between_sessions_are_unseen(self):
        self.start().logout()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        time.sleep(1.3)
        client = self.select()
        client.ok("NOOP")
        self.assertNotIn("\\Seen", client.flags()[6])

    def test_a_stale_number_gives_an_arrival_no_flags(self):
        client = self.start()
        client.store(5, "+FLAGS", "\\Flagged work")
        os.unlink(self.nmh.file("inbox", 5))
        client.ok("NOOP")
        self.nmh.put("inbox", 5, mail_maker.plain(55))
        client.ok("NOOP")
        (uid,) = [uid for uid in client.uids() if uid > 5]
        self.assertFalse({"\\Flagged", "work"} & client.flags()[uid])


class ArrivalsAsMh(FlagCase):
    user_settings = {"mh_unseen_grace": "1", "mh_new_mail": "as-mh"}

    def test_with_as_mh_what_nobody_marks_becomes_seen(self):
        self.nmh.write_sequences("inbox", {"work": "1"})
        client = self.select()
        self.nmh.put("inbox", 6, mail_maker.plain(6))
        client.ok("NOOP")
        time.sleep(1.3)
        client.ok("NOOP")
        self.assertIn("\\Seen", client.flags()[6])
        self.assertNotIn("unseen", self.both())


class Cost(FlagCase):
    count = 300

    def test_a_store_on_many_messages_writes_the_file_once(self):
        client = self.select()
        client.store("1:*", "+FLAGS.SILENT", "\\Seen")
        path = self.nmh.file("inbox", ".mh_sequences")
        before = os.stat(path)
        client.store("1:*", "+FLAGS.SILENT", "\\Flagged work")
        after = os.stat(path)
        self.assertEqual(self.both()["flagged"], set(range(1, 301)))
        self.assertNotEqual(before.st_mtime_ns, after.st_mtime_ns)
        self.assertRegex(self.nmh.sequences_text(), r"(?m)^flagged: 1-300 *$")


class WaitingInASmallLog(FlagCase):
    """What waits for nmh's lock waits in dovecot.index.log. Dovecot counts all of that as done when
    it writes dovecot.index, which here is at the end of every sync."""

    server_settings = {"mail_index_rewrite_min_log_bytes": "1",
                       "mail_index_rewrite_max_log_bytes": "1"}

    def setUp(self):
        super().setUp()
        self.client = self.select()
        self.client.ok("CREATE other")
        self.client.append("INBOX", mail_maker.as_imap(mail_maker.plain(6)))

    def while_waiting(self, number):
        """What other sessions do meanwhile."""
        self.nmh.put("inbox", number, mail_maker.plain(number))
        self.assertGreater(max(self.select().uids()), max(self.client.uids()))
        self.client.ok("NOOP")

    def test_flags_are_there_when_the_lock_is_free(self):
        with self.nmh.sequences_locked():
            self.client.store(2, "+FLAGS", r"\Flagged hello")
            self.client.store(3, "-FLAGS", r"\Seen")
            self.client.store(4, "+FLAGS", r"\Seen")
            self.while_waiting(17)
            self.while_waiting(18)
        self.assertEqual(self.with_flag(r"\Flagged"), {2})
        found = self.both()
        self.assertEqual((found["flagged"], found["hello"]), ({2}, {2}))
        self.assertIn(3, found["unseen"])
        self.assertNotIn(4, found["unseen"])

    def test_an_expunge_is_done_when_the_lock_is_free(self):
        self.client.store(2, "+FLAGS", r"\Deleted")
        with self.nmh.sequences_locked():
            self.client.ok("EXPUNGE")
            self.while_waiting(17)
            self.while_waiting(18)
        self.assertEqual(self.select().uids(), [1, 3, 4, 5, 6, 7, 8])

    def test_a_message_moved_is_not_in_both_folders(self):
        with self.nmh.sequences_locked():
            self.client.ok("UID MOVE 2:3 other")
            self.while_waiting(17)
            again = self.client.command("UID MOVE 2 other")
            self.assertEqual(again.status, "NO", again)
            self.while_waiting(18)
        self.assertEqual(self.select().uids(), [1, 4, 5, 6, 7, 8])
        self.assertEqual(len(self.nmh.numbers("other")), 2)

    def test_what_is_new_is_recent_to_one_session_only(self):
        with self.nmh.sequences_locked():
            self.client.store(2, "+FLAGS", r"\Flagged")
            self.nmh.put("inbox", 17, mail_maker.plain(17))
            recent = [self.imap().select().recent for _ in range(2)]
        self.assertEqual(recent, [1, 0])

    def deliver(self):
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            session.sendmail("alice@example.org", [self.user.name], mail_maker.plain(9))

    def test_a_delivery_leaves_what_was_asked_before_it(self):
        with self.nmh.sequences_locked():
            self.client.store(2, "+FLAGS", r"\Flagged")
            self.client.store(5, "+FLAGS", r"\Deleted")
            self.client.ok("UID EXPUNGE 5")
            self.client.logout()
            delivery = threading.Thread(target=self.deliver)
            delivery.start()
            time.sleep(1)       # so it begins with a sync that cannot have nmh's lock
        delivery.join()
        self.assertEqual(self.with_flag(r"\Flagged"), {2})
        self.assertEqual(self.both()["flagged"], {2})
        self.assertEqual(self.select().uids(), [1, 2, 3, 4, 6, 7])


class WaitingInALostIndex(FlagCase):
    def lose_from_index(self, uid):
        """As damage would: the log says that Dovecot itself has removed it."""
        (log,) = glob.glob(os.path.join(self.root, ".mhsync", "*", "index", "dovecot.index.log"))
        size = b"\x80\x80\x80\x84"      # of 16 bytes, as in a MAIL_TRANSACTION header
        with open(log, "ab") as out:
            out.write(size + struct.pack("<III", 0x1000cd91, uid, uid))
        os.rename(self.nmh.file("inbox", uid), self.nmh.file("inbox", uid + 10))

    def test_what_was_asked_is_done_in_the_new_one(self):
        self.expect_log("the index lacks UID 4, which the folder has: made anew")
        client = self.select()
        client.store(2, "+FLAGS", r"\Deleted")
        with self.nmh.sequences_locked():
            client.ok("EXPUNGE")
            client.store(3, "+FLAGS", r"\Flagged")
            client.logout()
            self.lose_from_index(4)
            self.assertEqual(self.select().uids(), [1, 2, 3, 4, 5])
        self.assertEqual(self.select().uids(), [1, 3, 4, 5])
        self.assertEqual(self.with_flag(r"\Flagged"), {3})


METHODS = ("fcntl", "dot", "flock", "lockf")


class PrivateSequences(FlagCase):
    def context(self):
        with open(os.path.join(self.root, "context"), encoding="utf-8") as text:
            return text.read()

    def make_read_only(self, sequences):
        self.nmh.write_sequences("inbox", sequences)
        self.select().logout()
        os.chmod(self.nmh.file("inbox", ".mh_sequences"), 0o400)
        os.chmod(self.nmh.folder("inbox"), 0o500)
        self.addCleanup(os.chmod, self.nmh.folder("inbox"), 0o700)

    def test_flags_of_a_read_only_folder_are_written_to_the_context(self):
        self.make_read_only({"unseen": "1-5", "flagged": "1", "work": "4"})
        self.nmh.run("mark", "+inbox", "2", "-sequence", "mine", "-add", "-nopublic")
        client = self.imap()
        self.assertFalse(client.select().read_only)
        client.store(3, "+FLAGS", "\\Flagged work")
        client.store("1:5", "+FLAGS", "\\Seen")
        client.logout()
        self.assertEqual(self.nmh.sequences(), {"unseen": {1, 2, 3, 4, 5}, "flagged": {1},
                                                "work": {4}}, "the public ones are as they were")
        self.assertEqual(self.nmh.sequences_by_nmh(), {"mine": {2}, "flagged": {1, 3},
                                                       "work": {3, 4}})
        self.assertEqual(self.nmh.run("scan", "+inbox", "flagged", "-format", "%(msg)").split(),
                         ["1", "3"])
        client = self.select()
        self.assertEqual(self.with_flag("\\Flagged", client), {1, 3})
        self.assertEqual(self.with_flag("\\Seen", client), {1, 2, 3, 4, 5})
        self.assertEqual(self.with_flag("mine", client), {2})

    def test_a_change_of_the_context_is_told_at_the_next_command_and_by_status(self):
        self.make_read_only({"unseen": "1-5"})
        self.nmh.run("mark", "+inbox", "1", "3-5", "-sequence", "unseen", "-add", "-nopublic")
        client, other = self.select(), self.imap()
        self.assertEqual(self.with_flag("\\Seen", client), {2})
        self.assertIn("UNSEEN 4", repr(other.ok("STATUS INBOX (UNSEEN)").untagged).replace(
            "'", "").replace(",", ""))
        self.nmh.run("mark", "+inbox", "3", "-sequence", "unseen", "-delete", "-nopublic")
        self.assertIn("UNSEEN 3", repr(other.ok("STATUS INBOX (UNSEEN)").untagged).replace(
            "'", "").replace(",", ""))
        told = client.ok("NOOP").all("FETCH")
        self.assertEqual([line.number for line in told], [3])
        self.assertNothing(client.ok("NOOP"))

    def test_what_else_the_context_says_stays_byte_for_byte(self):
        Nmh(self.home, profile={"mh-sequences": ""})
        others = ("Current-Folder:inbox \natr-flagged-%s/inbox/sub: 9 9\n#: a remark\nFolded: a\n b\n"
                  % self.root)
        with open(os.path.join(self.root, "context"), "w", encoding="utf-8") as out:
            out.write(others)
        client = self.select()
        client.store("1:5", "+FLAGS.SILENT", "\\Seen")
        client.store("2:3", "+FLAGS", "\\Flagged")
        self.assertEqual(self.context(), others + f"atr-flagged-{self.root}/inbox: 2-3\n")
        client.store("2:3", "-FLAGS", "\\Flagged")
        self.assertEqual(self.context(), others)

    def test_mark_and_pick_and_a_session_take_turns(self):
        Nmh(self.home, profile={"mh-sequences": "", "context": "ctx"})
        client = self.select()
        client.store("1:5", "+FLAGS.SILENT", "\\Seen")
        for turn in (1, 2, 3):
            self.nmh.run("mark", "+inbox", str(turn), "-sequence", "work", "-add")
            client.ok("NOOP")
            self.assertEqual(self.with_flag("work", client), set(range(1, turn + 1)))
            client.store(turn, "+FLAGS", "\\Flagged")
            self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], set(range(1, turn + 1)))
        self.nmh.run("pick", "+inbox", "flagged", "-sequence", "picked")
        client.ok("NOOP")
        self.assertEqual(self.with_flag("picked", client), {1, 2, 3})
        self.nmh.run("mark", "+inbox", "all", "-sequence", "work", "-delete")
        client.ok("NOOP")
        self.assertEqual(self.with_flag("work", client), set())
        self.assertTrue(os.path.exists(os.path.join(self.root, "ctx")))
        self.assertFalse(os.path.exists(os.path.join(self.root, "context")))

    def test_each_way_of_locking_the_context(self):
        for method in METHODS:
            with self.subTest(method):
                Nmh(self.home, profile={"mh-sequences": "", "datalocking": method})
                client = self.select()
                client.store(1, "+FLAGS", "\\Flagged")
                self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
                client.store(3, "+FLAGS", "\\Flagged")
                self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], {1, 2, 3})
                self.assertFalse(os.path.exists(os.path.join(self.root, "context.lock")))
                client.store("1:3", "-FLAGS", "\\Flagged")
                client.logout()

    def test_a_command_that_writes_back_an_older_context_loses_no_flag(self):
        Nmh(self.home, profile={"mh-sequences": ""})
        client = self.select()
        client.store("1:5", "FLAGS.SILENT", "\\Seen")
        anno = subprocess.Popen(["anno", "+inbox", "5"], env=self.nmh.environment(),
                                cwd=self.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        self.assertIn(b"component name", os.read(anno.stdout.fileno(), 1000))   # it has read it
        client.store(3, "+FLAGS", "\\Flagged work")
        self.assertIn("atr-work-", self.context())
        anno.communicate(b"Replied\n", timeout=30)
        self.assertNotIn("atr-work-", self.context(), "nmh did not write it: this shows nothing")
        told = client.ok("NOOP").untagged
        self.assertEqual({(line.kind, line.number) for line in told if line.kind != "OK"},
                         {("FETCH", 5)}, "only that message 5 was replied to")
        self.assertIn("atr-cur-", self.context())
        self.assertEqual(self.nmh.sequences_by_nmh(), {"work": {3}, "flagged": {3},
                                                       "replied": {5}})
        client.logout()
        self.assertEqual(self.with_flag("\\Flagged"), {3})

    def test_saving_and_expunging_with_private_sequences(self):
        """Unlockable: a new number leaves that of sortm free."""
        Nmh(self.home, profile={"mh-sequences": ""})
        client = self.select()
        client.store("1:5", "FLAGS.SILENT", "\\Seen")
        client.store("2,3", "+FLAGS.SILENT", "work")
        client.append("INBOX", mail_maker.plain(6), flags="\\Flagged work")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5, 7])
        self.assertEqual(self.nmh.sequences_by_nmh(),
                         {"work": {2, 3, 7}, "flagged": {7}, "unseen": {7}})
        client.store("2", "+FLAGS.SILENT", "\\Deleted")
        client.ok("EXPUNGE")
        self.assertEqual(self.nmh.numbers(), [1, 3, 4, 5, 7])
        self.assertNotIn(" 2", self.context())
        self.assertEqual(self.nmh.sequences_by_nmh(),
                         {"work": {3, 7}, "flagged": {7}, "unseen": {7}})
        self.assertNothing(client.ok("NOOP"))
        client.logout()
        self.assertEqual(self.select().flags()[6] - {"\\Recent"}, {"\\Flagged", "work"})
        self.assertFalse(os.path.exists(self.nmh.file("inbox", ".mh_sequences")))

    def test_without_a_context_the_flags_are_kept_in_the_index(self):
        Nmh(self.home, profile={"mh-sequences": "", "context": "/dev/null"})
        client = self.select()
        client.store(2, "+FLAGS", "\\Flagged work")
        client.logout()
        self.assertEqual(self.with_flag("\\Flagged"), {2})
        self.assertEqual(self.with_flag("work"), {2})

    def test_a_message_that_moves_keeps_its_private_flags(self):
        Nmh(self.home, profile={"mh-sequences": ""})
        client = self.select()
        client.store("1:5", "+FLAGS.SILENT", "\\Seen")
        client.store(3, "+FLAGS", "\\Flagged")
        os.unlink(self.nmh.file("inbox", 1))
        self.nmh.run("folder", "+inbox", "-pack")
        client.ok("NOOP")
        self.assertEqual(self.with_flag("\\Flagged", client), {3})
        self.assertEqual(self.nmh.sequences_by_nmh(), {"flagged": {2}})
        self.nmh.run("sortm", "+inbox", "-reverse", check=False)
        client.ok("NOOP")
        self.assertEqual(self.with_flag("\\Flagged", client), {3})
        self.assertEqual(self.nmh.visible("inbox", min(self.nmh.sequences_by_nmh()["flagged"])),
                         mail_maker.plain(3))

    def test_a_folder_in_the_tree_by_a_path_of_another_spelling(self):
        Nmh(self.home, profile={"mh-sequences": "", "Path": "./Mail"})
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        self.assertIn("/./Mail/inbox", self.context())
        client = self.select()
        self.assertEqual(self.with_flag("\\Flagged", client), {2})
        client.store(3, "+FLAGS", "\\Flagged")
        self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], {2, 3})

    def test_with_an_empty_mh_sequences_flags_live_in_the_context(self):
        Nmh(self.home, profile={"mh-sequences": ""})
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        self.assertFalse(os.path.exists(self.nmh.file("inbox", ".mh_sequences")))
        client = self.select()
        self.assertEqual(self.with_flag("\\Flagged", client), {2})
        client.store(3, "+FLAGS", "\\Flagged")
        client.logout()
        self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], {2, 3})
        self.assertFalse(os.path.exists(self.nmh.file("inbox", ".mh_sequences")))
        self.assertEqual(self.with_flag("\\Flagged"), {2, 3})

    def test_another_file_name_is_honoured(self):
        Nmh(self.home, profile={"mh-sequences": ".my_seqs"})
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
        client = self.select()
        self.assertEqual(self.with_flag("\\Flagged", client), {2})
        client.store(3, "+FLAGS", "\\Flagged")
        self.assertEqual(self.nmh.sequences_by_nmh()["flagged"], {2, 3})
        self.assertFalse(os.path.exists(self.nmh.file("inbox", ".mh_sequences")))

    def test_private_sequences_of_a_read_only_folder_are_its_flags(self):
        self.nmh.write_sequences("inbox", {"unseen": "1-5"})
        self.select().logout()
        os.chmod(self.nmh.file("inbox", ".mh_sequences"), 0o400)
        os.chmod(self.nmh.folder("inbox"), 0o500)
        self.addCleanup(os.chmod, self.nmh.folder("inbox"), 0o700)
        self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add", "-nopublic")
        self.assertRegex(self.nmh.run("mark", "+inbox", "-list"), r"flagged.*private")
        self.assertEqual(self.with_flag("\\Flagged"), {2})


class Datalocking(FlagCase):
    def test_each_way_of_locking_serves_both_sides(self):
        for method in METHODS:
            with self.subTest(method):
                Nmh(self.home, profile={"datalocking": method})
                client = self.select()
                client.store(1, "+FLAGS", "\\Flagged")
                self.nmh.run("mark", "+inbox", "2", "-sequence", "flagged", "-add")
                client.store(3, "+FLAGS", "\\Flagged")
                self.assertEqual(self.both()["flagged"], {1, 2, 3})
                left = [name for name in os.listdir(self.nmh.folder("inbox"))
                        if re.search("lock", name)]
                self.assertEqual(left, [])
                client.store("1:3", "-FLAGS", "\\Flagged")
                client.logout()

    def holding_the_lock(self, method):
        """An nmh command that has locked the folder and waits for its user at a prompt."""
        anno = subprocess.Popen(["anno", "+inbox", "5"],
                                env=self.nmh.environment(), cwd=self.home, stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path = self.nmh.file("inbox", ".mh_sequences")

        def held():
            if method == "dot":
                return os.path.exists(path + ".lock")
            with open(path, "r+b") as file:
                try:
                    if method == "flock":
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    else:
                        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
            return False
        self.eventually(held)
        return anno

    def test_a_command_that_holds_the_lock_delays_a_flag_and_loses_none(self):
        for method in METHODS:
            with self.subTest(method):
                Nmh(self.home, profile={"datalocking": method})
                self.nmh.write_sequences("inbox", {"work": "4"})
                client = self.select()
                client.store(1, "+FLAGS", "\\Flagged")
                anno = self.holding_the_lock(method)
                client.store(3, "+FLAGS", "\\Flagged")
                self.assertEqual(self.nmh.sequences()["flagged"], {1})
                self.assertIn("\\Flagged", client.flags()[3])
                anno.communicate(b"done\n", timeout=30)
                client.ok("NOOP")
                self.assertEqual(self.both()["flagged"], {1, 3})
                self.assertEqual(self.both()["work"], {4})
                client.store("1:3", "-FLAGS", "\\Flagged")
                client.logout()

    def test_marks_and_stores_at_the_same_time_are_all_kept(self):
        for method in METHODS:
            with self.subTest(method):
                Nmh(self.home, profile={"datalocking": method})
                client = self.select()
                marks = [self.nmh.start("mark", "+inbox", str(n), "-sequence", f"m{method}{n}",
                                        "-add") for n in (1, 2, 3)]
                for n in (1, 2, 3, 4, 5):
                    client.store(n, "+FLAGS.SILENT", f"i{method}{n}")
                for mark in marks:
                    out, _ = mark.communicate(timeout=60)
                    self.assertEqual(mark.returncode, 0, out)
                client.ok("NOOP")
                found = self.both()
                self.assertEqual({name: found.get(name) for name in
                                  [f"i{method}{n}" for n in range(1, 6)]
                                  + [f"m{method}{n}" for n in range(1, 4)]},
                                 {f"{who}{method}{n}": {n} for who, most in (("i", 5), ("m", 3))
                                  for n in range(1, most + 1)})
                client.logout()

    def test_saving_and_expunging(self):
        for turn, method in enumerate(METHODS):
            with self.subTest(method):
                Nmh(self.home, profile={"datalocking": method})
                client = self.select()
                client.append("INBOX", mail_maker.plain(6 + turn), flags="\\Flagged")
                client.ok("NOOP")
                new = max(client.uids())
                self.nmh.run("mark", "+inbox", "last", "-sequence", "work", "-add")
                client.ok("NOOP")
                self.assertEqual(client.flags()[new] - {"\\Recent"}, {"\\Flagged", "work"})
                client.store(new, "+FLAGS.SILENT", "\\Deleted")
                client.ok("EXPUNGE")
                self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5])
                self.assertNotIn("work", self.both())
                self.assertNothing(client.ok("NOOP"))
                client.logout()

    def test_a_dot_lock_of_ours_wakes_nobody_again(self):
        Nmh(self.home, profile={"datalocking": "dot"})
        client = self.select()
        client.store(1, "+FLAGS", "\\Flagged")
        client.ok("NOOP")
        before = os.stat(self.nmh.folder("inbox")).st_ctime_ns
        time.sleep(1.3)     # until what has just changed counts as settled
        client.ok("NOOP")
        client.ok("NOOP")
        self.assertEqual(os.stat(self.nmh.folder("inbox")).st_ctime_ns, before)


if __name__ == "__main__":
    runner.main(prepare)
