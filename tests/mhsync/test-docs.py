#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""--help, the man page and the completion name the same commands, options and exit codes."""

import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import mhsync  # noqa: E402
import runner  # noqa: E402

SOURCES = os.path.abspath(os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", "..")))


def read(name):
    with open(os.path.join(SOURCES, "mhsync", name), encoding="utf-8") as text:
        return text.read()


def options_in(text):
    return set(re.findall(r"--[a-z][a-z-]*", text))


class Documents(unittest.TestCase):
    def setUp(self):
        self.program = mhsync.find_program()
        if self.program is None:
            self.skipTest("mhsync is not built")
        self.general = self.help()
        commands = self.general.split("Subcommands:")[1]
        self.commands = re.findall(r"^  ([a-z][a-z-]*) ", commands, re.M)

    def help(self, *command):
        done = subprocess.run([self.program, *command, "--help"], stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def man(self):
        return read("mhsync.1").replace("\\-", "-")

    def test_the_man_page_names_all_commands_and_options_and_no_others(self):
        every = options_in(self.general).union(*(options_in(self.help(c)) for c in self.commands))
        self.assertEqual(options_in(self.man()), every)
        described = set(re.findall(r"^\.TP\n\.B ([a-z-]+)$", self.man().split(".SH OPTIONS")[0], re.M))
        self.assertEqual(described, set(self.commands))

    def test_the_man_page_has_the_table_of_exit_codes(self):
        table = self.man().split(".SH EXIT STATUS")[1].split(".SH ")[0]
        self.assertEqual(re.findall(r"^\.B (\d+)$", table, re.M),
                         re.findall(r"= (\d+),", read("exit-code.h")))

    def test_the_man_page_has_no_fault(self):
        if shutil.which("man") is None:
            self.skipTest("man is not installed")
        done = subprocess.run(["man", "--warnings", "-l", os.path.join(SOURCES, "mhsync/mhsync.1")],
                              env={**os.environ, "MANWIDTH": "80", "MANROFFSEQ": "", "LC_ALL": "C"},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("EXIT STATUS", done.stdout)

    def complete(self, *words):
        script = ('source "$1"; shift; COMP_WORDS=(mhsync "$@"); COMP_CWORD=$#; _mhsync; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "-", os.path.join(SOURCES, "mhsync/mhsync.bash"),
                               *words], stdout=subprocess.PIPE, check=True, text=True)
        return set(done.stdout.split())

    def test_the_completion_offers_what_help_names(self):
        self.assertEqual(self.complete(""), set(self.commands))
        self.assertEqual(self.complete("--"), options_in(self.general))
        for command in self.commands:
            self.assertEqual(self.complete(command, "--"),
                             options_in(self.general) | options_in(self.help(command)), command)

    def complete_fish(self, *words):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        script = "source $argv[1]; complete -C \"mhsync $argv[2]\""
        done = subprocess.run(["fish", "--no-config", "-c", script,
                               os.path.join(SOURCES, "mhsync/mhsync.fish"), " ".join(words)],
                              stdout=subprocess.PIPE, check=True, text=True,
                              env={**os.environ, "HOME": "/nonexistent"})
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    def test_the_completion_for_fish_offers_what_help_names(self):
        self.assertEqual(self.complete_fish(""), set(self.commands))
        self.assertEqual(options_in(" ".join(self.complete_fish("--"))), options_in(self.general))
        for command in self.commands:
            self.assertEqual(options_in(" ".join(self.complete_fish(command, "--"))),
                             options_in(self.general) | options_in(self.help(command)), command)
        self.assertEqual(self.complete_fish("import-uids", "--from", ""), {"asimap", "mailutils"})

    def complete_zsh(self, *words):
        """What is given to _arguments, which reads a terminal otherwise."""
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        script = ('_arguments() { print -rl -- "$@"; }; file=$1; shift; words=(mhsync "$@"); '
                  'CURRENT=$#words; source $file')
        done = subprocess.run(["zsh", "-f", "-c", script, "-",
                               os.path.join(SOURCES, "mhsync/mhsync.zsh"), *words],
                              stdout=subprocess.PIPE, check=True, text=True)
        return done.stdout

    def zsh_options(self, *words):
        given = re.findall(r"^(?:\([^)]*\))?(--[a-z-]+)\[", self.complete_zsh(*words), re.M)
        return set(given)

    def test_the_completion_for_zsh_offers_what_help_names(self):
        self.assertEqual(set(re.findall(r"([a-z-]+)\\?:\"", self.complete_zsh(""))), set(self.commands))
        self.assertEqual(self.zsh_options("--"), options_in(self.general))
        for command in self.commands:
            self.assertEqual(self.zsh_options(command, "--"),
                             options_in(self.general) | options_in(self.help(command)), command)


if __name__ == "__main__":
    runner.main()
