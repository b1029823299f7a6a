// IPv6 header (RFC 8200); a GRH has the same form (InfiniBand Vol. 1, 8.3).
//
//   offset  bytes
//        0      4  version (bits 31:28), traffic class (27:20), flow label (19:0): the latter two
//        are
//                  not covered by the ICRC
//        4      2  length of what follows this header
//        6      1  next header: 17 for UDP, 27 for the transport headers of InfiniBand
//        7      1  hop limit: not covered by the ICRC
//        8     16  source
//       24     16  destination
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

struct Ipv6 {
  static constexpr size_t length = 40;
  static constexpr size_t hop_limit_at = 7;

  uint8_t traffic_class;
  uint32_t flow_label;
  uint16_t bytes;
  uint8_t next_header;
  uint8_t hop_limit;
  std::array<uint8_t, 16> source, destination;

  static bool check_length(std::span<const uint8_t> bytes) {
    return bytes.size() >= length && bytes[0] >> 4 == 6;
  }
  static Ipv6 parse(const uint8_t* from) {
    const uint32_t word = load_be32(from);
    Ipv6 header{uint8_t(word >> 20),
                word & 0xfffff,
                load_be16(from + 4),
                from[6],
                from[hop_limit_at],
                {},
                {}};
    memcpy(header.source.data(), from + 8, 16);
    memcpy(header.destination.data(), from + 24, 16);
    return header;
  }
  void emit(uint8_t* to) const {
    store_be32(to, 6u << 28 | uint32_t(traffic_class) << 20 | (flow_label & 0xfffff));
    store_be16(to + 4, bytes);
    to[6] = next_header;
    to[hop_limit_at] = hop_limit;
    memcpy(to + 8, source.data(), 16);
    memcpy(to + 24, destination.data(), 16);
  }
};

}  // namespace softhca::wire
