// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The only door to Dovecot's headers. They are C: wrapped in extern "C", with the few gaps to C++
// closed here. What differs between Dovecot 2.3 and 2.4 stands in plugin/compat.h.
//
// Standard headers come first, so that no macro of Dovecot meets them; config.h is the first of
// Dovecot's, as in its own sources.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" {
#include <config.h>

#include <lib.h>

#include <hash-decl.h>
// The member for a constant key says "const const char *" when the key is a const char *.
#undef HASH_TABLE
#undef HASH_TABLE_DEFINE_TYPE
#define HASH_TABLE(key_type, value_type) \
  union {                                \
    struct hash_table* _table;           \
    key_type _key;                       \
    key_type* _keyp;                     \
    value_type _value;                   \
    value_type* _valuep;                 \
  }
#define HASH_TABLE_DEFINE_TYPE(name, key_type, value_type) \
  union hash__##name {                                     \
    struct hash_table* _table;                             \
    key_type _key;                                         \
    key_type* _keyp;                                       \
    value_type _value;                                     \
    value_type* _valuep;                                   \
  }

#include <array.h>
#include <guid.h>
#include <imap-utf7.h>
#include <index-mail.h>
#include <index-pop3-uidl.h>
#include <index-storage.h>
#include <ioloop.h>
#include <istream-crlf.h>
#include <istream.h>
#include <mail-cache.h>
#include <mail-copy.h>
#include <mail-index-alloc-cache.h>
#include <mail-index-modseq.h>
#include <mail-search-build.h>
#include <mail-storage-private.h>
#include <mail-user.h>
#include <mailbox-list-index-sync.h>
#include <mailbox-list-index.h>
#include <mailbox-list-private.h>
#include <mailbox-recent-flags.h>
#include <mailbox-watch.h>
#include <module-dir.h>
#include <ostream.h>
#include <str.h>
#include <unichar.h>
}

#include "plugin/compat.h"
