dnl SPDX-License-Identifier: LGPL-2.1-or-later
dnl
dnl MH_DOVECOT: finds Dovecot's headers and the directory of its plugins, from the dovecot-config that
dnl Dovecot installs. Dovecot's own DC_DOVECOT is not used: it hardens C only, its paths break
dnl `make distcheck`, and by default it looks below the prefix, where no distribution has Dovecot.
dnl Sets DOVECOT_CPPFLAGS (-isystem, so that Dovecot's headers are held to no warnings of ours), moduledir,
dnl mh_dovecot_includedir, mh_dovecot_version.
AC_DEFUN([MH_DOVECOT], [
  AC_ARG_WITH([dovecot],
    [AS_HELP_STRING([--with-dovecot=DIR], [directory that has dovecot-config (default: searched)])],
    [], [with_dovecot=yes])
  AC_ARG_WITH([moduledir],
    [AS_HELP_STRING([--with-moduledir=DIR], [where the plugin goes (default: Dovecot's own module directory)])],
    [], [with_moduledir=yes])

  AC_MSG_CHECKING([for dovecot-config])
  AS_CASE([$with_dovecot],
    [no], [AC_MSG_ERROR([the plugin cannot be built without Dovecot's headers])],
    [yes], [mh_dirs="/usr/lib/dovecot /usr/lib64/dovecot /usr/local/lib/dovecot"],
    [mh_dirs=$with_dovecot])
  mh_dovecot_config=
  for mh_dir in $mh_dirs; do
    AS_IF([test -f "$mh_dir/dovecot-config"], [mh_dovecot_config=$mh_dir/dovecot-config; break])
  done
  AS_IF([test -z "$mh_dovecot_config"],
    [AC_MSG_ERROR([not in $mh_dirs: install dovecot-dev, or say --with-dovecot=DIR])])
  AC_MSG_RESULT([$mh_dovecot_config])

  # In a subshell: the file sets many variables, and some end in a command.
  mh_dovecot_includedir=$(. "$mh_dovecot_config"; echo "$LIBDOVECOT_INCLUDE" | sed 's/^ *-I//; s/ .*//')
  mh_dovecot_moduledir=$(. "$mh_dovecot_config"; echo "$dovecot_moduledir")
  DOVECOT_CPPFLAGS="-isystem $mh_dovecot_includedir"

  mh_save_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $DOVECOT_CPPFLAGS"
  AC_MSG_CHECKING([for the version of Dovecot's headers])
  AC_COMPUTE_INT([mh_dovecot_major], [DOVECOT_VERSION_MAJOR], [#include <config.h>], [mh_dovecot_major=none])
  AC_COMPUTE_INT([mh_dovecot_minor], [DOVECOT_VERSION_MINOR], [#include <config.h>], [mh_dovecot_minor=none])
  mh_dovecot_version=$mh_dovecot_major.$mh_dovecot_minor
  AC_MSG_RESULT([$mh_dovecot_version])
  AS_CASE([$mh_dovecot_version],
    [2.3 | 2.4], [],
    [AC_MSG_ERROR([Dovecot 2.3 or 2.4 is needed, headers in $mh_dovecot_includedir])])
  CPPFLAGS=$mh_save_CPPFLAGS
  AC_SUBST([DOVECOT_CPPFLAGS])

  AS_CASE([$with_moduledir],
    [yes], [moduledir=$mh_dovecot_moduledir],
    [no], [AC_MSG_ERROR([--with-moduledir needs a directory])],
    [moduledir=$with_moduledir])
  AC_SUBST([moduledir])
])
