#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long after a change an idle client is told of it: mh, and Dovecot's maildir in the same run.

  make && MH_BENCH_ROUNDS=50 MH_BENCH_MESSAGES="10 10000" MH_PLUGIN=.libs/lib20_mh_plugin.so \
    python3 tests/bench/push-latency.py

In folders of so many messages, with a client that idles, and with one that has hibernated. Both are changed in the same way and in turn: a whole message is renamed into the folder, a message is
removed, and (mh only: maildir has flags in its file names) a message is marked in `.mh_sequences`. The
time is from the return of the system call, or of nmh's command, to the arrival of the untagged line
at the client.
"""

import os
import statistics
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402
from nmh import Nmh  # noqa: E402
from watched import imap_processes  # noqa: E402

ROUNDS = int(os.environ.get("MH_BENCH_ROUNDS", "50"))
MESSAGES = [int(count) for count in os.environ.get("MH_BENCH_MESSAGES", "10 10000").split()]
PAUSE = 0.7     # between two changes, longer than any delay that joins them
ASLEEP = 60     # seconds, for a client to hibernate


class Mh:
    name, driver = "mh", "mh"

    def __init__(self, user):
        self.nmh = Nmh(user.home)
        self.folder = self.nmh.make_folder("inbox")

    def path(self, number):
        return os.path.join(self.folder, str(number))

    def add(self, number):
        temporary = os.path.join(self.folder, ".new")
        with open(temporary, "wb") as out:
            out.write(mail_maker.plain(number))
        os.rename(temporary, self.path(number))

    def remove(self, number):
        os.unlink(self.path(number))

    def mark(self, number):
        self.nmh.run("mark", "+inbox", str(number), "-sequence", "flagged", "-add")


class Maildir:
    name, driver = "maildir", "maildir"

    def __init__(self, user):
        self.root = os.path.join(user.home, "Mail")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.root, part))

    def path(self, number, part):
        return os.path.join(self.root, part, f"{1_000_000_000 + number}.M{number}.host")

    def add(self, number):
        with open(self.path(number, "tmp"), "wb") as out:
            out.write(mail_maker.plain(number))
        os.rename(self.path(number, "tmp"), self.path(number, "new"))

    def remove(self, number):
        os.unlink(self.path(number, "cur") + ":2,")


class World:
    """One server, one folder, one client in IDLE."""

    def __init__(self, kind, count, hibernating):
        name = f"{kind.name}-{count}-{'hibernated' if hibernating else 'awake'}"
        directory = os.path.join(runner.scratch(), name)
        os.makedirs(directory)
        self.hibernating = hibernating
        settings = {"imap_hibernate_timeout": "1s" if hibernating else "0"}
        plugin = _plugin if kind.driver == "mh" else None
        self.server = private_dovecot.PrivateDovecot(directory, driver=kind.driver, plugin=plugin,
                                                     settings=settings)
        self.server.start()
        runner.at_end(name, self.server.stop)
        self.user = self.server.add_user("bench")
        self.store = kind(self.user)
        for number in range(1, count + 1):
            self.store.add(number)
        self.server.doveadm("force-resync", "-u", self.user.name, "INBOX", timeout=600)
        self.client = self.server.imap(self.user)
        self.client.select()
        self.client.ok("NOOP")
        self.client.idle()

    def steps(self):
        yield "new message", self.store.add, "EXISTS"
        if hasattr(self.store, "mark"):
            yield "flag", self.store.mark, "FETCH"
        yield "removal", self.store.remove, "EXPUNGE"

    def await_rest(self):
        time.sleep(PAUSE)
        limit = time.monotonic() + ASLEEP
        while self.hibernating and imap_processes(self.server, self.user.name):
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.server.directory} does not hibernate")
            time.sleep(0.1)
        while self.client.untagged(0.001):
            pass

    def told(self, action, kind):
        self.await_rest()
        action()
        took, _lines = self.client.wait_for(kind, 60)
        return took


class Latency(unittest.TestCase):
    def test_push(self):
        for count in MESSAGES:
            self.measure(f"{count} messages", count, False, ROUNDS)
            self.measure(f"{count} messages, hibernated", count, True, max(5, ROUNDS // 3))

    def measure(self, title, count, hibernating, rounds):
        worlds = {kind.name: World(kind, count, hibernating) for kind in (Mh, Maildir)}
        figures = {}
        for number in range(count + 1, count + rounds + 1):
            for name, world in worlds.items():
                for what, action, line in world.steps():
                    figures.setdefault((what, name), []).append(
                        world.told(lambda act=action, n=number: act(n), line))
        print(title)
        for (what, name), times in sorted(figures.items()):
            times.sort()
            rank = min(len(times) - 1, int(len(times) * 0.99))
            print(f"  {what:12} {name:8} median {1000 * statistics.median(times):6.0f} ms  "
                  f"99th percentile {1000 * times[rank]:6.0f} ms  ({len(times)})", flush=True)


_plugin = None


def prepare():
    global _plugin
    _plugin = runner.stage(private_dovecot.find_plugin())


if __name__ == "__main__":
    runner.main(prepare)
