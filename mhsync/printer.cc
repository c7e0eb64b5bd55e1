// SPDX-License-Identifier: LGPL-2.1-or-later
#include "mhsync/printer.h"

#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

namespace mh {
namespace {

// Names of files are any bytes; a terminal is not to obey them.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(byte < ' ' || byte == 0x7f ? '?' : c);
  }
  return out;
}

bool wants_colour(int descriptor) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return isatty(descriptor) != 0 && (no_colour == nullptr || *no_colour == '\0') &&
         terminal != nullptr && std::string_view(terminal) != "dumb";
}

std::string bold(const std::string& text, bool colour) {
  return colour && !text.empty() ? "\33[1m" + text + "\33[0m" : text;
}

std::string red(const std::string& text, bool colour) {
  return colour ? "\33[1;31m" + text + "\33[0m" : text;
}

}  // namespace

Printer::Printer(bool json, bool quiet, bool verbose)
    : json_(json),
      quiet_(quiet),
      verbose_(verbose),
      colour_out_(wants_colour(STDOUT_FILENO)),
      colour_err_(wants_colour(STDERR_FILENO)) {}

void Printer::object(const std::string& type, const std::string& folder, const Fields& fields) {
  nlohmann::ordered_json object;
  object["type"] = type;
  if (!folder.empty()) object["folder"] = folder;
  for (const auto& [name, field] : fields) {
    std::visit([&, key = name](const auto& value) { object[key] = value; }, field);
  }
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

void Printer::result(const std::string& type, const std::string& folder, const Fields& fields,
                     const std::string& words) {
  if (json_) return object(type, folder, fields);
  if (!quiet_) std::cout << printable(words) << std::endl;
}

void Printer::problem(const std::string& type, const std::string& folder, const Fields& fields,
                      const std::string& about, const std::string& words) {
  if (json_) return object(type, folder, fields);
  std::cout << bold(printable(about), colour_out_) << (about.empty() ? "" : ": ")
            << printable(words) << std::endl;
}

void Printer::warning(const std::string& words) {
  if (!quiet_) std::cerr << bold("mhsync:", colour_err_) << ' ' << printable(words) << std::endl;
}

void Printer::detail(const std::string& words) {
  if (verbose_) std::cerr << bold("mhsync:", colour_err_) << ' ' << printable(words) << std::endl;
}

void Printer::error(const std::string& folder, ExitCode code, const std::string& words) {
  const std::string where = folder.empty() ? "" : printable(folder) + ": ";
  std::cerr << red("mhsync:", colour_err_) << ' ' << where << printable(words) << std::endl;
  if (!json_) return;
  object("error", folder, {{"code", static_cast<uint64_t>(code)}, {"message", words}});
}

std::string counted(uint64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace mh
