#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long after a change an idle client is told of it: mh, and Dovecot's maildir in the same run.

  make && MH_BENCH_ROUNDS=50 MH_PLUGIN=.libs/lib20_mh_plugin.so python3 tests/bench/push-latency.py

Both are changed in the same way and in turn: a whole message is renamed into the folder, a message is
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

ROUNDS = int(os.environ.get("MH_BENCH_ROUNDS", "50"))
PAUSE = 0.7     # between two changes, longer than any delay that joins them


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


def watched(kind, plugin):
    directory = os.path.join(runner.scratch(), kind.name)
    os.makedirs(directory)
    server = private_dovecot.PrivateDovecot(directory, driver=kind.driver, plugin=plugin)
    server.start()
    runner.at_end(kind.name, server.stop)
    user = server.add_user("bench")
    store = kind(user)
    store.add(1)
    client = server.imap(user)
    client.select()
    client.idle()
    return store, client


def told(client, action, kind):
    time.sleep(PAUSE)
    while client.untagged(0.001):
        pass
    action()
    took, _lines = client.wait_for(kind, 60)
    return took


class Latency(unittest.TestCase):
    def test_push(self):
        worlds = {kind.name: watched(kind, plugin) for kind in (Mh, Maildir)}
        figures = {}
        for number in range(2, ROUNDS + 2):
            for name, (store, client) in worlds.items():
                steps = [("new message", store.add, "EXISTS")]
                if hasattr(store, "mark"):
                    steps.append(("flag", store.mark, "FETCH"))
                steps.append(("removal", store.remove, "EXPUNGE"))
                for what, action, line in steps:
                    figures.setdefault((what, name), []).append(
                        told(client, lambda act=action, n=number: act(n), line))
        for (what, name), times in sorted(figures.items()):
            times.sort()
            rank = min(len(times) - 1, int(len(times) * 0.99))
            print(f"{what:12} {name:8} median {1000 * statistics.median(times):6.0f} ms  "
                  f"99th percentile {1000 * times[rank]:6.0f} ms  ({len(times)})", flush=True)


def prepare():
    global plugin
    plugin = runner.stage(private_dovecot.find_plugin())


if __name__ == "__main__":
    runner.main(prepare)
