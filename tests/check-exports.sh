#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The plugin is loaded with RTLD_GLOBAL into processes with other plugins: it may define no name but those
# that Dovecot looks up.
set -u
plugin=${top_builddir:-.}/.libs/lib20_mh_plugin.so
if [ ! -f "$plugin" ]; then
  echo "no $plugin"
  echo "0 passed, 1 failed"
  exit 1
fi
passed=0
failed=0

names=$(nm -D --defined-only "$plugin" | awk '{print $NF}')
for name in mh_plugin_init mh_plugin_deinit mh_plugin_version; do
  if printf '%s\n' "$names" | grep -qx "$name"; then passed=$((passed + 1)); else
    failed=$((failed + 1)); echo "FAIL: $name is not exported"
  fi
done
# An instrumented build adds the marks of its runtime.
other=$(printf '%s\n' "$names" | grep -vxE 'mh_plugin_(init|deinit|version|dependencies)|__(asan|ubsan|odr_asan|lsan|tsan|gcov)[A-Za-z0-9_.]*')
if [ -z "$other" ]; then passed=$((passed + 1)); else
  failed=$((failed + 1)); echo "FAIL: also exported:"; printf '%s\n' "$other" | head -20
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
