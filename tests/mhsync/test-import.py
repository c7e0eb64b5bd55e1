#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync import-uids: UIDs of asimap and of GNU mailutils go on, and no UID is given twice."""

import os
import shutil
import signal
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402

OLD = 1_234_500_000
JUMP = 1 << 20


class Imported(MhsyncCase):
    def setUp(self):
        super().setUp()
        for n in range(1, 7):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", {"unseen": "2 5", "flagged": "3"})

    def database(self, rows, columns=("msg_keys", "last_resync"), path=None):
        """asimap.db with {folder: (uid_vv, next_uid, uids, msg_keys[, last_resync])}."""
        path = path or os.path.join(self.root, "asimap.db")
        if os.path.exists(path):
            os.unlink(path)
        with sqlite3.connect(path) as made:
            made.execute("create table mailboxes (id integer primary key, name text, uid_vv integer, "
                         "attributes text, mtime integer, next_uid integer, num_msgs integer, "
                         "num_recent integer, uids text default '')")
            for column in columns:
                made.execute(f"alter table mailboxes add column {column}")
            for name, row in rows.items():
                uid_vv, next_uid, uids, msg_keys = row[:4]
                made.execute("insert into mailboxes (name, uid_vv, next_uid, uids) values (?,?,?,?)",
                             (name, uid_vv, next_uid, uids))
                values = {"msg_keys": msg_keys,
                          "last_resync": row[4] if len(row) > 4 else int(time.time()) + 3}
                for column in columns:
                    made.execute(f"update mailboxes set {column}=? where name=?",
                                 (values[column], name))
        made.close()
        return path

    def take(self, *arguments, source="asimap", folder="+inbox", code=0):
        got, = self.mhsync_json("import-uids", "--from", source, *arguments, folder, code=code)
        return got

    def look(self, folder="INBOX"):
        if not hasattr(self, "history"):
            self.history = History(self)
        return self.history.look(self.imap(), folder)

    def put_with_field(self, number, *fields, folder="inbox"):
        text = mail_maker.plain(number)
        head, body = text.split(b"\n\n", 1)
        for field in fields:
            head += f"\nX-asimapd-uid: {field}".encode()
        self.nmh.put(folder, number, head + b"\n\n" + body, mtime=OLD + number)


class Asimap(Imported):
    def test_uids_go_on_as_the_database_has_them(self):
        self.database({"inbox": (72, 40, "10,20-22,30", "1-5")})
        got = self.take()
        self.assertEqual((got["taken"], got["given"], got["uidvalidity"]), (5, 1, 72))
        box = self.look()
        self.assertEqual((box.uidvalidity, box.uids), (72, [10, 20, 21, 22, 30, 40]))
        self.assertEqual(box.flags(21), {"\\Seen", "\\Flagged"})
        self.assertEqual(box.flags(20), set())
        client = self.select()
        for number, uid in zip(range(1, 7), box.uids):
            self.assertEqual(client.body(uid), mail_maker.plain(number).replace(b"\n", b"\r\n"))
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        self.assertEqual(self.look().uids[-1], 41)

    def test_the_lines_then_written_are_of_these_uids(self):
        self.database({"inbox": (72, 40, "10,20-22,30-31", "1-6")})
        self.take()
        self.mhsync("reindex", "+inbox")
        tags = [self.nmh.tag("inbox", n) for n in range(1, 7)]
        self.assertEqual([tag.uid for tag in tags], [10, 20, 21, 22, 30, 31])
        self.assertEqual({tag.uidvalidity for tag in tags}, {72})
        self.assertEqual(self.look().uids, [10, 20, 21, 22, 30, 31])

    def test_a_tree_that_was_reindexed_but_never_served(self):
        self.mhsync("reindex", "+inbox")
        self.database({"inbox": (72, 40, "10,20-22,30-31", "1-6")})
        self.assertEqual(self.take("--trust-numbers")["taken"], 6)
        self.mhsync("reindex", "+inbox")
        for n, uid in zip(range(1, 7), (10, 20, 21, 22, 30, 31)):
            self.assertEqual(self.nmh.tag("inbox", n).uid, uid)
            self.assertEqual(self.nmh.visible("inbox", n), mail_maker.plain(n))
        self.assertEqual(self.look().uids, [10, 20, 21, 22, 30, 31])

    def test_messages_renumbered_since_asimap_looked_get_new_uids(self):
        seen = int(time.time()) + 2
        while time.time() < seen + 1:
            time.sleep(0.1)
        for old, new in ((2, 9), (3, 2)):
            os.rename(self.nmh.file("inbox", old), self.nmh.file("inbox", new))
        self.database({"inbox": (72, 40, "10-15", "1-6", seen)})
        got = self.take()
        self.assertEqual((got["taken"], got["given"]), (4, 2))
        self.assertEqual(self.look().uids, [10, 13, 14, 15, 40, 41])

    def test_whoever_knows_better_may_trust_the_numbers(self):
        self.database({"inbox": (72, 40, "10-15", "1-6", 5)})
        self.assertEqual(self.take("--dry-run")["taken"], 0)
        self.assertEqual(self.take("--trust-numbers")["taken"], 6)

    def test_fields_in_the_messages_where_there_is_no_database(self):
        for number, field in ((1, "0000000072.0000000088"), (2, "72.90"), (3, "72 . 89"),
                              (4, "71.1"), (5, "rubbish")):
            self.put_with_field(number, field)
        got = self.take()
        self.assertEqual((got["taken"], got["given"], got["uidvalidity"]), (3, 3, 72))
        box = self.look()
        self.assertEqual(box.uids, [88, 89, 90] + [90 + JUMP + n for n in range(3)])
        self.assertIn(b"X-asimapd-uid: 72 . 89\r\n", self.select().body(89))   # as asimap showed it

    def test_two_messages_with_one_field_have_neither(self):
        self.put_with_field(1, "72.88")
        self.put_with_field(2, "72.88")
        self.put_with_field(3, "72.89", "72.89")
        self.put_with_field(4, "72.90", "72.91")
        got = self.take()
        self.assertEqual((got["taken"], got["given"]), (1, 5))
        self.assertEqual(self.look().uids[0], 89)

    def test_a_field_that_contradicts_the_database_is_nobody_s(self):
        self.put_with_field(1, "72.10")
        self.put_with_field(2, "72.13")
        self.database({"inbox": (72, 40, "10-15", "1-6")})
        self.assertEqual(self.take()["taken"], 5)
        self.assertEqual(self.look().uids, [10, 12, 13, 14, 15, 40])

    def test_a_database_of_before_it_kept_numbers(self):
        for number in range(1, 7):
            self.put_with_field(number, f"72.{9 + number}")
        self.database({"inbox": (72, 40, "10-14", "")}, columns=())
        self.assertEqual(self.take()["taken"], 5)

    def test_a_folder_that_asimap_did_not_know(self):
        self.database({"other": (72, 40, "10", "1")})
        self.assertEqual(self.take()["taken"], 0)
        self.assertNotEqual(self.look().uidvalidity, 72)

    def test_a_database_elsewhere(self):
        path = self.database({"inbox": (72, 40, "10-15", "1-6")},
                             path=os.path.join(self.home, "old.db"))
        self.assertEqual(self.take()["taken"], 0)
        self.assertEqual(self.take("--database", path)["taken"], 6)

    def test_all_folders(self):
        self.nmh.put("work/2024", 1, mail_maker.plain(1), mtime=OLD)
        self.database({"inbox": (72, 40, "10-15", "1-6"), "work/2024": (73, 6, "5", "1")})
        got = self.mhsync_json("import-uids", "--from", "asimap", "--all")
        self.assertEqual([each["taken"] for each in got], [6, 0, 1])
        self.assertEqual(self.look("work/2024").uids, [5])


class Mailutils(Imported):
    def put_properties(self, text):
        with open(os.path.join(self.nmh.folder("inbox"), ".mu-prop"), "w") as properties:
            properties.write(text)

    def test_its_uids_are_numbers(self):
        self.put_properties("uidnext: 6\nuid-validity: 1111111111\n\n")
        self.assertIn("--trust-numbers", self.take(source="mailutils", code=1)["refused"])
        got = self.take("--trust-numbers", source="mailutils")
        self.assertEqual((got["taken"], got["given"]), (5, 1))
        box = self.look()
        self.assertEqual((box.uidvalidity, box.uids), (1111111111, [1, 2, 3, 4, 5, 6]))

    def test_the_other_spelling(self):
        self.put_properties("next-uid: 100\nuid-validity: 1111111111\n")
        self.take("--trust-numbers", source="mailutils")
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        self.assertEqual(self.look().uids, [1, 2, 3, 4, 5, 6, 100])

    def test_properties_that_say_nothing(self):
        for text in ("", "uidnext: 6\n", "uid-validity: x\nuidnext: 5\n"):
            self.put_properties(text)
            self.assertEqual(self.take("--trust-numbers", source="mailutils")["taken"], 0)


class Refused(Imported):
    def test_a_folder_that_was_served(self):
        box = self.look()
        self.database({"inbox": (72, 40, "10-15", "1-6")})
        self.assertIn("served", self.take("--trust-numbers", code=1)["refused"])
        self.assertEqual(self.look().uids, box.uids)

    def test_a_uidvalidity_of_another_folder(self):
        self.nmh.put("other", 1, mail_maker.plain(1), mtime=OLD)
        self.database({"inbox": (72, 40, "10-15", "1-6"), "other": (72, 6, "5", "1")})
        self.take()
        self.assertIn("inbox", self.take(folder="+other", code=1)["refused"])
        self.assertNotEqual(self.look("other").uidvalidity, 72)

    def test_a_uidvalidity_that_may_be_one_of_ours(self):
        for uidvalidity in (int(time.time()) + 5, 4294967295):
            self.database({"inbox": (uidvalidity, 40, "10-15", "1-6")})
            self.assertIn("another folder", self.take(code=1)["refused"])
        self.nmh.put("fresh", 1, mail_maker.plain(1), mtime=OLD)
        self.assertLess(self.look("fresh").uidvalidity, 4294967295)

    def test_impossible_values(self):
        for row in ((0, 40, "10-15", "1-6"), (72, 0, "", ""), (72, 4294967295, "10-15", "1-6"),
                    (-5, 40, "1-6", "1-6")):
            self.database({"inbox": row})
            self.assertEqual(self.take(code=1)["taken"], 0)

    def test_uids_at_or_above_uidnext(self):
        self.database({"inbox": (72, 14, "10-15", "1-6")})
        self.assertEqual(self.take()["taken"], 4)
        self.assertEqual(self.look().uids, [10, 11, 12, 13, 14, 15])

    def test_what_is_no_database(self):
        with open(os.path.join(self.root, "asimap.db"), "w") as rubbish:
            rubbish.write("rubbish" * 1000)
        code, _, err = self.run_mhsync("import-uids", "--from", "asimap", "+inbox")
        self.assertEqual(code, 65, err)
        for uids in ("1-", "x", "1-4000000000"):
            self.database({"inbox": (72, 40, uids, "1-6")})
            code, _, err = self.run_mhsync("import-uids", "--from", "asimap", "+inbox")
            self.assertEqual(code, 65, err)
        code, _, err = self.run_mhsync("import-uids", "--from", "asimap", "--database", "/nowhere",
                                       "+inbox")
        self.assertEqual(code, 64, err)

    def test_dry_run_makes_nothing(self):
        shutil.rmtree(os.path.join(self.root, ".mhsync"), ignore_errors=True)
        self.database({"inbox": (72, 40, "10,20-22,30", "1-5")})
        got = self.take("--dry-run")
        self.assertEqual((got["taken"], got["given"], got["dry_run"]), (5, 1, True))
        self.assertFalse(os.path.exists(os.path.join(self.root, ".mhsync")))


class Again(Imported):
    def test_a_second_run_finds_it_done_whatever_the_numbers_are_by_now(self):
        self.database({"inbox": (72, 40, "10-15", "1-6")})
        self.take()
        self.nmh.run("rmm", "+inbox", "1")
        self.nmh.run("folder", "+inbox", "-pack")
        self.assertTrue(self.take("--trust-numbers")["before"])
        self.assertEqual(self.look().uids, [11, 12, 13, 14, 15])

    def every(self, actions):
        gate = self.gate()

        def put_back():
            for name in os.listdir(self.root):
                path = os.path.join(self.root, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            for n in range(1, 5):
                self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
            self.nmh.write_sequences("inbox", {"unseen": "2"})
            self.database({"inbox": (72, 40, "10,20-21", "1-3")})

        def work():
            return self.run_mhsync("import-uids", "--from", "asimap", "+inbox",
                                   env=gate.environment())[0]

        yield from gate.every_point(put_back, work, actions=actions)

    def ends_well(self, point):
        with self.subTest(point=repr(point)):
            self.mhsync("import-uids", "--from", "asimap", "+inbox")
            self.mhsync("reindex", "+inbox")
            tags = [self.nmh.tag("inbox", n) for n in range(1, 5)]
            self.assertEqual([(tag.uidvalidity, tag.uid) for tag in tags],
                             [(72, 10), (72, 20), (72, 21), (72, 40)])
            self.assertEqual([self.nmh.visible("inbox", n) for n in range(1, 5)],
                             [mail_maker.plain(n) for n in range(1, 5)])

    def test_killed_anywhere_the_next_run_ends_as_one_that_was_not(self):
        for point in self.every(("kill",)):
            self.assertEqual(point.result, -signal.SIGKILL, point)
            self.ends_well(point)

    def test_failed_anywhere_the_next_run_ends_as_one_that_was_not(self):
        for point in self.every(("fail EIO", "fail ENOSPC")):
            self.assertIn(point.result, (0, 1, 65, 74, 77), point)
            self.ends_well(point)


if __name__ == "__main__":
    runner.main(prepare)
