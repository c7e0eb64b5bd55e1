# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The Dovecot plugin. To add a file: one line `lib20_mh_plugin_la_SOURCES += path`, headers too, sorted.
# Dovecot's symbols come from the process that loads the plugin, so -z defs cannot be used.

module_LTLIBRARIES += lib20_mh_plugin.la
lib20_mh_plugin_la_SOURCES =
lib20_mh_plugin_la_CPPFLAGS = $(AM_CPPFLAGS) $(DOVECOT_CPPFLAGS)
lib20_mh_plugin_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version \
	-Wl,--version-script=$(srcdir)/plugin/mh-plugin.map
EXTRA_lib20_mh_plugin_la_DEPENDENCIES = plugin/mh-plugin.map
EXTRA_DIST += plugin/mh-plugin.map
lib20_mh_plugin_la_LIBADD = libmh/libmh.la $(SANITIZER_LIBS)

lib20_mh_plugin_la_SOURCES += plugin/compat.h
lib20_mh_plugin_la_SOURCES += plugin/dovecot.h
lib20_mh_plugin_la_SOURCES += plugin/folder-names.cc
lib20_mh_plugin_la_SOURCES += plugin/folder-names.h
lib20_mh_plugin_la_SOURCES += plugin/guard.cc
lib20_mh_plugin_la_SOURCES += plugin/guard.h
lib20_mh_plugin_la_SOURCES += plugin/index-sync.cc
lib20_mh_plugin_la_SOURCES += plugin/index-sync.h
lib20_mh_plugin_la_SOURCES += plugin/mh-flags.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-flags.h
lib20_mh_plugin_la_SOURCES += plugin/mh-folders.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-folders.h
lib20_mh_plugin_la_SOURCES += plugin/mh-idle.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-idle.h
lib20_mh_plugin_la_SOURCES += plugin/mh-index.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-index.h
lib20_mh_plugin_la_SOURCES += plugin/mh-list.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-list.h
lib20_mh_plugin_la_SOURCES += plugin/mh-mail.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-mail.h
lib20_mh_plugin_la_SOURCES += plugin/mh-mailbox.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-mailbox.h
lib20_mh_plugin_la_SOURCES += plugin/mh-notify.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-notify.h
lib20_mh_plugin_la_SOURCES += plugin/mh-plugin.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-save.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-save.h
lib20_mh_plugin_la_SOURCES += plugin/mh-settings-23.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-settings-24.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-settings-24.h
lib20_mh_plugin_la_SOURCES += plugin/mh-settings.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-settings.h
lib20_mh_plugin_la_SOURCES += plugin/mh-status.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-status.h
lib20_mh_plugin_la_SOURCES += plugin/mh-storage.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-storage.h
lib20_mh_plugin_la_SOURCES += plugin/mh-sync.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-sync.h
lib20_mh_plugin_la_SOURCES += plugin/mh-user.cc
lib20_mh_plugin_la_SOURCES += plugin/mh-user.h
lib20_mh_plugin_la_SOURCES += plugin/sync-flags.cc
lib20_mh_plugin_la_SOURCES += plugin/sync-flags.h
lib20_mh_plugin_la_SOURCES += plugin/sync-pass.cc
lib20_mh_plugin_la_SOURCES += plugin/sync-pass.h
lib20_mh_plugin_la_SOURCES += plugin/tree-stamps.cc
lib20_mh_plugin_la_SOURCES += plugin/tree-stamps.h

# Dovecot needs no .la file, and libtool's uninstall would.
install-data-hook:
	rm -f "$(DESTDIR)$(moduledir)/lib20_mh_plugin.la"
uninstall-hook:
	rm -f "$(DESTDIR)$(moduledir)/lib20_mh_plugin.so"
