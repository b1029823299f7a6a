// IPv4 header without options (RFC 791), as RoCEv2 uses it (annex A17).
//
//   offset  bytes
//        0      1  version (bits 7:4), length of the header in words (3:0)
//        1      1  type of service: not covered by the ICRC
//        2      2  length of all
//        4      2  identification
//        6      2  don't fragment (bit 14), more fragments (13), fragment's offset
//        8      1  time to live: not covered by the ICRC
//        9      1  protocol: 17
//       10      2  checksum of the header: not covered by the ICRC
//       12      4  source
//       16      4  destination
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

constexpr uint8_t protocol_udp = 17;

struct Ipv4 {
  static constexpr size_t length = 20;
  static constexpr size_t type_of_service_at = 1, identification_at = 4, time_to_live_at = 8,
                          checksum_at = 10;
  static constexpr uint16_t dont_fragment = 0x4000;

  uint8_t type_of_service;
  uint16_t bytes;
  uint16_t identification;
  uint16_t fragment;
  uint8_t time_to_live;
  uint8_t protocol;
  std::array<uint8_t, 4> source, destination;

  // Also false for a header with options, which RoCEv2 doesn't have.
  static bool check_length(std::span<const uint8_t> bytes) {
    return bytes.size() >= length && bytes[0] == 0x45;
  }
  static Ipv4 parse(const uint8_t* from) {
    Ipv4 header{from[type_of_service_at],
                load_be16(from + 2),
                load_be16(from + identification_at),
                load_be16(from + 6),
                from[time_to_live_at],
                from[9],
                {},
                {}};
    memcpy(header.source.data(), from + 12, 4);
    memcpy(header.destination.data(), from + 16, 4);
    return header;
  }
  void emit_without_checksum(uint8_t* to) const {
    to[0] = 0x45;
    to[type_of_service_at] = type_of_service;
    store_be16(to + 2, bytes);
    store_be16(to + identification_at, identification);
    store_be16(to + 6, fragment);
    to[time_to_live_at] = time_to_live;
    to[9] = protocol;
    store_be16(to + checksum_at, 0);
    memcpy(to + 12, source.data(), 4);
    memcpy(to + 16, destination.data(), 4);
  }
  void emit(uint8_t* to) const {
    emit_without_checksum(to);
    uint32_t sum = 0;
    for (size_t at = 0; at < length; at += 2) sum += load_be16(to + at);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(to + checksum_at, uint16_t(~sum));
  }
};

}  // namespace softhca::wire
