// SPDX-License-Identifier: LGPL-2.1-or-later
//
// PowerLossFs: an Fs that remembers what has been flushed, and shows what the loss of power may
// leave.
//
// All calls but flushes do the real thing below a root. Beside that it keeps, for each file, the
// content of its last flush and the writes since; for each directory, the names of its last flush
// and the changes since. leave() then makes a tree as the disk could have it if the power went now:
//
//  - of a file, each block of 512 bytes written since the flush is there or not, one by one; its
//    length is any that it has had since; a part never written reads as zeros
//  - of a directory, each name means any of the things that it has meant since the flush, whatever
//    the other names do: a rename may leave both names
//  - but what had a name at the last flush and was only renamed since, or exchanged, has one of
//    its names: every file system worth keeping mail on journals that
//
// fsync and fdatasync of a file do not flush its name, fsync of a directory flushes its names and
// nothing in them, syncfs everything. Modes are taken as they are at the moment, stamps and
// extended attributes are not modelled. What others write past this Fs is not seen until
// flush_everything().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libmh/system/fs.h"

namespace mh::test {

class PowerLossFs final : public Fs {
 public:
  // Takes all below `root` (a real path) as flushed.
  explicit PowerLossFs(const std::string& root, Fs& real = Fs::posix());
  ~PowerLossFs() override;

  // Reads the tree anew and takes all of it as flushed.
  void flush_everything();

  // Makes one of the possible trees below `target`, an empty directory. The first seeds are the
  // plain cases: nothing that was not flushed; everything; new names without content; content
  // without new names. From kFirstRandom on they are random.
  static constexpr uint64_t kFirstRandom = 4;
  void leave(const std::string& target, uint64_t seed) const;

  Result<Fd> open(int dir, const char* name, int flags, mode_t mode) override;
  Result<size_t> pread(int fd, void* to, size_t size, uint64_t offset) override;
  Status pwrite(int fd, const void* from, size_t size, uint64_t offset) override;
  Status truncate(int fd, uint64_t size) override;
  Result<uint64_t> share_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                               uint64_t size) override;
  Result<size_t> copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset,
                            size_t size) override;
  Status fsync(int fd) override;
  Status fdatasync(int fd) override;
  Status start_writeback(int fd) override { return real_.start_writeback(fd); }
  Status syncfs(int fd) override;
  Result<FileStat> stat(int dir, const char* name, Follow follow) override {
    return real_.stat(dir, name, follow);
  }
  Result<FileStat> fstat(int fd) override { return real_.fstat(fd); }
  Status list(int dir, const std::function<bool(const DirEntry&)>& each) override {
    return real_.list(dir, each);
  }
  Status rename(int from_dir, const char* from, int to_dir, const char* to,
                RenameMode mode) override;
  Status link(int from_dir, const char* from, int to_dir, const char* to) override;
  Status link_fd(int fd, int to_dir, const char* to) override;
  Status unlink(int dir, const char* name) override;
  Status mkdir(int dir, const char* name, mode_t mode) override;
  Status rmdir(int dir, const char* name) override;
  Result<std::string> real_path(const std::string& path) override { return real_.real_path(path); }
  Status chmod(int fd, mode_t mode) override {
    const Status changed = real_.chmod(fd, mode);
    static_cast<void>(node_of(fd));  // which takes the mode over
    return changed;
  }
  Status chown(int fd, uid_t uid, gid_t gid) override { return real_.chown(fd, uid, gid); }
  Status set_times(int fd, Nanoseconds atime, Nanoseconds mtime) override {
    return real_.set_times(fd, atime, mtime);
  }
  Status copy_xattrs(int from, int to) override { return real_.copy_xattrs(from, to); }
  Result<std::string> handle(int fd) override { return real_.handle(fd); }
  Status set_lock(int fd, Lock lock) override { return real_.set_lock(fd, lock); }
  Result<pid_t> lock_holder(int fd) override { return real_.lock_holder(fd); }
  Status set_flock(int fd, Lock lock) override { return real_.set_flock(fd, lock); }
  Status set_lease(int fd, Lease lease) override { return real_.set_lease(fd, lease); }
  Result<Lease> get_lease(int fd) override { return real_.get_lease(fd); }
  Nanoseconds now() override { return real_.now(); }
  Nanoseconds monotonic() override { return real_.monotonic(); }
  void sleep(Nanoseconds duration) override { real_.sleep(duration); }
  uid_t user() override { return real_.user(); }
  pid_t process() override { return real_.process(); }

 private:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  class Leaving;

  NodePtr read_tree(const std::string& path);
  // Null for what does not lie below the root.
  NodePtr node_of(int fd);
  std::pair<NodePtr, std::string> place_of(int dir, const char* name);
  NodePtr node_at(int dir, const char* name);
  NodePtr new_node(const FileStat& stat);
  static void set_name(const std::pair<NodePtr, std::string>& place, NodePtr to);

  Fs& real_;
  std::string root_path_;
  NodePtr root_;
  uint64_t made_ = 0;
  std::map<std::pair<uint64_t, uint64_t>, NodePtr> nodes_;  // by device and inode, as they are now
};

}  // namespace mh::test
