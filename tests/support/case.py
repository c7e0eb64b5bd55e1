# SPDX-License-Identifier: LGPL-2.1-or-later
"""The base of every integration test: a server for the script, a fresh user for each test.

Starting a Dovecot costs half a second, a user costs one small file; so the tests of a script share
a server (one per set of server settings) and never a user. Each test looks at what the log got
while it ran: a panic, an error line, a sanitizer's report fails it, unless the test said that it
expects that line.
"""

import os
import re
import subprocess
import time
import unittest

import private_dovecot
import runner
from nmh import Nmh

_servers = {}
_staged = {}


def prepare():
    """To be given to runner.main(): stage what an ordinary account may not be able to reach."""
    if runner.DRIVER != "mh":
        return
    plugin = private_dovecot.find_plugin()
    if plugin is None:
        raise unittest.SkipTest("the plugin is not built (MH_PLUGIN names no file)")
    _staged["plugin"] = runner.stage(plugin)


def server_environment(extra):
    """What a server needs to load a plugin built with AddressSanitizer, and `extra`; both may
    preload something."""
    library = _asan_library_of(_staged.get("plugin"))
    if not library:
        return dict(extra)
    preload = ":".join(filter(None, [library, extra.get("LD_PRELOAD")]))
    return {**extra, "LD_PRELOAD": preload,
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_abort=0",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}


def _asan_library_of(plugin):
    if not plugin:
        return None
    out = subprocess.run(["ldd", plugin], capture_output=True, text=True).stdout
    found = re.search(r"libasan\S* => (/\S+)", out)
    return found.group(1) if found else None


def server(settings=None, plugin_settings=None, env=None, trace=False, extra=""):
    """The server with these settings; started at first use, stopped when the script ends."""
    key = repr((sorted((settings or {}).items()), sorted((plugin_settings or {}).items()),
                sorted((env or {}).items()), trace, extra))
    if key not in _servers:
        directory = os.path.join(runner.scratch(), f"d{len(_servers)}")
        os.makedirs(directory)
        traces = None
        if trace:
            traces = os.path.join(directory, "trace")
            os.makedirs(traces)
        made = private_dovecot.PrivateDovecot(
            directory, driver=runner.DRIVER, plugin=_staged.get("plugin"), settings=settings,
            plugin_settings=plugin_settings, env=server_environment(env or {}),
            trace=traces, extra=extra)
        made.start()
        made.checked = made.log_size()
        made.expected = []
        _servers[key] = made
        runner.at_end(f"server {made.directory}: stops with a clean log", lambda: _stop(made))
    return _servers[key]


def _stop(made):
    made.stop()
    bad = made.bad_log_lines(made.checked, made.expected)
    if bad:
        raise AssertionError("at the stop the log has:\n" + "\n".join(bad[:40]))


class MhTestCase(unittest.TestCase):
    """self.user with self.home, self.root (the mail tree), self.nmh; self.imap() for a session."""

    drivers = ("mh",)
    server_settings = {}
    plugin_settings = {}
    extra_config = ""
    trace = False
    user_settings = {}          # fields of each test's user: settings for him alone
    maxDiff = 4000

    _count = 0

    def setUp(self):
        if runner.DRIVER not in self.drivers:
            self.skipTest(f"says nothing about {runner.DRIVER}")
        self.server = server(self.server_settings, self.plugin_settings, self.server_env(),
                             self.trace, self.extra_config)
        self._expected = []
        self._log_began = self.server.log_size()
        self._sessions = []
        self._names = []
        self.user = self.new_user(**self.user_settings)
        self.home = self.user.home
        self.root = os.path.join(self.home, "Mail")
        self.nmh = self.make_nmh()

    def server_env(self):
        """Variables for all processes of the server."""
        return {}

    def make_nmh(self):
        return Nmh(self.home)

    def new_user(self, home=None, **fields):
        MhTestCase._count += 1
        user = self.server.add_user(f"u{MhTestCase._count}", home=home, **fields)
        self._names.append(user.name)
        return user

    def tearDown(self):
        for session in self._sessions:
            session.close()
        if self._sessions:
            self._settle()
        bad = self.server.bad_log_lines(self._log_began, [p for p, _ in self._expected])
        self.server.checked = self.server.log_size()
        # A session that ends after this look logs for this test, not for the next one.
        self.server.expected += [p for p, _ in self._expected]
        missing = [p for p, needed in self._expected
                   if needed and not re.search(p, self.log(), re.I)]
        self.assertEqual(bad, [], "the log has lines a healthy run does not log")
        self.assertEqual(missing, [], "the log lacks lines that should tell the admin:\n"
                         + self.log()[-2000:])

    def _settle(self, timeout=3):
        """Until each session of this test's users has said that it ended (its log is then whole)."""
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            text = self.log()
            names = "|".join(map(re.escape, self._names))
            began = len(re.findall(rf"imap-login: (?:Info: )?Login: user=<(?:{names})>", text))
            ended = len(re.findall(rf"imap\((?:{names})\)<\d+><[^>]*>: (?:Info: )?"
                                   r"(?:Disconnected|Logged out|Connection closed)"
                                   r"|killed with signal|Panic:|Fatal:", text))
            if ended >= began:
                return
            time.sleep(0.01)

    # -- mail ------------------------------------------------------------------------------------

    def put(self, number, content, folder="inbox", mtime=None):
        """A message file as cp would leave it, in whatever form the driver under test has."""
        if runner.DRIVER == "mh":
            return self.nmh.put(folder, number, content, mtime)
        where = self.root if folder == "inbox" else os.path.join(self.root, folder)
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(where, name), exist_ok=True)
        path = os.path.join(where, "cur", f"{1_000_000_000 + number}.M{number:09}.host:2,")
        with open(path, "wb") as out:
            out.write(content)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    # -- the log ---------------------------------------------------------------------------------

    def log(self):
        """What the log got since this test began."""
        return self.server.log_text(self._log_began)

    def expect_log(self, pattern, needed=True):
        """This test makes the server log a line like this (in any case of letters); without
        `needed` it only may."""
        self._expected.append((pattern, needed))

    def allow_log(self, pattern):
        self.expect_log(pattern, needed=False)

    # -- sessions --------------------------------------------------------------------------------

    def imap(self, user=None, timeout=60):
        """A logged-in session; closed at the end of the test."""
        client = self.server.imap(user or self.user, timeout=timeout)
        self._sessions.append(client)
        return client

    def select(self, name="INBOX"):
        """A session with this folder selected."""
        client = self.imap()
        client.select(name)
        return client

    def doveadm(self, *args, user=None, **keywords):
        """doveadm COMMAND -u USER the-rest."""
        name = (user or self.user).name
        words = 2 if args[0] in ("mailbox", "flags") else 1
        return self.server.doveadm(*args[:words], "-u", name, *args[words:], **keywords)

    def force_resync(self, pattern="*", user=None):
        """Finish adoption (and any repair) at once."""
        return self.doveadm("force-resync", pattern, user=user)

    # -- assertions ------------------------------------------------------------------------------

    def assertNothing(self, answer, kinds=("EXISTS", "EXPUNGE", "FETCH", "VANISHED", "RECENT")):
        """No untagged line in `answer` tells of a change."""
        told = [line for line in answer.untagged if line.kind in kinds]
        self.assertEqual([repr(line) for line in told], [], "told of a change where there is none")

    def eventually(self, function, timeout=10, interval=0.05):
        """function()'s first true value within `timeout`; fails when there is none."""
        limit = time.monotonic() + timeout
        while True:
            value = function()
            if value:
                return value
            if time.monotonic() > limit:
                self.fail(f"not within {timeout} s; last: {value!r}")
            time.sleep(interval)
