# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is not supported is refused in words, and nothing has changed afterwards."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402


class Refusals(MhTestCase):
    def setUp(self):
        super().setUp()
        for n in (1, 2, 3):
            self.nmh.put("work", n, mail_maker.plain(n))
        os.makedirs(self.nmh.folder("other"))
        self.client = self.imap()
        self.client.select("work")

    def refused(self, *command):
        answer = self.client.command(*command)
        self.assertEqual(answer.status, "NO", command)
        self.assertIn("not supported in MH folders yet", answer.text)
        self.assertEqual(answer.codes("CANNOT"), [""])

    def unchanged(self):
        self.assertEqual(sorted(self.nmh.numbers("work")), [1, 2, 3])
        self.assertEqual(self.imap().select("work").exists, 3)
        self.assertEqual(self.imap().select("other").exists, 0)

    def test_expunge_removes_nothing_and_says_so(self):
        self.client.ok("STORE 2 +FLAGS (\\Deleted)")
        self.refused("EXPUNGE")
        self.refused("UID EXPUNGE 1:*")
        self.assertIn("\\Deleted", self.client.flags()[2])
        self.unchanged()

    def test_close_keeps_what_is_deleted(self):
        self.client.ok("STORE 2 +FLAGS (\\Deleted)")
        self.client.ok("CLOSE")
        self.unchanged()

    def test_copy_and_move_store_nothing(self):
        self.refused("COPY 1 other")
        self.refused("MOVE 1 other")
        self.unchanged()

    def test_folders_are_neither_deleted_nor_renamed(self):
        self.refused("DELETE other")
        self.refused("RENAME other another")
        self.unchanged()

    def test_a_folder_can_be_created(self):
        self.client.ok("CREATE new/sub")
        self.assertTrue(os.path.isdir(self.nmh.folder("new/sub")))
        self.assertEqual(self.client.command("CREATE new/sub").status, "NO")
        self.assertEqual(self.client.command("CREATE .dot").status, "NO")
        self.assertEqual(self.client.select("new/sub").exists, 0)

    def test_a_flag_after_a_refusal_is_stored(self):
        self.refused("COPY 1 other")
        self.client.ok("STORE 1 +FLAGS (\\Flagged)")
        self.assertIn("\\Flagged", self.client.flags()[1])


if __name__ == "__main__":
    runner.main(prepare)
