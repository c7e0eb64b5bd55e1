// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What mhsync says: results on standard output, in words or as one JSON object a line; errors and
// warnings on standard error, in words. With JSON an error is an object, too.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "mhsync/exit-code.h"

namespace mh {

using Field = std::variant<std::string, uint64_t, bool>;
using Fields = std::vector<std::pair<std::string, Field>>;

class Printer {
 public:
  // Colours: of a terminal, unless NO_COLOR is set (no-color.org) or it is a dumb one.
  Printer(bool json, bool quiet, bool verbose);

  // A result; its words are left out when quiet. `type` and `folder` are fields of every object.
  void result(const std::string& type, const std::string& folder, const Fields& fields,
              const std::string& words);
  // The same, said even when quiet, with what it is about in front.
  void problem(const std::string& type, const std::string& folder, const Fields& fields,
               const std::string& about, const std::string& words);
  void warning(const std::string& words);
  // On standard error, for who has asked for more.
  void detail(const std::string& words);
  void error(const std::string& folder, ExitCode code, const std::string& words);

  bool json() const { return json_; }
  bool quiet() const { return quiet_; }
  bool verbose() const { return verbose_; }

 private:
  void object(const std::string& type, const std::string& folder, const Fields& fields);

  bool json_;
  bool quiet_;
  bool verbose_;
  bool colour_out_;
  bool colour_err_;
};

// "1 message", "2 messages".
std::string counted(uint64_t count, const std::string& one, const std::string& many);

}  // namespace mh
