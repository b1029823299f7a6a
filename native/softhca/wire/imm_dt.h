// Immediate data: four bytes for the receiver's completion (InfiniBand Vol. 1, 9.3).
//
//   offset  bytes
//        0      4  the bytes as the program gave them
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct ImmDt {
  static constexpr size_t length = 4;

  uint32_t data;  // in network order, as in ibv_wc

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static ImmDt parse(const uint8_t* from) {
    ImmDt immediate;
    memcpy(&immediate.data, from, length);
    return immediate;
  }
  void emit(uint8_t* to) const { memcpy(to, &data, length); }
};

}  // namespace softhca::wire
