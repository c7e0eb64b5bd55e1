# SPDX-License-Identifier: LGPL-2.1-or-later
"""exmh itself, on a display that nobody sees, and a picture of it.

exmh calls a procedure of the user's when its windows are there (User_Layout). Ours lets it, once it
has started, take commands of Tcl from its standard input, one a line; what a command gives comes back by standard
output. So a test does what a button or a menu entry does, by the command that stands behind it in
exmh's own app-defaults.

Xvfb keeps its screen in a file (-fbdir) in the format of xwd, which is easily made a PNG.
"""

import os
import selectors
import shutil
import signal
import struct
import subprocess
import time
import zlib

WAIT = 30       # seconds, for anything

USER_TCL = r"""
proc User_Init {} {}
proc User_Layout {} {
    # The last thing that it does when it starts.
    trace add execution ExmhJunk leave Test_Listen
}
proc Test_Listen {args} {
    fconfigure stdout -buffering line
    fileevent stdin readable {
        if {[gets stdin line] < 0} exit
        if {[catch {uplevel #0 $line} result]} { set result "ERROR $result" }
        puts "= [string map {\n { }} $result]"
    }
    puts "= ready"
}
proc Test_Invoke {label {window .}} {
    if {[winfo class $window] == "Menu"} {
        if {![catch {$window index $label} index]} {
            $window invoke $index
            return 1
        }
    }
    foreach child [winfo children $window] {
        if {[Test_Invoke $label $child]} { return 1 }
    }
    return 0
}
"""

# No dialog at the start, no second process, no faces; everything committed when it is told to.
DEFAULTS = """
*bgAsync: False
*bgAction: off
*facesEnabled: False
*commitDialog: False
*addressdbEnabled: False
"""


class ExmhError(Exception):
    """exmh did not start, did not answer, or answered with an error."""


def installed():
    return shutil.which("exmh") is not None and shutil.which("Xvfb") is not None


def wait_readable(stream, limit):
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        if not selector.select(max(0, limit - time.monotonic())):
            raise ExmhError("no answer in time")


def line_of(stream, limit):
    """One line of an unbuffered stream, within the time."""
    line = b""
    while not line.endswith(b"\n"):
        wait_readable(stream, limit)
        byte = os.read(stream.fileno(), 1)
        if not byte:
            raise ExmhError(f"it ended; the last it said: {line!r}")
        line += byte
    return line.decode("utf-8", "replace").rstrip("\n")


def stop(process):
    """Ends a process that leads a group of its own, with all it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            pass


class Display:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        reader, writer = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", "760x800x24", "-nolisten", "tcp",
             "-fbdir", directory], pass_fds=[writer], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(writer)
        try:
            with os.fdopen(reader, "rb", buffering=0) as told:
                self.name = ":" + line_of(told, time.monotonic() + WAIT).strip()
        except ExmhError:
            self.close()
            raise

    def close(self):
        stop(self.process)

    def picture(self):
        with open(os.path.join(self.directory, "Xvfb_screen0"), "rb") as screen:
            return png_of_xwd(screen.read())


class Exmh:
    """`user_files`: more files for exmh's library of the user, name to text; `defaults`: lines."""

    def __init__(self, nmh, display, user_files=None, defaults=""):
        library = os.path.join(nmh.home, ".exmh", "lib")
        os.makedirs(library)
        for name, text in {"user.tcl": USER_TCL, **(user_files or {})}.items():
            with open(os.path.join(library, name), "w") as out:
                out.write(text)
        subprocess.run(["tclsh"], input=b"auto_mkindex . *.tcl\n", cwd=library, check=True,
                       timeout=WAIT)
        with open(os.path.join(nmh.home, ".exmh", "exmh-defaults"), "w") as out:
            out.write(DEFAULTS + defaults)
        temporary = os.path.join(nmh.home, "tmp")
        os.makedirs(temporary)
        self.errors = open(os.path.join(nmh.home, "exmh.errors"), "w+b")
        self.process = subprocess.Popen(
            ["exmh"], env={**nmh.environment(), "DISPLAY": display.name, "TMPDIR": temporary},
            cwd=nmh.home, start_new_session=True, bufsize=0, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors)
        self._answer("its start")

    def _answer(self, what):
        limit = time.monotonic() + WAIT
        try:
            while True:     # what else it prints is for a terminal
                line = line_of(self.process.stdout, limit)
                if line.startswith("= "):
                    return line[2:]
        except ExmhError as error:
            self.errors.seek(0)
            raise ExmhError(f"{what}: {error}; {self.errors.read()[-2000:]!r}") from None

    def do(self, *words):
        """A command of Tcl; gives its result once exmh has done and drawn all of it."""
        command = " ".join(words)
        self.process.stdin.write((command + "\n").encode())
        result = self._answer(command)
        if result.startswith("ERROR "):
            raise ExmhError(f"{command}: {result}")
        self.process.stdin.write(b"update\n")
        self._answer("update")
        return result

    def numbers(self, command):
        return [int(word) for word in self.do(command).split()]

    def choose(self, entry):
        """An entry of a menu, by its label."""
        if self.do("Test_Invoke", "{" + entry + "}") != "1":
            raise ExmhError(f"no menu has {entry}")

    def close(self):
        self.process.stdin.close()
        stop(self.process)
        self.process.stdout.close()
        self.errors.close()


def png_of_xwd(data):
    """PNG of a dump in xwd's format, version 7, true colour, 32 bits for each pixel."""
    head = struct.unpack(">25I", data[:100])
    begin = head[0] + 12 * head[19]     # behind the header and the table of colours
    width, height, bits, line_size = head[4], head[5], head[11], head[12]
    if head[1] != 7 or bits != 32:
        raise ValueError("not a dump that Xvfb makes at depth 24")
    blue, green, red = (0, 1, 2) if head[7] == 0 else (3, 2, 1)
    rows = bytearray()
    for y in range(height):
        line = data[begin + y * line_size:begin + y * line_size + 4 * width]
        row = bytearray(3 * width)
        row[0::3], row[1::3], row[2::3] = line[red::4], line[green::4], line[blue::4]
        rows += b"\0" + row

    def chunk(kind, body):
        return (struct.pack(">I", len(body)) + kind + body
                + struct.pack(">I", zlib.crc32(kind + body)))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b""))
