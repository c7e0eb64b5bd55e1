// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Runs a fuzz target without libFuzzer: over its seeds, then over random changes of them.
//
//   fuzz-<format> [random seed] [number of changed inputs]
//
// Reads $top_srcdir/tests/fuzz/seeds/<format>/. The random seed is printed: the same one gives the
// same inputs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

std::vector<std::string> read_seeds(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

class Mutator {
 public:
  Mutator(const std::vector<std::string>& seeds, unsigned random_seed)
      : seeds_(seeds), random_(random_seed) {}

  std::string next() {
    std::string text = seed();
    for (size_t changes = 1 + below(6); changes > 0; --changes) change(text);
    return text;
  }

 private:
  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  const std::string& seed() { return seeds_[below(seeds_.size())]; }

  void change(std::string& text) {
    static const std::string kTelling("\0\n\r\t :-%z09,+()\x7f\xff", 17);
    const size_t at = below(text.size() + 1);
    const size_t length = below(std::min<size_t>(text.size() - at, 40) + 1);
    switch (below(7)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, 1 + below(3), kTelling[below(kTelling.size())]);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 4:
        text.insert(below(text.size() + 1), text.substr(at, length));
        break;
      case 5: {
        const std::string& other = seed();
        text.insert(at, other.substr(below(other.size() + 1), below(200)));
        break;
      }
      default:
        text.resize(at);
        break;
    }
  }

  const std::vector<std::string>& seeds_;
  std::mt19937_64 random_;
};

void run(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::string format = std::filesystem::path(argv[0]).filename().string();
  format.erase(0, format.find("fuzz-") + 5);
  const char* top = std::getenv("top_srcdir");
  const std::vector<std::string> seeds =
      read_seeds(std::filesystem::path(top != nullptr ? top : ".") / "tests/fuzz/seeds" / format);
  if (seeds.empty()) {
    std::fprintf(stderr, "no seeds for %s: is top_srcdir set?\n", format.c_str());
    return 1;
  }
  const unsigned random_seed =
      argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : std::random_device{}();
  const unsigned long count = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 5000;
  std::printf("fuzz-%s: random seed %u\n", format.c_str(), random_seed);
  std::fflush(stdout);
  for (const std::string& seed : seeds) run(seed);
  Mutator mutator(seeds, random_seed);
  for (unsigned long i = 0; i < count; ++i) run(mutator.next());
  std::printf("%zu seeds and %lu changes of them passed\n", seeds.size(), count);
  return 0;
}
