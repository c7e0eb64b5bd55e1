# SPDX-License-Identifier: LGPL-2.1-or-later
"""What clients that are connected are told when somebody else changes their folder.

Each change, by a command of nmh or by a program that knows no lock, is made under the eyes of four
sessions at once: one in IDLE, one that has hibernated in IDLE, one that has the folder selected and
asks by NOOP, and one that has another folder selected and asks by STATUS. How fast it goes is told
by tests/bench/push-latency.py.
"""

import concurrent.futures.thread  # loaded at first use otherwise, perhaps by another account
import encodings.ascii  # noqa: F401: loaded at first use otherwise, when python may be out of reach
import mailbox
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import prepare  # noqa: E402
from watched import FLAGS, NUMBERS, WAIT, Change, WatchedCase  # noqa: E402

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

    def test_refile_link_in(self):
        self.nmh.put("third", 1, mail_maker.plain(21))
        self.nmh.run("refile", "-link", "-src", "+third", "1", "+inbox")
        return Change(new=1)

    def test_refile_link_within_the_folder(self):
        self.nmh.run("refile", "-link", "-src", "+inbox", "2", "+inbox")
        return Change(new=1)

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

    def test_anno_not_in_place(self):
        self.nmh.run("anno", "+inbox", "4", "-noinplace", "-component", "Forwarded", "-text", "x")
        return Change(flags={4: FLAGS[4] | {"$Forwarded"}})

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

    def test_burst_in_place(self):
        self.nmh.put("inbox", 9, mail_maker.plain(17))
        self.nmh.run("burst", "+inbox", "8", "-inplace")
        numbers = self.nmh.numbers()
        self.assertEqual(len(numbers), len(NUMBERS) + 1 + 3)
        return Change(gone=[6], new=5)

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
        return Change(gone=[3], new=1, flags={2: {"\\Flagged", "hello"}}, passing=[3])


class Removed(WatchedCase):
    """rmf: the folder is gone under the same four sessions."""

    def test_rmf(self):
        self.allow_log("ailed")
        self.watch()
        self.nmh.run("rmf", "-nointeractive", "+inbox")
        for name in ("idle", "hibernated", "selected"):
            client = self.known[name].client
            if not client.idle_tag:
                client.send("NOOP")
            self.ended(client)
        self.assertEqual(self.other.status("INBOX", "MESSAGES UNSEEN"),
                         {"MESSAGES": 0, "UNSEEN": 0})
        again = self.imap(self.awake)
        box = again.select()
        self.assertEqual((box.exists, box.uidnext), (0, 1))


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


if __name__ == "__main__":
    runner.main(prepare)
