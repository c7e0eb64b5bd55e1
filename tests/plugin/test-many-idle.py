#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many clients that hibernate in one folder: what each of them costs, and that all are told.

They share one folder, the worst case: whatever happens wakes all of them. Told are all, of mail that
nmh brings and of flags; each comes back as often as something is to be told, and not more often when
two thousand files are dropped in at once, which are then given tags for minutes. The long form is
1,000 clients, and the same with Dovecot's maildir to compare; it needs fs.inotify.max_user_instances
of twice as many and some, and says so.
"""

import os
import re
import selectors
import statistics
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import runner  # noqa: E402
from case import MhTestCase, prepare  # noqa: E402

MOST = int(os.environ.get("MH_TEST_CLIENTS", 1000 if runner.LONG else 20))
AT_ONCE = 2000 if runner.LONG else 200
WAIT = 600
# Each client has an inotify descriptor in imap-hibernate, or two in a process of its own.
OTHERS = 60


def inotify_instances():
    with open("/proc/sys/fs/inotify/max_user_instances") as limit:
        return int(limit.read())


def clients():
    room = (inotify_instances() - OTHERS) // 2
    if room < MOST and runner.LONG:
        raise unittest.SkipTest(f"{MOST} clients of one uid need fs.inotify.max_user_instances = "
                                f"{2 * MOST + OTHERS}, which is {inotify_instances()}")
    return min(MOST, room)


def proportional_kilobytes(pid):
    """What this process alone costs: its share of each page."""
    with open(f"/proc/{pid}/smaps_rollup") as pages:
        return int(re.search(r"^Pss:\s+(\d+)", pages.read(), re.M).group(1))


def mean_of_living(pids):
    """Some of them may have hibernated meanwhile."""
    found = []
    for pid in pids:
        try:
            found.append(proportional_kilobytes(pid))
        except OSError:
            continue
    return statistics.mean(found) if found else 0


def processes(server, name):
    """Pids of the server's processes of this name."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                text = stat.read()
        except OSError:
            continue
        command = text[text.index("(") + 1:text.rindex(")")]
        parent = int(text[text.rindex(")") + 1:].split()[1]) if pid.isdigit() else 0
        if command == name and parent == server.master.pid:
            found.append(int(pid))
    return found


class Crowd:
    """Many clients in IDLE on the INBOX of one user."""

    def __init__(self, test, user, count):
        self.test, self.user, self.clients = test, user, []
        self.awake = 0
        self.selector = selectors.DefaultSelector()
        began = proportional_kilobytes(*test.hibernate()) if test.hibernate() else 0
        for n in range(count):
            client = test.imap(user, timeout=WAIT)
            client.select()
            client.ok("NOOP")
            client.idle()
            self.clients.append(client)
            self.selector.register(client.socket, selectors.EVENT_READ, client)
            if n == 15:
                self.awake = mean_of_living(processes(test.server, "imap"))
        test.await_sleep(self)
        self.asleep = (proportional_kilobytes(*test.hibernate()) - began) / count

    def told(self, kind, enough=lambda line: True):
        """Until each of them was told a line of this kind that is enough: after how many seconds
        each. What else they are told is fine."""
        began = time.monotonic()
        limit, took = began + WAIT, {}
        while len(took) < len(self.clients):
            ready = self.selector.select(max(0.0, limit - time.monotonic()))
            self.test.assertTrue(ready, f"{len(self.clients) - len(took)} were not told of {kind}")
            for key, _ in ready:
                client = key.data
                while (line := client.untagged(0.001)) is not None:
                    if line.kind == kind and enough(line):
                        took.setdefault(client, time.monotonic() - began)
        return sorted(took.values())


class Counting(MhTestCase):
    """What is measured of a crowd."""

    server_settings = {
        "imap_hibernate_timeout": "2s", "mail_max_userip_connections": 2 * MOST,
        "log_debug": "event=imap_client_hibernated",
        "default_client_limit": 3 * MOST + 100}
    extra_config = f"""
service imap {{
  process_limit = {MOST + 100}
}}
"""
    user_settings = {"mh_unseen_grace": "1"}

    def setUp(self):
        self.count = clients()
        super().setUp()

    def hibernate(self):
        return processes(self.server, "imap-hibernate")[:1]

    def hibernations(self):
        return len(re.findall("hibernated imap client", self.log()))

    def await_sleep(self, crowd):
        """Until all are hibernated and stay so."""
        def asleep():
            if processes(self.server, "imap"):
                return False
            time.sleep(0.5)
            return not processes(self.server, "imap")
        self.eventually(asleep, timeout=WAIT, interval=0.2)

    def measured(self, what, crowd, action, kind, enough=lambda line: True):
        before = self.hibernations()
        action()
        took = crowd.told(kind, enough)
        self.await_sleep(crowd)
        woken = (self.hibernations() - before) / self.count
        print(f"    {what}: told after {took[0]:.2f} s the first, {statistics.median(took):.2f} s "
              f"the median, {took[-1]:.2f} s the last; {woken:.2f} wake-ups each", flush=True)
        return woken

    def say(self, name, crowd):
        print(f"    {name}: {self.count} clients; {crowd.awake:.0f} KB each awake, "
              f"{crowd.asleep:.1f} KB each hibernated", flush=True)


class ManyIdle(Counting):
    def test_all_are_told_and_come_back_no_more_than_needed(self):
        for n in range(1, 11):
            self.put(n, mail_maker.plain(n))
        self.nmh.write_sequences("inbox", {"unseen": "1-3"})
        self.force_resync()
        crowd = Crowd(self, self.user, self.count)
        self.say("mh", crowd)
        woken = [
            self.measured("a message by rcvstore", crowd,
                          lambda: self.nmh.rcvstore(mail_maker.plain(11)), "EXISTS"),
            self.measured("a message by inc", crowd, lambda: self.nmh.inc(mail_maker.plain(12)),
                          "EXISTS", lambda line: line.number == 12),
            self.measured("a flag by mark", crowd,
                          lambda: self.nmh.run("mark", "+inbox", "4", "-sequence", "flagged", "-add"),
                          "FETCH")]
        self.assertLessEqual(max(woken), 3)

        def drop():
            for n in range(1001, 1001 + AT_ONCE):
                self.put(n, mail_maker.plain(n))
        woken = self.measured(f"{AT_ONCE} files at once", crowd, drop, "EXISTS",
                              lambda line: line.number == 12 + AT_ONCE)
        self.assertLessEqual(woken, 5)
        self.assertTrue(all(self.nmh.tag("inbox", n) for n in self.nmh.numbers("inbox")))
        self.assertEqual(self.hibernate_again(), 0)

    def hibernate_again(self):
        """How many wake though nothing happens."""
        before = self.hibernations()
        time.sleep(3)
        return self.hibernations() - before + len(processes(self.server, "imap"))


@unittest.skipUnless(runner.LONG, "for comparison, in the long form")
class MaildirBeside(Counting):
    """Dovecot's maildir, on a server of its own."""

    server_settings = {**Counting.server_settings, "login_greeting": "maildir"}

    def test_what_maildir_costs(self):
        user = self.new_user(mail="maildir:~/Maildir")
        root = os.path.join(user.home, "Maildir")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(root, part))

        def put(number):
            name = f"{10**9 + number}.M{number}.host"
            with open(os.path.join(root, "tmp", name), "wb") as out:
                out.write(mail_maker.plain(number))
            os.rename(os.path.join(root, "tmp", name), os.path.join(root, "new", name))
        for n in range(1, 11):
            put(n)
        crowd = Crowd(self, user, self.count)
        self.say("maildir", crowd)
        self.measured("a message", crowd, lambda: put(11), "EXISTS")
        self.measured(f"{AT_ONCE} files at once", crowd,
                      lambda: [put(n) for n in range(1001, 1001 + AT_ONCE)], "EXISTS",
                      lambda line: line.number == 11 + AT_ONCE)


if __name__ == "__main__":
    runner.main(prepare)
