# SPDX-License-Identifier: LGPL-2.1-or-later
"""A thin IMAP client that hides nothing: every untagged line a command brings is in its answer.

imaplib folds untagged lines together by kind and drops what it does not know; here a test can say
"this NOOP brought exactly these lines". One object is one connection. Every wait is bounded: a
server that does not answer in time is a TimeoutError, so a hang is a failure with a name.

Values: an atom is a str ("FLAGS", "\\Seen", "17"), a quoted string or literal is bytes, NIL is
None, a parenthesised list is a list. A FETCH response is a dict from item name ("FLAGS", "UID",
"BODY[HEADER.FIELDS (FROM)]<0>") to value.
"""

import encodings.utf_7  # noqa: F401: loaded at first use otherwise
import re
import socket
import time


class ImapError(Exception):
    """The server said NO or BAD, or something that is not IMAP."""


class Literal(bytes):
    """A part of a command that is to be sent as a literal."""


def quote(text):
    """A quoted string (for names and passwords without line ends)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mutf7(name):
    """The name as IMAP writes it (RFC 3501, 5.1.3)."""
    out, run = [], ""

    def flush():
        nonlocal run
        if run:
            coded = run.encode("utf-7").decode()     # +....- ; only non-ASCII is in `run`
            out.append("&" + coded[1:].rstrip("-").replace("/", ",") + "-")
            run = ""
    for char in name:
        if 0x20 <= ord(char) <= 0x7e:
            flush()
            out.append("&-" if char == "&" else char)
        else:
            run += char
    flush()
    return "".join(out)


class Untagged:
    """One untagged line: kind ("EXISTS", "FETCH", "OK", …), number if it has one, data."""

    def __init__(self, kind, number, data, code=None):
        self.kind, self.number, self.data, self.code = kind, number, data, code

    def __repr__(self):
        number = "" if self.number is None else f"{self.number} "
        code = f" [{self.code}]" if self.code else ""
        return f"* {number}{self.kind}{code} {self.data!r}"


class Answer:
    """The tagged line of a command and all untagged lines that came before it."""

    def __init__(self, status, code, text, untagged):
        self.status, self.code, self.text, self.untagged = status, code, text, untagged

    def all(self, kind):
        return [line for line in self.untagged if line.kind == kind]

    def one(self, kind):
        found = self.all(kind)
        if len(found) != 1:
            raise ImapError(f"{len(found)} untagged {kind} where one was expected: "
                            f"{self.untagged!r} {self}")
        return found[0]

    def codes(self, name):
        """Arguments of the response code `name` in any untagged or the tagged line."""
        codes = [line.code for line in self.untagged if line.code] + [self.code or ""]
        return [code[len(name):].strip() for code in codes
                if code == name or code.startswith(name + " ")]

    def __repr__(self):
        return f"{self.status} {'[' + self.code + '] ' if self.code else ''}{self.text}"


class Mailbox:
    """What SELECT or EXAMINE told."""

    def __init__(self, answer):
        def number(name):
            values = answer.codes(name)
            return int(values[0]) if values else None
        self.answer = answer
        self.exists = answer.one("EXISTS").number
        self.recent = answer.one("RECENT").number
        self.flags = set(answer.one("FLAGS").data[0])
        permanent = answer.codes("PERMANENTFLAGS")
        self.permanent = set(permanent[0].strip("()").split()) if permanent else set()
        self.uidvalidity = number("UIDVALIDITY")
        self.uidnext = number("UIDNEXT")
        self.highestmodseq = number("HIGHESTMODSEQ")
        self.unseen = number("UNSEEN")
        self.read_only = answer.code == "READ-ONLY"


class _Parser:
    """Parses one response line whose literals stand beside it, in order."""

    def __init__(self, pieces):
        self.pieces = pieces        # [text, literal, text, literal, …, text]
        self.text = pieces[0]
        self.at = 0
        self.piece = 0

    def end(self):
        return self.at >= len(self.text) and self.piece + 1 >= len(self.pieces)

    def skip_blank(self):
        while self.at < len(self.text) and self.text[self.at:self.at + 1] == b" ":
            self.at += 1

    def rest(self):
        rest = self.text[self.at:]
        self.at = len(self.text)
        return rest.decode("utf-8", "surrogateescape")

    def value(self):
        first = self.text[self.at:self.at + 1]
        if first == b"(":
            return self._list()
        if first == b'"':
            return self._quoted()
        if first in (b"{", b"~"):
            return self._literal()
        return self._atom()

    def _list(self):
        self.at += 1
        values = []
        while True:
            self.skip_blank()
            if self.at >= len(self.text):
                raise ImapError(f"unclosed list in {self.text!r}")
            if self.text[self.at:self.at + 1] == b")":
                self.at += 1
                return values
            values.append(self.value())

    def _quoted(self):
        match = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.S).match(self.text, self.at)
        if not match:
            raise ImapError(f"unclosed string in {self.text!r}")
        self.at = match.end()
        return re.sub(rb"\\(.)", rb"\1", match.group(1), flags=re.S)

    def _literal(self):
        match = re.compile(rb"~?\{(\d+)\}$").match(self.text, self.at)
        if not match:
            raise ImapError(f"bad literal in {self.text!r}")
        value = self.pieces[self.piece + 1]
        self.piece += 2
        self.text, self.at = self.pieces[self.piece], 0
        return value

    def _atom(self):
        start, depth = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at:self.at + 1]
            if char == b"[":
                depth += 1
            elif char == b"]" and depth:
                depth -= 1
            elif depth == 0 and char in b' ()"{':
                break
            self.at += 1
        if self.at == start:
            raise ImapError(f"no value at {start} in {self.text!r}")
        text = self.text[start:self.at].decode("utf-8", "surrogateescape")
        return None if text.upper() == "NIL" else text

    def values(self):
        found = []
        self.skip_blank()
        while not self.end():
            found.append(self.value())
            self.skip_blank()
        return found


def _resp_text(text):
    """(code, human text) of the rest of an OK/NO/BAD/BYE/PREAUTH line."""
    if not text.startswith("["):
        return None, text
    depth, at, quoted = 0, 0, False
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted:
            depth += {"[": 1, "]": -1}.get(char, 0)
            if depth == 0:
                break
    return text[1:at], text[at + 1:].strip()


def _untagged(pieces):
    parser = _Parser(pieces)
    parser.at = 2
    word = parser._atom()
    parser.skip_blank()
    number = None
    if word.isdigit():
        number, word = int(word), parser._atom()
        parser.skip_blank()
    kind = word.upper()
    if kind in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
        code, text = _resp_text(parser.rest())
        return Untagged(kind, None, text, code)
    data = parser.values()
    if kind == "FETCH":
        flat = data[0]
        data = {flat[i].upper(): flat[i + 1] for i in range(0, len(flat), 2)}
    return Untagged(kind, number, data)


class ImapClient:
    def __init__(self, host, port, timeout=60):
        self.timeout = timeout
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.buffer = b""
        self.tag = 0
        self.idle_tag = None
        self.greeting = self._read_untagged(time.monotonic() + timeout)
        if self.greeting.kind not in ("OK", "PREAUTH"):
            raise ImapError(repr(self.greeting))

    # -- the wire --------------------------------------------------------------------------------

    def _more(self, limit):
        left = limit - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server did not answer in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except socket.timeout:
            raise TimeoutError("the server did not answer in time") from None
        if not data:
            raise ImapError("the server closed the connection")
        self.buffer += data

    def _line(self, limit):
        at = 0
        while True:
            end = self.buffer.find(b"\r\n", at)
            if end >= 0:
                line, self.buffer = self.buffer[:end], self.buffer[end + 2:]
                return line
            at = max(0, len(self.buffer) - 1)
            self._more(limit)

    def _exactly(self, size, limit):
        parts, have = [self.buffer], len(self.buffer)
        while have < size:      # parts, not +=: a literal may be 100 MB
            self.buffer = b""
            self._more(limit)
            parts.append(self.buffer)
            have += len(self.buffer)
        whole = b"".join(parts)
        self.buffer = whole[size:]
        return whole[:size]

    def _response(self, limit):
        """One response: its text pieces and literals, in turn."""
        pieces = [self._line(limit)]
        while True:
            literal = re.search(rb"~?\{(\d+)\}$", pieces[-1])
            if not literal or not pieces[0].startswith(b"* "):
                return pieces
            pieces.append(self._exactly(int(literal.group(1)), limit))
            pieces.append(self._line(limit))

    def _read_untagged(self, limit):
        pieces = self._response(limit)
        if not pieces[0].startswith(b"* "):
            raise ImapError(f"not an untagged line: {pieces[0]!r}")
        return _untagged(pieces)

    # -- commands --------------------------------------------------------------------------------

    def send(self, *parts):
        """Send a command without waiting; gives its tag. Parts: str, or Literal."""
        self.tag += 1
        tag = f"t{self.tag}"
        wire = tag.encode() + b" "
        for part in parts:
            if isinstance(part, Literal):
                wire += b"{%d+}\r\n" % len(part) + part
            else:
                wire += part if isinstance(part, bytes) else part.encode(
                    "utf-8", "surrogateescape")
        self.socket.settimeout(self.timeout)
        self.socket.sendall(wire + b"\r\n")
        return tag

    def wait(self, tag, timeout=None):
        """The Answer to the command `tag`."""
        limit = time.monotonic() + (self.timeout if timeout is None else timeout)
        untagged = []
        while True:
            pieces = self._response(limit)
            line = pieces[0]
            if line.startswith(b"* "):
                untagged.append(_untagged(pieces))
            elif line.startswith(tag.encode() + b" "):
                status, _, rest = line[len(tag) + 1:].decode("utf-8", "replace").partition(" ")
                code, text = _resp_text(rest)
                return Answer(status.upper(), code, text, untagged)
            else:
                raise ImapError(f"unexpected line {line[:200]!r}")

    def command(self, *parts, timeout=None):
        """Send and wait: the Answer, whatever its status."""
        return self.wait(self.send(*parts), timeout)

    def ok(self, *parts, timeout=None):
        """Send and wait; anything but OK raises."""
        answer = self.command(*parts, timeout=timeout)
        if answer.status != "OK":
            raise ImapError(f"{parts!r}: {answer}")
        return answer

    def login(self, user, password):
        return self.ok(f"LOGIN {quote(user)} {quote(password)}")

    def logout(self):
        answer = self.command("LOGOUT")
        self.close()
        return answer

    def close(self):
        self.socket.close()

    # -- idle ------------------------------------------------------------------------------------

    def idle(self):
        """Enter IDLE; returns when the server said `+`, with what came before it."""
        self.idle_tag = self.send("IDLE")
        limit = time.monotonic() + self.timeout
        early = []
        while True:
            pieces = self._response(limit)
            if pieces[0].startswith(b"+"):
                return early
            if not pieces[0].startswith(b"* "):
                raise ImapError(f"IDLE refused: {pieces[0]!r}")
            early.append(_untagged(pieces))

    def done(self, timeout=None):
        """Leave IDLE: the Answer, with the untagged lines not yet taken."""
        tag, self.idle_tag = self.idle_tag, None
        self.socket.sendall(b"DONE\r\n")
        return self.wait(tag, timeout)

    def untagged(self, timeout):
        """The next untagged line that comes without asking, or None when none does in time."""
        limit = time.monotonic() + timeout
        try:
            return self._read_untagged(limit)
        except TimeoutError:
            return None

    def wait_for(self, kind, timeout):
        """(seconds it took, all lines up to the first of this kind); TimeoutError when none."""
        began, seen = time.monotonic(), []
        while True:
            left = timeout - (time.monotonic() - began)
            line = self.untagged(left) if left > 0 else None
            if line is None:
                raise TimeoutError(f"no {kind} in {timeout} s; came: {seen!r}")
            seen.append(line)
            if line.kind == kind:
                return time.monotonic() - began, seen

    # -- what tests say often --------------------------------------------------------------------

    def select(self, name="INBOX", parameters=""):
        return Mailbox(self.ok(f"SELECT {quote(name)}{parameters}"))

    def examine(self, name="INBOX", parameters=""):
        return Mailbox(self.ok(f"EXAMINE {quote(name)}{parameters}"))

    def fetch(self, numbers, items, uid=True):
        """{UID (or sequence number): dict of items}; several FETCHes of one message are merged."""
        verb = "UID FETCH" if uid else "FETCH"
        found = {}
        for line in self.ok(f"{verb} {numbers} ({items})").all("FETCH"):
            if uid and "UID" not in line.data:
                continue        # told without being asked: a flag that changed meanwhile
            key = int(line.data["UID"]) if uid else line.number
            found.setdefault(key, {}).update(line.data)
        return found

    def search(self, *criteria, uid=True):
        """Numbers that match, as a list in the server's order."""
        answer = self.ok("UID SEARCH " if uid else "SEARCH ", *criteria)
        return [int(n) for line in answer.all("SEARCH") for n in line.data
                if not isinstance(n, list)]

    def uids(self):
        return self.search("ALL")

    def flags(self, numbers="1:*"):
        """{UID: set of flags, \\Recent left out}."""
        return {uid: set(items["FLAGS"]) - {"\\Recent"}
                for uid, items in self.fetch(numbers, "FLAGS").items()}

    def body(self, uid):
        """The whole message as sent, without setting \\Seen."""
        return self.fetch(uid, "BODY.PEEK[]")[uid]["BODY[]"]

    def store(self, numbers, change, flags, uid=True):
        verb = "UID STORE" if uid else "STORE"
        return self.ok(f"{verb} {numbers} {change} ({flags})")

    def append(self, name, *messages, flags="", date=""):
        """APPEND, or MULTIAPPEND; the Answer. Messages are bytes, or (bytes, flags, date)."""
        parts = [f"APPEND {quote(name)}"]
        for message in messages:
            text, its_flags, its_date = message if isinstance(message, tuple) \
                else (message, flags, date)
            before = f" ({its_flags})" if its_flags else ""
            before += f' "{its_date}"' if its_date else ""
            parts += [before + " ", Literal(text)]
        return self.command(*parts)

    def status(self, name, items):
        """{item: int} of STATUS (strings stay as they are)."""
        data = self.ok(f"STATUS {quote(name)} ({items})").one("STATUS").data[1]
        return {data[i].upper(): int(data[i + 1]) if data[i + 1].isdigit() else data[i + 1]
                for i in range(0, len(data), 2)}

    def list(self, reference="", pattern="*", verb="LIST"):
        """{name as sent (mUTF-7): set of flags}."""
        found = {}
        for line in self.ok(f"{verb} {quote(reference)} {quote(pattern)}").all(verb):
            name = line.data[2]
            found[name.decode() if isinstance(name, bytes) else name] = set(line.data[0])
        return found
