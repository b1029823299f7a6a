// Multicast groups: which queue pairs, of any process of this host, get a datagram.
#include "softhca/mcast.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "softhca/device.h"
#include "softhca/gid_table.h"
#include "softhca/network.h"
#include "softhca/packet_queue.h"
#include "softhca/problem.h"

namespace softhca {
namespace {

bool same_group(const McastEntry& entry, const ibv_gid& gid) {
  return memcmp(entry.gid, gid.raw, sizeof gid.raw) == 0;
}

uint32_t member_count(const Segment& segment, const ibv_gid& gid) {
  uint32_t count = 0;
  for (const McastEntry& entry : segment.mcast)
    count += entry.qp_num.load() != 0 && same_group(entry, gid);
  return count;
}

// Has packets to the group come in, on each interface that has an address of its family. 0, or an
// errno value.
int join_on_interfaces(Host& host, const ibv_gid& gid) {
  std::string problem;
  Network* network = host.open_network(&problem);
  if (!network) return note_problem(EINVAL, problem);
  refresh_gids();
  const wire::Gid group = to_wire(gid);
  std::set<uint32_t> joined;  // interfaces
  bool tried = false;
  const Network::Guard guard(network);
  for (const auto& [index, entry] : all_gids()) {
    if (!entry.is_address() || wire::is_ipv4(to_wire(entry.gid)) != wire::is_ipv4(group) ||
        joined.contains(entry.interface))
      continue;
    tried = true;
    // Once for an interface, as each address's socket would get a copy of its own.
    if (network->join(entry, group, &problem)) joined.insert(entry.interface);
  }
  // Without interfaces of that family it is a group of this host, or of an aperture.
  return !tried || !joined.empty() ? 0 : note_problem(ENODEV, problem);
}

}  // namespace

bool is_group(const ibv_gid& gid) {
  return is_ethernet() ? wire::is_multicast(to_wire(gid)) : gid.raw[0] == 0xff;
}

int attach_mcast(ibv_qp* verbs, const ibv_gid* gid, uint16_t lid) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  if (qp->type() != IBV_QPT_UD || !is_group(*gid)) return EINVAL;
  forget_problem();
  if (is_ethernet()) {
    if (const int error = join_on_interfaces(*qp->host, *gid)) return error;
  }
  const Network::Guard network(qp->host->network());
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
  if (qp->packets) qp->host->network()->engine().join(verbs->qp_num, to_wire(*gid));
  return 0;
}

int detach_mcast(ibv_qp* verbs, const ibv_gid* gid, uint16_t lid) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  const Network::Guard network(qp->host->network());
  Segment& segment = qp->host->segment();
  std::lock_guard guard(qp->host->objects);
  for (McastEntry& entry : segment.mcast) {
    if (entry.qp_num.load() != verbs->qp_num || !same_group(entry, *gid) || entry.lid != lid)
      continue;
    entry.qp_num.store(0);
    segment.header.mcast_count.fetch_sub(1);
    qp->groups.fetch_sub(1);
    if (qp->packets) qp->host->network()->engine().leave(verbs->qp_num, to_wire(*gid));
    if (qp->host->network() && member_count(segment, *gid) == 0)
      qp->host->network()->leave_group(to_wire(*gid));
    return 0;
  }
  return EINVAL;
}

void join_groups_of_packets(QueuePair& qp) {
  if (qp.groups == 0) return;
  const std::lock_guard guard(qp.host->objects);
  for (const McastEntry& entry : qp.host->segment().mcast) {
    if (entry.qp_num.load() != qp.ex.qp_base.qp_num) continue;
    wire::Gid group;
    std::copy_n(entry.gid, group.size(), group.begin());
    qp.host->network()->engine().join(qp.ex.qp_base.qp_num, group);
  }
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
