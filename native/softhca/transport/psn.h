// Packet sequence numbers: 24 bits that wrap around (InfiniBand Vol. 1, 9.7.1).
#pragma once

#include <cstdint>

#include "softhca/wire/bth.h"

namespace softhca::transport {

constexpr uint32_t psn_add(uint32_t psn, uint32_t count) { return (psn + count) & wire::psn_mask; }

// How far `psn` is after `base`, for one known to be no earlier.
constexpr uint32_t psn_after(uint32_t psn, uint32_t base) { return (psn - base) & wire::psn_mask; }

// Negative: before. The half of all numbers that lies before is for duplicates (9.7.1).
constexpr int32_t psn_difference(uint32_t psn, uint32_t base) {
  return int32_t((psn - base) << 8) >> 8;
}

// The most that may be in flight, so that a duplicate isn't taken for news (9.7.1).
constexpr uint32_t max_psns_in_flight = 1u << 23;

}  // namespace softhca::transport
