// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The text of profile, context and sequences file: "Name: value" lines, as nmh reads them.
//
// nmh reads all three with its parser of message headers (sbr/m_getfld.c, trimcpy.c; measured with
// 1.8). A blank line, a line without colon, one that begins with '-' or a name over 996 bytes makes
// every nmh command on the file fail. Here nothing fails: such a line is left out and told, the
// rest holds, so that our next write heals the file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mh {

// The longest name that nmh 1.8 reads (measured); one byte more is "poorly formatted".
inline constexpr size_t kMaxComponentName = 996;

struct Component {
  std::string name;   // as spelled, blanks before the colon cut off; may be empty
  std::string value;  // trimmed; each inner blank, tab or CR, and the end of a joined line, is ' '
  size_t begin = 0;   // where its lines are in the text, the newline of the last included
  size_t end = 0;
};

struct ComponentText {
  std::vector<Component> components;  // in the order of the text, doubles too
  std::vector<std::string> problems;  // what is wrong, each with its line number
};

// Lines that begin with a blank or tab are joined to the one before. A NUL ends a name or value.
// CRLF and a missing last newline are accepted as by nmh.
ComponentText parse_components(std::string_view text);

}  // namespace mh
