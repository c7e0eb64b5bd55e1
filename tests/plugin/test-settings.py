# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mh_ settings: each is checked when a session begins and says clearly what is wrong with it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402


class Settings(MhTestCase):
    def setUp(self):
        super().setUp()
        self.nmh.put("inbox", 1, mail_maker.plain(1))

    def with_settings(self, **fields):
        return self.new_user(home=self.home, **fields)

    def test_an_unknown_name_is_said_once_and_mail_is_served(self):
        user = self.with_settings(mh_unsen_grace="5")
        client = self.imap(user)
        self.assertEqual(client.select().exists, 1)
        client.status("INBOX", "MESSAGES")
        client.list()
        client.logout()
        lines = [line for line in self.log().splitlines() if "mh_unsen_grace" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("Warning", lines[0])

    def test_a_wrong_value_is_named_with_what_it_may_be(self):
        for name, value in {"mh_new_mail": "sometimes", "mh_unseen_grace": "soon",
                            "mh_lock_timeout": "-1", "mh_keyword_map": "junk",
                            "mh_refile_flags": "perhaps", "mh_profile": "relative",
                            "mh_notify_dir": "relative"}.items():
            with self.subTest(name):
                user = self.with_settings(**{name: value})
                self.allow_log(name)
                done = self.server.doveadm("mailbox", "list", "-u", user.name, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{name} = {value}", done.err)
                self.assertIn("must be", done.err)

    def test_every_setting_in_every_spelling_that_is_documented(self):
        for fields in ({"mh_new_mail": "unseen"}, {"mh_new_mail": "as-mh"},
                       {"mh_unseen_grace": "10s"}, {"mh_unseen_grace": "500ms"},
                       {"mh_lock_timeout": "2m"}, {"mh_keyword_map": "$Junk=junk"},
                       {"mh_hidden_sequences": "one,two"}, {"mh_refile_flags": "no"},
                       {"mh_notify_dir": "~/notify"}):
            with self.subTest(fields):
                client = self.imap(self.with_settings(**fields))
                self.assertEqual(client.select().exists, 1)
                client.logout()

    def test_the_profile_may_lie_elsewhere(self):
        with open(os.path.join(self.home, "profile"), "w") as profile:
            profile.write("Path: Mail\nInbox: incoming\n")
        self.nmh.put("incoming", 1, mail_maker.plain(1))
        self.nmh.put("incoming", 2, mail_maker.plain(2))
        client = self.imap(self.with_settings(mh_profile="~/profile"))
        self.assertEqual(client.select().exists, 2)

    def test_an_unknown_driver_or_missing_plugin_is_dovecots_own_error(self):
        user = self.with_settings(mail_plugins="")
        self.allow_log("Unknown mail storage driver mh")
        done = self.server.doveadm("mailbox", "list", "-u", user.name, check=False)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    runner.main(prepare)
