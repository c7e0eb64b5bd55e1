// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Private sequences: "atr-<sequence>-<folder>: numbers" lines of nmh's context file.
//
// nmh keeps a sequence there when the folder cannot be written, when the profile says that there is
// no sequences file, or when the user asks for it (mark -nopublic). The folder is its path exactly
// as nmh spells it, and compared byte by byte: <home>/<Path as the profile says it>/<name>, or the
// path itself where the folder was named by one (sbr/m_maildir.c; measured with 1.8: "Path: ./Mail"
// gives "/home/u/./Mail/inbox"). A private sequence stands for the public one of its name, also
// when it has no numbers: so is a public sequence cleared for one user (measured: nmh reads it so;
// its own next write of that folder's sequences drops such a line, and the public one shows again).
//
// The rest of the file is nmh's and the user's: other lines, spelled however they are, stay as they
// are byte for byte, in their order.
#pragma once

#include <string>
#include <string_view>

#include "libmh/format/sequences.h"

namespace mh {

// Whether lines for this folder can be written and are read back as what they are: no ':' or line
// end in its path, no blank at its end, and short enough.
bool can_have_private_sequences(std::string_view folder);

// The sequences of the folder as nmh sees them. Of two lines for one sequence the later holds.
Sequences with_private_sequences(std::string_view context, std::string_view folder,
                                 Sequences public_ones);

// The context in which the folder's sequences, over `public_ones`, are `wanted`, "cur" too. Lines
// of this folder that say so already stay as they are. Sequences whose name makes no line that is
// read back are left out. The folder is one that can have private sequences.
std::string set_private_sequences(std::string_view context, std::string_view folder,
                                  const Sequences& public_ones, const Sequences& wanted);

// The context after a folder was renamed: its lines, and those of the folders below it, are `to`'s.
// With an empty `to` they are taken out, as rmf does.
std::string move_private_sequences(std::string_view context, std::string_view from,
                                   std::string_view to);

}  // namespace mh
