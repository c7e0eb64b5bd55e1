// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reads a sequences file of a folder with messages 1 to 10 from standard input and prints how many
// problems it has, then the file as nmh's `mark 3 -sequence zz -add` is to leave it.
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "libmh/format/sequences.h"

int main() {
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  std::vector<std::string> problems;
  mh::Sequences sequences = mh::Sequences::parse(text, &problems);
  mh::NumberSet absent;
  absent.add_range(11, UINT32_MAX);
  sequences.remove_numbers(absent);
  sequences.set("zz").add(3);
  std::cout << problems.size() << "\n" << sequences.print();
}
