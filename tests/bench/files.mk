# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Benchmarks (google-benchmark, if HAVE_BENCHMARK). Not run by `make check`: add programs to EXTRA_PROGRAMS, then
# `make tests/bench/bench-<what>`.
EXTRA_DIST += tests/bench/mhsync-cost.py
EXTRA_DIST += tests/bench/push-latency.py
EXTRA_DIST += tests/bench/system-calls.py

if HAVE_BENCHMARK
EXTRA_PROGRAMS += tests/bench/bench-format
tests_bench_bench_format_SOURCES = tests/bench/bench-format.cc
tests_bench_bench_format_CPPFLAGS = $(AM_CPPFLAGS) $(BENCHMARK_CFLAGS)
tests_bench_bench_format_LDADD = libmh/libmh.la $(BENCHMARK_LIBS)

if TESTS_ENABLED
EXTRA_PROGRAMS += tests/bench/bench-store
tests_bench_bench_store_SOURCES = tests/bench/bench-store.cc
tests_bench_bench_store_CPPFLAGS = $(AM_CPPFLAGS) $(BENCHMARK_CFLAGS) $(SODIUM_CFLAGS) $(BDB_CFLAGS)
tests_bench_bench_store_LDADD = tests/support/libsupport.la libmh/libmh.la $(BENCHMARK_LIBS)
endif
endif
