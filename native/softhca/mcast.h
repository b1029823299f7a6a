// Multicast groups: which queue pairs, of any process of this host, get a datagram.
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
void leave_groups(QueuePair& qp);

std::vector<Member> members_of(Host& host, const ibv_gid& gid);

}  // namespace softhca
