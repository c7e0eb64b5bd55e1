// SPDX-License-Identifier: LGPL-2.1-or-later
#include "plugin/tree-stamps.h"

#include <fcntl.h>

#include <algorithm>

namespace mh {

// Of a directory: itself, "." and nothing else. File systems that count no subdirectories say 1.
constexpr uint32_t kLinksOfLeaf = 2;

TreeStamps::Stamp TreeStamps::stamp_of(const std::string& path) {
  const auto stat = Fs::posix().stat(AT_FDCWD, path.c_str(), Follow::kYes);
  if (!stat) return {};
  return {stat->inode, stat->nlink, stat->nlink == kLinksOfLeaf ? 0 : stat->mtime};
}

void TreeStamps::begin(const std::string& root) {
  stamps_.clear();
  stamps_.emplace(root, stamp_of(root));
}

void TreeStamps::note(const std::string& path) {
  if (!stamps_.empty() && !stamps_.contains(path)) stamps_.emplace(path, stamp_of(path));
}

bool TreeStamps::current() const {
  return !stamps_.empty() && std::all_of(stamps_.begin(), stamps_.end(), [](const auto& item) {
    return stamp_of(item.first) == item.second;
  });
}

}  // namespace mh
