// SPDX-License-Identifier: LGPL-2.1-or-later
//
// TempDir: a directory for one test, gone with everything in it when the test ends.
//
// It lies below $TMPDIR, else /tmp. What it offers beyond that are the few plain calls that a test
// makes as "somebody else", past libmh.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libmh/system/fs.h"

namespace mh::test {

class TempDir {
 public:
  // Below `under` when given.
  explicit TempDir(const std::string& under = {});
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  int fd() const { return fd_.get(); }

  // Each of these ends the test program when it cannot do as told.
  void write(std::string_view name, std::string_view content, int mode = 0600) const;
  std::string read(std::string_view name) const;
  bool exists(std::string_view name) const;
  void make_dir(std::string_view name) const;
  // Sorted; hidden ones too.
  std::vector<std::string> names() const;

 private:
  std::string path_;
  Fd fd_;
};

}  // namespace mh::test
