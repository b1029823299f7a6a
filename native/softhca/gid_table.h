// The port's GIDs: two that mean this host, and on a port of RoCE the one that this process has in
// an aperture's rings of packets, and one for each address of the host's network interfaces
// (annex A17: an IPv4 address is ::ffff:a.b.c.d).
//
// The addresses are those of the network namespace that asks, as they are when it asks: an address
// keeps its index while it is there, and a new one takes the first that is free.
#pragma once

#include <infiniband/verbs.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "softhca/limits.h"
#include "softhca/wire/route.h"

namespace softhca {

struct GidEntry {
  ibv_gid gid;
  uint32_t interface;  // index; 0: of none
  uint32_t mtu_bytes;  // the largest path MTU that the interface has
  bool in_rings = false;

  // Of an interface, so that packets can leave by a UDP port.
  bool is_address() const { return interface != 0; }
  // Else it is a name for this host alone.
  bool leads_out() const { return is_address() || in_rings; }
};

// That of this process in the aperture's rings; it comes before the addresses.
void set_rings_gid(const ibv_gid& gid);
// Looks at the interfaces again.
void refresh_gids();
// Of the table as it was then. Nothing: the entry is empty.
std::optional<GidEntry> gid_at(uint32_t index);
// Its index, or -1.
int index_of_gid(const ibv_gid& gid);
// Of all entries that are there, with their indices.
std::vector<std::pair<uint32_t, GidEntry>> all_gids();
// What the port shows as its MTU: that of the address which programs send from, unless told
// otherwise.
uint32_t port_mtu_bytes();

// The largest MTU of verbs, in bytes, that fits into packets of that size; 0: none does.
uint32_t largest_mtu(uint32_t interface_mtu, bool ipv4);
ibv_mtu mtu_code(uint32_t bytes);
constexpr uint32_t mtu_of_code(ibv_mtu code) { return 128U << code; }

inline wire::Gid to_wire(const ibv_gid& gid) {
  wire::Gid copy;
  std::copy_n(gid.raw, copy.size(), copy.begin());
  return copy;
}
// As people write addresses.
std::string gid_text(const ibv_gid& gid);
// The addresses in the table, each with its index.
std::string gid_table_text();

}  // namespace softhca
