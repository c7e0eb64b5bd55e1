# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mail that the server's own parts bring, take and count: LMTP, lda, Sieve, POP3, quota, ACL,
virtual mailboxes, expiry, doveadm."""

import os
import poplib
import re
import smtplib
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from mail_maker import as_imap  # noqa: E402


class Delivery(MhTestCase):
    def lmtp(self, *mails, user=None):
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            for mail in mails:
                session.sendmail("alice@example.org", [(user or self.user).name], mail)

    def lda(self, mail, *args):
        command = os.path.join(self.server._libexec(), "dovecot-lda")
        return subprocess.run([command, "-c", self.server.config_path, "-d", self.user.name, *args],
                              input=mail, capture_output=True)


class Lmtp(Delivery):
    def test_it_lies_in_the_inbox_unseen(self):
        self.lmtp(mail_maker.plain(1), mail_maker.plain(2))
        client = self.select()
        self.assertEqual(client.uids(), [1, 2])
        self.assertEqual(client.flags(), {1: set(), 2: set()})
        self.assertIn(b"message 2", client.body(2))
        self.assertEqual(self.nmh.sequences()["unseen"], set(self.nmh.numbers()))
        out = self.nmh.run("scan", "+inbox", "unseen", "-format", "%{subject}")
        self.assertEqual(out.splitlines(), ["message 1", "message 2"])

    def test_a_client_in_the_folder_is_told(self):
        client = self.select()
        client.idle()
        self.lmtp(mail_maker.plain(1))
        self.assertTrue(client.wait_for("EXISTS", 10))
        client.done()
        self.assertEqual(client.uids(), [1])

    def test_several_users_at_once(self):
        other = self.new_user()
        users = (self.user, other)
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            session.docmd("MAIL FROM:<a@example.org>")
            for user in users:
                session.docmd(f"RCPT TO:<{user.name}>")
            session.docmd("DATA")
            session.send(as_imap(mail_maker.plain(1)) + b".\r\n")
            self.assertEqual([session.getreply()[0] for _ in users], [250, 250])
        for user in users:
            self.assertEqual(self.imap(user).select().exists, 1)

    def test_lda_and_a_folder_that_is_made(self):
        done = self.lda(mail_maker.plain(3), "-m", "lists/mh", "-o", "lda_mailbox_autocreate=yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.nmh.numbers("lists/mh"), [1])

    def test_a_delivery_waits_for_a_lock_and_then_fails_for_now(self):
        self.lmtp(mail_maker.plain(1))
        self.expect_log("lock")
        with self.nmh.sequences_locked("inbox"):
            done = self.lda(mail_maker.plain(2), "-o", "plugin/mh_lock_timeout=1s")
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertEqual(self.nmh.numbers("inbox"), [1])
        self.assertEqual(self.lda(mail_maker.plain(2)).returncode, 0)
        uids = self.select().uids()
        self.assertEqual((uids[0], len(uids)), (1, 2))


class Sieve(Delivery):
    server_settings = {"lda_mailbox_autocreate": "yes"}
    extra_config = ("protocol lmtp {\n  mail_plugins = mh sieve\n}\n"
                    "protocol lda {\n  mail_plugins = mh sieve\n}\n")
    plugin_settings = {"sieve": "~/.dovecot.sieve"}
    SCRIPT = ('require ["fileinto", "imap4flags", "mailbox"];\n'
              'if header :contains "subject" "urgent" {\n'
              '  fileinto :create :flags ["\\\\Flagged", "$Work"] "filed/here";\n} '
              'elsif header :contains "subject" "drop" {\n  discard;\n}\n')

    def test_fileinto_with_flags(self):
        with open(os.path.join(self.home, ".dovecot.sieve"), "w") as script:
            script.write(self.SCRIPT)
        self.lmtp(mail_maker.plain(1, subject="urgent thing"), mail_maker.plain(2, subject="drop"),
                  mail_maker.plain(3))
        client = self.imap()
        client.select("filed/here")
        self.assertEqual(client.flags(), {1: {"\\Flagged", "$Work"}})
        self.assertEqual(self.nmh.sequences("filed/here")["flagged"], {1})
        self.assertEqual(client.select("INBOX").exists, 1)


class Pop3(Delivery):
    def pop3(self):
        session = poplib.POP3("127.0.0.1", self.server.pop3_port)
        session.user(self.user.name)
        session.pass_(self.user.password)
        return session

    def test_uidls_stay_whatever_happens_to_the_files(self):
        self.lmtp(*[mail_maker.plain(n) for n in (1, 2, 3)])
        session = self.pop3()
        before = session.uidl()[1]
        self.assertEqual(len(set(line.split()[1] for line in before)), 3)
        text = b"\r\n".join(session.retr(2)[1]) + b"\r\n"
        self.assertIn(b"message 2", text)
        session.quit()
        self.nmh.run("rmm", "+inbox", "1")
        self.nmh.run("folder", "+inbox", "-pack")
        session = self.pop3()
        after = session.uidl()[1]
        self.assertEqual([line.split()[1] for line in after],
                         [line.split()[1] for line in before[1:]])
        session.dele(1)
        session.quit()
        self.assertEqual(self.nmh.numbers("inbox"), [2])
        self.assertIn(b"message 3", self.select().body(3))


class Quota(Delivery):
    server_settings = {"mail_plugins": "mh quota"}
    plugin_settings = {"quota": "count:User quota", "quota_vsizes": "yes",
                       "quota_rule": "*:bytes=20000"}
    extra_config = "protocol imap {\n  mail_plugins = mh quota imap_quota\n}\n"

    def usage(self, client):
        line = client.ok("GETQUOTAROOT INBOX").all("QUOTA")[0]
        return int(re.search(r"STORAGE'?,? b?'?(\d+)", repr(line.data)).group(1)) \
            if "STORAGE" in repr(line.data) else 0

    def vsize(self):
        out = self.doveadm("mailbox", "status", "vsize", "INBOX").out
        return int(re.search(r"vsize=(\d+)", out).group(1))

    def test_sizes_are_right_and_the_limit_holds(self):
        client = self.select()
        mails = [as_imap(mail_maker.plain(n, body="x" * 3000 + "\n")) for n in range(4)]
        for mail in mails:
            self.assertEqual(client.append("INBOX", mail).status, "OK")
        self.assertEqual(self.vsize(), sum(map(len, mails)))
        big = as_imap(mail_maker.plain(9, body="x" * 15000 + "\n"))
        answer = client.append("INBOX", big)
        self.assertEqual((answer.status, answer.codes("OVERQUOTA")), ("NO", [""]))
        client.store("1:2", "+FLAGS", "\\Deleted")
        client.ok("EXPUNGE")
        self.assertEqual(self.vsize(), sum(map(len, mails[2:])))
        self.nmh.run("rmm", "+inbox", "first")
        client.ok("NOOP")
        self.assertEqual(self.vsize(), len(mails[3]))
        self.nmh.inc(mail_maker.plain(8))
        client.ok("NOOP")
        self.assertGreater(self.vsize(), len(mails[3]))


class Acl(Delivery):
    server_settings = {"mail_plugins": "mh acl"}
    plugin_settings = {"acl": "vfile"}
    extra_config = "protocol imap {\n  mail_plugins = mh acl imap_acl\n}\n"

    def test_its_files_lie_outside_of_the_folder(self):
        client = self.imap()
        client.ok("CREATE shared")
        client.ok("SETACL shared somebody lr")
        client.append("shared", as_imap(mail_maker.plain(1)))
        self.assertEqual(sorted(set(os.listdir(self.nmh.folder("shared"))) - {"1"}),
                         [".mh_sequences"])
        self.assertIn("somebody", repr(client.ok("GETACL shared").untagged))


class Virtual(Delivery):
    server_settings = {"mail_plugins": "mh virtual"}
    extra_config = ("namespace virtual {\n  prefix = virtual/\n  separator = /\n"
                    "  location = virtual:~/virtual\n}\n")

    def test_all_unseen_mail_of_all_folders(self):
        os.makedirs(os.path.join(self.home, "virtual", "unseen"))
        with open(os.path.join(self.home, "virtual", "unseen", "dovecot-virtual"), "w") as rules:
            rules.write("*\n  unseen\n")
        client = self.imap()
        client.ok("CREATE work")
        client.append("work", as_imap(mail_maker.plain(1)))
        client.append("work", as_imap(mail_maker.plain(2)), flags="\\Seen")
        client.append("INBOX", as_imap(mail_maker.plain(3)))
        box = client.select("virtual/unseen")
        self.assertEqual(box.exists, 2)
        client.store(1, "+FLAGS", "\\Seen")
        self.nmh.rcvstore(mail_maker.plain(4), "work")
        self.assertEqual(self.imap().select("virtual/unseen").exists, 2)


class Expiry(Delivery):
    extra_config = ("namespace inbox {\n  mailbox Trash {\n    auto = create\n"
                    "    special_use = \\Trash\n    autoexpunge = 10d\n  }\n}\n")

    def test_old_mail_of_the_trash_goes_by_itself(self):
        client = self.imap()
        self.assertIn("\\Trash", client.list()["Trash"])
        client.append("Trash", as_imap(mail_maker.plain(1)))
        self.doveadm("save", "-m", "Trash", input=mail_maker.plain(2))
        client.logout()
        client = self.imap()
        self.assertEqual(client.select("Trash").exists, 2)
        client.logout()


class Metadata(Delivery):
    server_settings = {"mail_attribute_dict": "file:%h/attributes"}
    extra_config = "protocol imap {\n  imap_metadata = yes\n}\n"

    def test_a_folder_keeps_its_annotations_through_a_rename(self):
        client = self.imap()
        client.ok("CREATE work")
        client.ok('SETMETADATA work (/private/comment "mine")')
        client.ok("RENAME work done")
        self.assertIn("mine", repr(client.ok("GETMETADATA done /private/comment").untagged))


class Doveadm(Delivery):
    def test_its_verbs(self):
        self.lmtp(*[mail_maker.plain(n) for n in range(1, 6)])
        self.doveadm("mailbox", "create", "work")
        self.doveadm("copy", "work", "mailbox", "INBOX", "uid", "1:2")
        self.doveadm("move", "work", "mailbox", "INBOX", "uid", "3")
        self.doveadm("expunge", "mailbox", "INBOX", "uid", "4")
        self.doveadm("flags", "add", "\\Flagged", "mailbox", "INBOX", "uid", "5")
        self.assertEqual(self.select().uids(), [1, 2, 5])
        self.assertEqual(len(self.nmh.numbers("work")), 3)
        self.assertEqual(self.nmh.sequences()["flagged"], {max(self.nmh.numbers())})
        self.assertEqual(self.doveadm("search", "mailbox", "work", "all").out.count("\n"), 3)
        self.doveadm("mailbox", "rename", "work", "done")
        self.assertEqual(len(self.nmh.numbers("done")), 3)
        self.doveadm("import", "mh:" + self.root, "imported", "mailbox", "done")
        self.assertEqual(len(self.nmh.numbers("imported/done")), 3)
        self.doveadm("mailbox", "delete", "done")
        self.assertFalse(os.path.exists(self.nmh.folder("done")))
        self.doveadm("force-resync", "*")
        self.assertEqual(self.select().uids(), [1, 2, 5])

    def test_altmove_moves_nothing_and_changes_nothing(self):
        # dbox alone has a second place for messages; elsewhere it marks them in the index.
        self.lmtp(*[mail_maker.plain(n) for n in (1, 2, 3)])
        client = self.select()
        client.store(2, "+FLAGS", "\\Flagged $Junk")

        def seen():
            client = self.select()
            return ({uid: client.body(uid) for uid in client.uids()}, client.flags(),
                    self.nmh.sequences(),
                    [(n, os.stat(self.nmh.file("inbox", n)).st_ino) for n in self.nmh.numbers()])
        before = seen()
        for arguments in (["all"], ["-r", "uid", "2"]):
            self.doveadm("altmove", *arguments)
            self.assertNothing(client.ok("NOOP"))
            self.assertEqual(seen(), before)
        self.nmh.run("mark", "+inbox", "first", "-sequence", "flagged", "-add")
        client.ok("NOOP")
        self.assertEqual(client.flags()[1], {"\\Flagged"})
        client.store(3, "+FLAGS", "\\Answered")
        self.assertEqual(len(self.nmh.sequences()["replied"]), 1)


if __name__ == "__main__":
    runner.main(prepare)
