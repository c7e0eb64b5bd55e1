# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Tests of the program mhsync beside nmh and a private Dovecot.
# To add a Python test: one line `mhsync_tests += tests/mhsync/test-<what>.py`, sorted.

mhsync_tests =
mhsync_tests += tests/mhsync/test-check.py
mhsync_tests += tests/mhsync/test-dedup.py
mhsync_tests += tests/mhsync/test-docs.py
mhsync_tests += tests/mhsync/test-import.py
mhsync_tests += tests/mhsync/test-pack.py
mhsync_tests += tests/mhsync/test-reindex.py

EXTRA_DIST += $(mhsync_tests)
if TESTS_ENABLED
TESTS += $(mhsync_tests)
endif
