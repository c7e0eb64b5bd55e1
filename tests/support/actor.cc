// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A process that works in a folder as libmh does, to be stopped and killed by tests:
//
//   actor mark FOLDER SEQUENCE MESSAGE-ID    adds that message to a sequence of its folder
//   actor mark-by-rename ...                 by a new file and rename, without lock: the control
//                                            that shows that a test would notice
//   actor replace DIRECTORY NAME CONTENT     replace_file
//
// `mark` prints "made" when it had to make the sequences file. Exit: 0 done, 1 busy, 2 anything
// else.

#include <fcntl.h>
#include <stdio.h>

#include <string>
#include <string_view>

#include "libmh/format/sequences.h"
#include "libmh/system/filename.h"
#include "libmh/system/fs.h"
#include "libmh/system/sequences-file.h"

namespace {

using namespace mh;

constexpr Nanoseconds kPatience = 20 * kSecond;

// The number that the message has now. Good only while numbers stand still.
Result<uint32_t> find_message(Fs& fs, int folder, std::string_view message_id) {
  uint32_t found = 0;
  MH_TRY(fs.list(folder, [&](const DirEntry& entry) {
    const auto number = message_number(entry.name);
    if (!number) return true;
    const auto text = read_file(fs, folder, entry.name.c_str(), size_t{1} << 20);
    if (text && text->find(message_id) != std::string::npos) found = *number;
    return found == 0;
  }));
  if (found == 0) return fail(ErrorKind::kNotFound, "no such message");
  return found;
}

Result<std::string> marked(Fs& fs, int folder, const std::string& text, std::string_view sequence,
                           std::string_view message_id) {
  MH_TRY_SET(const uint32_t number, find_message(fs, folder, message_id));
  Sequences sequences = Sequences::parse(text);
  sequences.set(sequence).add(number);
  return sequences.print_padded(text.size(), "unseen");
}

Status mark(Fs& fs, int folder, std::string_view sequence, std::string_view message_id) {
  const SequencesFile file(fs, folder, {});
  // Whoever locks nothing may come between; then the same is done again.
  for (int attempt = 0;; ++attempt) {
    MH_TRY_SET(auto hold, file.acquire(kPatience));
    if (hold.made()) ::puts("made");
    MH_TRY_SET(const SequencesText now, hold.read());
    MH_TRY_SET(const std::string text, marked(fs, folder, now.text, sequence, message_id));
    const auto written = hold.write(text);
    if (written) return {};
    if (written.error().kind() != ErrorKind::kBusy || attempt == 10) return pass_on(written);
  }
}

Status mark_by_rename(Fs& fs, int folder, std::string_view sequence, std::string_view message_id) {
  MH_TRY_SET(const std::string now,
             read_file(fs, folder, ".mh_sequences", SequencesFile::kSizeLimit));
  MH_TRY_SET(const std::string text, marked(fs, folder, now, sequence, message_id));
  return replace_file(fs, folder, ".mh_sequences", text, 0600);
}

int work(const std::string& what, const char* where, const char* first, const char* second) {
  Fs& fs = Fs::posix();
  const auto directory = fs.open(AT_FDCWD, where, O_RDONLY | O_DIRECTORY);
  Status done = directory ? Status() : Status(pass_on(directory));
  if (done && what == "mark") done = mark(fs, directory->get(), first, second);
  if (done && what == "mark-by-rename") done = mark_by_rename(fs, directory->get(), first, second);
  if (done && what == "replace") done = replace_file(fs, directory->get(), first, second, 0600);
  if (done) return 0;
  ::fprintf(stderr, "%s\n", done.error().message().c_str());
  return done.error().kind() == ErrorKind::kBusy ? 1 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  return work(argv[1], argv[2], argv[3], argv[4]);
}
