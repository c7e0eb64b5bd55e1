# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of other people and MH tools in the same folders: mbsync, offlineimap, mutt, Twisted's
IMAP client, mpop, poplib.

Each client reads, files, removes and sends into folders in which nmh works in between. After each
exchange there are three accounts of a folder: the files and sequences as MH has them, what a
session of IMAP shows, what the client keeps on its side. They must be one: the same messages byte
for byte (LF here, CRLF there), each as often, with the same flags. UIDs stay, so a client that
keeps copies fetches nothing again after a pack, a sort, or the loss of what can be rebuilt.
"""

import base64
import collections
import glob
import json
import os
import poplib
import pty
import re
import select
import shutil
import smtplib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from mail_maker import as_imap  # noqa: E402

SYSTEM_PYTHON = "/usr/bin/python3"
TWISTED_CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support",
                              "twisted_client.py")

# The flags that every client knows, by the letter that a maildir has for them.
LETTERS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "D": "\\Draft", "T": "\\Deleted"}
SEQUENCES = {"replied": "\\Answered", "flagged": "\\Flagged", "deleted": "\\Deleted",
             "draft": "\\Draft"}

_staged = {}


def prepare():
    case.prepare()
    _staged["twisted"] = runner.stage(TWISTED_CLIENT)


def account(messages):
    """(message, flags) pairs as a multiset that can be read when it differs from another."""
    return collections.Counter((text, " ".join(sorted(set(flags) & set(LETTERS.values()))))
                               for text, flags in messages)


def without_trace(text):
    """A message without the line by which mbsync finds again what it has just stored."""
    return re.sub(rb"^X-TUID: [^\r\n]*\r?\n", b"", text, count=1, flags=re.M)


class ClientCase(case.MhTestCase):
    """A user with an inbox and a folder `work`; a home for the client that is not the mail's."""

    user_settings = {"mh_unseen_grace": "1"}
    program = None      # the command that must be installed
    seventh = mail_maker.multipart(7)

    def setUp(self):
        if self.program and shutil.which(self.program) is None:
            self.skipTest(f"{self.program} is not installed")
        super().setUp()
        self.client_home = os.path.join(self.home, "client")
        os.makedirs(self.client_home)
        for n in range(1, 7):
            self.put(n, mail_maker.plain(n))
        self.put(7, self.seventh)
        self.nmh.write_sequences("inbox", {"unseen": "2-3 7", "flagged": "4", "replied": "1 5"})
        self.nmh.put("work", 1, mail_maker.plain(101))
        self.nmh.write_sequences("work", {"unseen": "1"})

    def write(self, name, text):
        path = os.path.join(self.client_home, name)
        with open(path, "w") as out:
            os.fchmod(out.fileno(), 0o600)      # it has the password
            out.write(text)
        return path

    def environment(self):
        return {**os.environ, "HOME": self.client_home, "TERM": "vt100", "LC_ALL": "C.UTF-8",
                "PATH": "/usr/local/bin:/usr/bin:/bin"}

    def run_program(self, *command, input=None):
        """Run a client to its end; gives what it said. It must not fail."""
        done = subprocess.run(command, input=input, env=self.environment(), cwd=self.client_home,
                              stdin=subprocess.DEVNULL if input is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        text = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, text)
        return text

    def lmtp(self, *mails):
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            for mail in mails:
                session.sendmail("alice@example.org", [self.user.name], mail)

    # -- the accounts of a folder ------------------------------------------------------------------

    def path(self, folder):
        return "inbox" if folder == "INBOX" else folder

    def seen_by_mh(self, folder):
        name = self.path(folder)
        numbers = self.nmh.numbers(name)
        sequences = self.nmh.sequences_by_nmh(name) if numbers else {}
        found = []
        for number in numbers:
            flags = {flag for sequence, flag in SEQUENCES.items()
                     if number in sequences.get(sequence, ())}
            if number not in sequences.get("unseen", ()):
                flags.add("\\Seen")
            found.append((as_imap(self.nmh.visible(name, number)), flags))
        return account(found)

    def seen_by_imap(self, folder):
        client = self.imap()
        client.select(folder)
        items = client.fetch("1:*", "FLAGS BODY.PEEK[]") if client.uids() else {}
        client.logout()
        return account((one["BODY[]"], one["FLAGS"]) for one in items.values())

    def assertAlike(self, one, other, folder):
        """Two accounts of a folder are the same."""
        self.assertEqual([found if len(repr(found)) < 2000 else repr(found)[:2000]
                          for found in (one - other, other - one)], [{}, {}], folder)

    def assertOne(self, *folders):
        """MH and IMAP agree about these folders, and nothing but messages lies in them."""
        for folder in folders:
            by_imap = self.seen_by_imap(folder)     # first: a sync may bring flags to MH
            self.assertAlike(self.seen_by_mh(folder), by_imap, folder)
            strange = [name for name in os.listdir(self.nmh.folder(self.path(folder)))
                       if not re.fullmatch(r",?\d+|\.mh_sequences", name)]
            self.assertEqual(strange, [], "left in the MH folder")

    def identities(self, folder="INBOX"):
        """(UIDVALIDITY, {UID: message})."""
        client = self.imap()
        validity = client.select(folder).uidvalidity
        bodies = {uid: client.body(uid) for uid in client.uids()}
        client.logout()
        return validity, bodies

    def number_of(self, subject, folder="inbox"):
        """The number under which MH has the message of this subject now."""
        line = b"Subject: %s\n" % subject.encode()
        found = [n for n in self.nmh.numbers(folder) if line in self.nmh.visible(folder, n)]
        self.assertEqual(len(found), 1, subject)
        return str(found[0])

    def nmh_at_work(self):
        """What a user of nmh does: reads, marks, removes, refiles, sorts, packs, gets mail."""
        run = self.nmh.run
        run("mark", "+inbox", self.number_of("message 6"), "-sequence", "flagged", "-add")
        run("show", "+inbox", self.number_of("message 2"), "-showproc", "/bin/true")
        run("rmm", "+inbox", self.number_of("message 1"))
        run("refile", self.number_of("message 5"), "-src", "+inbox", "+work")
        # Refile tells nobody whether it is read: the user does.
        run("mark", "+work", self.number_of("message 5", "work"), "-sequence", "unseen", "-add")
        run("sortm", "+inbox")      # the last is the oldest: every number changes
        run("folder", "+inbox", "-pack")
        self.nmh.inc(mail_maker.plain(11))
        self.nmh.rcvstore(mail_maker.plain(12))
        self.nmh.rcvstore(mail_maker.plain(102), "work")

    # -- what must not matter ----------------------------------------------------------------------

    def remove_state(self, pattern):
        removed = glob.glob(os.path.join(self.root, ".mhsync", "*", "**", pattern), recursive=True)
        self.assertTrue(removed, pattern)
        for path in removed:
            os.unlink(path)

    def upheavals(self):
        """(name, function): each changes files or state, and no message."""
        return [
            ("adoption by force-resync", self.force_resync),
            ("folder -pack", lambda: (self.nmh.run("rmm", "+inbox", self.number_of("message 2")),
                                      self.nmh.run("folder", "+inbox", "-pack"))),
            ("sortm", lambda: self.nmh.run("sortm", "+inbox")),
            ("loss of dovecot.index", lambda: self.remove_state("dovecot.index*")),
            ("loss of store.db", lambda: self.remove_state("store.db*")),
            ("force-resync after all", self.force_resync),
        ]

    def bodies_fetched(self, since):
        """How many bodies the sessions that ended since then in the log have fetched."""
        self._settle()
        return sum(int(count) for count in
                   re.findall(r"body_count=(\d+)", self.server.log_text(since)))


class Mirror:
    """Programs that keep folders on both sides alike; the near side is a maildir of the client's."""

    def box(self, folder):
        return os.path.join(self.client_home, "mail", folder)

    def near_files(self, folder):
        return sorted(glob.glob(os.path.join(self.box(folder), "cur", "*"))
                      + glob.glob(os.path.join(self.box(folder), "new", "*")))

    def near_file(self, folder, subject):
        """The one file of the near side with this subject."""
        found = []
        for path in self.near_files(folder):
            with open(path, "rb") as message:
                if re.search(rb"^Subject: %s\r?$" % subject.encode(), message.read(), re.M):
                    found.append(path)
        self.assertEqual(len(found), 1, (subject, found))
        return found[0]

    def near(self, folder):
        found = []
        for path in self.near_files(folder):
            with open(path, "rb") as message:
                text = as_imap(without_trace(message.read()))
            letters = re.search(r":2,([A-Za-z]*)$", path)
            found.append((text, {LETTERS[c] for c in (letters.group(1) if letters else "")
                                 if c in LETTERS}))
        return account(found)

    def flag_near(self, folder, subject, letters):
        path = self.near_file(folder, subject)
        name = re.sub(r":2,[A-Za-z]*$", "", os.path.basename(path))
        os.rename(path, os.path.join(self.box(folder), "cur", f"{name}:2,{letters}"))

    def file_near(self, folder, content, letters="S", name="mine"):
        """As a mail program stores a message of its own."""
        path = os.path.join(self.box(folder), "cur", f"1000000000.{name}.localhost:2,{letters}")
        with open(path, "wb") as out:
            out.write(content)

    def move_near(self, subject, source, target):
        """As a mail program files a message: a new name there, the file here removed."""
        path = self.near_file(source, subject)
        with open(path, "rb") as message:
            self.file_near(target, without_trace(message.read()), name="moved")
        os.unlink(path)

    def assertMirrored(self, *folders):
        self.assertOne(*folders)
        for folder in folders:
            far = account((without_trace(text), flags.split())
                          for text, flags in self.seen_by_imap(folder).elements())
            self.assertAlike(self.near(folder), far, folder)

    def subjects(self, folder):
        return sorted(re.search(rb"^Subject: ([^\r\n]*)", text, re.M).group(1).decode()
                      for text, _ in self.near(folder).elements())

    def test_both_sides_work_and_agree(self):
        self.sync()
        self.assertMirrored("INBOX", "work")
        self.assertEqual(len(self.near_files("INBOX")), 7)

        self.nmh_at_work()
        self.flag_near("INBOX", "message 3", "FRS")
        self.flag_near("INBOX", "message 4", "")
        self.file_near("work", mail_maker.plain(201))
        self.sync()
        self.sync()     # what one side gave the other in the first
        self.assertMirrored("INBOX", "work")
        self.assertEqual(self.subjects("INBOX"),
                         [f"message {n}" for n in (11, 12, 2, 3, 4, 6)] + ["parts 7"])
        self.assertEqual(self.subjects("work"), [f"message {n}" for n in (101, 102, 201, 5)])
        self.assertEqual(self.nmh.sequences()["replied"], {int(self.number_of("message 3"))})

        # Filed and removed on the near side, while MH packs and gets mail.
        self.nmh.run("rmm", "+inbox", self.number_of("message 4"))
        self.move_near("message 3", "INBOX", "work")
        os.unlink(self.near_file("INBOX", "message 6"))
        self.nmh.run("folder", "+inbox", "-pack")
        self.lmtp(mail_maker.plain(13))
        self.sync()
        self.sync()
        self.assertMirrored("INBOX", "work")
        self.assertEqual(self.subjects("INBOX"),
                         [f"message {n}" for n in (11, 12, 13, 2)] + ["parts 7"])
        self.assertEqual(self.subjects("work"), [f"message {n}" for n in (101, 102, 201, 3, 5)])

    def test_folders_made_on_either_side_come_to_the_other(self):
        self.sync()
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.box("Sent"), name))
        self.file_near("Sent", mail_maker.plain(301))
        self.nmh.run("folder", "+made by mh", "-create")
        self.nmh.rcvstore(mail_maker.plain(302), "made by mh")
        self.sync()
        self.sync()
        self.assertMirrored("INBOX", "Sent", "made by mh", "work")
        self.assertIn("message 301", self.nmh.run("scan", "+Sent"))

    def test_nothing_is_fetched_again(self):
        self.sync()
        before = {os.path.basename(path).split(":")[0] for path in self.near_files("INBOX")}
        for name, upheaval in self.upheavals():
            with self.subTest(name):
                upheaval()
                self._settle()
                since = self.server.log_size()
                self.sync()
                self.assertEqual(self.bodies_fetched(since), 0)
                self.assertMirrored("INBOX", "work")
        after = {os.path.basename(path).split(":")[0] for path in self.near_files("INBOX")}
        self.assertEqual((len(before - after), after - before), (1, set()))


class Mbsync(Mirror, ClientCase):
    program = "mbsync"

    def setUp(self):
        super().setUp()
        os.makedirs(os.path.join(self.client_home, "mail"))
        self.rc = self.write("mbsyncrc", f"""
IMAPAccount server
Host 127.0.0.1
Port {self.server.port}
User {self.user.name}
Pass {self.user.password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account server

MaildirStore near
Path {self.client_home}/mail/
Inbox {self.client_home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Sync All
Create Both
Expunge Both
CopyArrivalDate yes
SyncState *
""")

    def sync(self):
        return self.run_program("mbsync", "-V", "-c", self.rc, "-a")

    def test_every_strange_mail_arrives_as_it_is_on_either_side(self):
        # What has no end of a header is no mail for mbsync; its maildir has no CR before the LF.
        kept = {name: text for name, text in mail_maker.STRANGE.items()
                if b"\r" not in text and b"\n\n" in b"\n" + text}
        self.sync()
        for n, text in enumerate(kept.values(), 20):
            self.put(n, text)
            self.file_near("work", text, name=f"strange{n}")
        self.nmh.run("mark", "+inbox", "all", "-sequence", "unseen", "-add", "-zero")
        self.sync()
        self.assertMirrored("INBOX", "work")
        self.assertEqual((len(self.near_files("INBOX")), len(self.nmh.numbers("work"))),
                         (7 + len(kept), 1 + len(kept)))
        self.assertEqual(collections.Counter(without_trace(self.nmh.visible("work", n))
                                             for n in self.nmh.numbers("work")[1:]),
                         collections.Counter(kept.values()))


class OfflineImap(Mirror, ClientCase):
    program = "offlineimap"
    # It writes anew what it reads, by Python's email package, which ends each part with a line end.
    seventh = ClientCase.seventh.replace(b"--inner--\n", b"--inner--\n\n") \
        .replace(b"\n--outer--", b"\n\n--outer--")

    def setUp(self):
        super().setUp()
        self.rc = self.write("offlineimaprc", f"""
[general]
metadata = {self.client_home}/offlineimap
accounts = all
maxsyncaccounts = 1
ui = basic

[Account all]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {self.client_home}/mail
sep = /

[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {self.server.port}
remoteuser = {self.user.name}
remotepass = {self.user.password}
ssl = no
starttls = no
auth_mechanisms = LOGIN
""")

    def sync(self):
        return self.run_program("offlineimap", "-c", self.rc, "-o", "-1")


class MuttCase(ClientCase):
    program = "mutt"

    def start(self, *arguments):
        """A mutt at a terminal of its own; killed at the end of the test if it still runs."""
        master, slave = pty.openpty()
        mutt = subprocess.Popen(["mutt", "-n", "-F", self.rc, *arguments], stdin=slave,
                                stdout=slave, stderr=slave, cwd=self.client_home,
                                start_new_session=True,
                                env=self.environment())
        os.close(slave)
        self.addCleanup(os.close, master)
        self.addCleanup(mutt.wait, 10)
        self.addCleanup(mutt.kill)
        mutt.screen = master
        mutt.shown = ""
        return mutt

    def read_screen(self, mutt, timeout):
        """What it wrote within `timeout`; None when it closed the terminal."""
        if not select.select([mutt.screen], [], [], timeout)[0]:
            return ""
        try:
            data = os.read(mutt.screen, 1 << 16)
        except OSError:
            return None
        return data.decode(errors="replace") if data else None

    def until(self, mutt, text, timeout=15):
        """Until `text` came to the screen after the last that was waited for."""
        limit = time.monotonic() + timeout
        while text not in mutt.shown:
            more = self.read_screen(mutt, 0.2)
            if more is None or time.monotonic() > limit:
                self.fail(f"mutt never showed {text!r}; it showed {mutt.shown[-3000:]!r}")
            mutt.shown += more
        mutt.shown = mutt.shown.partition(text)[2]

    def type(self, mutt, *keys):
        """Functions of mutt by their names in <>, and text."""
        os.write(mutt.screen, b":push '%s'\r" % "".join(keys).encode())

    def ends(self, mutt, timeout=20):
        limit = time.monotonic() + timeout
        while True:
            more = self.read_screen(mutt, 0.2)
            mutt.shown += more or ""
            if more is None or mutt.poll() is not None:
                self.assertEqual(mutt.wait(10), 0, mutt.shown)
                return
            if time.monotonic() > limit:
                self.fail(f"mutt did not end; it showed {mutt.shown[-3000:]!r}")

    def spelt(self, folder):
        """As mutt has the name of the folder."""
        return "=" + folder

    def do(self, *keys, folder="INBOX"):
        """One mutt from start to end."""
        mutt = self.start("-f", self.spelt(folder), "-e", f"push '{''.join(keys)}<quit>'")
        self.ends(mutt)

    def only(self, name):
        """Go to the message of this Message-ID."""
        return f"<search>~i {name}@example<enter>"

    def tagged(self, name):
        """Let the next function be for the message of this Message-ID."""
        return f"<untag-pattern>~A<enter><tag-pattern>~i {name}@example<enter><tag-prefix>"

class Mutt(MuttCase):
    def setUp(self):
        super().setUp()
        self.rc = self.write("muttrc", f"""
set folder="imap://127.0.0.1:{self.server.port}/"
set imap_user="{self.user.name}"
set imap_pass="{self.user.password}"
set imap_authenticators="login"
set ssl_starttls=no
set ssl_force_tls=no
set spoolfile="=INBOX"
set record="=Sent"
set postponed="=drafts"
set copy=yes
set sendmail="{self.write_sendmail()}"
set editor=/bin/true
set abort_unmodified=no
set confirmappend=no
set confirmcreate=no
set delete=yes
set move=no
set quit=yes
set mark_old=no
set wait_key=no
set edit_headers=no
set sort=mailbox-order
set from="bob@example.org"
set use_from=yes
set hostname="example.org"
set index_format="[%s]"
set postpone=yes
set recall=no
""")

    def write_sendmail(self):
        """A sendmail that gives its message to LMTP, for the user alone."""
        path = self.write("sendmail", f"""#!{SYSTEM_PYTHON}
import smtplib, sys
with smtplib.LMTP({self.server.lmtp_socket!r}) as session:
    session.sendmail("bob@example.org", [{self.user.name!r}], sys.stdin.buffer.read())
""")
        os.chmod(path, 0o700)
        return path

    def test_it_reads_flags_files_and_removes(self):
        self.imap().ok("CREATE filed")
        self.do(self.only("m3"), "<display-message><exit>",
                self.tagged("m2"), "<flag-message>",
                self.tagged("m6"), "<save-message>=filed<enter>",
                self.tagged("m5"), "<copy-message>=work<enter>",
                self.tagged("m1"), "<delete-message>")
        self.assertOne("INBOX", "filed", "work")
        self.assertEqual(self.nmh.run("scan", "+filed", "-format", "%{subject}").split("\n")[:-1],
                         ["message 6"])
        self.assertEqual(self.nmh.run("scan", "+work", "-format", "%{subject}").split("\n")[:-1],
                         ["message 101", "message 5"])
        sequences = self.nmh.sequences()
        self.assertEqual(sequences["unseen"], {2, 7})
        self.assertEqual(sequences["flagged"], {2, 4})
        self.assertEqual(self.nmh.numbers(), [2, 3, 4, 5, 7])

    def test_mh_packs_and_delivers_while_it_has_the_folder_open(self):
        self.force_resync()
        validity, before = self.identities()
        mutt = self.start("-f", "=INBOX")
        self.until(mutt, "[message 6]")
        self.nmh.run("rmm", "+inbox", "1", "3")
        self.nmh.run("folder", "+inbox", "-pack")
        self.nmh.inc(mail_maker.plain(11))
        self.type(mutt, "<imap-fetch-mail>")
        self.until(mutt, "[message 11]")
        self.type(mutt, self.tagged("m4"), "<delete-message>", self.tagged("m5"), "<flag-message>",
                  self.tagged("m11"), "<save-message>=work<enter><sync-mailbox><quit>")
        self.ends(mutt)
        self.assertOne("INBOX", "work")
        now, after = self.identities()
        self.assertEqual((now, after), (validity, {uid: before[uid] for uid in (2, 5, 6, 7)}))
        self.assertEqual(self.nmh.sequences()["flagged"], {int(self.number_of("message 5"))})
        self.number_of("message 11", "work")

    def test_what_it_sends_is_kept_and_delivered(self):
        body = "sent by mutt\n.\nFrom the third line\n"
        for folder in ("Sent", "drafts"):
            self.imap().ok(f"CREATE {folder}")
        self.run_program("mutt", "-n", "-F", self.rc, "-s", "news of mine", "bob@example.org",
                         input=body.encode())
        self.assertOne("INBOX", "Sent")
        for folder, end in (("inbox", "\n"), ("Sent", "")):      # it sends one line more
            text = self.nmh.visible(folder, int(self.number_of("news of mine", folder)))
            self.assertTrue(text.decode().endswith("\n\n" + body + end), text)
        self.assertIn(int(self.number_of("news of mine")), self.nmh.sequences()["unseen"])
        self.assertNotIn("unseen", self.nmh.sequences("Sent"))

    def test_a_draft_is_postponed_packed_by_mh_and_sent(self):
        self.imap().ok("CREATE drafts")
        self.imap().ok("CREATE Sent")
        self.nmh.rcvstore(mail_maker.plain(50), "drafts")
        self.do("<mail>bob@example.org<enter>half a letter<enter><postpone-message>")
        self.assertOne("drafts")
        self.assertEqual(self.nmh.sequences("drafts")["draft"],
                         {int(self.number_of("half a letter", "drafts"))})
        self.nmh.run("rmm", "+drafts", self.number_of("message 50", "drafts"))
        self.nmh.run("folder", "+drafts", "-pack")
        self.do("<recall-message><send-message>")
        self.assertOne("drafts", "Sent", "INBOX")
        self.assertEqual(self.nmh.numbers("drafts"), [])
        self.number_of("half a letter", "Sent")
        self.number_of("half a letter")


class MuttOnMh(MuttCase):
    """mutt in the MH folder itself, beside a client that idles there. It locks nothing, and writes
    the flags that it has in memory."""

    def setUp(self):
        super().setUp()
        self.rc = self.write("muttrc", f"""
set folder="{self.root}"
set mbox_type=MH
set spoolfile="+inbox"
set editor="sed -i s/body/text/"
set confirmappend=no
set confirmcreate=no
set delete=yes
set move=no
set quit=yes
set mark_old=no
set wait_key=no
set sort=mailbox-order
set check_new=yes
set timeout=1
set mail_check=1
""")
        self.force_resync()
        self.client = self.select()
        self.client.ok("NOOP")
        self.client.idle()

    def spelt(self, folder):
        return os.path.join(self.root, self.path(folder))

    def told(self, *kinds):
        """Lines of these kinds come, in any order, and the session ends its IDLE."""
        lines = []
        while not set(kinds) <= {line.kind for line in lines}:
            line = self.client.untagged(20)
            self.assertIsNotNone(line, f"only told {lines!r}")
            lines.append(line)
        return lines + self.client.done().untagged

    def test_it_reads_flags_files_and_removes(self):
        os.makedirs(self.nmh.folder("filed"))
        self.nmh.write_sequences("filed", "")
        self.do(self.only("m3"), "<display-message><exit>",
                self.tagged("m2"), "<flag-message>",
                self.tagged("m6"), f"<save-message>{self.root}/filed<enter>",
                self.tagged("m1"), "<delete-message>")
        self.told("EXPUNGE", "FETCH")
        self.assertEqual(self.client.ok("NOOP") and self.client.uids(), [2, 3, 4, 5, 7])
        self.assertOne("INBOX", "filed")
        sequences = self.nmh.sequences()
        self.assertEqual(sequences["unseen"], {2, 7})
        self.assertEqual(sequences["flagged"], {2, 4})

    def test_a_message_edited_in_it_is_a_new_one_with_the_old_flags(self):
        self.do(self.tagged("m4"), "<edit>")
        self.told("EXPUNGE", "EXISTS")
        self.assertEqual(self.client.uids(), [1, 2, 3, 5, 6, 7, 8])
        self.assertLessEqual({"\\Flagged"}, self.client.flags()[8])
        self.assertOne("INBOX")

    def test_what_clients_do_while_it_has_the_folder_open(self):
        mutt = self.start("-f", self.spelt("INBOX"))
        self.until(mutt, "message 6")
        other = self.select()
        other.store(6, "+FLAGS", "\\Flagged hello")
        other.store(5, "+FLAGS", "\\Deleted")
        other.ok("EXPUNGE")
        other.append("INBOX", mail_maker.plain(11))
        self.type(mutt, self.tagged("m2"), "<delete-message>", "<sync-mailbox><quit>")
        self.ends(mutt)
        self.eventually(lambda: other.ok("NOOP") and other.uids() == [1, 3, 4, 6, 7, 8])
        self.assertOne("INBOX")
        self.assertLessEqual({"hello", "\\Flagged"}, other.flags()[6])



class Twisted(ClientCase):
    def setUp(self):
        if not os.path.exists(SYSTEM_PYTHON) or subprocess.run(
                [SYSTEM_PYTHON, "-c", "import twisted.mail.imap4"], capture_output=True).returncode:
            self.skipTest("Twisted is not installed for the system's python")
        super().setUp()

    def connect(self):
        client = subprocess.Popen([SYSTEM_PYTHON, "-B", _staged["twisted"], "127.0.0.1",
                                   str(self.server.port), self.user.name, self.user.password],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  cwd=self.client_home, env=self.environment())
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.wait, 10)
        self.addCleanup(client.kill)
        self.addCleanup(client.stdin.close)
        self.answer(client)
        return client

    def answer(self, client):
        self.assertTrue(select.select([client.stdout], [], [], 20)[0], "Twisted does not answer")
        line = client.stdout.readline()
        status, result = json.loads(line or b'["failed", "it ended"]')
        self.assertEqual(status, "ok", result)
        return result

    def call(self, client, method, *arguments, **keywords):
        line = json.dumps([method, *arguments] + ([keywords] if keywords else []))
        client.stdin.write(line.encode() + b"\n")
        client.stdin.flush()
        return self.answer(client)

    @staticmethod
    def messages(numbers):
        return {"messages": numbers}

    def bodies(self, client):
        """{UID: message} as Twisted fetches them, without marking them seen."""
        found = self.call(client, "fetchSpecific", self.messages("1:*"), uid=True, peek=True)
        return {int(parts[0][parts[0].index("UID") + 1]): parts[0][-1].encode()
                for parts in found.values()}

    def test_it_reads_flags_files_and_removes(self):
        client = self.connect()
        self.call(client, "create", "filed")
        self.assertEqual(self.call(client, "select", "INBOX")["EXISTS"], 7)
        self.assertEqual(set(self.call(client, "fetchMessage", self.messages("3"), uid=True)),
                         {"3"})
        self.call(client, "addFlags", self.messages("2"), ["\\Flagged"], uid=True)
        self.call(client, "setFlags", self.messages("4"), ["\\Answered"], uid=True)
        self.call(client, "copy", self.messages("5:6"), "filed", True)
        self.call(client, "addFlags", self.messages("1,5"), ["\\Deleted"], uid=True)
        self.assertEqual(len(self.call(client, "expunge")), 2)
        sent = as_imap(mail_maker.plain(301))
        self.call(client, "append", "filed", {"bytes": base64.b64encode(sent).decode()},
                  ["\\Seen", "\\Draft"], "05-Jan-2004 10:00:00 +0000")
        self.call(client, "logout")
        self.assertOne("INBOX", "filed")
        sequences = self.nmh.sequences()
        self.assertEqual((sequences["unseen"], sequences["flagged"], sequences["replied"]),
                         ({2, 4, 7}, {2}, {4}))
        numbers = self.nmh.numbers("filed")
        self.assertEqual([self.nmh.visible("filed", n) for n in numbers],
                         [mail_maker.plain(n) for n in (5, 6, 301)])
        self.assertEqual(self.nmh.sequences("filed")["draft"], {numbers[-1]})
        self.assertEqual(os.stat(self.nmh.file("filed", numbers[-1])).st_mtime, 1073296800)

    def test_its_session_lives_through_what_nmh_does(self):
        client = self.connect()
        self.call(client, "select", "INBOX")
        before = self.bodies(client)
        self.nmh_at_work()
        told = [int(line[0]) for line in self.call(client, "noop") if line[1:] == ["EXISTS"]]
        after = self.bodies(client)
        self.assertEqual({uid: after.get(uid) for uid in (2, 3, 4, 6, 7)},
                         {uid: before[uid] for uid in (2, 3, 4, 6, 7)})
        self.assertEqual(sorted(after), [2, 3, 4, 6, 7, 8, 9])
        self.assertEqual(told[-1], len(after))
        # By UID, when the numbers are others than they were.
        self.call(client, "addFlags", self.messages("3,8"), ["\\Deleted"], uid=True)
        self.call(client, "expunge")
        self.call(client, "logout")
        self.assertOne("INBOX", "work")
        self.assertEqual(self.identities()[1], {uid: after[uid] for uid in (2, 4, 6, 7, 9)})

    def test_uids_stay_through_upheavals_between_its_sessions(self):
        client = self.connect()
        first = self.call(client, "select", "INBOX")["UIDVALIDITY"]
        before = self.bodies(client)
        self.call(client, "logout")
        for name, upheaval in self.upheavals():
            with self.subTest(name):
                upheaval()
                if name == "folder -pack":
                    del before[2]
                client = self.connect()
                self.assertEqual(self.call(client, "select", "INBOX")["UIDVALIDITY"], first)
                self.assertEqual(self.bodies(client), before)
                self.call(client, "logout")


class Mpop(ClientCase):
    program = "mpop"

    def setUp(self):
        super().setUp()
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.client_home, "mail", name))

    def sync(self, keep="on"):
        rc = self.write("mpoprc", f"""
account default
host 127.0.0.1
port {self.server.pop3_port}
user {self.user.name}
password {self.user.password}
auth user
tls off
keep {keep}
received_header off
uidls_file {self.client_home}/uidls
delivery maildir {self.client_home}/mail
""")
        return self.run_program("mpop", f"--file={rc}", "--half-quiet")

    def kept(self):
        found = []
        for path in glob.glob(os.path.join(self.client_home, "mail", "new", "*")):
            with open(path, "rb") as message:
                found.append(message.read())
        return collections.Counter(found)

    def test_each_message_comes_once_whatever_happens_to_the_files(self):
        everything = collections.Counter(self.nmh.visible("inbox", n) for n in range(1, 8))
        self.sync()
        self.assertEqual(self.kept(), everything)
        for name, upheaval in self.upheavals():
            with self.subTest(name):
                upheaval()
                self.sync()
                self.assertEqual(self.kept(), everything)
        self.nmh.inc(mail_maker.plain(11))
        self.lmtp(mail_maker.plain(12))
        everything[mail_maker.plain(11)] += 1
        self.sync()
        came = self.kept() - everything     # with the header of its delivery
        self.assertEqual((sum(came.values()), everything - self.kept()), (1, collections.Counter()))
        self.assertIn(b"message 12", list(came)[0])
        self.assertOne("INBOX")

    def test_what_it_takes_is_gone_for_mh(self):
        self.nmh_at_work()
        here = collections.Counter(self.nmh.visible("inbox", n) for n in self.nmh.numbers())
        self.sync(keep="off")
        self.assertEqual(self.kept(), here)
        self.assertEqual(self.nmh.numbers(), [])
        self.assertOne("INBOX", "work")
        self.assertEqual(len(self.nmh.numbers("work")), 3)


class Pop3(ClientCase):
    def pop3(self):
        session = poplib.POP3("127.0.0.1", self.server.pop3_port)
        self.addCleanup(session.close)
        session.user(self.user.name)
        session.pass_(self.user.password)
        return session

    def test_every_strange_mail_arrives_as_it_is(self):
        mails = [text for text in mail_maker.STRANGE.values() if max(map(len, text.splitlines()
                                                                        or [b""])) < 2000]
        for n, text in enumerate(mails, 8):
            self.put(n, text)
        session = self.pop3()
        for n, text in enumerate(mails, 8):
            lines = session.retr(n)[1]
            self.assertEqual(b"".join(line + b"\r\n" for line in lines),
                             re.sub(rb"(?<!\n)\Z", b"\r\n", as_imap(text)), text[:80])
        session.quit()

    def test_a_session_knows_its_messages_while_mh_renumbers_them(self):
        session = self.pop3()
        self.assertEqual(session.stat()[0], 7)
        self.nmh.run("rmm", "+inbox", "1")
        self.nmh.run("folder", "+inbox", "-pack")
        self.nmh.run("sortm", "+inbox")
        self.nmh.inc(mail_maker.plain(11))
        for n in range(2, 7):
            self.assertIn(b"Subject: message %d" % n, session.retr(n)[1])
        session.dele(4)
        session.dele(5)
        session.quit()
        self.assertOne("INBOX")
        self.assertEqual(sorted(re.search(rb"Subject: (.*)", body).group(1).strip()
                                for body in self.identities()[1].values()),
                         [b"message 11", b"message 2", b"message 3", b"message 6", b"parts 7"])


if __name__ == "__main__":
    runner.main(prepare)
