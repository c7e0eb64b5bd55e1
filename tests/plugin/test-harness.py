# SPDX-License-Identifier: LGPL-2.1-or-later
"""The harness itself, on Dovecot's own maildir: what the other tests lean on must hold.

A test tool that cannot fail proves nothing, so the checks that guard the others (the log, the
timeouts, the history) are each seen to fail here.
"""

import glob
import io
import os
import poplib
import smtplib
import socket
import subprocess
import sys
import threading
import time
import types
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import imap_client  # noqa: E402
import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from nmh import find_tag, parse_sequences  # noqa: E402


def setUpModule():
    global server
    directory = os.path.join(runner.scratch(), "d")
    os.makedirs(directory)
    server = private_dovecot.PrivateDovecot(directory, driver="maildir",
                                            settings={"imap_hibernate_timeout": "1s"})
    server.start()
    runner.at_end("the server stops", server.stop)


def drop_in(user, number, folder=""):
    """A mail into a maildir, as a delivery does it."""
    where = os.path.join(user.home, "Mail", folder)
    for name in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(where, name), exist_ok=True)
    with open(os.path.join(where, "tmp", f"m{number}"), "wb") as out:
        out.write(mail_maker.plain(number))
    os.rename(os.path.join(where, "tmp", f"m{number}"), os.path.join(where, "new", f"m{number}"))


class Server(unittest.TestCase):
    count = 0

    def setUp(self):
        Server.count += 1
        self.user = server.add_user(f"h{Server.count}")

    def test_nothing_runs_as_root(self):
        self.assertNotEqual(os.geteuid(), 0)
        if runner.have_root():
            with self.assertRaises(unittest.SkipTest):
                runner.as_root("false")

    def test_a_setting_of_one_user_is_his_alone(self):
        other = server.add_user("other", mail="maildir:~/Elsewhere")
        server.imap(other).ok("CREATE x")
        self.assertTrue(os.path.isdir(os.path.join(other.home, "Elsewhere")))
        self.assertFalse(os.path.exists(os.path.join(other.home, "Mail")))

    def test_a_user_added_now_can_log_in_now(self):
        for n in range(5):
            client = server.imap(server.add_user(f"quick{n}"))
            self.assertEqual(client.ok("NOOP").status, "OK")

    def test_the_password_is_needed(self):
        client = server.imap(self.user, login=False)
        self.assertEqual(client.command(f"LOGIN {self.user.name} wrong").status, "NO")

    def test_idle_tells_of_an_arrival(self):
        drop_in(self.user, 1)
        client = server.imap(self.user)
        client.select()
        client.idle()
        drop_in(self.user, 2)
        took, lines = client.wait_for("EXISTS", 10)
        self.assertEqual(lines[-1].number, 2)
        self.assertLess(took, 5)
        self.assertEqual(client.done().status, "OK")

    def test_an_idle_session_hibernates_and_wakes(self):
        drop_in(self.user, 1)
        client = server.imap(self.user)
        client.select()
        (pid,) = self.imap_processes()
        client.idle()
        limit = time.monotonic() + 10
        while self.imap_processes() and time.monotonic() < limit:
            time.sleep(0.1)
        self.assertEqual(self.imap_processes(), [], f"imap process {pid} did not hibernate")
        drop_in(self.user, 2)
        client.wait_for("EXISTS", 10)
        client.done()
        self.assertEqual(len(client.uids()), 2)

    def imap_processes(self):
        out = server.doveadm("who", "-1").out.splitlines()
        pids = [line.split()[2] for line in out if line.startswith(self.user.name + " ")]
        alive = []
        for pid in pids:
            try:
                with open(f"/proc/{pid}/comm") as name:
                    if name.read().strip() == "imap":
                        alive.append(pid)
            except OSError:
                pass
        return alive

    def test_lmtp_delivers(self):
        with smtplib.LMTP(server.lmtp_socket) as client:
            client.sendmail("a@example.org", [self.user.name], mail_maker.plain(1))
        self.assertEqual(server.imap(self.user).select().exists, 1)

    def test_pop3_reads(self):
        drop_in(self.user, 1)
        client = poplib.POP3("127.0.0.1", server.pop3_port, timeout=20)
        client.user(self.user.name)
        client.pass_(self.user.password)
        self.assertEqual(client.stat()[0], 1)
        client.quit()

    def test_the_log_check_sees_what_it_must(self):
        log = os.path.join(runner.scratch(), "log")
        lines = ["imap(x): Panic: file a.c: line 1 (f): assertion failed: (x)", "Fatal: no",
                 "Error: Corrupted index", "imap: Error: ==1==ERROR: AddressSanitizer: heap-use",
                 "imap: Error: x.cc:1:2: runtime error: signed overflow",
                 "imap: Error: Raw backtrace", "master: Error: killed with signal 11",
                 "imap: Warning: BUG: something"]
        with open(log, "w") as out:
            out.write("imap(x): Info: all is well\n" + "\n".join(lines) + "\n")
        fake = private_dovecot.PrivateDovecot(runner.scratch())
        fake.log_path = log
        self.assertEqual(fake.bad_log_lines(), lines)
        self.assertEqual(fake.bad_log_lines(expected=["Corrupted"]), lines[:2] + lines[3:])

    def test_the_command_line_serves_and_shows(self):
        drop_in(self.user, 7)
        done = subprocess.run(
            [sys.executable if os.access(sys.executable, os.X_OK) else "/usr/bin/python3",
             tool_copy, "--driver", "maildir", "--root", os.path.join(self.user.home, "Mail"),
             "--home", self.user.home, "--show", "--once"],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("address 127.0.0.1:", done.stdout)
        self.assertIn("password ", done.stdout)
        self.assertIn("INBOX: 1 message\n", done.stdout)
        self.assertIn("message 7", done.stdout)


class Client(unittest.TestCase):
    """The parser, on lines that a server may send."""

    def parse(self, *pieces):
        return imap_client._untagged(list(pieces))

    def test_literals_lists_and_escapes(self):
        line = self.parse(b'* 3 FETCH (UID 7 BODY[HEADER.FIELDS (FROM "X")]<0> {4}', b"a)\r\n",
                          b' ENVELOPE (NIL "q\\"\\\\" (("n" NIL)) {2}', b"xy", b"))")
        self.assertEqual((line.kind, line.number), ("FETCH", 3))
        self.assertEqual(line.data["UID"], "7")
        self.assertEqual(line.data['BODY[HEADER.FIELDS (FROM "X")]<0>'], b"a)\r\n")
        self.assertEqual(line.data["ENVELOPE"], [None, b'q"\\', [[b"n", None]], b"xy"])

    def test_response_codes(self):
        line = self.parse(b"* OK [PERMANENTFLAGS (\\Seen a]b)] Flags [permitted].")
        self.assertEqual(line.kind, "OK")
        line = self.parse(b"* OK [UIDVALIDITY 17] ok")
        self.assertEqual((line.code, line.data), ("UIDVALIDITY 17", "ok"))

    def test_a_server_that_does_not_answer_is_a_timeout(self):
        listener = socket.create_server(("127.0.0.1", 0))
        done = threading.Event()

        def serve():
            peer, _ = listener.accept()
            peer.sendall(b"* OK hello\r\n")
            done.wait(20)
            peer.close()
        thread = threading.Thread(target=serve)
        thread.start()
        client = imap_client.ImapClient("127.0.0.1", listener.getsockname()[1], timeout=0.5)
        with self.assertRaises(TimeoutError):
            client.command("NOOP")
        client.close()
        done.set()
        thread.join()
        listener.close()


class Past(unittest.TestCase):
    """The history fails when a promise is broken."""

    def snapshot(self, messages, uidvalidity=5, uidnext=10, modseq=20):
        items = {uid: {"UID": str(uid), "BODY[]": body, "RFC822.SIZE": str(len(body)),
                       "INTERNALDATE": b"d", "FLAGS": []} for uid, body in messages.items()}
        box = types.SimpleNamespace(uidvalidity=uidvalidity, uidnext=uidnext, exists=len(items),
                                    highestmodseq=modseq, answer=None)
        return types.SimpleNamespace(select=lambda *_: box, fetch=lambda *_: items)

    def breaks(self, *snapshots):
        history = History(self)
        for good in snapshots[:-1]:
            history.look(good)
        with self.assertRaises(AssertionError):
            history.look(snapshots[-1])

    def test_a_broken_promise_is_seen(self):
        first = self.snapshot({1: b"a", 2: b"b"}, uidnext=3)
        self.breaks(first, self.snapshot({1: b"a", 2: b"other"}, uidnext=3))
        self.breaks(first, self.snapshot({1: b"a", 2: b"b"}, uidnext=2))
        self.breaks(first, self.snapshot({1: b"a", 2: b"b"}, uidnext=3, modseq=19))
        self.breaks(self.snapshot({2: b"b"}, uidnext=3), self.snapshot({1: b"a"}, uidnext=3))
        self.breaks(first, self.snapshot({1: b"a"}, uidnext=3), first)
        History(self).look(self.snapshot({}, uidvalidity=6, uidnext=1))

    def test_tags_and_sequences_are_read_by_our_own_rules(self):
        line = (b"X-MH-UID: 0000000007.0000000009 " + b"0a" * 16 + b" 0000000001 0000000002 "
                b"0000000003 " + b"1" * 16 + b" " + b"2" * 16 + b"\n")
        tag = find_tag(b"From x\nReplied: y\n" + line + b"Subject: z\n\nbody\n")
        self.assertEqual((tag.uidvalidity, tag.uid, tag.message), (7, 9, b"Subject: z\n\nbody\n"))
        self.assertEqual(tag.above, b"From x\nReplied: y\n")
        self.assertIsNone(find_tag(b"Subject: z\n\n" + line))
        self.assertEqual(parse_sequences("a: 1-3 5\nb:\na: 7\n"), {"a": {7}})


class Runner(unittest.TestCase):
    def test_a_failure_is_counted_once_and_told(self):
        class Inner(unittest.TestCase):
            def test_good(self):
                pass

            def test_bad(self):
                self.fail("as it should")

            def tearDown(self):
                if self._testMethodName == "test_bad":
                    self.fail("again")

            def test_skipped(self):
                self.skipTest("no")
        result = runner._Result(False)
        shown, sys.stdout = sys.stdout, io.StringIO()
        try:
            for name in ("test_good", "test_bad", "test_skipped"):
                Inner(name).run(result)
        finally:
            sys.stdout = shown
        self.assertEqual((result.passed, len(result.bad), len(result.skipped)), (1, 1, 1))


def prepare():
    global tool_copy
    folder = os.path.dirname(os.path.abspath(private_dovecot.__file__))
    copies = {os.path.basename(path): runner.stage(path)
              for path in glob.glob(os.path.join(folder, "*.py"))}
    tool_copy = copies["private_dovecot.py"]


if __name__ == "__main__":
    runner.main(prepare)
