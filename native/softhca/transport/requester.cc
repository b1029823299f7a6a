#include "softhca/transport/requester.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "softhca/transport/packet_writer.h"
#include "softhca/transport/responder.h"

namespace softhca::transport {
namespace {

using wire::Kind;

constexpr uint64_t max_message = 1ULL << 31;  // 9.4
// rxe's peers may wait this long for a request for an acknowledgement, and no longer.
constexpr uint32_t packets_between_ack_requests = 64;

Kind kind_of(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_IMM:
    case IBV_WR_SEND_WITH_INV:
      return Kind::send;
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return Kind::write;
    case IBV_WR_RDMA_READ:
      return Kind::read_request;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return Kind::compare_swap;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return Kind::fetch_add;
    case IBV_WR_ATOMIC_WRITE:
      return Kind::atomic_write;
    default:
      return Kind::none;
  }
}

// Those that take one of the responder's resources and have an answer of their own (9.7.7; annex
// A19).
bool is_read_or_atomic(Kind kind) {
  return kind == Kind::read_request || kind == Kind::compare_swap || kind == Kind::fetch_add ||
         kind == Kind::atomic_write;
}

bool is_local(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_LOCAL_INV || opcode == IBV_WR_BIND_MW;
}

// InfiniBand Vol. 1, table 38: which operations a service has.
bool service_has(wire::Service service, Kind kind, ibv_wr_opcode opcode) {
  if (kind == Kind::none) return false;
  if (service == wire::Service::rc || service == wire::Service::xrc) return true;
  if (is_read_or_atomic(kind) || opcode == IBV_WR_SEND_WITH_INV) return false;
  return service == wire::Service::uc || kind == Kind::send;
}

uint8_t operation_of(const SendWqe& wqe, Kind kind, bool first, bool last) {
  const bool immediate =
      wqe.opcode == IBV_WR_SEND_WITH_IMM || wqe.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
  switch (kind) {
    case Kind::send:
      if (!last) return first ? wire::op_send_first : wire::op_send_middle;
      if (wqe.opcode == IBV_WR_SEND_WITH_INV)
        return first ? wire::op_send_only_inv : wire::op_send_last_inv;
      if (immediate) return first ? wire::op_send_only_imm : wire::op_send_last_imm;
      return first ? wire::op_send_only : wire::op_send_last;
    case Kind::write:
      if (!last) return first ? wire::op_write_first : wire::op_write_middle;
      if (immediate) return first ? wire::op_write_only_imm : wire::op_write_last_imm;
      return first ? wire::op_write_only : wire::op_write_last;
    case Kind::read_request:
      return wire::op_read_request;
    case Kind::compare_swap:
      return wire::op_compare_swap;
    case Kind::atomic_write:
      return wire::op_atomic_write;
    default:
      return wire::op_fetch_add;
  }
}

// The request can't be sent: it fails in its turn.
void stop(QueuePair& qp, Device& device, ibv_wc_status status) {
  Requester& requester = qp.requester;
  requester.stopped = true;
  requester.stop_status = status;
  // What was begun of it counts as nothing.
  if (requester.at != requester.next) requester.next = requester.at;
  if (requester.idle()) fail_sends(qp, device, status);
}

// Gives the next request its sequence numbers. False: it has to wait, or there is none.
bool begin_next(QueuePair& qp, Device& device) {
  Requester& requester = qp.requester;
  while (!requester.stopped && !requester.paused && qp.state == QueuePair::ready_to_send &&
         requester.next - requester.oldest < requester.sent.size()) {
    const SendWqe* wqe = device.send_wqe(qp.number, requester.next);
    if (!wqe) return false;
    if (is_local(wqe->opcode)) {
      // 10.6.5.1: after those before are complete.
      if (!requester.idle()) return false;
      const ibv_wc_status status = device.run_local(qp.number, requester.next);
      if (status != IBV_WC_SUCCESS) {
        stop(qp, device, status);
        return false;
      }
      device.complete_send(qp.number, requester.next, IBV_WC_SUCCESS, 0);
      requester.at = requester.oldest = ++requester.next;
      continue;
    }
    const Kind kind = kind_of(wqe->opcode);
    const bool atomic = kind == Kind::compare_swap || kind == Kind::fetch_add;
    const bool answered = is_read_or_atomic(kind);
    const uint64_t bytes = atomic ? sizeof(uint64_t) : wqe->bytes;
    ibv_wc_status problem = IBV_WC_SUCCESS;
    if (!service_has(qp.service, kind, wqe->opcode) ||
        (answered && requester.attributes.max_rd_atomic == 0)) {
      problem = IBV_WC_LOC_QP_OP_ERR;
    } else if (bytes > max_message || (atomic && wqe->bytes < sizeof(uint64_t)) ||
               (kind == Kind::atomic_write && bytes != sizeof(uint64_t)) ||
               (qp.service == wire::Service::ud && bytes > qp.mtu())) {  // 9.8.3: one packet
      problem = IBV_WC_LOC_LEN_ERR;
    }
    if (problem != IBV_WC_SUCCESS) {
      stop(qp, device, problem);
      return false;
    }
    // 10.8.3.3: a fenced request waits for READs and atomics.
    if (wqe->fence && requester.reads > 0) return false;
    // 9.7.7: the responder's resources for them are limited.
    if (answered && requester.reads >= requester.attributes.max_rd_atomic) return false;
    const auto packets = uint32_t(packet_count(bytes, qp.mtu()));
    if (qp.reliable() &&
        psn_after(requester.next_psn, requester.unanswered) + packets > max_psns_in_flight)
      return false;
    if (requester.idle()) requester.unanswered = requester.limit = requester.next_psn;
    requester.of(requester.next) = {requester.next_psn, packets, 0, kind, bytes};
    requester.next_psn = psn_add(requester.next_psn, packets);
    ++requester.next;
    Responder& responder = qp.responder;
    if (std::exchange(responder.awaits_answer, false) && responder.answers < enough_answers)
      ++responder.answers;
    requester.reads += answered;
    return true;
  }
  return false;
}

// Answers may have come for what was to be sent again.
void skip_what_is_answered(Requester& requester) {
  if (requester.idle()) {
    requester.at = requester.oldest;
    requester.at_packet = 0;
    return;
  }
  if (int32_t(requester.at - requester.oldest) < 0) {
    requester.at = requester.oldest;
    requester.at_packet = 0;
  }
  if (requester.at == requester.oldest && requester.at != requester.next) {
    const SentWqe& sent = requester.of(requester.at);
    requester.at_packet =
        std::max(requester.at_packet, psn_after(requester.unanswered, sent.first_psn));
  }
}

void fill_extensions(wire::Packet& packet, const QueuePair& qp, const SendWqe& wqe,
                     uint64_t offset) {
  packet.xrceth.srq = wqe.srq;
  // 10.2.5: a queue key with the high bit set stands for the queue pair's own.
  packet.deth = {wqe.remote_qkey & 0x80000000 ? qp.responder.attributes.qkey : wqe.remote_qkey,
                 qp.number};
  packet.reth = {wqe.remote_address + offset, wqe.rkey, uint32_t(wqe.bytes - offset)};
  const bool swaps = wqe.opcode == IBV_WR_ATOMIC_CMP_AND_SWP;
  packet.atomic_eth = {wqe.remote_address, wqe.rkey, swaps ? wqe.swap : wqe.compare_add,
                       swaps ? wqe.compare_add : 0};
  packet.imm_dt = {wqe.immediate};
  packet.ieth = {wqe.immediate};
}

}  // namespace

void go_back(Requester& requester) {
  requester.at = requester.oldest;
  requester.at_packet =
      requester.idle() ? 0
                       : psn_after(requester.unanswered, requester.of(requester.oldest).first_psn);
}

void complete_oldest(QueuePair& qp, Device& device) {
  Requester& requester = qp.requester;
  const SentWqe& sent = requester.of(requester.oldest);
  requester.reads -= is_read_or_atomic(sent.kind);
  const uint32_t index = requester.oldest++;
  device.complete_send(qp.number, index, IBV_WC_SUCCESS, sent.bytes);
  if (!requester.idle()) return;
  if (requester.stopped) {
    fail_sends(qp, device, requester.stop_status);
  } else if (requester.draining) {
    requester.draining = false;
    device.raise(qp.number, IBV_EVENT_SQ_DRAINED);
  }
}

void flush_sends(QueuePair& qp, Device& device) {
  Requester& requester = qp.requester;
  while (device.send_wqe(qp.number, requester.oldest)) {
    device.complete_send(qp.number, requester.oldest++, IBV_WC_WR_FLUSH_ERR, 0);
  }
  requester.next = requester.at = requester.oldest;
  requester.at_packet = requester.reads = 0;
  requester.unanswered = requester.limit = requester.next_psn;
  requester.retry_deadline = requester.rnr_deadline = never;
  requester.stopped = requester.recovering = requester.draining = false;
}

void fail_sends(QueuePair& qp, Device& device, ibv_wc_status status) {
  device.complete_send(qp.number, qp.requester.oldest++, status, 0);
  if (qp.reliable()) {
    enter_error(qp, device);
  } else {
    qp.state = QueuePair::send_error;
    flush_sends(qp, device);
  }
}

bool expire(QueuePair& qp, Device& device, Counters& counters, uint64_t now) {
  Requester& requester = qp.requester;
  if (requester.rnr_deadline <= now) {
    requester.rnr_deadline = never;
    return true;
  }
  if (requester.retry_deadline > now) return false;
  requester.retry_deadline = never;
  counters.add(Counter::timeouts);
  if (requester.retries_left == 0) {  // 9.7.6.1.3
    fail_sends(qp, device, IBV_WC_RETRY_EXC_ERR);
    return true;
  }
  --requester.retries_left;
  requester.recovering = false;
  requester.window = 1;
  go_back(requester);
  return true;
}

Step send_request(QueuePair& qp, Device& device, Outbox& outbox, Counters& counters, uint64_t now) {
  Requester& requester = qp.requester;
  if (qp.state == QueuePair::error || qp.state == QueuePair::send_error) {
    flush_sends(qp, device);
    return Step::idle;
  }
  if (qp.state != QueuePair::ready_to_send || requester.rnr_deadline != never) return Step::idle;
  skip_what_is_answered(requester);
  if (requester.at == requester.next && !begin_next(qp, device)) return Step::idle;

  SentWqe& sent = requester.of(requester.at);
  const SendWqe& wqe = *device.send_wqe(qp.number, requester.at);
  const uint32_t packet_number = requester.at_packet;
  const uint32_t psn = psn_add(sent.first_psn, packet_number);
  const bool answered = is_read_or_atomic(sent.kind);
  const bool last = answered || packet_number + 1 == sent.packets;
  // Those that are answered each have a limit of their own, which says little of the network.
  const bool limited = !answered || requester.window < requester.attributes.window_packets;
  const uint32_t ahead = psn_after(psn, requester.unanswered);
  if (qp.reliable() && limited && ahead >= requester.window) return Step::idle;

  // A READ that was answered in part is asked for the rest (rxe does the same).
  const uint64_t offset = uint64_t(packet_number) * qp.mtu();
  const bool has_data = !answered || sent.kind == Kind::atomic_write;
  const uint64_t payload = has_data ? std::min<uint64_t>(qp.mtu(), sent.bytes - offset) : 0;
  wire::Packet packet =
      make_packet(qp, operation_of(wqe, sent.kind, answered || packet_number == 0, last), psn);
  fill_extensions(packet, qp, wqe, offset);
  packet.bth.solicited = wqe.solicited && last;  // 9.2
  const bool datagram = qp.service == wire::Service::ud;
  if (datagram) packet.bth.dest_qp = wqe.remote_qp;
  const bool window_ends = ahead + 1 >= requester.window;
  packet.bth.ack_request =
      qp.reliable() &&
      (last || window_ends || requester.since_ack_request + 1 >= packets_between_ack_requests);

  PacketWriter writer(outbox, datagram ? wqe.route : qp.responder.attributes.route, packet,
                      payload);
  if (!writer) return Step::full;
  if (payload > 0 && !device.gather(qp.number, requester.at, offset, writer.payload())) {
    stop(qp, device, IBV_WC_LOC_PROT_ERR);
    return Step::sent;
  }
  writer.send(counters);

  requester.since_ack_request = packet.bth.ack_request ? 0 : requester.since_ack_request + 1;
  const uint32_t end = answered ? psn_add(sent.first_psn, sent.packets) : psn_add(psn, 1);
  if (psn_difference(psn, requester.limit) < 0 && qp.reliable())
    counters.add(Counter::packets_sent_again);
  if (psn_after(end, requester.unanswered) > psn_after(requester.limit, requester.unanswered))
    requester.limit = end;
  if (last) {
    ++requester.at;
    requester.at_packet = 0;
  } else {
    ++requester.at_packet;
  }
  if (qp.reliable()) {
    if (requester.retry_deadline == never && requester.attributes.timeout != 0)
      requester.retry_deadline = now + (4096ULL << (requester.attributes.timeout & 31));
  } else if (last) {
    complete_oldest(qp, device);  // 9.8.2, 9.8.3: sent is done
  }
  return Step::sent;
}

}  // namespace softhca::transport
