# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each nmh command and each plain file operation does to UIDs, flags and clients.

The table of which file is which UID, row by row. Every rule is tried three times: on a folder that
was just seen for the first time, on one whose messages all carry their tag, and under the eyes of
a session that stays open. What may differ between them depends on whether the file at hand bears
its tag, and each such test asks the file.
"""

import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from history import History  # noqa: E402
from nmh import Nmh  # noqa: E402

COUNT = 6
SEQUENCES = {"unseen": "2 5", "flagged": "3", "work": "1 4", "replied": "6"}
FLAGS = {1: {"\\Seen", "work"}, 2: set(), 3: {"\\Seen", "\\Flagged"}, 4: {"\\Seen", "work"},
         5: set(), 6: {"\\Seen", "\\Answered"}}
BODIES = {n: mail_maker.as_imap(mail_maker.plain(n)) for n in range(1, COUNT + 1)}


class Between(MhTestCase):
    adopted = False
    live = False

    def setUp(self):
        super().setUp()
        for n in range(1, COUNT + 1):
            # Dated backwards, so that sortm has something to do.
            self.nmh.put("inbox", n, self.mail(n), mtime=1_234_500_000 + 1000 * n)
        self.nmh.write_sequences("inbox", SEQUENCES)
        self.history = History(self)
        self.before = self.history.look(self.imap())
        self.assertEqual(self.before.uids, list(range(1, COUNT + 1)))
        self.assertEqual(self.before.all_flags(), FLAGS)
        if self.adopted:
            self.force_resync()
            for n in range(1, COUNT + 1):
                self.assertIsNotNone(self.nmh.tag("inbox", n), f"{n} was not adopted")
            self.look_again()
        self.watcher = None
        if self.live:
            self.watcher = self.imap()
            self.watcher.select()
            self.watcher.ok("NOOP")

    @staticmethod
    def mail(n):
        return mail_maker.plain(n)

    def look_again(self):
        """Between two looks without an event nothing may change."""
        now = self.history.look(self.imap())
        self.assertEqual(now.uids, self.before.uids)
        self.assertEqual(now.all_flags(), self.before.all_flags())
        self.before = now

    def tagged(self, number, folder="inbox"):
        return self.nmh.tag(folder, number) is not None

    def path(self, number, folder="inbox"):
        return self.nmh.file(folder, number)

    def sh(self, script, **names):
        """A shell command inside the folder inbox."""
        subprocess.run(["sh", "-ec", script], cwd=self.nmh.folder("inbox"), check=True,
                       env={**self.nmh.environment(), **names}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def expect(self, gone=(), new=0, flags=None, new_flags=None, new_bodies=None, in_place=False):
        """Compare a new session with the one before: UIDs `gone`, `new` more, `flags` changed.

        in_place: nothing but the content of a file changed, which is noticed at its next opening.
        """
        before, gone = self.before, set(gone)
        kept = [uid for uid in before.uids if uid not in gone]
        expected = {uid: before.flags(uid) for uid in kept}
        expected.update(flags or {})
        if self.watcher:
            early = self.watcher.command("UID FETCH 1:* (BODY.PEEK[]<0.1>)").untagged \
                if in_place else []
            self.told(early, gone, new, {uid for uid in kept if expected[uid] != before.flags(uid)})
        now = self.history.look(self.imap())
        added = [uid for uid in now.uids if uid not in before.uids]
        self.assertEqual(now.uidvalidity, before.uidvalidity, "UIDVALIDITY changed")
        self.assertEqual([uid for uid in now.uids if uid in before.uids], kept)
        self.assertEqual(len(added), new, "number of new UIDs")
        self.assertEqual({uid: now.flags(uid) for uid in kept}, expected)
        if new_flags is not None:
            self.assertEqual([now.flags(uid) for uid in added], new_flags)
        if new_bodies is not None:
            self.assertEqual([now.body(uid) for uid in added], new_bodies)
        self.resynchronised(before, now, gone, added)
        if not self.watcher:
            # A third look: the change is told once.
            again = self.history.look(self.imap())
            self.assertEqual(again.uids, now.uids)
            self.assertEqual(again.all_flags(), now.all_flags())
        self.before, self.added = now, added
        return now

    def date_of(self, uid):
        return self.history.shown[(self.before.uidvalidity, uid)][1]

    def told(self, early, gone, new, changed):
        """What the open session is told by NOOP, or `early` by the FETCH that noticed it: real
        changes, each once."""
        answer = self.watcher.ok("NOOP")
        answer.untagged = [line for line in early
                           if line.kind != "FETCH" or "FLAGS" in line.data] + answer.untagged
        self.assertEqual(len(answer.all("EXPUNGE")), len(gone), answer.untagged)
        exists = [line.number for line in answer.all("EXISTS")]
        total = len(self.before.uids) - len(gone) + new
        self.assertEqual(exists[-1:], [total] if new else [], answer.untagged)
        fetched = {line.number for line in answer.all("FETCH")}
        uids = [uid for uid in self.before.uids if uid not in gone]
        told = {uids[number - 1] for number in fetched if number <= len(uids)}
        self.assertEqual(told, changed, answer.untagged)
        self.assertNothing(self.watcher.ok("NOOP"))

    def resynchronised(self, before, now, gone, added):
        """A client that was away learns by QRESYNC what is gone and what is new, no more."""
        client = self.imap()
        client.ok("ENABLE QRESYNC")
        answer = client.ok(f"SELECT INBOX (QRESYNC ({before.uidvalidity} {before.highestmodseq}))")
        vanished = set()
        for line in answer.all("VANISHED"):
            for part in line.data[-1].split(","):
                first, _, last = part.partition(":")
                vanished.update(range(int(first), int(last or first) + 1))
        self.assertEqual(vanished & set(before.uids), gone)
        fetched = {int(line.data["UID"]) for line in answer.all("FETCH")}
        changed = {uid for uid in now.uids
                   if uid in before.uids and now.flags(uid) != before.flags(uid)}
        self.assertEqual(fetched, changed | set(added), "told by QRESYNC")
        client.close()


class Rules:
    """The rules; mixed into one class for each state a folder may be in."""

    # -- arrivals --------------------------------------------------------------------------------

    def test_inc_brings_new_unseen_messages(self):
        self.nmh.inc(mail_maker.plain(7), mail_maker.plain(8))
        self.expect(new=2, new_flags=[set(), set()])

    def test_rcvstore_brings_a_new_unseen_message(self):
        self.nmh.rcvstore(mail_maker.plain(7))
        self.expect(new=1, new_flags=[set()], new_bodies=[mail_maker.as_imap(mail_maker.plain(7))])

    def test_refile_into_the_folder_brings_new_messages(self):
        self.nmh.put("other", 1, mail_maker.plain(21))
        self.nmh.put("other", 2, mail_maker.plain(22))
        if self.adopted:
            self.imap().select("other")
            self.force_resync("other")
        self.nmh.run("refile", "-src", "+other", "1", "2", "+inbox")
        self.expect(new=2, new_bodies=[mail_maker.as_imap(mail_maker.plain(n)) for n in (21, 22)])
        self.force_resync()
        self.look_again()

    def test_cp_of_a_foreign_file_brings_a_new_message(self):
        self.nmh.put("inbox", 40, mail_maker.plain(40))
        self.expect(new=1, new_flags=[set()])

    def test_arrived_and_removed_between_two_looks_was_never_there(self):
        self.nmh.rcvstore(mail_maker.plain(7))
        self.nmh.run("rmm", "+inbox", "7")
        self.expect()

    def test_burst_adds_the_parts_of_a_digest(self):
        self.nmh.put("inbox", 7, mail_maker.digest(3))
        self.expect(new=1)
        self.nmh.run("burst", "+inbox", "7", "-noinplace")
        self.assertEqual(self.nmh.numbers(), list(range(1, 11)))
        self.expect(new=3)

    def test_burst_in_place_renumbers_what_follows(self):
        self.nmh.put("inbox", 7, mail_maker.digest(3))
        self.nmh.put("inbox", 8, mail_maker.plain(8))
        self.expect(new=2)
        digest, last = self.added
        self.nmh.run("burst", "+inbox", "7", "-inplace")
        numbers = self.nmh.numbers()
        now = self.history.look(self.imap())
        self.assertEqual(len(now.uids), len(numbers))
        self.assertEqual(now.body(last), mail_maker.as_imap(mail_maker.plain(8)))
        for uid in range(1, COUNT + 1):
            self.assertEqual(now.body(uid), BODIES[uid])
        if digest in now.uids:
            self.assertEqual(now.body(digest), self.before.body(digest))

    # -- leaving ---------------------------------------------------------------------------------

    def test_rmm_is_an_expunge(self):
        self.nmh.run("rmm", "+inbox", "1", "4", "6")
        self.expect(gone=[1, 4, 6])

    def test_rmm_of_all_keeps_the_uidvalidity(self):
        self.nmh.run("rmm", "+inbox", "all")
        self.expect(gone=range(1, COUNT + 1))
        self.nmh.rcvstore(mail_maker.plain(7))
        self.expect(new=1)

    def test_rm_leaves_a_stale_number_that_harms_nobody(self):
        os.unlink(self.path(3))
        self.expect(gone=[3])
        self.nmh.put("inbox", 3, mail_maker.plain(33))
        self.expect(new=1, new_flags=[set()])

    def test_refile_is_an_expunge_here_and_an_arrival_there(self):
        tagged = self.tagged(3)
        self.nmh.run("refile", "-src", "+inbox", "3", "+other")
        self.expect(gone=[3])
        there = History(self).look(self.imap(), "other")
        self.assertEqual(there.bodies(), [BODIES[3]])
        if tagged:
            self.assertEqual(there.flags(there.uids[0]), FLAGS[3], "flags follow a refile")
            self.assertEqual(there.date(there.uids[0]), self.date_of(3))

    def test_refile_link_leaves_this_folder_as_it_is(self):
        self.nmh.run("refile", "-link", "-src", "+inbox", "2", "+other")
        self.expect()
        there = History(self)
        self.assertEqual(there.look(self.imap(), "other").bodies(), [BODIES[2]])
        self.force_resync()
        self.look_again()
        self.assertEqual(there.look(self.imap(), "other").bodies(), [BODIES[2]])

    def test_refile_there_and_back_between_two_looks_at_either_is_no_loss(self):
        self.nmh.run("refile", "-src", "+inbox", "2", "+other")
        self.nmh.run("refile", "-src", "+other", "1", "+inbox")
        now = self.history.look(self.imap())
        self.assertEqual(sorted(now.bodies()), sorted(BODIES.values()))

    def test_refile_there_and_back_with_a_look_between_gives_a_new_uid(self):
        tagged = self.tagged(3)
        self.nmh.run("refile", "-src", "+inbox", "3", "+other")
        self.expect(gone=[3])
        self.nmh.run("refile", "-src", "+other", "1", "+inbox")
        self.expect(new=1, new_bodies=[BODIES[3]],
                    new_flags=[FLAGS[3]] if tagged else None)

    def test_rmm_and_undelete_with_a_look_between_gives_a_new_uid(self):
        tagged = self.tagged(3)
        self.nmh.run("rmm", "+inbox", "3")
        self.expect(gone=[3])
        self.sh("mv ,3 3")
        self.expect(new=1, new_bodies=[BODIES[3]], new_flags=[FLAGS[3]] if tagged else None)

    def test_moved_out_and_back_between_two_looks_nothing_happened(self):
        self.sh("mv 3 ../x; mv ../x 3")
        self.expect()

    # -- renumbering -----------------------------------------------------------------------------

    def test_mv_to_another_number_changes_nothing(self):
        self.sh("mv 5 50")
        self.expect()
        self.assertEqual(self.nmh.sequences()["unseen"], {2, 50})

    def test_mv_of_all_changes_nothing(self):
        self.sh("for n in 1 2 3 4 5 6; do mv $n 10$n; done")
        self.expect()
        self.assertEqual(self.nmh.sequences()["flagged"], {103})

    def test_two_swapped_numbers_change_nothing(self):
        self.sh("mv 2 t; mv 3 2; mv t 3")
        self.expect()
        self.assertEqual(self.nmh.sequences()["flagged"], {2})

    def test_a_rotation_changes_nothing(self):
        self.sh("mv 6 t; for n in 5 4 3 2 1; do mv $n $((n+1)); done; mv t 1")
        self.expect()

    def test_mv_over_another_message_expunges_that_one_only(self):
        self.sh("mv -f 3 5")
        self.expect(gone=[5])

    def test_pack_changes_nothing(self):
        self.nmh.run("rmm", "+inbox", "2", "4")
        self.expect(gone=[2, 4])
        self.nmh.run("folder", "+inbox", "-pack")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4])
        self.expect()

    def test_rmm_and_pack_between_two_looks(self):
        self.nmh.run("rmm", "+inbox", "1", "4")
        self.nmh.run("folder", "+inbox", "-pack")
        self.expect(gone=[1, 4])

    def test_sortm_changes_nothing(self):
        self.nmh.run("sortm", "+inbox", "-textfield", "subject", "-limit", "0", "-verbose")
        self.expect()
        # A look between: sortm would else carry sequences that speak of the old numbers.
        self.sh("mv 1 t; mv 6 1; mv t 6; mv 2 t; mv 4 2; mv t 4")
        self.expect()
        self.nmh.run("sortm", "+inbox", "-datefield", "date")
        self.assertIn(b"message 1\n", self.nmh.read("inbox", 1))
        self.expect()

    def test_sortm_pack_rmm_and_rcvstore_at_once(self):
        self.sh("mv 1 t; mv 6 1; mv t 6")
        self.nmh.run("sortm", "+inbox", "-datefield", "date")
        self.nmh.run("rmm", "+inbox", "3")
        self.nmh.rcvstore(mail_maker.plain(7))
        self.nmh.run("folder", "+inbox", "-pack")
        now = self.history.look(self.imap())
        self.assertEqual(now.bodies(), [BODIES[n] for n in (1, 2, 4, 5, 6)]
                         + [mail_maker.as_imap(mail_maker.plain(7))])
        self.assertEqual(now.uids[:5], [1, 2, 4, 5, 6])

    # -- sequences -------------------------------------------------------------------------------

    def test_mark_changes_flags_only(self):
        self.nmh.run("mark", "+inbox", "1", "2", "-sequence", "flagged", "-add")
        self.nmh.run("mark", "+inbox", "5", "-sequence", "unseen", "-delete")
        self.expect(flags={1: FLAGS[1] | {"\\Flagged"}, 2: {"\\Flagged"}, 5: {"\\Seen"}})

    def test_pick_sequence_is_a_keyword(self):
        self.nmh.run("pick", "+inbox", "-subject", "message 4", "-sequence", "picked")
        self.expect(flags={4: FLAGS[4] | {"picked"}})

    def test_show_and_next_move_cur_and_clear_unseen_only(self):
        self.nmh.run("show", "+inbox", "2", "-showproc", "cat")
        self.expect(flags={2: {"\\Seen"}})
        self.nmh.run("next", "+inbox", "-showproc", "cat")
        self.expect()

    def test_scan_and_pick_to_the_terminal_change_nothing(self):
        self.nmh.run("scan", "+inbox")
        self.nmh.run("pick", "+inbox", "-from", "alice")
        self.expect()

    def test_a_sequences_file_that_stays_away_means_all_flags_cleared(self):
        os.unlink(self.path(".mh_sequences"))
        self.expect(flags={uid: {"\\Seen"} for uid in FLAGS})

    # -- content ---------------------------------------------------------------------------------

    def test_anno_replied_changes_the_flag_only(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-text", "x")
        self.expect(flags={4: FLAGS[4] | {"\\Answered"}})

    def test_anno_forwarded_twice_changes_the_flag_once(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "Forwarded", "-text", "x")
        self.expect(flags={4: FLAGS[4] | {"$Forwarded"}})
        self.nmh.run("anno", "+inbox", "4", "-component", "Forwarded", "-text", "y")
        self.expect()

    def test_anno_noinplace_is_the_same(self):
        self.nmh.run("anno", "+inbox", "4", "-noinplace", "-component", "Replied", "-text", "x")
        self.expect(flags={4: FLAGS[4] | {"\\Answered"}})

    def test_anno_preserve_is_the_same(self):
        self.nmh.run("anno", "+inbox", "4", "-preserve", "-component", "Replied", "-text", "x")
        self.expect(flags={4: FLAGS[4] | {"\\Answered"}})

    def test_anno_of_another_field_is_hidden_above_a_tag_and_else_an_edit(self):
        tagged = self.tagged(4)
        self.nmh.run("anno", "+inbox", "4", "-component", "X-Note", "-text", "remember")
        if tagged:
            self.expect()
        else:
            self.expect(gone=[4], new=1, new_flags=[FLAGS[4]])

    def test_anno_append_is_an_edit(self):
        self.nmh.run("anno", "+inbox", "4", "-append", "-component", "X-Note", "-text", "remember")
        self.expect(gone=[4], new=1, new_flags=[FLAGS[4]])

    def test_an_annotated_message_that_moves_keeps_its_uid(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-text", "x")
        self.sh("mv 4 44")
        self.expect(flags={4: FLAGS[4] | {"\\Answered"}})

    def edited(self, number, line=b"an added line\n"):
        return mail_maker.as_imap(mail_maker.plain(number) + line)

    def test_an_edit_in_place_is_a_new_message_with_the_old_flags_and_date(self):
        self.sh("echo an added line >> 3")
        self.expect(gone=[3], new=1, new_flags=[FLAGS[3]], new_bodies=[self.edited(3)],
                    in_place=True)
        self.assertEqual(self.before.date(self.added[0]), self.date_of(3))

    def test_an_edit_by_sed_is_the_same_for_a_file_that_bears_its_tag(self):
        tagged = self.tagged(3)
        self.sh("sed -i 's/^This is the body/This was the body/' 3")
        self.expect(gone=[3], new=1, new_flags=[FLAGS[3]] if tagged else None,
                    new_bodies=[BODIES[3].replace(b"This is the", b"This was the")])
        if tagged:
            self.assertEqual(self.before.date(self.added[0]), self.date_of(3))

    def test_an_edit_of_equal_length_with_the_old_mtime_is_seen_too(self):
        before = os.stat(self.path(3))
        with open(self.path(3), "r+b") as message:
            text = message.read()
            message.seek(text.index(b"This is the body"))
            message.write(b"That")
        os.utime(self.path(3), ns=(before.st_atime_ns, before.st_mtime_ns))
        client = self.imap()
        client.select()
        uid = client.uids()[-1] if 3 not in client.uids() else 3
        answer = client.command(f"UID FETCH {uid} (BODY.PEEK[])")
        for line in answer.all("FETCH"):
            if int(line.data.get("UID", 0)) == 3 and line.data.get("BODY[]") is not None:
                self.assertEqual(line.data["BODY[]"], BODIES[3],
                                 "an edited file was served under its old UID")
        client.logout()
        now = self.history.look(self.imap())
        self.assertNotIn(3, now.uids)
        self.assertEqual(now.bodies()[-1], BODIES[3].replace(b"This is the", b"That is the"))

    def test_removed_and_created_again_under_the_number_is_another_message(self):
        os.unlink(self.path(3))
        self.nmh.put("inbox", 3, mail_maker.plain(33))
        self.expect(gone=[3], new=1, new_bodies=[mail_maker.as_imap(mail_maker.plain(33))])

    def test_replaced_by_rename_with_other_content_is_another_message(self):
        self.nmh.put(".", "new", mail_maker.plain(33))
        self.sh("mv -f ../new 3")
        self.expect(gone=[3], new=1, new_bodies=[mail_maker.as_imap(mail_maker.plain(33))])

    def test_a_copy_written_over_another_message_is_an_edit_of_that_one(self):
        self.sh("cp 2 3")
        self.expect(gone=[3], new=1, new_bodies=[BODIES[2]], in_place=True)

    def test_sed_without_a_change_changes_nothing(self):
        # As an editor that saves what it read: new inode, old bytes; the old mtime too, since
        # for an untagged file that is part of the evidence.
        self.sh("cp -p 3 t; sed -i s/nothing/here/ 3; touch -r t 3; rm t")
        self.expect()

    def test_equal_bytes_in_a_new_file_with_a_new_mtime(self):
        tagged = self.tagged(3)
        self.sh("cp 3 ../t; rm 3; mv ../t 3")
        if tagged:
            self.expect()
        else:
            now = self.history.look(self.imap())
            self.assertEqual(sorted(now.bodies()), sorted(BODIES.values()))

    def test_touch_and_chmod_change_nothing(self):
        self.sh("touch -d 1999-01-01 2; touch 3; chmod 644 4")
        self.expect()

    # -- copies and restores ---------------------------------------------------------------------

    def test_cp_is_a_message_of_its_own(self):
        self.sh("cp 2 9")
        self.expect(new=1, new_bodies=[BODIES[2]])

    def test_cp_with_all_attributes_is_a_message_of_its_own(self):
        self.sh("cp -a 3 9")
        self.expect(new=1, new_bodies=[BODIES[3]])
        guids = self.doveadm("fetch", "guid", "mailbox", "INBOX", "all").out.split()
        self.assertEqual(len({g for g in guids if g != "guid:"}), COUNT + 1)

    def test_a_copy_before_the_original_leaves_the_original_its_uid(self):
        self.sh("mv 1 t; cp -a t 9; mv t 10")
        self.expect(new=1, new_bodies=[BODIES[1]])

    def test_a_second_link_in_the_folder_is_a_message_of_its_own(self):
        self.sh("ln 2 9")
        self.expect(new=1, new_bodies=[BODIES[2]])
        self.force_resync()
        self.look_again()

    def test_refile_link_into_the_same_folder_is_the_same(self):
        self.nmh.run("refile", "-link", "-src", "+inbox", "2", "+inbox")
        self.expect(new=1, new_bodies=[BODIES[2]])

    def test_restore_of_a_folder_by_cp_a_changes_nothing(self):
        self.sh("cp -a . ../backup; rm -f [0-9]* .mh_sequences; cp -a ../backup/. .")
        self.expect()

    def test_restore_after_a_look_at_the_empty_folder_gives_new_uids(self):
        self.sh("cp -a . ../backup; rm -f [0-9]* .mh_sequences")
        self.expect(gone=range(1, COUNT + 1))
        self.sh("cp -a ../backup/. .")
        self.expect(new=COUNT)
        self.assertEqual(sorted(self.before.bodies()), sorted(BODIES.values()))

    def test_restore_over_the_folder_as_rsync_does_changes_nothing(self):
        self.sh("cp -a . ../backup; for n in 1 2 3 4 5 6; do cp -a ../backup/$n .t; mv -f .t $n;"
                " done")
        self.expect()

    def test_restore_of_an_older_state_brings_removed_messages_back_as_new(self):
        self.sh("cp -a . ../backup")
        self.nmh.run("rmm", "+inbox", "2", "-unlink")
        self.expect(gone=[2])
        self.nmh.rcvstore(mail_maker.plain(7))
        self.expect(new=1)
        (late,) = self.added
        self.sh("rm -f [0-9]* .mh_sequences; cp -a ../backup/. .")
        self.expect(gone=[late], new=1, new_bodies=[BODIES[2]])

    def test_restore_under_other_numbers_keeps_tagged_messages(self):
        tagged = all(self.tagged(n) for n in range(1, COUNT + 1))
        self.sh("cp -a . ../backup; rm -f [0-9]*;"
                " for n in 1 2 3 4 5 6; do cp -a ../backup/$n 2$n; done")
        now = self.history.look(self.imap())
        self.assertEqual(sorted(now.bodies()), sorted(BODIES.values()))
        if tagged:
            self.assertEqual(now.uids, list(range(1, COUNT + 1)))
            self.assertEqual(now.bodies(), list(BODIES.values()))


class JustSeen(Rules, Between):
    pass


class Adopted(Rules, Between):
    adopted = True


class Watched(Rules, Between):
    live = True


class Refile(Between):
    """Flags of a tagged message follow it, whichever of the two folders is looked at first."""

    adopted = True
    def shown(self, folder="other"):
        now = History(self).look(self.imap(), folder)
        return [now.flags(uid) for uid in now.uids]

    def test_when_the_folder_it_left_has_been_looked_at(self):
        self.nmh.run("refile", "-src", "+inbox", "2", "3", "4", "+other")
        self.expect(gone=[2, 3, 4])
        self.assertEqual(self.shown(), [FLAGS[2], FLAGS[3], FLAGS[4]])
        self.assertEqual(self.nmh.sequences("other")["flagged"], {2})

    def test_when_the_folder_it_left_has_not_been_looked_at(self):
        self.nmh.run("refile", "-src", "+inbox", "2", "3", "4", "+other")
        self.assertEqual(self.shown(), [FLAGS[2], FLAGS[3], FLAGS[4]])
        self.assertEqual(self.nmh.sequences("other")["flagged"], {2})
        self.expect(gone=[2, 3, 4])
        self.assertEqual(self.shown(), [FLAGS[2], FLAGS[3], FLAGS[4]])

    def test_from_folder_to_folder_the_last_flags_count(self):
        self.nmh.run("refile", "-src", "+inbox", "3", "+other")
        client = self.imap()
        client.select("other")
        client.ok("STORE 1 -FLAGS.SILENT (\\Flagged)")
        client.ok("STORE 1 +FLAGS.SILENT (work)")
        client.logout()
        self.force_resync("other")
        self.nmh.run("refile", "-src", "+other", "1", "+inbox")
        self.expect(gone=[3], new=1, new_flags=[{"\\Seen", "work"}])

    def test_a_copy_has_flags_of_its_own(self):
        self.nmh.run("refile", "-link", "-src", "+inbox", "3", "+other")
        self.sh("cp 4 ../other/7")
        self.assertEqual(self.shown(), [{"\\Seen"}, {"\\Seen"}])
        self.expect()

    def test_of_a_folder_that_is_gone_nothing_is_known(self):
        self.nmh.run("refile", "-src", "+inbox", "3", "+other")
        shutil.rmtree(self.nmh.folder("inbox"))
        shutil.rmtree(os.path.join(self.root, ".mhsync", self.state()))
        self.assertEqual(self.shown(), [{"\\Seen"}])

    def state(self):
        """Name of the state directory of inbox."""
        for name in os.listdir(os.path.join(self.root, ".mhsync")):
            journal = os.path.join(self.root, ".mhsync", name, "journal")
            if os.path.exists(journal):
                with open(journal) as lines:
                    if str(self.before.uidvalidity) in lines.readline().split():
                        return name
        raise AssertionError("inbox has no state")


class RefileOfDrafts(MhTestCase):
    def make_nmh(self):
        return Nmh(self.home, profile={"Draft-Folder": "drafts"})

    def test_the_flag_that_the_draft_folder_gives_stays_there(self):
        for first in ("drafts", "inbox"):
            with self.subTest(first):
                self.nmh.put("drafts", 1, mail_maker.plain(1))
                self.nmh.make_folder("inbox")
                client = self.imap()
                client.select("drafts")
                client.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
                client.logout()
                self.force_resync("drafts")
                self.nmh.run("refile", "-src", "+drafts", "1", "+inbox")
                self.imap().select(first)
                self.assertEqual(self.flags_of_the_last(), {"\\Flagged"})

    def flags_of_the_last(self):
        fetched = self.select().fetch("*", "FLAGS")
        return set(list(fetched.values())[-1]["FLAGS"]) - {"\\Recent", "\\Seen"}


class RefileWithoutFlags(Between):
    """mh_refile_flags = no: what comes is new, whichever way it came."""

    adopted = True
    user_settings = {"mh_refile_flags": "no"}

    def test_no_flag_follows(self):
        for number in (3, 4):
            self.nmh.run("refile", "-src", "+inbox", str(number), "+other")
            if number == 4:
                self.imap().select()
            now = History(self).look(self.imap(), "other")
            self.assertNotIn("\\Flagged", now.flags(now.uids[-1]))
            self.assertNotIn("work", now.flags(now.uids[-1]))


class Settled(Between):
    """Edits that change no stamp of a folder which counts as unchanged.

    Nothing short of a look at each message could tell at SELECT. What is promised: the first
    opening finds it, shows neither the old bytes nor the new ones under the old UID, and the next
    command of that session tells of it.
    """

    adopted = True
    user_settings = {"mh_unseen_grace": "1"}
    SETTLE = 3.5

    def setUp(self):
        super().setUp()
        time.sleep(self.SETTLE)
        self.look_again()
        self.client = self.select()

    def noticed(self, item, body):
        """FETCH `item` of the edited message 3; what the session is told by it and by the next
        command."""
        first = self.client.command(f"UID FETCH 3 ({item})")
        for line in first.all("FETCH"):
            told = [value for name, value in line.data.items() if name.startswith(("BODY", "RFC"))]
            self.assertEqual([value for value in told if value], [], "shown under the old UID")
        answer = self.client.ok("NOOP")
        lines = first.untagged + answer.untagged
        self.assertEqual([line.number for line in lines if line.kind == "EXPUNGE"], [3])
        self.assertEqual([line.number for line in lines if line.kind == "EXISTS"], [COUNT])
        self.assertEqual(self.client.uids(), [1, 2, 4, 5, 6, COUNT + 1])
        self.assertNothing(self.client.ok("NOOP"))
        self.expect(gone=[3], new=1, new_flags=[FLAGS[3]], new_bodies=[body])
        self.assertEqual(self.before.date(COUNT + 1), self.date_of(3))

    def test_an_appended_line_is_noticed_by_the_first_fetch_of_the_body(self):
        self.sh("echo an added line >> 3")
        self.noticed("BODY.PEEK[]", self.longer(3))

    def test_and_by_the_first_fetch_of_the_header(self):
        self.sh("echo an added line >> 3")
        self.noticed("BODY.PEEK[HEADER.FIELDS (X-Never-Cached)]", self.longer(3))

    def test_other_bytes_of_the_same_length_and_mtime_are_noticed_likewise(self):
        self.sh("touch -r 3 ../then; sed 's/^This is the body/That is the body/' 3 > ../new;"
                " cat ../new > 3; touch -r ../then 3")
        self.noticed("BODY.PEEK[]", BODIES[3].replace(b"This is the", b"That is the"))

    @staticmethod
    def longer(number):
        return mail_maker.as_imap(mail_maker.plain(number) + b"an added line\n")


class Adoption(MhTestCase):
    """What adoption does to the files themselves."""

    def test_only_a_line_is_added_and_all_else_of_the_file_stays(self):
        originals = {}
        for n, content in enumerate([*mail_maker.STRANGE.values(), *mail_maker.NUL.values()], 1):
            path = self.nmh.put("inbox", n, content, mtime=1_100_000_000 + n,
                                mode=(0o600, 0o640, 0o444)[n % 3])
            originals[n] = (content, os.stat(path))
        self.imap().select()
        self.force_resync()
        for n, (content, stat) in originals.items():
            now = os.stat(self.nmh.file("inbox", n))
            tag = self.nmh.tag("inbox", n)
            with self.subTest(n):
                self.assertIsNotNone(tag)
                self.assertEqual(tag.above + tag.message, content)
                self.assertEqual(tag.length, len(tag.message))
                self.assertEqual(now.st_size, stat.st_size + len(tag.line))
                self.assertEqual(now.st_mtime_ns, stat.st_mtime_ns)
                self.assertEqual(now.st_mode, stat.st_mode)

    def test_the_tag_stands_below_a_from_line(self):
        line = b"From alice@example.org Sun Sep  9 01:46:40 2001\n"
        self.nmh.put("inbox", 1, line + mail_maker.plain(1))
        self.imap().select()
        self.force_resync()
        tag = self.nmh.tag("inbox", 1)
        self.assertEqual(tag.above, line)
        self.assertEqual(tag.message, mail_maker.plain(1))

    def test_annotations_above_a_from_line_change_nothing_that_is_seen(self):
        line = b"From alice@example.org Sun Sep  9 01:46:40 2001\n"
        self.nmh.put("inbox", 1, line + mail_maker.plain(1))
        history = History(self)
        before = history.look(self.imap())
        self.nmh.run("anno", "+inbox", "1", "-component", "Replied", "-text", "x")
        self.assertTrue(self.nmh.read("inbox", 1).startswith(b"Replied: "))
        for adopted in (False, True):
            with self.subTest(adopted):
                now = history.look(self.imap())
                self.assertEqual(now.uids, before.uids)
                self.assertIn("\\Answered", now.flags(1))
                self.assertEqual(now.body(1), mail_maker.as_imap(mail_maker.plain(1)))
                self.force_resync()
                self.assertIn(line, self.nmh.tag("inbox", 1).above)
                self.nmh.run("anno", "+inbox", "1", "-component", "X-Note", "-text", "x")

    def test_it_is_done_once(self):
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        self.imap().select()
        self.force_resync()
        before = os.stat(self.nmh.file("inbox", 1))
        self.force_resync()
        self.imap().select()
        after = os.stat(self.nmh.file("inbox", 1))
        self.assertEqual((after.st_ino, after.st_ctime_ns), (before.st_ino, before.st_ctime_ns))
        self.assertEqual(self.nmh.read("inbox", 1).count(b"X-MH-UID"), 1)

    def test_extended_attributes_are_kept(self):
        path = self.nmh.put("inbox", 1, mail_maker.plain(1))
        try:
            os.setxattr(path, "user.note", b"keep me")
        except OSError:
            self.skipTest("no user attributes on this file system")
        self.imap().select()
        self.force_resync()
        self.assertIsNotNone(self.nmh.tag("inbox", 1))
        self.assertEqual(os.getxattr(path, "user.note"), b"keep me")

    def test_a_first_select_writes_to_no_message(self):
        stats = {}
        for n in range(1, 21):
            path = self.nmh.put("inbox", n, mail_maker.plain(n))
            stats[n] = os.stat(path)
        client = self.imap()
        client.select()
        for n, before in stats.items():
            now = os.stat(self.nmh.file("inbox", n))
            self.assertEqual((now.st_ino, now.st_size), (before.st_ino, before.st_size))

    def test_a_file_open_for_writing_is_left_alone(self):
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        path = self.nmh.put("inbox", 2, mail_maker.plain(2))
        self.imap().select()
        with open(path, "r+b") as writer:
            self.force_resync()
            self.assertIsNone(self.nmh.tag("inbox", 2))
            self.assertIsNotNone(self.nmh.tag("inbox", 1))
            writer.seek(0, os.SEEK_END)
            writer.write(b"one more line\n")
        self.assertTrue(self.nmh.read("inbox", 2).endswith(b"one more line\n"))
        self.force_resync()
        self.assertIsNotNone(self.nmh.tag("inbox", 2))
        history = History(self).look(self.imap())
        self.assertIn(mail_maker.as_imap(mail_maker.plain(2) + b"one more line\n"),
                      history.bodies())

    def test_a_half_written_file_is_not_announced_until_it_is_whole(self):
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        client = self.select()
        content = mail_maker.plain(2)
        with open(self.nmh.file("inbox", 2), "wb", buffering=0) as writer:
            writer.write(content[:40])
            self.assertNothing(client.ok("NOOP"))
            self.assertEqual(self.select().uids(), [1])
            writer.write(content[40:])
        self.eventually(lambda: client.ok("NOOP").all("EXISTS") or len(client.uids()) == 2)
        self.assertEqual(client.body(2), mail_maker.as_imap(content))

    def test_an_empty_file_is_a_message_after_ten_seconds(self):
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        path = self.nmh.put("inbox", 2, b"")
        self.assertEqual(self.select().uids(), [1])
        if not runner.LONG:
            # What counts is the age that the file itself tells.
            os.utime(path, (1_100_000_000, 1_100_000_000))
        client = self.select()
        self.eventually(lambda: client.ok("NOOP") and len(client.uids()) == 2, timeout=14,
                        interval=0.5)
        self.assertEqual(client.fetch(2, "BODY.PEEK[] RFC822.SIZE")[2]["BODY[]"], b"")

    def test_links_are_parted_and_both_stay_what_they_were(self):
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        os.makedirs(self.nmh.folder("other"))
        os.link(self.nmh.file("inbox", 1), self.nmh.file("other", 1))
        for name in ("INBOX", "other"):
            self.imap().select(name)
        self.force_resync()
        tags = [self.nmh.tag(folder, 1) for folder in ("inbox", "other")]
        for tag in tags:
            self.assertEqual(tag.message, mail_maker.plain(1))
        self.assertNotEqual(tags[0].uidvalidity, tags[1].uidvalidity)

    def test_rmm_right_after_adoption_is_not_undone(self):
        for n in range(1, 4):
            self.nmh.put("inbox", n, mail_maker.plain(n))
        self.imap().select()
        self.force_resync()
        self.nmh.run("rmm", "+inbox", "2")
        self.assertEqual(self.select().uids(), [1, 3])
        self.force_resync()
        self.assertEqual(self.select().uids(), [1, 3])
        self.assertEqual(self.nmh.numbers(), [1, 3])


class Copies(MhTestCase):
    def test_a_tree_that_is_copied_serves_the_same_messages(self):
        for n in range(1, 4):
            self.nmh.put("inbox", n, mail_maker.plain(n))
            self.nmh.put("work", n, mail_maker.plain(10 + n))
        before = {name: History(self).look(self.imap(), name) for name in ("INBOX", "work")}
        self.force_resync()
        other = self.new_user()
        shutil.copytree(self.root, os.path.join(other.home, "Mail"), symlinks=True)
        for name, snapshot in before.items():
            copied = History(self).look(self.imap(other), name)
            self.assertEqual(copied.bodies(), snapshot.bodies())
            again = History(self).look(self.imap(), name)
            self.assertEqual((again.uidvalidity, again.uids),
                             (snapshot.uidvalidity, snapshot.uids))


if __name__ == "__main__":
    runner.main(prepare)
