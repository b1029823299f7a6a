// Atomic ACK extended transport header: what was in memory before (InfiniBand Vol. 1, 9.3.5).
//
//   offset  bytes
//        0      8  original data
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct AtomicAckEth {
  static constexpr size_t length = 8;

  uint64_t original;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static AtomicAckEth parse(const uint8_t* from) { return {load_be64(from)}; }
  void emit(uint8_t* to) const { store_be64(to, original); }
};

}  // namespace softhca::wire
