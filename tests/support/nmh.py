# SPDX-License-Identifier: LGPL-2.1-or-later
"""nmh as a user has it: a home, a profile, the commands; and what lies in a folder afterwards.

The reader of .mh_sequences here is the tests' own and shares nothing with libmh: it follows nmh's
grammar as measured (a later line of a name replaces an earlier one, ranges and numbers, blanks).
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess

# Debian keeps nmh's commands out of the way of others of the same names.
COMMAND_FOLDERS = "/usr/bin/mh:/usr/lib/mh:/usr/local/nmh/bin"

TAG = re.compile(rb"X-MH-UID: (\d{10})\.(\d{10}) ([0-9a-f]{32}) (\d{10}) (\d{10}) (\d{10}) "
                 rb"([0-9a-f]{16}) ([0-9a-f]{16})\n")


class NmhError(Exception):
    """An nmh command failed."""


def parse_sequences(text):
    """{name: set of numbers} of the text of a .mh_sequences."""
    found = {}
    for line in re.sub(r"\n[ \t]+(?=\S)", " ", text).split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        numbers = set()
        for word in value.split():
            first, _, last = word.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
        found[name.strip()] = numbers
    return {name: numbers for name, numbers in found.items() if numbers}


class Tag:
    """The tag line of a file: what stands above it, its fields, and the message below it."""

    def __init__(self, above, match, message):
        self.above, self.line, self.message = above, match.group(0), message
        self.uidvalidity, self.uid = int(match.group(1)), int(match.group(2))
        self.guid = match.group(3).decode()
        self.date, self.saved, self.length = (int(match.group(n)) for n in (4, 5, 6))


def find_tag(content):
    """The Tag in a message file's first lines, or None."""
    match = TAG.search(content[:65536])
    if not match or (match.start() and content[match.start() - 1:match.start()] != b"\n"):
        return None
    above = content[:match.start()]
    if b"\n\n" in above:
        return None
    return Tag(above, match, content[match.end():])


class Nmh:
    """The commands of one user. `profile` adds components, or with None removes one."""

    def __init__(self, home, path="Mail", profile=None):
        self.home = home
        self.path = path
        self.root = os.path.join(home, path)
        self.components = {"Path": path, "Unseen-Sequence": "unseen"}
        for name, value in (profile or {}).items():
            if value is None:
                self.components.pop(name, None)
            else:
                self.components[name] = value
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        self.write_profile()

    def write_profile(self):
        text = "".join(f"{name}: {value}".rstrip(" ") + "\n"
                       for name, value in self.components.items())
        with open(os.path.join(self.home, ".mh_profile"), "w") as profile:
            profile.write(text)

    @staticmethod
    def installed():
        return shutil.which("inc", path=COMMAND_FOLDERS) is not None

    # -- commands --------------------------------------------------------------------------------

    def environment(self):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("MH") and name != "MAILDROP"}
        return {**kept, "HOME": self.home, "EDITOR": "/bin/true", "TERM": "dumb",
                "PATH": COMMAND_FOLDERS + ":" + os.environ.get("PATH", "/usr/bin:/bin")}

    def start(self, command, *args, **keywords):
        """A Popen of the command, for tests that let it run beside a session."""
        return subprocess.Popen([command, *args], env=self.environment(), cwd=self.home,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, **keywords)

    def run(self, command, *args, input=None, check=True, timeout=120):
        """Run an nmh command; gives its output as text."""
        done = subprocess.run([command, *args], env=self.environment(), cwd=self.home, input=input,
                              stdin=subprocess.DEVNULL if input is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        text = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            raise NmhError(f"{command} {' '.join(args)}: exit {done.returncode}\n{text}")
        return text

    def inc(self, *messages, folder=None):
        """Deliver messages (bytes) by inc from a spool file."""
        spool = os.path.join(self.home, "spool")
        with open(spool, "wb") as out:
            for message in messages:
                if not message.startswith(b"From "):
                    out.write(b"From sender@example.org Thu Jan  1 00:00:00 2004\n")
                out.write(message + (b"\n" if message.endswith(b"\n") else b"\n\n"))
        # Without its folder inc asks whether to make it.
        self.make_folder(folder or self.components.get("Inbox", "inbox"))
        where = [] if folder is None else ["+" + folder]
        return self.run("inc", "-silent", "-file", spool, "-truncate", *where)

    def rcvstore(self, message, folder="inbox", *args):
        return self.run("rcvstore", "+" + folder, *args, input=message)

    # -- folders ---------------------------------------------------------------------------------

    def folder(self, name):
        return os.path.join(self.root, name)

    def make_folder(self, name):
        os.makedirs(self.folder(name), mode=0o700, exist_ok=True)
        return self.folder(name)

    def file(self, folder, number):
        return os.path.join(self.root, folder, str(number))

    def put(self, folder, number, content, mtime=None, mode=0o600):
        """Write a message file as cp would: no sequences, no lock."""
        path = self.file(folder, number)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        os.chmod(path, mode)
        if mtime is not None:
            os.utime(path, (mtime, mtime))
        return path

    def numbers(self, folder="inbox"):
        """The message numbers in a folder, ascending."""
        found = []
        with os.scandir(self.folder(folder)) as entries:
            for entry in entries:
                if re.fullmatch(r"[1-9][0-9]*", entry.name) and entry.is_file(
                        follow_symlinks=False):
                    found.append(int(entry.name))
        return sorted(found)

    def read(self, folder, number):
        with open(self.file(folder, number), "rb") as message:
            return message.read()

    def tag(self, folder, number):
        return find_tag(self.read(folder, number))

    def visible(self, folder, number):
        """The message below the tag line; the whole file when it has none."""
        content = self.read(folder, number)
        tag = find_tag(content)
        return content if tag is None else tag.message

    # -- sequences -------------------------------------------------------------------------------

    def sequences_text(self, folder="inbox"):
        try:
            with open(os.path.join(self.folder(folder), ".mh_sequences"),
                      encoding="utf-8", errors="surrogateescape") as text:
                return text.read()
        except FileNotFoundError:
            return ""

    def write_sequences(self, folder, text):
        """Write the file as a hand would; `text` may be a dict of name to numbers or ranges."""
        if isinstance(text, dict):
            text = "".join(f"{name}: {value}\n" for name, value in text.items())
        with open(os.path.join(self.folder(folder), ".mh_sequences"), "w",
                  encoding="utf-8", errors="surrogateescape") as out:
            out.write(text)

    @contextlib.contextmanager
    def sequences_locked(self, folder="inbox"):
        """As if a command of nmh sat in its lock."""
        with open(os.path.join(self.folder(folder), ".mh_sequences"), "r+b") as held:
            fcntl.lockf(held, fcntl.LOCK_EX)
            yield

    def sequences(self, folder="inbox"):
        """{name: numbers} as the file says, `cur` left out."""
        found = parse_sequences(self.sequences_text(folder))
        found.pop("cur", None)
        return found

    def sequences_by_nmh(self, folder="inbox"):
        """The same as `mark -list` tells: the proof that nmh can read the file."""
        found = {}
        for line in self.run("mark", "+" + folder, "-list").splitlines():
            name, _, value = line.partition(":")
            name = name.replace("(private)", "").strip()
            value = value.replace("(private)", "")
            found.update(parse_sequences(f"{name}: {value.strip()}"))
        found.pop("cur", None)
        return found
