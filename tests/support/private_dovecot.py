# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private Dovecot: loopback only, one unprivileged user, nothing shared with the system's own.

The one place that writes a Dovecot configuration for this project: the integration tests use the
class, the one-command start uses the command line (`python3 tests/support/private_dovecot.py
--root TREE --plugin SO`), so what is tried by hand is what is tested.

Dovecot runs without root when the internal users are the caller, the services that would chroot
do not, and everything it writes lies below one directory of the caller. Each user has a
passwd-file of his own (Dovecot re-reads a shared one at most once a second, so a user added to it
may be unknown for that long); its extra fields are settings for that user alone, so a test can try
a setting without a server of its own.
"""

import argparse
import binascii
import contextlib
import email.errors
import email.header
import grp
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from imap_client import ImapClient, ImapError  # noqa: E402

PLUGIN_NAME = "lib20_mh_plugin.so"

# Where a mail store lies below a user's home, by driver.
LOCATIONS = {
    "mh": "mh:~/Mail",
    "maildir": "maildir:~/Mail:LAYOUT=fs",
    "sdbox": "sdbox:~/Mail",
}

# What no run may leave in the log unless a test says that it expects it.
BAD_LINE = re.compile(
    r"Panic:|Fatal:|Error:|Assert|assertion|\bBUG\b|Corrupted|Leaked|AddressSanitizer|"
    r"runtime error:|killed with signal")


class DovecotError(Exception):
    """The server could not be started, or did not stop."""


def find_plugin():
    """Path of the built plugin: MH_PLUGIN, else below the build directory, else None."""
    named = os.environ.get("MH_PLUGIN")
    if named:
        return os.path.abspath(named) if os.path.exists(named) else None
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for top in (os.environ.get("abs_top_builddir"), os.environ.get("top_builddir"), ".", source):
        for folder in (".libs", "plugin/.libs"):
            path = os.path.join(top or ".", folder, PLUGIN_NAME)
            if os.path.exists(path):
                return os.path.abspath(path)
    return None


def system_module_dir():
    """Where the system's Dovecot keeps its modules (its own default, not its configuration)."""
    out = subprocess.run(["doveconf", "-d", "-h", "mail_plugin_dir"], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=True)
    return out.stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tool(name):
    """Path of a command that lives in /usr/sbin or /usr/bin, whatever PATH an account has."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise DovecotError(f"{name} is not installed")
    return path


class User:
    def __init__(self, name, password, home):
        self.name, self.password, self.home = name, password, home


class PrivateDovecot:
    """A server below one directory. Use as a context manager, or start() and stop().

    driver:   mh, maildir or sdbox: where the mail of a user without a `mail` of his own lies.
    settings: top-level settings of dovecot.conf; plugin_settings: the plugin {} block.
    env:      variables the server's processes get (import_environment), e.g. LD_PRELOAD.
    extra:    more text of dovecot.conf.
    trace:    a directory: every imap process runs under strace, one file per process there.
    """

    def __init__(self, directory, driver="mh", plugin=None, settings=None, plugin_settings=None,
                 env=None, trace=None, port=None, extra=""):
        self.directory = os.path.abspath(directory)
        self.driver = driver
        self.plugin = plugin
        self.settings = dict(settings or {})
        self.plugin_settings = dict(plugin_settings or {})
        self.env = dict(env or {})
        self.trace = trace
        self.extra = extra
        self.port = port
        self.users = {}
        self.master = None
        self.log_path = self._path("dovecot.log")
        self.config_path = self._path("dovecot.conf")
        self.lmtp_socket = self._path("run/lmtp")
        self._clients = []

    def _path(self, name):
        return os.path.join(self.directory, name)

    # -- configuration ---------------------------------------------------------------------------

    def config_text(self):
        account = pwd.getpwuid(os.geteuid())
        group = grp.getgrgid(os.getegid()).gr_name
        # Dovecot's default list, and ours; a bare LD_PRELOAD would be dropped with the rest of the
        # environment whenever a Dovecot program runs another.
        imported = ["TZ", "CORE_OUTOFMEM", "CORE_ERROR"]
        imported += [f"{name}={value}" for name, value in self.env.items()]
        top = {
            "base_dir": self._path("run"),
            "state_dir": self._path("state"),
            "log_path": self.log_path,
            "log_timestamp": '"%Y-%m-%d %H:%M:%S "',
            "default_internal_user": account.pw_name,
            "default_internal_group": group,
            "default_login_user": account.pw_name,
            "default_vsz_limit": "0" if self.env.get("LD_PRELOAD") else "1G",
            "first_valid_uid": min(500, os.geteuid()),
            "first_valid_gid": min(1, os.getegid()),
            "listen": "127.0.0.1",
            "protocols": "imap pop3 lmtp",
            "ssl": "no",
            "disable_plaintext_auth": "no",
            "auth_mechanisms": "plain",
            "auth_failure_delay": "0",
            "mail_location": LOCATIONS[self.driver],
            "mail_plugin_dir": self._path("modules"),
            "mail_plugins": "mh" if self.driver == "mh" else "",
            "mail_max_userip_connections": 1000,
            "import_environment": " ".join(imported),
            "postmaster_address": "postmaster@localhost",
            "hostname": "localhost",
        }
        top.update(self.settings)
        imap = "imap"
        if self.trace:
            # -D: the traced process keeps the pid that the master knows.
            imap = (f"{tool('strace')} -D -q -y -s 120 -o {self.trace}/imap -ff "
                    f"{os.path.join(self._libexec(), 'imap')}")
        blocks = [f"{name} = {value}" for name, value in top.items()]
        blocks.append("plugin {")
        blocks += [f"  {name} = {value}" for name, value in self.plugin_settings.items()]
        blocks.append("}")
        blocks.append(f"""
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {self._path('users')}/%u
}}
userdb {{
  driver = passwd-file
  args = {self._path('users')}/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  service_count = 0
  inet_listener pop3 {{
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap {{
  executable = {imap}
  process_limit = 1000
  unix_listener imap-master {{
    mode = 0600
    user = {account.pw_name}
  }}
}}
service imap-hibernate {{
  unix_listener imap-hibernate {{
    mode = 0600
    user = {account.pw_name}
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
    user = {account.pw_name}
  }}
}}
""")
        blocks.append(self.extra)
        return "\n".join(blocks)

    def _libexec(self):
        out = subprocess.run(["doveconf", "-d", "-h", "libexec_dir"], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, check=True)
        return out.stdout.strip()

    def _link_modules(self):
        folder = self._path("modules")
        os.makedirs(folder, exist_ok=True)
        system = system_module_dir()
        for name in os.listdir(system):
            with contextlib.suppress(FileExistsError):
                os.symlink(os.path.join(system, name), os.path.join(folder, name))
        if self.plugin:
            link = os.path.join(folder, PLUGIN_NAME)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)
            os.symlink(os.path.abspath(self.plugin), link)

    def write_config(self):
        os.makedirs(self._path("users"), exist_ok=True)
        os.makedirs(self._path("run"), exist_ok=True)
        self.port = self.port or free_port()
        self.pop3_port = free_port()
        self._link_modules()
        with open(self.config_path, "w") as config:
            os.fchmod(config.fileno(), 0o600)
            config.write(self.config_text())

    # -- users -----------------------------------------------------------------------------------

    def add_user(self, name, home=None, password=None, **fields):
        """A user; `fields` override settings for him (mail="mh:~/Mail", mh_new_mail="as-mh")."""
        home = home or self._path(f"home/{name}")
        os.makedirs(home, exist_ok=True)
        user = User(name, password or secrets.token_urlsafe(9), home)
        extra = " ".join(f"userdb_{key}={value}" for key, value in fields.items())
        os.makedirs(self._path("users"), exist_ok=True)
        with open(self._path(f"users/{name}"), "w") as entry:
            os.fchmod(entry.fileno(), 0o600)
            entry.write(f"{name}:{user.password}:{os.geteuid()}:{os.getegid()}::{home}::{extra}\n")
        self.users[name] = user
        return user

    # -- life ------------------------------------------------------------------------------------

    def start(self, timeout=30):
        for attempt in range(5):
            self.write_config()
            with open(self._path("stderr"), "wb") as errors:
                self.master = subprocess.Popen(
                    [tool("dovecot"), "-F", "-c", self.config_path], stdin=subprocess.DEVNULL,
                    stdout=errors, stderr=errors, cwd="/", start_new_session=True)
            if self._wait_until_listening(timeout):
                return self
            text = self.log_text() + self._stderr()
            self._reap()
            if "Address already in use" not in text:
                raise DovecotError("Dovecot did not start:\n" + text[-4000:])
            self.port = None
        raise DovecotError("no free port found")

    def _wait_until_listening(self, timeout):
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            if self.master.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                    probe.settimeout(max(0.1, limit - time.monotonic()))
                    if probe.recv(200).startswith(b"* OK"):
                        return True
            time.sleep(0.02)
        return False

    def _stderr(self):
        with open(self._path("stderr"), errors="replace") as errors:
            return errors.read()

    def _reap(self):
        """End the master and what is left of the session it started; bounded."""
        if self.master is None:
            return
        group = self.master.pid
        if self.master.poll() is None:
            self.master.terminate()
            try:
                self.master.wait(15)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        self.master.wait(10)
        self.master = None

    def stop(self):
        """Close the clients, stop by pid; the log stays."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._reap()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_exc):
        self.stop()

    # -- use -------------------------------------------------------------------------------------

    def imap(self, user, login=True, timeout=60):
        """A new connection, logged in as `user` (a User or a name)."""
        account = self.users[user] if isinstance(user, str) else user
        client = ImapClient("127.0.0.1", self.port, timeout=timeout)
        self._clients.append(client)
        if login:
            client.login(account.name, account.password)
        return client

    def doveadm(self, *args, check=True, input=None, timeout=120):
        """Run doveadm with this server's configuration; gives stdout as text."""
        done = subprocess.run([tool("doveadm"), "-c", self.config_path, *args], input=input,
                              stdin=subprocess.DEVNULL if input is None else None,
                              capture_output=True, timeout=timeout, cwd="/")
        if check and done.returncode != 0:
            raise DovecotError(f"doveadm {' '.join(args)}: exit {done.returncode}\n"
                               + done.stderr.decode(errors="replace"))
        done.out = done.stdout.decode(errors="replace")
        done.err = done.stderr.decode(errors="replace")
        return done

    def log_size(self):
        try:
            return os.stat(self.log_path).st_size
        except FileNotFoundError:
            return 0

    def log_text(self, since=0):
        try:
            with open(self.log_path, "rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def bad_log_lines(self, since=0, expected=()):
        """Lines a healthy run does not log, save those that match a pattern of `expected`."""
        return [line for line in self.log_text(since).splitlines()
                if BAD_LINE.search(line) and not any(re.search(e, line, re.I) for e in expected)]


# -- the command line ----------------------------------------------------------------------------


def _readable(name):
    """A mailbox name as a person writes it (RFC 3501 5.1.3), or as it is if it is not such a name."""
    def decoded(match):
        if match.group(1) == "":
            return "&"
        base64 = match.group(1).replace(",", "/")
        return binascii.a2b_base64(base64 + "=" * (-len(base64) % 4)).decode("utf-16-be")
    try:
        return re.sub(r"&([^-]*)-", decoded, name)
    except (binascii.Error, UnicodeDecodeError):
        return name


def _subject(field):
    """One line of text out of a header field as it came."""
    text = " ".join(field.decode("latin-1").partition(":")[2].split())
    with contextlib.suppress(email.errors.HeaderParseError, LookupError, UnicodeDecodeError):
        text = str(email.header.make_header(email.header.decode_header(text)))
    return "".join(c if c.isprintable() else "?" for c in text)[:70]


def _show(server, user, most=12):
    """List folders and the last subjects of each by a real session: the proof that it serves."""
    client = server.imap(user)
    names = [line.data[2] for line in client.ok('LIST "" "*"').all("LIST")
             if "\\Noselect" not in line.data[0]]
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    print(f"an IMAP session sees {len(names)} folder{'s' * (len(names) != 1)}:")
    for name in sorted(names, key=lambda name: (name != "INBOX", name))[:most]:
        folder = client.examine(name)
        print(f"  {_readable(name)}: {folder.exists} message{'s' * (folder.exists != 1)}")
        if folder.exists:
            found = client.fetch(f"{max(1, folder.exists - 2)}:*",
                                 "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", uid=False)
            for _number, items in sorted(found.items()):
                print("      " + _subject(next(v for k, v in items.items()
                                               if k.startswith("BODY["))))
    if len(names) > most:
        print(f"  ... and {len(names) - most} more")
    client.logout()


def serve(options):
    if os.geteuid() == 0:
        print("private_dovecot: run this as the user who owns the mail, not as root "
              "(Dovecot serves no mail of root's)", file=sys.stderr)
        return 1
    plugin = options.plugin or find_plugin()
    if options.driver == "mh" and not plugin:
        print("private_dovecot: the plugin is not built: run make first, or name it by --plugin",
              file=sys.stderr)
        return 1
    state = options.state or tempfile.mkdtemp(prefix="mh-dovecot-")
    location = f"{options.driver}:{os.path.abspath(options.root)}"
    server = PrivateDovecot(state, driver=options.driver, plugin=plugin, port=options.port,
                            settings={"mail_location": location},
                            plugin_settings=dict(item.split("=", 1) for item in options.set))
    user = server.add_user(options.user, home=options.home, password=options.password)
    stopping = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.append(True))
    try:
        server.start()
        print(f"address 127.0.0.1:{server.port}\nuser {user.name}\npassword {user.password}\n"
              f"log {server.log_path}", flush=True)
        if options.show:
            _show(server, user)
        print("serving until Ctrl-C", flush=True)
        while not stopping and not options.once and server.master.poll() is None:
            time.sleep(0.2)
        alive = server.master.poll() is None
    except (DovecotError, ImapError, OSError, AssertionError) as error:
        print(f"private_dovecot: {error}\nThe last lines of Dovecot's log:\n  "
              + "\n  ".join(server.log_text().splitlines()[-15:]), file=sys.stderr)
        alive = False
    finally:
        server.stop()
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)
    return 0 if alive else 1


def main():
    account = pwd.getpwuid(os.getuid())
    parser = argparse.ArgumentParser(
        description="Serve a mail tree on loopback with a private Dovecot, until Ctrl-C.")
    parser.add_argument("--root", required=True, help="the MH tree")
    parser.add_argument("--plugin", help=f"the built {PLUGIN_NAME}")
    parser.add_argument("--driver", default="mh", choices=sorted(LOCATIONS))
    parser.add_argument("--user", default=account.pw_name, help="name to log in with")
    parser.add_argument("--password", help="default: a new random one")
    parser.add_argument("--home", default=os.environ.get("HOME") or account.pw_dir,
                        help="where .mh_profile lies")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[],
                        help="a setting of the plugin")
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument("--state", help="directory for the server's own files (default: temporary)")
    parser.add_argument("--show", action="store_true", help="list folders and subjects first")
    parser.add_argument("--once", action="store_true", help="stop at once after --show")
    return serve(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
