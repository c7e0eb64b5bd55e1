// SPDX-License-Identifier: LGPL-2.1-or-later
//
// asimap.db: the database that asimap keeps in the mail tree. The only user of SQLite.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libmh/folder/import.h"
#include "libmh/result.h"

struct sqlite3;

namespace mh {

class AsimapDatabase {
 public:
  // For reading. kNotFound: there is none; kCorrupt: it is not a database of asimap's; kBusy:
  // asimap is writing to it.
  static Result<AsimapDatabase> open(Fs& fs, const std::string& path);

  // Of the folder at this path relative to the mail root; nothing when asimap did not know it.
  Result<std::optional<AsimapFolder>> folder(const std::string& path);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  explicit AsimapDatabase(std::string path) : path_(std::move(path)) {}
  Error problem() const;
  Result<bool> has_column(const std::string& name);

  std::string path_;
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace mh
