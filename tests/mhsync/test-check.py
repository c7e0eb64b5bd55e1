#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync check: each thing that can be wrong is found and nothing else; nothing is written."""

import json
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402

OLD = 1_234_500_000


class Check(MhsyncCase):
    warm = False        # no state of a folder that is gone

    def setUp(self):
        super().setUp()
        for n in range(1, 5):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", {"unseen": "2"})
        self.mhsync("reindex", "--all")

    def found(self, *arguments):
        """The problems as (kind, about)."""
        code, out, err = self.run_mhsync("--json", "check", *(arguments or ["+inbox"]))
        objects = [json.loads(line) for line in out.splitlines()]
        got = [(each["kind"], each["about"]) for each in objects if each["type"] == "problem"]
        self.assertEqual(code, 1 if got else 0, out + err)
        return got

    def test_a_tree_at_work_is_clean(self):
        self.nmh.make_folder("work")
        self.nmh.run("refile", "+work", "-src", "+inbox", "1")
        self.nmh.put("inbox", 9, mail_maker.plain(9), mtime=OLD)
        self.nmh.run("rmm", "+inbox", "3")
        self.assertEqual(self.found("--all"), [])
        self.select().ok("NOOP")
        self.assertEqual(self.found("--all"), [])

    def test_names_that_break_nmh(self):
        for name in ("007", "2147483547"):
            with open(os.path.join(self.nmh.folder("inbox"), name), "w") as message:
                message.write("From: a\n\n")
        os.mkdir(os.path.join(self.nmh.folder("inbox"), "12"))
        os.symlink("1", os.path.join(self.nmh.folder("inbox"), "13"))
        self.assertEqual(sorted(self.found()),
                         [("name", "007"), ("name", "2147483547"), ("no-file", "13"),
                          ("numeric-folder", "12")])

    def test_sequences(self):
        self.nmh.write_sequences("inbox", "unseen: 2 77-79\nno colon\nwork: 1\n")
        self.assertEqual(self.found(), [("sequences-malformed", ""), ("sequence-stale", "unseen")])

    def test_messages_that_are_empty_or_unreadable(self):
        with open(self.nmh.file("inbox", 2), "wb"):
            pass
        os.utime(self.nmh.file("inbox", 2), (OLD, OLD))
        os.chmod(self.nmh.file("inbox", 3), 0)
        self.eventually(lambda: self.found() == [("empty", "2"), ("unreadable", "3")], timeout=20,
                        interval=1)

    def test_a_content_that_changed_under_the_same_size_and_date(self):
        path = self.nmh.file("inbox", 2)
        stat = os.stat(path)
        with open(path, "r+b") as message:
            message.seek(-2, os.SEEK_END)
            message.write(b"X")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        self.assertEqual(self.found(), [("changed", "2")])

    def test_a_copy_with_the_line_of_its_original(self):
        shutil.copy2(self.nmh.file("inbox", 2), self.nmh.file("inbox", 8))
        self.assertEqual(self.found(), [("same-tag", "8")])
        self.mhsync("reindex", "+inbox")
        self.assertEqual(self.found(), [])

    def test_a_lost_store_whose_records_the_journal_still_has_is_nothing(self):
        for top, _, files in os.walk(os.path.join(self.root, ".mhsync")):
            if "store.db" in files:
                os.unlink(os.path.join(top, "store.db"))
        self.assertEqual(self.found(), [])

    def test_the_profile_and_what_is_left_of_folders(self):
        self.nmh.put("gone", 1, mail_maker.plain(1), mtime=OLD)
        self.mhsync("reindex", "+gone")
        gone = self.nmh.folder("gone")
        shutil.rmtree(gone)
        with open(os.path.join(self.root, "context"), "w") as context:
            context.write(f"Current-Folder: inbox\natr-mine-{gone}: 1\n")
        self.nmh.components.pop("Unseen-Sequence")
        self.nmh.write_profile()
        self.assertEqual(self.found("--all"),
                         [("no-unseen-sequence", os.path.join(self.home, ".mh_profile")),
                          ("private-orphan", gone), ("orphan-state", "gone")])

    def test_it_writes_nothing(self):
        def everything():
            found = {}
            for top, folders, files in os.walk(self.home):
                for name in folders + files:
                    stat = os.lstat(os.path.join(top, name))
                    found[os.path.join(top, name)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
            return found
        before = everything()
        self.found("--all")
        self.assertEqual(everything(), before)


if __name__ == "__main__":
    runner.main(prepare)
