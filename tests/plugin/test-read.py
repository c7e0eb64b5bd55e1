# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading over IMAP: FETCH, SEARCH, SORT, THREAD in every form, and the ways to open a folder.

What says nothing about MH in particular also runs against maildir (MH_TEST_DRIVER=maildir): that
Dovecot's own store passes shows that the test asks for no more than IMAP has.
"""

import datetime
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402
from imap_client import Literal  # noqa: E402

ANY = ("mh", "maildir")


def internaldate(seconds):
    """How FETCH writes this time, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(
        "%d-%b-%Y %H:%M:%S +0000").encode()


class Reader(MhTestCase):
    """Puts mails into INBOX and selects it; UIDs then follow the numbers."""

    drivers = ANY

    def serve(self, *contents, first=1, mtime=None):
        for offset, content in enumerate(contents):
            self.put(first + offset, content, mtime=None if mtime is None else mtime + offset)
        client = self.select()
        self.assertEqual(len(client.uids()), len(contents))
        return client


class Fetch(Reader):
    def test_every_strange_message_comes_byte_for_byte(self):
        client = self.serve(*mail_maker.STRANGE.values())
        for (name, content), uid in zip(mail_maker.STRANGE.items(), client.uids()):
            with self.subTest(name):
                shown = mail_maker.as_imap(content)
                got = client.fetch(uid, "RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] "
                                        "BODY.PEEK[TEXT] RFC822.HEADER")[uid]
                self.assertEqual(got["BODY[]"], shown)
                self.assertEqual(int(got["RFC822.SIZE"]), len(shown))
                self.assertEqual(got["BODY[HEADER]"] + got["BODY[TEXT]"], shown)
                self.assertEqual(got["RFC822.HEADER"], got["BODY[HEADER]"])

    def test_every_strange_message_has_a_structure_and_an_envelope(self):
        client = self.serve(*mail_maker.STRANGE.values())
        found = client.fetch("1:*", "ENVELOPE BODYSTRUCTURE BODY INTERNALDATE FLAGS")
        self.assertEqual(len(found), len(mail_maker.STRANGE))

    def test_nul_bytes_come_as_0x80_and_the_size_is_right(self):
        client = self.serve(*mail_maker.NUL.values())
        for content, uid in zip(mail_maker.NUL.values(), client.uids()):
            shown = mail_maker.as_imap(content).replace(b"\0", b"\x80")
            got = client.fetch(uid, "RFC822.SIZE BODY.PEEK[]")[uid]
            self.assertEqual(got["BODY[]"], shown)
            self.assertEqual(int(got["RFC822.SIZE"]), len(shown))

    def test_random_mails_come_byte_for_byte(self):
        seed = random.randrange(1 << 30)
        mails = [mail_maker.random_mail(seed + n) for n in range(60)]
        client = self.serve(*mails)
        found = client.fetch("1:*", "RFC822.SIZE BODY.PEEK[]")
        for content, uid in zip(mails, sorted(found)):
            with self.subTest(seed=seed, uid=uid):
                self.assertEqual(found[uid]["BODY[]"], mail_maker.as_imap(content))
                self.assertEqual(int(found[uid]["RFC822.SIZE"]), len(found[uid]["BODY[]"]))

    def test_a_partial_fetch_is_that_part_of_the_whole(self):
        # No lone CR: Dovecot 2.3.19.1 fails on a partial fetch behind one, in maildir too.
        mails = [mail_maker.multipart(1), mail_maker.STRANGE["CRLF and LF mixed"],
                 mail_maker.STRANGE["very long body line"], mail_maker.STRANGE["8-bit header"]]
        client = self.serve(*mails)
        source = random.Random(7)
        for uid in client.uids():
            whole = client.fetch(uid, "BODY.PEEK[] BODY.PEEK[TEXT]")[uid]
            for section in ("BODY[]", "BODY[TEXT]"):
                size = len(whole[section])
                cuts = [(0, 1), (0, size), (size - 1, 5), (size, 5), (size + 100, 5)]
                cuts += [(source.randrange(size), source.randrange(1, size)) for _ in range(12)]
                for start, length in cuts:
                    got = client.fetch(uid, section.replace("[", ".PEEK[") + f"<{start}.{length}>")
                    self.assertEqual(got[uid][f"{section}<{start}>"],
                                     whole[section][start:start + length],
                                     f"{section}<{start}.{length}>")

    def test_parts_and_their_mime_headers(self):
        client = self.serve(mail_maker.multipart(1))
        got = client.fetch(1, "BODY.PEEK[1.1] BODY.PEEK[1.2.MIME] BODY.PEEK[2] BODY.PEEK[2.MIME] "
                              "BODY.PEEK[3.HEADER] BODY.PEEK[3.TEXT] BODY.PEEK[9]")[1]
        self.assertEqual(got["BODY[1.1]"], b"Gr=C3=BC=C3=9Fe aus =E2=82=AC")
        self.assertEqual(got["BODY[1.2.MIME]"], b"Content-Type: text/html\r\n\r\n")
        self.assertIn(b"filename=blob.bin", got["BODY[2.MIME]"])
        self.assertIn(b"Subject: enclosed\r\n", got["BODY[3.HEADER]"])
        self.assertEqual(got["BODY[3.TEXT]"], b"This is the body of message 1001.\r\n")
        self.assertIn(got["BODY[9]"], (None, b""))

    def test_binary_gives_the_decoded_part(self):
        client = self.serve(mail_maker.multipart(1))
        got = client.fetch(1, "BINARY.PEEK[1.1] BINARY.PEEK[2] BINARY.SIZE[2]")[1]
        self.assertEqual(got["BINARY[1.1]"].decode(), "Grüße aus €")
        self.assertEqual(got["BINARY[2]"], bytes(range(256)) * 3)
        self.assertEqual(got["BINARY.SIZE[2]"], "768")

    def test_header_fields_and_all_but_some(self):
        client = self.serve(mail_maker.plain(1, Cc="carol@example.org"))
        got = client.fetch(1, "BODY.PEEK[HEADER.FIELDS (SUBJECT cc)] "
                              "BODY.PEEK[HEADER.FIELDS.NOT (From To Date Message-ID)]")[1]
        values = [v for k, v in got.items() if k.startswith("BODY[")]
        for value in values:
            self.assertEqual(sorted(value.split(b"\r\n")),
                             [b"", b"", b"Cc: carol@example.org", b"Subject: message 1"])

    def test_envelope_has_every_field(self):
        client = self.serve(mail_maker.plain(
            4, subject='quote " and back\\slash', sender='"A, B" <a@x.org>', Cc="c@x.org, d@y.org",
            Reply_To="r@x.org", In_Reply_To="<m1@example.org>"))
        envelope = client.fetch(1, "ENVELOPE")[1]["ENVELOPE"]
        self.assertEqual(envelope[1], b'quote " and back\\slash')
        self.assertEqual(envelope[2], [[b"A, B", None, b"a", b"x.org"]])
        self.assertEqual(envelope[3], envelope[2])
        self.assertEqual(envelope[4], [[None, None, b"r", b"x.org"]])
        self.assertEqual([a[2] for a in envelope[6]], [b"c", b"d"])
        self.assertEqual(envelope[8:], [b"<m1@example.org>", b"<m4@example.org>"])

    def test_bodystructure_counts_the_octets_and_lines_that_body_gives(self):
        client = self.serve(mail_maker.multipart(1))
        got = client.fetch(1, "BODYSTRUCTURE BODY.PEEK[2] BODY.PEEK[1.1]")[1]
        structure = got["BODYSTRUCTURE"]
        self.assertEqual(structure[3], b"mixed")
        self.assertEqual(int(structure[1][6]), len(got["BODY[2]"]))
        self.assertEqual(int(structure[0][0][6]), len(got["BODY[1.1]"]))
        self.assertEqual(structure[2][0:2], [b"message", b"rfc822"])

    def test_body_sets_seen_and_peek_does_not(self):
        client = self.serve(*[mail_maker.plain(n) for n in (1, 2, 3)])
        client.store("1:*", "-FLAGS.SILENT", "\\Seen")
        client.ok("UID FETCH 1 (BODY.PEEK[])")
        client.ok("UID FETCH 2 (BODY[])")
        client.ok("UID FETCH 3 (RFC822.HEADER)")
        self.assertEqual({uid for uid, flags in client.flags().items() if "\\Seen" in flags}, {2})

    def test_the_macros(self):
        client = self.serve(mail_maker.plain(1))
        for macro, keys in (("FAST", {"FLAGS", "INTERNALDATE", "RFC822.SIZE"}),
                            ("ALL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"}),
                            ("FULL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"})):
            got = client.ok(f"FETCH 1 {macro}").one("FETCH").data
            self.assertEqual(set(got), keys)

    def test_internaldate_is_the_mtime_of_the_file(self):
        client = self.serve(*[mail_maker.plain(n) for n in (1, 2, 3)], mtime=1_234_567_890)
        dates = client.fetch("1:*", "INTERNALDATE")
        self.assertEqual([dates[uid]["INTERNALDATE"] for uid in sorted(dates)],
                         [internaldate(1_234_567_890 + n) for n in range(3)])

    def test_doveadm_fetch_gives_every_field(self):
        client = self.serve(*[mail_maker.plain(n) for n in (1, 2)], mtime=1_234_567_890)
        client.logout()
        fields = ("uid guid seq flags modseq hdr body text date.sent date.received date.saved "
                  "size.physical size.virtual storageid mailbox-guid mailbox")
        out = self.doveadm("fetch", fields, "mailbox", "INBOX", "all").out
        guids = re.findall(r"^guid: (\S+)$", out, re.M)
        self.assertEqual(len(set(guids)), 2, out)
        self.assertEqual(out.count("date.received: 2009-02-13 23:31:3"), 2, out)
        size = re.findall(r"^size\.virtual: (\d+)$", out, re.M)
        self.assertEqual([int(s) for s in size],
                         [len(mail_maker.as_imap(mail_maker.plain(n))) for n in (1, 2)])


class MhMessage(Reader):
    """What of a message file is the message."""

    drivers = ("mh",)

    def test_a_leading_from_line_is_no_part_of_the_message(self):
        plain = mail_maker.plain(1)
        client = self.serve(b"From alice@example.org Sun Sep  9 01:46:40 2001\n" + plain,
                            b">From alice@example.org Sun Sep  9 01:46:40 2001\n" + plain)
        self.assertEqual(client.body(1), mail_maker.as_imap(plain))
        self.assertIn(plain.replace(b"\n", b"\r\n"), client.body(2))
        self.assertEqual(client.search("HEADER", ' "From" "Sun Sep"'), [])

    def test_leading_annotations_are_no_part_of_the_message(self):
        plain = mail_maker.plain(1)
        client = self.serve(b"Replied: Sun, 09 Sep 2001 01:46:40 +0000\n"
                            b"Forwarded: Sun, 09 Sep 2001 01:46:40 +0000\n"
                            b"Resent: Sun, 09 Sep 2001 01:46:40 +0000\n" + plain)
        self.assertEqual(client.body(1), mail_maker.as_imap(plain))

    def test_an_annotation_below_another_field_is_content(self):
        content = b"Subject: x\nReplied: yes\n\nbody\n"
        client = self.serve(content)
        self.assertEqual(client.body(1), mail_maker.as_imap(content))

    def test_the_tag_line_is_never_shown(self):
        mails = [mail_maker.plain(1), mail_maker.multipart(2), mail_maker.STRANGE["one byte"]]
        client = self.serve(*mails)
        client.logout()
        self.force_resync()
        for number in (1, 2, 3):
            self.assertIsNotNone(self.nmh.tag("inbox", number), "adoption did not tag it")
        client = self.select()
        for uid, content in zip(client.uids(), mails):
            shown = mail_maker.as_imap(content)
            got = client.fetch(uid, "RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] "
                                    "BODY.PEEK[HEADER.FIELDS (X-MH-UID)] BODY.PEEK[]<0.10>")[uid]
            self.assertEqual(got["BODY[]"], shown)
            self.assertEqual(got["BODY[]<0>"], shown[:10])
            self.assertEqual(int(got["RFC822.SIZE"]), len(shown))
            self.assertEqual(got["BODY[HEADER]"] + got["BODY[TEXT]"], shown)
            self.assertEqual(got["BODY[HEADER.FIELDS (X-MH-UID)]"], b"\r\n")
        self.assertEqual(client.search('HEADER X-MH-UID ""'), [])
        self.assertEqual(client.search('TEXT "X-MH-UID"'), [])
        out = self.doveadm("fetch", "hdr", "mailbox", "INBOX", "all").out
        self.assertNotIn("X-MH-UID", out)

    def test_structure_is_the_same_before_and_after_adoption(self):
        client = self.serve(mail_maker.multipart(1), mail_maker.plain(2))
        items = "ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE BINARY.SIZE[1]"
        before = client.fetch("1:*", items)
        client.logout()
        self.force_resync()
        self.assertEqual(self.select().fetch("1:*", items), before)

    def test_a_message_read_while_it_is_adopted_stays_whole(self):
        mails = [mail_maker.plain(n, body=f"{n}\n" * 50000) for n in (1, 2, 3)]
        client = self.serve(*mails)
        first = client.fetch(1, "BODY.PEEK[]<0.1000>")[1]["BODY[]<0>"]
        self.force_resync()
        whole = client.body(1)
        self.assertEqual(whole, mail_maker.as_imap(mails[0]))
        self.assertEqual(first, whole[:1000])
        self.assertEqual(client.body(3), mail_maker.as_imap(mails[2]))


class Dates(Reader):
    drivers = ("mh",)

    def dates(self, client):
        found = client.fetch("1:*", "INTERNALDATE")
        return [found[uid]["INTERNALDATE"] for uid in sorted(found)]

    def test_a_valid_delivery_date_is_the_internal_date(self):
        client = self.serve(
            mail_maker.plain(1, Delivery_Date="Thu, 01 Jan 2004 12:00:00 +0100"), mtime=1_234_567_890)
        self.assertEqual(self.dates(client), [internaldate(1072954800)])

    def test_an_invalid_delivery_date_is_ignored(self):
        bad = ["yesterday", "", "99 99 9999", "Thu, 01 Jan 99999 12:00:00 +0100", "\x01\x02"]
        client = self.serve(*[mail_maker.plain(n, Delivery_Date=value)
                              for n, value in enumerate(bad, 1)], mtime=1_234_567_890)
        self.assertEqual(self.dates(client),
                         [internaldate(1_234_567_890 + n) for n in range(len(bad))])

    def test_inc_sets_it_and_it_stays(self):
        self.nmh.inc(mail_maker.plain(1))
        date = re.search(rb"Delivery-Date: (.*)", self.nmh.read("inbox", 1))
        client = self.select()
        before = self.dates(client)
        if date:
            os.utime(self.nmh.file("inbox", 1), (1_111_111_111, 1_111_111_111))
            self.assertEqual(self.dates(self.select()), before)

    def test_it_is_frozen_at_first_sight_whatever_touch_does(self):
        client = self.serve(mail_maker.plain(1), mtime=1_234_567_890)
        before = self.dates(client)
        client.logout()
        os.utime(self.nmh.file("inbox", 1), (999_999_999, 999_999_999))
        client = self.select()
        self.assertEqual(self.dates(client), before)
        self.assertEqual(client.uids(), [1])
        client.logout()
        self.force_resync()
        os.utime(self.nmh.file("inbox", 1), (888_888_888, 888_888_888))
        client = self.select()
        self.assertEqual(self.dates(client), before)
        self.assertEqual(client.uids(), [1])

    def test_dates_before_1970_and_beyond_2038_do_no_harm(self):
        for number, mtime in enumerate((-1000, 0, 4_000_000_000, 20_000_000_000), 1):
            self.put(number, mail_maker.plain(number))
            os.utime(self.nmh.file("inbox", number), (mtime, mtime))
        client = self.select()
        self.assertEqual(len(self.dates(client)), 4)
        client.logout()
        before = self.dates(self.select())
        self.force_resync()
        self.assertEqual(self.dates(self.select()), before)


class Guids(Reader):
    drivers = ("mh",)

    def guids(self, folder="INBOX"):
        out = self.doveadm("fetch", "uid guid storageid", "mailbox", folder, "all").out
        return re.findall(r"uid: (\d+)\nguid: (\S+)\nstorageid: (\S+)", out)

    def test_every_message_has_one_of_128_bits_and_it_stays(self):
        self.serve(*[mail_maker.plain(n) for n in range(1, 6)]).logout()
        before = self.guids()
        self.assertEqual(len(before), 5)
        for _uid, guid, storage_id in before:
            self.assertRegex(guid, r"^[0-9a-f]{32}$")
            self.assertTrue(storage_id)
        self.assertEqual(len({guid for _, guid, _ in before}), 5)
        self.force_resync()
        self.assertEqual(self.guids(), before)
        tags = [self.nmh.tag("inbox", n) for n in range(1, 6)]
        self.assertEqual([tag.guid for tag in tags], [guid for _, guid, _ in before])
        self.assertEqual([tag.uid for tag in tags], [int(uid) for uid, _, _ in before])

    def test_equal_messages_have_different_ones(self):
        self.serve(*[mail_maker.plain(1)] * 3).logout()
        self.assertEqual(len({guid for _, guid, _ in self.guids()}), 3)


class Search(Reader):
    """Every search key, against an answer that this test works out itself."""

    def setUp(self):
        super().setUp()
        self.mails = {}
        day = 86400
        for n in range(1, 31):
            self.mails[n] = {
                "from": f"user{n % 5}@example.org", "subject": f"topic {n % 7} of {n}",
                "body": ("needle\n" if n % 4 == 0 else "hay\n") + "x" * (n * 100) + "\n",
                "sent": mail_maker.EPOCH + n * day, "mtime": 1_200_000_000 + n * day}
            mail = self.mails[n]
            content = mail_maker.plain(n, subject=mail["subject"], body=mail["body"],
                                       sender=mail["from"], date=mail["sent"], Cc=f"cc{n}@x.org")
            mail["size"] = len(mail_maker.as_imap(content))
            self.put(n, content, mtime=mail["mtime"])
        self.client = self.select()
        self.client.store("1:*", "FLAGS.SILENT", "")

    def check(self, criterion, rule):
        expected = [n for n, mail in self.mails.items() if rule(n, mail)]
        self.assertEqual(self.client.search(criterion), expected, criterion)

    def test_by_header_and_text(self):
        self.check("FROM user3", lambda n, m: n % 5 == 3)
        self.check('SUBJECT "topic 2"', lambda n, m: n % 7 == 2)
        self.check("BODY needle", lambda n, m: n % 4 == 0)
        self.check("TEXT needle", lambda n, m: n % 4 == 0)
        self.check("TEXT cc7@", lambda n, m: n == 7)
        self.check("CC cc9@x.org", lambda n, m: n == 9)
        self.check('HEADER Message-ID "<m12@"', lambda n, m: n == 12)
        self.check('HEADER Cc ""', lambda n, m: True)
        self.check('HEADER X-None ""', lambda n, m: False)
        self.check("NOT FROM user3 BODY needle", lambda n, m: n % 5 != 3 and n % 4 == 0)
        self.check("OR FROM user3 BODY needle", lambda n, m: n % 5 == 3 or n % 4 == 0)
        self.assertEqual(self.client.search("TEXT ", Literal(b"needle")),
                         [n for n in self.mails if n % 4 == 0])

    def test_by_date(self):
        def day(seconds):
            return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).date()
        pivot = day(self.mails[10]["mtime"])
        text = pivot.strftime("%d-%b-%Y")
        self.check(f"ON {text}", lambda n, m: day(m["mtime"]) == pivot)
        self.check(f"SINCE {text}", lambda n, m: day(m["mtime"]) >= pivot)
        self.check(f"BEFORE {text}", lambda n, m: day(m["mtime"]) < pivot)
        pivot = day(self.mails[20]["sent"])
        text = pivot.strftime("%d-%b-%Y")
        self.check(f"SENTON {text}", lambda n, m: day(m["sent"]) == pivot)
        self.check(f"SENTSINCE {text}", lambda n, m: day(m["sent"]) >= pivot)
        self.check(f"SENTBEFORE {text}", lambda n, m: day(m["sent"]) < pivot)
        self.check("YOUNGER 3600", lambda n, m: False)
        self.check("OLDER 3600", lambda n, m: True)

    def test_by_size(self):
        size = self.mails[15]["size"]
        self.check(f"LARGER {size}", lambda n, m: m["size"] > size)
        self.check(f"SMALLER {size}", lambda n, m: m["size"] < size)
        self.check(f"NOT LARGER {size} NOT SMALLER {size}", lambda n, m: m["size"] == size)

    def test_by_flag_keyword_and_modseq(self):
        self.client.store("1:10", "+FLAGS.SILENT", "\\Seen")
        self.client.store("5:15", "+FLAGS.SILENT", "\\Flagged $Junk work")
        self.check("SEEN", lambda n, m: n <= 10)
        self.check("UNSEEN", lambda n, m: n > 10)
        self.check("FLAGGED SEEN", lambda n, m: 5 <= n <= 10)
        self.check("KEYWORD $Junk", lambda n, m: 5 <= n <= 15)
        self.check("UNKEYWORD work", lambda n, m: not 5 <= n <= 15)
        self.check("KEYWORD never", lambda n, m: False)
        modseq = max(int(items["MODSEQ"][0])
                     for items in self.client.fetch("1:*", "MODSEQ").values())
        self.client.store("20,22", "+FLAGS.SILENT", "\\Answered")
        self.check(f"MODSEQ {modseq + 1}", lambda n, m: n in (20, 22))

    def test_by_uid_and_sequence_set(self):
        self.check("UID 3:5,9,28:*", lambda n, m: n in (3, 4, 5, 9, 28, 29, 30))
        self.check("2:4", lambda n, m: 2 <= n <= 4)
        self.check("UID 99:*", lambda n, m: n == 30)

    def test_esearch_forms_and_saved_result(self):
        line = self.client.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) BODY needle").one("ESEARCH")
        text = repr(line.data)
        for word in ("'MIN', '4'", "'MAX', '28'", "'COUNT', '7'", "'4,8,12,16,20,24,28'"):
            self.assertIn(word, text)
        self.client.ok("SEARCH RETURN (SAVE) FROM user3")
        self.assertEqual(sorted(self.client.fetch("$", "UID")), [3, 8, 13, 18, 23, 28])

    def test_sort_by_every_key(self):
        mails = self.mails

        def expect(key):
            return sorted(mails, key=key)
        sorts = {
            "ARRIVAL": lambda n: mails[n]["mtime"], "REVERSE ARRIVAL": lambda n: -mails[n]["mtime"],
            "DATE": lambda n: mails[n]["sent"], "SIZE": lambda n: mails[n]["size"],
            "FROM": lambda n: (mails[n]["from"], n), "CC": lambda n: (f"cc{n}", n),
            "SUBJECT": lambda n: (mails[n]["subject"], n),
            "FROM REVERSE SIZE": lambda n: (mails[n]["from"], -mails[n]["size"])}
        for key, order in sorts.items():
            got = self.client.ok(f"UID SORT ({key}) UTF-8 ALL").one("SORT").data
            self.assertEqual([int(n) for n in got], expect(order), key)


class Thread(Reader):
    def test_references_make_the_threads(self):
        client = self.serve(
            mail_maker.plain(1, subject="a"),
            mail_maker.plain(2, subject="b"),
            mail_maker.plain(3, subject="Re: a", References="<m1@example.org>"),
            mail_maker.plain(4, subject="Re: a", References="<m1@example.org> <m3@example.org>"),
            mail_maker.plain(5, subject="Re: a", References="<m1@example.org>"))
        got = client.ok("UID THREAD REFERENCES UTF-8 ALL").one("THREAD").data
        self.assertEqual(got, [["1", ["3", "4"], ["5"]], ["2"]])
        got = client.ok("UID THREAD ORDEREDSUBJECT UTF-8 ALL").one("THREAD").data \
            if "THREAD=ORDEREDSUBJECT" in repr(client.ok("CAPABILITY").untagged) else None
        if got is not None:
            self.assertEqual(got, [["1", ["3"], ["4"], ["5"]], ["2"]])


class OpenModes(Reader):
    drivers = ("mh",)

    def fill(self, count=3):
        for n in range(1, count + 1):
            self.put(n, mail_maker.plain(n), mtime=1_234_567_890 + n)

    def test_examine_changes_nothing(self):
        self.fill()
        client = self.imap()
        box = client.examine()
        self.assertTrue(box.read_only)
        self.assertEqual(box.exists, 3)
        self.assertEqual(client.body(1), mail_maker.as_imap(mail_maker.plain(1)))
        before = self.nmh.sequences()
        client.ok("UID FETCH 1:* (BODY[])")
        client.command("STORE 1 +FLAGS (\\Flagged)")      # Dovecot says OK, and that it did nothing
        self.assertNotIn("\\Flagged", client.flags()[1])
        client.logout()
        self.assertNotIn("flagged", self.nmh.sequences())
        self.assertEqual(self.nmh.sequences(), before)

    def test_a_read_only_folder_is_read_and_says_that_it_is(self):
        self.fill()
        self.nmh.write_sequences("inbox", {"unseen": "2"})
        self.select().logout()
        os.chmod(self.nmh.file("inbox", ".mh_sequences"), 0o400)
        os.chmod(self.nmh.folder("inbox"), 0o500)
        self.addCleanup(os.chmod, self.nmh.folder("inbox"), 0o700)
        client = self.imap()
        box = client.select()
        self.assertEqual(box.exists, 3)
        self.assertTrue(box.read_only, box.answer)
        self.assertEqual({u for u, f in client.flags().items() if "\\Seen" not in f}, {2})
        self.assertEqual(client.body(3), mail_maker.as_imap(mail_maker.plain(3)))

    def test_a_tree_that_was_never_writable_is_served_under_a_uidvalidity_of_its_own(self):
        self.fill()
        self.nmh.write_sequences("inbox", {"unseen": "2"})
        os.chmod(self.nmh.folder("inbox"), 0o500)
        os.chmod(self.root, 0o500)
        self.addCleanup(os.chmod, self.nmh.folder("inbox"), 0o700)
        self.addCleanup(os.chmod, self.root, 0o700)
        self.allow_log(r"mh.*(read-only|not writable|cannot|Permission denied)")
        client = self.imap()
        box = client.select()
        self.assertEqual(box.exists, 3)
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))
        self.assertEqual({u for u, f in client.flags().items() if "\\Seen" not in f}, {2})
        client.logout()
        self.assertEqual(os.listdir(self.root), ["inbox"])
        os.chmod(self.nmh.folder("inbox"), 0o700)
        os.chmod(self.root, 0o700)
        client = self.imap()
        writable = client.select()
        self.assertEqual(writable.exists, 3)
        self.assertNotEqual(writable.uidvalidity, box.uidvalidity)

    def test_with_indexes_in_memory_what_the_journal_holds_is_served_under_its_uids(self):
        self.fill()
        client = self.imap()
        box = client.select()
        before = client.fetch("1:*", "UID BODY.PEEK[] INTERNALDATE")
        client.store(2, "+FLAGS", "\\Flagged")
        client.logout()
        memory = self.new_user(home=self.home, mail="mh:~/Mail:INDEX=MEMORY")
        client = self.imap(memory)
        again = client.select()
        self.assertEqual(again.uidvalidity, box.uidvalidity)
        self.assertEqual(client.fetch("1:*", "UID BODY.PEEK[] INTERNALDATE"), before)
        self.assertIn("\\Flagged", client.flags()[2])

    def test_with_indexes_in_memory_flags_are_stored(self):
        self.fill()
        self.select().logout()
        memory = self.new_user(home=self.home, mail="mh:~/Mail:INDEX=MEMORY")
        client = self.imap(memory)
        client.select()
        client.store(3, "+FLAGS", "\\Flagged")
        client.logout()
        self.assertEqual(self.nmh.sequences()["flagged"], {3})
        self.assertIn("\\Flagged", self.select().flags()[3])

    def test_with_indexes_in_memory_an_arrival_keeps_the_uid_it_was_announced_with(self):
        self.fill()
        self.select().logout()
        self.put(4, mail_maker.plain(4))
        memory = self.new_user(home=self.home, mail="mh:~/Mail:INDEX=MEMORY")
        client = self.imap(memory)
        client.select()
        shown = client.fetch("1:*", "UID BODY.PEEK[]")
        client.logout()
        self.put(5, mail_maker.plain(5))
        client = self.select()
        later = client.fetch("1:*", "UID BODY.PEEK[]")
        self.assertEqual(len(later), 5)
        self.assertEqual({uid: later[uid] for uid in shown}, shown)

    def test_a_folder_only_ever_seen_with_indexes_in_memory_keeps_its_uids(self):
        self.fill()
        memory = self.new_user(home=self.home, mail="mh:~/Mail:INDEX=MEMORY")
        seen = []
        for number in (4, 5):
            client = self.imap(memory)
            box = client.select()
            shown = {uid: items["BODY[]"] for uid, items in
                     client.fetch("1:*", "UID BODY.PEEK[]").items()}
            self.put(number, mail_maker.plain(number))
            self.assertEqual([line.number for line in client.ok("NOOP").all("EXISTS")], [number])
            shown[client.uids()[-1]] = mail_maker.as_imap(mail_maker.plain(number))
            client.logout()
            seen.append((box.uidvalidity, shown))
        box = self.imap().select()      # with indexes on disk
        self.assertEqual({validity for validity, _ in seen}, {box.uidvalidity})
        client = self.select()
        last = {uid: items["BODY[]"] for uid, items in
                client.fetch("1:*", "UID BODY.PEEK[]").items()}
        self.assertEqual(len(last), 5)
        for _, shown in seen:
            self.assertEqual({uid: last.get(uid) for uid in shown}, shown)

    def check_waiting(self, top):
        """An arrival while all files at and below `top` cannot be written, and then can again."""
        modes = []
        for directory, _, files in os.walk(top):
            for path in [directory, *(os.path.join(directory, name) for name in files)]:
                modes.append((path, os.stat(path).st_mode))
        modes = modes or [(top, os.stat(top).st_mode)]
        for path, mode in modes:
            os.chmod(path, mode & ~0o222)
        self.addCleanup(lambda: [os.chmod(path, mode) for path, mode in modes])
        self.put(4, mail_maker.plain(4))
        self.allow_log("permission|denied|read-only|not writable|EACCES")
        client = self.imap()
        box = client.select()
        self.assertEqual(box.exists, 3)
        self.assertTrue(box.read_only, box.answer)
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))
        self.assertEqual(client.flags()[2] - {"\\Recent"}, {"\\Flagged"})
        client.ok("NOOP")
        client.ok("STATUS INBOX (MESSAGES UNSEEN)")
        client.logout()
        lines = [line for line in self.log().splitlines() if re.search(r"mh: .*wait", line)]
        self.assertEqual(len(lines), 1, self.log())
        for path, mode in modes:
            os.chmod(path, mode)
        client = self.imap()
        again = client.select()
        self.assertEqual((again.exists, again.uidvalidity), (4, box.uidvalidity))
        self.assertEqual(client.body(2), mail_maker.as_imap(mail_maker.plain(2)))
        self.assertEqual(client.uids()[:3], [1, 2, 3])

    def known_folder(self):
        """Three messages that IMAP knows; gives the folder's state directory."""
        self.fill()
        self.nmh.write_sequences("inbox", {"unseen": "2", "flagged": "2"})
        self.select().logout()
        state = os.path.join(self.root, ".mhsync")
        (found,) = [name for name in os.listdir(state) if re.fullmatch("[0-9a-f]{32}", name)]
        return os.path.join(state, found)

    def test_what_cannot_be_journalled_waits_and_the_log_says_so_once(self):
        self.check_waiting(os.path.dirname(self.known_folder()))

    def test_the_same_where_one_folder_has_state_that_cannot_be_written(self):
        self.check_waiting(self.known_folder())

    def test_the_same_where_the_journal_alone_cannot_be_written(self):
        self.check_waiting(os.path.join(self.known_folder(), "journal"))

    def test_separate_index_and_control_directories(self):
        self.fill()
        split = self.new_user(home=self.home, mail="mh:~/Mail:INDEX=~/idx:CONTROL=~/ctl")
        client = self.imap(split)
        box = client.select()
        self.assertEqual(box.exists, 3)
        client.ok("SUBSCRIBE INBOX")
        client.logout()
        self.assertTrue(os.path.isdir(os.path.join(self.home, "idx")))
        # Our own state stays with the mail: the plain user sees the same UIDs.
        self.assertTrue(os.path.isdir(os.path.join(self.root, ".mhsync")))
        self.assertEqual(self.imap().select().uidvalidity, box.uidvalidity)

    def test_unselect_and_close_leave_no_trace(self):
        self.fill()
        client = self.select()
        client.store(1, "+FLAGS", "\\Deleted")
        client.ok("UNSELECT")
        self.assertEqual(self.nmh.numbers(), [1, 2, 3])
        self.assertEqual(self.nmh.sequences()["deleted"], {1})


if __name__ == "__main__":
    runner.main(prepare)
