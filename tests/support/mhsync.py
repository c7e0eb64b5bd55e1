# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program mhsync beside nmh and a private Dovecot."""

import json
import os
import subprocess
import unittest

import case
import gate as gates
import runner

_staged = {}


def find_program():
    tried = [os.environ.get("abs_top_builddir"), os.environ.get("top_builddir"), "."]
    for folder in filter(None, tried):
        path = os.path.abspath(os.path.join(folder, "mhsync/mhsync"))
        if os.path.exists(path):
            return path
    return None


def prepare():
    """To be given to runner.main()."""
    case.prepare()
    program = find_program()
    if program is None:
        raise unittest.SkipTest("mhsync is not built")
    _staged["mhsync"] = runner.stage(program)
    gate = gates.find_library()
    if gate is not None and not gates.is_sanitized(program):
        _staged["gate"] = runner.stage(gate)


class MhsyncCase(case.MhTestCase):
    def start(self, *arguments, env=None):
        return subprocess.Popen([_staged["mhsync"], *arguments],
                                env={**self.nmh.environment(), **(env or {})}, cwd=self.home,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def program(self):
        return _staged["mhsync"]

    def run_mhsync(self, *arguments, env=None):
        """(exit code, standard output, standard error)"""
        process = self.start(*arguments, env=env)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def mhsync(self, *arguments, code=0):
        """Standard output of a run that ends with this code."""
        got, out, err = self.run_mhsync(*arguments)
        self.assertEqual(got, code, f"mhsync {' '.join(arguments)}\n{out}{err}")
        return out

    def mhsync_json(self, *arguments, code=0):
        """The objects of a run with --json."""
        return [json.loads(line) for line in self.mhsync("--json", *arguments, code=code).split("\n")
                if line]

    def gate(self, ahead=0):
        if "gate" not in _staged:
            self.skipTest("the gate is not built, or a sanitizer stands in its way")
        return gates.Gate(os.path.join(self.home, "gate"), root=self.root,
                          library=_staged["gate"], comm="mhsync", ahead=ahead)

    def files(self, folder="inbox"):
        """{name: (bytes, mtime, mode)} of all messages in a folder."""
        found = {}
        for number in self.nmh.numbers(folder):
            path = self.nmh.file(folder, number)
            stat = os.stat(path)
            with open(path, "rb") as content:
                found[number] = (content.read(), stat.st_mtime_ns, stat.st_mode)
        return found
