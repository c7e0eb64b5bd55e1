# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mails for tests: plain ones that tell themselves apart, and every strange one we know of."""

import base64
import email.utils
import random
import re

# 2001-09-09 01:46:40 UTC: message n of a test is dated n minutes after it.
EPOCH = 1_000_000_000


def plain(number=1, subject=None, body=None, sender="alice@example.org", to="bob@example.org",
          date=None, **headers):
    """A small mail; extra headers by keyword (In_Reply_To="<…>" gives In-Reply-To)."""
    when = EPOCH + 60 * number if date is None else date
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject or f'message {number}'}",
             f"Date: {email.utils.formatdate(when)}", f"Message-ID: <m{number}@example.org>"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    text = f"This is the body of message {number}.\n" if body is None else body
    return ("\n".join(lines) + "\n\n" + text).encode("utf-8", "surrogateescape")


def multipart(number=1):
    """text + html alternative, a base64 attachment, an enclosed message."""
    inner = plain(number + 1000, subject="enclosed").decode()
    blob = base64.encodebytes(bytes(range(256)) * 3).decode()
    return (f"From: alice@example.org\nTo: bob@example.org\nSubject: parts {number}\n"
            f"Date: {email.utils.formatdate(EPOCH)}\nMessage-ID: <p{number}@example.org>\n"
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"outer\"\n\n"
            "preamble\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n"
            "--inner\nContent-Type: text/plain; charset=utf-8\n"
            "Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe aus =E2=82=AC\n"
            "--inner\nContent-Type: text/html\n\n<p>hello</p>\n--inner--\n"
            "--outer\nContent-Type: application/octet-stream; name=blob.bin\n"
            "Content-Transfer-Encoding: base64\n"
            f"Content-Disposition: attachment; filename=blob.bin\n\n{blob}"
            f"--outer\nContent-Type: message/rfc822\n\n{inner}\n--outer--\nepilogue\n").encode()


def digest(count=3):
    """An RFC 934 digest, as `burst` takes apart."""
    parts = "".join(f"------- Message {n}\n\n{plain(500 + n).decode()}\n"
                    for n in range(1, count + 1))
    return (f"From: list@example.org\nTo: bob@example.org\nSubject: digest\n"
            f"Date: {email.utils.formatdate(EPOCH)}\n\n{parts}"
            "------- End of Forwarded Messages\n").encode()


def big(size, number=1):
    """A generator of chunks of one mail of about `size` bytes (never whole in memory)."""
    yield plain(number, subject="big", body="")
    line = b"0123456789abcdef" * 4 + b"\n"
    chunk = line * 16384
    left = size
    while left > 0:
        piece = chunk[:min(left, len(chunk)) // len(line) * len(line)]
        if not piece:
            return
        yield piece
        left -= len(piece)


HEADER = b"From: alice@example.org\nSubject: odd\nDate: Sun, 09 Sep 2001 01:46:40 +0000\n"

# name -> the bytes of the file. What a folder may hold and no test may stumble over.
STRANGE = {
    "header only, no blank line": HEADER,
    "header only, blank line": HEADER + b"\n",
    "no header at all": b"just some text\nand more of it\n",
    "blank line first": b"\nbody after a blank line\n",
    "no newline at the end": HEADER + b"\nno newline here",
    "one byte": b"x",
    "one newline": b"\n",
    "CRLF throughout": (HEADER + b"\nline one\nline two\n").replace(b"\n", b"\r\n"),
    "CRLF and LF mixed": HEADER + b"\nunix\ndos\r\nunix\n",
    "lone CR": HEADER + b"\na\rb\rc\n",
    "CR at the very end": HEADER + b"\nlast\r",
    "CR CR LF": HEADER + b"\na\r\r\nb\n",
    "8-bit header": b"From: J\xfcrgen <j@example.org>\nSubject: \xe4\xf6\xfc\n\nbody\n",
    "UTF-8 header": "From: Jürgen <j@example.org>\nSubject: Grüße €\n\nbody\n".encode(),
    "invalid UTF-8": b"Subject: \xff\xfe\xc3\n\n\x80\x81\xff\n",
    "very long header line": b"Subject: " + b"x" * 70000 + b"\n\nbody\n",
    "very long body line": HEADER + b"\n" + b"y" * 200000 + b"\n",
    "many headers": b"".join(b"X-H%d: v\n" % n for n in range(3000)) + b"\nbody\n",
    "folded headers": b"Subject: a\n b\n\tc\n  \nX: y\n\nbody\n",
    "header with a space before the colon": b"Subject : odd\nFrom : x@y\n\nbody\n",
    "a line without a colon in the header": HEADER + b"this is no field\nTo: x@y\n\nbody\n",
    "boundary that never comes": b"Content-Type: multipart/mixed; boundary=b\n\n--nope\n\nx\n",
    "boundary never closed": b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n",
    "multipart nested 60 deep": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(60))
        + b"\nend\n",
    "From_ in the body": HEADER + b"\nFrom here on\n>From there\n",
}

# The same for content whose bytes IMAP cannot show as they are.
NUL = {
    "NUL in the body": HEADER + b"\nbefore\0after\n",
    "NUL in the header": b"Subject: a\0b\n\nbody\n",
    "NULs only": b"\0" * 1000,
}


def random_mail(seed):
    """A mail with random header fields, line ends, encodings: the same for the same seed."""
    source = random.Random(seed)
    lines = [f"From: u{seed}@example.org".encode(), b"Subject: random %d" % seed]
    for _ in range(source.randrange(8)):
        lines.append(b"X-%d: " % source.randrange(100)
                     + bytes(source.choices(range(32, 256), k=source.randrange(80))))
    body = [bytes(source.choices([b for b in range(1, 256) if b not in (10, 13)],
                                 k=source.randrange(120))) for _ in range(source.randrange(40))]
    end = source.choice([b"\n", b"\n", b"\r\n"])
    return end.join(lines) + end + end + end.join(body) + source.choice([end, b""])


def as_imap(content):
    """What IMAP shows of a file's message: a LF without a CR before it gets one; nothing else."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", content)


def without_from_line(content):
    """An mbox From_ line at the top is no part of the message."""
    return content.split(b"\n", 1)[1] if content.startswith(b"From ") and b"\n" in content \
        else content
