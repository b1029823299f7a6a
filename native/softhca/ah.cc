// Address handles, and what an address means on this device.
#include "softhca/ah.h"

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

#include "softhca/device.h"
#include "softhca/gid_table.h"
#include "softhca/links/udp.h"
#include "softhca/mcast.h"
#include "softhca/network_options.h"
#include "softhca/packet_path.h"
#include "softhca/pool.h"
#include "softhca/problem.h"
#include "softhca/wire/ipv4.h"

namespace softhca {

wire::Route route_of(const Address& address) {
  wire::Route route;
  route.source = to_wire(address.sgid);
  route.destination = to_wire(address.dgid);
  route.source_port = links::Udp::source_port;
  route.traffic_class = address.traffic_class;
  route.hop_limit = address.hop_limit ? address.hop_limit : wire::Route{}.hop_limit;
  route.flow_label = address.flow_label;
  return route;
}

bool check_ah_attr(const ibv_ah_attr& attr) {
  if (attr.port_num != 1 || attr.sl >= 16) return false;
  // Annex A17.3: each packet of RoCE version 2 has an IP header, which is made from the GRH.
  if (!attr.is_global) {
    if (is_ethernet())
      note_problem(EINVAL, "on a port of RoCE an address needs a GRH: is_global, dgid, sgid_index");
    return !is_ethernet();
  }
  refresh_gids();
  const auto source = gid_at(attr.grh.sgid_index);
  if (!source) {
    note_problem(EINVAL, "GID index " + std::to_string(attr.grh.sgid_index) +
                             " is empty; the GID table has: " + gid_table_text());
    return false;
  }
  const ibv_gid& destination = attr.grh.dgid;
  if (!is_ethernet()) return true;
  // A group of the other family is one of this host alone.
  if (is_group(destination)) return true;
  if (!source->leads_out() && index_of_gid(destination) < 0) {
    note_problem(EINVAL, "GID index " + std::to_string(attr.grh.sgid_index) +
                             " means this host alone, and " + gid_text(destination) +
                             " is another; send from an address: " + gid_table_text());
    return false;
  }
  const bool same_family =
      wire::is_ipv4(to_wire(source->gid)) == wire::is_ipv4(to_wire(destination));
  if (source->leads_out() && index_of_gid(destination) < 0 && !same_family) {
    note_problem(EINVAL, "the GID " + gid_text(source->gid) + " at index " +
                             std::to_string(attr.grh.sgid_index) + " and the peer's, " +
                             gid_text(destination) +
                             ", are of different IP versions; choose one of the peer's version: " +
                             gid_table_text());
    return false;
  }
  return true;
}

Address make_address(const ibv_ah_attr& attr) {
  Address address{};
  address.global = attr.is_global;
  address.dlid = attr.dlid;
  address.sl = attr.sl;
  if (attr.is_global) {
    const auto source = gid_at(attr.grh.sgid_index);
    if (source) address.sgid = source->gid;
    address.dgid = attr.grh.dgid;
    address.flow_label = attr.grh.flow_label & 0xfffff;
    address.traffic_class = attr.grh.traffic_class;
    address.hop_limit = attr.grh.hop_limit;
    address.multicast = is_group(attr.grh.dgid);
    const bool same_family =
        wire::is_ipv4(to_wire(address.sgid)) == wire::is_ipv4(to_wire(address.dgid));
    address.routed = source && source->leads_out() && same_family;
    address.reachable = address.multicast ? !address.routed : index_of_gid(address.dgid) >= 0;
    if (address.routed && network_options().packets_only) address.reachable = false;
  } else {
    address.reachable = attr.dlid == port_lid;
  }
  return address;
}

ibv_grh make_grh(const Address& address, uint64_t payload_bytes) {
  // InfiniBand Vol. 1, 8.3; the next header 0x1b is the base transport header.
  ibv_grh grh{};
  grh.version_tclass_flow =
      htonl(6u << 28 | uint32_t(address.traffic_class) << 20 | address.flow_label);
  // BTH, DETH, padded payload, ICRC
  grh.paylen = htons(uint16_t(12 + 8 + ((payload_bytes + 3) & ~3ull) + 4));
  grh.next_hdr = 0x1b;
  grh.hop_limit = address.hop_limit;
  grh.sgid = address.sgid;
  grh.dgid = address.dgid;
  return grh;
}

ibv_ah* create_ah(ibv_pd* pd, ibv_ah_attr* attr) {
  if (!ProtectionDomain::of(pd)->live || !check_ah_attr(*attr)) {
    errno = EINVAL;
    return nullptr;
  }
  const Address address = make_address(*attr);
  if (is_routed(address)) {
    if (const int error = open_way(*ProtectionDomain::of(pd)->host, address)) {
      errno = error;
      return nullptr;
    }
  }
  auto* ah = Pool<AddressHandle>::instance().take();
  if (!ah) return nullptr;
  ah->verbs = {pd->context, pd, 0};
  ah->address = address;
  ProtectionDomain::of(pd)->users.fetch_add(1);
  return &ah->verbs;
}

int destroy_ah(ibv_ah* verbs) {
  auto* ah = AddressHandle::of(verbs);
  if (!ah->live) return EINVAL;
  ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  Pool<AddressHandle>::instance().give(ah);
  return 0;
}

// Whoever answers what came to a group does so from an address of its own.
static int index_to_answer_from(const ibv_gid& sender) {
  if (!is_ethernet()) return 0;
  for (const auto& [index, entry] : all_gids())
    if (entry.leads_out() && wire::is_ipv4(to_wire(entry.gid)) == wire::is_ipv4(to_wire(sender)))
      return int(index);
  return 0;
}

int init_ah_from_wc(ibv_context*, uint8_t port, const ibv_wc& wc, const ibv_grh* grh,
                    ibv_ah_attr* attr) {
  *attr = {};
  attr->dlid = wc.slid;
  attr->sl = wc.sl;
  attr->src_path_bits = wc.dlid_path_bits;
  attr->port_num = port;
  if (!(wc.wc_flags & IBV_WC_GRH)) return 0;
  if (!grh) return EINVAL;
  attr->is_global = 1;
  ibv_gid source = grh->sgid, destination = grh->dgid;
  const uint32_t word = ntohl(grh->version_tclass_flow);
  attr->grh.flow_label = word & 0xfffff;
  attr->grh.traffic_class = uint8_t(word >> 20);
  attr->grh.hop_limit = grh->hop_limit ? grh->hop_limit : 64;
  // Annex A17: an IPv4 header lies in the second half.
  const auto* ipv4 = reinterpret_cast<const uint8_t*>(grh) + grh_bytes - wire::Ipv4::length;
  if (word >> 28 != 6 && ipv4[0] >> 4 == 4) {
    const wire::Ipv4 header = wire::Ipv4::parse(ipv4);
    const wire::Gid from = wire::ipv4_gid(header.source), to = wire::ipv4_gid(header.destination);
    std::copy(from.begin(), from.end(), source.raw);
    std::copy(to.begin(), to.end(), destination.raw);
    attr->grh.flow_label = 0;
    attr->grh.traffic_class = header.type_of_service;
    attr->grh.hop_limit = header.time_to_live;
  }
  attr->grh.dgid = source;
  refresh_gids();
  const int index =
      is_group(destination) ? index_to_answer_from(source) : index_of_gid(destination);
  if (index < 0) return EINVAL;
  attr->grh.sgid_index = uint8_t(index);
  return 0;
}

}  // namespace softhca
