# SPDX-License-Identifier: LGPL-2.1-or-later
"""What clients that are connected are told when somebody else changes their folder.

Each change, by a command of nmh or by a program that knows no lock, is made under the eyes of four
sessions at once: one in IDLE, one that has hibernated in IDLE, one that has the folder selected and
asks by NOOP, and one that has another folder selected and asks by STATUS. Every untagged line is
applied to what that session knew before. In the end each knows the same, was told of real changes
only, and of each once. Waits are bounded; how fast it goes is told by tests/bench/push-latency.py.
"""

import concurrent.futures
import encodings.ascii  # noqa: F401: loaded at first use otherwise, when python may be out of reach
import mailbox
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from imap_client import ImapError  # noqa: E402

COUNT = 6
NUMBERS = [1, 2, 3, 4, 5, 8]    # of UIDs 1 to 6: with a hole, for pack
SEQUENCES = {"unseen": "2 5", "flagged": "3", "work": "1 4", "replied": "8"}
FLAGS = {1: {"\\Seen", "work"}, 2: set(), 3: {"\\Seen", "\\Flagged"}, 4: {"\\Seen", "work"},
         5: set(), 6: {"\\Seen", "\\Answered"}}
WAIT = 20       # seconds, for anything


def imap_processes(server, name):
    """Pids of the imap processes of a user: sessions that are not hibernated."""
    pids = [line.split()[2] for line in server.doveadm("who", "-1").out.splitlines()
            if line.startswith(name + " ")]
    alive = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/comm") as command:
                if command.read().strip() == "imap":
                    alive.append(int(pid))
        except OSError:
            pass
    return alive


class Known:
    """What one session knows: UIDs in order (None: told of by EXISTS alone) and flags."""

    def __init__(self, test, name, client, uids, flags):
        self.test, self.name, self.client = test, name, client
        self.uids, self.flags = list(uids), {uid: set(flags[uid]) for uid in uids}
        self.expunged, self.fetched, self.lines = [], [], []

    def take(self, lines):
        for line in lines:
            self.lines.append(line)
            if line.kind == "EXPUNGE":
                self.expunged.append(self.uids.pop(line.number - 1))
            elif line.kind == "EXISTS":
                self.test.assertGreaterEqual(line.number, len(self.uids), self.told())
                self.uids += [None] * (line.number - len(self.uids))
            elif line.kind == "FETCH":
                self.test.assertLessEqual(line.number, len(self.uids), self.told())
                uid = self.uids[line.number - 1]
                self.fetched.append(uid)
                if uid is not None:
                    self.flags[uid] = set(line.data["FLAGS"]) - {"\\Recent"}

    def told(self):
        return f"{self.name} was told: {self.lines!r}"

    def knows(self, change):
        """Whether it was told of all of this change."""
        return (set(self.expunged) == set(change.gone)
                and len(self.uids) == COUNT - len(change.gone) + change.new
                and all(self.flags[uid] == flags for uid, flags in change.flags.items()))


class Change:
    """gone: UIDs that leave; new: how many come; flags: {UID: flags} of those that change."""

    def __init__(self, gone=(), new=0, flags=None, new_flags=None, fetches=1):
        self.gone, self.new, self.flags = set(gone), new, flags or {}
        self.new_flags = new_flags
        self.fetches = fetches      # how often the flags of one message may be told

    def nothing(self):
        return not (self.gone or self.new or self.flags)


class WatchedCase(MhTestCase):
    """One user who may hibernate, and the same person by a name that never does."""

    warm = True
    server_settings = {"imap_hibernate_timeout": "1s"}
    hibernating = True

    def setUp(self):
        super().setUp()
        self.awake = self.new_user(home=self.home, imap_hibernate_timeout="0",
                                   **self.user_settings)
        for n in NUMBERS:
            self.nmh.put("inbox", n, self.mail(n), mtime=1_234_500_000 + 1000 * n)
        self.nmh.write_sequences("inbox", SEQUENCES)
        self.nmh.make_folder("elsewhere")
        self.known = {}

    @staticmethod
    def mail(n):
        return mail_maker.digest(3) if n == NUMBERS[-1] else mail_maker.plain(n)

    def sh(self, script):
        """A shell command inside the folder inbox."""
        subprocess.run(["sh", "-ec", script], cwd=self.nmh.folder("inbox"), check=True,
                       env=self.nmh.environment(), stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def ended(self, client):
        """The server says BYE, or at least ends the connection."""
        with self.assertRaisesRegex((ImapError, OSError), "closed the connection|reset|Broken"):
            for _ in range(WAIT):
                client.untagged(1)

    def know(self, name, user=None):
        client = self.imap(user or self.awake)
        client.select()
        flags = client.flags()
        client.ok("NOOP")
        self.assertEqual(flags, FLAGS)
        self.known[name] = Known(self, name, client, sorted(flags), flags)
        return client

    def watch(self):
        """All four sessions, in their places."""
        self.force_resync()
        if self.hibernating:
            self.know("hibernated", self.user).idle()
        self.know("idle").idle()
        self.know("selected")
        self.other = self.imap(self.awake)
        self.other.select("elsewhere")
        self.other.status("INBOX", "MESSAGES")
        if self.hibernating:
            self.await_hibernation()
        self.assertEqual(self.pending(), {}, "told of a change where there was none")

    def await_hibernation(self, user=None):
        name = (user or self.user).name
        self.eventually(lambda: imap_processes(self.server, name) == [], timeout=WAIT,
                        interval=0.2)

    def pending(self):
        """What has come to the idle sessions without a wait."""
        found = {}
        for name in ("idle", "hibernated"):
            if name in self.known:
                line = self.known[name].client.untagged(0.001)
                if line is not None and line.kind != "OK":
                    found[name] = line
        return found

    # -- what they were told -----------------------------------------------------------------------

    def await_change(self, name, change):
        known = self.known[name]
        limit = time.monotonic() + WAIT
        while not known.knows(change):
            self.assertLess(time.monotonic(), limit, known.told())
            if known.client.idle_tag:
                line = known.client.untagged(1)
                known.take([line] if line and line.kind != "OK" else [])
            else:
                known.take(known.client.ok("NOOP").untagged)

    def expect(self, change):
        """All of them learn of the change, each in its way, and of nothing else."""
        if change.nothing() and "idle" in self.known:
            line = self.known["idle"].client.untagged(1)
            self.assertTrue(line is None or line.kind == "OK", f"told {line!r}")
        for name in self.known:
            self.await_change(name, change)
        for known in self.known.values():
            self.check(known, change)
        self.check_status(change)

    def check(self, known, change):
        if known.client.idle_tag:
            known.take(known.client.done(WAIT).untagged)
        self.assertTrue(known.knows(change), known.told())
        self.assertNothing(known.client.ok("NOOP"))
        self.assertEqual(sorted(known.expunged), sorted(change.gone), known.told())
        fetched = [uid for uid in known.fetched if uid is not None]
        self.assertEqual(set(fetched), set(change.flags), known.told())
        self.assertLessEqual(max(map(fetched.count, fetched), default=0), change.fetches,
                             known.told())
        self.assertNotIn(None, known.fetched, "flags of a new message came later: " + known.told())
        uids = known.client.uids()
        kept = [uid for uid in known.uids if uid is not None]
        self.assertEqual(uids[:len(kept)], kept)
        self.assertTrue(all(uid > COUNT for uid in uids[len(kept):]), uids)
        flags = known.client.flags()
        for uid in kept:
            self.assertEqual(flags[uid], change.flags.get(uid, FLAGS[uid]), uid)
        if change.new_flags is not None:
            self.assertEqual([flags[uid] for uid in uids[len(kept):]], change.new_flags)
        known.final = (uids, flags)

    def check_status(self, change):
        finals = [known.final for known in self.known.values()]
        self.assertTrue(all(final == finals[0] for final in finals), finals)
        uids, flags = finals[0]
        status = self.other.status("INBOX", "MESSAGES UIDNEXT UNSEEN")
        unseen = sum("\\Seen" not in flags[uid] for uid in uids)
        self.assertEqual(status, {"MESSAGES": len(uids), "UIDNEXT": COUNT + 1 + change.new,
                                  "UNSEEN": unseen})


def rewrite(test, change):
    """The text of .mh_sequences after change() of its parsed content, cur at its place."""
    sets = {name: set(numbers) for name, numbers in test.nmh.sequences().items()}
    change(sets)
    return "".join(f"{name}: {' '.join(map(str, sorted(numbers)))}\n"
                   for name, numbers in sets.items() if numbers)


class Commands:
    """Each command of nmh."""

    def test_inc(self):
        self.nmh.inc(mail_maker.plain(17), mail_maker.plain(18))
        return Change(new=2, new_flags=[set(), set()])

    def test_rcvstore(self):
        self.nmh.rcvstore(mail_maker.plain(17))
        return Change(new=1, new_flags=[set()])

    def test_refile_out(self):
        self.nmh.run("refile", "-src", "+inbox", "2", "3", "+elsewhere")
        return Change(gone=[2, 3])

    def test_refile_in(self):
        self.nmh.put("third", 1, mail_maker.plain(21))
        self.nmh.run("refile", "-src", "+third", "1", "+inbox")
        return Change(new=1)

    def test_refile_link(self):
        self.nmh.run("refile", "-link", "-src", "+inbox", "2", "+elsewhere")
        return Change()

    def test_rmm(self):
        self.nmh.run("rmm", "+inbox", "1", "4", "8")
        return Change(gone=[1, 4, 6])

    def test_rmm_and_pack(self):
        self.nmh.run("rmm", "+inbox", "1", "4")
        self.nmh.run("folder", "+inbox", "-pack")
        return Change(gone=[1, 4])

    def test_pack(self):
        self.nmh.run("folder", "+inbox", "-pack")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5, 6])
        return Change()

    def test_sortm(self):
        self.nmh.run("sortm", "+inbox", "-textfield", "subject", "-limit", "0")
        return Change()

    def test_mark(self):
        self.nmh.run("mark", "+inbox", "1", "2", "-sequence", "flagged", "-add")
        self.nmh.run("mark", "+inbox", "5", "-sequence", "unseen", "-delete")
        return Change(flags={1: FLAGS[1] | {"\\Flagged"}, 2: {"\\Flagged"}, 5: {"\\Seen"}})

    def test_pick_sequence(self):
        self.nmh.run("pick", "+inbox", "-subject", "message 4", "-sequence", "picked")
        return Change(flags={4: FLAGS[4] | {"picked"}})

    def test_anno(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "Replied", "-text", "x")
        return Change(flags={4: FLAGS[4] | {"\\Answered"}})

    def test_anno_of_a_field_that_says_nothing_to_imap(self):
        self.nmh.run("anno", "+inbox", "4", "-component", "X-Note", "-text", "x")
        return Change()

    def test_repl_annotate(self):
        script = os.path.join(self.home, "answer")
        with open(script, "w") as out:
            out.write("#!/bin/sh\nexec send -mts sendmail/pipe -sendmail /bin/true \"$mhdraft\"\n")
        os.chmod(script, 0o700)
        self.nmh.run("repl", "+inbox", "4", "-annotate", "-editor", "/bin/true", "-whatnowproc",
                     script)
        self.assertIn(b"\nReplied: ", b"\n" + self.nmh.read("inbox", 4))
        return Change(flags={4: FLAGS[4] | {"\\Answered"}})

    def test_burst(self):
        self.nmh.run("burst", "+inbox", "8", "-noinplace")
        self.assertEqual(self.nmh.numbers(), [*NUMBERS, 9, 10, 11])
        return Change(new=3)

    def test_show_and_next(self):
        self.nmh.run("show", "+inbox", "1", "-showproc", "cat")
        self.nmh.run("show", "+inbox", "3", "-showproc", "cat")
        self.nmh.run("next", "+inbox", "-showproc", "cat")
        return Change()

    def test_show_of_an_unseen_message(self):
        self.nmh.run("show", "+inbox", "2", "-showproc", "cat")
        return Change(flags={2: {"\\Seen"}})

    def test_comp_with_a_draft_folder(self):
        self.nmh.run("comp", "-draftfolder", "+inbox", "-nowhatnowproc")
        return Change(new=1)


class ForeignEdits:
    """Each way in which programs other than nmh change a folder."""

    def mark_4_seen_flagged(self, sets):
        sets["flagged"] = sets.get("flagged", set()) | {4}
        sets["unseen"].discard(2)

    changed = {2: {"\\Seen"}, 4: FLAGS[4] | {"\\Flagged"}}

    def test_sequences_rewritten_by_rename_as_exmh_does(self):
        text = rewrite(self, self.mark_4_seen_flagged)
        self.nmh.put("inbox", ".mh_sequences.new", text.encode())
        self.sh("mv .mh_sequences.new .mh_sequences")
        return Change(flags=self.changed)

    def test_sequences_rewritten_as_mutt_does(self):
        # It removes the old file before it renames the new one.
        text = rewrite(self, self.mark_4_seen_flagged)
        self.nmh.put("inbox", ".mutt-tmp-1", text.encode())
        os.unlink(self.nmh.file("inbox", ".mh_sequences"))
        os.rename(self.nmh.file("inbox", ".mutt-tmp-1"), self.nmh.file("inbox", ".mh_sequences"))
        return Change(flags=self.changed, fetches=3)

    def test_unseen_rewritten_as_claws_does(self):
        text = rewrite(self, lambda sets: sets["unseen"].discard(2))
        self.nmh.put("inbox", ".mh_sequences.new", text.encode())
        self.sh("mv .mh_sequences.new .mh_sequences")
        return Change(flags={2: {"\\Seen"}})

    def test_python_mailbox_adds_and_removes(self):
        box = mailbox.MH(self.nmh.folder("inbox"))
        box.lock()
        box.add(mail_maker.plain(17))
        box.remove(3)
        box.flush()
        box.unlock()
        box.close()
        return Change(gone=[3], new=1)

    def test_python_mailbox_sets_sequences(self):
        box = mailbox.MH(self.nmh.folder("inbox"))
        box.lock()
        sequences = box.get_sequences()
        sequences["flagged"] = [3, 4]
        sequences["unseen"] = [5]
        box.set_sequences(sequences)
        box.unlock()
        return Change(flags=self.changed)

    def test_mv_to_another_number(self):
        self.sh("mv 5 50")
        return Change()

    def test_mv_away(self):
        self.sh("mv 5 ../gone")
        return Change(gone=[5])

    def test_mv_over_another_message(self):
        self.sh("mv -f 3 5")
        return Change(gone=[5])

    def test_mv_into_the_folder(self):
        self.nmh.put(".", "new", mail_maker.plain(17))
        self.sh("mv ../new 19")
        return Change(new=1, new_flags=[set()])

    def test_cp(self):
        self.nmh.put(".", "new", mail_maker.plain(17))
        self.sh("cp ../new 19")
        return Change(new=1, new_flags=[set()])

    def test_cp_a_restores_the_folder(self):
        self.sh("cp -a . ../backup; for n in [0-9]*; do cp -a ../backup/$n .t; mv -f .t $n;"
                " done; cp -a ../backup/.mh_sequences .t; mv -f .t .mh_sequences")
        return Change()

    def test_sed_i(self):
        self.sh("sed -i 's/^This is the body/This was the body/' 3")
        return Change(gone=[3], new=1, new_flags=[FLAGS[3]])

    def test_an_editor_in_place(self):
        self.sh("echo an added line >> 3")
        return Change(gone=[3], new=1, new_flags=[FLAGS[3]])

    def test_procmail_writes_and_links(self):
        self.nmh.put("inbox", "_x.y", mail_maker.plain(17))
        self.sh("ln _x.y 9; rm _x.y")
        return Change(new=1, new_flags=[set()])

    def test_another_session(self):
        client = self.imap(self.awake)
        client.select()
        client.store(2, "+FLAGS", "\\Flagged hello")
        client.store(3, "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        client.append("INBOX", mail_maker.plain(17))
        return Change(gone=[3], new=1, flags={2: {"\\Flagged", "hello"}}, fetches=1)


class Matrix(WatchedCase):
    """Its folders with their sessions are made some ahead, by threads: most of it is waiting."""

    AHEAD = 4
    _coming = []
    _pool = None
    _one = threading.Lock()

    def setUp(self):
        with self._one:
            if Matrix._pool is None:
                Matrix._pool = concurrent.futures.ThreadPoolExecutor(self.AHEAD)
                Matrix._left = sum(name.startswith("test_") for name in dir(Matrix))
                super().setUp()     # the server
        while len(self._coming) < min(self.AHEAD, self._left):
            self._coming.append(self._pool.submit(self.made))
        Matrix._left -= 1
        world = self._coming.pop(0).result(3 * WAIT)
        for name in ("_expected", "_log_began", "_sessions", "_names", "server", "user", "home",
                     "root", "nmh", "awake", "known", "other"):
            setattr(self, name, getattr(world, name))

    @classmethod
    def made(cls):
        world = cls("test_rmm")
        with cls._one:
            WatchedCase.setUp(world)
        world.watch()
        return world

def seen_by_all(function):
    def test(self):
        self.expect(function(self))
    test.__name__ = function.__name__
    return test


for _group in (Commands, ForeignEdits):
    for _name, _value in list(vars(_group).items()):
        if _name.startswith("test_"):
            setattr(Matrix, _name, seen_by_all(_value))
        elif not _name.startswith("__"):
            setattr(Matrix, _name, _value)


class Idle(WatchedCase):
    """A session in IDLE, alone or with another one."""

    hibernating = False
    trace = True
    user_settings = {"mh_unseen_grace": "1"}
    server_settings = {"mail_index_log_rotate_max_size": "64k"}

    def idler(self):
        client = self.imap(self.awake)
        client.select()
        client.idle()
        return client

    def wakeups(self):
        """How often the imap processes came back from waiting."""
        count = 0
        for name in os.listdir(self.server.trace):
            with open(os.path.join(self.server.trace, name), errors="replace") as calls:
                count += sum(call.startswith("epoll_wait(") for call in calls)
        return count

    def await_quiet(self, seconds=2.5):
        """How many times they woke until they slept for so long."""
        began = count = self.wakeups()
        limit, quiet_since = time.monotonic() + 3 * WAIT, time.monotonic()
        while time.monotonic() - quiet_since < seconds:
            self.assertLess(time.monotonic(), limit, f"{count - began} wake-ups and no end")
            time.sleep(0.2)
            now = self.wakeups()
            if now != count:
                count, quiet_since = now, time.monotonic()
        return count - began

    def test_our_own_writes_wake_nobody_for_long_and_tell_nothing(self):
        self.force_resync()
        first, second = self.idler(), self.idler()
        self.await_quiet()
        self.assertIsNone(first.untagged(0.01))
        self.nmh.run("mark", "+inbox", "1", "-sequence", "flagged", "-add")
        self.assertLess(self.await_quiet(), 60)
        third = self.imap(self.awake)
        third.select()
        third.store("2:3", "+FLAGS.SILENT", "\\Answered hello")
        third.logout()
        self.assertLess(self.await_quiet(), 100)
        for client in (first, second):
            told = [line for line in client.done().untagged if line.kind not in ("OK", "FLAGS")]
            self.assertEqual([(line.kind, line.number) for line in told],
                             [("FETCH", 1), ("FETCH", 2), ("FETCH", 3)])
            self.assertNothing(client.ok("NOOP"))

    def test_adoption_while_idle_tells_nothing(self):
        client = self.imap(self.awake)
        client.select()
        client.ok("NOOP")
        client.idle()
        self.eventually(lambda: all(self.nmh.tag("inbox", n) for n in NUMBERS), timeout=WAIT)
        self.assertLess(self.await_quiet(), 60)
        self.assertNothing(client.done())
        self.assertNothing(client.ok("NOOP"))

    def test_a_writer_that_is_slow_is_told_of_when_it_closes_its_file(self):
        client = self.idler()
        content = mail_maker.plain(17)
        with open(self.nmh.file("inbox", 17), "wb", buffering=0) as writer:
            writer.write(content[:60])
            line = client.untagged(1.5)
            self.assertTrue(line is None or line.kind == "OK", f"told {line!r}")
            writer.write(content[60:])
        client.wait_for("EXISTS", WAIT)
        client.done()
        self.assertEqual(client.body(COUNT + 1), mail_maker.as_imap(content))

    def test_new_mail_is_unseen_from_its_first_exists_on(self):
        client = self.idler()
        self.nmh.inc(mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)
        client.done()
        self.assertEqual(client.flags()[COUNT + 1], set())
        self.assertEqual(client.status("elsewhere", "MESSAGES"), {"MESSAGES": 0})
        client.idle()
        self.nmh.put("inbox", 30, mail_maker.plain(30))     # as procmail: no sequence is written
        _, lines = client.wait_for("EXISTS", WAIT)
        lines += client.done().untagged
        self.assertEqual([line for line in lines if line.kind == "FETCH"], [])
        self.assertEqual(client.flags()[COUNT + 2], set())

    def test_a_folder_that_is_removed_ends_the_session(self):
        client = self.idler()
        self.nmh.run("rmf", "-nointeractive", "+inbox")
        self.ended(client)
        self.assertFalse(os.path.exists(self.nmh.folder("inbox")))

    def test_a_busy_lock_of_nmh_is_waited_for_without_a_loop(self):
        self.force_resync()
        client = self.idler()
        self.await_quiet()
        with self.nmh.sequences_locked("inbox"):
            os.unlink(self.nmh.file("inbox", 3))
            line = client.wait_for("EXPUNGE", WAIT)[1][-1]
            self.assertEqual(line.number, 3)
            before = self.wakeups()
            time.sleep(3)
            self.assertLess(self.wakeups() - before, 120)
        self.await_quiet()
        self.assertNothing(client.done(), ("EXISTS", "EXPUNGE", "FETCH"))

    def test_log_rotation_makes_nobody_deaf(self):
        self.force_resync()
        client = self.idler()
        log = os.path.join(self.state_of("inbox"), "index", "dovecot.index.log")
        inode = os.stat(log).st_ino
        other = self.imap(self.awake)
        other.select()
        for n in range(3000):
            other.store("1:*", "+FLAGS.SILENT" if n % 2 else "-FLAGS.SILENT", "\\Answered hello work")
            if os.stat(log).st_ino != inode:
                break
        self.assertNotEqual(os.stat(log).st_ino, inode, "the log was not rotated")
        self.await_quiet()
        client.done()
        client.idle()
        other.store(1, "+FLAGS", "\\Deleted")
        client.wait_for("FETCH", WAIT)

    def state_of(self, folder):
        for name in os.listdir(os.path.join(self.root, ".mhsync")):
            state = os.path.join(self.root, ".mhsync", name)
            if os.path.exists(os.path.join(state, "notice")):
                return state
        raise AssertionError(f"no state of {folder} with a notice")


class NoInotify(WatchedCase):
    """Where inotify is not to be had, every mailbox_idle_check_interval is looked."""

    server_settings = {"mailbox_idle_check_interval": "1s"}
    hibernating = False

    def setUp(self):
        strace = private_dovecot.tool("strace")
        self.extra_config = f"""
service imap {{
  executable = {strace} -D -f -qq -o /dev/null -e trace=inotify_init,inotify_init1 -e inject=inotify_init,inotify_init1:error=EMFILE /usr/lib/dovecot/imap
}}
"""
        super().setUp()

    def test_changes_are_told_all_the_same(self):
        self.allow_log("Inotify instance limit")
        self.force_resync()
        client = self.know("idle")
        client.idle()
        self.nmh.run("rmm", "+inbox", "3")
        client.wait_for("EXPUNGE", WAIT)
        self.nmh.inc(mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)
        self.nmh.run("mark", "+inbox", "4", "-sequence", "flagged", "-add")
        client.wait_for("FETCH", WAIT)
        client.done()
        self.assertEqual(client.flags()[4], FLAGS[4] | {"\\Flagged"})


class Hibernated(WatchedCase):
    """One session that has hibernated, alone with its folder."""

    user_settings = {"mh_unseen_grace": "1"}

    def sleeper(self):
        self.force_resync()
        client = self.know("hibernated", self.user)
        client.idle()
        self.await_hibernation()
        return client

    def test_it_comes_back_by_its_own_command_with_all_it_knew(self):
        client = self.sleeper()
        self.assertNothing(client.done())
        self.assertNothing(client.ok("NOOP"))
        self.assertEqual(client.flags(), FLAGS)
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))

    def test_it_hibernates_again_after_each_change(self):
        client = self.sleeper()
        for n in range(3):
            self.nmh.run("mark", "+inbox", "1", "-sequence", "flagged",
                         "-delete" if n % 2 else "-add")
            client.wait_for("FETCH", WAIT)
            self.await_hibernation()
        self.assertNothing(client.done())

    def test_a_change_by_another_session(self):
        client = self.sleeper()
        other = self.imap(self.awake)
        other.select()
        other.store(1, "+FLAGS", "hello")
        _, lines = client.wait_for("FETCH", WAIT)
        self.assertEqual(lines[-1].number, 1)
        self.await_hibernation()
        other.append("INBOX", mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)

    def test_a_folder_without_sequences(self):
        os.unlink(self.nmh.file("inbox", ".mh_sequences"))
        self.force_resync()
        client = self.imap()
        client.select()
        client.idle()
        self.await_hibernation()
        self.nmh.rcvstore(mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)

    def test_sequences_removed_while_it_hibernates(self):
        client = self.sleeper()
        os.unlink(self.nmh.file("inbox", ".mh_sequences"))
        client.wait_for("FETCH", WAIT)
        self.eventually(lambda: client.done().status if client.idle_tag else
                        set(map(frozenset, client.flags().values())) == {frozenset({"\\Seen"})}
                        and client.ok("NOOP"))

    def test_a_folder_packed_and_sorted_under_it(self):
        client = self.sleeper()
        self.nmh.run("folder", "+inbox", "-pack")
        self.nmh.run("sortm", "+inbox", "-textfield", "subject", "-limit", "0")
        line = client.untagged(1)
        self.assertTrue(line is None or line.kind == "OK", f"told {line!r}")
        self.await_hibernation()
        self.assertNothing(client.done())
        self.assertEqual(client.flags(), FLAGS)
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))

    def test_a_folder_removed_under_it_ends_the_session(self):
        self.allow_log("ailed")
        client = self.sleeper()
        self.nmh.run("rmf", "-nointeractive", "+inbox")
        self.ended(client)
        again = self.imap()
        self.assertEqual(again.select().exists, 0)

    def test_a_folder_renamed_under_it_ends_the_session_and_keeps_all(self):
        self.allow_log("ailed")
        client = self.sleeper()
        os.rename(self.nmh.folder("inbox"), self.nmh.folder("moved"))
        client.socket.sendall(b"DONE\r\n")
        self.ended(client)
        again = self.imap()
        again.select("moved")
        self.assertEqual(again.flags(), FLAGS)

    def test_it_does_not_hibernate_while_a_file_is_being_written(self):
        self.force_resync()
        client = self.know("hibernated", self.user)
        content = mail_maker.plain(17)
        with open(self.nmh.file("inbox", 17), "wb", buffering=0) as writer:
            writer.write(content[:60])
            client.idle()
            limit = time.monotonic() + 5
            while time.monotonic() < limit:
                self.assertNotEqual(imap_processes(self.server, self.user.name), [])
                time.sleep(0.2)
            writer.write(content[60:])
        client.wait_for("EXISTS", WAIT)
        self.await_hibernation()

    def test_it_does_not_hibernate_before_all_is_tagged(self):
        client = self.imap()
        client.select()
        client.idle()
        self.await_hibernation()
        self.assertTrue(all(self.nmh.tag("inbox", n) for n in NUMBERS))

    def test_nothing_is_missed_between_its_last_look_and_its_sleep(self):
        """Arrivals at every moment around the one at which it hibernates."""
        client = self.sleeper()
        exists = COUNT
        for n in range(40 if runner.LONG else 3):
            self.nmh.run("mark", "+inbox", "1", "-sequence", "flagged",
                         "-delete" if n % 2 else "-add")
            client.wait_for("FETCH", WAIT)
            time.sleep(1 + n * 0.005 % 0.1)
            exists += 1
            self.nmh.put("inbox", 100 + n, mail_maker.plain(100 + n))
            _, lines = client.wait_for("EXISTS", WAIT)
            self.assertEqual(lines[-1].number, exists)


if __name__ == "__main__":
    runner.main(prepare)
