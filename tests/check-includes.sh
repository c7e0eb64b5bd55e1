#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Holds the direction of dependencies, read from the include lines, and the rule that only libmh/system makes
# system calls:
#
#   format  <-  system  <-  store  <-  folder  <-  plugin | mhsync  <-  tests
#
# First the check is shown one violation of each rule and must see it, then it reads the tree.
set -u
root=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

# Prints one line per violation below directory $1.
violations() {
  (cd "$1" && find libmh plugin mhsync tests -name '*.h' -o -name '*.cc' 2>/dev/null | LC_ALL=C sort) |
  (cd "$1" && xargs -r awk '
    function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
    # What can compute but not reach outside the process.
    function pure(name) {
      return name ~ /^(algorithm|array|atomic|bit|bitset|cassert|cctype|cerrno|charconv|chrono|cinttypes|climits|compare|concepts|cstddef|cstdint|cstdlib|cstring|ctime|deque|exception|functional|initializer_list|iterator|limits|list|map|memory|new|numeric|optional|queue|random|ranges|set|span|stack|string|string_view|tuple|type_traits|unordered_map|unordered_set|utility|variant|vector|version|tl\/expected\.hpp|xxhash\.h|sodium\.h)$/
    }
    # Constants and types that the calls of Fs take.
    function constants(name) { return name ~ /^(fcntl\.h|sys\/types\.h|sys\/stat\.h)$/ }
    FNR == 1 {
      layer = FILENAME
      in_tests = sub(/^tests\//, "", layer)
      if (layer ~ /^libmh\/(format|system|store|folder)\//) {
        sub(/^libmh\//, "", layer); sub(/\/.*/, "", layer)
      } else {
        sub(/\/.*/, "", layer)
      }
      pragma = 0
      if ($0 != "// SPDX-License-Identifier: LGPL-2.1-or-later") bad("the first line is not the SPDX line")
      name = FILENAME; sub(/.*\//, "", name)
      if (name !~ /^[a-z0-9]+(-[a-z0-9]+)*\.(h|cc)$/) bad("the name is not kebab-case")
    }
    /^[ \t]*#[ \t]*include/ {
      target = $0
      sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target)
      system_header = target ~ /^</
      sub(/^[<"]/, "", target); sub(/[>"].*/, "", target)

      if (target ~ /(^|\/)\.\.?\//) bad("not written from the root: " target)
      if (target == "db.h" && FILENAME != "libmh/store/bdb-store.cc")
        bad("<db.h> only in libmh/store/bdb-store.cc")
      if (target ~ /^(iostream|fstream|filesystem)$/ && !in_tests && layer != "mhsync")
        bad("neither printing nor files by streams: " target)
      if (target ~ /^CLI\// && FILENAME != "mhsync/options.cc") bad("CLI11 only in mhsync/options.cc")

      rank["libmh"] = 0; rank["format"] = 1; rank["system"] = 2; rank["store"] = 3; rank["folder"] = 4
      if (!system_header && (layer in rank)) {
        other = target
        if (other ~ /^libmh\/(format|system|store|folder)\//) { sub(/^libmh\//, "", other); sub(/\/.*/, "", other) }
        else if (other ~ /^libmh\/[^\/]*$/) other = "libmh"
        else if (in_tests && other ~ /^tests\/support\//) other = "libmh"
        else other = "outside"
        if (other == "outside") bad("libmh includes from libmh/ alone: " target)
        else if (rank[other] > rank[layer]) bad("an arrow back, from " layer " to " other ": " target)
      }
      if (system_header && !in_tests) {
        if ((layer == "libmh" || layer == "format") && !pure(target))
          bad("no header that can reach outside the process: " target)
        if ((layer == "store" || layer == "folder") && !pure(target) && !constants(target) && target != "db.h")
          bad("only libmh/system makes system calls: " target)
      }
      if (layer == "system" && !system_header && target !~ /^(libmh|tests)\//)
        bad("not from libmh/: " target)
      # The settings files see what only one version of Dovecot has.
      if (layer == "plugin" && !in_tests && FILENAME !~ /^plugin\/(dovecot\.h|mh-settings-2[34]\.cc)$/) {
        if (!system_header && target !~ /^(plugin|libmh)\// && target != "mh-config.h")
          bad("headers of Dovecot come through plugin/dovecot.h: " target)
        if (system_header && !pure(target) && !constants(target) && target !~ /^(csignal|cstdio|signal\.h|unistd\.h)$/ && target != "db.h")
          bad("headers of Dovecot come through plugin/dovecot.h: " target)
      }
      if (layer == "mhsync" && target ~ /^plugin\//) bad("mhsync knows no Dovecot: " target)
      if (layer == "plugin" && target ~ /^mhsync\//) bad("the plugin knows no mhsync: " target)
      if (target ~ /^tests\// && !in_tests && FILENAME !~ /^tests\//) bad("code includes a test: " target)
      next
    }
    # Calls that belong behind Fs. Only names that no method of ours has, or those written with a leading "::".
    !in_tests && layer != "system" && !/^[ \t]*\/\// {
      if ($0 ~ /(^|[^A-Za-z0-9_])::(open|creat|read|write|close|stat|lstat|fstat|rename|link|unlink|rmdir|mkdir|chmod|fchmod|chown|fchown|truncate|sleep|time)\(/ ||
          $0 ~ /(^|[^A-Za-z0-9_.>])(::)?(openat2?|renameat2?|linkat|unlinkat|mkdirat|fstatat|statx|faccessat|ftruncate|fallocate|utimensat|futimens|pwritev?|fcntl|flock|lockf|ioctl|syscall|opendir|fdopendir|readdir|mkstemp|nanosleep|usleep|clock_gettime|gettimeofday|sync_file_range|copy_file_range|inotify_[a-z_0-9]+)\(/)
        bad("a system call outside libmh/system: " $0)
    }
    /^#pragma once/ { pragma = 1 }
    FILENAME ~ /\.h$/ { headers[FILENAME] = headers[FILENAME] || pragma }
    END { for (h in headers) if (!headers[h]) printf "%s:1: no #pragma once\n", h }
  ')
}

passed=0
failed=0

# example NAME FILE LINE...: a tree with this file alone, its last lines given, has a violation ("red") or none ("green").
example() {
  want=$1 file=$2
  shift 2
  rm -rf "$work/tree"
  mkdir -p "$work/tree/$(dirname "$file")"
  {
    echo '// SPDX-License-Identifier: LGPL-2.1-or-later'
    case $file in *.h) echo '#pragma once' ;; esac
    printf '%s\n' "$@"
  } > "$work/tree/$file"
  if [ -n "$(violations "$work/tree")" ]; then got=red; else got=green; fi
  if [ $got = "$want" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL: $file with '$*' should be $want, is $got"
  fi
}

example green libmh/format/a.cc '#include "libmh/format/a.h"' '#include <string>' '#include "libmh/result.h"'
example red   libmh/format/a.cc '#include "libmh/system/fs.h"'
example red   libmh/format/a.cc '#include <unistd.h>'
example red   libmh/format/a.cc '#include <fcntl.h>'
example red   libmh/format/a.cc '#include <cstdio>'
example red   libmh/format/a.cc '#include <filesystem>'
example green libmh/system/a.cc '#include <unistd.h>' '#include "libmh/format/b.h"' 'int f = ::open("x", 0);'
example red   libmh/system/a.cc '#include "libmh/store/journal.h"'
example red   libmh/system/a.cc '#include <db.h>'
example green libmh/store/bdb-store.cc '#include <db.h>' '#include "libmh/system/fs.h"'
example red   libmh/store/journal.cc '#include <db.h>'
example red   libmh/store/journal.cc '#include "libmh/folder/folder.h"'
example red   libmh/store/journal.cc '#include <unistd.h>'
example green libmh/store/journal.cc '#include <fcntl.h>' 'fs.open(dir, "x", O_RDONLY);' 'fs_->fsync(fd);'
example red   libmh/store/journal.cc 'int fd = ::open("x", 0);'
example red   libmh/folder/scan.cc 'if (openat(dir, "x", 0) < 0) return;'
example red   libmh/folder/scan.cc '  unlinkat(dir, name, 0);'
example green libmh/folder/scan.cc '// as openat() does'
example red   libmh/folder/scan.cc '#include "plugin/dovecot.h"'
example red   libmh/folder/scan.cc '#include "mail-storage.h"'
example red   libmh/folder/scan.cc '#include <dovecot/lib.h>'
example red   libmh/folder/scan.cc '#include <iostream>'
example red   libmh/folder/scan.cc '#include "../format/flags.h"'
example red   libmh/folder/scan.cc '#include "tests/support/temp-folder.h"'
example red   libmh/result.h '#include "libmh/format/flags.h"'
example green plugin/dovecot.h 'extern "C" {' '#include <config.h>' '#include <mail-storage-private.h>' '}'
example red   plugin/mh-sync.cc '#include <mail-storage-private.h>'
example red   plugin/mh-sync.cc '#include "mail-storage-private.h"'
example red   plugin/mh-sync.cc '#include <db.h>'
example green plugin/mh-settings-24.cc '#include <settings.h>'
example red   plugin/mh-settings-24.cc '#include <db.h>'
example red   plugin/mh-sync.cc '#include "mhsync/options.h"'
example red   plugin/mh-sync.cc 'int fd = openat(dir, "x", 0);'
example green plugin/mh-sync.cc '#include "plugin/dovecot.h"' '#include <string>' '#include "libmh/folder/folder.h"'
example green mhsync/options.cc '#include <CLI/CLI.hpp>' '#include <iostream>'
example red   mhsync/main.cc '#include <CLI/CLI.hpp>'
example red   mhsync/main.cc '#include "plugin/dovecot.h"'
example red   tests/libmh/format/test-a.cc '#include "libmh/store/journal.h"'
example green tests/libmh/store/test-a.cc '#include "libmh/system/fs.h"' '#include "tests/support/fault-fs.h"' '#include <unistd.h>'
example red   libmh/format/Bad_Name.cc 'int x;'
mkdir -p "$work/none/libmh" && echo 'int x;' > "$work/none/libmh/a.h"
if [ "$(violations "$work/none" | wc -l)" = 2 ]; then passed=$((passed + 1)); else
  failed=$((failed + 1)); echo "FAIL: a header without SPDX line and #pragma once should be told twice"
fi

found=$(violations "$root")
if [ -z "$found" ] && [ -f "$root/libmh/result.h" ]; then
  passed=$((passed + 1))
else
  failed=$((failed + 1))
  printf '%s\n' "${found:-no tree at $root}"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
