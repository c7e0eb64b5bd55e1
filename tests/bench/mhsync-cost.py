#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What mhsync costs on a big folder, beside tools that read or rename as many files.

  make && python3 tests/bench/mhsync-cost.py [MESSAGES] [MHSYNC]

Makes a tree of so many messages (100,000) in a temporary directory (TMPDIR; it should be a disk) and
prints for each step: seconds, messages per second, what its calls have read and written, what went
to the disk, and the peak of memory. Called by root it works as nobody. Commands that this mhsync,
or this machine, does not have are left out. The goal for memory is 20 MB and 200 bytes a message.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
HERE = os.path.dirname(os.path.abspath(__file__))
OLD = 1_234_500_000
TEXT = "This is a line of the body of a message, and there are some of them.\n" * 20


def find_program():
    tried = [sys.argv[2] if len(sys.argv) > 2 else "", "mhsync/mhsync", "_build/mhsync/mhsync",
             os.path.join(HERE, "../../_build/mhsync/mhsync")]
    return next(os.path.abspath(path) for path in tried if path and os.path.exists(path))


def become_nobody(directory):
    if os.getuid() != 0:
        return
    account = pwd.getpwnam("nobody")
    os.chown(directory, account.pw_uid, account.pw_gid)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def make_tree(home):
    """One folder; a gap at its front and one of fifty messages a copy of its neighbour."""
    inbox = os.path.join(home, "Mail", "inbox")
    os.makedirs(inbox)
    with open(os.path.join(home, ".mh_profile"), "w") as profile:
        profile.write("Path: Mail\nUnseen-Sequence: unseen\n")
    for n in range(2, COUNT + 2):
        same = n - 1 if n % 50 == 0 else n
        path = os.path.join(inbox, str(n))
        with open(path, "w") as message:
            message.write(f"From: alice@example.org\nTo: bob@example.org\nSubject: message {same}\n"
                          "Date: Thu, 1 Jan 2009 00:00:00 +0000\n"
                          f"Message-ID: <m{same}@example.org>\n\n{TEXT}{same}\n")
        os.utime(path, (OLD + n, OLD + n))


def accounts(pid):
    """What a process has done so far, and its peak of memory; nothing when it has ended."""
    found = {}
    for name in ("io", "status"):
        try:
            with open(f"/proc/{pid}/{name}") as lines:
                for line in lines:
                    key, _, value = line.partition(":")
                    if key in ("rchar", "wchar", "write_bytes", "VmHWM"):
                        found[key] = int(value.split()[0])
        except OSError:
            pass
    return found


def measure(what, command, home):
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               env={"HOME": home, "PATH": "/usr/bin/mh:/usr/bin:/bin", "LC_ALL": "C"})
    last = {}
    while True:     # all of these only grow, so the last look tells
        last.update(accounts(process.pid))
        try:
            process.wait(0.005)
            break
        except subprocess.TimeoutExpired:
            pass
    took = time.monotonic() - began
    if process.returncode not in (0, 1):
        print(f"{what}: failed with {process.returncode}", flush=True)
        return

    def megabytes(name, unit):
        return f"{last[name] / unit:9.1f}" if name in last else "        ?"
    print(f"{what:34} {took:7.1f} s {COUNT / took:9.0f}/s {megabytes('rchar', 1e6)} "
          f"{megabytes('wchar', 1e6)} {megabytes('write_bytes', 1e6)} {megabytes('VmHWM', 1024)}",
          flush=True)


def main():
    source = find_program()
    scratch = tempfile.mkdtemp(prefix="mhsync-cost-")
    os.chmod(scratch, 0o755)
    program = shutil.copy2(source, os.path.join(scratch, "mhsync"))
    become_nobody(scratch)
    home = os.path.join(scratch, "home")
    make_tree(home)
    options = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
    tree = os.path.join(home, "Mail")
    print(f"{COUNT} messages of {os.path.getsize(os.path.join(tree, 'inbox', '2'))} bytes; MB read and "
          "written by calls, written to the disk, peak of memory")
    try:
        measure("cp -r", ["cp", "-r", tree, os.path.join(scratch, "copy")], home)
        if shutil.which("folder", path="/usr/bin/mh:/usr/bin"):
            copied = os.path.join(scratch, "nmh")
            shutil.copytree(home, copied)
            measure("folder -pack", ["folder", "+inbox", "-pack"], copied)
            shutil.rmtree(copied)
        if shutil.which("fdupes"):
            measure("fdupes -rq", ["fdupes", "-rq", tree], home)
        measure("mhsync reindex, unadopted", [program, "-q", "reindex", "+inbox"], home)
        measure("mhsync reindex, adopted", [program, "-q", "reindex", "+inbox"], home)
        measure("mhsync check", [program, "-q", "check", "+inbox"], home)
        if "  dedup " in options:
            measure("mhsync --dry-run dedup --by exact",
                    [program, "-q", "--dry-run", "dedup", "--by", "exact", "+inbox"], home)
        if "  pack " in options:
            measure("mhsync pack, a gap at the front", [program, "-q", "pack", "+inbox"], home)
        measure("mhsync status", [program, "-q", "status", "+inbox"], home)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
