// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FolderClient: the smallest thing that uses a Folder as an IMAP server does.
//
// It keeps an index in memory - UIDs, flags, hints, FolderMemory - and brings it up to date by
// sync(), in the order that folder.h prescribes. What a connected client would be told is collected
// in events(). Every UID it ever saw is remembered with its bytes: a UID that comes to denote other
// bytes, or that comes back, is reported as a violation.
//
// append() and expunge() call Folder in the order of plugin/mh-save.cc and plugin/sync-pass.cc.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "libmh/folder/folder.h"
#include "libmh/folder/root.h"

namespace mh::test {

class FolderClient {
 public:
  struct Message {
    MessageHint hint;
    std::set<std::string> flags;  // "\\Seen", "\\Flagged", keywords
    Nanoseconds undecided_since = 0;
  };

  // A message to be appended.
  struct Mail {
    std::string text;
    std::set<std::string> flags = {};
    uint32_t uid = 0;   // 0: the next one
    uint32_t date = 0;  // internal date
    uint32_t saved = 0;
    Guid guid{};  // none: one is made
    Pop3Identity pop3 = {};
    // Instead of the text:
    const OpenMessage* copy_of = nullptr;
  };

  FolderClient(Fs& fs, std::string mail_root, std::string folder);

  // Keeps the index in a file, as a server would: taken from there now if there is one, written
  // whenever a sync or store() is done. So a client that was killed or had an error is followed by
  // one that knows what was committed, and nothing else.
  void keep_index_in(std::string file);
  // Opens the folder anew, as another process would; the index stays unless lose_index() is called,
  // and what is pending with it.
  void reopen();
  void lose_index();
  Status sync(bool thorough = false);
  // Changes a flag; brought to the folder by the next sync.
  void store(uint32_t uid, const std::string& flag, bool on);
  // Saves them in one transaction; the UIDs that they got.
  Result<std::vector<uint32_t>> append(const std::vector<Mail>& mails);
  // Up to the moment before the locks are taken; and from there on.
  Result<std::vector<NewMessage>> begin_append(const std::vector<Mail>& mails);
  Result<std::vector<uint32_t>> finish_append(const std::vector<Mail>& mails,
                                              std::vector<NewMessage> messages);
  // Copies them from there, with flags, date and GUID.
  Result<std::vector<uint32_t>> copy_from(FolderClient& from, const std::vector<uint32_t>& uids);
  // To be removed by the next sync.
  void expunge(const std::vector<uint32_t>& uids);
  Status change_identity(const Folder::Identity& wanted);
  // As mhsync does, by a folder opened for it that has no index. How many messages were moved.
  Result<uint64_t> pack();
  Result<bool> order_by_number();
  // Opens the folder if it is not open yet.
  Status open();
  // The visible bytes.
  Result<std::string> fetch(uint32_t uid);
  // Gives tags to all that can have one.
  Status adopt_all();

  Folder& folder() { return *folder_; }
  const std::map<uint32_t, Message>& messages() const { return messages_; }
  std::vector<uint32_t> uids() const;
  uint32_t uid_of(uint32_t number) const;  // 0: none
  uint32_t uidvalidity() const { return uidvalidity_; }
  bool seen(uint32_t uid) const { return messages_.at(uid).flags.contains("\\Seen"); }
  bool flagged(uint32_t uid, const std::string& flag) const {
    return messages_.at(uid).flags.contains(flag);
  }
  // Since the last call: "EXISTS 3", "EXPUNGE 2", "FLAGS 1 \\Seen …", "VALIDITY".
  std::vector<std::string> events();
  const std::vector<std::string>& warnings() const { return warnings_; }
  // What a UID showed when it was told, by UID; of this UIDVALIDITY.
  std::map<uint32_t, std::string> told() const;
  // What must never happen; see above. Checks all messages by fetching them.
  std::vector<std::string> violations();
  // More than one line of the same kind would be wrong; kept for the tests that count.
  FolderSettings settings;

 private:
  Status locked_sync();
  Status try_sync(bool thorough, bool* again);
  Status write_text(const Mail& mail, NewMessage* message);
  Status bring_in(const std::vector<Mail>& mails, std::vector<NewMessage>* messages);
  void take_expunged(const NumberSet& uids);
  void take_records(const FilesOutcome& files);
  void keep_last_merge(const FolderMemory& before);
  void set_flags(const std::string& text, uint32_t uid);
  std::string flags_text(uint32_t uid) const;
  FlagsInput flags_input(const FilesOutcome& files);
  void apply(const FlagChange& change);
  void commit();
  void remember_told();
  void read_index(std::istream& in);
  void write_index(std::ostream& out) const;

  Fs& fs_;
  std::string index_file_;
  std::string mail_root_;
  std::string path_;
  std::unique_ptr<Root> root_;
  std::unique_ptr<Folder> folder_;
  std::map<uint32_t, Message> messages_;
  FolderMemory memory_;
  uint32_t uidvalidity_ = 0;
  uint32_t uidnext_ = 1;
  std::vector<FlagChange> pending_;
  NumberSet to_expunge_;
  std::map<uint32_t, uint32_t> old_numbers_;
  std::vector<std::string> events_;
  std::vector<std::string> warnings_;
  std::map<std::pair<uint32_t, uint32_t>, std::string> history_;  // (validity, UID) -> bytes
  std::set<std::pair<uint32_t, uint32_t>> expunged_;
  std::vector<std::string> violations_;
};

}  // namespace mh::test
