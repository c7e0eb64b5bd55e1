# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Tests of the plugin inside a private Dovecot.
# To add a Python test: one line `plugin_tests += tests/plugin/test-<what>.py`, sorted.
# It finds the plugin in $top_builddir/.libs/lib20_mh_plugin.so, and the sources in $top_srcdir.

plugin_tests =
plugin_tests += tests/plugin/test-clients.py
plugin_tests += tests/plugin/test-cost.py
plugin_tests += tests/plugin/test-delivery.py
plugin_tests += tests/plugin/test-exmh.py
plugin_tests += tests/plugin/test-flags.py
plugin_tests += tests/plugin/test-foreign-writers.py
plugin_tests += tests/plugin/test-harness.py
plugin_tests += tests/plugin/test-hooks.py
plugin_tests += tests/plugin/test-hostile.py
plugin_tests += tests/plugin/test-idle.py
plugin_tests += tests/plugin/test-list.py
plugin_tests += tests/plugin/test-loss.py
plugin_tests += tests/plugin/test-many-idle.py
plugin_tests += tests/plugin/test-names.py
plugin_tests += tests/plugin/test-nmh-between-sessions.py
plugin_tests += tests/plugin/test-notify.py
plugin_tests += tests/plugin/test-read.py
plugin_tests += tests/plugin/test-real-mail.py
plugin_tests += tests/plugin/test-replication.py
plugin_tests += tests/plugin/test-samples.py
plugin_tests += tests/plugin/test-settings.py
plugin_tests += tests/plugin/test-undelete.py
plugin_tests += tests/plugin/test-watched.py
plugin_tests += tests/plugin/test-write.py

EXTRA_DIST += $(plugin_tests)
# What exmh showed at the end of its test.
CLEANFILES += tests/plugin/test-exmh.png
if TESTS_ENABLED
TESTS += $(plugin_tests)
endif
# Of these, the ones to be run with the sanitizers inside Dovecot, too.
SANITIZED_TESTS += tests/plugin/test-flags.py
SANITIZED_TESTS += tests/plugin/test-read.py
SANITIZED_TESTS += tests/plugin/test-write.py
