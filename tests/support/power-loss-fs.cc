// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/power-loss-fs.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <tuple>

namespace mh::test {
namespace {

constexpr size_t kBlock = 512;

[[noreturn]] void give_up(const std::string& what) {
  std::perror(what.c_str());
  std::abort();
}

}  // namespace

struct PowerLossFs::Node {
  struct Write {
    uint64_t offset;
    std::string bytes;
  };
  uint64_t id = 0;  // in the order of appearance: a seed means the same in every run
  bool directory = false;
  mode_t mode = 0;

  // Of a file.
  std::string flushed;
  std::string content;          // as it is now
  std::vector<Write> writes;    // since the flush
  std::vector<uint64_t> sizes;  // that it has had since, the flushed one first

  // Of a directory: what each name has meant since the flush, the oldest first; null for nothing.
  std::map<std::string, std::vector<NodePtr>> names;

  void flush() {
    flushed = content;
    writes.clear();
    sizes = {content.size()};
    for (auto& [name, meant] : names) meant.erase(meant.begin(), meant.end() - 1);
    std::erase_if(names, [](const auto& entry) { return entry.second.back() == nullptr; });
  }
  void write(uint64_t offset, std::string bytes) {
    if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
    content.replace(offset, bytes.size(), bytes);
    sizes.push_back(content.size());
    writes.push_back({offset, std::move(bytes)});
  }
  void resize(uint64_t size) {
    // What is cut off and then reached again must read as zeros.
    if (size < content.size()) writes.push_back({size, std::string(content.size() - size, '\0')});
    content.resize(size);
    sizes.push_back(size);
  }
};

// ---- One possible tree ----------------------------------------------------------------------

class PowerLossFs::Leaving {
 public:
  explicit Leaving(uint64_t seed) : seed_(seed), random_(seed) {}

  void leave(const NodePtr& root, const std::string& target) {
    find(root);
    choose();
    keep_what_was_renamed();
    make(root, target);
  }

 private:
  struct Place {
    NodePtr directory;
    std::string name;
    bool operator<(const Place& other) const {
      return std::tie(directory->id, name) < std::tie(other.directory->id, other.name);
    }
  };

  bool new_names() { return seed_ == 1 || seed_ == 2 || (seed_ >= kFirstRandom && coin()); }
  bool new_content() { return seed_ == 1 || seed_ == 3 || (seed_ >= kFirstRandom && coin()); }
  bool coin() { return (random_() & 1) != 0; }
  size_t any(size_t below) { return random_() % below; }

  // All directories that could be in the tree.
  void find(const NodePtr& directory) {
    if (std::find(found_.begin(), found_.end(), directory) != found_.end()) return;
    found_.push_back(directory);
    for (const auto& [name, meant] : directory->names)
      for (const NodePtr& node : meant)
        if (node != nullptr && node->directory) find(node);
  }

  void choose() {
    for (const NodePtr& directory : found_) {
      for (const auto& [name, meant] : directory->names) {
        size_t index = new_names() ? meant.size() - 1 : 0;
        if (seed_ >= kFirstRandom && coin()) index = any(meant.size());
        chosen_[{directory, name}] = meant[index];
      }
    }
  }

  // Gives a name to what had one at the flush and has one now, but none of the chosen.
  void keep_what_was_renamed() {
    for (bool changed = true; changed;) {
      changed = false;
      std::set<NodePtr> named, flushed;
      for (const auto& [place, node] : chosen_) named.insert(node);
      for (const NodePtr& directory : found_)
        for (const auto& [name, meant] : directory->names) flushed.insert(meant.front());
      for (const NodePtr& directory : found_) {
        for (const auto& [name, meant] : directory->names) {
          const NodePtr& now = meant.back();
          if (now == nullptr || named.contains(now) || !flushed.contains(now)) continue;
          chosen_[{directory, name}] = now;
          changed = true;
        }
      }
    }
  }

  void make(const NodePtr& node, const std::string& path) {
    for (const auto& [place, child] : chosen_) {
      if (place.directory != node || child == nullptr) continue;
      const std::string child_path = path + "/" + place.name;
      if (const auto made = made_.find(child); made != made_.end()) {
        // A second name. A directory cannot have two, and keeps the first.
        if (!child->directory && ::link(made->second.c_str(), child_path.c_str()) != 0)
          give_up(child_path);
        continue;
      }
      made_[child] = child_path;
      if (child->directory) {
        if (::mkdir(child_path.c_str(), 0700) != 0) give_up(child_path);
        make(child, child_path);
        ::chmod(child_path.c_str(), child->mode & 07777);
      } else {
        make_file(*child, child_path);
      }
    }
  }

  void make_file(const Node& node, const std::string& path) {
    const std::string content = content_of(node);
    std::ofstream(path, std::ios::binary) << content;
    ::chmod(path.c_str(), node.mode & 07777);
  }

  std::string content_of(const Node& node) {
    if (new_content()) return node.content;
    std::string content = node.flushed;
    if (seed_ < kFirstRandom) return content;
    for (const auto& write : node.writes) {
      if (content.size() < write.offset + write.bytes.size())
        content.resize(write.offset + write.bytes.size());
      // Blocks of the file, not of the write.
      for (size_t at = 0; at < write.bytes.size();) {
        const size_t in_file = write.offset + at;
        const size_t size = std::min(kBlock - in_file % kBlock, write.bytes.size() - at);
        if (coin()) content.replace(in_file, size, write.bytes, at, size);
        at += size;
      }
    }
    content.resize(node.sizes[any(node.sizes.size())]);
    return content;
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  std::vector<NodePtr> found_;
  std::map<Place, NodePtr> chosen_;
  std::map<NodePtr, std::string> made_;
};

void PowerLossFs::leave(const std::string& target, uint64_t seed) const {
  Leaving(seed).leave(root_, target);
}

// ---- The tree as it is ----------------------------------------------------------------------

// Every file that was ever there is kept open: the usual 1,024 do not suffice.
static void allow_many_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &files));
}

PowerLossFs::PowerLossFs(const std::string& root, Fs& real) : real_(real), root_path_(root) {
  allow_many_files();
  flush_everything();
}

PowerLossFs::~PowerLossFs() {
  // Names keep nodes alive, in circles when a directory has been moved.
  for (auto& [key, node] : nodes_) node->names.clear();
}

void PowerLossFs::flush_everything() {
  nodes_.clear();
  root_ = read_tree(root_path_);
}

PowerLossFs::NodePtr PowerLossFs::read_tree(const std::string& path) {
  const auto stat = real_.stat(AT_FDCWD, path.c_str(), Follow::kNo);
  if (!stat) give_up(path);
  if (const auto known = nodes_.find({stat->device, stat->inode}); known != nodes_.end())
    return known->second;
  NodePtr node = new_node(*stat);
  if (node->directory) {
    std::set<std::string> names;  // in order, for the ids
    for (const auto& entry : std::filesystem::directory_iterator(path))
      names.insert(entry.path().filename());
    for (const std::string& name : names) node->names[name] = {read_tree(path + "/" + name)};
  } else if (stat->type == FileType::kRegular) {
    std::ifstream in(path, std::ios::binary);
    node->content.assign(std::istreambuf_iterator<char>(in), {});
  }
  node->flush();
  return node;
}

PowerLossFs::NodePtr PowerLossFs::new_node(const FileStat& stat) {
  auto node = std::make_shared<Node>();
  node->id = ++made_;
  node->directory = stat.type == FileType::kDirectory;
  node->mode = stat.mode;
  node->flush();
  nodes_[{stat.device, stat.inode}] = node;  // an inode number may come back for another file
  return node;
}

PowerLossFs::NodePtr PowerLossFs::node_of(int fd) {
  const auto stat = real_.fstat(fd);
  if (!stat) return nullptr;
  const auto found = nodes_.find({stat->device, stat->inode});
  if (found == nodes_.end()) return nullptr;
  found->second->mode = stat->mode;
  return found->second;
}

std::pair<PowerLossFs::NodePtr, std::string> PowerLossFs::place_of(int dir, const char* name) {
  const std::string path(name);
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const auto stat = real_.stat(dir, parent.c_str(), Follow::kYes);
  const auto found = stat ? nodes_.find({stat->device, stat->inode}) : nodes_.end();
  if (found == nodes_.end()) return {nullptr, ""};
  return {found->second, slash == std::string::npos ? path : path.substr(slash + 1)};
}

PowerLossFs::NodePtr PowerLossFs::node_at(int dir, const char* name) {
  const auto stat = real_.stat(dir, name, Follow::kNo);
  const auto found = stat ? nodes_.find({stat->device, stat->inode}) : nodes_.end();
  return found == nodes_.end() ? nullptr : found->second;
}

void PowerLossFs::set_name(const std::pair<NodePtr, std::string>& place, NodePtr to) {
  if (place.first == nullptr) return;
  auto& meant = place.first->names[place.second];
  if (meant.empty()) meant.push_back(nullptr);
  meant.push_back(std::move(to));
}

// ---- Calls ----------------------------------------------------------------------------------

Result<Fd> PowerLossFs::open(int dir, const char* name, int flags, mode_t mode) {
  const bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
  const bool was_there = !nameless && real_.stat(dir, name, Follow::kNo).has_value();
  const auto place = nameless ? std::pair<NodePtr, std::string>() : place_of(dir, name);
  const bool below = nameless ? node_at(dir, name) != nullptr : place.first != nullptr;
  auto fd = real_.open(dir, name, flags, mode);
  if (!fd || !below) return fd;
  if (nameless || ((flags & O_CREAT) != 0 && !was_there)) {
    const auto stat = real_.fstat(fd->get());
    if (!stat) return pass_on(stat);
    NodePtr node = new_node(*stat);
    if (!nameless) set_name(place, node);
  } else if ((flags & O_TRUNC) != 0) {
    if (const NodePtr node = node_of(fd->get())) node->resize(0);
  }
  return fd;
}

Result<size_t> PowerLossFs::pread(int fd, void* to, size_t size, uint64_t offset) {
  return real_.pread(fd, to, size, offset);
}

Status PowerLossFs::pwrite(int fd, const void* from, size_t size, uint64_t offset) {
  const Status written = real_.pwrite(fd, from, size, offset);
  if (const NodePtr node = written ? node_of(fd) : nullptr)
    node->write(offset, std::string(static_cast<const char*>(from), size));
  return written;
}

Status PowerLossFs::truncate(int fd, uint64_t size) {
  const Status cut = real_.truncate(fd, size);
  if (const NodePtr node = cut ? node_of(fd) : nullptr) node->resize(size);
  return cut;
}

// Changes no byte of any file.
Result<uint64_t> PowerLossFs::share_range(int from, uint64_t from_offset, int to,
                                          uint64_t to_offset, uint64_t size) {
  return real_.share_range(from, from_offset, to, to_offset, size);
}

Result<size_t> PowerLossFs::copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                                       size_t size) {
  auto copied = real_.copy_range(from, from_offset, to, to_offset, size);
  const NodePtr node = copied && *copied > 0 ? node_of(to) : nullptr;
  if (node == nullptr) return copied;
  std::string bytes(*copied, '\0');
  if (!real_.pread(from, bytes.data(), bytes.size(), from_offset)) give_up("copy_range");
  node->write(to_offset, std::move(bytes));
  return copied;
}

// Nothing is really flushed: the test's machine keeps its power.
Status PowerLossFs::fsync(int fd) {
  const NodePtr node = node_of(fd);
  if (node == nullptr) return real_.fsync(fd);
  node->flush();
  return {};
}

Status PowerLossFs::fdatasync(int fd) {
  const NodePtr node = node_of(fd);
  if (node == nullptr) return real_.fdatasync(fd);
  node->flush();
  return {};
}

Status PowerLossFs::syncfs(int fd) {
  if (node_of(fd) == nullptr) return real_.syncfs(fd);
  for (auto& [key, node] : nodes_) node->flush();
  return {};
}

Status PowerLossFs::rename(int from_dir, const char* from, int to_dir, const char* to,
                           RenameMode mode) {
  const NodePtr node = node_at(from_dir, from);
  const NodePtr other = node_at(to_dir, to);
  const auto old_place = place_of(from_dir, from);
  const auto new_place = place_of(to_dir, to);
  const Status renamed = real_.rename(from_dir, from, to_dir, to, mode);
  // Two names of one file: the kernel does nothing.
  if (!renamed || node == other) return renamed;
  set_name(old_place, mode == RenameMode::kExchange ? other : nullptr);
  set_name(new_place, node);
  return renamed;
}

Status PowerLossFs::link(int from_dir, const char* from, int to_dir, const char* to) {
  const Status linked = real_.link(from_dir, from, to_dir, to);
  if (linked) set_name(place_of(to_dir, to), node_at(from_dir, from));
  return linked;
}

Status PowerLossFs::link_fd(int fd, int to_dir, const char* to) {
  const Status linked = real_.link_fd(fd, to_dir, to);
  if (linked) set_name(place_of(to_dir, to), node_of(fd));
  return linked;
}

Status PowerLossFs::unlink(int dir, const char* name) {
  const Status gone = real_.unlink(dir, name);
  if (gone) set_name(place_of(dir, name), nullptr);
  return gone;
}

Status PowerLossFs::mkdir(int dir, const char* name, mode_t mode) {
  const Status made = real_.mkdir(dir, name, mode);
  const auto place = made ? place_of(dir, name) : std::pair<NodePtr, std::string>();
  if (place.first == nullptr) return made;
  const auto stat = real_.stat(dir, name, Follow::kNo);
  if (stat) set_name(place, new_node(*stat));
  return made;
}

Status PowerLossFs::rmdir(int dir, const char* name) {
  const Status gone = real_.rmdir(dir, name);
  if (gone) set_name(place_of(dir, name), nullptr);
  return gone;
}

}  // namespace mh::test
