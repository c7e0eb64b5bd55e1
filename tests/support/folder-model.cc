// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Row for row. A Pass holds, while it works its way down the table, what has become of each file
// and of each message.
#include "tests/support/folder-model.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <tuple>

namespace mh::test {
namespace {

using Message = FolderModel::Message;
using TagKind = Reading::TagKind;

enum class Fate { kOpen, kDecided, kWaits };

struct FileState {
  Fate fate = Fate::kOpen;
  Reading reading;
};

struct Edited {
  uint32_t uid = 0;
  std::optional<Message> old;  // nothing: only the UID was left of it
};

uint32_t date_of(Nanoseconds time) {
  if (time < 0) return 0;
  return static_cast<uint32_t>(
      std::min<Nanoseconds>(time / kSecond, std::numeric_limits<uint32_t>::max()));
}

class Pass {
 public:
  Pass(FolderModel& model, std::vector<SeenFile> files, uint32_t now)
      : model_(model), files_(std::move(files)), states_(files_.size()), now_(now) {}

  Told whole() {
    find_by_identity();
    for (const auto& [uid, f] : known_) judge_known(model_.messages.at(uid), f);
    read_unknown();
    find_under_own_number();
    find_by_tag();
    find_edited_by_tag();
    drop_missing();
    announce_rest();
    number_arrivals();
    return finish();
  }

  Told glance() {
    glancing_ = true;
    for (const SeenFile& file : files_) told_.relist = told_.relist || file.gone;
    read_unknown();
    for (size_t f = 0; f < files_.size(); ++f) {
      if (!plain_arrival(f)) states_[f].fate = Fate::kDecided;
    }
    announce_rest();
    number_arrivals();
    return finish();
  }

 private:
  bool open(size_t f) const { return states_[f].fate == Fate::kOpen; }
  bool missing(const Message& m) const { return !fates_.contains(m.uid); }
  bool readable(size_t f) const { return files_[f].file->readable(); }
  bool being_written(size_t f) const {
    return files_[f].file->access == SimulatedFile::Access::kBeingWritten;
  }
  const Reading& reading(size_t f) const { return states_[f].reading; }

  // ---- What a tag proves ------------------------------------------------------------------

  static bool ours(const Reading& r) {
    return r.kind == TagKind::kRecorded || r.kind == TagKind::kVerified;
  }
  static bool trusted(const Reading& r) {
    return ours(r) || (r.kind == TagKind::kUnverified && r.first);
  }
  static bool fits(const Reading& r) {
    return trusted(r) && r.tag.length == r.content.length && r.tag.hash == r.content.whole;
  }
  bool names(const Reading& r, const Message& m) const {
    if (r.kind == TagKind::kRecorded) return r.tag.uid == m.uid;
    return r.kind == TagKind::kVerified && r.tag.uidvalidity == model_.uidvalidity &&
           r.tag.uid == m.uid && r.tag.guid == m.guid;
  }
  bool same_bytes(const Message& m, size_t f, bool known_by_identity) const {
    const Reading& r = reading(f);
    if (r.content.length != m.content.length || r.content.start != m.content.start) return false;
    if (m.content.length <= kFirstHashSize) return true;
    if (m.whole_known) return r.content.whole == m.content.whole;
    if (names(r, m)) return r.content.whole == r.tag.hash;
    const bool only_lines_above = known_by_identity && r.prefix != m.prefix;
    return only_lines_above || files_[f].file->stamp.mtime == m.file.mtime;
  }

  // ---- Rows of files known by their identity ----------------------------------------------

  struct Match {
    int rank = 0;
    uint32_t old_number = 0;
    uint32_t uid = 0;
    size_t file = 0;
    auto order() const { return std::tie(rank, old_number, uid, file); }
  };
  static bool weak(const Message& m, const SeenFile& f) {
    return m.file.birth == 0 || f.listed.birth == 0;
  }
  static bool stamps_agree(const Message& m, const SeenFile& f) {
    return m.file.size == f.listed.size && m.file.mtime == f.listed.mtime;
  }

  void find_by_identity() {
    std::vector<Match> matches;
    for (const auto& [uid, m] : model_.messages) {
      for (size_t f = 0; f < files_.size(); ++f) {
        const SeenFile& file = files_[f];
        if (m.file.inode != file.listed.inode) continue;
        if (!weak(m, file) && m.file.birth != file.listed.birth) continue;
        const bool own = m.number == file.number;
        const int doubt = !weak(m, file) ? 0 : stamps_agree(m, file) ? 2 : 4;
        matches.push_back({doubt + (own ? 0 : 1), m.number, uid, f});
      }
    }
    std::sort(matches.begin(), matches.end(),
              [](const Match& a, const Match& b) { return a.order() < b.order(); });
    std::set<size_t> taken;
    for (const Match& match : matches) {
      if (known_.contains(match.uid) || taken.contains(match.file)) continue;
      known_[match.uid] = match.file;
      taken.insert(match.file);
    }
  }

  void judge_known(Message& m, size_t f) {
    const SeenFile& file = files_[f];
    const bool unchanged = stamps_agree(m, file);
    if (unchanged && !m.unread && !file.opened) return believe(m, f);
    if (!readable(f)) {
      if (being_written(f)) told_.waiting.push_back(file.number);
      const FileIdentity before = m.file;
      const bool still_unread = m.unread && !being_written(f);
      believe(m, f);
      if (!unchanged && !still_unread) m.file = before;
      return;
    }
    const Tag recorded = model_.tag_of(m);
    states_[f].reading = read_as_message(*file.file, m.tagged ? &recorded : nullptr);
    read_already_.insert(f);
    const Reading& r = reading(f);
    if (m.unread || same_bytes(m, f, true)) return keep(m, f, true);
    const bool another_message = r.kind == TagKind::kVerified && !names(r, m) && fits(r);
    if (another_message || weak(m, file)) return;  // neither is decided
    edit(f, {m.uid, m});
  }

  // Row: identity under whatever number, nothing that a stat shows has changed.
  void believe(Message& m, size_t f) {
    move_to(m, f);
    m.file = files_[f].listed;
    decide(m.uid, f);
  }

  void decide(uint32_t uid, size_t f) {
    fates_[uid] = Fate::kDecided;
    states_[f].fate = Fate::kDecided;
  }

  void move_to(Message& m, size_t f) {
    if (m.number != files_[f].number) told_.renumbered.push_back(m.uid);
    m.number = files_[f].number;
  }

  // The visible bytes are those of the message.
  void keep(Message& m, size_t f, bool in_place) {
    const Reading& r = reading(f);
    const FileIdentity& now = files_[f].file->stamp;
    const bool same_file = m.file.inode == now.inode && m.file.birth == now.birth &&
                           m.file.size == now.size && m.file.mtime == now.mtime;
    move_to(m, f);
    m.file = now;
    m.prefix = r.prefix;
    if (files_[f].read_whole || m.unread) m.content = r.content;
    m.whole_known = m.whole_known || files_[f].read_whole;
    m.unread = false;
    const bool tagged = r.kind != TagKind::kNone && m.whole_known && r.tag == model_.tag_of(m);
    if (m.tagged && !tagged) {
      told_.untagged.push_back(m.uid);
      // Somebody works against us: he wrote in the file, or put a tag of his own there.
      if (in_place || r.kind == TagKind::kUnverified) m.leave_alone = true;
    }
    m.tag_on_disk = m.tag_on_disk && tagged && same_file;
    m.tagged = tagged;
    const Told::NewFlags flags{m.uid, r.replied && !m.replied_seen,
                               r.forwarded && !m.forwarded_seen};
    if (flags.replied || flags.forwarded) told_.annotated.push_back(flags);
    m.replied_seen = m.replied_seen || r.replied;
    m.forwarded_seen = m.forwarded_seen || r.forwarded;
    decide(m.uid, f);
  }

  // Row: visible bytes changed.
  void edit(size_t f, Edited edited) {
    decide(edited.uid, f);
    told_.dropped.push_back(edited.uid);
    edited_[f] = std::move(edited);
  }

  // ---- Rows of files that nobody knows ----------------------------------------------------

  void read_unknown() {
    for (size_t f = 0; f < files_.size(); ++f) {
      if (!open(f) || read_already_.contains(f) || !readable(f)) continue;
      states_[f].reading = read_as_message(*files_[f].file, nullptr);
    }
  }

  std::optional<size_t> open_file_under(uint32_t number) const {
    for (size_t f = 0; f < files_.size(); ++f) {
      if (files_[f].number == number && open(f)) return f;
    }
    return std::nullopt;
  }

  // Rows: same number, new inode; unreadable.
  void find_under_own_number() {
    for (auto& [uid, m] : model_.messages) {
      if (!missing(m)) continue;
      const auto f = open_file_under(m.number);
      if (!f) continue;
      if (!readable(*f)) {
        if (being_written(*f)) told_.waiting.push_back(m.number);
        fates_[uid] = Fate::kWaits;
        states_[*f].fate = Fate::kWaits;
      } else if (!m.unread && same_bytes(m, *f, false)) {
        keep(m, *f, false);
      }
    }
  }

  // Files that bear a tag of this UID: the one under the recorded number first.
  std::vector<size_t> bearers(uint32_t uid, const Message* m) const {
    std::vector<size_t> found;
    for (size_t f = 0; f < files_.size(); ++f) {
      if (!open(f) || !readable(f)) continue;
      const Reading& r = reading(f);
      if (!ours(r) || r.tag.uidvalidity != model_.uidvalidity || r.tag.uid != uid) continue;
      if (uid >= model_.uidnext || (m != nullptr && r.tag.guid != m->guid)) continue;
      const bool own = m != nullptr && files_[f].number == m->number;
      found.insert(own ? found.begin() : found.end(), f);
    }
    return found;
  }

  // Row: verified tag of this UIDVALIDITY, length and hash right, UID missing in this very pass.
  void find_by_tag() {
    for (auto& [uid, m] : model_.messages) {
      if (!missing(m)) continue;
      for (const size_t f : bearers(uid, &m)) {
        if (!fits(reading(f)) || !same_bytes(m, f, false)) continue;
        keep(m, f, false);
        break;
      }
    }
    for (const uint32_t uid : std::set<uint32_t>(model_.lost)) {
      for (const size_t f : bearers(uid, nullptr)) {
        if (!fits(reading(f))) continue;
        remember_from_tag(uid, f);
        break;
      }
    }
  }

  void remember_from_tag(uint32_t uid, size_t f) {
    const Reading& r = reading(f);
    Message m;
    m.uid = uid;
    m.number = files_[f].number;
    m.file = files_[f].file->stamp;
    m.prefix = r.prefix;
    m.content = r.content;
    m.whole_known = m.tagged = true;
    m.replied_seen = r.replied;
    m.forwarded_seen = r.forwarded;
    m.guid = r.tag.guid;
    m.internal_date = r.tag.internal_date;
    m.saved = r.tag.saved;
    model_.messages[uid] = m;
    model_.lost.erase(uid);
    decide(uid, f);
  }

  // Row: visible bytes changed by a new file that still bears its tag.
  void find_edited_by_tag() {
    std::set<uint32_t> uids = model_.lost;
    for (const auto& [uid, m] : model_.messages) uids.insert(uid);
    for (const uint32_t uid : uids) {
      const auto m = model_.messages.find(uid);
      const bool known = m != model_.messages.end();
      if (known && !missing(m->second)) continue;
      for (const size_t f : bearers(uid, known ? &m->second : nullptr)) {
        if (fits(reading(f))) continue;
        edit(f, {uid, known ? std::optional(m->second) : std::nullopt});
        model_.lost.erase(uid);
        break;
      }
    }
  }

  // ---- What is left -----------------------------------------------------------------------

  // Row: number gone, identity nowhere.
  void drop_missing() {
    for (const auto& [uid, m] : model_.messages) {
      if (missing(m)) told_.dropped.push_back(uid);
    }
    for (size_t f = 0; f < files_.size(); ++f) {
      if (open(f) && !readable(f) && !model_.lost.empty()) may_be_lost_ = true;
    }
    if (may_be_lost_) return;  // such a file may be any of them
    told_.dropped.insert(told_.dropped.end(), model_.lost.begin(), model_.lost.end());
    model_.lost.clear();
  }

  // Row: second name of one inode.
  bool second_name(size_t f) const {
    for (size_t other = 0; other < files_.size(); ++other) {
      const bool same = other != f && files_[other].listed.inode == files_[f].listed.inode;
      if (same && (!open(other) || other < f)) return true;
    }
    return false;
  }

  bool in_a_record(size_t f) const {
    for (const auto& [uid, m] : model_.messages) {
      if (m.number == files_[f].number || m.file.inode == files_[f].listed.inode) return true;
    }
    return false;
  }

  // In a glance: inode and number in no record, no tag of this UIDVALIDITY, no second name.
  bool plain_arrival(size_t f) const {
    const SeenFile& file = files_[f];
    if (file.gone || in_a_record(f)) return false;
    for (size_t other = 0; other < files_.size(); ++other) {
      const bool same = other != f && files_[other].listed.inode == file.listed.inode;
      if (same && (other < f || in_a_record(other))) return false;
    }
    if (being_written(f)) return true;
    return readable(f) && !(ours(reading(f)) && reading(f).tag.uidvalidity == model_.uidvalidity);
  }

  // Rows: unknown file, no tag; any other tag.
  void announce_rest() {
    std::vector<size_t> new_files;
    for (size_t f = 0; f < files_.size(); ++f) {
      if (edited_.contains(f)) new_files.push_back(f);
      if (!open(f)) continue;
      if (being_written(f)) {
        told_.waiting.push_back(files_[f].number);
      } else if (readable(f) || !may_be_lost_) {
        new_files.push_back(f);
      }
    }
    for (const size_t f : new_files) announce(f);
  }

  void announce(size_t f) {
    const SeenFile& file = files_[f];
    Message m;
    m.number = file.number;
    m.saved = now_;
    Told::Arrival arrival;
    arrival.number = file.number;
    if (!readable(f)) {
      m.file = file.listed;
      m.unread = true;
      m.internal_date = date_of(file.listed.mtime);
    } else {
      const Reading& r = reading(f);
      m.file = file.file->stamp;
      m.prefix = r.prefix;
      m.content = r.content;
      m.whole_known = file.read_whole;
      m.replied_seen = arrival.replied = r.replied;
      m.forwarded_seen = arrival.forwarded = r.forwarded;
      m.internal_date = file.file->body.delivery_date().value_or(date_of(file.file->stamp.mtime));
      if (trusted(r)) {
        m.internal_date = r.tag.internal_date;
        m.saved = r.tag.saved;
        arrival.origin = r.tag.guid;
        const bool may_keep = open(f) && (glancing_ || !second_name(f));
        if (fits(r) && may_keep) m.guid = r.tag.guid;
      }
    }
    if (edited_.contains(f)) carry(edited_.at(f), m, arrival);
    arrival.internal_date = m.internal_date;
    arrival.saved = m.saved;
    new_messages_.push_back(m);
    told_.arrived.push_back(arrival);
  }

  void carry(const Edited& edited, Message& m, Told::Arrival& arrival) {
    arrival.edited_from = edited.uid;
    arrival.origin = {};
    if (!edited.old) return;
    const Message& old = *edited.old;
    m.internal_date = old.internal_date;
    m.saved = old.saved;
    m.leave_alone = old.leave_alone;
    arrival.replied = arrival.replied && !old.replied_seen;
    arrival.forwarded = arrival.forwarded && !old.forwarded_seen;
    m.replied_seen = m.replied_seen || old.replied_seen;
    m.forwarded_seen = m.forwarded_seen || old.forwarded_seen;
  }

  // UIDs in number order; a GUID belongs to one message of the folder.
  void number_arrivals() {
    for (const uint32_t uid : told_.dropped) model_.messages.erase(uid);
    std::set<Guid> in_use = {Guid{}};
    for (const auto& [uid, m] : model_.messages) in_use.insert(m.guid);
    for (size_t i = 0; i < new_messages_.size(); ++i) {
      Message m = new_messages_[i];
      m.uid = model_.uidnext++;
      Told::Arrival& arrival = told_.arrived[i];
      arrival.keeps_guid = in_use.insert(m.guid).second;
      if (arrival.keeps_guid) {
        arrival.guid = m.guid;
      } else {
        m.guid = guid_made_for(model_.uidvalidity, m.uid);
      }
      model_.messages[m.uid] = m;
    }
  }

  Told finish() {
    const auto by_uid = [](const auto& a, const auto& b) { return a.uid < b.uid; };
    std::sort(told_.dropped.begin(), told_.dropped.end());
    std::sort(told_.annotated.begin(), told_.annotated.end(), by_uid);
    std::sort(told_.renumbered.begin(), told_.renumbered.end());
    std::sort(told_.untagged.begin(), told_.untagged.end());
    std::sort(told_.waiting.begin(), told_.waiting.end());
    return std::move(told_);
  }

  FolderModel& model_;
  std::vector<SeenFile> files_;
  std::vector<FileState> states_;
  uint32_t now_;
  std::map<uint32_t, size_t> known_;  // by identity: UID -> file
  std::map<uint32_t, Fate> fates_;    // of messages; not there: missing so far
  std::set<size_t> read_already_;     // as the file of a message
  std::map<size_t, Edited> edited_;   // file -> the message it was
  bool may_be_lost_ = false;
  bool glancing_ = false;
  std::vector<Message> new_messages_;
  Told told_;
};

std::string guid_text(const Guid& guid) {
  std::ostringstream out;
  for (const uint8_t byte : guid) out << std::hex << (byte >> 4) << (byte & 15);
  return out.str();
}

void list(std::ostream& out, const char* what, const std::vector<uint32_t>& numbers) {
  if (numbers.empty()) return;
  out << "  " << what;
  for (const uint32_t number : numbers) out << ' ' << number;
  out << '\n';
}

const char* flags_text(bool replied, bool forwarded) {
  if (replied) return forwarded ? " replied forwarded" : " replied";
  return forwarded ? " forwarded" : "";
}

}  // namespace

Told FolderModel::pass(std::vector<SeenFile> files, uint32_t now) {
  return Pass(*this, std::move(files), now).whole();
}

Told FolderModel::glance(std::vector<SeenFile> files, uint32_t now) {
  return Pass(*this, std::move(files), now).glance();
}

Tag FolderModel::tag_of(const Message& m) const {
  return {uidvalidity, m.uid, m.guid, m.internal_date, m.saved, m.content.length, m.content.whole};
}

Guid guid_made_for(uint32_t uidvalidity, uint32_t uid) {
  Guid guid{};
  guid[0] = 0xee;
  for (size_t i = 0; i < 4; ++i) {
    guid[4 + i] = static_cast<uint8_t>(uidvalidity >> (8 * i));
    guid[8 + i] = static_cast<uint8_t>(uid >> (8 * i));
  }
  return guid;
}

std::string Told::text() const {
  std::ostringstream out;
  for (const Arrival& a : arrived) {
    out << "  arrived " << a.number << flags_text(a.replied, a.forwarded);
    if (a.edited_from != 0) out << " edited from UID " << a.edited_from;
    if (a.keeps_guid) out << " GUID " << guid_text(a.guid);
    if (a.origin != Guid{}) out << " origin " << guid_text(a.origin);
    out << " date " << a.internal_date << " saved " << a.saved << '\n';
  }
  list(out, "dropped UIDs", dropped);
  for (const NewFlags& a : annotated)
    out << "  annotated UID " << a.uid << flags_text(a.replied, a.forwarded) << '\n';
  list(out, "renumbered UIDs", renumbered);
  list(out, "untagged UIDs", untagged);
  list(out, "waiting numbers", waiting);
  if (relist) out << "  to be listed again\n";
  return out.str().empty() ? "  nothing\n" : out.str();
}

std::string FolderModel::Message::text() const {
  std::ostringstream out;
  out << "UID " << uid << " under " << number << ", inode " << file.inode << " birth "
      << file.birth / kSecond << " size " << file.size << " mtime " << file.mtime / kSecond
      << " ctime " << file.ctime / kSecond << ", prefix " << prefix << ", length " << content.length
      << flags_text(replied_seen, forwarded_seen);
  if (whole_known) out << " hash " << content.whole;
  if (unread) out << " unread";
  if (tagged) out << " tagged";
  if (tag_on_disk) out << " on-disk";
  if (leave_alone) out << " leave-alone";
  out << " GUID " << guid_text(guid) << " date " << internal_date << " saved " << saved;
  return out.str();
}

}  // namespace mh::test
