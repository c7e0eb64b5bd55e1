// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Messages that are there more than once: which they are, and what becomes of the copies.
//
// Finding takes no lock and changes nothing. Each file is read once for a hash; what is kept of it
// is a few numbers. Among equal hashes the bytes themselves are compared, so that a hash never
// decides alone:
//
//   kExact      all bytes that IMAP shows
//   kContent    those that are the same in every copy (libmh/format/canonical-message.h)
//   kMessageId  the Message-ID alone, byte by byte. Mails that share it and differ otherwise are
//               copies then: a sender's program that gives the same to two mails, or a list that
//               changes what it passes on, is believed. A message without one is nobody's copy
//
// What was compared is known by the identity of the file (inode, birth, size, mtime) and was not
// changed within the last tick of the clock, nor was it open for writing where a lease can tell
// that. Folder::remove_copies() then believes nothing that does not have that identity still, under
// the locks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libmh/format/tag-line.h"
#include "libmh/result.h"
#include "libmh/store/record.h"
#include "libmh/system/fs.h"

namespace mh {

enum class DedupBy { kMessageId, kContent, kExact };
// By internal date, then by the order of folders and numbers; kFirstFolder: by folder, then so.
enum class DedupKeep { kOldest, kNewest, kFirstFolder };

// A message, as it was when it was compared.
struct ComparedMessage {
  uint32_t folder = 0;  // see DuplicateFinder::add_folder()
  uint32_t number = 0;
  FileIdentity file;
  uint32_t prefix = 0;      // bytes of the file before the IMAP message
  uint32_t date = 0;        // internal date
  uint64_t first_hash = 0;  // as Record has it
  uint64_t visible_size() const { return file.size - prefix; }
};

// Messages that are the same; the first one is kept, the others are copies in the order of folders
// and numbers. At least two.
using DuplicateGroup = std::vector<ComparedMessage>;

class DuplicateFinder {
 public:
  DuplicateFinder(Fs& fs, DedupBy by) : fs_(fs), by_(by) {}

  // Called now and then with what is done of what there is; false: stop.
  using Progress = std::function<bool(uint64_t done, uint64_t of)>;

  // Reads the messages of the folder at this absolute path. `key` tells our own tags. Folders are
  // numbered from 0 in the order in which they are added. False: this directory was added already
  // (under another name, perhaps), and not again; it has no number.
  Result<bool> add_folder(const std::string& path, const TagKey& key, const Progress& progress);

  // The groups, by folder and number of the one that is kept. Ends the finder.
  Result<std::vector<DuplicateGroup>> find(DedupKeep keep, const Progress& progress);

  uint64_t messages() const { return messages_; }
  uint64_t bytes_read() const { return bytes_read_; }
  // Messages that could not be read, or are being written: nobody's copies for now.
  uint64_t passed_over() const { return passed_over_; }

 private:
  struct Place {
    std::string path;
    TagKey key{};
    uint64_t device = 0;
    uint64_t inode = 0;
  };
  struct Candidate {
    uint64_t hash = 0;
    uint64_t size = 0;  // visible bytes; 0 where sizes do not matter
    uint32_t folder = 0;
    uint32_t number = 0;
  };
  class Reading;

  Result<Fd> open_file(uint32_t folder, uint32_t number);
  Result<Reading> open_for_hash(uint32_t folder, uint32_t number);
  Result<Reading> open(uint32_t folder, uint32_t number);
  std::optional<Candidate> candidate_of(Reading& message);
  Status refine(std::vector<Candidate>* same);
  Result<bool> are_same(Reading& a, Reading& b);
  Result<bool> are_same_bytes(Reading& a, Reading& b);
  bool is_copy_of(Reading& reading, const ComparedMessage& first);
  Status split(const std::vector<Candidate>& same, DedupKeep keep,
               std::vector<DuplicateGroup>* groups);

  Fs& fs_;
  DedupBy by_;
  std::vector<Place> places_;
  std::vector<Candidate> candidates_;
  uint64_t messages_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t passed_over_ = 0;
};

// What becomes of a copy; what was taken from where stays with the message that is kept.
enum class CopyGoes {
  kToFolder,  // to another folder, as by refile; its sequences with it
  kToBackup,  // as by rmm: stays as ",N"
  kAway,      // for good
};

// A message and one copy of it; see Folder::remove_copies().
struct CopyToRemove {
  ComparedMessage kept;
  ComparedMessage copy;
  enum class Fate {
    kUndecided,
    kGone,     // it went where it was to go
    kChanged,  // it or the one to be kept is not there any more, or not what was compared
  };
  Fate fate = Fate::kUndecided;
  uint32_t moved_to = 0;      // its number in the other folder
  bool newly_linked = false;  // by this run
};

// Lets a copy have its bytes in common with the message that is kept, as far as the file system
// can: whole blocks at the same distance from a block's begin in both files, which the kernel
// compares once more itself. The file's first block, with its own X-MH-UID line, stays its own; and
// nothing is shared by files whose messages begin at different places in a block, such as one that
// has such a line and one that has none.
struct Shared {
  uint64_t bytes = 0;     // shared now
  uint64_t possible = 0;  // that could be shared, as far as positions tell
};
// How many bytes could be; 0 for small or shifted ones.
uint64_t shareable(const ComparedMessage& kept, const ComparedMessage& copy);
// kUnsupported: the file system cannot. kBusy: a file is not what was compared.
Result<Shared> share(Fs& fs, const std::string& kept_path, const ComparedMessage& kept,
                     const std::string& copy_path, const ComparedMessage& copy);

}  // namespace mh
