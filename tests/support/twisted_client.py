#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Twisted's IMAP4 client under the command of a test: one JSON list per line in, one out.

A line is [method of IMAP4Client, arguments …, {keywords}]; bytes travel as {"bytes": base64}. The
answer is ["ok", result] or ["failed", reason]. {"messages": "1:3"} is a set of messages. The
message of `append` is bytes, not a file.

Run by the system's own python, which has the system's Twisted: host port user password.
"""

import base64
import io
import json
import sys

from twisted.internet import defer, protocol, reactor, stdio
from twisted.mail import imap4
from twisted.protocols import basic


class Client(imap4.IMAP4Client):
    def append(self, mailbox, message, flags=(), date=None):
        return super().append(mailbox, io.BytesIO(message), flags, date)


def plain(value):
    """`value` as JSON can have it; bytes as text, since every message of these tests is ASCII."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def argument(value):
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    if isinstance(value, dict) and set(value) == {"messages"}:
        return imap4.parseIdList(value["messages"].encode())
    return value


class Commands(basic.LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def __init__(self, client):
        self.client = client

    def say(self, *answer):
        self.sendLine(json.dumps(answer).encode())

    def lineReceived(self, line):
        method, *arguments = json.loads(line)
        keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) and \
            not set(arguments[-1]) & {"bytes", "messages"} else {}
        done = defer.maybeDeferred(getattr(self.client, method), *map(argument, arguments),
                                   **{name: argument(value) for name, value in keywords.items()})
        done.addCallbacks(lambda result: self.say("ok", plain(result)),
                          lambda failure: self.say("failed", failure.getErrorMessage()))

    def connectionLost(self, reason=protocol.connectionDone):
        if reactor.running:
            reactor.stop()


@defer.inlineCallbacks
def begin(user, password, client):
    yield client.login(user.encode(), password.encode())
    commands = Commands(client)
    stdio.StandardIO(commands)
    commands.say("ok", "logged in")


def main():
    host, port, user, password = sys.argv[1:]
    made = protocol.ClientCreator(reactor, Client).connectTCP(host, int(port))
    made.addCallback(lambda client: begin(user, password, client))
    made.addErrback(lambda failure: (sys.stderr.write(failure.getTraceback()), reactor.stop()))
    reactor.run()


if __name__ == "__main__":
    main()
