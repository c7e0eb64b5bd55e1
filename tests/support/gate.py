# SPDX-License-Identifier: LGPL-2.1-or-later
"""libmhgate.so for tests: real processes stopped, killed and failed at each of their calls.

    gate = Gate(directory, root=tree, comm="imap")      # before a server starts: gate.environment()
    for point in gate.every_point(prepare, work, KILL + TORN): check what is left after `point`

The gate itself is described in gate.cc. It is told what to do by a file, which a running process
reads anew when it changes; each arm() starts the counts and the trace anew.
"""

import collections
import os
import subprocess
import time

Call = collections.namedtuple("Call", "pid comm n name path")

KILL = ("kill",)
TORN = ("torn 1", "torn half", "torn last")     # of writes only
FAIL = tuple(f"fail {error}{often}" for error in ("ENOSPC", "EIO", "EDQUOT")
             for often in ("", ":sticky"))
INTERRUPT = ("fail EINTR", "short")

WRITES = ("write", "pwrite", "writev", "pwritev", "copy_file_range", "sendfile")


def find_library():
    """The built libmhgate.so, or None. To be staged, as an ordinary account may not reach it."""
    tried = [os.environ.get("abs_top_builddir"), os.environ.get("top_builddir"), ".",
             os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")]
    return _first("tests/support/.libs/libmhgate.so", tried)


def find_actor():
    tried = [os.environ.get("abs_top_builddir"), os.environ.get("top_builddir"), "."]
    return _first("tests/support/actor", tried)


def is_sanitized(program):
    return "libasan" in subprocess.run(["ldd", program], capture_output=True, text=True).stdout


def _first(name, folders):
    for folder in filter(None, folders):
        path = os.path.abspath(os.path.join(folder, name))
        if os.path.exists(path):
            return path
    return None


class Point:
    """Where a run was stopped: the action, the call it hit and its number."""

    def __init__(self, action, call, result):
        self.action, self.call, self.n, self.result = action, call, call.n, result

    def __repr__(self):
        return f"{self.action} at {self.n}: {self.call.name} {self.call.path}"


class Gate:
    """`directory` takes the gate's own files and must not be below `root`."""

    def __init__(self, directory, root, library, comm=None, locks=False, ahead=0):
        os.makedirs(directory, exist_ok=True)
        self.control = os.path.join(directory, "control")
        self.trace = os.path.join(directory, "trace")
        self.meeting = os.path.join(directory, "meeting")
        self.library = library
        self.root, self.comm, self.locks = os.path.realpath(root), comm, locks
        self.ahead = ahead      # seconds, of the clock of the day
        self._generation = 0
        self.arm()

    def environment(self, base=None):
        """For a process or, as `env`, for a private Dovecot."""
        preload = ":".join(filter(None, [(base or {}).get("LD_PRELOAD"), self.library]))
        return {**(base or {}), "LD_PRELOAD": preload, "MHGATE_CONTROL": self.control}

    def arm(self, **actions):
        """arm(kill_at=3, fail_at="pwrite/2:ENOSPC"); without actions the calls are only counted."""
        for name in (self.trace, self.meeting + ".reached", self.meeting + ".go"):
            if os.path.exists(name):
                os.unlink(name)
        self._generation += 1
        lines = [f"ROOT={self.root}", f"TRACE={self.trace}", f"LOCKS={int(self.locks)}",
                 f"GENERATION={self._generation}", f"AHEAD={self.ahead}"]
        if self.comm:
            lines.append(f"COMM={self.comm}")
        lines += [f"{name.upper()}={value}" for name, value in actions.items()]
        with open(self.control + ".new", "w") as out:
            out.write("\n".join(lines) + "\n")
        os.rename(self.control + ".new", self.control)

    def calls(self):
        """Since the last arm()."""
        if not os.path.exists(self.trace):
            return []
        with open(self.trace, errors="surrogateescape") as lines:
            fields = [line.rstrip("\n").split(" ", 4) for line in lines]
        return [Call(int(f[0]), f[1], int(f[2]), f[3], f[4]) for f in fields]

    # -- one process held at a call while others work --------------------------------------------

    def hold_at(self, where):
        self.arm(wait_at=f"{where}:{self.meeting}")

    def wait_until_held(self, process=None, timeout=60):
        """False when the process (a Popen) ended without coming there."""
        limit = time.monotonic() + timeout
        while not os.path.exists(self.meeting + ".reached"):
            if process is not None and process.poll() is not None:
                return False
            if time.monotonic() > limit:
                raise TimeoutError("nobody came to the gate")
            time.sleep(0.002)
        return True

    def go(self):
        with open(self.meeting + ".go", "w"):
            pass

    # -- every call in turn ----------------------------------------------------------------------

    def count(self, prepare, work):
        """The calls of an undisturbed run."""
        prepare()
        self.arm()
        work()
        return self.calls()

    def every_point(self, prepare, work, actions=KILL + TORN):
        """Runs prepare() and work() for each action at each call of an undisturbed run, and
        yields the Point with what work() returned; the gate is open again by then. The caller
        checks what is on disk, makes the next use that is to repair it, and checks again."""
        reference = self.count(prepare, work)
        if not reference:
            raise AssertionError("the gate saw no call: is it loaded, is the root right?")
        for action in actions:
            for call in reference:
                armed = self._action_at(action, call)
                if armed is None:
                    continue
                prepare()
                self.arm(**armed)
                result = work()
                self.arm()
                yield Point(action, call, result)

    @staticmethod
    def _action_at(action, call):
        word, _, what = action.partition(" ")
        if word == "kill":
            return {"kill_at": call.n}
        if word == "fail":
            return {"fail_at": f"{call.n}:{what}"}
        if call.name not in WRITES:
            return None
        if word == "short":
            return {"short_at": f"{call.n}:1"}
        return {"torn_at": f"{call.n}:{what}"}
