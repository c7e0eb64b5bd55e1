dnl SPDX-License-Identifier: LGPL-2.1-or-later
dnl
dnl MH_CXX_FLAG(FLAG, [IF-WORKS], [IF-NOT]): does the C++ compiler take FLAG, in compiling and linking, without a word?
AC_DEFUN([MH_CXX_FLAG], [
  AS_VAR_PUSHDEF([mh_cache], [mh_cv_cxx_flag_$1])
  AC_CACHE_CHECK([whether $CXX takes $1], [mh_cache], [
    mh_save_CXXFLAGS=$CXXFLAGS
    CXXFLAGS="$CXXFLAGS -Werror $1"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <cstring>]], [[]])],
                   [AS_VAR_SET([mh_cache], [yes])], [AS_VAR_SET([mh_cache], [no])])
    CXXFLAGS=$mh_save_CXXFLAGS
  ])
  AS_VAR_IF([mh_cache], [yes], [$2], [$3])
  AS_VAR_POPDEF([mh_cache])
])

dnl MH_HARDENING: the flags that Debian and Dovecot build their C with, for C++ (which Dovecot's own macros
dnl leave out). They go into variables of ours: CXXFLAGS and LDFLAGS belong to whoever builds.
dnl Sets HARDENING_CXXFLAGS, HARDENING_LDFLAGS; --disable-hardening leaves them empty.
AC_DEFUN([MH_HARDENING], [
  AC_ARG_ENABLE([hardening],
    [AS_HELP_STRING([--disable-hardening], [without stack protector, fortified libc and the like])],
    [], [enable_hardening=yes])
  HARDENING_CXXFLAGS=
  HARDENING_LDFLAGS=
  AS_IF([test "x$enable_hardening" != xno], [
    MH_CXX_FLAG([-fstack-protector-strong], [HARDENING_CXXFLAGS="$HARDENING_CXXFLAGS -fstack-protector-strong"])
    MH_CXX_FLAG([-fstack-clash-protection], [HARDENING_CXXFLAGS="$HARDENING_CXXFLAGS -fstack-clash-protection"])
    MH_CXX_FLAG([-fcf-protection], [HARDENING_CXXFLAGS="$HARDENING_CXXFLAGS -fcf-protection"])
    HARDENING_CXXFLAGS="$HARDENING_CXXFLAGS -D_GLIBCXX_ASSERTIONS"
    # Fortifying wants an optimiser, and sanitizers have checks of their own in its place.
    AS_CASE([$CXXFLAGS], [*-O0*], [],
      [AS_IF([test "x$enable_sanitizers" = x || test "x$enable_sanitizers" = xno],
        [MH_CXX_FLAG([-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2],
          [HARDENING_CXXFLAGS="$HARDENING_CXXFLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])])])
    MH_CXX_FLAG([-Wl,-z,relro], [HARDENING_LDFLAGS="$HARDENING_LDFLAGS -Wl,-z,relro"])
    MH_CXX_FLAG([-Wl,-z,now], [HARDENING_LDFLAGS="$HARDENING_LDFLAGS -Wl,-z,now"])
    MH_CXX_FLAG([-Wl,-z,noexecstack], [HARDENING_LDFLAGS="$HARDENING_LDFLAGS -Wl,-z,noexecstack"])
  ])
  AC_SUBST([HARDENING_CXXFLAGS])
  AC_SUBST([HARDENING_LDFLAGS])
])
