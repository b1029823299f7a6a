// Address handles, and what an address means on this device.
#include "softhca/ah.h"

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

#include "softhca/device.h"
#include "softhca/pool.h"

namespace softhca {

bool check_ah_attr(const ibv_ah_attr& attr) {
  if (attr.port_num != 1 || attr.sl >= 16) return false;
  // Annex A17.3: each packet of RoCE version 2 has an IP header, which is made from the GRH.
  return attr.is_global ? attr.grh.sgid_index < gid_count : !is_ethernet();
}

Address make_address(const ibv_ah_attr& attr) {
  Address address{};
  address.global = attr.is_global;
  address.dlid = attr.dlid;
  address.sl = attr.sl;
  if (attr.is_global) {
    address.sgid = port_gid(attr.grh.sgid_index);
    address.dgid = attr.grh.dgid;
    address.flow_label = attr.grh.flow_label & 0xfffff;
    address.traffic_class = attr.grh.traffic_class;
    address.hop_limit = attr.grh.hop_limit;
    address.multicast = attr.grh.dgid.raw[0] == 0xff;
    address.reachable = address.multicast;
    for (uint32_t i = 0; i < gid_count; ++i) {
      ibv_gid gid = port_gid(i);
      if (memcmp(&gid, &attr.grh.dgid, sizeof gid) == 0) address.reachable = true;
    }
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
  auto* ah = Pool<AddressHandle>::instance().take();
  if (!ah) return nullptr;
  ah->verbs = {pd->context, pd, 0};
  ah->address = make_address(*attr);
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
  attr->grh.dgid = grh->sgid;
  bool found = false;
  for (uint32_t i = 0; i < gid_count && !found; ++i) {
    ibv_gid gid = port_gid(i);
    if (memcmp(&gid, &grh->dgid, sizeof gid) == 0 || grh->dgid.raw[0] == 0xff) {
      attr->grh.sgid_index = uint8_t(i);
      found = true;
    }
  }
  if (!found) return EINVAL;
  uint32_t word = ntohl(grh->version_tclass_flow);
  attr->grh.flow_label = word & 0xfffff;
  attr->grh.traffic_class = uint8_t(word >> 20);
  attr->grh.hop_limit = grh->hop_limit ? grh->hop_limit : 64;
  return 0;
}

}  // namespace softhca
