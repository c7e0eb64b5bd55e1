// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Sequences: what a .mh_sequences file says, and how it is written.
//
// Reading never fails: what nmh accepts is read as nmh reads it, what makes nmh die is left out and
// told. Names are any bytes that nmh keeps, case matters, order is that of the file. A sequence
// without numbers does not exist, as in nmh. "cur" is no set but one number, which need not exist.
//
// Writing gives nmh's own form: "cur" first, one line for each sequence, never a continuation,
// blank or comment line, since exmh, mutt and Python lose or reject those. What is written is read
// back as the same sequences, whatever names a caller has put in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libmh/format/number-set.h"

namespace mh {

// A message that got another number.
struct NumberMove {
  uint32_t from = 0;
  uint32_t to = 0;
};

// Whether nmh's mark and pick can make and clear it: a letter, then letters and digits, none of
// new, all, first, last, prev, next (sbr/seq_nameok.c). "cur" is such a name.
bool is_nmh_sequence_name(std::string_view name);

class Sequences {
 public:
  // Problems are in words for an admin, at most twenty or so.
  static Sequences parse(std::string_view text, std::vector<std::string>* problems = nullptr);

  // 0: there is none. Never part of names(); find("cur") is null.
  uint32_t cur() const { return cur_; }
  void set_cur(uint32_t number) { cur_ = number; }

  // Null when the sequence does not exist, that is, has no number.
  const NumberSet* find(std::string_view name) const;
  // For changing; made when it is not there, at the end. The reference holds as long as this
  // object does.
  NumberSet& set(std::string_view name);
  void erase(std::string_view name);
  // Of all sequences, in the order of the file.
  std::vector<std::string_view> names() const;

  // All moves at once (a swap is two of them), each `from` at most once. Numbers of messages that
  // are gone must have been removed before, or they would merge with what moves onto them.
  void renumber(std::span<const NumberMove> moves, bool cur_too);
  // From all sequences; "cur" stays, as with nmh after rmm.
  void remove_numbers(const NumberSet& numbers);

  // Empty text when there is nothing to write. Names that would not be read back as themselves (a
  // colon, newline or NUL in them, too long, "-" or a blank in front, a blank at the end, "cur")
  // are left out: they would damage the file for everybody.
  std::string print() const;
  // The same, made as long as the file is now, so that one write in place replaces all of it and no
  // truncation is needed: blanks before the last newline. A line of blanks alone is fatal to nmh,
  // so a file that is to say nothing says "<first unseen name>:" and blanks.
  std::string print_padded(size_t old_size, std::string_view first_unseen_name) const;

  // Equal for files that say the same but for "cur", whatever the order of their lines.
  uint64_t hash_without_cur() const;

 private:
  struct Entry {
    std::string name;
    NumberSet numbers;
  };
  std::deque<Entry> entries_;  // a deque: set() hands out references
  std::map<std::string, size_t, std::less<>> index_;
  uint32_t cur_ = 0;
};

}  // namespace mh
