// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Dovecot 2.4: settings are declared, and its configuration refuses what is not. The checks of
// values stay in mh-settings.cc, so that both versions say the same.
#include "plugin/dovecot.h"

#if MH_DOVECOT_24

extern "C" {
#include <settings-parser.h>
#include <settings.h>
}

#include "plugin/mh-settings-24.h"
#include "plugin/mh-settings.h"

namespace {

struct DeclaredSettings {
  pool_t pool;
  const char* mh_expunge;
  const char* mh_hidden_sequences;
  const char* mh_inc_guard;
  const char* mh_keyword_map;
  const char* mh_lock_timeout;
  const char* mh_new_mail;
  const char* mh_notify_dir;
  const char* mh_profile;
  const char* mh_refile_flags;
  const char* mh_unseen_grace;
};

struct setting_define define_filter(const char* name) {
  struct setting_define define = {};
  define.type = SET_FILTER_NAME;
  define.key = name;
  return define;
}

struct setting_define define_string(const char* name, size_t offset) {
  struct setting_define define = {};
  define.type = SET_STR;
  define.key = name;
  define.offset = offset;
  return define;
}

#define MH_STRING(name) define_string(#name, offsetof(DeclaredSettings, name))

// The last element, all zero, ends the list. "" means: not set.
const struct setting_define kDefines[] = {
    define_filter("mh"),        MH_STRING(mh_expunge),      MH_STRING(mh_hidden_sequences),
    MH_STRING(mh_inc_guard),    MH_STRING(mh_keyword_map),  MH_STRING(mh_lock_timeout),
    MH_STRING(mh_new_mail),     MH_STRING(mh_notify_dir),   MH_STRING(mh_profile),
    MH_STRING(mh_refile_flags), MH_STRING(mh_unseen_grace), {}};

const DeclaredSettings kDefaults = {nullptr, "", "", "", "", "", "", "", "", "", ""};

const struct setting_keyvalue kDefaultSettings[] = {
    {"mh/mailbox_list_layout", "fs"},
    {"mh/mailbox_list_utf8", "yes"},
    {"mh/mailbox_subscriptions_filename", "subscriptions"},
    {nullptr, nullptr}};

}  // namespace

// Found by Dovecot's configuration process under this name.
const struct setting_parser_info mh_setting_parser_info = [] {
  struct setting_parser_info info = {};
  info.name = "mh";
  info.plugin_dependency = "lib20_mh_plugin";
  info.defines = kDefines;
  info.defaults = &kDefaults;
  info.default_settings = kDefaultSettings;
  info.struct_size = sizeof(DeclaredSettings);
  info.pool_offset1 = 1 + offsetof(DeclaredSettings, pool);
  return info;
}();

namespace mh {

RawSettings read_settings(struct mail_user* user) {
  RawSettings raw;
  const void* found;
  const char* error;
  // In parentheses: the function, since the macro of that name passes a void * for a pointer to it.
  if ((settings_get)(user->event, &mh_setting_parser_info, static_cast<enum settings_get_flags>(0),
                     __FILE__, __LINE__, &found, &error) < 0) {
    e_error(user->event, "mh: %s", error);
    return raw;
  }
  const auto* set = static_cast<const DeclaredSettings*>(found);
  const std::pair<const char*, const char*> values[] = {
      {"mh_expunge", set->mh_expunge},           {"mh_hidden_sequences", set->mh_hidden_sequences},
      {"mh_inc_guard", set->mh_inc_guard},       {"mh_keyword_map", set->mh_keyword_map},
      {"mh_lock_timeout", set->mh_lock_timeout}, {"mh_new_mail", set->mh_new_mail},
      {"mh_notify_dir", set->mh_notify_dir},     {"mh_profile", set->mh_profile},
      {"mh_refile_flags", set->mh_refile_flags}, {"mh_unseen_grace", set->mh_unseen_grace}};
  for (const auto& [name, value] : values) {
    if (value[0] != '\0') raw[name] = value;
  }
  settings_free(set);
  return raw;
}

}  // namespace mh

#endif
