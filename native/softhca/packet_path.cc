#include "softhca/packet_path.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "softhca/device.h"
#include "softhca/extensions.h"
#include "softhca/mcast.h"
#include "softhca/network_options.h"
#include "softhca/problem.h"
#include "softhca/srq.h"
#include "softhca/wire/udp.h"

namespace softhca {
namespace {

// Asks the kernel whether it has a way there, without sending anything. 0, or an errno value.
int route_error(const GidEntry& source, const wire::Gid& destination) {
  const bool ipv4 = wire::is_ipv4(destination);
  const int descriptor = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
  if (descriptor < 0) return errno;
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
  } from{}, to{};
  socklen_t length = sizeof from.ipv4;
  if (ipv4) {
    from.ipv4.sin_family = to.ipv4.sin_family = AF_INET;
    memcpy(&from.ipv4.sin_addr, source.gid.raw + 12, 4);
    memcpy(&to.ipv4.sin_addr, destination.data() + 12, 4);
    to.ipv4.sin_port = htons(wire::roce_port);
  } else {
    length = sizeof from.ipv6;
    from.ipv6.sin6_family = to.ipv6.sin6_family = AF_INET6;
    memcpy(&from.ipv6.sin6_addr, source.gid.raw, sizeof source.gid.raw);
    memcpy(&to.ipv6.sin6_addr, destination.data(), destination.size());
    const auto scope = [&](sockaddr_in6& address) {
      if (IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) address.sin6_scope_id = source.interface;
    };
    scope(from.ipv6);
    scope(to.ipv6);
    to.ipv6.sin6_port = htons(wire::roce_port);
  }
  int error = 0;
  if (bind(descriptor, &from.any, length) != 0 || connect(descriptor, &to.any, length) != 0)
    error = errno;
  close(descriptor);
  return error;
}

std::string interface_name(uint32_t index) {
  char name[IF_NAMESIZE] = "?";
  if_indextoname(index, name);
  return name;
}

// The port of the address that packets leave from. 0, or an errno value.
int open_port(Host& host, const GidEntry& source, Network** network) {
  std::string problem;
  *network = host.open_network(&problem);
  if (!*network) return note_problem(EINVAL, problem);
  const Network::Guard guard(*network);
  if (!(*network)->add_port(source, &problem)) return note_problem(EADDRINUSE, problem);
  return 0;
}

// Whether there is somebody at the other end of an aperture's rings. 0, or an errno value.
int check_rings(Host& host, const ibv_gid& destination) {
  links::Aperture& rings = *host.network()->rings();
  const Network::Guard guard(host.network());
  if (rings.is_there(to_wire(destination))) return 0;
  const std::string what = "the peer's GID " + gid_text(destination) + " is ";
  if (rings.is_near(to_wire(destination)))
    return note_problem(EHOSTUNREACH, what + "of a participant of the aperture that has ended");
  return note_problem(EHOSTUNREACH,
                      what +
                          "none of the aperture in VIADUCT_PACKET_RINGS; give both sides the "
                          "same rings, or send from an address: " +
                          gid_table_text());
}

int check_route(const GidEntry& source, const ibv_gid& destination) {
  const int error = route_error(source, to_wire(destination));
  if (error == 0) return 0;
  return note_problem(error, "there is no way from " + gid_text(source.gid) +
                                 " to the peer's GID " + gid_text(destination) + ": " +
                                 strerror(error) + "; see `ip route get " + gid_text(destination) +
                                 "`");
}

// Why a queue pair at an address of this host is reached by packets all the same; 0: it isn't.
uint32_t reason_for_packets(Host& host, uint32_t qp_num) {
  if (network_options().packets_only) return VIADUCT_REASON_PACKETS_ONLY;
  const auto site = host.reach(slot_of(qp_num));
  if (!site || site->segment->qp[index_of(qp_num)].qp_num.load() != qp_num)
    return VIADUCT_REASON_OTHER_USER;
  return site->segment->wire.packets_only.load() ? VIADUCT_REASON_PACKETS_ONLY : 0;
}

// Finds out that packets can go there, and opens what they need. 0, or an errno value.
int open_way_from(Host& host, const GidEntry& source, const ibv_gid& destination,
                  Network** network) {
  const bool to_group = is_group(destination);
  if (source.in_rings) {
    *network = host.network();
    return to_group ? 0 : check_rings(host, destination);
  }
  // To a group they leave by the interface of the source.
  if (const int error = to_group ? 0 : check_route(source, destination)) return error;
  return open_port(host, source, network);
}

int choose_for_datagrams(QueuePair& qp, PathChoice* choice) {
  std::string problem;
  choice->network = qp.host->open_network(&problem);
  if (!choice->network) return note_problem(EINVAL, problem);
  refresh_gids();
  const Network::Guard guard(choice->network);
  // An address whose port somebody else has is out of reach; the others need not be.
  for (const auto& [index, entry] : all_gids())
    if (entry.is_address()) choice->network->add_port(entry, &problem);
  return 0;
}

}  // namespace

int choose_path(QueuePair& qp, const ibv_qp_attr& attr, PathChoice* choice) {
  if (!is_ethernet()) return 0;
  if (qp.type() == IBV_QPT_UD) return choose_for_datagrams(qp, choice);
  if (!check_ah_attr(attr.ah_attr)) return EINVAL;
  choice->address = make_address(attr.ah_attr);
  if (!choice->address.routed) return 0;
  const auto source = gid_at(attr.ah_attr.grh.sgid_index);
  if (!source) return EINVAL;
  choice->reason =
      index_of_gid(choice->address.dgid) >= 0
          ? reason_for_packets(*qp.host, attr.dest_qp_num)
          : uint32_t(source->in_rings ? VIADUCT_REASON_RINGS : VIADUCT_REASON_OTHER_HOST);
  if (choice->reason == 0) return 0;
  const uint32_t mtu = mtu_of_code(attr.path_mtu);
  if (mtu > source->mtu_bytes) {
    return note_problem(
        EINVAL, "a path MTU of " + std::to_string(mtu) + " bytes is more than the interface " +
                    interface_name(source->interface) + " of the GID " + gid_text(source->gid) +
                    " carries: " + std::to_string(source->mtu_bytes) +
                    "; give that, or raise the MTU of the interface");
  }
  choice->address.reachable = false;
  return open_way_from(*qp.host, *source, choice->address.dgid, &choice->network);
}

int open_way(Host& host, const Address& address) {
  const int index = index_of_gid(address.sgid);
  const auto source = index < 0 ? std::nullopt : gid_at(uint32_t(index));
  if (!source) return EINVAL;
  Network* network = nullptr;
  return open_way_from(host, *source, address.dgid, &network);
}

static transport::ReceiveAttributes receive_attributes(const QueuePair& qp) {
  const ibv_qp_attr& attr = qp.attr;
  transport::ReceiveAttributes attributes;
  attributes.qkey = attr.qkey;
  attributes.access = attr.qp_access_flags;
  attributes.mtu_bytes = qp.packets->connected ? mtu_of_code(attr.path_mtu) : port_mtu_bytes();
  attributes.rq_psn = attr.rq_psn;
  attributes.dest_qp = attr.dest_qp_num;
  attributes.route = qp.packets->route;
  attributes.max_dest_rd_atomic = attr.max_dest_rd_atomic;
  attributes.min_rnr_timer = attr.min_rnr_timer;
  return attributes;
}

static transport::SendAttributes send_attributes(const QueuePair& qp) {
  const ibv_qp_attr& attr = qp.attr;
  transport::SendAttributes attributes;
  attributes.sq_psn = attr.sq_psn;
  attributes.timeout = attr.timeout;
  attributes.retry_cnt = attr.retry_cnt;
  attributes.rnr_retry = attr.rnr_retry;
  attributes.max_rd_atomic = attr.max_rd_atomic;
  return attributes;
}

void begin_packets(QueuePair& qp, const PathChoice& choice) {
  const uint32_t depth = std::max(qp.init.cap.max_send_wr, 1U);
  qp.packets = std::make_unique<PacketQueue>(depth);
  PacketQueue& queue = *qp.packets;
  queue.connected = qp.type() != IBV_QPT_UD;
  queue.reason = choice.reason;
  if (queue.connected) {
    qp.address = choice.address;
    queue.route = route_of(choice.address);
    qp.peer.reset();
    // As if requests were waiting: so none takes a way within this host.
    qp.parked_count = 1;
  }
  const uint32_t number = qp.ex.qp_base.qp_num;
  transport::QueuePairOptions options;
  options.type = qp.type();
  options.send_depth = depth;
  options.max_dest_rd_atomic = qp.attr.max_dest_rd_atomic;
  transport::Engine& engine = choice.network->engine();
  engine.create(number, options);
  engine.to_rtr(number, receive_attributes(qp));
  join_groups_of_packets(qp);
}

static void packets_ready_to_send(QueuePair& qp) {
  qp.host->network()->engine().to_rts(qp.ex.qp_base.qp_num, send_attributes(qp));
}

static void packets_changed(QueuePair& qp) {
  qp.host->network()->engine().change(qp.ex.qp_base.qp_num, receive_attributes(qp),
                                      send_attributes(qp));
}

void pause_packets(QueuePair& qp, bool paused) {
  qp.host->network()->engine().pause(qp.ex.qp_base.qp_num, paused, qp.notify_drained);
}

void continue_packets(QueuePair& qp, ibv_qp_state from) {
  if (from == IBV_QPS_RTR) return packets_ready_to_send(qp);
  packets_changed(qp);
  if (from == IBV_QPS_SQD) pause_packets(qp, false);
  if (from == IBV_QPS_SQE) qp.host->network()->engine().resume(qp.ex.qp_base.qp_num);
}

bool packets_are_sending(const QueuePair& qp) {
  const auto* engine_pair = qp.host->network()->engine().find(qp.ex.qp_base.qp_num);
  return engine_pair && !engine_pair->requester.idle();
}

void forget_packets(QueuePair& qp) {
  if (!qp.packets) return;
  const Receiving& receiving = qp.packets->receiving;
  // What a message took from a shared queue and didn't fill goes back.
  if (receiving.present && receiving.shared_queue && qp.srq) {
    ibv_sge list[max_sge];
    std::copy_n(receiving.sge, receiving.sge_count, list);
    ibv_recv_wr wr{receiving.wr_id, nullptr, list, int(receiving.sge_count)};
    ibv_recv_wr* bad;
    post_srq_recv(&qp.srq->verbs, &wr, &bad);
  }
  qp.packets.reset();
}

}  // namespace softhca
