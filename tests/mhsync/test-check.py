#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mhsync check: each thing that can be wrong is found and nothing else; nothing is written.
With --fix, what can be cured is cured, and no message is lost."""

import fcntl
import json
import os
import pty
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from mhsync import MhsyncCase, prepare  # noqa: E402

OLD = 1_234_500_000


class Tidied(MhsyncCase):
    def setUp(self):
        super().setUp()
        for n in range(1, 5):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.nmh.write_sequences("inbox", {"unseen": "2"})
        self.mhsync("reindex", "--all")

    def found(self, *arguments):
        """The problems as (kind, about)."""
        code, out, err = self.run_mhsync("--json", "check", *(arguments or ["+inbox"]))
        objects = [json.loads(line) for line in out.splitlines()]
        got = [(each["kind"], each["about"]) for each in objects if each["type"] == "problem"]
        self.assertEqual(code, 1 if got else 0, out + err)
        return got

    def fix(self, *arguments, code=0):
        """What was cured and what is left, each as a set of (kind, about)."""
        got, out, err = self.run_mhsync("--json", "check", "--fix", *(arguments or ["+inbox"]))
        self.assertEqual(got, code, out + err)
        problems = [each for each in map(json.loads, out.splitlines()) if each["type"] == "problem"]
        cured = {(each["kind"], each["about"]) for each in problems if each["cured"]}
        left = {(each["kind"], each["about"]) for each in problems if not each["cured"]}
        return cured, left

    def put_raw(self, name, content, folder="inbox"):
        path = os.path.join(self.nmh.folder(folder), name)
        with open(path, "wb") as message:
            message.write(content)
        os.utime(path, (OLD, OLD))
        return path

    def state_dir(self, folder):
        """Of the folder, by the path in its journal."""
        for name in os.listdir(os.path.join(self.root, ".mhsync")):
            journal = os.path.join(self.root, ".mhsync", name, "journal")
            if os.path.exists(journal):
                with open(journal, "rb") as lines:
                    if any(line.startswith(b"D ") and folder.encode() in line.split() for line in lines):
                        return os.path.dirname(journal)
        raise AssertionError(f"no state of {folder}")

    def age_state(self, directory, days):
        then = time.time() - days * 24 * 3600
        for top, _, files in os.walk(directory):
            for name in files:
                os.utime(os.path.join(top, name), (then, then))


class Check(Tidied):
    def test_a_tree_at_work_is_clean(self):
        self.nmh.make_folder("work")
        self.nmh.run("refile", "+work", "-src", "+inbox", "1")
        self.nmh.put("inbox", 9, mail_maker.plain(9), mtime=OLD)
        self.nmh.run("rmm", "+inbox", "3")
        self.assertEqual(self.found("--all"), [])
        self.select().ok("NOOP")
        self.assertEqual(self.found("--all"), [])

    def test_names_that_break_nmh(self):
        for name in ("007", "2147483547"):
            with open(os.path.join(self.nmh.folder("inbox"), name), "w") as message:
                message.write("From: a\n\n")
        os.mkdir(os.path.join(self.nmh.folder("inbox"), "12"))
        os.symlink("1", os.path.join(self.nmh.folder("inbox"), "13"))
        self.assertEqual(sorted(self.found()),
                         [("name", "007"), ("name", "2147483547"), ("no-file", "13"),
                          ("numeric-folder", "12")])

    def test_sequences(self):
        self.nmh.write_sequences("inbox", "unseen: 2 77-79\nno colon\nwork: 1\n")
        self.assertEqual(self.found(), [("sequences-malformed", ""), ("sequence-stale", "unseen")])

    def test_messages_that_are_empty_or_unreadable(self):
        with open(self.nmh.file("inbox", 2), "wb"):
            pass
        os.utime(self.nmh.file("inbox", 2), (OLD, OLD))
        os.chmod(self.nmh.file("inbox", 3), 0)
        self.eventually(lambda: self.found() == [("empty", "2"), ("unreadable", "3")], timeout=20,
                        interval=1)

    def test_a_content_that_changed_under_the_same_size_and_date(self):
        path = self.nmh.file("inbox", 2)
        stat = os.stat(path)
        with open(path, "r+b") as message:
            message.seek(-2, os.SEEK_END)
            message.write(b"X")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        self.assertEqual(self.found(), [("changed", "2")])

    def test_a_copy_with_the_line_of_its_original(self):
        shutil.copy2(self.nmh.file("inbox", 2), self.nmh.file("inbox", 8))
        self.assertEqual(self.found(), [("same-tag", "8")])
        self.mhsync("reindex", "+inbox")
        self.assertEqual(self.found(), [])

    def test_a_lost_store_whose_records_the_journal_still_has_is_nothing(self):
        for top, _, files in os.walk(os.path.join(self.root, ".mhsync")):
            if "store.db" in files:
                os.unlink(os.path.join(top, "store.db"))
        self.assertEqual(self.found(), [])

    def test_the_profile_and_what_is_left_of_folders(self):
        self.nmh.put("gone", 1, mail_maker.plain(1), mtime=OLD)
        self.mhsync("reindex", "+gone")
        gone = self.nmh.folder("gone")
        shutil.rmtree(gone)
        with open(os.path.join(self.root, "context"), "w") as context:
            context.write(f"Current-Folder: inbox\natr-mine-{gone}: 1\n")
        self.nmh.components.pop("Unseen-Sequence")
        self.nmh.write_profile()
        self.assertEqual(self.found("--all"),
                         [("no-unseen-sequence", os.path.join(self.home, ".mh_profile")),
                          ("private-orphan", gone), ("orphan-state", "gone")])

    def test_it_writes_nothing(self):
        def everything():
            found = {}
            for top, folders, files in os.walk(self.home):
                for name in folders + files:
                    stat = os.lstat(os.path.join(top, name))
                    found[os.path.join(top, name)] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
            return found
        before = everything()
        self.found("--all")
        self.assertEqual(everything(), before)


class ExitCodes(Tidied):
    """70 is for bugs alone; test-reindex.py has those of the command line and of signals."""

    def codes(self, *arguments, **environment):
        code, out, err = self.run_mhsync(*arguments, env=environment)
        return code, out + err

    def test_0_is_clean_and_1_has_problems(self):
        self.assertEqual(self.codes("check", "+inbox")[0], 0)
        os.symlink("1", self.nmh.file("inbox", 13))
        self.assertEqual(self.codes("check", "+inbox")[0], 1)

    def test_64_is_a_wrong_line(self):
        self.assertEqual(self.codes("check", "+nowhere")[0], 64)
        self.assertEqual(self.codes("--quiet", "--verbose", "check", "+inbox")[0], 64)
        self.assertEqual(self.codes("import-uids", "--from", "exchange", "+inbox")[0], 64)

    def test_65_is_damage(self):
        with open(os.path.join(self.state_dir("inbox"), "journal"), "r+b") as journal:
            journal.write(b"rubbish")
        for command in ("status", "check"):
            self.assertEqual(self.codes(command, "+inbox")[0], 65)

    def test_74_is_a_disk_that_fails(self):
        gate = self.gate()
        codes = set()
        for n in range(1, 5):
            self.nmh.put("inbox", 10 + n, mail_maker.plain(n), mtime=OLD)
            gate.arm(fail_at=f"fdatasync/{n}:EIO")
            codes.add(self.codes("reindex", "+inbox", **gate.environment())[0])
        self.assertIn(74, codes)
        self.assertLessEqual(codes, {0, 1, 74})

    def test_75_is_busy_and_names_the_holder(self):
        with open(os.path.join(self.state_dir("inbox"), "lock"), "r+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            code, said = self.codes("--lock-timeout", "0.1", "reindex", "+inbox")
        self.assertEqual(code, 75, said)
        self.assertIn(f"pid {os.getpid()}", said)

    def test_77_is_no_permission(self):
        os.chmod(self.nmh.folder("inbox"), 0)
        code, said = self.codes("check", "+inbox")
        os.chmod(self.nmh.folder("inbox"), 0o700)
        self.assertEqual(code, 77, said)

    def test_78_is_the_configuration(self):
        self.assertEqual(self.codes("--root", "/nowhere", "check", "+inbox")[0], 78)


class Terminal(Tidied):
    def said_on_a_terminal(self, **environment):
        """What check says there, of one problem and one error."""
        os.symlink("1", self.nmh.file("inbox", 13))
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            os.execve(self.program(), ["mhsync", "check", "+inbox", "+nowhere"],
                      {**self.nmh.environment(), "TERM": "xterm", **environment})
        said = b""
        try:
            while chunk := os.read(terminal, 65536):
                said += chunk
        except OSError:
            pass        # its other end is closed
        os.close(terminal)
        os.waitpid(pid, 0)
        return said.decode()

    def test_problems_and_errors_stand_out(self):
        said = self.said_on_a_terminal()
        self.assertIn("\33[1m+inbox 13\33[0m: ", said)
        self.assertIn("\33[1;31mmhsync:\33[0m ", said)

    def test_no_color(self):
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            said = self.said_on_a_terminal(**environment)
            self.assertIn("+inbox 13: ", said)
            self.assertNotIn("\33", said)
            os.unlink(self.nmh.file("inbox", 13))

    def test_elsewhere_there_are_none(self):
        os.symlink("1", self.nmh.file("inbox", 13))
        _, out, err = self.run_mhsync("check", "+inbox", "+nowhere", env={"TERM": "xterm"})
        self.assertNotIn("\33", out + err)


class Verbose(Tidied):
    def test_status_tells_where_the_state_is(self):
        got, = self.mhsync_json("-v", "status", "+inbox")
        self.assertEqual(got["state_dir"], self.state_dir("inbox"))
        self.assertNotIn("state_dir", self.mhsync_json("status", "+inbox")[0])
        self.assertIn(self.state_dir("inbox"), self.mhsync("-v", "status", "+inbox"))

    def test_how_long_it_took(self):
        self.assertRegex(self.run_mhsync("-v", "reindex", "+inbox")[2], r"\+inbox: took \d+ ms")
        self.assertEqual(self.run_mhsync("reindex", "+inbox")[2], "")

    @runner.needs_root
    def test_reindex_tells_why_a_message_is_left_as_it_is(self):
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        runner.as_root("chgrp", "root", self.nmh.file("inbox", 7))
        self.assertIn("message 7 stays as it is: ", self.run_mhsync("-v", "reindex", "+inbox")[2])


class Found(Tidied):
    def test_what_programs_have_left_when_they_died(self):
        for name in ("rcvstoreAb3dE9", ".mh_sequences.lock"):
            self.put_raw(name, b"")
        self.assertEqual(self.found(), [("lock", ".mh_sequences.lock")])  # the other is of today
        state = self.state_dir("inbox")
        open(os.path.join(state, "journal.new.0123abcd"), "w").close()
        self.assertEqual(self.found(), [("lock", ".mh_sequences.lock")])

    def test_a_lock_of_a_program_at_work_is_nothing(self):
        open(os.path.join(self.nmh.folder("inbox"), ".mh_sequences.lock"), "w").close()
        self.assertEqual(self.found(), [])

    def test_a_store_that_is_lost_or_damaged(self):
        for n in range(5, 1100):
            self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
        self.mhsync("reindex", "+inbox")
        with open(os.path.join(self.state_dir("inbox"), "journal")) as lines:
            self.assertFalse(any(line.startswith("I ") for line in lines))
        store = os.path.join(self.state_dir("inbox"), "store.db")
        with open(store, "r+b") as pages:
            pages.seek(600)
            pages.write(b"damaged")
        self.assertEqual(self.found(), [("no-store", "")])
        self.assertEqual(self.fix(), ({("no-store", "")}, set()))
        self.assertEqual(self.found(), [])

    def test_a_journal_that_was_restored(self):
        journal = os.path.join(self.state_dir("inbox"), "journal")
        shutil.copy2(journal, journal + "~")
        os.rename(journal + "~", journal)
        self.assertEqual(self.found(), [("restored", "")])
        uids = [self.nmh.tag("inbox", n).uid for n in range(1, 5)]
        self.assertEqual(self.fix(), ({("restored", "")}, set()))
        self.assertEqual([self.nmh.tag("inbox", n).uid for n in range(1, 5)], uids)

    def test_a_message_that_is_just_being_written_is_nothing(self):
        path = self.put_raw("7", b"From: a@example.org\n\nhalf")
        with open(path, "ab"):
            self.assertEqual(self.found(), [])

    def test_a_line_of_another_tree(self):
        with open(self.nmh.file("inbox", 2), "rb") as message:
            line, rest = message.read().split(b"\n", 1)
        self.put_raw("9", line[:-16] + b"0" * 16 + b"\n" + rest)
        self.assertEqual(self.found(), [("foreign-tag", "9")])
        self.assertEqual(self.fix(), ({("foreign-tag", "9")}, set()))
        self.assertEqual(self.nmh.visible("inbox", 9), rest)
        self.assertNotEqual(self.nmh.tag("inbox", 9).uid, self.nmh.tag("inbox", 2).uid)

    def test_lines_that_another_program_takes_away(self):
        for n in range(1, 4):
            path = self.nmh.file("inbox", n)
            with open(path, "rb") as message:
                rest = message.read().split(b"\n", 1)[1]
            with open(path, "wb") as message:
                message.write(rest)
        self.select().ok("NOOP")
        self.assertEqual(self.found(), [("lost-tags", "")])
        self.mhsync("reindex", "--tag", "+inbox")
        self.assertEqual(self.found(), [])


class Fix(Tidied):
    def test_a_clean_tree_stays_as_it_is(self):
        before = self.files()
        self.assertEqual(self.fix("--all"), (set(), set()))
        self.assertEqual(self.files(), before)

    def test_names_that_break_nmh_get_numbers(self):
        texts = {name: f"From: {name}\n\n".encode() for name in ("0", "007", "2147483547")}
        for name, text in texts.items():
            self.put_raw(name, text)
        self.nmh.write_sequences("inbox", "unseen: 2 5\nflagged: 6\n")
        watcher = self.select()
        before = {n: file for n, file in self.files().items() if n < 5}
        cured, left = self.fix()
        self.assertEqual(left, set())
        self.assertEqual({about for kind, about in cured if kind == "name"}, set(texts))
        after = self.files()
        new = {n: after.pop(n) for n in set(after) - set(before)}
        self.assertEqual(after, before)
        self.assertEqual({content for content, _, _ in new.values()}, set(texts.values()))
        told = watcher.ok("NOOP")
        self.assertEqual(told.all("EXPUNGE"), [])
        self.assertEqual(max(line.number for line in told.all("EXISTS")), 7)
        self.assertEqual(self.nmh.sequences().get("flagged", set()), set())
        self.assertEqual(len(self.nmh.run("scan", "+inbox").splitlines()), 7)
        self.assertEqual(self.found(), [])

    def test_no_message_is_overwritten_whatever_number_it_gets(self):
        self.put_raw("007", b"From: strange\n\n")
        os.mkdir(self.nmh.file("inbox", 5))
        cured, left = self.fix(code=1)
        self.assertEqual((cured, left), ({("name", "007")}, {("numeric-folder", "5")}))
        self.assertEqual(self.files()[max(self.files())][0], b"From: strange\n\n")

    def test_a_link_of_such_a_name_stays(self):
        os.symlink("1", os.path.join(self.nmh.folder("inbox"), "007"))
        self.assertEqual(self.fix(code=1), (set(), {("name", "007")}))
        self.assertTrue(os.path.islink(os.path.join(self.nmh.folder("inbox"), "007")))

    def test_sequences(self):
        self.select().ok("NOOP")
        self.nmh.write_sequences("inbox", "cur: 3\nunseen: 2 77-79\n\nno colon\nwork: 1\n")
        cured, left = self.fix()
        self.assertEqual(left, set())
        self.assertEqual({kind for kind, _ in cured}, {"sequences-malformed", "sequence-stale"})
        self.assertEqual(self.nmh.sequences(), {"unseen": {2}, "work": {1}})
        self.assertEqual(self.nmh.run("mark", "+inbox", "-list", "-sequence", "cur"),
                         "cur: 3\n")
        self.nmh.run("mark", "+inbox", "1", "-sequence", "more", "-add")

    def test_sequences_wait_while_it_is_open_whether_new_messages_are_seen(self):
        client = self.select()
        self.nmh.put("inbox", 7, mail_maker.plain(7), mtime=OLD)
        client.ok("NOOP")
        self.nmh.write_sequences("inbox", "unseen: 2 99\n")
        self.assertEqual(self.fix(code=75), (set(), {("sequence-stale", "unseen")}))
        self.assertEqual(self.nmh.sequences(), {"unseen": {2, 99}})

    def test_a_lock_that_is_held_is_told_and_nothing_is_done(self):
        self.nmh.write_sequences("inbox", "unseen: 2 99\n")
        with open(os.path.join(self.nmh.folder("inbox"), ".mh_sequences"), "r+") as sequences:
            fcntl.lockf(sequences, fcntl.LOCK_EX)
            got, out, _ = self.run_mhsync("--lock-timeout", "0.2", "check", "--fix", "+inbox")
        self.assertEqual(got, 75, out)
        self.assertIn(f"pid {os.getpid()}", out)

    def test_a_lock_that_was_left(self):
        lock = self.put_raw(".mh_sequences.lock", b"")
        self.assertEqual(self.fix(), ({("lock", ".mh_sequences.lock")}, set()))
        self.assertFalse(os.path.exists(lock))

    def test_a_copy_gets_a_line_of_its_own(self):
        shutil.copy2(self.nmh.file("inbox", 2), self.nmh.file("inbox", 8))
        self.assertEqual(self.fix(), ({("same-tag", "8")}, set()))
        self.assertNotEqual(self.nmh.tag("inbox", 8).uid, self.nmh.tag("inbox", 2).uid)

    def test_private_sequences_follow_a_folder_that_was_renamed(self):
        self.nmh.put("old", 1, mail_maker.plain(1), mtime=OLD)
        self.nmh.put("old/sub", 1, mail_maker.plain(2), mtime=OLD)
        self.mhsync("reindex", "--all")
        context = os.path.join(self.root, "context")
        for visited in (False, True):
            with self.subTest(visited=visited):
                with open(context, "w") as lines:
                    lines.write(f"Current-Folder: inbox\natr-mine-{self.nmh.folder('old')}: 1\n"
                                f"atr-mine-{self.nmh.folder('old/sub')}: 1\n")
                if visited:
                    self.mhsync("reindex", "--all")
                else:
                    os.rename(self.nmh.folder("old"), self.nmh.folder("new"))
                cured, left = self.fix("--all")
                self.assertEqual(left, set())
                self.assertEqual(cured, {("private-orphan", self.nmh.folder("old")),
                                         ("private-orphan", self.nmh.folder("old/sub"))})
                with open(context) as lines:
                    self.assertEqual(lines.read(),
                                     f"Current-Folder: inbox\natr-mine-{self.nmh.folder('new')}: 1\n"
                                     f"atr-mine-{self.nmh.folder('new/sub')}: 1\n")

    def test_state_is_removed_only_when_it_is_nobody_s(self):
        for name in ("gone", "away", "kept"):
            self.nmh.put(name, 1, mail_maker.plain(1), mtime=OLD)
        self.mhsync("reindex", "--all")
        states = {name: self.state_dir(name) for name in ("gone", "away", "kept")}
        for name in ("gone", "away"):
            self.age_state(states[name], 31)
        shutil.rmtree(self.nmh.folder("gone"))
        os.rename(self.nmh.folder("away"), os.path.join(self.root, ".away"))
        self.assertEqual(self.fix("--all"), ({("orphan-state", "gone")}, set()))
        self.assertEqual([os.path.exists(states[name]) for name in ("gone", "away", "kept")],
                         [False, True, True])

    def test_state_that_was_in_use_lately_stays(self):
        self.nmh.put("gone", 1, mail_maker.plain(1), mtime=OLD)
        self.mhsync("reindex", "+gone")
        state = self.state_dir("gone")
        shutil.rmtree(self.nmh.folder("gone"))
        self.age_state(state, 29)
        self.assertEqual(self.fix("--all", code=1), (set(), {("orphan-state", "gone")}))
        self.assertTrue(os.path.exists(os.path.join(state, "journal")))

    def test_state_stays_while_a_part_of_the_tree_cannot_be_read(self):
        for name in ("gone", "shut"):
            self.nmh.put(name, 1, mail_maker.plain(1), mtime=OLD)
        self.mhsync("reindex", "--all")
        state = self.state_dir("gone")
        self.age_state(state, 31)
        os.mkdir(self.nmh.folder("shut/deeper"))
        os.rename(self.nmh.folder("gone"), self.nmh.folder("shut/deeper/gone"))
        os.chmod(self.nmh.folder("shut/deeper"), 0)
        self.run_mhsync("check", "--fix", "--all")
        os.chmod(self.nmh.folder("shut/deeper"), 0o700)
        self.assertTrue(os.path.exists(os.path.join(state, "journal")))

    def test_dry_run_tells_what_would_be_done_and_does_nothing(self):
        self.put_raw("007", b"From: strange\n\n")
        self.nmh.write_sequences("inbox", "unseen: 2 99\n")
        os.mkdir(self.nmh.file("inbox", 12))
        before = sorted(os.listdir(self.nmh.folder("inbox")))
        got = {each["about"]: each["curable"]
               for each in self.mhsync_json("--dry-run", "check", "--fix", "+inbox", code=1)}
        self.assertEqual(got, {"007": True, "unseen": True, "12": False})
        self.assertEqual(sorted(os.listdir(self.nmh.folder("inbox"))), before)
        self.assertEqual(self.nmh.sequences(), {"unseen": {2, 99}})

    def test_killed_anywhere_the_next_run_ends_as_one_that_was_not(self):
        gate = self.gate()
        text = b"From: strange\n\n"

        def put_back():
            for name in os.listdir(self.root):
                shutil.rmtree(os.path.join(self.root, name))
            for n in range(1, 4):
                self.nmh.put("inbox", n, mail_maker.plain(n), mtime=OLD + n)
            self.put_raw("007", text)
            self.nmh.write_sequences("inbox", "unseen: 2 5 99\nno colon\n")

        def work():
            return self.run_mhsync("check", "--fix", "+inbox", env=gate.environment())[0]

        for point in gate.every_point(put_back, work, actions=("kill",)):
            with self.subTest(point=repr(point)):
                # It waits for a tick of the clock, or not: then the last points are not reached.
                self.assertIn(point.result, (-signal.SIGKILL, 0))
                self.mhsync("check", "--fix", "+inbox")
                content = {n: self.nmh.visible("inbox", n) for n in self.nmh.numbers()}
                number = max(content)
                self.assertEqual(content.pop(number), text)
                self.assertEqual(content, {n: mail_maker.plain(n) for n in range(1, 4)})
                self.assertEqual(self.nmh.sequences(), {"unseen": {2}})
                self.assertEqual(self.found(), [])


if __name__ == "__main__":
    runner.main(prepare)
