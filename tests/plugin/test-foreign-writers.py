# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that write .mh_sequences without nmh's lock, or hold it for long.

exmh, mutt and Claws read the file, change what they have in memory and write all of it, by another
file that they rename. What a client stores between their reading and their writing is not in what
they write; it must be there afterwards all the same, and so must what they changed.
"""

import encodings.ascii  # noqa: F401: loaded at first use otherwise, when python may be out of reach
import mailbox
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from watched import WAIT  # noqa: E402

COUNT = 5
BEFORE = {"unseen": {2, 5}, "flagged": {3}, "work": {1, 4}}


def text_of(sets):
    return "".join(f"{name}: {' '.join(map(str, sorted(numbers)))}\n"
                   for name, numbers in sets.items() if numbers)


class Writer:
    """One way of writing. begin() reads, end() writes what was read with `change` made to it."""

    def __init__(self, nmh):
        self.nmh = nmh
        self.path = nmh.file("inbox", ".mh_sequences")

    def begin(self):
        self.read = self.nmh.sequences()

    def end(self, change):
        change(self.read)
        self.write(text_of(self.read))


class Exmh(Writer):
    """And Claws."""

    def write(self, text):
        self.nmh.put("inbox", ".mh_sequences.new", text.encode())
        os.rename(self.path + ".new", self.path)


class Mutt(Writer):
    def write(self, text):
        self.nmh.put("inbox", ".mutt-host-1-1", text.encode())
        os.unlink(self.path)
        os.rename(self.nmh.file("inbox", ".mutt-host-1-1"), self.path)


WRITERS = (Exmh, Mutt)


class ForeignCase(MhTestCase):
    user_settings = {"mh_unseen_grace": "1"}

    def setUp(self):
        super().setUp()
        for n in range(1, COUNT + 1):
            self.nmh.put("inbox", n, mail_maker.plain(n))
        self.nmh.write_sequences("inbox", text_of(BEFORE))
        self.client = self.select()
        self.client.ok("NOOP")

    def start_again(self):
        self.nmh.write_sequences("inbox", text_of(BEFORE))
        self.client.ok("NOOP")
        self.client.ok("NOOP")
        self.assertEqual(self.nmh.sequences(), BEFORE)

    def settled(self):
        """The same on both sides, and nothing more is told."""
        self.eventually(lambda: not any(
            line.kind in ("FETCH", "EXISTS", "EXPUNGE") for line in self.client.ok("NOOP").untagged)
            and self.unseen_by_client() == self.nmh.sequences().get("unseen", set()))
        found = self.nmh.sequences_by_nmh()
        flagged = {number for number, flags in self.by_number().items() if "\\Flagged" in flags}
        self.assertEqual(flagged, found.get("flagged", set()))
        return found

    def by_number(self):
        """Nothing is renumbered here: numbers ascend as UIDs do."""
        return dict(zip(self.nmh.numbers(), self.client.flags().values()))

    def unseen_by_client(self):
        return {number for number, flags in self.by_number().items() if "\\Seen" not in flags}


class LostUpdates(ForeignCase):
    def each(self, ours, theirs, expected):
        for writer_type in WRITERS:
            with self.subTest(writer_type.__name__):
                self.start_again()
                writer = writer_type(self.nmh)
                writer.begin()
                ours()
                writer.end(theirs)
                self.assertEqual(self.settled(), expected)

    def test_a_flag_that_a_client_sets(self):
        self.each(lambda: self.client.store(1, "+FLAGS", "\\Flagged"),
                  lambda sets: sets["unseen"].discard(2),
                  {"unseen": {5}, "flagged": {1, 3}, "work": {1, 4}})

    def test_a_flag_that_a_client_takes_away(self):
        self.each(lambda: self.client.store(3, "-FLAGS", "\\Flagged"),
                  lambda sets: sets["unseen"].discard(2),
                  {"unseen": {5}, "work": {1, 4}})

    def test_a_message_that_a_client_reads(self):
        self.each(lambda: self.client.store(5, "+FLAGS", "\\Seen"),
                  lambda sets: sets["unseen"].discard(2),
                  {"flagged": {3}, "work": {1, 4}})

    def test_a_new_keyword(self):
        self.each(lambda: self.client.store(2, "+FLAGS", "hello"),
                  lambda sets: sets["flagged"].add(5),
                  {"unseen": {2, 5}, "flagged": {3, 5}, "work": {1, 4}, "hello": {2}})

    def test_several_at_once(self):
        def ours():
            self.client.store("1:4", "+FLAGS", "\\Flagged")
            self.client.store(5, "+FLAGS", "\\Seen hello")
        self.each(ours, lambda sets: sets["work"].add(5),
                  {"unseen": {2}, "flagged": {1, 2, 3, 4}, "work": {1, 4, 5}, "hello": {5}})

    def test_a_writer_that_has_read_what_we_wrote_is_believed_at_the_second_time(self):
        """Within a few seconds nobody can tell it from one that has not. Else nobody could take
        back what a client has just set."""
        for writer_type in WRITERS:
            with self.subTest(writer_type.__name__):
                self.start_again()
                self.client.store(1, "+FLAGS", "\\Flagged")
                for _ in range(2):
                    writer = writer_type(self.nmh)
                    writer.begin()
                    writer.end(lambda sets: sets["flagged"].discard(1))
                    found = self.settled()
                self.assertEqual(found, BEFORE)

    def test_nmh_is_believed(self):
        self.client.store(1, "+FLAGS", "\\Flagged")
        self.nmh.run("mark", "+inbox", "1", "-sequence", "flagged", "-delete")
        self.assertEqual(self.settled(), BEFORE)

    def test_told_to_idle_clients_too(self):
        other = self.select()
        other.idle()
        writer = Exmh(self.nmh)
        writer.begin()
        self.client.store(1, "+FLAGS", "\\Flagged")
        other.wait_for("FETCH", WAIT)
        writer.end(lambda sets: sets["unseen"].discard(2))
        other.wait_for("FETCH", WAIT)
        other.done()
        self.assertEqual(self.settled(), {"unseen": {5}, "flagged": {1, 3}, "work": {1, 4}})
        self.assertEqual(other.flags(), self.client.flags())


class Python(ForeignCase):
    """mailbox.MH locks by fcntl and a dot lock, and loses the first when it writes."""

    def test_a_store_while_it_holds_its_lock_waits_and_nothing_is_lost(self):
        for late in (False, True):
            with self.subTest(late=late):
                self.start_again()
                box = mailbox.MH(self.nmh.folder("inbox"))
                box.lock()
                sequences = box.get_sequences()
                if late:
                    box.set_sequences(sequences)    # from here on only the dot lock stands
                self.client.store(1, "+FLAGS", "\\Flagged")
                self.assertIn("\\Flagged", self.client.flags()[1])
                self.assertNotIn(1, self.nmh.sequences()["flagged"])
                sequences["unseen"] = [5]
                box.set_sequences(sequences)
                box.unlock()
                box.close()
                self.assertEqual(self.settled(),
                                 {"unseen": {5}, "flagged": {1, 3}, "work": {1, 4}})

    def test_what_it_adds_under_its_lock_is_served(self):
        box = mailbox.MH(self.nmh.folder("inbox"))
        box.lock()
        box.add(mail_maker.plain(17))
        self.client.store(1, "+FLAGS", "\\Flagged")
        box.unlock()
        box.close()
        self.eventually(lambda: self.client.ok("NOOP") and len(self.client.uids()) == COUNT + 1)
        self.assertEqual(self.settled()["flagged"], {1, 3})

    def test_one_that_dies_with_its_dot_lock_delays_flags_and_nothing_else(self):
        self.nmh.put("inbox", ".mh_sequences.lock", b"")
        self.client.store(1, "+FLAGS", "\\Flagged")
        self.client.store(2, "+FLAGS", "\\Deleted")
        self.nmh.put("inbox", 17, mail_maker.plain(17))
        self.eventually(lambda: self.client.ok("NOOP") and len(self.client.uids()) == COUNT + 1)
        self.assertEqual(self.select().flags()[1], {"\\Seen", "\\Flagged", "work"})
        os.unlink(self.nmh.file("inbox", ".mh_sequences.lock"))
        self.client.ok("EXPUNGE")
        self.assertEqual(self.settled()["flagged"], {1, 3})
        self.assertEqual(self.nmh.numbers(), [1, 3, 4, 5, 17])


class Human(ForeignCase):
    """Somebody sits at the prompt of anno, which has the lock all the time."""

    user_settings = {"mh_unseen_grace": "1", "mh_lock_timeout": "1s"}

    def setUp(self):
        super().setUp()
        self.anno = subprocess.Popen(["anno", "+inbox", "5"], env=self.nmh.environment(),
                                     cwd=self.home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT)
        self.addCleanup(self.end)
        self.assertIn(b"component name", os.read(self.anno.stdout.fileno(), 1000))

    def end(self):
        if self.anno.poll() is None:
            os.kill(self.anno.pid, signal.SIGKILL)
        self.anno.communicate(timeout=WAIT)

    def answer(self):
        self.anno.communicate(b"X-Note\nsomething\n", timeout=WAIT)

    def test_nobody_is_kept_from_his_mail(self):
        other = self.select()
        other.idle()
        self.client.store(1, "+FLAGS", "\\Flagged")
        self.assertEqual(other.wait_for("FETCH", WAIT)[1][-1].number, 1)
        self.assertIn(b"This is the body", self.client.body(2))
        self.nmh.put("inbox", 17, mail_maker.plain(17))
        other.wait_for("EXISTS", WAIT)
        os.unlink(self.nmh.file("inbox", 3))
        other.wait_for("EXPUNGE", WAIT)
        third = self.select()
        self.assertEqual(third.uids(), [1, 2, 4, 5, 6])
        self.assertEqual(third.status("INBOX", "MESSAGES"), {"MESSAGES": 5})
        self.assertEqual(self.nmh.sequences()["flagged"], {3})
        self.answer()
        found = self.settled()
        self.assertEqual(found["flagged"], {1})

    def test_an_expunge_is_done_when_the_lock_is_free(self):
        self.client.store(2, "+FLAGS", "\\Deleted")
        self.client.ok("EXPUNGE")
        self.assertIn(2, self.nmh.numbers())
        self.answer()
        self.eventually(lambda: self.client.ok("NOOP") and self.nmh.numbers() == [1, 3, 4, 5])
        self.assertEqual(self.client.ok("NOOP") and self.client.uids(), [1, 3, 4, 5])

    def test_a_delivery_waits_and_then_names_who_has_the_lock(self):
        answer = self.client.command("APPEND INBOX {3+}\r\nx\r\n")
        self.assertEqual(answer.status, "NO")
        self.assertRegex(str(answer) + self.log(), rf"{self.anno.pid}|anno")
        self.answer()
        self.client.append("INBOX", mail_maker.plain(17))


if __name__ == "__main__":
    runner.main(prepare)
