// Address handles, and what an address means on this device.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/pd.h"
#include "softhca/wire/route.h"

namespace softhca {

// The part of an address that a send needs; copied at posting, because the handle may go before.
struct Address {
  ibv_gid sgid, dgid;
  uint32_t flow_label;
  uint16_t dlid;
  uint8_t traffic_class, hop_limit;
  uint8_t sl;
  bool global;
  bool reachable;  // this host
  bool multicast;
  bool routed;  // from an address of this host, so that packets can go there
};

struct AddressHandle {
  ibv_ah verbs;
  std::atomic<bool> live;
  Address address;

  static AddressHandle* of(ibv_ah* ah) { return reinterpret_cast<AddressHandle*>(ah); }
};

// Where it goes as packets, and not within this host.
inline bool is_routed(const Address& address) { return address.routed && !address.reachable; }
wire::Route route_of(const Address& address);

// False: last_problem() says why.
bool check_ah_attr(const ibv_ah_attr& attr);
Address make_address(const ibv_ah_attr& attr);
ibv_grh make_grh(const Address& address, uint64_t payload_bytes);

ibv_ah* create_ah(ibv_pd* pd, ibv_ah_attr* attr);
int destroy_ah(ibv_ah* ah);
int init_ah_from_wc(ibv_context* context, uint8_t port, const ibv_wc& wc, const ibv_grh* grh,
                    ibv_ah_attr* attr);

}  // namespace softhca
