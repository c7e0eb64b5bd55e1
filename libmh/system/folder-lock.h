// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FolderLock: the exclusive lock of a folder's state, and of the list of folders.
//
// An OFD write lock on a file that serves nothing else. It binds our own processes (Dovecot's and
// mhsync's) and no other; against nmh there is SequencesFile. Lock order: list lock, folder lock,
// Dovecot's index, store, sequences file.
//
// The file is never removed while its directory lives, and who gets the lock looks once more
// whether the name still leads to the file that was locked: a state directory may have been
// replaced meanwhile. It holds the holder's pid as text, because the kernel tells none for an OFD
// lock. A crash leaves the file and no lock.
#pragma once

#include <utility>

#include "libmh/system/fs.h"

namespace mh {

class FolderLock {
 public:
  struct Options {
    // Of the file, when it must be made; a gid of -1 is the directory's choice.
    mode_t mode = 0600;
    gid_t gid = static_cast<gid_t>(-1);
    // 0: one attempt.
    Nanoseconds timeout = 0;
    // For who may only read: excludes those who write, and is shared with others who read. Such a
    // lock is had where the file can be read, and never makes it.
    bool shared = false;
  };

  // kBusy after the time-out, naming the holder; kNotFound when the directory is gone; kPermission,
  // kReadOnly, kNoSpace when the file can be neither opened nor made; kInvalid when it is no file.
  static Result<FolderLock> acquire(Fs& fs, int dir, const char* name, const Options& options);

  FolderLock(FolderLock&& other) noexcept
      : fs_(std::exchange(other.fs_, nullptr)), file_(std::move(other.file_)) {}
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock() { release(); }

  bool held() const { return static_cast<bool>(file_); }
  void release();

 private:
  FolderLock(Fs& fs, Fd file) : fs_(&fs), file_(std::move(file)) {}

  Fs* fs_ = nullptr;
  Fd file_;
};

}  // namespace mh
