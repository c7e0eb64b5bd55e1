# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cost in system calls: it follows the change, not the size of the folder.

The imap processes run under strace (each its own tracer, started before it, so nothing is
attached), and the trace is cut at the commands the session sent. The short form compares 100 with
1,000 messages, MH_TEST_LONG=1 with 100,000.
"""

import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402

SMALL = 100
LARGE = 100_000 if runner.LONG else 1000

# Longer than any window in which a folder counts as just changed.
SETTLE = 3.5

CALL = re.compile(r"^([a-z_0-9]+)\((.*)")
BYTES = re.compile(r"= (\d+)$")


class Call:
    def __init__(self, line):
        match = CALL.match(line)
        self.name = match.group(1) if match else ""
        self.line = line

    def on(self, pattern):
        """Names a path, or works on a descriptor of a path, that matches."""
        return re.search(pattern, self.line) is not None


class Traced(MhTestCase):
    trace = True
    user_settings = {"mh_unseen_grace": "1"}

    def fill(self, folder, count):
        body = "x" * 60 + "\n"
        body *= 330             # 20 KB: more than any first block
        small = count > 5000
        for n in range(1, count + 1):
            self.nmh.put(folder, n, mail_maker.plain(n, body="short\n" if small else body),
                         mtime=1_200_000_000 + n)

    def session(self, *commands, before=None):
        """Run commands in one session; gives the calls of each, the last one's left out."""
        client = self.imap(timeout=600)
        log = self.log()
        pid = re.findall(r"imap-login: .*Login: user=<" + self.user.name + r">.*mpid=(\d+)", log)[-1]
        tags = []
        for command in commands:
            if callable(command):
                command()
                continue
            tags.append(f"t{client.tag + 1}")
            client.ok(command)
        client.ok("NOOP")
        client.logout()
        path = os.path.join(self.server.trace, f"imap.{pid}")
        self.eventually(lambda: os.path.exists(path) and "+++ exited" in self.read_trace(path))
        return [self.cut(path, tag) for tag in tags]

    @staticmethod
    def read_trace(path):
        with open(path, errors="replace") as trace:
            return trace.read()

    def cut(self, path, tag):
        """The calls from the reading of this command to the reading of the next one."""
        following = f"t{int(tag[1:]) + 1}"
        lines = self.read_trace(path).splitlines()
        first = [i for i, line in enumerate(lines) if re.match(rf'read\(.*"{tag} ', line)]
        last = [i for i, line in enumerate(lines) if re.match(rf'read\(.*"{following} ', line)]
        self.assertTrue(first and last, f"{tag} not found in the trace")
        calls = [Call(line) for line in lines[first[0]:last[0]]]
        return [call for call in calls if call.name]

    def tree(self, folder):
        """Pattern of what lies in this MH folder."""
        return re.escape(self.nmh.folder(folder)) + r'(?![^">/])'

    def settled(self, folder):
        """Every message adopted, and nothing changed for long enough to be believed."""
        self.session(f'SELECT "{folder}"')
        self.force_resync(folder)
        time.sleep(SETTLE)
        self.session(f'SELECT "{folder}"')
        time.sleep(SETTLE)
        self.session(f'SELECT "{folder}"', 'FETCH 1 (FLAGS)')


class Unchanged(Traced):
    def counts(self, count):
        name = f"f{count}"
        self.fill(name, count)
        self.settled(name)
        select, _, noop = self.session(f'SELECT "{name}"', "NOOP", "NOOP")
        (status,) = self.session(f'STATUS "{name}" (MESSAGES UIDNEXT UNSEEN)')
        return name, {"SELECT": select, "NOOP": noop, "STATUS": status}

    def test_select_noop_and_status_cost_the_same_at_any_size(self):
        _, small = self.counts(SMALL)
        large_name, large = self.counts(LARGE)
        for command, calls in large.items():
            with self.subTest(command):
                self.assertLessEqual(len(calls), len(small[command]) + 3,
                                     self.difference(small[command], calls))
                lists = [call.line for call in calls if call.name.startswith("getdents")
                         and call.on(self.tree(large_name))]
                self.assertEqual(lists, [], f"{command} of an unchanged folder lists it")
                opened = [call.line for call in calls
                          if call.on(re.escape(self.nmh.folder(large_name)) + r"/\d")]
                self.assertEqual(opened[:5], [], f"{command} looks at single messages")
        looks = [call.line for call in large["NOOP"] if call.on(self.tree(large_name))]
        self.assertLessEqual(len(looks), 2, "an unchanged folder costs two stats: "
                             + "\n".join(looks))

    def difference(self, small, large):
        def tally(calls):
            found = {}
            for call in calls:
                found[call.name] = found.get(call.name, 0) + 1
            return found
        before, after = tally(small), tally(large)
        more = {name: (before.get(name, 0), count) for name, count in after.items()
                if count > before.get(name, 0)}
        return f"more calls in the large folder: {more}"


class First(Traced):
    def test_a_first_select_reads_one_block_of_each_message_and_writes_to_none(self):
        count = LARGE if runner.LONG else 300
        self.fill("old", 1)
        self.session('SELECT "old"')
        self.fill("new", count)
        (calls,) = self.session('SELECT "new"')
        opens = self.check_reads(calls, count)
        self.assertEqual([n for n, times in opens.items() if times > 1][:5], [])

    def test_in_a_new_tree_some_are_opened_once_more_for_older_tags(self):
        self.fill("new", 300)
        (calls,) = self.session('SELECT "new"')
        opens = self.check_reads(calls, 300)
        self.assertLessEqual(sum(times - 1 for times in opens.values()), 32)

    def check_reads(self, calls, count):
        """One block of each message at a time, no write; how often each was opened."""
        message = re.escape(self.nmh.folder("new")) + r"/(\d+)[>\"]|^openat\(.*\"(\d+)\""
        opens, reads, size = {}, {}, {}
        for call in calls:
            match = re.search(message, call.line)
            if not match:
                continue
            number = match.group(1) or match.group(2)
            if call.name.startswith("open"):
                opens[number] = opens.get(number, 0) + 1
                self.assertNotRegex(call.line, "O_WRONLY|O_RDWR|O_CREAT")
            self.assertNotIn(call.name, ("write", "pwrite64", "ftruncate", "rename", "renameat2"),
                             call.line)
            if call.name in ("read", "pread64", "readv", "preadv"):
                reads[number] = reads.get(number, 0) + 1
                size[number] = size.get(number, 0) + int(BYTES.search(call.line).group(1))
        self.assertLessEqual(len(reads), count)
        self.assertEqual([n for n, times in reads.items() if times != opens[n]][:5], [])
        self.assertEqual([n for n, much in size.items() if much > 8192 * opens[n]][:5], [])
        return opens


class Changes(Traced):
    def test_a_store_on_all_rewrites_the_sequences_once(self):
        count = 10_000 if runner.LONG else 1000
        self.fill("many", count)
        self.settled("many")
        _, store = self.session('SELECT "many"', "STORE 1:* +FLAGS.SILENT (\\Flagged work)")
        writes = [call.line for call in store
                  if call.name in ("write", "pwrite64", "writev", "pwritev", "ftruncate")
                  and call.on(r"/\.mh_sequences>")]
        self.assertEqual(len(writes), 1, "\n".join(writes))
        touched = [call.line for call in store
                   if call.on(re.escape(self.nmh.folder("many")) + r"/\d+[>\"]")]
        self.assertEqual(touched[:5], [])
        self.assertEqual(len(self.nmh.sequences("many")["flagged"]), count)

    def test_an_arrival_looks_at_the_new_message_only(self):
        self.fill("grow", LARGE)
        self.settled("grow")

        def arrive():
            self.nmh.put("grow", LARGE + 1, mail_maker.plain(1))
        _, _, after = self.session('SELECT "grow"', "NOOP", arrive, "NOOP")
        opened = {match.group(1) for call in after if call.name.startswith("open")
                  for match in [re.search(r'"(?:[^"]*/)?(\d+)"', call.line)] if match}
        self.assertLessEqual(len(opened - {str(LARGE + 1)}), 3, sorted(opened)[:10])

    def test_an_arrival_in_a_big_folder_is_told_before_the_folder_is_listed(self):
        count = 10_100
        self.fill("big", count)
        self.session('SELECT "big"')
        time.sleep(SETTLE)

        def arrive():
            self.nmh.put("big", count + 1, mail_maker.plain(1))

        def settle():
            time.sleep(SETTLE)
        *_, first, then, store = self.session(
            'SELECT "big"', "NOOP", settle, "NOOP", "NOOP", settle, "NOOP", arrive, "NOOP", settle,
            "NOOP", "STORE 7 +FLAGS.SILENT (\\Flagged)")
        self.assertEqual(self.listings(first, "big"), 0)
        self.assertTrue(any(f"* {count + 1} EXISTS" in call.line for call in first))
        looked = [call for call in first if call.on(re.escape(self.nmh.folder("big")) + r">, \"\d")]
        self.assertLess(len(looked), 12)
        self.assertEqual(self.listings(then, "big"), 1, "one pass over the directory")
        self.assertEqual(self.listings(store, "big"), 0, "a flag is no reason to list the folder")

    def test_removals_one_by_one_do_not_go_over_all_messages_each_time(self):
        self.fill("burst", LARGE)
        self.settled("burst")
        removals = self.session(
            'SELECT "burst"', 'CREATE "there"', "UID STORE 1:3 +FLAGS.SILENT (\\Deleted)",
            "UID EXPUNGE 1", "UID EXPUNGE 2", "UID EXPUNGE 3",
            'UID MOVE 11 "there"', 'UID MOVE 12 "there"', 'UID MOVE 13 "there"')[-5:]
        for calls in (removals[0], removals[1], removals[3], removals[4]):
            looked = [call for call in calls
                      if call.on(re.escape(self.nmh.folder("burst")) + r">, \"\d")]
            self.assertLess(len(looked), 12)
        self.assertEqual(sorted(self.nmh.numbers("burst"))[:8], [4, 5, 6, 7, 8, 9, 10, 14])

    def test_one_flag_more_is_little_to_journal_where_many_messages_have_flags(self):
        self.fill("flags", LARGE)
        self.nmh.write_sequences("flags", {"unseen": "1", "odd": " ".join(
            str(n) for n in range(1, LARGE, 2))})
        self.settled("flags")
        *_, store = self.session('SELECT "flags"', "STORE 3 +FLAGS.SILENT (\\Flagged)",
                                 "STORE 5 +FLAGS.SILENT (\\Flagged)")
        journalled = sum(int(BYTES.search(call.line).group(1)) for call in store
                         if call.name == "pwrite64" and call.on("/journal>"))
        self.assertLess(journalled, 500)

    def listings(self, calls, folder):
        return len([call for call in calls if call.name == "openat"
                    and call.on(re.escape(self.nmh.folder(folder)) + r'>, "\."')])

    def test_our_own_flag_change_does_not_list_the_folder_again(self):
        self.fill("own", SMALL)
        self.settled("own")
        _, _, _, again = self.session(
            'SELECT "own"', "STORE 3 +FLAGS (\\Flagged)", "NOOP", "NOOP")
        lists = [call.line for call in again if call.name.startswith("getdents")
                 and call.on(self.tree("own"))]
        self.assertEqual(lists, [])


def prepare_traced():
    prepare()
    try:
        done = subprocess.run([private_dovecot.tool("strace"), "-D", "-o", "/dev/null", "true"],
                              capture_output=True, text=True, timeout=20)
    except (private_dovecot.DovecotError, subprocess.TimeoutExpired):
        raise unittest.SkipTest("strace is not installed") from None
    if done.returncode != 0:
        raise unittest.SkipTest(f"strace may not trace here: {done.stderr.strip()[-200:]}")


if __name__ == "__main__":
    runner.main(prepare_traced)
