// Base transport header: begins every packet (InfiniBand Vol. 1, 9.2).
//
//   offset  bytes
//        0      1  opcode
//        1      1  solicited event (bit 7), migration request (6), pad count (5:4), version (3:0)
//        2      2  partition key
//        4      1  FECN (bit 7), BECN (6), reserved: not covered by the ICRC (annex A17)
//        5      3  destination queue pair
//        8      1  acknowledge request (bit 7), reserved
//        9      3  packet sequence number
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

constexpr uint32_t psn_mask = 0xffffff;
constexpr uint32_t multicast_qp = 0xffffff;  // the destination of datagrams to a group

struct Bth {
  static constexpr size_t length = 12;
  static constexpr size_t congestion_at = 4;

  uint8_t opcode;
  bool solicited;
  bool migration;
  uint8_t pad;      // 0 to 3 bytes after the payload
  uint8_t version;  // 0 is the only one
  uint16_t pkey;
  bool fecn, becn;
  uint32_t dest_qp;
  bool ack_request;
  uint32_t psn;

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Bth parse(const uint8_t* from) {
    return {from[0],
            (from[1] & 0x80) != 0,
            (from[1] & 0x40) != 0,
            uint8_t(from[1] >> 4 & 3),
            uint8_t(from[1] & 15),
            load_be16(from + 2),
            (from[congestion_at] & 0x80) != 0,
            (from[congestion_at] & 0x40) != 0,
            load_be24(from + 5),
            (from[8] & 0x80) != 0,
            load_be24(from + 9)};
  }
  void emit(uint8_t* to) const {
    to[0] = opcode;
    to[1] = uint8_t(solicited << 7 | migration << 6 | (pad & 3) << 4 | (version & 15));
    store_be16(to + 2, pkey);
    to[congestion_at] = uint8_t(fecn << 7 | becn << 6);
    store_be24(to + 5, dest_qp);
    to[8] = uint8_t(ack_request << 7);
    store_be24(to + 9, psn);
  }
};

}  // namespace softhca::wire
