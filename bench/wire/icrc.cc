// How fast the checksum of RoCEv2 packets is, by each method that this processor has, beside a
// memcpy of the same packets in the same run. Usage: icrc_bench [--json FILE]
#include "softhca/wire/icrc.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "softhca/wire/crc32.h"

namespace {

constexpr int samples = 15;
constexpr size_t bytes_per_sample = 256 << 20;
// Packets lie one after the other in a buffer that a cache holds, as they do before they are sent.
constexpr size_t buffer_bytes = 256 << 10;

struct Series {
  std::string name;
  size_t packet;
  std::vector<double> gigabytes_per_second;
  double median() const {
    auto sorted = gigabytes_per_second;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

template <typename Work>
double sample(size_t packet, Work&& work) {
  const size_t in_buffer = buffer_bytes / packet, rounds = bytes_per_sample / buffer_bytes;
  const auto begin = std::chrono::steady_clock::now();
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < in_buffer; ++i) work(i * packet);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  return double(rounds * in_buffer * packet) / taken.count() / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace softhca::wire;
  const bool json = argc == 3 && strcmp(argv[1], "--json") == 0;
  if (argc != 1 && !json) {
    fprintf(stderr, "usage: %s [--json FILE]\n", argv[0]);
    return 2;
  }
  std::vector<uint8_t> from(buffer_bytes, 0x5a), to(buffer_bytes);
  uint32_t sink = 0;
  Route route;
  route.source = ipv4_gid({10, 0, 0, 1});
  route.destination = ipv4_gid({10, 0, 0, 2});
  std::vector<Series> all;
  printf("%-28s %8s %8s %10s\n", "", "bytes", "GB/s", "of memcpy");
  for (const size_t packet : {size_t{64}, size_t{272}, size_t{1040}, size_t{4112}}) {
    std::vector<Series> series{{"memcpy", packet, {}}, {"icrc", packet, {}}};
    for (const auto& method : crc32_methods()) series.push_back({method.name, packet, {}});
    // In turns, so that a slow moment of the machine hits all.
    for (int turn = 0; turn < samples; ++turn) {
      series[0].gigabytes_per_second.push_back(
          sample(packet, [&](size_t at) { memcpy(&to[at], &from[at], packet); }));
      series[1].gigabytes_per_second.push_back(sample(packet, [&](size_t at) {
        sink ^= icrc(route, {&from[at], packet});
      }));
      for (size_t i = 0; i < crc32_methods().size(); ++i)
        series[2 + i].gigabytes_per_second.push_back(sample(packet, [&](size_t at) {
          sink ^= crc32_methods()[i].update(crc32_start, &from[at], packet);
        }));
    }
    for (const Series& one : series) {
      const bool whole = one.name == "icrc" || one.name == "memcpy";
      const std::string name = whole ? one.name : "crc32 by " + one.name;
      printf("%-28s %8zu %8.1f %10.2f\n", name.c_str(), packet, one.median(),
             one.median() / series[0].median());
      all.push_back(one);
    }
  }
  // Makes sure that nothing above is left out as useless.
  fprintf(stderr, "%s", sink == 0x12345678 && to[0] == 1 ? "\n" : "");
  if (!json) return 0;
  FILE* file = fopen(argv[2], "w");
  if (!file) {
    perror(argv[2]);
    return 1;
  }
  fprintf(file, "[");
  for (size_t i = 0; i < all.size(); ++i) {
    fprintf(file, "%s\n  {\"name\": \"%s\", \"packetBytes\": %zu, \"gigabytesPerSecond\": [",
            i ? "," : "", all[i].name.c_str(), all[i].packet);
    for (size_t k = 0; k < all[i].gigabytes_per_second.size(); ++k)
      fprintf(file, "%s%.3f", k ? ", " : "", all[i].gigabytes_per_second[k]);
    fprintf(file, "]}");
  }
  fprintf(file, "\n]\n");
  return fclose(file) == 0 ? 0 : 1;
}
