#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync status and reindex: what they do to files, UIDs and flags, alone and beside Dovecot."""

import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402

COUNT = 6
OLD = 1_234_500_000


class Filled(MhsyncCase):
    def setUp(self):
        super().setUp()
        for n in range(1, COUNT + 1):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", {"unseen": "2 5", "flagged": "3"})

    def look(self):
        if not hasattr(self, "history"):
            self.history = History(self)
        return self.history.look(self.imap())


class Status(Filled):
    def everything(self):
        found = {}
        for top, folders, files in os.walk(self.home):
            for name in folders + files:
                stat = os.lstat(os.path.join(top, name))
                found[os.path.join(top, name)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
        return found

    def test_a_tree_never_seen_stays_without_state(self):
        before = self.everything()
        got, = self.mhsync_json("status", "+inbox")
        self.assertEqual(got["state"], "none")
        self.assertEqual((got["messages"], got["next"], got["gaps"], got["unseen"],
                          got["without_uid"]), (COUNT, COUNT + 1, 0, 2, COUNT))
        self.assertEqual(self.everything(), before)

    def test_it_tells_what_imap_tells_and_writes_nothing(self):
        box = self.look()
        os.unlink(self.nmh.file("inbox", 2))
        self.nmh.put("inbox", 9, mail_maker.plain(9))
        before = self.everything()
        got, = self.mhsync_json("status", "+inbox")
        self.assertEqual(got["uidvalidity"], box.uidvalidity)
        self.assertEqual(got["uidnext"], COUNT + 1)
        self.assertEqual((got["messages"], got["gaps"], got["without_uid"], got["unseen"]),
                         (COUNT, 3, 1, 1))
        self.assertEqual(got["bytes"], sum(len(f[0]) for f in self.files().values()))
        self.assertEqual(self.everything(), before)


class Reindex(Filled):
    def test_all_get_uids_and_tags_in_the_order_of_their_numbers(self):
        got, = self.mhsync_json("reindex", "+inbox")
        self.assertEqual((got["given"], got["tagged"], got["remaining"]), (COUNT, COUNT, 0))
        tags = [self.nmh.tag("inbox", n) for n in range(1, COUNT + 1)]
        self.assertEqual([tag.uid for tag in tags], list(range(1, COUNT + 1)))
        for n in range(1, COUNT + 1):
            self.assertEqual(self.nmh.visible("inbox", n), mail_maker.plain(n))
            self.assertEqual(os.stat(self.nmh.file("inbox", n)).st_mtime, OLD + n)
        after = self.look()
        self.assertEqual(after.uids, [tag.uid for tag in tags])
        self.assertEqual(after.uidvalidity, tags[0].uidvalidity)
        self.assertEqual(after.flags(3), {"\\Seen", "\\Flagged"})
        self.assertEqual(after.flags(2), set())

    def test_a_second_run_does_nothing(self):
        self.mhsync("reindex", "+inbox")
        before = self.files()
        got, = self.mhsync_json("reindex", "+inbox")
        self.assertEqual((got["given"], got["tagged"]), (0, 0))
        self.assertEqual(self.files(), before)

    def test_a_connected_client_is_told_of_arrivals_alone(self):
        self.look()
        watcher = self.select()
        self.mhsync("reindex", "+inbox")
        self.assertNothing(watcher.ok("NOOP"))
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        self.mhsync("reindex", "+inbox")
        told = watcher.ok("NOOP")
        self.assertEqual([line.number for line in told.all("EXISTS")], [COUNT + 1])
        self.assertEqual(told.all("EXPUNGE"), [])
        self.assertEqual(self.look().uids, list(range(1, COUNT + 2)))

    def test_a_reply_annotated_before_the_first_look_sets_answered(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-inplace")
        got, = self.mhsync_json("reindex", "+inbox")
        self.assertEqual(got["given"], COUNT)
        self.assertIn("\\Answered", self.look().flags(4))
        self.assertNotIn("\\Answered", self.look().flags(3))

    def test_a_reply_annotated_between_two_sessions_sets_answered(self):
        self.look()
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-inplace")
        got, = self.mhsync_json("reindex", "+inbox")
        self.assertEqual(got["left"], 1)
        self.assertIn("\\Answered", self.look().flags(4))

    def test_a_message_edited_between_two_sessions_keeps_its_flags(self):
        self.look()
        with open(self.nmh.file("inbox", 3), "ab") as message:
            message.write(b"more\n")
        self.mhsync("reindex", "+inbox")
        after = self.look()
        self.assertEqual(after.uids, [1, 2, 4, 5, 6, 7])
        self.assertEqual(after.flags(7), {"\\Seen", "\\Flagged"})

    def test_a_message_refiled_between_two_sessions_keeps_its_flags(self):
        self.look()
        self.mhsync("reindex", "+inbox")
        self.imap().logout()
        self.nmh.make_folder("work")
        self.imap().ok("STATUS work (MESSAGES)")
        self.nmh.run("refile", "+work", "-src", "+inbox", "3")
        self.mhsync("reindex", "--all")
        moved = History(self).look(self.imap(), "work")
        self.assertEqual([moved.flags(uid) for uid in moved.uids], [{"\\Seen", "\\Flagged"}])
        self.assertEqual(self.look().uids, [1, 2, 4, 5, 6])

    @runner.needs_root
    def test_messages_of_another_group_are_left_alone_and_told_of(self):
        runner.as_root("chgrp", "root", self.nmh.file("inbox", 2))
        before = self.files()[2]
        got, = self.mhsync_json("reindex", "+inbox")
        self.assertEqual((got["tagged"], got["refused"], got["remaining"]), (COUNT - 1, 1, 0))
        self.assertEqual(self.files()[2], before)
        self.assertEqual(self.look().uids, list(range(1, COUNT + 1)))

    def test_dry_run_changes_nothing(self):
        self.look()
        self.nmh.put("inbox", 7, mail_maker.plain(7))
        before = self.files()
        got, = self.mhsync_json("--dry-run", "reindex", "+inbox")
        self.assertEqual((got["given"], got["tagged"], got["dry_run"]), (1, COUNT + 1, True))
        self.assertEqual(self.files(), before)

    def test_all_folders_of_a_tree_and_none_of_the_hidden(self):
        for name in ("work", "work/2024", ".hidden"):
            self.nmh.put(name, 1, mail_maker.plain(1), mtime=OLD)
        got = self.mhsync_json("reindex", "--all")
        self.assertEqual([each["folder"] for each in got], ["+inbox", "+work", "+work/2024"])
        self.assertIsNone(self.nmh.tag(".hidden", 1))

    def test_restored_passes_over_uids(self):
        self.look()
        self.mhsync("reindex", "--restored", "+inbox")
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        after = self.look()
        self.assertEqual(after.uids[:COUNT], list(range(1, COUNT + 1)))
        self.assertGreater(after.uids[-1], 1 << 20)


class WayBack(Filled):
    def test_remove_tags_gives_back_every_byte_mtime_and_mode(self):
        self.nmh.put("inbox", 7, b"From me Thu Jan  1 00:00:00 2004\n" + mail_maker.plain(7),
                     mtime=OLD, mode=0o640)
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-inplace")
        before = self.files()
        self.mhsync("reindex", "+inbox")
        self.assertNotEqual(self.files(), before)
        seen = self.look()
        got, = self.mhsync_json("reindex", "--remove-tags", "+inbox")
        self.assertEqual((got["untagged"], got["remaining"]), (COUNT + 1, 0))
        self.assertEqual(self.files(), before)
        after = self.look()
        self.assertEqual(after.uids, seen.uids)
        self.assertEqual(after.uidvalidity, seen.uidvalidity)
        self.assertEqual(after.all_flags(), seen.all_flags())

    def test_without_tags_uids_outlive_the_store_and_the_index(self):
        self.mhsync("reindex", "+inbox")
        seen = self.look()
        self.mhsync("reindex", "--remove-tags", "+inbox")
        for top, _, files in os.walk(os.path.join(self.root, ".mhsync")):
            for name in files:
                if name == "store.db" or name.startswith("dovecot.index"):
                    os.unlink(os.path.join(top, name))
        after = self.look()
        self.assertEqual(after.uids, seen.uids)

    def test_no_tag_is_written_until_tag_is_asked_for(self):
        self.mhsync("reindex", "+inbox")
        self.mhsync("reindex", "--remove-tags", "+inbox")
        self.force_resync()
        self.mhsync("reindex", "+inbox")
        self.assertEqual([self.nmh.tag("inbox", n) for n in self.nmh.numbers()], [None] * COUNT)
        got, = self.mhsync_json("reindex", "--tag", "+inbox")
        self.assertEqual((got["tagged"], got["remaining"]), (COUNT, 0))
        self.assertEqual([self.nmh.tag("inbox", n).uid for n in self.nmh.numbers()],
                         list(range(1, COUNT + 1)))

    def test_a_field_that_anno_put_above_the_tag_stays_and_is_no_part_of_the_message(self):
        self.mhsync("reindex", "+inbox")
        self.nmh.run("anno", "+inbox", "4", "-component", "X-Note", "-text", "mine", "-nodate",
                     "-inplace")
        seen = self.look()
        self.mhsync("reindex", "--remove-tags", "+inbox")
        self.assertEqual(self.files()[4][0], b"X-Note: mine\n" + mail_maker.plain(4))
        self.assertEqual(self.look().uids, seen.uids)

    def test_a_connected_client_sees_nothing(self):
        self.mhsync("reindex", "+inbox")
        self.look()
        watcher = self.select()
        self.mhsync("reindex", "--remove-tags", "+inbox")
        self.assertNothing(watcher.ok("NOOP"))
        self.look()


class Killed(Filled):
    def setUp(self):
        super().setUp()
        self.image = os.path.join(self.home, "image")

    def take_image(self):
        shutil.copytree(self.root, self.image, copy_function=shutil.copy2)

    def every_kill(self, *arguments):
        """Each point at which a run was killed, on the same tree each time."""
        self.original = os.path.join(self.home, "original")
        gate = self.gate()

        def put_back():
            # By rename: the files keep identity, so that the journal is the one that was written.
            self.prepare_tree()

        def work():
            return self.run_mhsync(*arguments, env=gate.environment())[0]

        for point in gate.every_point(put_back, work, actions=("kill",)):
            self.assertEqual(point.result, -signal.SIGKILL, point)
            yield point

    def prepare_tree(self):
        for name in os.listdir(self.root):
            shutil.rmtree(os.path.join(self.root, name))
        for n in range(1, 4):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", {"unseen": "2", "flagged": "3"})
        self.plain = self.files()

    def visible(self):
        return {n: self.nmh.visible("inbox", n) for n in self.nmh.numbers()}

    def test_reindex_killed_anywhere_is_finished_by_the_next_run(self):
        want = {n: mail_maker.plain(n) for n in range(1, 4)}
        for point in self.every_kill("reindex", "+inbox"):
            with self.subTest(point=repr(point)):
                self.assertEqual(self.visible(), want)
                self.mhsync("reindex", "+inbox")
                self.assertEqual(self.visible(), want)
                tags = [self.nmh.tag("inbox", n) for n in range(1, 4)]
                self.assertNotIn(None, tags)
                self.assertEqual(len({tag.uid for tag in tags}), 3)
                self.assertEqual(self.nmh.sequences(), {"unseen": {2}, "flagged": {3}})

    def test_remove_tags_killed_anywhere_is_finished_by_the_next_run(self):
        plain_tree = self.prepare_tree

        def tagged_tree():
            plain_tree()
            self.mhsync("reindex", "+inbox")
            self.uids = [self.nmh.tag("inbox", n).uid for n in range(1, 4)]
        self.prepare_tree = tagged_tree
        want = {n: mail_maker.plain(n) for n in range(1, 4)}
        for point in self.every_kill("reindex", "--remove-tags", "+inbox"):
            with self.subTest(point=repr(point)):
                self.assertEqual(self.visible(), want)
                self.mhsync("reindex", "--remove-tags", "+inbox")
                self.assertEqual(self.files(), self.plain)
                self.mhsync("reindex", "--tag", "+inbox")
                self.assertEqual([self.nmh.tag("inbox", n).uid for n in range(1, 4)], self.uids)


class Frame(Filled):
    def test_exit_codes_of_the_command_line(self):
        for code, *arguments in ((64,), (64, "nonsense"), (64, "status"),
                                 (64, "status", "+inbox", "--all"), (64, "status", "+nowhere"),
                                 (64, "--lock-timeout", "x", "status", "+inbox"),
                                 (64, "status", "+../inbox"), (64, "status", "/etc"),
                                 (78, "--root", "/nowhere", "status", "+inbox"),
                                 (0, "--help"), (0, "--version"), (0, "status", "--help")):
            got, out, err = self.run_mhsync(*arguments)
            self.assertEqual(got, code, f"{arguments}\n{out}{err}")
            if code != 0:
                self.assertTrue(err.strip(), arguments)

    def test_without_profile_and_root_it_says_so(self):
        os.unlink(os.path.join(self.home, ".mh_profile"))
        got, _, err = self.run_mhsync("status", "+inbox")
        self.assertEqual(got, 78)
        self.assertIn("--root", err)
        self.mhsync("--root", self.root, "status", "+inbox")

    def test_a_folder_by_its_path(self):
        for name in ("Mail/inbox", self.nmh.folder("inbox"), "./Mail/inbox/"):
            got, = self.mhsync_json("status", name)
            self.assertEqual(got["folder"], "+inbox")

    def test_one_folder_s_failure_does_not_stop_the_others(self):
        self.nmh.put("dead", 1, mail_maker.plain(1), mtime=OLD)
        os.chmod(self.nmh.folder("dead"), 0)
        got, out, err = self.run_mhsync("reindex", "--all")
        os.chmod(self.nmh.folder("dead"), 0o700)
        self.assertEqual(got, 77, err)
        self.assertIn("+dead", err)
        self.assertIn("+inbox: 6 UIDs given", out)

    def test_a_busy_folder_names_its_holder(self):
        self.mhsync("reindex", "+inbox")
        gate = self.gate()
        gate.hold_at("rename/1")
        os.unlink(self.nmh.file("inbox", 1))
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        first = self.start("reindex", "+inbox", env=gate.environment())
        self.assertTrue(gate.wait_until_held(first))
        got, _, err = self.run_mhsync("--lock-timeout", "0.1", "reindex", "+inbox")
        gate.go()
        out, first_err = first.communicate(timeout=60)
        self.assertEqual(got, 75, err)
        self.assertIn(f"pid {first.pid}", err)
        self.assertEqual(first.returncode, 0, out + first_err)

    def test_a_signal_stops_between_two_steps(self):
        gate = self.gate()
        gate.hold_at("rename/1")
        running = self.start("reindex", "+inbox", env=gate.environment())
        self.assertTrue(gate.wait_until_held(running))
        running.send_signal(signal.SIGTERM)
        gate.go()
        out, err = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 75, out + err)
        self.assertIn("stopped by a signal", err)
        self.mhsync("reindex", "+inbox")
        self.assertEqual([self.nmh.tag("inbox", n).uid for n in range(1, COUNT + 1)],
                         list(range(1, COUNT + 1)))


if __name__ == "__main__":
    runner.main(prepare)
