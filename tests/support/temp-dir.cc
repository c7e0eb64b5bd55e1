// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/temp-dir.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace mh::test {
namespace {

[[noreturn]] void give_up(const std::string& what) {
  std::perror(what.c_str());
  std::abort();
}

}  // namespace

TempDir::TempDir(const std::string& under) {
  const char* base = ::getenv("TMPDIR");
  path_ = (!under.empty() ? under : base != nullptr ? base : "/tmp") + "/mh-test-XXXXXX";
  if (::mkdtemp(path_.data()) == nullptr) give_up(path_);
  path_ = std::filesystem::canonical(path_);
  fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd_) give_up(path_);
}

TempDir::~TempDir() {
  // Directories that a test has closed must be opened before they can be emptied.
  std::error_code ignored;
  for (auto it = std::filesystem::recursive_directory_iterator(
           path_, std::filesystem::directory_options::skip_permission_denied, ignored);
       it != std::filesystem::recursive_directory_iterator(); it.increment(ignored)) {
    if (it->is_directory(ignored) && !it->is_symlink(ignored))
      std::filesystem::permissions(it->path(), std::filesystem::perms::owner_all,
                                   std::filesystem::perm_options::add, ignored);
  }
  std::filesystem::remove_all(path_, ignored);
}

void TempDir::write(std::string_view name, std::string_view content, int mode) const {
  const std::string file = path(name);
  const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) give_up(file);
  for (size_t done = 0; done < content.size();) {
    const ssize_t put = ::write(fd.get(), content.data() + done, content.size() - done);
    if (put < 0) give_up(file);
    done += static_cast<size_t>(put);
  }
}

std::string TempDir::read(std::string_view name) const {
  std::ifstream in(path(name), std::ios::binary);
  if (!in) give_up(path(name));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

bool TempDir::exists(std::string_view name) const {
  struct stat found {};
  return ::lstat(path(name).c_str(), &found) == 0;
}

void TempDir::make_dir(std::string_view name) const {
  if (::mkdir(path(name).c_str(), 0700) != 0) give_up(path(name));
}

std::vector<std::string> TempDir::names() const {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    found.push_back(entry.path().filename());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace mh::test
