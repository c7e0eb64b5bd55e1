// SPDX-License-Identifier: LGPL-2.1-or-later
//
// SequencesFile: the `.mh_sequences` of one folder, under the rules that nmh lives by.
//
// nmh (sbr/lock_file.c, seq_read.c, seq_save.c) opens the file, then tries its write lock once a
// second for a minute, opening anew each time; reads; works on the folder; truncates and writes in
// place. It never looks again whether the file it locked still has the name. So:
//
//  - The file is written in place and never renamed, truncated or removed: whoever waits between
//    its open and its lock would write into a file without a name (measured: the update is lost).
//  - It is kept in existence: a command that finds none takes no lock at all, and writes with
//    O_TRUNC before it locks. That is why made() is told: for a while such commands may still be
//    running, and the folder counts as unlockable. The same is true of a folder without messages,
//    whose sequences nmh does not even read.
//  - It is replaced as a whole by one pwrite of text that is not shorter: at no instant is there
//    a file that kills nmh, unless power or process dies in the middle of that write. The caller
//    has the new text in its journal before, and repairs.
//  - exmh, mutt, Claws and Python write without lock, or by rename. Whatever of that happens
//    between read() and the end of write() turns into kBusy, and the caller does it again with
//    the same delta.
//  - While the lock is held no nmh command can run in the folder, not even `scan`: hold it for
//    milliseconds. It is also what makes message numbers stand still (nmh renames under this lock
//    and knows no other), so it is held around each use of a number, and is_current() asked
//    before.
//
// Lock order: last of all. Nothing is flushed here: flags that a power loss takes are in the index.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libmh/format/profile.h"
#include "libmh/system/filename.h"
#include "libmh/system/fs.h"

namespace mh {

// Whether a dot lock was left by a program that died: nobody waits for it any more.
bool is_stale_dot_lock(const FileStat& lock, Nanoseconds now);

struct SequencesText {
  std::string text;  // empty when there is no file
  bool exists = false;
  FileStat stat;
};

class SequencesFile {
 public:
  struct Options {
    // The profile's mh-sequences: a plain name, and no message's.
    std::string name{kDefaultSequencesFile};
    // Our own processes exclude each other by an OFD lock, whatever the profile says. On Linux
    // lockf(3) is the lock of fcntl(2).
    DataLocking locking = DataLocking::kFcntl;
    // Of the file when we make it; a gid of -1 is the directory's choice.
    mode_t mode = 0600;
    gid_t gid = static_cast<gid_t>(-1);
  };
  // Larger files are no sequences.
  static constexpr size_t kSizeLimit = size_t{16} << 20;

  // The lock, for as long as it lives. A crash leaves no lock, but with kDot a file that everybody
  // takes for stale after five minutes.
  class Hold;

  // `dir` is the folder, and stays open as long as this and its holds.
  SequencesFile(Fs& fs, int dir, Options options)
      : fs_(&fs), dir_(dir), options_(std::move(options)) {}

  // Opens, makes when there is none, locks, and looks whether the name still is that file. A file
  // that is empty or absent since a moment ago gets a second look (mutt unlinks before it renames).
  //   kBusy after `timeout` (0: one attempt), naming the holder where the kernel tells it
  //   kPermission, kReadOnly: cannot be locked here; read_unlocked()
  //   kNotFound: the folder is gone; kInvalid: the name is not a file, or not a name
  Result<Hold> acquire(Nanoseconds timeout) const;

  // For folders that we cannot lock. The text that stood still for a moment, by the file's stamps;
  // the caller compares the directory's before and after as well. kBusy when it did not within
  // `timeout`.
  Result<SequencesText> read_unlocked(Nanoseconds timeout) const;

 private:
  friend class Hold;
  struct Attempt;
  Result<Attempt> try_acquire(bool believe) const;
  Result<Fd> make() const;
  Result<SequencesText> read_once() const;
  std::string holder_of(int file) const;

  Fs* fs_;
  int dir_;
  Options options_;
};

class SequencesFile::Hold {
 public:
  Hold(Hold&& other) noexcept;
  Hold& operator=(Hold&& other) noexcept;
  ~Hold() { release(); }

  // There was no file: see above.
  bool made() const { return made_; }
  // There was a dot lock that somebody left long ago. It is gone if locking is kDot; else it is
  // still there, as it is not ours to remove.
  bool passed_stale_lock() const { return passed_stale_lock_; }
  // kBusy when the name no longer is the locked file: whoever replaced it knows no lock, what was
  // read before is void, and the hold is worth nothing any more.
  Status is_current() const;
  // The whole file as it is now; kInvalid when larger than kSizeLimit.
  Result<SequencesText> read();
  // `text` is the new content and at least as long as what the last read() gave (kInvalid). The
  // whole-second mtime becomes another one, where the file is ours, and at most one second ahead of
  // the clock: exmh compares seconds. Gives the file's stamps after the write, for telling later
  // whether somebody else wrote.
  //   kBusy: somebody wrote or replaced the file since the read; nothing of ours counts
  //   kNoSpace: the old content was put back
  //   kIo, or any other: the file may be torn
  Result<FileStat> write(std::string_view text);
  // The same for text of any length. A shorter one is written with blanks before its last newline,
  // which are cut off then; at no instant is there a file that kills nmh.
  Result<FileStat> replace(std::string_view text);
  void release();

 private:
  friend class SequencesFile;
  Hold(const SequencesFile& owner, Fd file, const FileStat& locked, bool made);

  // The locks beyond the OFD lock; kBusy.
  Status lock_as_profile_says();
  Status take_dot_lock();
  Result<FileStat> stat_current() const;
  Status cut_blanks(std::string_view text);
  Status put_back();

  Fs* fs_ = nullptr;
  int dir_ = -1;
  std::string name_;
  DataLocking locking_ = DataLocking::kFcntl;
  Fd file_;
  FileStat locked_;
  bool made_ = false;
  bool dot_made_ = false;
  bool passed_stale_lock_ = false;
  std::optional<SequencesText> last_read_;
};

struct SequencesFile::Attempt {
  std::optional<Hold> hold;
  Fd file;  // what we could not lock
  bool look_again = false;
};

}  // namespace mh
