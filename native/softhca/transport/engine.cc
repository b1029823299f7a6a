#include "softhca/transport/engine.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "softhca/transport/completer.h"
#include "softhca/transport/requester.h"
#include "softhca/transport/responder.h"
#include "softhca/transport/response_queue.h"
#include "softhca/wire/icrc.h"
#include "softhca/wire/udp.h"

namespace softhca::transport {
namespace {

// Packets that a queue pair sends before it is another's turn: what a link sends at once.
constexpr uint32_t burst = 32;

wire::Service service_of(ibv_qp_type type) {
  switch (type) {
    case IBV_QPT_UC:
      return wire::Service::uc;
    case IBV_QPT_UD:
      return wire::Service::ud;
    case IBV_QPT_XRC_SEND:
    case IBV_QPT_XRC_RECV:
      return wire::Service::xrc;
    default:
      return wire::Service::rc;
  }
}

// 10.9.3: the same key, and not both are limited members.
bool pkeys_match(uint16_t left, uint16_t right) {
  constexpr uint16_t full_member = 0x8000;
  return ((left ^ right) & ~full_member) == 0 && ((left | right) & full_member) != 0;
}

constexpr uint32_t max_send_depth = 1U << 20;

}  // namespace

const QueuePair* Engine::find(uint32_t number) const {
  const auto found = queue_pairs_.find(number);
  return found == queue_pairs_.end() ? nullptr : found->second.get();
}
QueuePair* Engine::find_mutable(uint32_t number) { return const_cast<QueuePair*>(find(number)); }

bool Engine::create(uint32_t number, const QueuePairOptions& options) {
  if (find(number) || number >= wire::multicast_qp || options.send_depth > max_send_depth)
    return false;
  auto qp = std::make_unique<QueuePair>();
  qp->number = number;
  qp->type = options.type;
  qp->service = service_of(options.type);
  qp->requester.sent.resize(std::bit_ceil(std::max(options.send_depth, 1U)));
  if (qp->reliable()) reserve_responses(qp->responder, options.max_dest_rd_atomic);
  queue_pairs_.emplace(number, std::move(qp));
  return true;
}

void Engine::destroy(uint32_t number) {
  QueuePair* qp = find_mutable(number);
  if (!qp) return;
  QueuePair* before = nullptr;
  for (QueuePair* listed = first_listed_; listed; before = listed, listed = listed->next_listed) {
    if (listed != qp) continue;
    (before ? before->next_listed : first_listed_) = qp->next_listed;
    if (last_listed_ == qp) last_listed_ = before;
    break;
  }
  std::erase_if(members_, [=](const Member& member) { return member.number == number; });
  queue_pairs_.erase(number);
}

bool Engine::join(uint32_t number, const wire::Gid& group) {
  const QueuePair* qp = find(number);
  if (!qp || qp->connected() || !wire::is_multicast(group)) return false;
  const Member member{group, number};
  if (std::find(members_.begin(), members_.end(), member) == members_.end())
    members_.push_back(member);
  return true;
}

void Engine::leave(uint32_t number, const wire::Gid& group) {
  std::erase(members_, Member{group, number});
}

bool Engine::to_rtr(uint32_t number, const ReceiveAttributes& attributes) {
  QueuePair* qp = find_mutable(number);
  const uint32_t mtu = attributes.mtu_bytes;
  constexpr uint32_t least_mtu = 256;  // those of ibv_mtu
  if (!qp || qp->state != QueuePair::reset || !std::has_single_bit(mtu) || mtu < least_mtu ||
      mtu > wire::max_payload ||
      (qp->reliable() && attributes.max_dest_rd_atomic > qp->responder.replays.size()))
    return false;
  qp->responder.attributes = attributes;
  qp->responder.expected = attributes.rq_psn & wire::psn_mask;
  qp->state = QueuePair::ready_to_receive;
  return true;
}

bool Engine::to_rts(uint32_t number, const SendAttributes& attributes) {
  QueuePair* qp = find_mutable(number);
  if (!qp || qp->state != QueuePair::ready_to_receive || attributes.window_packets == 0)
    return false;
  Requester& requester = qp->requester;
  requester.attributes = attributes;
  requester.window = attributes.window_packets;
  requester.next_psn = requester.unanswered = requester.limit = attributes.sq_psn & wire::psn_mask;
  requester.retries_left = attributes.retry_cnt;
  requester.rnr_retries_left = attributes.rnr_retry;
  qp->state = QueuePair::ready_to_send;
  list(*qp);
  return true;
}

void Engine::pause(uint32_t number, bool paused, bool notify) {
  QueuePair* qp = find_mutable(number);
  if (!qp) return;
  Requester& requester = qp->requester;
  requester.paused = paused;
  requester.draining = paused && notify && !requester.idle();
  if (paused && notify && requester.idle()) device_.raise(number, IBV_EVENT_SQ_DRAINED);
  list(*qp);
}

void Engine::to_error(uint32_t number) {
  QueuePair* qp = find_mutable(number);
  if (!qp) return;
  qp->responder.responses.clear();
  enter_error(*qp, device_);
}

void Engine::resume(uint32_t number) {
  QueuePair* qp = find_mutable(number);
  if (qp && qp->state == QueuePair::send_error) qp->state = QueuePair::ready_to_send;
}

void Engine::change(uint32_t number, const ReceiveAttributes& receiving,
                    const SendAttributes& sending) {
  QueuePair* qp = find_mutable(number);
  if (!qp) return;
  ReceiveAttributes& mine = qp->responder.attributes;
  mine.qkey = receiving.qkey;
  mine.access = receiving.access;
  mine.min_rnr_timer = receiving.min_rnr_timer;
  SendAttributes& sends = qp->requester.attributes;
  sends.timeout = sending.timeout;
  sends.retry_cnt = sending.retry_cnt;
  sends.rnr_retry = sending.rnr_retry;
}

void Engine::wake(uint32_t number) {
  if (QueuePair* qp = find_mutable(number)) list(*qp);
}

void Engine::list(QueuePair& qp) {
  if (qp.listed) return;
  qp.listed = true;
  qp.next_listed = nullptr;
  (last_listed_ ? last_listed_->next_listed : first_listed_) = &qp;
  last_listed_ = &qp;
}

void Engine::note_deadline(const QueuePair& qp) {
  earliest_deadline_ = std::min(earliest_deadline_, deadline_of(qp.requester));
}

void Engine::expire_deadlines(uint64_t now) {
  if (now < earliest_deadline_) return;
  earliest_deadline_ = never;
  for (auto& [number, qp] : queue_pairs_) {
    if (deadline_of(qp->requester) <= now && expire(*qp, device_, counters_, now)) list(*qp);
    note_deadline(*qp);
  }
}

// 9.6.1: what isn't meant for the queue pair is dropped silently, whatever it says.
bool Engine::accepts(const QueuePair& qp, const wire::Packet& packet, const Datagram& datagram) {
  const ReceiveAttributes& attributes = qp.responder.attributes;
  const wire::Opcode& opcode = packet.opcode();
  const auto refuse = [&](Counter counter) {
    counters_.add(counter);
    return false;
  };
  if (opcode.service != qp.service) return refuse(Counter::dropped_opcode);  // 9.6.1
  if (opcode.is_response() ? qp.state != QueuePair::ready_to_send : !qp.receives())
    return refuse(Counter::dropped_state);  // 10.3.1
  // Annex A14: an XRC initiator has no responder.
  if (qp.type == IBV_QPT_XRC_SEND && !opcode.is_response()) return refuse(Counter::dropped_opcode);
  if (!pkeys_match(packet.bth.pkey, attributes.pkey)) return refuse(Counter::dropped_pkey);
  // Annex A17; 9.6.1: of the connected from the peer's address to this one's. Datagrams may come to
  // any address of the port; those to a group name no queue pair.
  if (qp.connected() ? datagram.route.destination != attributes.route.source ||
                           datagram.route.source != attributes.route.destination
                     : wire::is_multicast(datagram.route.destination) &&
                           packet.bth.dest_qp != wire::multicast_qp)
    return refuse(Counter::dropped_address);
  if (!qp.connected() && packet.deth.qkey != attributes.qkey)
    return refuse(Counter::dropped_qkey);  // 9.6.1.4.1
  return true;
}

// 9.6.1: to each member a copy.
void Engine::receive_multicast(const wire::Packet& packet, const Datagram& datagram) {
  bool meant = false;
  for (const auto& [group, number] : members_) {
    if (group != datagram.route.destination) continue;
    meant = true;
    QueuePair& qp = *find_mutable(number);
    if (device_.has_already(number, datagram.route.source, packet.deth.source_qp)) continue;
    if (accepts(qp, packet, datagram)) receive_datagram(qp, device_, counters_, packet, datagram);
  }
  if (!meant) counters_.add(Counter::dropped_queue_pair);
}

void Engine::receive(const Datagram& datagram, uint64_t now_ns) {
  counters_.add(Counter::packets_received);
  wire::Packet packet;
  switch (wire::parse(datagram.bytes, &packet)) {
    case wire::Parsed::ok:
      break;
    case wire::Parsed::too_short:
      return counters_.add(Counter::dropped_short);
    case wire::Parsed::unknown_opcode:
      return counters_.add(Counter::dropped_opcode);
    case wire::Parsed::wrong_version:
      return counters_.add(Counter::dropped_version);
  }
  // Annex A17: before anything in it is believed.
  if (!wire::verify_icrc(datagram.route, datagram.bytes, datagram.identification))
    return counters_.add(Counter::dropped_icrc);
  const wire::Opcode& opcode = packet.opcode();
  if (packet.bth.dest_qp == wire::multicast_qp) return receive_multicast(packet, datagram);
  QueuePair* qp = find_mutable(packet.bth.dest_qp);
  if (!qp) return counters_.add(Counter::dropped_queue_pair);
  if (opcode.kind == wire::Kind::congestion)
    return counters_.add(Counter::congestion_notifications);
  if (!accepts(*qp, packet, datagram)) return;
  if (opcode.is_response()) {
    receive_response(*qp, device_, counters_, packet, now_ns);
  } else {
    if (qp->connected() && !qp->responder.established) {
      qp->responder.established = true;
      if (qp->state == QueuePair::ready_to_receive) device_.raise(qp->number, IBV_EVENT_COMM_EST);
    }
    // Annex A14: the memory that it names is of the domain of the receive queue that it names.
    if (qp->service == wire::Service::xrc) device_.choose_queue(qp->number, packet.xrceth.srq);
    // Another kind of peer, whose port is any, would complete its request after the answer to it.
    if (datagram.route.source_port != wire::roce_port) qp->responder.answers = 0;
    if (qp->connected()) {
      receive_request(*qp, device_, counters_, packet);
    } else {
      receive_datagram(*qp, device_, counters_, packet, datagram);
    }
  }
  note_deadline(*qp);
  list(*qp);
}

// 9.7.5.1.2 leaves the time of an acknowledgement to the responder. NAKs and answers to READs and
// atomics wait for nothing.
bool Engine::keeps_acknowledgement(QueuePair& qp) const {
  Responder& responder = qp.responder;
  if (std::exchange(responder.keeps, false)) {
    if (responder.awaits_answer) responder.answers = 0;  // in vain
    return false;
  }
  responder.keeps = keep_ns_ != 0 && responder.awaits_answer &&
                    responder.answers == enough_answers && has_one_acknowledgement(qp);
  return responder.keeps;
}

bool Engine::transmit(uint64_t now_ns, uint32_t budget) {
  expire_deadlines(now_ns);
  QueuePair* keeping = nullptr;
  while (budget > 0 && first_listed_) {
    QueuePair& qp = *first_listed_;
    const auto send_some = [&](auto&& send) {
      Step step = Step::sent;
      for (uint32_t turn = std::min(burst, budget); turn > 0 && step == Step::sent; --turn) {
        step = send();
        budget -= step == Step::sent;
      }
      return step;
    };
    // Requests first, as a link may send a packet together with larger ones before it.
    const Step requests =
        send_some([&] { return send_request(qp, device_, outbox_, counters_, now_ns); });
    const bool keeps = requests != Step::full && keeps_acknowledgement(qp);
    const Step responses = requests == Step::full || keeps ? Step::idle : send_some([&] {
      return send_response(qp, device_, outbox_, counters_);
    });
    note_deadline(qp);
    if (requests == Step::full || responses == Step::full) break;
    first_listed_ = qp.next_listed;
    if (!first_listed_) last_listed_ = nullptr;
    qp.listed = false;
    if (keeps) {
      qp.listed = true;
      qp.next_listed = std::exchange(keeping, &qp);
    } else if (requests == Step::sent || responses == Step::sent) {
      list(qp);
    }
  }
  const bool more = first_listed_ != nullptr;
  keeps_ = keeping != nullptr;
  if (keeps_) earliest_deadline_ = std::min(earliest_deadline_, now_ns + keep_ns_);
  while (keeping) {
    QueuePair& qp = *keeping;
    keeping = qp.next_listed;
    qp.listed = false;
    list(qp);
  }
  return more;
}

}  // namespace softhca::transport
