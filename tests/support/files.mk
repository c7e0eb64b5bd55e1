# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What several tests share: C++ goes into a library that every GoogleTest program links
# (`tests_support_libsupport_la_SOURCES += path`, sorted), Python modules and data into EXTRA_DIST.

if TESTS_ENABLED
check_LTLIBRARIES += tests/support/libsupport.la
tests_support_libsupport_la_SOURCES =
tests_support_libsupport_la_CPPFLAGS = $(AM_CPPFLAGS) $(GTEST_CFLAGS) $(SODIUM_CFLAGS) $(BDB_CFLAGS)
tests_support_libsupport_la_SOURCES += tests/support/child.cc
tests_support_libsupport_la_SOURCES += tests/support/child.h
tests_support_libsupport_la_SOURCES += tests/support/crash-case.cc
tests_support_libsupport_la_SOURCES += tests/support/crash-case.h
tests_support_libsupport_la_SOURCES += tests/support/fault-fs.cc
tests_support_libsupport_la_SOURCES += tests/support/fault-fs.h
tests_support_libsupport_la_SOURCES += tests/support/folder-actions.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-actions.h
tests_support_libsupport_la_SOURCES += tests/support/folder-cases.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-cases.h
tests_support_libsupport_la_SOURCES += tests/support/folder-checks.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-checks.h
tests_support_libsupport_la_SOURCES += tests/support/folder-client.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-client.h
tests_support_libsupport_la_SOURCES += tests/support/folder-model.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-model.h
tests_support_libsupport_la_SOURCES += tests/support/folder-test.cc
tests_support_libsupport_la_SOURCES += tests/support/folder-test.h
tests_support_libsupport_la_SOURCES += tests/support/journal-test.h
tests_support_libsupport_la_SOURCES += tests/support/killed-child.cc
tests_support_libsupport_la_SOURCES += tests/support/killed-child.h
tests_support_libsupport_la_SOURCES += tests/support/power-loss-fs.cc
tests_support_libsupport_la_SOURCES += tests/support/power-loss-fs.h
tests_support_libsupport_la_SOURCES += tests/support/reconcile-world.cc
tests_support_libsupport_la_SOURCES += tests/support/reconcile-world.h
tests_support_libsupport_la_SOURCES += tests/support/simulated-folder.cc
tests_support_libsupport_la_SOURCES += tests/support/simulated-folder.h
tests_support_libsupport_la_SOURCES += tests/support/temp-dir.cc
tests_support_libsupport_la_SOURCES += tests/support/temp-dir.h

# Loaded into other people's programs: no sanitizer, and nothing of the C++ library. Without -rpath
# libtool would make it static.
check_LTLIBRARIES += tests/support/libmhgate.la
tests_support_libmhgate_la_SOURCES = tests/support/gate.cc
tests_support_libmhgate_la_CXXFLAGS = -Wall -Wextra -Wshadow -fno-exceptions -fno-rtti -fno-threadsafe-statics
tests_support_libmhgate_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_builddir) -Wl,--as-needed
tests_support_libmhgate_la_LIBADD = -ldl

# What tests let play against other programs: a process that writes sequences as libmh does, and worse.
check_PROGRAMS += tests/support/actor
tests_support_actor_SOURCES = tests/support/actor.cc
tests_support_actor_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS)
tests_support_actor_LDADD = libmh/libmh.la
endif

EXTRA_DIST += tests/support/case.py
EXTRA_DIST += tests/support/corpus.py
EXTRA_DIST += tests/support/exmh.py
EXTRA_DIST += tests/support/gate.py
EXTRA_DIST += tests/support/gated.py
EXTRA_DIST += tests/support/history.py
EXTRA_DIST += tests/support/imap_client.py
EXTRA_DIST += tests/support/mail_maker.py
EXTRA_DIST += tests/support/mhsync.py
EXTRA_DIST += tests/support/mutate-reconcile.py
EXTRA_DIST += tests/support/nmh.py
EXTRA_DIST += tests/support/private_dovecot.py
EXTRA_DIST += tests/support/runner.py
EXTRA_DIST += tests/support/twisted_client.py
EXTRA_DIST += tests/support/watched.py
