# SPDX-License-Identifier: LGPL-2.1-or-later
"""mh-notify-hook: sessions are told at once of what inotify does not tell.

As on a folder of NFS that another machine changes: inotify is deaf for the directory of the folder
(the gate watches another one instead), and Dovecot's own look at it is minutes away.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import gated  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from nmh import Nmh  # noqa: E402
from watched import COUNT, FLAGS, WAIT, WatchedCase, imap_processes  # noqa: E402

_staged = {}


def prepare():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    _staged["hook"] = runner.stage(os.path.join(source, "mhsync", "mh-notify-hook"))
    gated.prepare()


class Deaf(gated.GatedCase, WatchedCase):
    server_settings = {"imap_hibernate_timeout": "1s", "mailbox_idle_check_interval": "600s"}
    user_settings = {"mh_notify_dir": "~/notify", "mh_unseen_grace": "1"}
    hooks = True
    deaf = "inbox"

    def make_nmh(self):
        nmh = Nmh(self.home)
        self.notify = os.path.join(self.home, "notify")
        if self.hooks:
            for name in ("add-hook", "del-hook", "ref-hook"):
                nmh.components[name] = f"{_staged['hook']} -d {self.notify}"
            nmh.write_profile()
        return nmh

    def aim(self, locks=False):
        self.gate.root = "/nowhere"
        self.gate.arm(deaf=os.path.realpath(self.nmh.folder(self.deaf)))

    def idler(self):
        """A session in a folder that has settled: it does not look again by itself."""
        first = self.sleeper()
        first.done()
        first.logout()
        client = self.know("idle")
        client.idle()
        return client

    def sleeper(self):
        self.force_resync()
        client = self.know("hibernated", self.user)
        client.idle()
        self.await_hibernation()
        return client

    def assertDeaf(self, client):
        line = client.untagged(1.5)
        self.assertTrue(line is None or line.kind in ("OK", "RECENT"), f"told {line!r}")

    def hook(self, *arguments, **keywords):
        return subprocess.run([_staged["hook"], "-d", self.notify, *arguments], timeout=WAIT,
                              stdin=subprocess.DEVNULL, check=True, **keywords)


class WithoutHooks(Deaf):
    """That the folder is as deaf as the other tests take it to be. (A session that has not
    hibernated may look by itself, when it has something to tag.)"""

    hooks = False

    def test_nobody_is_told_before_he_asks(self):
        client = self.sleeper()
        self.nmh.run("rmm", "+inbox", "3")
        self.assertDeaf(client)
        self.assertEqual(imap_processes(self.server, self.user.name), [])
        client.done()
        self.assertEqual(client.ok("NOOP") and client.uids(), [1, 2, 4, 5, 6])


class Hooks(Deaf):
    def test_an_idle_session_is_told_of_what_comes_and_goes(self):
        client = self.idler()
        self.nmh.inc(mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)
        self.nmh.run("rmm", "+inbox", "3")
        self.assertEqual(client.wait_for("EXPUNGE", WAIT)[1][-1].number, 3)
        self.nmh.run("refile", "-src", "+inbox", "1", "+elsewhere")
        self.assertEqual(client.wait_for("EXPUNGE", WAIT)[1][-1].number, 1)
        self.nmh.run("refile", "-src", "+elsewhere", "1", "+inbox")
        client.wait_for("EXISTS", WAIT)
        self.nmh.rcvstore(mail_maker.plain(18))
        client.wait_for("EXISTS", WAIT)
        client.done()
        self.assertEqual(client.uids(), [2, 4, 5, 6, 7, 8, 9])

    def test_a_hibernated_session_is_told(self):
        client = self.sleeper()
        self.nmh.inc(mail_maker.plain(17))
        client.wait_for("EXISTS", WAIT)
        self.await_hibernation()
        self.nmh.run("rmm", "+inbox", "3")
        self.assertEqual(client.wait_for("EXPUNGE", WAIT)[1][-1].number, 3)

    def test_pack_and_sortm_are_no_change(self):
        client = self.idler()
        self.nmh.run("folder", "+inbox", "-pack")
        self.nmh.run("sortm", "+inbox", "-textfield", "subject", "-limit", "0")
        self.assertDeaf(client)
        self.assertNothing(client.done())
        self.assertEqual(client.flags(), FLAGS)

    def test_called_by_hand_it_tells_of_what_nmh_calls_no_hook_for(self):
        client = self.sleeper()
        self.nmh.run("mark", "+inbox", "4", "-sequence", "flagged", "-add")
        self.assertDeaf(client)
        self.hook(self.nmh.file("inbox", 4))
        self.assertEqual(client.wait_for("FETCH", WAIT)[1][-1].number, 4)

    def test_no_stamp_is_believed_that_the_kernel_may_have_from_before(self):
        """What is written in place changes no stamp of the folder, like one that is cached."""
        self.edited_under(self.idler())

    def test_nor_by_a_session_that_has_hibernated(self):
        self.edited_under(self.sleeper())

    def edited_under(self, client):
        with open(self.nmh.file("inbox", 3), "ab") as message:
            message.write(b"one more line\n")
        self.assertDeaf(client)
        self.hook(self.nmh.file("inbox", 3))
        client.wait_for("EXPUNGE", WAIT)
        client.wait_for("EXISTS", WAIT)

    def test_a_file_for_a_folder_that_is_removed_harms_nobody(self):
        client = self.idler()
        self.nmh.run("rmm", "+inbox", "all")
        for _ in range(COUNT):
            client.wait_for("EXPUNGE", WAIT)
        self.hook(os.path.join(self.root, "none", "1"), "12345678901234567890123", "1")
        self.assertDeaf(client)


class Unselected(Deaf):
    """A client that has asked for NOTIFY is told of folders that it has not open."""

    deaf = "elsewhere"

    def test_a_message_in_another_folder(self):
        self.force_resync()
        client = self.imap(self.awake)
        client.select()
        client.ok("NOTIFY SET (selected (MessageNew MessageExpunge)) "
                  "(personal (MessageNew MessageExpunge))")
        self.hook(self.nmh.file("elsewhere", 1))
        client.untagged(1)
        self.nmh.run("refile", "-link", "-src", "+inbox", "2", "+elsewhere")
        _, lines = client.wait_for("STATUS", WAIT)
        self.assertIn("elsewhere", str(lines[-1].data[0]))


class Directory(WatchedCase):
    """Where the files lie is nobody else's to write to."""

    hibernating = False

    def setUp(self):
        super().setUp()
        self.notify = os.path.join(self.home, "notify")

    def select_and_idle(self, **settings):
        client = self.imap(self.new_user(home=self.home, **settings))
        client.select()
        client.idle()
        client.done()

    def test_it_is_made_for_its_user_alone(self):
        self.select_and_idle(mh_notify_dir="~/notify")
        self.assertEqual(os.stat(self.notify).st_mode & 0o777, 0o700)
        number = os.stat(self.nmh.folder("inbox")).st_ino
        self.assertEqual(os.listdir(self.notify), [str(number)])
        self.assertEqual(os.stat(os.path.join(self.notify, str(number))).st_mode & 0o777, 0o600)

    def test_one_that_others_can_write_to_is_not_used(self):
        os.mkdir(self.notify)
        os.chmod(self.notify, 0o770)
        self.expect_log("mh_notify_dir does nothing: .*nobody else")
        self.select_and_idle(mh_notify_dir=self.notify)
        self.assertEqual(os.listdir(self.notify), [])

    def test_one_that_cannot_be_made_is_said_and_mail_is_served(self):
        self.expect_log("mh_notify_dir does nothing: ")
        self.select_and_idle(mh_notify_dir="/nowhere/at/all")

    def test_a_link_in_the_place_of_a_file_is_not_followed(self):
        os.mkdir(self.notify, 0o700)
        number = os.stat(self.nmh.folder("inbox")).st_ino
        os.symlink("../precious", os.path.join(self.notify, str(number)))
        self.select_and_idle(mh_notify_dir="~/notify")
        self.assertFalse(os.path.exists(os.path.join(self.home, "precious")))


class NamedByUser(WatchedCase):
    hibernating = False
    plugin_settings = {"mh_notify_dir": "~/notify-%u"}

    def test_the_setting_may_name_the_user(self):
        client = self.imap()
        client.select()
        client.idle()
        client.done()
        self.assertTrue(os.path.isdir(os.path.join(self.home, "notify-" + self.user.name)))


class Script(WatchedCase):
    """The helper alone, as nmh calls it."""

    hibernating = False

    def setUp(self):
        super().setUp()
        self.notify = tempfile.mkdtemp(dir=self.home)
        self.run_dir = tempfile.mkdtemp(dir=self.home)

    def call(self, *arguments, **environment):
        done = subprocess.run([_staged["hook"], *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT,
                              env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": self.run_dir,
                                   **environment}, cwd=self.home)
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    def folder(self, name):
        path = os.path.join(self.home.encode(), name)
        os.makedirs(path)
        return os.fsdecode(path), str(os.stat(path).st_ino)

    def test_hostile_names_are_numbers_like_all_others(self):
        expected = set()
        for name in (b"a b", b"new\nline", b"$(touch owned)", b"`touch owned`", b"-d", b"*", b"'\"",
                     b"\xff\xfe", b"; touch owned", b"a/-r"):
            path, number = self.folder(b"x/" + name)
            self.call("-d", self.notify, path + "/1")
            expected.add(number)
            self.assertEqual(set(os.listdir(self.notify)), expected, name)
        self.assertFalse(os.path.exists(os.path.join(self.home, "owned")))

    def test_both_folders_of_a_refile_are_told_of(self):
        one, first = self.folder(b"one")
        two, second = self.folder(b"two")
        self.call("-d", self.notify, one + "/1", two + "/7")
        self.assertEqual(set(os.listdir(self.notify)), {first, second})

    def test_the_directory_may_come_from_the_environment(self):
        one, number = self.folder(b"one")
        self.call(one + "/1", MH_NOTIFY_DIR=self.notify)
        self.assertEqual(os.listdir(self.notify), [number])

    def test_whatever_is_wrong_it_succeeds_in_silence(self):
        one, _ = self.folder(b"one")
        os.chmod(self.notify, 0o500)
        for arguments in ([], ["-d", "/nowhere", one + "/1"], ["-d", self.notify, one + "/1"],
                          ["-d", self.notify, "/nowhere/1"], ["-d"], ["-x", one + "/1"], [one + "/1"],
                          ["-d", self.notify, "", "..", "1x", "-1"],
                          ["-r", "/nowhere/at/all", one + "/1"]):
            with self.subTest(arguments):
                self.call(*arguments)
        os.chmod(self.notify, 0o700)
        self.assertEqual(os.listdir(self.notify), [])

    def remote(self, script):
        path = os.path.join(self.home, "remote")
        with open(path, "w") as out:
            out.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o700)
        return path

    def test_a_command_gets_the_number_and_is_not_waited_for(self):
        one, number = self.folder(b"one")
        go, said = (os.path.join(self.home, name) for name in ("go", "said"))
        os.mkfifo(go)
        remote = self.remote(f'read -r _ < {shlex.quote(go)}; printf "%s\\n" "$*" >> {shlex.quote(said)}\n')
        self.call("-r", remote + " -n", one + "/1")
        self.assertFalse(os.path.exists(said))
        with open(go, "w") as out:      # until somebody reads
            out.write("\n")
        self.eventually(lambda: os.path.exists(said) and open(said).read() == f"-n {number}\n")

    def test_many_changes_are_one_call_and_the_last_one_is_told(self):
        one, number = self.folder(b"one")
        state, seen = (os.path.join(self.home, name) for name in ("state", "seen"))
        # A call that takes longer than the changes are apart: so they come while one runs.
        remote = self.remote(f"cat {shlex.quote(state)} >> {shlex.quote(seen)}; sleep 0.2\n")
        for n in range(60):
            with open(state, "w") as out:
                out.write(f"{n}\n")
            self.call("-r", remote, one + "/1")
        self.eventually(lambda: os.path.exists(seen) and open(seen).read().endswith("59\n"))
        calls = open(seen).read().split()
        self.assertLess(len(calls), 30, calls)

    def test_how_long_it_takes(self):
        one, _ = self.folder(b"one")
        took = []
        for n in range(40):
            began = time.monotonic()
            self.call("-d", self.notify, one + "/1")
            took.append(time.monotonic() - began)
        took.sort()
        print(f"    a call of mh-notify-hook: median {took[20] * 1000:.1f} ms, "
              f"the slowest of 40 {took[-1] * 1000:.1f} ms")


if __name__ == "__main__":
    runner.main(prepare)
