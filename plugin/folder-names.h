// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One component of a folder's name, between the disk and IMAP.
//
// A name on disk is any bytes but `/`, made by a shell in whatever character set; a name in IMAP
// is UTF-8. Every folder must be reachable under a name that leads back to it, and none may be
// renamed on disk (Dovecot's fs layout would, when a name is not UTF-8). Therefore:
//
//  * Valid UTF-8 is itself. That is what nmh and the shell show, and what a folder created over
//    IMAP gets.
//  * A name in IMAP's modified UTF-7 (`Entw&APw-rfe`, from a server that kept names so) is what it
//    stands for, as long as no folder beside it has that name in UTF-8.
//  * A byte that is not UTF-8, or the separator of the namespace where that is not `/`, is `%` and
//    two lower-case hex digits; so is the `%` of a text that would otherwise be read so (`%25`),
//    and the `&` (`%26`) of a name that lost its decoded form to a neighbour.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace mh {

// Whether a folder of this name, as bytes on disk, lies beside the one in question.
using NameExists = std::function<bool(const std::string& disk_name)>;

// What IMAP calls the component `disk_name`.
std::string imap_name(const std::string& disk_name, char separator, const NameExists& exists);

// The component on disk that IMAP calls `name`; for a name that does not exist, what a new folder
// is to be called.
std::string disk_name(const std::string& name, char separator, const NameExists& exists);

}  // namespace mh
