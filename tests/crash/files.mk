# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Tests that kill, fail or delay the real processes at the n-th system call.
# To add a test: one line `crash_tests += tests/crash/test-<what>.py`, sorted. The pattern is in tests/support/gate.py.

crash_tests =
crash_tests += tests/crash/test-folder-races.py
crash_tests += tests/crash/test-gate.py
crash_tests += tests/crash/test-imap-kills.py
crash_tests += tests/crash/test-mark-and-store.py
crash_tests += tests/crash/test-sequences-races.py
crash_tests += tests/crash/test-soak.py
crash_tests += tests/crash/test-write-kills.py
crash_tests += tests/crash/test-write-loops.py

EXTRA_DIST += $(crash_tests)
if TESTS_ENABLED
TESTS += $(crash_tests)
endif
