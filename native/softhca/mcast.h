// Multicast groups: which queue pairs, of any process of this host, get a datagram.
//
// On a port of RoCE, groups are those of IP (annex A17): members join on the host's interfaces, and
// datagrams to a group leave the host, too. Within it they go as ever; what the network brings back
// of that is told by PacketDevice::has_already().
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <vector>

#include "softhca/qp.h"

namespace softhca {

struct Member {
  std::shared_ptr<Site> site;
  uint32_t qp_num;
};

int attach_mcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid);
int detach_mcast(ibv_qp* qp, const ibv_gid* gid, uint16_t lid);
// Has the engine know the groups that the queue pair is in; the caller holds a Network::Guard.
void join_groups_of_packets(QueuePair& qp);

// Whether that is the GID of a group on this port.
bool is_group(const ibv_gid& gid);
std::vector<Member> members_of(Host& host, const ibv_gid& gid);

}  // namespace softhca
