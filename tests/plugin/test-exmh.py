# SPDX-License-Identifier: LGPL-2.1-or-later
"""exmh and IMAP clients in one folder, each seeing what the other does, and a picture of it.

exmh locks nothing, caches what it read, and holds what is to be deleted or moved by number until it
is committed. A client sits in IDLE all the time; what it is told is compared line by line.
"""

import os
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import case  # noqa: E402
import exmh  # noqa: E402
import mail_maker  # noqa: E402
import mhsync  # noqa: E402
import runner  # noqa: E402
from nmh import Nmh  # noqa: E402
from watched import FLAGS, NUMBERS, Change, WatchedCase  # noqa: E402

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf.d", "examples")
_kept = {}


def prepare():
    case.prepare()
    if not exmh.installed():
        raise unittest.SkipTest("exmh or Xvfb is not installed")
    for name in ("mhunrm", "exmh-defaults", "exmh-mhsync.tcl"):
        _kept[name] = runner.stage(os.path.join(EXAMPLES, name))
    program = mhsync.find_program()
    if program is not None:
        _kept["mhsync"] = runner.stage(program)
    # The account that the tests run as may not be able to write there.
    where = os.path.join(os.environ.get("top_builddir", "."), "tests", "plugin")
    try:
        os.makedirs(where, exist_ok=True)
        _kept["picture"] = open(os.path.join(where, "test-exmh.png"), "wb")
    except OSError as error:
        print(f"no picture is kept: {error}")


def text_of(name):
    with open(_kept[name]) as text:
        return text.read()


class Both(WatchedCase):
    hibernating = False
    user_settings = {"mh_unseen_grace": "1"}

    def make_nmh(self):
        nmh = Nmh(self.home, profile={"Draft-Folder": "drafts"})
        nmh.make_folder("drafts")
        with open(os.path.join(nmh.root, "context"), "w") as context:
            context.write("Current-Folder: inbox\n")
        return nmh

    def setUp(self):
        super().setUp()
        self.watch()
        self.display = exmh.Display(os.path.join(self.home, "display"))
        self.addCleanup(self.display.close)
        self.tools = os.path.join(self.home, "bin")
        os.makedirs(self.tools)
        for name in ("mhunrm", "mhsync"):
            if name in _kept:
                shutil.copy(_kept[name], self.tools)
        environment = self.nmh.environment
        self.nmh.environment = lambda: {**environment(),
                                        "PATH": self.tools + ":" + environment()["PATH"]}
        self.exmh = exmh.Exmh(self.nmh, self.display,
                              user_files={"exmh-mhsync.tcl": text_of("exmh-mhsync.tcl")},
                              defaults=text_of("exmh-defaults"))
        self.addCleanup(self.exmh.close)
        self.assertEqual(self.exmh.do("set exmh(folder)"), "inbox")
        self.assertEqual(self.listed(), NUMBERS)

    def listed(self):
        """The numbers in exmh's table of contents."""
        count = int(self.exmh.do("set ftoc(numMsgs)"))
        return [int(self.exmh.do(f"Ftoc_MsgNumber {line}")) for line in range(1, count + 1)]

    def unseen(self):
        return set(self.exmh.numbers("Seq_Msgs inbox unseen"))

    def in_folder(self, name):
        client = self.imap(self.awake)
        client.select(name)
        return list(client.flags().values())


class Exmh(Both):
    def test_a_message_that_is_read_in_exmh_is_seen_by_clients(self):
        self.exmh.do("Msg_Change 2")
        self.assertIn("This is the body", self.exmh.do("$exwin(mtext) get 1.0 end"))
        self.assertNotIn("X-MH-UID", self.exmh.do("$exwin(mtext) get 1.0 end"))
        self.expect(Change(flags={2: {"\\Seen"}}))
        self.assertEqual(self.unseen(), {5})

    def test_mark_unseen(self):
        self.exmh.do("Msg_Change 1")
        self.exmh.do("Msg_Mark $mhProfile(unseen-sequence)")
        self.expect(Change(flags={1: {"work"}}))
        self.assertEqual(self.unseen(), {1, 2, 5})

    def test_delete_and_commit(self):
        self.exmh.do("Msg_Change 3")
        self.exmh.do("Msg_Remove")
        self.assertEqual(self.imap(self.awake).status("INBOX", "MESSAGES"), {"MESSAGES": 6})
        self.exmh.do("Folder_Commit")
        self.expect(Change(gone=[3]))
        self.assertEqual(self.listed(), [1, 2, 4, 5, 8])
        self.assertEqual(self.nmh.numbers(), [1, 2, 4, 5, 8])

    def test_refile(self):
        for number in (3, 4):
            self.exmh.do(f"Msg_Change {number} noshow")
            self.exmh.do("Folder_TargetMove elsewhere")
        self.exmh.do("Folder_Commit")
        # It has gone on to the next message, and shown that.
        self.expect(Change(gone=[3, 4], flags={5: {"\\Seen"}}))
        self.assertEqual(self.in_folder("elsewhere"), [FLAGS[3], FLAGS[4]])
        self.assertEqual(self.listed(), [1, 2, 5, 8])

    def test_link(self):
        self.exmh.do("Msg_Change 3 noshow")
        self.exmh.do("Folder_TargetCopy elsewhere")
        self.exmh.do("Folder_Commit")
        self.expect(Change())
        self.assertEqual(self.in_folder("elsewhere"), [set()])     # an arrival of its own

    def test_inc_in_exmh(self):
        with open(os.path.join(self.home, "spool"), "wb") as spool:
            spool.write(b"From a@example.org Thu Jan  1 00:00:00 2004\n"
                        + mail_maker.plain(17) + b"\n")
        self.exmh.do("set env(MAILDROP)", os.path.join(self.home, "spool"))
        self.exmh.do("Inc")
        self.expect(Change(new=1, new_flags=[set()]))
        self.assertEqual(self.unseen(), {2, 5, 9})

    def test_what_a_client_does_is_seen_by_exmh(self):
        client = self.imap(self.awake)
        client.select()
        client.store(2, "+FLAGS", "\\Seen")
        client.append("INBOX", mail_maker.plain(17))
        client.store(1, "-FLAGS", "\\Seen")
        client.store(4, "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        client.logout()
        self.exmh.do("Scan_FolderForce")
        new = self.nmh.numbers()[-1]
        self.assertEqual(self.listed(), [1, 2, 3, 5, 8, new])
        self.assertEqual(self.unseen(), {1, 5, new})
        self.expect(Change(gone=[4], new=1, flags={1: {"work"}, 2: {"\\Seen"}}, passing=[4],
                           new_flags=[set()]))

    def test_what_exmh_read_before_takes_no_flag_of_a_client_back(self):
        """Its cache of the sequences is of before; then it writes all of them."""
        self.unseen()
        client = self.imap(self.awake)
        client.select()
        client.store(6, "+FLAGS", "\\Flagged")
        client.store(5, "+FLAGS", "\\Seen")
        self.exmh.do("Msg_Change 2")
        self.expect(Change(flags={2: {"\\Seen"}, 5: {"\\Seen"},
                                  6: {"\\Seen", "\\Answered", "\\Flagged"}}))
        self.assertEqual(self.unseen(), set())

    def test_a_pending_delete_hits_its_message_whatever_clients_do_meanwhile(self):
        self.exmh.do("Msg_Change 3")
        self.exmh.do("Msg_Remove")
        client = self.imap(self.awake)
        client.select()
        client.store("1:2", "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        client.append("INBOX", mail_maker.plain(17))
        self.exmh.do("Folder_Commit")
        self.expect(Change(gone=[1, 2, 3], new=1, passing=[1, 2]))

    def test_pack_and_sort_in_exmh_are_no_change(self):
        self.exmh.do("Folder_Pack")
        self.exmh.do("Folder_Sort -datefield date")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3, 4, 5, 6])
        self.expect(Change())

    def test_the_entries_of_the_menu(self):
        self.exmh.do("Msg_Change 3")
        self.exmh.do("Msg_Remove")
        self.exmh.do("Folder_Commit")
        self.expect(Change(gone=[3]))
        self.exmh.choose("Bring back the last removed message")
        self.assertEqual(self.listed(), NUMBERS)
        self.assertEqual(self.exmh.do("set msg(id)"), "3")
        client = self.imap(self.awake)
        client.select()
        self.assertEqual(client.flags()[7], FLAGS[3])
        if "mhsync" in _kept:
            self.exmh.choose("Check folder (mhsync)")
            self.assertIn("+inbox", self.exmh.do(".mhsync.text get 1.0 end"))


class Picture(Both):
    """All of it in one session, as a person would; what exmh shows in the end is kept."""

    def test_a_session_and_its_picture(self):
        began = time.monotonic()
        self.exmh.do("Msg_Change 2")
        self.exmh.do("Msg_Change 3")
        self.exmh.do("Msg_Remove")
        self.exmh.do("Folder_Commit")
        self.exmh.do("Msg_Change 4 noshow")
        self.exmh.do("Folder_TargetMove elsewhere")
        self.exmh.do("Folder_Commit")
        self.exmh.do("Msg_Change 1")
        self.exmh.do("Msg_Mark $mhProfile(unseen-sequence)")
        client = self.imap(self.awake)
        client.append("INBOX", mail_maker.plain(17))
        self.exmh.do("Scan_FolderForce")
        self.exmh.do("Msg_Change 8")
        self.expect(Change(gone=[3, 4], new=1, flags={1: {"work"}, 2: {"\\Seen"}, 5: {"\\Seen"}},
                           passing=[3, 4], new_flags=[set()]))
        self.assertEqual(self.in_folder("elsewhere"), [FLAGS[4]])
        new = self.nmh.numbers()[-1]
        self.assertEqual(self.listed(), [1, 2, 5, 8, new])
        self.assertEqual(self.unseen(), {1, new})
        picture = self.display.picture()
        self.assertGreater(len(picture), 5000, "the screen is empty")
        if "picture" in _kept:
            _kept["picture"].write(picture)
            _kept["picture"].flush()
            print(f"    a session of {time.monotonic() - began:.1f} s; what exmh showed at its end:"
                  f" {_kept['picture'].name}")


if __name__ == "__main__":
    runner.main(prepare)
