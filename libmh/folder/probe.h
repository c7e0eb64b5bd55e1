// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reads what reconcile() asks for: the start of a message file, or all of it.
//
// Six system calls for most files: open, lease, fstat, one read of a block, lease returned, close.
// Never blocks on a FIFO, never follows a link, never changes anything (atime is left alone where
// the kernel lets us). The lease tells whether somebody has the file open for writing, and keeps
// writers waiting while we read, so that what was read is one state of the file: it costs two cheap
// calls for each file, but no time stamp could say the same (a writer may be silent for minutes in
// the middle of a message). A writer who comes while a long file is read gets his turn at once.
//
// Reported as being written: a file that somebody writes to or that changed while it was read, one
// that is empty and younger than ten seconds, one that we lack the memory or the descriptors for
// (what waits loses nothing; what is unreadable is announced as that). Where no lease can be had
// (foreign owner, file system), a file must have been quiet for kQuiet. Age is told by ctime, which
// nobody can set, and is never waited for longer than it says, whatever the clock does.
#pragma once

#include "libmh/folder/reconcile.h"
#include "libmh/format/tag-line.h"
#include "libmh/result.h"
#include "libmh/system/fs.h"

namespace mh {

inline constexpr Nanoseconds kQuiet = 2 * kSecond;
inline constexpr Nanoseconds kEmptyWait = 10 * kSecond;

// What is read of a file at first. Headers and, more often than not, the whole message lie within.
inline constexpr size_t kFirstRead = 8192;

// Never fails: what goes wrong is the state of the probe. Its hash is set for every message that
// the first read covers, asked for or not.
Probe read_probe(Fs& fs, int dir, const ProbeRequest& request, const TagKey& key);

// The same on a file that is open already, for reading only; leaves its offset alone, and a lease
// that it has.
Probe probe_open_file(Fs& fs, int fd, const ProbeRequest& request, const TagKey& key);

}  // namespace mh
