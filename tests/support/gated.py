# SPDX-License-Identifier: LGPL-2.1-or-later
"""Integration tests whose imap processes (and nmh commands) go through the gate; see gate.py.

A test has a folder of messages that tell themselves apart by their Message-ID. Afterwards, whatever
was done to whom, look() says what must always hold: every message once and whole, no UID that shows
something else than before, and the same flags for IMAP and for nmh.
"""

import os
import re
import shutil
import subprocess

import case
import gate as gates
import mail_maker
import runner
from history import History
from nmh import COMMAND_FOLDERS, Nmh, find_tag

_staged = {}

OLD = mail_maker.EPOCH


def prepare():
    """To be given to runner.main()."""
    import unittest
    case.prepare()
    library = gates.find_library()
    if library is None:
        raise unittest.SkipTest("the gate is not built")
    if gates.is_sanitized(case._staged["plugin"]):
        raise unittest.SkipTest("a plugin with a sanitizer does not let the gate be loaded first")
    if not Nmh.installed():
        raise unittest.SkipTest("nmh is not installed")
    _staged["gate"] = runner.stage(library)


def mail(i):
    """Dates fall, so that sortm has something to do."""
    return mail_maker.plain(i, date=OLD - 60 * i)


def content_id(content):
    """Which message this is; the tag line and annotations above it do not matter."""
    return int(re.search(rb"Message-ID: <m(\d+)@", content, re.I).group(1))


class GatedCase(case.MhTestCase):
    comm = "imap"       # whom the gate counts; None: everybody who has it loaded

    def server_env(self):
        top = os.path.join(runner.scratch(), "gate")
        if not hasattr(GatedCase, "shared_gate"):
            GatedCase.shared_gate = gates.Gate(top, os.path.join(runner.scratch(), "nowhere"),
                                               _staged["gate"])
        return GatedCase.shared_gate.environment()

    def setUp(self):
        super().setUp()
        self.gate = GatedCase.shared_gate
        self.aim()

    def aim(self, locks=False):
        """The gate at the tree of the current user."""
        self.gate.root, self.gate.comm = os.path.realpath(self.root), self.comm
        self.gate.locks = locks
        self.gate.arm()

    def tearDown(self):
        self.gate.arm()
        self.gate.go()
        super().tearDown()

    def start_again(self):
        """Another user, so that all is as it was at the start."""
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self.gate.root = os.path.join(runner.scratch(), "nowhere")
        self.gate.arm()
        self.user = self.new_user(**self.user_settings)
        self.home = self.user.home
        self.root = os.path.join(self.home, "Mail")
        self.nmh = self.make_nmh()
        self.history = History(self)
        self.edited = {}
        self.undecided = set()      # arrivals that nobody has called unseen yet

    # -- the folder ------------------------------------------------------------------------------

    def fill(self, count=6, hole=3, adopted=True, sequences=None):
        """Messages 1.. under numbers with a hole before `hole`; known to a client."""
        self.start_again()
        for i in range(1, count + 1):
            self.nmh.put("inbox", i if i < hole else i + 1, mail(i), OLD)
        self.nmh.write_sequences("inbox", sequences or {"cur": "1", "unseen": "4", "mine": "1 5"})
        self.nmh.make_folder("other")
        client = self.imap()
        client.select()
        if adopted:
            self.force_resync("INBOX")
        self.history.look(client)
        client.logout()
        self._sessions.remove(client)
        self.aim(self.gate.locks)

    def text(self, i):
        """What message i is by now."""
        return self.edited.get(i, mail(i))

    # -- the two sides ---------------------------------------------------------------------------

    def start_nmh(self, *command, gated=False, input=b""):
        environment = self.nmh.environment()
        if gated:
            environment = self.gate.environment(environment)
        program = shutil.which(command[0], path=COMMAND_FOLDERS)
        process = subprocess.Popen((program, *command[1:]), cwd=self.home, env=environment,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        process.stdin.write(input)
        process.stdin.close()
        process.stdin = None
        return process

    # -- what must hold --------------------------------------------------------------------------

    def look(self, wanted):
        """A snapshot by a new session, held against the past and against `wanted`, the messages
        there must be."""
        client = self.imap()
        snapshot = self.history.look(client)
        ids = {}
        for uid in snapshot.uids:
            i = content_id(snapshot.body(uid))
            self.assertEqual(snapshot.body(uid), crlf(self.text(i)), f"UID {uid}")
            self.assertNotIn(i, ids, f"message {i} is there twice")
            ids[i] = uid
        self.assertEqual(sorted(ids), sorted(wanted))
        on_disk = {}
        for number in self.nmh.numbers("inbox"):
            content = self.nmh.read("inbox", number)
            on_disk[number] = content_id(content)
            tag = find_tag(content)
            visible = content if tag is None else tag.message
            visible = re.sub(rb"^(Replied: [^\n]*\n)+", b"", visible)     # of anno
            self.assertEqual(visible, self.text(on_disk[number]), f"file {number}")
        self.assertEqual(sorted(on_disk.values()), sorted(wanted), "files")
        self.same_flags(snapshot, ids, on_disk)
        for name in os.listdir(self.nmh.folder("inbox")):
            self.assertRegex(name, r"^(\d+|,\d+|\.mh_sequences)$", "left in the folder")
        client.logout()
        self._sessions.remove(client)
        return {i: snapshot.flags(uid) for i, uid in ids.items()}

    def same_flags(self, snapshot, ids, on_disk):
        sequences = self.nmh.sequences_by_nmh("inbox")
        for flag, name in (("\\Flagged", "flagged"), ("mine", "mine")):
            theirs = {on_disk.get(number) for number in sequences.get(name, ())}
            ours = {i for i, uid in ids.items() if flag in snapshot.flags(uid)}
            self.assertEqual(ours, theirs, f"{flag}: IMAP and {sequences}")
        theirs = {on_disk.get(number) for number in sequences.get("unseen", ())}
        ours = {i for i, uid in ids.items() if "\\Seen" not in snapshot.flags(uid)}
        self.assertEqual(ours - self.undecided, theirs - self.undecided, f"unseen: IMAP and {sequences}")


def crlf(text):
    return text.replace(b"\n", b"\r\n")
