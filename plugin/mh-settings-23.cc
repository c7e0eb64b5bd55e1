// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dovecot 2.3: settings of plugins are strings in the section plugin { }.
#include "plugin/dovecot.h"

#if !MH_DOVECOT_24

#include "plugin/mh-settings.h"

namespace mh {

RawSettings read_settings(struct mail_user* user) {
  RawSettings raw;
  if (!array_is_created(&user->set->plugin_envs)) return raw;
  unsigned int count;
  const char* const* envs = array_get(&user->set->plugin_envs, &count);
  for (unsigned int i = 0; i + 1 < count; i += 2) {
    if (strncmp(envs[i], "mh_", 3) == 0) raw[envs[i]] = envs[i + 1];
  }
  return raw;
}

}  // namespace mh

#endif
