# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The program mhsync. To add a file: one line `mhsync_mhsync_SOURCES += path`, headers too, sorted.

bin_PROGRAMS += mhsync/mhsync
dist_man_MANS += mhsync/mhsync.1
mhsync_mhsync_SOURCES =
mhsync_mhsync_CPPFLAGS = $(AM_CPPFLAGS) $(SODIUM_CFLAGS) $(SQLITE_CFLAGS)
mhsync_mhsync_LDFLAGS = $(AM_LDFLAGS) -Wl,-z,defs
mhsync_mhsync_LDADD = libmh/libmh.la $(SQLITE_LIBS) $(SANITIZER_LIBS)

# No part of the program, but of the same kind: for those who work with nmh, on whatever machine.
dist_bin_SCRIPTS = mhsync/mh-notify-hook

# bash looks there for a file of the command's name, zsh for one with an underscore before it.
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
dist_fishcompletion_DATA = mhsync/mhsync.fish
EXTRA_DIST += mhsync/mhsync.bash mhsync/mhsync.zsh
install-data-local:
	$(MKDIR_P) "$(DESTDIR)$(bashcompletiondir)" "$(DESTDIR)$(zshcompletiondir)"
	$(INSTALL_DATA) $(srcdir)/mhsync/mhsync.bash "$(DESTDIR)$(bashcompletiondir)/mhsync"
	$(INSTALL_DATA) $(srcdir)/mhsync/mhsync.zsh "$(DESTDIR)$(zshcompletiondir)/_mhsync"
uninstall-local:
	rm -f "$(DESTDIR)$(bashcompletiondir)/mhsync" "$(DESTDIR)$(zshcompletiondir)/_mhsync"

mhsyncexampledir = $(docdir)/examples
dist_mhsyncexample_DATA = mhsync/examples/mhsync.service mhsync/examples/mhsync.timer

mhsync_mhsync_SOURCES += mhsync/asimap-database.cc
mhsync_mhsync_SOURCES += mhsync/asimap-database.h
mhsync_mhsync_SOURCES += mhsync/check.cc
mhsync_mhsync_SOURCES += mhsync/command.h
mhsync_mhsync_SOURCES += mhsync/dedup.cc
mhsync_mhsync_SOURCES += mhsync/exit-code.cc
mhsync_mhsync_SOURCES += mhsync/exit-code.h
mhsync_mhsync_SOURCES += mhsync/findings.cc
mhsync_mhsync_SOURCES += mhsync/findings.h
mhsync_mhsync_SOURCES += mhsync/fix.cc
mhsync_mhsync_SOURCES += mhsync/fix.h
mhsync_mhsync_SOURCES += mhsync/import-uids.cc
mhsync_mhsync_SOURCES += mhsync/main.cc
mhsync_mhsync_SOURCES += mhsync/options.cc
mhsync_mhsync_SOURCES += mhsync/options.h
mhsync_mhsync_SOURCES += mhsync/pack.cc
mhsync_mhsync_SOURCES += mhsync/printer.cc
mhsync_mhsync_SOURCES += mhsync/printer.h
mhsync_mhsync_SOURCES += mhsync/progress.cc
mhsync_mhsync_SOURCES += mhsync/progress.h
mhsync_mhsync_SOURCES += mhsync/reindex.cc
mhsync_mhsync_SOURCES += mhsync/signals.cc
mhsync_mhsync_SOURCES += mhsync/signals.h
mhsync_mhsync_SOURCES += mhsync/status.cc
mhsync_mhsync_SOURCES += mhsync/tree.cc
mhsync_mhsync_SOURCES += mhsync/tree.h
