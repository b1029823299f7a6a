// XRC extended transport header: the shared receive queue that is meant (InfiniBand Vol. 1, annex
// A14).
//
//   offset  bytes
//        0      1  reserved
//        1      3  shared receive queue
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct Xrceth {
  static constexpr size_t length = 4;

  uint32_t srq;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Xrceth parse(const uint8_t* from) { return {load_be24(from + 1)}; }
  void emit(uint8_t* to) const {
    to[0] = 0;
    store_be24(to + 1, srq);
  }
};

}  // namespace softhca::wire
