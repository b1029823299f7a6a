// The IP and UDP headers of a packet, as a link puts them before it or as a capture shows them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/route.h"
#include "softhca/wire/udp.h"

namespace softhca::links {

constexpr size_t max_frame_headers = wire::Ipv6::length + wire::Udp::length;

// Writes them for a packet of `bytes`, without a UDP checksum; returns their length.
inline size_t emit_frame_headers(const wire::Route& route, size_t bytes, uint16_t identification,
                                 uint8_t* to) {
  const auto udp_bytes = uint16_t(wire::Udp::length + bytes);
  size_t length;
  if (wire::is_ipv4(route.destination)) {
    length = wire::Ipv4::length;
    wire::Ipv4{route.traffic_class,
               uint16_t(length + udp_bytes),
               identification,
               wire::Ipv4::dont_fragment,
               route.hop_limit,
               wire::protocol_udp,
               wire::ipv4_of(route.source),
               wire::ipv4_of(route.destination)}
        .emit(to);
  } else {
    length = wire::Ipv6::length;
    wire::Ipv6{route.traffic_class, route.flow_label, udp_bytes,        wire::protocol_udp,
               route.hop_limit,     route.source,     route.destination}
        .emit(to);
  }
  wire::Udp{route.source_port, wire::roce_port, udp_bytes, 0}.emit(to + length);
  return length + wire::Udp::length;
}

}  // namespace softhca::links
