# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Fuzz targets: each tests/fuzz/fuzz-<format>.cc defines LLVMFuzzerTestOneInput and has its seeds in
# tests/fuzz/seeds/<format>/. `make check` runs it over its seeds and some thousand random changes of them. With
# --enable-fuzzers (FUZZERS is true) `make check` only builds the libFuzzer programs; run one by hand:
#   tests/fuzz/fuzz-<format> -max_total_time=600 CORPUS tests/fuzz/seeds/<format>
# where what it finds is added to the directory CORPUS.
# To add one: its name in fuzz_programs, its lines below.

fuzz_programs = \
	tests/fuzz/fuzz-canonical-message \
	tests/fuzz/fuzz-component-text \
	tests/fuzz/fuzz-delivery-date \
	tests/fuzz/fuzz-flags \
	tests/fuzz/fuzz-journal-facts \
	tests/fuzz/fuzz-journal-line \
	tests/fuzz/fuzz-number-set \
	tests/fuzz/fuzz-private-sequences \
	tests/fuzz/fuzz-profile \
	tests/fuzz/fuzz-sequences \
	tests/fuzz/fuzz-visible-part
check_PROGRAMS += $(fuzz_programs)
EXTRA_DIST += tests/fuzz/seeds

fuzz_sources = tests/fuzz/fuzz.h
fuzz_ldadd = libmh/libmh.la
if FUZZERS
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
else
fuzz_ldflags = $(AM_LDFLAGS)
fuzz_sources += tests/fuzz/fuzz-main.cc
TESTS += $(fuzz_programs)
SANITIZED_TESTS += $(fuzz_programs)
endif

tests_fuzz_fuzz_canonical_message_SOURCES = tests/fuzz/fuzz-canonical-message.cc $(fuzz_sources)
tests_fuzz_fuzz_canonical_message_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_canonical_message_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_component_text_SOURCES = tests/fuzz/fuzz-component-text.cc $(fuzz_sources)
tests_fuzz_fuzz_component_text_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_component_text_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_delivery_date_SOURCES = tests/fuzz/fuzz-delivery-date.cc $(fuzz_sources)
tests_fuzz_fuzz_delivery_date_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_delivery_date_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_flags_SOURCES = tests/fuzz/fuzz-flags.cc $(fuzz_sources)
tests_fuzz_fuzz_flags_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_flags_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_journal_facts_SOURCES = tests/fuzz/fuzz-journal-facts.cc $(fuzz_sources)
tests_fuzz_fuzz_journal_facts_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_journal_facts_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_journal_line_SOURCES = tests/fuzz/fuzz-journal-line.cc $(fuzz_sources)
tests_fuzz_fuzz_journal_line_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_journal_line_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_number_set_SOURCES = tests/fuzz/fuzz-number-set.cc $(fuzz_sources)
tests_fuzz_fuzz_number_set_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_number_set_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_private_sequences_SOURCES = tests/fuzz/fuzz-private-sequences.cc $(fuzz_sources)
tests_fuzz_fuzz_private_sequences_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_private_sequences_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_profile_SOURCES = tests/fuzz/fuzz-profile.cc $(fuzz_sources)
tests_fuzz_fuzz_profile_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_profile_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_sequences_SOURCES = tests/fuzz/fuzz-sequences.cc $(fuzz_sources)
tests_fuzz_fuzz_sequences_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_sequences_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_visible_part_SOURCES = tests/fuzz/fuzz-visible-part.cc $(fuzz_sources)
tests_fuzz_fuzz_visible_part_LDADD = $(fuzz_ldadd)
tests_fuzz_fuzz_visible_part_LDFLAGS = $(fuzz_ldflags)

# Not a fuzz target: random sequences files, rewritten by nmh and by libmh.
check_PROGRAMS += tests/fuzz/rewrite-sequences
tests_fuzz_rewrite_sequences_SOURCES = tests/fuzz/rewrite-sequences.cc
tests_fuzz_rewrite_sequences_LDADD = libmh/libmh.la
TESTS += tests/fuzz/compare-sequences-with-nmh.py
EXTRA_DIST += tests/fuzz/compare-sequences-with-nmh.py
