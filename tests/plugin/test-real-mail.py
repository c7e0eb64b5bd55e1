# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real mail: the SpamAssassin corpus, filed by nmh into nested folders, served as it is.

MH_TEST_LONG=1 takes all 6,046 messages; the short form an even choice of them.
"""

import datetime
import email.utils
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import corpus  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from mail_maker import as_imap, without_from_line  # noqa: E402

SHORT = 1200

# Group of the corpus -> folder.
FOLDERS = {"easy-ham-1": "ham/easy/1", "easy-ham-2": "ham/easy/2", "hard-ham-1": "ham/hard",
           "spam-1": "spam", "spam-2": "spam/later"}


def delivery_date(message):
    """Seconds of a valid Delivery-Date field, else None: our own reading of the header."""
    header = re.split(rb"\r?\n\r?\n", message, maxsplit=1)[0]
    header = re.sub(rb"\r?\n[ \t]+", b" ", header)
    for line in header.splitlines():
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"delivery-date":
            # The form of RFC 5322; what ctime() writes ("Thu Sep  5 23:42:38 2002") is none.
            if not re.match(rb"\s*(\w{3}\s*,)?\s*\d{1,2}\s+\w{3}\s+\d", value):
                return None
            try:
                parsed = email.utils.parsedate_tz(value.decode("latin-1"))
                return email.utils.mktime_tz(parsed) if parsed else None
            except (TypeError, ValueError, OverflowError):
                return None
    return None


class RealMail(MhTestCase):
    def file_all(self):
        """{folder: [(original bytes, mtime, mode)] in the order of their numbers}."""
        folders = {}
        pile = os.path.join(self.home, "pile")
        os.makedirs(pile)
        names = {}
        for at, (group, name, content) in enumerate(
                corpus.messages(None if runner.LONG else SHORT)):
            folder = FOLDERS[group]
            path = os.path.join(pile, f"{group}.{name}")
            with open(path, "wb") as out:
                out.write(content)
            mtime, mode = 1_050_000_000 + 60 * at, (0o600, 0o640)[at % 2]
            os.chmod(path, mode)
            os.utime(path, (mtime, mtime))
            folders.setdefault(folder, []).append((content, mtime, mode))
            names.setdefault(folder, []).append(path)
        for folder, paths in sorted(names.items()):
            self.nmh.run("folder", "+" + folder, "-create")
            for start in range(0, len(paths), 200):
                files = [word for path in paths[start:start + 200] for word in ("-file", path)]
                self.nmh.run("refile", *files, "+" + folder)
            self.assertEqual(self.nmh.numbers(folder), list(range(1, len(paths) + 1)))
        return folders

    def check_served(self, folders):
        client = self.imap()
        self.assertLessEqual({*folders, "INBOX", "ham", "ham/easy"}, set(client.list()))
        seen = {}
        for folder, originals in folders.items():
            box = client.select(folder)
            self.assertEqual(box.exists, len(originals))
            wrong = []
            for start in range(1, len(originals) + 1, 250):
                found = client.fetch(f"{start}:{min(start + 249, len(originals))}",
                                     "BODY.PEEK[] RFC822.SIZE INTERNALDATE", uid=False)
                for number, items in found.items():
                    content, mtime, _ = originals[number - 1]
                    message = without_from_line(content)
                    date = delivery_date(message)
                    when = datetime.datetime.fromtimestamp(mtime if date is None else date,
                                                           datetime.timezone.utc)
                    if items["BODY[]"] != as_imap(message):
                        wrong.append(f"{folder}/{number}: other bytes")
                    if int(items["RFC822.SIZE"]) != len(as_imap(message)):
                        wrong.append(f"{folder}/{number}: size {items['RFC822.SIZE']}")
                    if items["INTERNALDATE"].decode() != when.strftime("%d-%b-%Y %H:%M:%S +0000"):
                        wrong.append(f"{folder}/{number}: {items['INTERNALDATE']}, not {when}")
            self.assertEqual(wrong[:10], [])
            seen[folder] = (box.uidvalidity, client.uids())
        return seen

    def check_cached(self, folders):
        """What Dovecot works out of a message, for every message: none may fail."""
        client = self.imap()
        for folder, originals in folders.items():
            client.select(folder)
            found = client.fetch("1:*", "ENVELOPE BODYSTRUCTURE")
            self.assertEqual(len(found), len(originals))
            for key in ("ARRIVAL", "DATE", "SUBJECT", "SIZE", "FROM"):
                got = client.ok(f"SORT ({key}) UTF-8 ALL").one("SORT").data
                self.assertEqual(sorted(map(int, got)), list(range(1, len(originals) + 1)))
            client.ok("THREAD REFERENCES UTF-8 ALL")

    def check_searched(self, folders):
        client = self.imap()
        for folder, originals in folders.items():
            client.select(folder)
            expected = [n for n, (content, _, _) in enumerate(originals, 1)
                        if re.search(rb"(?im)^Subject:[^\n]*linux", without_from_line(content)
                                     .split(b"\n\n", 1)[0])]
            got = client.search('SUBJECT "linux"', uid=False)
            # Dovecot decodes encoded words too, so it may find more, never less.
            self.assertEqual(sorted(set(expected) - set(got)), [])

    def test_the_corpus_is_served_adopted_and_served_the_same(self):
        folders = self.file_all()
        total = sum(map(len, folders.values()))
        self.assertEqual(total, corpus.COUNT if runner.LONG else SHORT)
        before = self.check_served(folders)
        self.check_cached(folders)
        self.check_searched(folders)
        self.assertEqual(self.check_served(folders), before)

        self.force_resync()
        wrong = []
        for folder, originals in folders.items():
            uidvalidity, uids = before[folder]
            for number, (content, mtime, mode) in enumerate(originals, 1):
                tag = self.nmh.tag(folder, number)
                stat = os.stat(self.nmh.file(folder, number))
                name = f"{folder}/{number}"
                if tag is None:
                    wrong.append(f"{name}: no tag")
                    continue
                if tag.above + tag.message != content:
                    wrong.append(f"{name}: other bytes")
                if (tag.uidvalidity, tag.uid) != (uidvalidity, uids[number - 1]):
                    wrong.append(f"{name}: tagged {tag.uidvalidity}.{tag.uid}")
                if stat.st_mtime_ns != mtime * 10 ** 9 or stat.st_mode & 0o7777 != mode:
                    wrong.append(f"{name}: mtime {stat.st_mtime}, mode {stat.st_mode:o}")
        self.assertEqual(wrong[:10], [])
        self.assertEqual(self.check_served(folders), before)
        for folder in folders:
            self.nmh.run("scan", "+" + folder, "last:5")


def prepare_all():
    prepare()
    corpus.prepare()


if __name__ == "__main__":
    runner.main(prepare_all)
