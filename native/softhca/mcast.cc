// Multicast groups: which queue pairs, of any process of this host, get a datagram.
#include "softhca/mcast.h"

#include <cerrno>
#include <cstring>

namespace softhca {
namespace {

bool same_group(const McastEntry& entry, const ibv_gid& gid) {
  return memcmp(entry.gid, gid.raw, sizeof gid.raw) == 0;
}

bool is_multicast(const ibv_gid& gid) { return gid.raw[0] == 0xff; }

}  // namespace

int attach_mcast(ibv_qp* verbs, const ibv_gid* gid, uint16_t lid) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  if (qp->type() != IBV_QPT_UD || !is_multicast(*gid)) return EINVAL;
  Segment& segment = qp->host->segment();
  std::lock_guard guard(qp->host->objects);
  McastEntry* room = nullptr;
  for (McastEntry& entry : segment.mcast) {
    uint32_t number = entry.qp_num.load();
    if (number == verbs->qp_num && same_group(entry, *gid) && entry.lid == lid) return 0;
    if (number == 0 && !room) room = &entry;
  }
  if (!room) return ENOMEM;
  memcpy(room->gid, gid->raw, sizeof room->gid);
  room->lid = lid;
  room->qp_num.store(verbs->qp_num, std::memory_order_release);
  segment.header.mcast_count.fetch_add(1);
  qp->groups.fetch_add(1);
  return 0;
}

int detach_mcast(ibv_qp* verbs, const ibv_gid* gid, uint16_t lid) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  Segment& segment = qp->host->segment();
  std::lock_guard guard(qp->host->objects);
  for (McastEntry& entry : segment.mcast) {
    if (entry.qp_num.load() != verbs->qp_num || !same_group(entry, *gid) || entry.lid != lid)
      continue;
    entry.qp_num.store(0);
    segment.header.mcast_count.fetch_sub(1);
    qp->groups.fetch_sub(1);
    return 0;
  }
  return EINVAL;
}

void leave_groups(QueuePair& qp) {
  if (qp.groups == 0) return;
  Segment& segment = qp.host->segment();
  std::lock_guard guard(qp.host->objects);
  for (McastEntry& entry : segment.mcast) {
    if (entry.qp_num.load() != qp.ex.qp_base.qp_num) continue;
    entry.qp_num.store(0);
    segment.header.mcast_count.fetch_sub(1);
  }
  qp.groups = 0;
}

std::vector<Member> members_of(Host& host, const ibv_gid& gid) {
  std::vector<Member> members;
  for (uint32_t slot : live_slots()) {
    auto site = host.reach(slot);
    if (!site || site->segment->header.mcast_count.load() == 0) continue;
    for (McastEntry& entry : site->segment->mcast) {
      uint32_t number = entry.qp_num.load(std::memory_order_acquire);
      if (number != 0 && same_group(entry, gid)) members.push_back({site, number});
    }
  }
  return members;
}

}  // namespace softhca
