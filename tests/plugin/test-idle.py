# SPDX-License-Identifier: LGPL-2.1-or-later
"""IDLE and hibernation: what is told and when, what wakes nobody, what must not be slept over."""

import contextlib
import fcntl
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from case import prepare  # noqa: E402
from watched import COUNT, FLAGS, NUMBERS, WAIT, WatchedCase, imap_processes  # noqa: E402


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

    def await_quiet(self, seconds=1.2):
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
        with self.nmh.sequences_locked("inbox"):    # so that only the log tells of it
            other.store(1, "+FLAGS", "\\Deleted")
            client.wait_for("FETCH", WAIT)

    def state_of(self, folder):
        for name in os.listdir(os.path.join(self.root, ".mhsync")):
            state = os.path.join(self.root, ".mhsync", name)
            if os.path.exists(os.path.join(state, "notice")):
                return state
        raise AssertionError(f"no state of {folder} with a notice")


class BusyFolder(WatchedCase):
    """Another process of ours holds the folder's lock for longer than anybody waits."""

    user_settings = {"mh_lock_timeout": "1s"}

    @contextlib.contextmanager
    def locked(self):
        (lock,) = [os.path.join(self.root, ".mhsync", name, "lock")
                   for name in os.listdir(os.path.join(self.root, ".mhsync"))
                   if os.path.exists(os.path.join(self.root, ".mhsync", name, "notice"))]
        with open(lock, "r+b") as held:
            fcntl.lockf(held, fcntl.LOCK_EX)
            yield

    def test_sessions_go_on_with_what_is_known(self):
        self.allow_log("is locked by .*: shown as it was last known")
        self.force_resync()
        idle = self.know("idle")
        idle.idle()
        sleeper = self.know("hibernated", self.user)
        sleeper.idle()
        self.await_hibernation()
        selected = self.know("selected")
        with self.locked():
            self.nmh.put("inbox", 17, mail_maker.plain(17))
            self.assertNothing(selected.ok("NOOP"))
            selected.store(1, "+FLAGS", "hello")
            self.assertEqual(selected.flags()[1], FLAGS[1] | {"hello"})
            self.assertEqual(len(self.select().uids()), COUNT)
            self.assertNothing(sleeper.done(), ("EXISTS", "EXPUNGE"))
            sleeper.ok("NOOP")
        self.assertEqual(len(self.eventually(lambda: selected.ok("NOOP").all("EXISTS"))), 1)
        idle.wait_for("EXISTS", WAIT)
        self.assertEqual(len(self.eventually(lambda: sleeper.ok("NOOP").all("EXISTS"))), 1)
        self.eventually(lambda: self.nmh.sequences()["hello"] == {1})

    def test_what_was_moved_meanwhile_is_not_moved_again(self):
        self.allow_log("is locked by .*: shown as it was last known")
        selected = self.know("selected")
        selected.ok("CREATE other")
        idle = self.know("idle")
        idle.idle()
        with self.locked():
            selected.ok("UID MOVE 2 other")
            self.assertIn(2, selected.uids())
            again = selected.command("UID MOVE 2 other")
            self.assertIn("EXPUNGEISSUED", str(again))
        self.assertEqual(len(self.eventually(lambda: selected.ok("NOOP").all("EXPUNGE"))), 1)
        self.assertEqual(len(self.nmh.numbers("other")), 1)


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
            limit = time.monotonic() + 3
            while time.monotonic() < limit:
                self.assertNotEqual(imap_processes(self.server, self.user.name), [])
                time.sleep(0.2)
            writer.write(content[60:])
        client.wait_for("EXISTS", WAIT)
        self.await_hibernation()

    def test_it_does_not_hibernate_before_all_is_tagged(self):
        more = range(20, 40)
        for n in more:
            self.nmh.put("inbox", n, mail_maker.plain(n))
        client = self.imap()
        client.select()
        client.idle()
        self.await_hibernation()
        self.assertTrue(all(self.nmh.tag("inbox", n) for n in [*NUMBERS, *more]))

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


class LastMoment(WatchedCase):
    """When both are due at once, Dovecot hibernates a session before it looks what has come."""

    server_settings = {"imap_hibernate_timeout": "3s"}
    user_settings = {"mh_unseen_grace": "1"}

    def test_a_change_that_it_had_not_read_when_it_hibernated_is_told(self):
        self.force_resync()
        client = self.know("hibernated", self.user)
        client.idle()
        time.sleep(2)       # nothing is due any more
        (pid,) = imap_processes(self.server, self.user.name)
        os.kill(pid, signal.SIGSTOP)
        try:
            self.nmh.rcvstore(mail_maker.plain(17))
            time.sleep(4)
        finally:
            os.kill(pid, signal.SIGCONT)
        client.wait_for("EXISTS", WAIT)


if __name__ == "__main__":
    runner.main(prepare)
