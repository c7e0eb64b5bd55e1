# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is shipped to be copied works: the sample configuration, the mhl file; and it says the same as the README."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402

SOURCE = os.environ.get("top_srcdir") or os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                                      "..", "..")
_text = {}


def read_sources():
    """While every account can still be that reads them: the tests may run as another."""
    for name in ("README", "conf.d/90-mh.conf", "conf.d/mhl.format", "plugin/mh-settings.cc"):
        with open(os.path.join(SOURCE, name), encoding="utf-8") as file:
            _text[name] = file.read()
    prepare()


def uncommented(sample):
    """Each line of the form "#name = value" (no blank after the #) without its #."""
    return re.sub(r"^( *)#(\w+ = )", r"\1\2", sample, flags=re.MULTILINE)


class SampleConfiguration(MhTestCase):
    def config(self, sample):
        """A configuration that has this user's server's services and then the sample."""
        path = os.path.join(self.home, "sample.conf")
        with open(self.server.config_path, encoding="utf-8") as base:
            text = base.read()
        with open(path, "w", encoding="utf-8") as config:
            config.write(text + "\n" + sample)
        return path

    def doveconf(self, path, *args):
        done = subprocess.run([private_dovecot.tool("doveconf"), "-c", path, *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_as_shipped_it_changes_nothing(self):
        plain = self.doveconf(self.config(""), "-n")
        shipped = self.doveconf(self.config(_text["conf.d/90-mh.conf"]), "-n")
        self.assertEqual(plain.splitlines()[1:], shipped.splitlines()[1:])

    def test_every_line_taken_serves_mail_without_a_warning(self):
        sample = re.sub(r"^#mail_location = .*INDEX=.*\n", "", _text["conf.d/90-mh.conf"],
                        flags=re.MULTILINE)
        path = self.config(uncommented(sample))
        self.assertIn("mh_refile_flags = yes", self.doveconf(path, "-n"))
        self.assertIn("$Junk=junk $MDNSent=mdnsent\n",
                      self.doveconf(path, "-h", "plugin/mh_keyword_map"))
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        done = subprocess.run([private_dovecot.tool("doveadm"), "-c", path, "mailbox", "status",
                               "-u", self.user.name, "messages", "INBOX"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("messages=1", done.stdout)

    def test_the_index_may_lie_elsewhere_as_the_sample_says(self):
        location = re.search(r"^#mail_location = (.*INDEX=.*)$", _text["conf.d/90-mh.conf"],
                             re.MULTILINE).group(1)
        indexes = os.path.join(self.home, "indexes")
        location = location.replace("/var/lib/dovecot/mh-index", indexes)
        self.assertIn(indexes, location)
        self.nmh.put("inbox", 1, mail_maker.plain(1))
        user = self.new_user(home=self.home, mail=location.replace("%u", "someone"))
        self.assertEqual(self.imap(user).select("INBOX").exists, 1)
        found = [name for _top, _dirs, names in os.walk(indexes) for name in names]
        self.assertIn("dovecot.index.log", found)

    def test_sample_readme_and_plugin_know_the_same_settings(self):
        known = set(re.findall(r'\{"(mh_\w+)",', _text["plugin/mh-settings.cc"]))
        self.assertIn("mh_profile", known)
        sample = set(re.findall(r"^ *#(mh_\w+) = ", _text["conf.d/90-mh.conf"], re.MULTILINE))
        readme = set(re.findall(r"^ *(mh_\w+)  ", _text["README"], re.MULTILINE))
        self.assertEqual(sample, known)
        self.assertEqual(readme, known)


class Mhl(MhTestCase):
    TAG = b"X-MH-UID: 0000000001.0000000002 " + b"0" * 32 + (
        b" 0000000003 0000000003 0000000100 0123456789abcdef 0123456789abcdef\n")

    def shown(self):
        with open(self.nmh.file("inbox", 1), "rb") as file:
            content = file.read()
        self.assertTrue(content.startswith(self.TAG))
        return self.nmh.run("show", "+inbox", "1")

    def setUp(self):
        super().setUp()
        if not self.nmh.installed():
            self.skipTest("nmh is not installed")

    def sample_in_place(self):
        for name in ("mhl.format", "mhl.headers"):
            with open(os.path.join(self.root, name), "w", encoding="utf-8") as file:
                file.write(_text["conf.d/mhl.format"])

    def test_show_of_a_plain_message_hides_the_line(self):
        self.nmh.put("inbox", 1, self.TAG + b"X-Other: kept\nFrom: a@example.org\n\nbody\n")
        self.assertIn("X-MH-UID", self.shown())
        self.sample_in_place()
        shown = self.shown()
        self.assertNotIn("X-MH-UID", shown)
        self.assertIn("X-Other: kept", shown)
        self.assertIn("body", shown)

    def test_show_of_a_mime_message_hides_the_line(self):
        self.nmh.put("inbox", 1, self.TAG + b"From: a@example.org\nMIME-Version: 1.0\n"
                     b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nthe part\n--b--\n")
        self.assertIn("X-MH-UID", self.shown())
        self.sample_in_place()
        shown = self.shown()
        self.assertNotIn("X-MH-UID", shown)
        self.assertIn("the part", shown)

    def test_the_line_of_the_readme_adapts_the_files_that_are_there(self):
        command = re.search(r"^ *(for f in mhl\.format .*)$", _text["README"], re.MULTILINE)
        if not os.path.exists("/etc/nmh/mhl.format"):
            self.skipTest("no /etc/nmh/mhl.format")
        self.nmh.put("inbox", 1, self.TAG + b"X-Other: kept\nFrom: a@example.org\n\nbody\n")
        subprocess.run(["sh", "-ec", command.group(1)], env=self.nmh.environment(), check=True)
        shown = self.shown()
        self.assertNotIn("X-MH-UID", shown)
        self.assertIn("X-Other: kept", shown)

    def test_the_way_back_takes_the_line_out_and_nothing_else(self):
        command = re.search(r"^ *(s=\$\(mktemp\); grep .*)$", _text["README"], re.MULTILINE)
        messages = [b"From: a\n\nbody\n", b"From: a\r\n\r\n" + self.TAG, b"\n" + self.TAG,
                    b"From: a\n\nno end, \0 and \xff"]
        tagged = {}
        for number, message in enumerate(messages, 1):
            above = b"Replied: today\n" if number == 4 else b""
            content = message if number == 3 else above + self.TAG + message
            self.nmh.put("deep/er", number, content, mtime=10**9 + number, mode=0o640)
            tagged[number] = above + message
        untouched = self.nmh.put("inbox", 1, b"Subject: without\n\n")
        inode = os.stat(untouched).st_ino
        self.nmh.run("sh", "-ec", command.group(1))
        for number, message in tagged.items():
            self.assertEqual(self.nmh.read("deep/er", number), message)
            status = os.stat(self.nmh.file("deep/er", number))
            self.assertEqual((int(status.st_mtime), status.st_mode & 0o777),
                             (10**9 + number, 0o640))
        self.assertEqual(os.stat(untouched).st_ino, inode)


if __name__ == "__main__":
    runner.main(read_sources)
