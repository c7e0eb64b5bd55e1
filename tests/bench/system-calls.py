#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""System calls of one APPEND, COPY, EXPUNGE and delivery: mh beside Dovecot's sdbox and maildir.

  make && MH_PLUGIN=.libs/lib20_mh_plugin.so python3 tests/bench/system-calls.py [-v]

The imap and lmtp processes run under strace; of each operation the third in its session is counted,
when nothing is done for the first time. A flush is fsync, fdatasync or syncfs. With MH_BENCH_LIST=1
the calls of mh themselves are listed.
"""

import collections
import os
import re
import smtplib
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mail_maker  # noqa: E402
import private_dovecot  # noqa: E402
import runner  # noqa: E402

DRIVERS = ("mh", "sdbox", "maildir")
OPERATIONS = ("APPEND", "COPY", "EXPUNGE", "LMTP")
FLUSH = re.compile(r"^(fsync|fdatasync|syncfs)\(")
CALL = re.compile(r"^([a-z_0-9]+)\(")
SETTLE = 3.5        # longer than any window in which a folder counts as just changed


def mail(i):
    return mail_maker.as_imap(mail_maker.plain(i))


class World:
    """A server of one driver, traced, with a user who has two folders."""

    def __init__(self, driver, plugin):
        self.top = os.path.join(runner.scratch(), driver)
        self.traces = os.path.join(self.top, "trace")
        os.makedirs(self.traces)
        self.read = set()       # traces of sessions before
        libexec = "/usr/lib/dovecot"
        strace = f"{private_dovecot.tool('strace')} -D -q -y -s 120 -ff -o {self.traces}"
        self.server = private_dovecot.PrivateDovecot(
            self.top, driver=driver, plugin=plugin, trace=self.traces,
            extra=f"service lmtp {{\n  executable = {strace}/lmtp {libexec}/lmtp -L\n}}\n")
        self.server.start()
        runner.at_end(driver, self.server.stop)
        self.user = self.server.add_user("bench")
        client = self.server.imap(self.user)
        client.ok("CREATE other")
        client.select()
        for i in range(1, 21):
            client.append("INBOX", mail(i))
        client.logout()

    def lines(self, kind, marker):
        """Of the process of this kind whose trace has the marker, which comes last."""
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            for name in os.listdir(self.traces):
                if not name.startswith(kind + ".") or name in self.read:
                    continue
                with open(os.path.join(self.traces, name), errors="replace") as trace:
                    text = trace.read()
                if marker in text:
                    self.read.add(name)
                    return text.splitlines()
            time.sleep(0.1)
        raise TimeoutError(f"no trace of {kind} with {marker}")

    def imap(self, *rounds):
        """The calls of the last command of each round, by tags; all in one session."""
        client = self.server.imap(self.user)
        client.select()
        time.sleep(SETTLE)
        client.ok("NOOP")
        tags = []
        for commands in rounds:
            for command in commands:
                tags.append(client.tag + 1)
                answer = command(client)
                if answer.status != "OK":
                    raise AssertionError(answer)
        client.ok("NOOP")
        client.logout()
        last = f"t{client.tag} LOGOUT"
        lines = self.lines("imap", last)
        tag = tags[-1]
        first = next(i for i, line in enumerate(lines) if re.match(rf'read\(.*"t{tag} ', line))
        end = next(i for i, line in enumerate(lines) if re.match(rf'read\(.*"t{tag + 1} ', line))
        return [line for line in lines[first:end] if CALL.match(line)]

    def lmtp(self):
        with smtplib.LMTP(self.server.lmtp_socket) as session:
            for i in range(40, 43):
                session.sendmail("alice@example.org", [self.user.name], mail_maker.plain(i))
        lines = self.lines("lmtp", '"QUIT')
        first = [i for i, line in enumerate(lines) if re.match(r'read\(.*"mail FROM', line)][-1]
        end = next(i for i, line in enumerate(lines) if re.match(r'read\(.*"QUIT', line))
        return [line for line in lines[first:end] if CALL.match(line)]

    def calls(self, operation):
        if operation == "APPEND":
            return self.imap(*[[lambda client, n=n: client.append("INBOX", mail(n))]
                               for n in (31, 32, 33)])
        if operation == "COPY":
            return self.imap(*[[lambda client, n=n: client.command(f"COPY {n} other")]
                               for n in (1, 2, 3)])
        if operation == "EXPUNGE":
            return self.imap(*[[lambda client: client.command(r"STORE 1 +FLAGS (\Deleted)"),
                                lambda client: client.command("EXPUNGE")] for _ in range(3)])
        return self.lmtp()


class SystemCalls(unittest.TestCase):
    def test_table(self):
        counts = collections.defaultdict(dict)
        for driver in DRIVERS:
            world = World(driver, plugin if driver == "mh" else None)
            for operation in OPERATIONS:
                lines = world.calls(operation)
                flushes = sum(1 for line in lines if FLUSH.match(line))
                counts[operation][driver] = f"{len(lines):4} ({flushes})"
                if driver == "mh" and os.environ.get("MH_BENCH_LIST"):
                    print(f"--- {operation}", *lines, sep="\n")
        print(f"{'calls (flushes)':16}" + "".join(f"{driver:>12}" for driver in DRIVERS))
        for operation in OPERATIONS:
            print(f"{operation:16}" + "".join(f"{counts[operation][driver]:>12}"
                                              for driver in DRIVERS), flush=True)


def prepare():
    global plugin
    plugin = runner.stage(private_dovecot.find_plugin())


if __name__ == "__main__":
    runner.main(prepare)
