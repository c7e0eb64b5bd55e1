dnl SPDX-License-Identifier: LGPL-2.1-or-later
dnl
dnl MH_BERKELEY_DB: finds Berkeley DB 5.x and nothing else. From 6.0.20 on it is under the AGPL, which
dnl the licence of this package cannot be linked with in every use; older ones lack what the store relies on.
dnl Both the header and the library that is really linked are asked, since they may be of different versions.
dnl Sets BDB_CFLAGS, BDB_LIBS, mh_cv_db_header_version.
AC_DEFUN([MH_BERKELEY_DB], [
  AC_ARG_VAR([BDB_CFLAGS], [C preprocessor flags for Berkeley DB 5.x])
  AC_ARG_VAR([BDB_LIBS], [linker flags for Berkeley DB 5.x, by default -ldb])
  mh_save_CPPFLAGS=$CPPFLAGS
  mh_save_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $BDB_CFLAGS"

  AC_CACHE_CHECK([for the version of db.h], [mh_cv_db_header_version], [
    AC_COMPUTE_INT([mh_db_major], [DB_VERSION_MAJOR], [#include <db.h>], [mh_db_major=none])
    AC_COMPUTE_INT([mh_db_minor], [DB_VERSION_MINOR], [#include <db.h>], [mh_db_minor=none])
    mh_cv_db_header_version=$mh_db_major.$mh_db_minor
  ])
  AS_CASE([$mh_cv_db_header_version],
    [5.*], [],
    [none.*], [AC_MSG_ERROR([db.h of Berkeley DB not found: install libdb-dev (5.3), or set BDB_CFLAGS])],
    [AC_MSG_ERROR([db.h is of Berkeley DB $mh_cv_db_header_version, but 5.x is needed (later ones are under the AGPL): set BDB_CFLAGS and BDB_LIBS])])

  AS_IF([test -z "$BDB_LIBS"], [
    for mh_lib in -ldb-5.3 -ldb-5 -ldb; do
      LIBS="$mh_lib $mh_save_LIBS"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <db.h>]],
                                      [[return db_version(nullptr, nullptr, nullptr) == nullptr;]])],
                     [BDB_LIBS=$mh_lib; break])
    done
    AS_IF([test -z "$BDB_LIBS"],
      [AC_MSG_ERROR([the library of Berkeley DB 5.x not found: install libdb-dev, or set BDB_LIBS])])
  ])

  LIBS="$BDB_LIBS $mh_save_LIBS"
  AC_CACHE_CHECK([for the version of the library behind $BDB_LIBS], [mh_cv_db_library_version], [
    AC_RUN_IFELSE([AC_LANG_PROGRAM([[
#include <cstdio>
#include <db.h>
]], [[
  int major = 0, minor = 0, patch = 0;
  db_version(&major, &minor, &patch);
  std::FILE *out = std::fopen("conftest.out", "w");
  if (out == nullptr) return 1;
  std::fprintf(out, "%d.%d.%d\n", major, minor, patch);
  return std::fclose(out) != 0;
]])], [mh_cv_db_library_version=$(cat conftest.out)],
      [mh_cv_db_library_version=none],
      [mh_cv_db_library_version=$mh_cv_db_header_version])
    rm -f conftest.out
  ])
  AS_CASE([$mh_cv_db_library_version],
    [5.*], [],
    [none], [AC_MSG_ERROR([a program linked with $BDB_LIBS does not run: see config.log])],
    [AC_MSG_ERROR([$BDB_LIBS is Berkeley DB $mh_cv_db_library_version, but 5.x is needed (later ones are under the AGPL): set BDB_LIBS])])

  CPPFLAGS=$mh_save_CPPFLAGS
  LIBS=$mh_save_LIBS
])
