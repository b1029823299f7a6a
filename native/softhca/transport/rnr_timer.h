// The time that an RNR NAK asks a requester to wait (InfiniBand Vol. 1, table 45).
#pragma once

#include <cstdint>

namespace softhca::transport {

constexpr uint64_t rnr_timer_ns(uint8_t code) {
  // In units of 10 microseconds.
  constexpr uint32_t table[32] = {65536, 1,    2,    3,     4,     6,     8,     12,
                                  16,    24,   32,   48,    64,    96,    128,   192,
                                  256,   384,  512,  768,   1024,  1536,  2048,  3072,
                                  4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};
  return table[code & 31] * 10000ULL;
}

}  // namespace softhca::transport
