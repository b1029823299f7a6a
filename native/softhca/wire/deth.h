// Datagram extended transport header: who sends, and the key to the queue (InfiniBand Vol.
// 1, 9.3.2).
//
//   offset  bytes
//        0      4  queue key
//        4      1  reserved
//        5      3  source queue pair
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct Deth {
  static constexpr size_t length = 8;

  uint32_t qkey;
  uint32_t source_qp;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Deth parse(const uint8_t* from) { return {load_be32(from), load_be24(from + 5)}; }
  void emit(uint8_t* to) const {
    store_be32(to, qkey);
    to[4] = 0;
    store_be24(to + 5, source_qp);
  }
};

}  // namespace softhca::wire
