#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync dedup: which messages are copies, what becomes of them and of their flags.

What is a copy is computed here once more, from the words of mhsync(1) and canonical-message.h and
nothing else, by Python's own means; on real mail both must find the same groups. Then: every way of
keeping and removing, with an IMAP session looking on; killed and failed at every call; two runs at
once, and nmh, each held at every call of the other.
"""

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import corpus  # noqa: E402
import gate as gates  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402
from nmh import find_tag  # noqa: E402

LONG = bool(os.environ.get("MH_TEST_LONG"))
SEED = int(os.environ.get("MH_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
OLD = 1_234_500_000

RECEIVED = ("Received: from mx%d.example.net (mx%d [192.0.2.1])\n\tby mail.example.org with ESMTP "
            "id %08x\n\tfor <bob@example.org>; Thu, 22 Aug 2002 12:00:00 +0100\nDelivered-To: bob%d\n")
RULE = "_" * 47


def altered(content, i):
    """Another way through the net."""
    line_end = b"\r\n" if b"\r\n" in content[:1000] else b"\n"
    trace = RECEIVED % (i, i, i * 2654435761 % (1 << 32), i)
    first = re.match(rb"(From [^\n]*\n)?", content).end()
    return content[:first] + trace.encode().replace(b"\n", line_end) + content[first:]


# -- what a copy is, once more ---------------------------------------------------------------------

TRACE = re.compile(
    r"return-path|received(-.*)?|x-received|(x-)?delivered-to|x-original-to|envelope-to|"
    r"x-envelope-.*|delivery-date|resent-.*|x-originalarrivaltime|dkim-signature|"
    r"domainkey-signature|x-google-.*|arc-.*|authentication-results|x-ms-exchange-.*|x-gm-.*|"
    r"(x-)?list-.*|(x-)?mailing-list|x-mailman-.*|x-beenthere|x-ml-.*|x-listprocessor-.*|x-loop|"
    r"x-sequence|precedence|errors-to|(x-)?sender|reply-to|x-spam(-.*)?|x-virus-.*|x-scanned-.*|"
    r"x-mailscanner.*|x-amavis-.*|x-bogosity|x-dspam-.*|x-rspamd-.*|x-greylist|(x-)?status|"
    r"x-keywords|x-uid|x-uidl|x-imap|x-imapbase|x-mozilla-.*|x-evolution.*|x-gnus-.*|xref|lines|"
    r"content-length|x-mh-uid|x-asimapd-uid|replied|forwarded", re.S)


def visible(content):
    tag = find_tag(content)
    if tag is not None:
        return tag.message
    content = re.sub(rb"\AFrom [^\n]*\n", b"", content)
    return re.sub(rb"\A((Replied|Forwarded|Resent):[^\n]*\n([ \t][^\n]*\n)*)+", b"", content,
                  flags=re.I)


def message_id(content):
    content = content.replace(b"\r\n", b"\n")
    head = b"" if content.startswith(b"\n") else content.split(b"\n\n")[0]
    for line in re.sub(rb"\n[ \t]+", b" ", head).split(b"\n"):
        if not re.match(rb"[!-9;-~]+[ \t]*:", line):
            break
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"message-id":
            found = re.search(rb"<[^>]*>", value)
            value = found.group() if found else value.strip()
            return None if value in (b"", b"<>") else value
    return None


def blanks(text):
    return " ".join(re.split("[ \t\n]+", text)).strip(" ")


def subject(text):
    marks = ""
    while True:
        found = re.match(r"(re|fwd|fw|aw|sv): *", text, re.I)
        if found:
            marks += found.group().strip(" ").lower()
            text = text[found.end():]
            continue
        found = re.match(r"\[[^\]]*\]", text)
        if not found:
            return marks + text
        text = text[found.end():].strip(" ")


def is_footer(lines):
    """Whether these lines are one: a rule, and words about a list."""
    text = "\n".join(lines)
    return (len(text) <= 2000 and len(lines) <= 21
            and re.fullmatch(r"--?|([-_=*~#])\1{7,}", lines[0].strip(" \t"))
            and re.search("unsubscribe|listinfo|mailing list", text, re.I)
            and re.search("@|://", text))


def without_footer(lines):
    """The lines without the last footer, or None when there is none."""
    if len(lines) > 1 and re.fullmatch(r"--.+--", lines[-1].strip(" \t")):
        mark = lines[-1].strip(" \t")[:-2]
        for i in range(len(lines) - 2, max(-1, len(lines) - 43), -1):
            if lines[i].strip(" \t") != mark:
                continue
            part = lines[i:-1]
            if "" in part[1:]:
                at = part.index("", 1)
                body = blank_ends(part[at:])
                if re.search("text/plain", "\n".join(part[:at]), re.I) and body \
                        and footer_start(body) == 0:
                    return lines[:i] + lines[-1:]
            break
    start = footer_start(lines)
    return None if start is None else lines[:start]


def footer_start(lines):
    for i in range(len(lines) - 1, max(-1, len(lines) - 22), -1):
        if len("\n".join(lines[i:])) > 2000:
            return None
        if is_footer(lines[i:]):
            return i
    return None


def blank_ends(lines):
    while lines and not lines[-1].strip(" \t"):
        lines = lines[:-1]
    while lines and not lines[0].strip(" \t"):
        lines = lines[1:]
    return lines


def content_form(content):
    text = content.decode("latin-1").replace("\r\n", "\n")
    if text.startswith("\n"):
        head, body = "", text[1:]
    else:
        head, _, body = text.partition("\n\n")
    fields = []
    lines = re.sub("\n(?=[ \t])", "\r", head).split("\n") if head else []
    for line in lines:
        line = line.replace("\r", "\n")
        name, colon, value = line.partition(":")
        name = name.strip(" \t\n").lower() if colon else ""
        if not TRACE.fullmatch(name):
            fields.append((name, blanks(value if colon else line)))
    if any(name == "message-id" and value for name, value in fields):
        fields = [(name, subject(value) if name == "subject" else value) for name, value in fields]
    fields.sort(key=lambda field: field[0].encode("latin-1"))
    before, tail = body[:-8192], body[-8192:]
    for _ in range(3):
        tail = tail.rstrip(" \t\n")
        shorter = without_footer(tail.split("\n"))
        if shorter is None:
            break
        tail = "\n".join(shorter)
    return tuple(fields), before + tail.rstrip(" \t\n")


KEYS = {"exact": visible, "message-id": lambda content: message_id(visible(content)),
        "content": lambda content: content_form(visible(content))}


def groups_of(messages, by):
    """messages: {name: bytes}; sets of names of the same message."""
    found = collections.defaultdict(set)
    for name, content in messages.items():
        key = KEYS[by](content)
        if key is not None:
            found[key].add(name)
    return {frozenset(names) for names in found.values() if len(names) > 1}


def told_groups(objects):
    found = collections.defaultdict(set)
    for each in objects:
        if each["type"] == "copy":
            kept = (each["kept_folder"], each["kept_number"])
            found[kept] |= {kept, (each["folder"], each["number"])}
    return {frozenset(names) for names in found.values()}


class Dedup(MhsyncCase):
    def sequences(self, folder="inbox"):
        """Of messages that are there."""
        there = set(self.nmh.numbers(folder))
        found = {name: numbers & there for name, numbers in self.nmh.sequences(folder).items()}
        return {name: numbers for name, numbers in found.items() if numbers}

    def cur(self, folder="inbox"):
        found = re.search(r"^cur: (\d+)", self.nmh.sequences_text(folder), re.M)
        return int(found.group(1)) if found else None

    def visible(self, folder="inbox"):
        return {n: self.nmh.visible(folder, n) for n in self.nmh.numbers(folder)}

    def texts(self, *folders):
        return sorted(text for folder in folders if os.path.isdir(self.nmh.folder(folder))
                      for text in self.visible(folder).values())

    def nothing_is_left(self):
        for top, _, names in os.walk(self.root):
            for name in names:
                self.assertFalse(".mhsync" in top and top.endswith("/tmp"), f"left: {top}/{name}")
            if ".mhsync" in top or top == self.root:
                continue
            for name in names:
                self.assertRegex(name, r"^(\d+|,\d+|\.mh_sequences)$", f"left in {top}")


class RealMail(Dedup):
    def setUp(self):
        super().setUp()
        self.mails = corpus.messages(None if LONG else 300)
        self.on_disk = {}
        for i, (_, _, content) in enumerate(self.mails, 1):
            self.put_one("one", i, content)
            self.put_one("two", i, altered(content, i))
        # Exact ones, and some whose tail differs only beyond a first look.
        for i, (_, _, content) in enumerate(self.mails[:50], 1):
            self.put_one("one", len(self.mails) + i, content)
            self.put_one("two", len(self.mails) + i, content + b"P.S.\n")

    def put_one(self, folder, number, content):
        self.nmh.put(folder, number, content, mtime=OLD + number)
        self.on_disk["+" + folder, number] = content

    def test_each_mode_finds_what_an_independent_computation_finds(self):
        for by in ("exact", "content", "message-id"):
            told = self.mhsync_json("--dry-run", "dedup", "--across", "--by", by, "+one", "+two")
            wanted = groups_of(self.on_disk, by)
            self.assertGreaterEqual(len(wanted), 50)
            if by == "content":
                self.assertGreaterEqual(len(wanted), len(self.mails) * 9 // 10)
            self.assertEqual(told_groups(told) ^ wanted, set(), by)
            self.assertEqual(told[-1]["groups"], len(wanted))
            self.assertEqual(told[-1]["copies"], sum(len(group) - 1 for group in wanted))

    def test_all_altered_copies_go_and_nothing_else(self):
        self.mhsync("reindex", "+one")
        wanted = groups_of(self.on_disk, "content")
        got = self.mhsync_json("dedup", "--across", "--keep", "first-folder", "--by", "content",
                               "+one", "+two")
        self.assertEqual(got[-1]["done"], got[-1]["copies"])
        left = {(folder, n): self.nmh.read(folder[1:], n)
                for folder in ("+one", "+two") for n in self.nmh.numbers(folder[1:])}
        self.assertEqual(groups_of(left, "content"), set())
        for group in wanted:
            kept = group & set(left)
            self.assertEqual(len(kept), 1, group)
            self.assertEqual(min(folder for folder, _ in group), min(kept)[0])
        alone = set(self.on_disk) - set().union(*wanted)
        self.assertTrue(alone <= set(left))
        there = [visible(self.nmh.read(folder, n)) for folder in ("one", "two", "duplicates")
                 for n in self.nmh.numbers(folder)]
        self.assertEqual(len(there), len(self.on_disk))
        self.assertTrue(sorted(there) == sorted(visible(content)
                                                for content in self.on_disk.values()))
        self.nothing_is_left()


class Lists(Dedup):
    def mail(self, name, direct=False):
        body = "The body.\n"
        head = "Message-ID: <one@x>\nFrom: a@x\nTo: all@x\nDate: Thu, 1 Jan 2004 00:00:00 +0000\n"
        if direct:
            return (head + f"Subject: Re: news\n\n{body}").encode()
        return (f"Received: from lists by mx; now\nList-Id: <{name}.x>\nSender: {name}-bounces@x\n"
                f"Reply-To: {name}@x\nSubject: [{name}] Re: news\nPrecedence: list\n{head}"
                f"X-Mailman-Version: 2.1\n\n{body}{RULE}\n{name} mailing list\n{name}@x\n"
                f"http://x/mailman/listinfo/{name}\n").encode()

    def test_copies_through_two_lists_and_a_direct_one(self):
        self.nmh.put("inbox", 1, self.mail("", direct=True), mtime=OLD)
        self.nmh.put("inbox", 2, self.mail("aa"), mtime=OLD + 1)
        self.nmh.put("inbox", 3, self.mail("bb"), mtime=OLD + 2)
        self.nmh.put("inbox", 4, self.mail("bb").replace(b"The body", b"A body"), mtime=OLD + 3)
        got = self.mhsync_json("-n", "dedup", "--by", "content", "+inbox")
        self.assertEqual(told_groups(got), {frozenset(("+inbox", n) for n in (1, 2, 3))})
        got = self.mhsync_json("-n", "dedup", "--by", "message-id", "+inbox")
        self.assertEqual(told_groups(got), {frozenset(("+inbox", n) for n in (1, 2, 3, 4))})
        got = self.mhsync_json("-n", "dedup", "+inbox")
        self.assertEqual(told_groups(got), set())


class Filled(Dedup):
    """Two folders: inbox has 1 2 3 4 with 3 = 1, lists has 1 2 with 1 = inbox 2, 2 = inbox 1."""

    def setUp(self):
        super().setUp()
        self.fill()

    def fill(self):
        for folder, number, i, when in (("inbox", 1, 1, 5), ("inbox", 2, 2, 9), ("inbox", 3, 1, 6),
                                        ("inbox", 4, 4, 4), ("lists", 1, 2, 8), ("lists", 2, 1, 1)):
            self.nmh.put(folder, number, mail_maker.plain(i), mtime=OLD + when)
        self.nmh.write_sequences("inbox", {"cur": "3", "unseen": "1 2 4", "mine": "3",
                                           "flagged": "4"})
        self.nmh.write_sequences("lists", {"cur": "2", "unseen": "1", "replied": "2"})
        self.all = self.texts("inbox", "lists")

    def start_over(self):
        # Directories and state stay: a new one would wait for the next second.
        for top, _, names in os.walk(self.root):
            if ".mhsync" not in top or top.endswith("/tmp"):
                for name in names:
                    os.unlink(os.path.join(top, name))
        self.fill()


class Pairs(Filled):
    def test_within_a_folder(self):
        got = self.mhsync_json("dedup", "+inbox")
        self.assertEqual((got[-1]["groups"], got[-1]["done"], got[-1]["left"]), (1, 1, 0))
        self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 4])
        self.assertEqual(self.visible("duplicates"), {1: mail_maker.plain(1)})
        # Message 3 was seen.
        self.assertEqual(self.sequences(), {"unseen": {2, 4}, "mine": {1}, "flagged": {4}})
        self.assertEqual(self.cur(), 1)
        self.assertEqual(self.sequences("duplicates"), {"mine": {1}})
        self.assertEqual(self.texts("inbox", "lists", "duplicates"), self.all)
        self.assertEqual(self.nmh.sequences_by_nmh("inbox"), self.sequences())
        self.nothing_is_left()

    def test_a_second_run_finds_nothing(self):
        self.mhsync("dedup", "--across", "--all")
        before = {name: self.files(name) for name in ("inbox", "lists", "duplicates")}
        got = self.mhsync_json("dedup", "--across", "--all")
        self.assertEqual((got[-1]["groups"], got[-1]["done"]), (0, 0))
        self.assertEqual({name: self.files(name) for name in before}, before)

    def keep(self, how, *folders):
        self.mhsync("dedup", "--across", "--keep", how, *folders)
        return self.nmh.numbers("inbox"), self.nmh.numbers("lists")

    def test_keep_oldest(self):
        self.assertEqual(self.keep("oldest", "+inbox", "+lists"), ([4], [1, 2]))
        self.assertEqual(self.sequences("lists"), {"unseen": {1}, "replied": {2}, "mine": {2}})
        self.assertEqual(self.cur("lists"), 2)

    def test_keep_newest(self):
        self.assertEqual(self.keep("newest", "+inbox", "+lists"), ([2, 3, 4], []))
        self.assertEqual(self.sequences(), {"unseen": {2, 4}, "mine": {3}, "replied": {3},
                                            "flagged": {4}})

    def test_keep_first_folder(self):
        self.assertEqual(self.keep("first-folder", "+inbox", "+lists"), ([1, 2, 4], []))

    def test_keep_first_folder_named_the_other_way_round(self):
        self.assertEqual(self.keep("first-folder", "+lists", "+inbox"), ([4], [1, 2]))

    def test_rmm(self):
        self.mhsync("dedup", "--rmm", "+inbox")
        self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 4])
        self.assertIn(",3", os.listdir(self.nmh.folder("inbox")))
        self.assertFalse(os.path.exists(self.nmh.folder("duplicates")))

    def test_delete(self):
        self.mhsync("dedup", "--delete", "+inbox")
        self.assertEqual(sorted(os.listdir(self.nmh.folder("inbox"))),
                         [".mh_sequences", "1", "2", "4"])

    def test_to_a_folder_of_ones_own_which_is_never_looked_through(self):
        self.mhsync("dedup", "--to", "+old/copies", "--all")
        self.assertEqual(self.visible("old/copies"), {1: mail_maker.plain(1)})
        self.mhsync("dedup", "--to", "+old/copies", "--across", "--all")
        self.assertEqual(self.texts("inbox", "lists", "old/copies"), self.all)
        self.assertEqual(len(self.nmh.numbers("old/copies")), 3)

    def test_the_folder_for_copies_itself_is_refused(self):
        for arguments in (("--to", "+inbox", "+inbox"), ("--to", "+../x", "+inbox"),
                          ("--to", "+123", "+inbox"), ("--share", "--by", "content", "+inbox"),
                          ("--rmm", "--delete", "+inbox"), ("--by", "taste", "+inbox")):
            code, _, err = self.run_mhsync("dedup", *arguments)
            self.assertIn(code, (64, 78), arguments)
            self.assertTrue(err.strip())
        self.assertEqual(self.texts("inbox", "lists"), self.all)

    def test_dry_run_tells_and_changes_nothing(self):
        before = {name: self.files(name) for name in ("inbox", "lists")}
        out = self.mhsync("-n", "dedup", "--across", "--all")
        self.assertIn("+lists 2 would be kept, copies are +inbox 1", out)
        self.assertIn("they would be moved to +duplicates", out)
        self.assertEqual({name: self.files(name) for name in before}, before)
        self.assertFalse(os.path.exists(self.nmh.folder("duplicates")))

    def test_share_is_refused_with_the_reason_where_the_file_system_cannot(self):
        big = mail_maker.plain(9, body="x" * 70 + "\n" * 9000)
        for n in (8, 9):
            self.nmh.put("inbox", n, big, mtime=OLD)
        before = self.files()
        code, out, err = self.run_mhsync("dedup", "--share", "+inbox")
        self.assertEqual(self.files(), before)
        if code == 0:
            self.assertIn("shared bytes", out)
            return
        self.assertEqual(code, 74)
        self.assertIn("btrfs", err)

    def test_one_folder_under_two_names_loses_nothing(self):
        os.symlink("inbox", self.nmh.folder("alias"))
        os.unlink(self.nmh.file("inbox", 3))
        self.mhsync("dedup", "--across", "--delete", "+inbox", "+alias")
        self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 4])

    def test_private_sequences_and_cur(self):
        folder = self.nmh.folder("inbox")
        with open(os.path.join(self.root, "context"), "w") as context:
            context.write(f"Current-Folder: inbox\natr-own-{folder}: 3 4\natr-cur-{folder}: 3\n"
                          f"atr-hers-{self.nmh.folder('lists')}: 1\n")
        self.mhsync("dedup", "--across", "--keep", "first-folder", "+inbox", "+lists")
        with open(os.path.join(self.root, "context")) as context:
            lines = set(context.read().splitlines())
        self.assertIn(f"atr-own-{folder}: 1 4", lines)
        self.assertIn(f"atr-cur-{folder}: 1", lines)
        self.assertIn(f"atr-hers-{folder}: 2", lines)
        self.assertIn("Current-Folder: inbox", lines)

    def test_all_sequences_private(self):
        self.nmh.components["mh-sequences"] = ""
        self.nmh.write_profile()
        folder = self.nmh.folder("inbox")
        os.unlink(os.path.join(folder, ".mh_sequences"))
        with open(os.path.join(self.root, "context"), "w") as context:
            context.write(f"atr-mine-{folder}: 3\n")
        self.mhsync("dedup", "+inbox")
        with open(os.path.join(self.root, "context")) as context:
            self.assertIn(f"atr-mine-{folder}: 1", context.read())
        self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 4])

    def test_a_busy_folder_names_its_holder_and_keeps_all(self):
        with self.nmh.sequences_locked("inbox"):
            code, _, err = self.run_mhsync("--lock-timeout", "0.3", "dedup", "+inbox")
        self.assertEqual(code, 75, err)
        self.assertIn(str(os.getpid()), err)
        self.assertEqual(self.texts("inbox", "lists"), self.all)
        self.mhsync("dedup", "+inbox")


@runner.needs_root
class OnBtrfs(Filled):
    """The tree lies on a file system that can share; made in a file."""

    def setUp(self):
        super().setUp()
        if shutil.which("mkfs.btrfs", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            self.skipTest("mkfs.btrfs is not installed")
        image, self.disk = os.path.join(self.home, "image"), os.path.join(self.home, "Disk")
        with open(image, "wb") as out:
            out.truncate(200 << 20)
        os.mkdir(self.disk)
        runner.as_root("/usr/sbin/mkfs.btrfs", "-q", image)
        runner.as_root("mount", "-o", "loop", image, self.disk)
        self.addCleanup(runner.as_root, "umount", self.disk)
        runner.as_root("chown", str(os.getuid()), self.disk)
        self.nmh.root = self.root = self.disk
        self.nmh.components["Path"] = "Disk"
        self.nmh.write_profile()

    def put(self, number, body, tail=""):
        self.nmh.put("inbox", number, mail_maker.plain(1, body=body + tail), mtime=OLD + number)

    def shared(self, number):
        out = subprocess.run(["filefrag", "-v", self.nmh.file("inbox", number)], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return [line for line in out.splitlines() if "shared" in line]

    def test_bytes_are_shared_and_nothing_else_changes(self):
        body = "".join(f"line {i}\n" for i in range(10000))
        for n in (1, 2):
            self.put(n, body)
        self.put(3, body, "another\n")
        self.put(4, body)
        with open(self.nmh.file("inbox", 4), "r+b") as file:
            rest = file.read()
            file.seek(0)
            file.write(b"Replied: today\n" + rest)
        before = self.files()
        inodes = [os.stat(self.nmh.file("inbox", n)).st_ino for n in (1, 2, 3, 4)]
        os.sync()
        got = self.mhsync_json("dedup", "--share", "+inbox")
        os.sync()
        # Message 4 begins elsewhere in its first block.
        self.assertEqual([each["fate"] for each in got[:-1]], ["shared", "left"])
        self.assertGreater(got[-1]["shared_bytes"], 90_000)
        self.assertEqual(self.files(), before)
        self.assertEqual([os.stat(self.nmh.file("inbox", n)).st_ino for n in (1, 2, 3, 4)], inodes)
        if shutil.which("filefrag"):
            self.assertTrue(self.shared(1) and self.shared(2))
            self.assertFalse(self.shared(3) or self.shared(4))

    def test_files_with_lines_of_their_own_share_all_but_the_first_block(self):
        body = "".join(f"line {i}\n" for i in range(10000))
        for n in (1, 2):
            self.put(n, body)
        self.mhsync("reindex", "+inbox")
        before = self.files()
        os.sync()
        got = self.mhsync_json("dedup", "--share", "+inbox")
        size = os.path.getsize(self.nmh.file("inbox", 1))
        self.assertEqual(got[-1]["shared_bytes"], size - 4096)
        self.assertEqual(self.files(), before)


class Watched(Filled):
    """With Dovecot: one session has the folder selected."""

    def look(self, name="INBOX"):
        self.histories = getattr(self, "histories", {})
        history = self.histories.setdefault(name, History(self))
        return history.look(self.imap(), name)

    def test_a_session_is_told_of_expunge_and_flags_and_nothing_else(self):
        self.force_resync("*")
        before, lists = self.look(), self.look("lists")
        watcher = self.select()
        got = self.mhsync_json("dedup", "--across", "--keep", "first-folder", "+inbox", "+lists")
        self.assertEqual((got[-1]["done"], got[-1]["left"]), (3, 0))
        told = watcher.ok("NOOP")
        self.assertEqual([line.number for line in told.all("EXPUNGE")], [3])
        self.assertEqual([line.number for line in told.all("FETCH")], [1])
        self.assertEqual(told.all("EXISTS"), [])
        self.assertNothing(watcher.ok("NOOP"))
        after = self.look()
        self.assertEqual(after.uids, [1, 2, 4])
        self.assertEqual(after.uidvalidity, before.uidvalidity)
        self.assertEqual(after.flags(1), {"\\Seen", "\\Answered", "mine"})
        self.assertEqual(after.flags(2), set())
        self.assertEqual(self.look("lists").uids, [])
        moved = self.look("duplicates")
        flags = sorted(sorted(moved.flags(uid)) for uid in moved.uids)
        self.assertEqual(flags, sorted([["\\Seen", "mine"], [], ["\\Answered", "\\Seen"]]))
        self.assertEqual(sorted(moved.date(uid) for uid in moved.uids),
                         sorted([before.date(3), lists.date(1), lists.date(2)]))

    def test_a_flag_stored_a_moment_before_is_united(self):
        self.force_resync("*")
        self.look()
        client = self.select()
        client.ok(r"UID STORE 3 +FLAGS (\Flagged kept)")
        self.mhsync("dedup", "--delete", "+inbox")
        client.ok("NOOP")
        self.assertEqual(self.look().flags(1), {"\\Seen", "\\Flagged", "kept", "mine"})

    def test_flags_that_wait_for_nmh_s_lock_come_to_the_kept_one_afterwards(self):
        self.allow_log(r"busy|locked|Timeout")
        self.force_resync("*")
        before = self.look()
        client = self.select()
        with self.nmh.sequences_locked():
            client.ok(r"UID STORE 1 +FLAGS (\Flagged waits)")
        self.assertNotIn("waits", self.nmh.sequences())
        self.mhsync("dedup", "--delete", "+inbox")
        told = client.ok("NOOP")
        self.assertEqual([line.number for line in told.all("EXPUNGE")], [3])
        self.assertEqual({line.number for line in told.all("FETCH")}, {1})
        self.assertEqual(told.all("EXISTS"), [])
        after = self.look()
        self.assertEqual(after.uids, [uid for uid in before.uids if uid != 3])
        self.assertEqual(after.flags(1), {"\\Seen", "\\Flagged", "waits", "mine"})
        self.assertEqual(self.sequences()["waits"], {1})

    def test_a_flag_of_a_copy_that_waits_for_nmh_s_lock_goes_along_with_the_copy(self):
        self.allow_log(r"busy|locked|Timeout")
        self.force_resync("*")
        self.look()
        client = self.select()
        with self.nmh.sequences_locked():
            client.ok("UID STORE 3 +FLAGS (waits)")
        self.assertNotIn("waits", self.nmh.sequences())
        self.mhsync("dedup", "+inbox")
        moved = self.look("duplicates")
        self.assertEqual(moved.flags(moved.uids[0]), {"\\Seen", "mine", "waits"})

    def test_deleted_is_no_wish_to_lose_the_last_one(self):
        self.force_resync("*")
        client = self.select()
        client.ok(r"UID STORE 3 +FLAGS (\Deleted)")
        self.mhsync("dedup", "--delete", "+inbox")
        client.ok("NOOP")
        client.ok("EXPUNGE")
        self.assertEqual(self.nmh.numbers("inbox"), [1, 2, 4])
        self.assertNotIn("\\Deleted", self.look().flags(1))


class Crowd(Dedup):
    """Five clients read, flag and append copies, nmh marks and brings mail, runs of dedup among
    them. Originals are older than copies, so they stay, under their UIDs."""

    CLIENTS, MAILS = 5, 6
    ROUNDS = 60 if LONG else 6

    def work(self, function):
        def guarded():
            try:
                function()
            except Exception:  # noqa: BLE001: of whatever kind, it is told at the end
                self.errors.append(traceback.format_exc())
        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def client_work(self, client, k):
        chosen = random.Random(f"{SEED} {k}")
        client.select()
        for n in range(self.ROUNDS):
            i = chosen.randrange(1, self.MAILS + 1)
            client.append("INBOX", mail_maker.plain(i))
            client.ok(f"UID STORE {i} +FLAGS (client{k}n{n})")
            self.given[i].add(f"client{k}n{n}")
            shown = client.body(i)
            if shown != mail_maker.as_imap(mail_maker.plain(i)):
                self.errors.append(f"UID {i} shows {shown!r}")
        client.logout()

    def nmh_work(self):
        for n in range(self.ROUNDS):
            i = n % self.MAILS + 1
            self.nmh.run("mark", "+inbox", str(i), "-sequence", f"nmh{n}", "-add")
            self.given[i].add(f"nmh{n}")
            self.nmh.inc(mail_maker.plain(100 + n))

    def test_nothing_is_lost_or_shown_as_another(self):
        self.allow_log(r"Timeout|busy|locked|was removed or edited|Message was expunged")
        self.errors, self.given = [], {i: set() for i in range(1, self.MAILS + 1)}
        for i in self.given:
            self.nmh.put("inbox", i, mail_maker.plain(i), mtime=OLD + i)
        self.nmh.write_sequences("inbox", {"cur": "1"})
        history = History(self)
        self.force_resync("INBOX")
        history.look(self.imap())
        clients = [self.imap() for _ in range(self.CLIENTS)]
        threads = [self.work(lambda k=k, client=client: self.client_work(client, k))
                   for k, client in enumerate(clients)] + [self.work(self.nmh_work)]
        gone = 0
        while any(thread.is_alive() for thread in threads):
            code, out, err = self.run_mhsync("--json", "dedup", "--delete", "--by", "message-id",
                                             "+inbox")
            self.assertIn(code, (0, 1, 75), out + err)
            gone += sum('"fate":"gone"' in line for line in out.splitlines())
        self.assertEqual(self.errors, [])
        self.assertGreater(gone, 0)
        self.mhsync("dedup", "--delete", "--by", "message-id", "+inbox")
        after = history.look(self.imap())
        wanted = [mail_maker.plain(i) for i in (*self.given, *range(100, 100 + self.ROUNDS))]
        bodies = [after.body(uid).replace(b"\r\n", b"\n").rstrip() for uid in after.uids]
        self.assertEqual(sorted(bodies), sorted(mail.rstrip() for mail in wanted))
        for i, names in self.given.items():
            self.assertEqual(names - after.flags(i), set(), f"flags of {i}")
        self.nothing_is_left()


ACTIONS = (("--to", "+duplicates"), ("--rmm",), ("--delete",))


class Interrupted(Filled):
    """Killed and failed at every call; afterwards the tree is whole, and the next run ends where an
    undisturbed one does."""

    def setUp(self):
        super().setUp()
        self.arguments = ("dedup", "--across", "--keep", "first-folder", "+inbox", "+lists")

    def state(self):
        return {"inbox": self.visible(), "lists": self.visible("lists"),
                "duplicates": self.texts("duplicates"), "sequences": self.sequences(),
                "of lists": self.sequences("lists"), "cur": self.cur(),
                "of copies": {name: sorted(self.nmh.visible("duplicates", n) for n in numbers)
                              for name, numbers in (self.sequences("duplicates").items()
                                                    if os.path.isdir(self.nmh.folder("duplicates"))
                                                    else ())},
                "backups": sorted(name for folder in ("inbox", "lists")
                                  for name in os.listdir(self.nmh.folder(folder))
                                  if name.startswith(","))}

    def whole(self, action, torn):
        """Every message is there, once at least; what is to be moved at most twice. A write of the
        sequences that was cut off is mended by the next run."""
        there = self.texts("inbox", "lists", "duplicates")
        for i in (1, 2, 4):
            self.assertIn(mail_maker.plain(i), there)
        self.assertTrue(set(there) <= set(self.all), "half a message, or a foreign one")
        if action[0] == "--to":
            aside = sum(len(files) for top, _, files in os.walk(os.path.join(self.root, ".mhsync"))
                        if top.endswith("/tmp"))
            self.assertLessEqual(len(self.all), len(there) + aside)
        if not torn:
            self.nmh.run("folder", "+inbox")
            self.nmh.run("mark", "+inbox", "-list")

    def every_point(self, action, actions):
        gate = self.gate()
        arguments = (*self.arguments, *action)
        self.start_over()
        self.assertEqual(self.run_mhsync(*arguments)[0], 0)
        wanted = self.state()

        def work():
            return self.run_mhsync(*arguments, env=gate.environment())
        count, missed = 0, 0
        for point in gate.every_point(self.start_over, work, actions):
            count += 1
            with self.subTest(action=action, point=repr(point)):
                if point.action.startswith(("kill", "torn")):
                    # The last call may not come again: it depends on what the journal has already.
                    missed += point.result[0] == 0
                    self.assertIn(point.result[0], (0, -signal.SIGKILL), point.result)
                self.whole(action, point.action.startswith("torn"))
                for _ in range(2):
                    code, out, err = self.run_mhsync(*arguments)
                    self.assertEqual(code, 0, out + err)
                    self.assertEqual(self.state(), wanted)
                    self.nmh.run("mark", "+inbox", "-list")
                self.nothing_is_left()
        self.assertGreater(count, 20)
        self.assertLessEqual(missed, 4)

    def test_killed_at_every_call_moving(self):
        self.every_point(ACTIONS[0], gates.KILL + gates.TORN)

    def test_killed_at_every_call_as_rmm(self):
        self.every_point(ACTIONS[1], gates.KILL)

    def test_killed_at_every_call_deleting(self):
        self.every_point(ACTIONS[2], gates.KILL)

    def test_failed_at_every_call(self):
        errors = gates.FAIL + gates.INTERRUPT if LONG else ("fail EIO", "fail ENOSPC:sticky")
        for action in ACTIONS if LONG else ACTIONS[:1]:
            self.every_point(action, errors)


class Races(Filled):
    """One side is held at one of its calls, the other does its work meanwhile."""

    COMMANDS = {
        "rmm the copy": ("rmm", "+inbox", "3"),
        "rmm the kept": ("rmm", "+inbox", "1"),
        "refile the copy": ("refile", "-src", "+inbox", "3", "+other"),
        "refile the kept": ("refile", "-src", "+inbox", "1", "+other"),
        "sortm": ("sortm", "+inbox"),
        "pack": ("folder", "+inbox", "-pack"),
        "mark": ("mark", "+inbox", "2", "-sequence", "extra", "-add"),
    }

    def some(self, calls, count=3):
        chosen = random.Random(f"{SEED} {self.id()}")
        return calls if LONG or len(calls) <= count else chosen.sample(calls, count)

    def start_over(self):
        super().start_over()
        self.nmh.make_folder("other")

    def finish(self, process):
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def nothing_lost(self, name):
        """Of each mail there is one somewhere, unless the user himself removed it."""
        there = self.texts("inbox", "lists", "other", "duplicates")
        wanted = {1, 2, 4}
        for i in wanted:
            self.assertIn(mail_maker.plain(i), there, f"{name}: mail {i} is lost")
        self.assertTrue(set(there) <= set(self.all))
        self.nmh.run("mark", "+inbox", "-list")
        if name == "mark":
            self.assertEqual([self.nmh.visible("inbox", n) for n in self.sequences()["extra"]],
                             [mail_maker.plain(2)])
        self.nothing_is_left()

    def both(self, name, first, second, gate):
        """`first` is held, `second` works or waits for a lock; both end."""
        held = first()
        if not gate.wait_until_held(held):
            self.finish(held)
            return False
        other = second()
        try:
            other.wait(0.15)
        except subprocess.TimeoutExpired:
            pass
        gate.go()
        results = [self.finish(other), self.finish(held)]
        for code, out, err in results:
            # 1: a message that one wanted to remove was removed by the other.
            may = (0, 1) if name.startswith(("rmm", "refile", "two")) else (0,)
            self.assertIn(code, may, f"{name}: {out}{err}")
        return True

    def dedup(self, *more, gate=None):
        return self.start("dedup", *(more or ("--delete",)), "+inbox",
                          env=gate.environment() if gate else None)

    def nmh_command(self, command, gate=None):
        environment = self.nmh.environment()
        if gate:
            environment = gate.environment(environment)
        return subprocess.Popen((shutil.which(command[0], path=environment["PATH"]), *command[1:]),
                                env=environment, cwd=self.home, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def calls_of(self, gate, start):
        gate.locks = True
        self.start_over()
        gate.arm()
        code, out, err = self.finish(start())
        self.assertEqual(code, 0, out + err)
        return gate.calls()

    def no_copies_left(self):
        for _ in range(2):
            code, out, err = self.run_mhsync("dedup", "--delete", "+inbox")
            self.assertEqual(code, 0, out + err)
        texts = list(self.visible().values())
        self.assertEqual(len(texts), len(set(texts)))

    def test_nmh_works_while_dedup_is_held(self):
        gate = self.gate()
        calls = self.calls_of(gate, lambda: self.dedup(gate=gate))
        self.assertGreater(len(calls), 20)
        for name, command in self.COMMANDS.items():
            came = 0
            for call in self.some(calls):
                self.start_over()
                gate.hold_at(call.n)
                with self.subTest(f"{name} while held at {call.n}: {call.name} {call.path}, "
                                  f"seed {SEED}"):
                    if not self.both(name, lambda: self.dedup(gate=gate),
                                     lambda: self.nmh_command(command), gate):
                        continue
                    came += 1
                    if name == "rmm the kept":      # his wish: of the two he took one
                        self.assertLessEqual(len(self.texts("inbox")), 3)
                    gate.arm()
                    self.nothing_lost(name)
                    self.no_copies_left()
            self.assertGreater(came, 0, name)

    def test_dedup_works_while_nmh_is_held(self):
        gate = self.gate()
        for name, command in self.COMMANDS.items():
            gate.comm = command[0]
            calls = self.calls_of(gate, lambda: self.nmh_command(command, gate))
            for call in self.some(calls, 2):
                self.start_over()
                gate.hold_at(call.n)
                with self.subTest(f"{name} held at {call.n}: {call.name} {call.path}, seed {SEED}"):
                    if not self.both(name, lambda: self.nmh_command(command, gate),
                                     lambda: self.dedup(), gate):
                        continue
                    gate.arm()
                    self.nothing_lost(name)
                    self.no_copies_left()

    def test_two_runs_at_once(self):
        gate = self.gate()
        ways = (("--delete", "--keep", "newest"), ("--keep", "newest"), ("--delete",), ())
        calls = self.calls_of(gate, lambda: self.dedup("--delete", gate=gate))
        for other in ways:
            for call in self.some(calls, 6):
                self.start_over()
                gate.hold_at(call.n)
                with self.subTest(f"{other} while held at {call.n}: {call.name} {call.path}, "
                                  f"seed {SEED}"):
                    if not self.both("two", lambda: self.dedup("--delete", gate=gate),
                                     lambda: self.dedup(*other) if other else
                                     self.dedup("--to", "+duplicates"), gate):
                        continue
                    gate.arm()
                    self.assertEqual(sorted(self.visible().values()).count(mail_maker.plain(1)), 1)
                    self.nothing_lost("two")


if __name__ == "__main__":
    print(f"random seed {SEED}")

    def prepare_all():
        prepare()
        corpus.prepare()

    runner.main(prepare_all)
