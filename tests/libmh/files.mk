# SPDX-License-Identifier: LGPL-2.1-or-later
#
# GoogleTest programs of libmh, one per layer so that they compile and link quickly.
# To add a test: one line `tests_libmh_test_<layer>_SOURCES += tests/libmh/<layer>/test-<file>.cc` in its block, sorted.
# tests/support is linked into all of them.

if TESTS_ENABLED
libmh_test_programs = \
	tests/libmh/test-format \
	tests/libmh/test-system \
	tests/libmh/test-store \
	tests/libmh/test-folder
check_PROGRAMS += $(libmh_test_programs)
TESTS += $(libmh_test_programs)
SANITIZED_TESTS += $(libmh_test_programs)

libmh_test_cppflags = $(AM_CPPFLAGS) $(GTEST_CFLAGS) $(SODIUM_CFLAGS) $(BDB_CFLAGS)
libmh_test_ldadd = tests/support/libsupport.la libmh/libmh.la $(GTEST_LIBS)

# format
tests_libmh_test_format_SOURCES =
tests_libmh_test_format_CPPFLAGS = $(libmh_test_cppflags)
tests_libmh_test_format_LDADD = $(libmh_test_ldadd)
tests_libmh_test_format_SOURCES += tests/libmh/format/test-canonical-message.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-component-text.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-delivery-date.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-fingerprint.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-flags.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-journal-line.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-number-set.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-private-sequences.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-profile.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-sequences.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-tag-line.cc
tests_libmh_test_format_SOURCES += tests/libmh/format/test-visible-part.cc
tests_libmh_test_format_SOURCES += tests/libmh/test-result.cc

# system
tests_libmh_test_system_SOURCES =
tests_libmh_test_system_CPPFLAGS = $(libmh_test_cppflags)
tests_libmh_test_system_LDADD = $(libmh_test_ldadd)
tests_libmh_test_system_SOURCES += tests/libmh/system/test-crash.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-filename.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-folder-lock.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-fs.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-path-watch.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-posix-fs.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-power-loss-fs.cc
tests_libmh_test_system_SOURCES += tests/libmh/system/test-sequences-file.cc

# store
tests_libmh_test_store_SOURCES =
nodist_EXTRA_tests_libmh_test_store_SOURCES = linked-as-cxx.cc
tests_libmh_test_store_CPPFLAGS = $(libmh_test_cppflags)
tests_libmh_test_store_LDADD = $(libmh_test_ldadd)
tests_libmh_test_store_SOURCES += tests/libmh/store/test-bdb-store.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-index-seal.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-journal-facts.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-journal-faults.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-journal-power-loss.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-journal.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-record-bytes.cc
tests_libmh_test_store_SOURCES += tests/libmh/store/test-store.cc

# folder
tests_libmh_test_folder_SOURCES =
tests_libmh_test_folder_CPPFLAGS = $(libmh_test_cppflags)
tests_libmh_test_folder_LDADD = $(libmh_test_ldadd)
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-dedup.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-flag-merge.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder-crash.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder-faults.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder-repairs.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder-hold.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder-private.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-folder.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-overwritten.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-pending.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-pack.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-parts.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-probe.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-reconcile-model.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-reconcile.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-remove.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-renumber.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-root.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-save.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-scan.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-two-mounts.cc
tests_libmh_test_folder_SOURCES += tests/libmh/folder/test-untag.cc
endif
