// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The names that Dovecot looks up when it loads the plugin. Everything else is hidden.
#include "plugin/dovecot.h"

#include <csignal>

#include "plugin/mh-storage.h"

#define MH_EXPORT extern "C" __attribute__((visibility("default")))

MH_EXPORT void mh_plugin_init(struct module* module);
MH_EXPORT void mh_plugin_deinit(void);
MH_EXPORT const char* mh_plugin_version;
const char* mh_plugin_version = DOVECOT_ABI_VERSION;

void mh_plugin_init(struct module*) {
  // A read lease on a message, held while its tag is written, is broken by SIGIO, whose default is
  // to kill the process.
  std::signal(SIGIO, SIG_IGN);
  mail_storage_class_register(&mh::mh_storage_class);
}

void mh_plugin_deinit(void) { mail_storage_class_unregister(&mh::mh_storage_class); }
