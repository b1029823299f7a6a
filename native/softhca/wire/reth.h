// RDMA extended transport header: what a READ or WRITE names (InfiniBand Vol. 1, 9.3.3).
//
//   offset  bytes
//        0      8  virtual address
//        8      4  remote key
//       12      4  length of the whole transfer
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct Reth {
  static constexpr size_t length = 16;

  uint64_t address;
  uint32_t rkey;
  uint32_t bytes;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Reth parse(const uint8_t* from) {
    return {load_be64(from), load_be32(from + 8), load_be32(from + 12)};
  }
  void emit(uint8_t* to) const {
    store_be64(to, address);
    store_be32(to + 8, rkey);
    store_be32(to + 12, bytes);
  }
};

}  // namespace softhca::wire
