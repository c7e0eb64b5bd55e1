# SPDX-License-Identifier: LGPL-2.1-or-later
#
# libmh: the MH folder as a library. Not installed; the plugin and the programs link it in.
# To add a file: one line `libmh_libmh_la_SOURCES += path` in the block of its layer, headers too, sorted.

noinst_LTLIBRARIES += libmh/libmh.la
libmh_libmh_la_SOURCES =
libmh_libmh_la_CPPFLAGS = $(AM_CPPFLAGS) $(BDB_CFLAGS) $(SODIUM_CFLAGS)
libmh_libmh_la_CXXFLAGS = $(AM_CXXFLAGS) -Wconversion
libmh_libmh_la_LIBADD = $(BDB_LIBS) $(SODIUM_LIBS)

libmh_libmh_la_SOURCES += libmh/result.cc
libmh_libmh_la_SOURCES += libmh/result.h

# format
libmh_libmh_la_SOURCES += libmh/format/canonical-message.cc
libmh_libmh_la_SOURCES += libmh/format/canonical-message.h
libmh_libmh_la_SOURCES += libmh/format/component-text.cc
libmh_libmh_la_SOURCES += libmh/format/component-text.h
libmh_libmh_la_SOURCES += libmh/format/delivery-date.cc
libmh_libmh_la_SOURCES += libmh/format/delivery-date.h
libmh_libmh_la_SOURCES += libmh/format/fingerprint.cc
libmh_libmh_la_SOURCES += libmh/format/fingerprint.h
libmh_libmh_la_SOURCES += libmh/format/flags.cc
libmh_libmh_la_SOURCES += libmh/format/flags.h
libmh_libmh_la_SOURCES += libmh/format/journal-line.cc
libmh_libmh_la_SOURCES += libmh/format/journal-line.h
libmh_libmh_la_SOURCES += libmh/format/number-set.cc
libmh_libmh_la_SOURCES += libmh/format/number-set.h
libmh_libmh_la_SOURCES += libmh/format/private-sequences.cc
libmh_libmh_la_SOURCES += libmh/format/private-sequences.h
libmh_libmh_la_SOURCES += libmh/format/profile.cc
libmh_libmh_la_SOURCES += libmh/format/profile.h
libmh_libmh_la_SOURCES += libmh/format/sequences.cc
libmh_libmh_la_SOURCES += libmh/format/sequences.h
libmh_libmh_la_SOURCES += libmh/format/tag-line.cc
libmh_libmh_la_SOURCES += libmh/format/tag-line.h
libmh_libmh_la_SOURCES += libmh/format/text.h
libmh_libmh_la_SOURCES += libmh/format/visible-part.cc
libmh_libmh_la_SOURCES += libmh/format/visible-part.h

# system
libmh_libmh_la_SOURCES += libmh/system/filename.cc
libmh_libmh_la_SOURCES += libmh/system/filename.h
libmh_libmh_la_SOURCES += libmh/system/folder-lock.cc
libmh_libmh_la_SOURCES += libmh/system/folder-lock.h
libmh_libmh_la_SOURCES += libmh/system/fs.cc
libmh_libmh_la_SOURCES += libmh/system/fs.h
libmh_libmh_la_SOURCES += libmh/system/path-watch.cc
libmh_libmh_la_SOURCES += libmh/system/path-watch.h
libmh_libmh_la_SOURCES += libmh/system/posix-fs.cc
libmh_libmh_la_SOURCES += libmh/system/posix-fs.h
libmh_libmh_la_SOURCES += libmh/system/sequences-file.cc
libmh_libmh_la_SOURCES += libmh/system/sequences-file.h
libmh_libmh_la_SOURCES += libmh/system/waiting.cc
libmh_libmh_la_SOURCES += libmh/system/waiting.h

# store
libmh_libmh_la_SOURCES += libmh/store/bdb-store.cc
libmh_libmh_la_SOURCES += libmh/store/index-seal.cc
libmh_libmh_la_SOURCES += libmh/store/index-seal.h
libmh_libmh_la_SOURCES += libmh/store/journal-facts.cc
libmh_libmh_la_SOURCES += libmh/store/journal-facts.h
libmh_libmh_la_SOURCES += libmh/store/journal.cc
libmh_libmh_la_SOURCES += libmh/store/journal.h
libmh_libmh_la_SOURCES += libmh/store/memory-store.cc
libmh_libmh_la_SOURCES += libmh/store/random.cc
libmh_libmh_la_SOURCES += libmh/store/random.h
libmh_libmh_la_SOURCES += libmh/store/record-bytes.cc
libmh_libmh_la_SOURCES += libmh/store/record-bytes.h
libmh_libmh_la_SOURCES += libmh/store/record.h
libmh_libmh_la_SOURCES += libmh/store/records.cc
libmh_libmh_la_SOURCES += libmh/store/records.h
libmh_libmh_la_SOURCES += libmh/store/renumbering.cc
libmh_libmh_la_SOURCES += libmh/store/renumbering.h
libmh_libmh_la_SOURCES += libmh/store/state-file.cc
libmh_libmh_la_SOURCES += libmh/store/state-file.h
libmh_libmh_la_SOURCES += libmh/store/store.h

# folder
libmh_libmh_la_SOURCES += libmh/folder/adopt.cc
libmh_libmh_la_SOURCES += libmh/folder/adopt.h
libmh_libmh_la_SOURCES += libmh/folder/dedup-flags.cc
libmh_libmh_la_SOURCES += libmh/folder/dedup-flags.h
libmh_libmh_la_SOURCES += libmh/folder/dedup-share.cc
libmh_libmh_la_SOURCES += libmh/folder/dedup.cc
libmh_libmh_la_SOURCES += libmh/folder/dedup.h
libmh_libmh_la_SOURCES += libmh/folder/evidence.cc
libmh_libmh_la_SOURCES += libmh/folder/evidence.h
libmh_libmh_la_SOURCES += libmh/folder/flag-merge.cc
libmh_libmh_la_SOURCES += libmh/folder/flag-merge.h
libmh_libmh_la_SOURCES += libmh/folder/folder-adopt.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-dedup.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-files.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-flags.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-guard.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-hold.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-impl.h
libmh_libmh_la_SOURCES += libmh/folder/folder-message.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-pending.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-order.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-pack.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-private.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-remove.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-save.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-recovery.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-untold.cc
libmh_libmh_la_SOURCES += libmh/folder/folder-tidy.cc
libmh_libmh_la_SOURCES += libmh/folder/folder.cc
libmh_libmh_la_SOURCES += libmh/folder/folder.h
libmh_libmh_la_SOURCES += libmh/folder/identity.cc
libmh_libmh_la_SOURCES += libmh/folder/identity.h
libmh_libmh_la_SOURCES += libmh/folder/import.cc
libmh_libmh_la_SOURCES += libmh/folder/import.h
libmh_libmh_la_SOURCES += libmh/folder/inspect.cc
libmh_libmh_la_SOURCES += libmh/folder/inspect.h
libmh_libmh_la_SOURCES += libmh/folder/new-message.cc
libmh_libmh_la_SOURCES += libmh/folder/new-message.h
libmh_libmh_la_SOURCES += libmh/folder/nmh-user.cc
libmh_libmh_la_SOURCES += libmh/folder/nmh-user.h
libmh_libmh_la_SOURCES += libmh/folder/overwritten.cc
libmh_libmh_la_SOURCES += libmh/folder/overwritten.h
libmh_libmh_la_SOURCES += libmh/folder/orphans.cc
libmh_libmh_la_SOURCES += libmh/folder/orphans.h
libmh_libmh_la_SOURCES += libmh/folder/probe.cc
libmh_libmh_la_SOURCES += libmh/folder/probe.h
libmh_libmh_la_SOURCES += libmh/folder/reconcile.cc
libmh_libmh_la_SOURCES += libmh/folder/reconcile.h
libmh_libmh_la_SOURCES += libmh/folder/renumber.cc
libmh_libmh_la_SOURCES += libmh/folder/renumber.h
libmh_libmh_la_SOURCES += libmh/folder/returning.cc
libmh_libmh_la_SOURCES += libmh/folder/returning.h
libmh_libmh_la_SOURCES += libmh/folder/root.cc
libmh_libmh_la_SOURCES += libmh/folder/root.h
libmh_libmh_la_SOURCES += libmh/folder/scan.cc
libmh_libmh_la_SOURCES += libmh/folder/scan.h
libmh_libmh_la_SOURCES += libmh/folder/state-root.cc
libmh_libmh_la_SOURCES += libmh/folder/state-root.h
