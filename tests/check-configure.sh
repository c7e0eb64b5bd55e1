#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# configure must refuse a Berkeley DB other than 5.x, by its header and by the library that is really linked, and must
# say which it found.
set -u
source_dir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
CXX=${CXX:-c++}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
mkdir "$work/include" "$work/lib"
passed=0
failed=0

# example WORDS ARGUMENT...: configure with these arguments stops with these words.
example() {
  words=$1
  shift
  rm -rf "$work/build" && mkdir "$work/build"
  if (cd "$work/build" && "$source_dir/configure" --disable-tests "$@") > "$work/out" 2>&1; then
    result='it went on'
  elif grep -q "configure: error: .*$words" "$work/out"; then
    passed=$((passed + 1))
    return
  else
    result=$(grep 'error' "$work/out" || tail -3 "$work/out")
  fi
  failed=$((failed + 1))
  echo "FAIL: $* should be refused with '$words': $result"
}

for version in 4.8 6.2 18.1; do
  printf '#define DB_VERSION_MAJOR %s\n#define DB_VERSION_MINOR %s\n' ${version%.*} ${version#*.} > "$work/include/db.h"
  example "db.h is of Berkeley DB $version, but 5.x is needed" BDB_CFLAGS="-I$work/include"
done

cat > "$work/db.cc" <<'EOF'
extern "C" const char* db_version(int* major, int* minor, int* patch) {
  *major = 6;
  *minor = 2;
  *patch = 32;
  return "";
}
EOF
if $CXX -shared -fPIC -o "$work/lib/libdb-later.so" "$work/db.cc"; then
  example 'is Berkeley DB 6.2.32, but 5.x is needed' \
    BDB_LIBS="-L$work/lib -Wl,-rpath,$work/lib -ldb-later"
else
  failed=$((failed + 1))
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
