// UDP header (RFC 768), as RoCEv2 uses it (annex A17).
//
//   offset  bytes
//        0      2  source port: free, one for each flow
//        2      2  destination port: 4791
//        4      2  length, with this header
//        6      2  checksum, 0: none; not covered by the ICRC
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

constexpr uint16_t roce_port = 4791;

struct Udp {
  static constexpr size_t length = 8;
  static constexpr size_t checksum_at = 6;

  uint16_t source_port;
  uint16_t destination_port;
  uint16_t bytes;
  uint16_t checksum;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Udp parse(const uint8_t* from) {
    return {load_be16(from), load_be16(from + 2), load_be16(from + 4),
            load_be16(from + checksum_at)};
  }
  void emit(uint8_t* to) const {
    store_be16(to, source_port);
    store_be16(to + 2, destination_port);
    store_be16(to + 4, bytes);
    store_be16(to + checksum_at, checksum);
  }
};

}  // namespace softhca::wire
