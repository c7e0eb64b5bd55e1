# SPDX-License-Identifier: LGPL-2.1-or-later
"""A message that comes back, or goes to another folder, keeps its flags, keywords and date.

Comes back: `mv ,5 5` and the like, after rmm and after an EXPUNGE over IMAP (mh_expunge = backup).
Goes: nmh's refile, which itself drops all sequences. Each in all combinations of who looks (a
session that has the folder selected, one in IDLE, one that has hibernated, nobody), of messages
that bear their line already and that do not, of the number it comes back under, and of folders that
were seen before or never.
"""

import contextlib
import itertools
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import mail_maker  # noqa: E402
import runner  # noqa: E402
from history import History  # noqa: E402
from watched import FLAGS, NUMBERS, WAIT, WatchedCase  # noqa: E402

MHUNRM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf.d", "examples",
                      "mhunrm")
_staged = {}

LOOKERS = ("nobody", "selected", "idle", "hibernated")
# Message 3 is flagged, 4 has a keyword, 5 is unseen, 8 (the last) is answered.
MOVED = {3: FLAGS[3], 4: FLAGS[4], 5: FLAGS[5], 8: FLAGS[6]}
UIDS = dict(zip(NUMBERS, range(1, 7)))


def prepare():
    case.prepare()
    _staged["mhunrm"] = runner.stage(MHUNRM)


class Moved(WatchedCase):
    """One folder, whoever looks at it, and messages whose flags and dates are known."""

    server_settings = {"imap_hibernate_timeout": "1s"}
    user_settings = {"mh_unseen_grace": "1", "mh_expunge": "backup"}
    hibernating = False

    def setUp(self):
        super().setUp()
        self.dates = None

    @staticmethod
    def mail(n):
        return mail_maker.plain(n)

    def begin(self, looker, tagged):
        """A client has seen the folder; `looker` goes on looking."""
        client = self.imap(self.awake)
        client.select()
        self.assertEqual(client.flags(), FLAGS)
        self.dates = {uid: data["INTERNALDATE"]
                      for uid, data in client.fetch("1:*", "INTERNALDATE").items()}
        client.logout()
        if tagged:
            self.force_resync()
        self.assertEqual([self.nmh.tag("inbox", n) is not None for n in NUMBERS],
                         [tagged] * len(NUMBERS))
        self.looker = None
        if looker != "nobody":
            self.looker = self.imap(self.user if looker == "hibernated" else self.awake)
            # For reading: so nothing is tagged by it.
            self.looker.ok(("SELECT" if tagged else "EXAMINE") + " INBOX")
            self.looker.ok("NOOP")
        if looker in ("idle", "hibernated"):
            self.looker.idle()
        if looker == "hibernated":
            self.await_hibernation()

    def await_told(self, kind, count):
        """The looker has been told of so many EXPUNGEs or of an EXISTS."""
        if self.looker is None:
            self.imap(self.awake).ok("EXAMINE INBOX")
            return
        if self.looker.idle_tag:
            for _ in range(count):
                self.looker.wait_for(kind, WAIT)
            return
        self.eventually(lambda: self.looker.ok("NOOP").all(kind), timeout=WAIT)

    def found(self, folder="INBOX", skip=()):
        """{body: (flags, date)} of what a new session finds."""
        client = self.imap(self.awake)
        client.ok(f"EXAMINE {folder}")
        found = {}
        for uid, data in client.fetch("1:*", "FLAGS INTERNALDATE BODY.PEEK[]").items():
            if uid not in skip:
                found[data["BODY[]"]] = (set(data["FLAGS"]) - {"\\Recent"}, data["INTERNALDATE"])
        client.logout()
        return found

    def expected(self, numbers):
        return {mail_maker.as_imap(self.mail(n)): (MOVED[n], self.dates[UIDS[n]]) for n in numbers}

    @contextlib.contextmanager
    def case(self, *combination):
        """One of the combinations, with a user of its own."""
        with self.subTest(" ".join(map(str, combination))):
            self.again()
            yield

    def again(self):
        for session in self._sessions:
            session.close()
        self._sessions.clear()
        self.user = self.new_user(**self.user_settings)
        self.home = self.user.home
        self.root = os.path.join(self.home, "Mail")
        self.nmh = self.make_nmh()
        self.awake = self.new_user(home=self.home, imap_hibernate_timeout="0",
                                   **self.user_settings)
        for n in NUMBERS:
            self.nmh.put("inbox", n, self.mail(n), mtime=1_234_500_000 + 1000 * n)
        self.nmh.write_sequences("inbox", {"unseen": "2 5", "flagged": "3", "work": "1 4",
                                           "replied": "8"})
        self.nmh.make_folder("elsewhere")


class Undelete(Moved):
    def removed_by_rmm(self, number):
        self.nmh.run("rmm", "+inbox", str(number))

    def removed_by_hand(self, number):
        self.sh(f"mv {number} ,{number}")

    def removed_by_imap(self, number):
        client = self.imap(self.awake)
        client.select()
        client.store(UIDS[number], "+FLAGS.SILENT", "\\Deleted")
        client.ok("EXPUNGE")
        client.logout()

    def moved_back(self, number):
        self.sh(f"mv ,{number} {number}")

    def moved_to_another_number(self, number):
        self.sh(f"mv ,{number} 4{number}")

    def moved_to_another_number_since_its_own_is_taken(self, number):
        self.nmh.put("inbox", number, mail_maker.plain(70))
        self.await_told("EXISTS", 1)
        self.sh(f"mv -n ,{number} {number}; mv ,{number} 5{number}")

    def brought_back_by_mhunrm(self, number):
        self.sh(f"{_staged['mhunrm']} +inbox {number}")

    def check(self, looker, tagged, remove, bring_back, number):
        self.begin(looker, tagged)
        remove(number)
        self.await_told("EXPUNGE", 1)
        bring_back(number)
        self.await_told("EXISTS", 1)
        found = self.found(skip=[uid for uid in FLAGS if uid != UIDS[number]])
        found.pop(mail_maker.as_imap(mail_maker.plain(70)), None)
        self.assertEqual(found, self.expected([number]))
        if self.looker is not None:
            if self.looker.idle_tag:
                self.looker.done(WAIT)
            self.looker.ok("NOOP")
            uid = self.looker.uids()[-1]
            self.assertEqual(self.looker.flags()[uid], MOVED[number])
        sequences = self.nmh.sequences_by_nmh()
        back = self.nmh.numbers()[-1]
        self.assertEqual("flagged" in sequences and back in sequences["flagged"],
                         "\\Flagged" in MOVED[number] and back in sequences["flagged"])

    def test_each_way_with_nobody_looking(self):
        for tagged, remove, back, number in itertools.product(
                (True, False), ("removed_by_rmm", "removed_by_hand", "removed_by_imap"),
                ("moved_back", "moved_to_another_number",
                 "moved_to_another_number_since_its_own_is_taken", "brought_back_by_mhunrm"),
                (3, 4) if runner.LONG else (4,)):
            with self.case(tagged, remove, back, number):
                self.check("nobody", tagged, getattr(self, remove), getattr(self, back), number)

    def test_each_flag(self):
        for tagged, number in itertools.product((True, False), MOVED):
            with self.case(tagged, number):
                self.check("nobody", tagged, self.removed_by_rmm, self.moved_back, number)

    def test_each_way_under_the_eyes_of_a_session(self):
        ways = ("removed_by_rmm", "removed_by_imap")
        for looker, tagged, remove in itertools.product(LOOKERS[1:], (True, False), ways):
            with self.case(looker, tagged, remove):
                self.check(looker, tagged, getattr(self, remove), self.moved_back, 3)

    def test_what_a_client_removed_comes_back_undeleted(self):
        self.begin("nobody", True)
        self.removed_by_imap(3)
        self.moved_back(3)
        client = self.select()
        self.assertEqual(client.flags()[7], FLAGS[3])
        client.ok("EXPUNGE")
        self.assertEqual(client.uids(), [1, 2, 4, 5, 6, 7])

    def test_removed_and_brought_back_twice(self):
        self.begin("nobody", True)
        for uid in (7, 8):
            self.removed_by_rmm(4)
            self.await_told("EXPUNGE", 1)
            self.moved_back(4)
            client = self.select()
            self.assertEqual(client.flags()[uid], FLAGS[4])
            client.logout()

    def test_all_of_them_at_once(self):
        self.begin("selected", True)
        self.nmh.run("rmm", "+inbox", "all")
        self.await_told("EXPUNGE", 6)
        self.sh("for n in 1 2 3 4 5 8; do mv ,$n $n; done")
        self.await_told("EXISTS", 1)
        client = self.select()
        self.assertEqual(list(client.flags().values()), list(FLAGS.values()))

    def test_of_two_copies_each_has_its_own(self):
        """The second has the line, and so the GUID, of the first until it gets one of its own."""
        self.begin("nobody", True)
        self.sh("cp -a 3 9")
        client = self.select()
        client.store(7, "-FLAGS", "\\Flagged")
        client.store(7, "+FLAGS", "copied")
        client.logout()
        self.force_resync()
        self.nmh.run("rmm", "+inbox", "3", "9")
        self.imap().ok("EXAMINE INBOX")
        self.sh("mv ,9 9; mv ,3 3")
        client = self.select()
        flags = [client.flags()[uid] for uid in (8, 9)]
        self.assertEqual(flags[0], FLAGS[3])
        self.assertIn("copied", flags[1])
        self.assertNotIn("\\Flagged", flags[1])


class Refile(Moved):
    def check(self, looker, tagged, opened):
        """`opened`: whether the folder that it goes to has been looked at before."""
        self.begin(looker, tagged)
        if opened:
            self.imap(self.awake).ok("EXAMINE elsewhere")
        if looker == "target":
            self.looker = self.imap(self.awake)
            self.looker.ok("EXAMINE elsewhere")
        self.nmh.run("refile", "-src", "+inbox", *map(str, MOVED), "+elsewhere")

    def test_from_here_to_there_in_every_combination(self):
        both = (True, False)
        combinations = [*itertools.product(LOOKERS[:-1], both, both, both),
                        *itertools.product(LOOKERS[-1:], both, both if runner.LONG else (True,),
                                           both if runner.LONG else (True,))]
        for looker, tagged, opened, source_first in combinations:
            with self.case(looker, tagged, opened, source_first):
                self.check(looker, tagged, opened)
                if source_first:
                    self.await_told("EXPUNGE", 4)
                self.assertEqual(self.found("elsewhere"), self.expected(MOVED))
                self.assertEqual(self.nmh.sequences_by_nmh("elsewhere"),
                                 {"unseen": {3}, "flagged": {1}, "work": {2}, "replied": {4}})

    def test_a_session_in_the_folder_that_they_come_to(self):
        for tagged, idle in itertools.product((True, False), (True, False)):
            with self.case(tagged, idle):
                self.begin("nobody", tagged)
                target = self.imap(self.awake)
                target.ok("EXAMINE elsewhere")
                if idle:
                    target.idle()
                self.nmh.run("refile", "-src", "+inbox", *map(str, MOVED), "+elsewhere")
                if idle:
                    target.wait_for("EXISTS", WAIT)
                    target.done()
                self.eventually(lambda: target.ok("NOOP") and len(target.uids()) == 4)
                self.assertEqual(list(target.flags().values()), list(MOVED.values()))

    def test_back_again_with_the_flags_it_got_there(self):
        for tagged, in itertools.product((True, False)):
            with self.case(tagged):
                self.begin("nobody", tagged)
                self.nmh.run("refile", "-src", "+inbox", "3", "+elsewhere")
                client = self.imap(self.awake)
                client.select("elsewhere")
                client.store(1, "-FLAGS", "\\Flagged")
                client.store(1, "+FLAGS", "there")
                client.logout()
                self.nmh.run("refile", "-src", "+elsewhere", "1", "+inbox")
                self.assertEqual(self.select().flags()[7], {"\\Seen", "there"})

    def test_what_is_linked_has_flags_of_its_own(self):
        for tagged, in itertools.product((True, False)):
            with self.case(tagged):
                self.begin("nobody", tagged)
                self.imap(self.awake).ok("EXAMINE elsewhere")
                self.nmh.run("refile", "-link", "-src", "+inbox", "3", "+elsewhere")
                ((flags, _),) = self.found("elsewhere").values()
                self.assertEqual(flags, set())

    def test_a_message_that_came_just_before(self):
        self.begin("nobody", True)
        self.nmh.rcvstore(mail_maker.plain(17))
        client = self.select()
        client.store(7, "+FLAGS", "\\Flagged work")
        client.logout()
        self.nmh.run("refile", "-src", "+inbox", "last", "+elsewhere")
        ((flags, _),) = self.found("elsewhere").values()
        self.assertEqual(flags, {"\\Flagged", "work"})

    def test_new_mail_that_was_nowhere_before_gets_no_flags(self):
        self.begin("nobody", False)
        self.nmh.run("rmm", "+inbox", "3", "-unlink")
        self.imap(self.awake).ok("EXAMINE INBOX")
        for n in range(8):      # the inode of 3 is free
            self.nmh.put("elsewhere", n + 1, self.mail(3), mtime=1_234_503_000)
        self.assertEqual({frozenset(flags) for flags, _ in self.found("elsewhere").values()},
                         {frozenset({"\\Seen"})})


class Mhunrm(WatchedCase):
    """The example that does it for people."""

    hibernating = False

    def call(self, *arguments, check=True):
        done = subprocess.run([_staged["mhunrm"], *arguments], env=self.nmh.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=WAIT)
        if check:
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done

    def test_the_number_that_is_asked_for(self):
        self.nmh.run("rmm", "+inbox", "3", "4")
        self.assertEqual(self.call("+inbox", "3").stdout, "3\n")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 5, 8])
        self.assertEqual(self.nmh.read("inbox", 3), self.mail(3))
        self.assertFalse(os.path.exists(self.nmh.file("inbox", ",3")))

    def test_the_one_removed_last(self):
        for number in ("4", "8", "3"):
            self.nmh.run("rmm", "+inbox", number)
            time.sleep(0.02)        # by more than the clock of the file system ticks
        self.nmh.put("inbox", ",x", b"not ours")
        self.assertEqual([self.call("+inbox").stdout for _ in range(3)], ["3\n", "8\n", "4\n"])
        self.assertEqual(self.nmh.numbers(), NUMBERS)

    def test_nothing_is_overwritten(self):
        self.nmh.run("rmm", "+inbox", "3")
        self.nmh.put("inbox", 3, mail_maker.plain(33))
        self.assertEqual(self.call("+inbox", "3").stdout, "9\n")
        self.assertEqual(self.nmh.read("inbox", 3), mail_maker.plain(33))
        self.assertEqual(self.nmh.read("inbox", 9), self.mail(3))

    def test_the_current_folder_when_none_is_named(self):
        self.nmh.run("rmm", "+inbox", "3")
        self.nmh.run("folder", "+inbox")
        self.assertEqual(self.call("3").stdout, "3\n")

    def test_what_is_not_there_is_said(self):
        for arguments in (["+inbox", "3"], ["+inbox"], ["+inbox", "x"], ["+inbox", "../3"],
                          ["+none", "3"], ["+inbox", "003"]):
            with self.subTest(arguments):
                done = self.call(*arguments, check=False)
                self.assertNotEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.nmh.numbers(), NUMBERS)


if __name__ == "__main__":
    runner.main(prepare)
