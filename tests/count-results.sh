#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# count-results.sh BUILD-DIR...: sums what `make check` left in the logs of these build directories. Prints each test
# program that failed and, at the end, "N passed, N failed" over the single tests of all runners: GoogleTest's, and
# those that print such a line themselves. A program that ends badly without a count is one failure.
# With no directory it shows that it counts rightly.
set -u

count() {
  find "$@" -name '*.trs' | LC_ALL=C sort | while IFS= read -r trs; do
    log=${trs%.trs}.log
    result=$(sed -n 's/^:test-result: *\([A-Z]*\).*/\1/p' "$trs" | head -1)
    awk -v result="$result" -v name="${trs%.trs}" '
      /^\[       OK \] / { passed++ }
      /^\[  SKIPPED \] .*\([0-9]+ ms\)$/ { skipped++ }
      /^\[  FAILED  \] .*\([0-9]+ ms\)$/ { failed++ }
      /^\[==========\] / { counted = 1 }
      /^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$/ {
        counted = 1; passed = $1; failed = $3; skipped = $5
      }
      END {
        if (result != "PASS" && result != "SKIP" && failed == 0) failed++
        else if (!counted && result == "PASS") passed++
        else if (!counted && result == "SKIP") skipped++
        print passed + 0, failed + 0, skipped + 0, name, result
      }' "$log" 2>/dev/null || echo "0 1 0 ${trs%.trs} NOLOG"
  done | awk '
    { passed += $1; failed += $2; skipped += $3 }
    $2 > 0 { printf "FAILED: %s (%d of %d)\n", $4, $2, $1 + $2 }
    END {
      if (skipped > 0) printf "%d skipped\n", skipped
      printf "%d passed, %d failed\n", passed, failed
    }'
}

if [ $# -gt 0 ]; then
  count "$@" > "${TMPDIR:-/tmp}/count.$$"
  cat "${TMPDIR:-/tmp}/count.$$"
  grep -q ', 0 failed$' "${TMPDIR:-/tmp}/count.$$"
  status=$?
  rm -f "${TMPDIR:-/tmp}/count.$$"
  exit $status
fi

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
# example RESULT WANTED LINE...: a log of these lines and Automake's RESULT is counted as WANTED.
example() {
  printf ':test-result: %s\n' "$1" > "$work/t.trs"
  want=$2
  shift 2
  printf '%s\n' "$@" > "$work/t.log"
  got=$(count "$work" | tail -1)
  if [ "$got" = "$want" ]; then passed=$((passed + 1)); else
    failed=$((failed + 1)); echo "FAIL: '$*' gives $got, not $want"
  fi
}
example PASS '2 passed, 0 failed' '[       OK ] A.b (0 ms)' '[       OK ] A.c (0 ms)' '[==========] 2 tests ran.' '[  PASSED  ] 2 tests.'
example FAIL '1 passed, 1 failed' '[       OK ] A.b (0 ms)' '[  FAILED  ] A.c (3 ms)' '[==========] 2 tests ran.' '[  FAILED  ] 1 test, listed below:' '[  FAILED  ] A.c'
example FAIL '1 passed, 1 failed' '[       OK ] A.b (0 ms)' '[ RUN      ] A.c' 'Segmentation fault'
example PASS '41 passed, 0 failed' 'some words' '41 passed, 0 failed'
example PASS '4 passed, 0 failed' 'some words' '4 passed, 0 failed, 3 skipped'
example FAIL '4 passed, 3 failed' '4 passed, 3 failed'
example FAIL '4 passed, 1 failed' '4 passed, 0 failed' 'died afterwards'
example SKIP '0 passed, 0 failed' 'no such thing here'
example PASS '1 passed, 0 failed' 'a program without a count'
example ERROR '0 passed, 1 failed' 'cannot run'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
