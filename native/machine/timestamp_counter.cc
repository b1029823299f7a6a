#include "machine/timestamp_counter.h"

#include <time.h>

#include <cmath>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace viaduct::machine {

#if defined(__x86_64__)

namespace {

struct Reading {
  uint64_t ticks;
  uint64_t nanoseconds;
};

uint64_t raw_nanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// The closest of several pairs: a thread may be put off between its two halves.
Reading read_both() {
  Reading best = {};
  uint64_t best_gap = ~uint64_t{0};
  for (int attempt = 0; attempt < 16; ++attempt) {
    const uint64_t before = __rdtsc();
    const uint64_t nanoseconds = raw_nanoseconds();
    const uint64_t gap = __rdtsc() - before;
    if (gap >= best_gap) continue;
    best_gap = gap;
    best = {before + gap / 2, nanoseconds};
  }
  return best;
}

}  // namespace

uint32_t timestamp_counter_khz() {
  const Reading first = read_both();
  const timespec pause = {.tv_sec = 0, .tv_nsec = 20'000'000};
  nanosleep(&pause, nullptr);
  const Reading second = read_both();
  const auto ticks = static_cast<double>(second.ticks - first.ticks);
  const auto nanoseconds = static_cast<double>(second.nanoseconds - first.nanoseconds);
  return static_cast<uint32_t>(std::lround(ticks / nanoseconds * 1e6));
}

#else

uint32_t timestamp_counter_khz() { return 0; }

#endif

}  // namespace viaduct::machine
