// Atomic extended transport header: what an atomic operation does (InfiniBand Vol. 1, 9.3.4).
//
//   offset  bytes
//        0      8  virtual address
//        8      4  remote key
//       12      8  swap or add data
//       20      8  compare data
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct AtomicEth {
  static constexpr size_t length = 28;

  uint64_t address;
  uint32_t rkey;
  uint64_t swap_add;
  uint64_t compare;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static AtomicEth parse(const uint8_t* from) {
    return {load_be64(from), load_be32(from + 8), load_be64(from + 12), load_be64(from + 20)};
  }
  void emit(uint8_t* to) const {
    store_be64(to, address);
    store_be32(to + 8, rkey);
    store_be64(to + 12, swap_add);
    store_be64(to + 20, compare);
  }
};

}  // namespace softhca::wire
