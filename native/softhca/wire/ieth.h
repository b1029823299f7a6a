// Invalidate extended transport header: the key to end (InfiniBand Vol. 1, 9.3).
//
//   offset  bytes
//        0      4  remote key
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct Ieth {
  static constexpr size_t length = 4;

  uint32_t rkey;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Ieth parse(const uint8_t* from) { return {load_be32(from)}; }
  void emit(uint8_t* to) const { store_be32(to, rkey); }
};

}  // namespace softhca::wire
