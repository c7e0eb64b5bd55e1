# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The program mhsync. To add a file: one line `mhsync_mhsync_SOURCES += path`, headers too, sorted.

bin_PROGRAMS += mhsync/mhsync
mhsync_mhsync_SOURCES =
mhsync_mhsync_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS)
mhsync_mhsync_LDFLAGS = $(AM_LDFLAGS) -Wl,-z,defs
mhsync_mhsync_LDADD = libmh/libmh.la

mhsync_mhsync_SOURCES += mhsync/command.h
mhsync_mhsync_SOURCES += mhsync/exit-code.cc
mhsync_mhsync_SOURCES += mhsync/exit-code.h
mhsync_mhsync_SOURCES += mhsync/main.cc
mhsync_mhsync_SOURCES += mhsync/options.cc
mhsync_mhsync_SOURCES += mhsync/options.h
mhsync_mhsync_SOURCES += mhsync/printer.cc
mhsync_mhsync_SOURCES += mhsync/printer.h
mhsync_mhsync_SOURCES += mhsync/progress.cc
mhsync_mhsync_SOURCES += mhsync/progress.h
mhsync_mhsync_SOURCES += mhsync/reindex.cc
mhsync_mhsync_SOURCES += mhsync/signals.cc
mhsync_mhsync_SOURCES += mhsync/signals.h
mhsync_mhsync_SOURCES += mhsync/status.cc
mhsync_mhsync_SOURCES += mhsync/tree.cc
mhsync_mhsync_SOURCES += mhsync/tree.h
