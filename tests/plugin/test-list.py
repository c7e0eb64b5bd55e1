# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which folders there are: LIST, LSUB, STATUS, and what must never be seen or left among them."""

import os
import re
import socket
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from imap_client import mutf7  # noqa: E402
from nmh import Nmh  # noqa: E402


class ListCase(MhTestCase):
    def names(self, pattern="*"):
        return set(self.imap().list(pattern=pattern))

    def fill(self, folder, count=1):
        for n in range(1, count + 1):
            self.nmh.put(folder, n, mail_maker.plain(n))


class Folders(ListCase):
    def test_an_empty_tree_has_an_inbox(self):
        client = self.imap()
        self.assertEqual(set(client.list()), {"INBOX"})
        self.assertEqual(client.select("INBOX").exists, 0)

    def test_inbox_is_the_folder_inbox_and_is_listed_once(self):
        self.fill("inbox", 2)
        self.fill("work")
        client = self.imap()
        self.assertEqual(set(client.list()), {"INBOX", "work"})
        self.assertEqual(client.select("INBOX").exists, 2)
        self.assertEqual(client.select("inbox").exists, 2)
        self.assertEqual(client.select("InBoX").exists, 2)

    def test_the_children_of_inbox_are_those_of_its_folder(self):
        self.fill("inbox")
        self.fill("inbox/lists", 2)
        self.fill("inbox/lists/deep", 3)
        client = self.imap()
        self.assertEqual(set(client.list()), {"INBOX", "INBOX/lists", "INBOX/lists/deep"})
        self.assertEqual(set(client.list(pattern="%")), {"INBOX"})
        self.assertIn("\\HasChildren", client.list(pattern="%")["INBOX"])
        self.assertEqual(client.select("INBOX/lists").exists, 2)
        self.assertEqual(client.status("INBOX/lists/deep", "MESSAGES"), {"MESSAGES": 3})

    def test_any_directory_is_a_folder_that_can_be_selected(self):
        os.makedirs(self.nmh.folder("empty"))
        os.makedirs(self.nmh.folder("only/below"))
        self.fill("full")
        client = self.imap()
        listed = client.list()
        self.assertEqual(set(listed), {"INBOX", "empty", "only", "only/below", "full"})
        for name, flags in listed.items():
            self.assertNotIn("\\Noselect", flags, name)
            client.select(name)

    def test_children_flags_are_right(self):
        self.fill("leaf")
        self.fill("tree/leaf")
        listed = self.imap().list()
        self.assertIn("\\HasNoChildren", listed["leaf"])
        self.assertIn("\\HasChildren", listed["tree"])
        self.assertIn("\\HasNoChildren", listed["tree/leaf"])

    def test_a_message_file_is_never_a_folder(self):
        self.fill("work", 3)
        self.nmh.put("work", "notes", b"no message")
        self.assertEqual(self.names(), {"INBOX", "work"})
        self.assertEqual(self.imap().command('SELECT "work/1"').status, "NO")

    def test_numeric_folders_are_folders_and_no_messages(self):
        self.fill("2024", 2)
        self.fill("2024/7", 3)
        self.fill("2024/12")
        self.assertEqual(self.names(), {"INBOX", "2024", "2024/7", "2024/12"})
        client = self.imap()
        self.assertEqual(client.select("2024").exists, 2)
        self.assertEqual(client.select("2024/7").exists, 3)
        client.logout()
        self.force_resync()
        self.assertEqual(self.imap().select("2024").exists, 2)

    def test_names_with_blanks_quotes_and_odd_ascii(self):
        names = ["two words", " leading", "trailing ", "a.b.c", "it's", "a&b", "x+y=z", "100%",
                 "#hash", "at@sign", "semi;colon", "[brackets]", "-dash", "back\\slash",
                 'quo"te', "star*", "comma,name", "(paren)", "colon:name", "tilde~"]
        for name in names:
            self.fill(name)
        client = self.imap()
        listed = client.list()
        for name in names:
            with self.subTest(name):
                self.assertIn(mutf7(name), listed)
                self.assertEqual(client.select(mutf7(name)).exists, 1)
                self.assertEqual(client.status(mutf7(name), "MESSAGES"), {"MESSAGES": 1})

    def test_names_beyond_ascii_are_mutf7(self):
        names = ["Entwürfe", "日本語", "Отправленные/черновики", "mixed ü and &", "emoji 📬"]
        for name in names:
            self.fill(name)
        client = self.imap()
        listed = client.list()
        for name in names:
            with self.subTest(name):
                self.assertIn(mutf7(name), listed)
                self.assertEqual(client.select(mutf7(name)).exists, 1)

    def test_a_directory_whose_name_looks_like_mutf7_is_one_folder_and_not_another(self):
        self.nmh.put("Entw&APw-rfe", 1, mail_maker.plain(1))
        self.nmh.put("Entwürfe", 1, mail_maker.plain(2))
        client = self.imap()
        listed = sorted(set(client.list()) - {"INBOX"})
        self.assertEqual(len(listed), 2)
        found = set()
        for name in listed:
            client.select(name)
            found.add(client.body(1))
        self.assertEqual(found, {mail_maker.as_imap(mail_maker.plain(n)) for n in (1, 2)})

    def test_a_name_that_is_no_utf8_does_no_harm(self):
        os.makedirs(os.path.join(os.fsencode(self.root), b"lat\xedn"))
        self.fill("work")
        self.allow_log(r"utf-?8|lat.n")
        self.assertIn("work", self.names())
        self.assertEqual(self.imap().select("work").exists, 1)

    def test_a_very_deep_tree(self):
        path = "/".join(f"level{n}" for n in range(40))
        self.fill(path)
        client = self.imap()
        self.assertIn(path, client.list())
        self.assertEqual(client.select(path).exists, 1)

    def test_a_very_long_name(self):
        name = "n" * 200
        self.fill(name)
        client = self.imap()
        self.assertIn(name, client.list())
        self.assertEqual(client.select(name).exists, 1)

    def test_dot_names_and_mhsync_are_invisible(self):
        self.fill("inbox")
        self.fill(".hidden")
        self.imap().select()
        client = self.imap()
        client.select()
        self.assertTrue(os.path.isdir(os.path.join(self.root, ".mhsync")))
        for pattern in ("*", "%", ".*", ".mhsync*", ".mhsync/*", "%/%"):
            for name in client.list(pattern=pattern):
                self.assertNotIn("mhsync", name)
        for name in (".mhsync", ".mhsync/folders", "inbox/../.mhsync"):
            self.assertIn(client.command(f'SELECT "{name}"').status, ("NO", "BAD"))

    def test_a_name_cannot_lead_out_of_the_tree(self):
        os.makedirs(os.path.join(self.home, "secret"))
        with open(os.path.join(self.home, "secret", "1"), "wb") as out:
            out.write(mail_maker.plain(1))
        client = self.imap()
        for name in ("../secret", "work/../../secret", "/etc", "~/secret", "..", "."):
            self.assertIn(client.command(f'SELECT "{name}"').status, ("NO", "BAD"), name)

    def test_a_folder_that_is_not_there_is_said_to_be_not_there(self):
        answer = self.imap().command("SELECT nowhere")
        self.assertEqual(answer.status, "NO")
        self.assertIn("doesn't exist", answer.text)
        self.assertFalse(os.path.exists(self.nmh.folder("nowhere")))

    def test_a_folder_made_by_nmh_shows_in_the_next_session(self):
        self.fill("inbox")
        self.assertEqual(self.names(), {"INBOX"})
        self.nmh.run("folder", "+new/sub", "-create")
        self.assertEqual(self.names(), {"INBOX", "new", "new/sub"})

    def test_a_folder_removed_by_rmf_is_gone_from_the_next_session(self):
        self.fill("old", 3)
        self.imap().select("old")
        self.nmh.run("rmf", "-nointeractive", "+old")
        self.assertEqual(self.names(), {"INBOX"})
        self.assertFalse(os.path.exists(self.nmh.folder("old")))

    def test_what_others_do_to_the_tree_shows_in_the_same_session(self):
        self.fill("inbox")
        self.fill("work/deep", 2)
        self.fill("old", 2)
        client = self.imap()
        self.assertEqual(set(client.list()), {"INBOX", "work", "work/deep", "old"})
        self.assertEqual(client.list()["work"] & {"\\HasChildren"}, {"\\HasChildren"})
        steps = [
            (lambda: self.nmh.run("folder", "+new", "-create"),
             {"INBOX", "work", "work/deep", "old", "new"}),
            (lambda: self.nmh.run("folder", "+work/deep/deeper", "-create"),
             {"INBOX", "work", "work/deep", "work/deep/deeper", "old", "new"}),
            (lambda: os.rename(self.nmh.folder("old"), self.nmh.folder("older")),
             {"INBOX", "work", "work/deep", "work/deep/deeper", "older", "new"}),
            (lambda: self.nmh.run("rmf", "-nointeractive", "+new"),
             {"INBOX", "work", "work/deep", "work/deep/deeper", "older"}),
            (lambda: os.rename(self.nmh.folder("work/deep"), self.nmh.folder("deep")),
             {"INBOX", "work", "deep", "deep/deeper", "older"})]
        for act, names in steps:
            act()
            self.assertEqual(set(client.list()), names)
            self.assertEqual(set(client.list(pattern="%")), {n for n in names if "/" not in n})
            answer = client.ok('LIST "" "*" RETURN (STATUS (MESSAGES))')
            self.assertEqual(len(answer.all("STATUS")), len(names), answer.untagged)
        self.assertEqual(client.status("older", "MESSAGES"), {"MESSAGES": 2})
        self.assertEqual(client.command("STATUS new (MESSAGES)").status, "NO")
        self.assertEqual(client.list()["work"] & {"\\HasChildren"}, set())

    def test_a_client_that_polls_by_status_sees_what_others_do(self):
        self.fill("inbox")
        self.fill("work", 3)
        client = self.imap()
        client.select()
        self.assertEqual(client.status("work", "MESSAGES UNSEEN"), {"MESSAGES": 3, "UNSEEN": 0})
        self.nmh.rcvstore(mail_maker.plain(9), "work")
        self.assertEqual(client.status("work", "MESSAGES UNSEEN"), {"MESSAGES": 4, "UNSEEN": 1})
        self.nmh.run("mark", "+work", "2", "-sequence", "unseen", "-add")
        self.assertEqual(client.status("work", "MESSAGES UNSEEN"), {"MESSAGES": 4, "UNSEEN": 2})
        self.nmh.run("rmm", "+work", "2", "3")
        self.assertEqual(client.status("work", "MESSAGES UNSEEN"), {"MESSAGES": 2, "UNSEEN": 1})
        self.nmh.run("folder", "+work", "-pack")
        self.assertEqual(client.status("work", "MESSAGES UIDNEXT"), {"MESSAGES": 2, "UIDNEXT": 5})

    def test_fifos_sockets_and_links_to_files_are_no_folders(self):
        self.fill("work")
        os.mkfifo(self.nmh.folder("pipe"))
        with socket.socket(socket.AF_UNIX) as end:
            os.chdir(self.root)
            end.bind("sock")
            os.chdir(runner.scratch())
        os.symlink("work/1", self.nmh.folder("link"))
        self.assertEqual(self.names(), {"INBOX", "work"})


class Inbox(ListCase):
    def make_nmh(self):
        return Nmh(self.home, profile={"Inbox": "incoming"})

    def test_inbox_is_the_folder_that_the_profile_names(self):
        self.fill("incoming", 2)
        self.fill("incoming/sub", 1)
        client = self.imap()
        self.assertEqual(set(client.list()), {"INBOX", "INBOX/sub"})
        self.assertEqual(client.select("INBOX").exists, 2)

    def test_inc_delivers_into_it(self):
        self.nmh.inc(mail_maker.plain(1), mail_maker.plain(2))
        self.assertEqual(self.imap().select("INBOX").exists, 2)

    def test_a_folder_called_inbox_beside_it_does_no_harm(self):
        self.fill("incoming", 2)
        self.fill("inbox", 1)
        self.allow_log("inbox")
        client = self.imap()
        self.assertEqual(client.select("INBOX").exists, 2)
        self.assertIn("INBOX", client.list())


class NestedInbox(ListCase):
    def make_nmh(self):
        return Nmh(self.home, profile={"Inbox": "mail/in"})

    def test_inbox_may_lie_deeper(self):
        self.fill("mail/in", 2)
        self.fill("mail/out", 1)
        client = self.imap()
        self.assertEqual(client.select("INBOX").exists, 2)
        self.assertEqual(client.select("mail/out").exists, 1)
        self.assertIn("INBOX", client.list())


class NoProfile(ListCase):
    def make_nmh(self):
        nmh = Nmh(self.home)
        os.unlink(os.path.join(self.home, ".mh_profile"))
        return nmh

    def test_without_a_profile_the_defaults_hold(self):
        self.fill("inbox", 2)
        self.nmh.write_sequences("inbox", {"unseen": "2"})
        client = self.imap()
        self.assertEqual(client.select("INBOX").exists, 2)
        self.assertEqual(client.search("UNSEEN"), [2])


class Subscriptions(ListCase):
    def test_lsub_and_list_subscribed(self):
        self.fill("work")
        self.fill("play")
        client = self.imap()
        client.ok("SUBSCRIBE work")
        client.ok("SUBSCRIBE INBOX")
        self.assertEqual(set(client.list(verb="LSUB")), {"work", "INBOX"})
        listed = client.ok('LIST (SUBSCRIBED) "" "*"').all("LIST")
        self.assertEqual({line.data[2] for line in listed}, {"work", "INBOX"})
        client.ok("UNSUBSCRIBE work")
        self.assertEqual(set(self.imap().list(verb="LSUB")), {"INBOX"})


class Status(ListCase):
    def test_status_tells_what_select_tells(self):
        self.fill("work", 5)
        self.nmh.write_sequences("work", {"unseen": "2 4"})
        client = self.imap()
        told = client.status("work", "MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE")
        box = client.select("work", " (CONDSTORE)")
        self.assertEqual(told["MESSAGES"], box.exists)
        self.assertEqual(told["UIDVALIDITY"], box.uidvalidity)
        self.assertEqual(told["UIDNEXT"], box.uidnext)
        self.assertEqual(told["HIGHESTMODSEQ"], box.highestmodseq)
        self.assertEqual(told["UNSEEN"], 2)
        self.assertEqual(told["SIZE"], sum(
            len(mail_maker.as_imap(mail_maker.plain(n))) for n in range(1, 6)))

    def test_an_unselected_folder_is_fresh(self):
        self.fill("work", 1)
        client = self.imap()
        self.assertEqual(client.status("work", "MESSAGES")["MESSAGES"], 1)
        self.nmh.rcvstore(mail_maker.plain(2), "work")
        self.assertEqual(client.status("work", "MESSAGES UNSEEN"),
                         {"MESSAGES": 2, "UNSEEN": self.unseen("work")})
        self.nmh.run("rmm", "+work", "1")
        self.assertEqual(client.status("work", "MESSAGES")["MESSAGES"], 1)

    def unseen(self, folder):
        return len(self.nmh.sequences(folder).get("unseen", set()))

    def test_flags_changed_by_nmh_show_in_status(self):
        self.fill("work", 4)
        client = self.imap()
        self.assertEqual(client.status("work", "UNSEEN")["UNSEEN"], 0)
        self.nmh.run("mark", "+work", "1", "3", "-sequence", "unseen", "-add")
        self.assertEqual(client.status("work", "UNSEEN")["UNSEEN"], 2)

    def test_list_status_in_one_command(self):
        self.fill("work", 3)
        answer = self.imap().ok('LIST "" "*" RETURN (STATUS (MESSAGES))')
        counts = {line.data[0] if isinstance(line.data[0], str) else line.data[0].decode():
                  line.data[1] for line in answer.all("STATUS")}
        self.assertEqual(counts["work"], ["MESSAGES", "3"])

    def test_each_folder_has_a_uidvalidity_of_its_own(self):
        for n in range(12):
            self.fill(f"f{n}")
        client = self.imap()
        found = [client.status(f"f{n}", "UIDVALIDITY")["UIDVALIDITY"] for n in range(12)]
        self.assertEqual(len(set(found)), 12)

    def test_two_sessions_that_come_first_agree_on_the_uids(self):
        self.fill("work", 20)
        clients = [self.imap() for _ in range(4)]
        tags = [client.send('SELECT "work"') for client in clients]
        answers = [client.wait(tag) for client, tag in zip(clients, tags)]
        self.assertEqual(len({answer.codes("UIDVALIDITY")[0] for answer in answers}), 1)
        subjects = [client.fetch("1:*", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
                    for client in clients]
        for other in subjects[1:]:
            self.assertEqual(other, subjects[0])


class Layouts(ListCase):
    def test_a_layout_other_than_fs_is_refused_with_a_reason(self):
        for layout in ("maildir++", "index", "shared", "none"):
            with self.subTest(layout):
                home = os.path.join(self.home, layout.replace("+", "p"))
                user = self.new_user(home=home, mail=f"mh:~/Mail:LAYOUT={layout}")
                self.allow_log(r"layout")
                done = self.server.doveadm("mailbox", "list", "-u", user.name, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.err.lower(), "layout")


class OursStaysOutside(ListCase):
    """Nothing of ours inside an MH folder but .mh_sequences: `rmf` must work."""

    def check_tree(self):
        for top, folders, files in os.walk(self.root):
            if top == self.root and ".mhsync" in folders:
                folders.remove(".mhsync")
            for name in files:
                path = os.path.join(top, name)
                if top == self.root:
                    self.assertIn(name, ("context", "mhl.format"), path)
                else:
                    self.assertRegex(name, r"^([1-9][0-9]*|,[0-9]+|\.mh_sequences)$", path)
            for name in folders:
                self.assertFalse(name.startswith("."), os.path.join(top, name))

    def test_after_every_kind_of_use(self):
        self.fill("inbox", 5)
        self.fill("work/deep", 5)
        client = self.imap()
        for name in ("INBOX", "work/deep", "work"):
            client.select(name)
            client.ok("SEARCH BODY needle")
            client.ok("SORT (SUBJECT) UTF-8 ALL")
            client.ok("THREAD REFERENCES UTF-8 ALL")
            client.ok("FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE)") \
                if name != "work" else None
            client.command("STORE 1:* +FLAGS (\\Flagged keyword)")
            client.ok(f"SUBSCRIBE {name}")
            client.status(name, "MESSAGES SIZE HIGHESTMODSEQ")
        client.logout()
        self.check_tree()
        self.force_resync()
        self.check_tree()
        self.imap().select()
        self.check_tree()
        self.nmh.run("rmf", "-nointeractive", "+work/deep")
        self.assertFalse(os.path.exists(self.nmh.folder("work/deep")))

    def test_the_state_has_the_rights_of_the_folder(self):
        self.fill("work", 2)
        os.chmod(self.nmh.folder("work"), 0o770)
        self.imap().select("work")
        self.force_resync()
        modes = []
        for top, folders, _files in os.walk(os.path.join(self.root, ".mhsync")):
            modes += [stat.S_IMODE(os.stat(os.path.join(top, name)).st_mode) for name in folders
                      if re.fullmatch(r"[0-9a-f]{32}", name)]
        self.assertIn(0o770, modes)
        mode = stat.S_IMODE(os.stat(self.nmh.file("work", 1)).st_mode)
        self.assertEqual(mode, 0o600)

    def test_sequences_are_made_for_each_folder_that_was_opened(self):
        self.fill("work", 2)
        self.imap().select("work")
        self.assertTrue(os.path.exists(self.nmh.file("work", ".mh_sequences")))
        self.nmh.run("scan", "+work")


class MovedByHand(ListCase):
    """State belongs to the directory, not to a path (design: where the truth is)."""

    def uids(self, name):
        client = self.imap()
        box = client.select(name)
        return box.uidvalidity, client.fetch("1:*", "BODY.PEEK[]")

    def mails(self, folder, base):
        for n in range(1, 4):
            self.nmh.put(folder, n, mail_maker.plain(base + n))

    def test_a_moved_folder_keeps_everything(self):
        self.mails("a", 100)
        before = self.uids("a")
        os.rename(self.nmh.folder("a"), self.nmh.folder("b"))
        self.assertEqual(self.uids("b"), before)
        self.assertEqual(self.names(), {"INBOX", "b"})

    def test_a_folder_moved_below_another_keeps_everything(self):
        self.mails("a/sub", 100)
        self.mails("other", 200)
        before = self.uids("a/sub")
        os.rename(self.nmh.folder("a"), self.nmh.folder("other/a"))
        self.assertEqual(self.uids("other/a/sub"), before)

    def test_swapped_folders_keep_their_own(self):
        self.mails("a", 100)
        self.mails("b", 200)
        before_a, before_b = self.uids("a"), self.uids("b")
        os.rename(self.nmh.folder("a"), self.nmh.folder("tmp"))
        os.rename(self.nmh.folder("b"), self.nmh.folder("a"))
        os.rename(self.nmh.folder("tmp"), self.nmh.folder("b"))
        self.assertEqual(self.uids("a"), before_b)
        self.assertEqual(self.uids("b"), before_a)

    def test_a_copied_folder_gets_a_uidvalidity_of_its_own(self):
        self.mails("a", 100)
        before = self.uids("a")
        self.force_resync()
        os.system(f"cp -a '{self.nmh.folder('a')}' '{self.nmh.folder('copy')}'")
        copied = self.uids("copy")
        self.assertNotEqual(copied[0], before[0])
        self.assertEqual([items["BODY[]"] for items in copied[1].values()],
                         [items["BODY[]"] for items in before[1].values()])
        self.assertEqual(self.uids("a"), before)

    def test_a_folder_removed_and_made_again_has_a_new_uidvalidity(self):
        self.mails("a", 100)
        before = self.uids("a")
        self.nmh.run("rmf", "-nointeractive", "+a")
        self.mails("a", 300)
        after = self.uids("a")
        self.assertGreater(after[0], before[0])
        self.assertEqual(len(after[1]), 3)

    def test_removed_and_made_again_is_new_even_when_nobody_looked_between(self):
        self.mails("a", 100)
        self.force_resync()
        before = self.uids("a")
        os.system(f"rm -r '{self.nmh.folder('a')}'")
        self.mails("a", 400)
        self.assertNotEqual(self.uids("a")[0], before[0])

    def test_a_symlinked_folder_outside_the_tree_is_served_and_not_tagged_by_this_root(self):
        outside = os.path.join(self.home, "elsewhere")
        os.makedirs(outside)
        with open(os.path.join(outside, "1"), "wb") as out:
            out.write(mail_maker.plain(1))
        os.symlink(outside, self.nmh.folder("link"))
        self.allow_log("outside|symlink|link")
        client = self.imap()
        self.assertEqual(client.select("link").exists, 1)
        client.logout()
        self.force_resync()
        with open(os.path.join(outside, "1"), "rb") as message:
            self.assertEqual(message.read(), mail_maker.plain(1))


if __name__ == "__main__":
    runner.main(prepare)
