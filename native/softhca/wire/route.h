// Where a packet comes from and goes to: what a link puts into IP and UDP headers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace softhca::wire {

// An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d (annex A17: so GIDs are written).
using Gid = std::array<uint8_t, 16>;

inline bool is_ipv4(const Gid& gid) {
  constexpr uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(gid.data(), mapped, sizeof mapped) == 0;
}
inline Gid ipv4_gid(const std::array<uint8_t, 4>& address) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, address[0], address[1], address[2], address[3]};
}
inline std::array<uint8_t, 4> ipv4_of(const Gid& gid) {
  return {gid[12], gid[13], gid[14], gid[15]};
}

// Annex A17: a multicast GID is the IP multicast address itself.
inline bool is_multicast(const Gid& gid) {
  return is_ipv4(gid) ? gid[12] >> 4 == 0xe : gid[0] == 0xff;
}

struct Route {
  Gid source{}, destination{};  // both of one family
  uint16_t source_port = 0xc000;
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 64;
  uint32_t flow_label = 0;
};

}  // namespace softhca::wire
