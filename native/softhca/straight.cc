#include "softhca/straight.h"

#include "softhca/fault_guard.h"
#include "softhca/guarded_move.h"
#include "softhca/receive_ring.h"
#include "softhca/requester.h"
#include "softhca/responder.h"

namespace softhca {
namespace {

// Whether the queue pair takes messages of that one, in its present life.
inline bool takes(const QpShared& qp, const QueuePair& from) {
  return qp.qp_num.load(std::memory_order_relaxed) == from.attr.dest_qp_num &&
         qp.state.load(std::memory_order_relaxed) - IBV_QPS_RTR <= IBV_QPS_SQE - IBV_QPS_RTR &&
         qp.established == from.ex.qp_base.qp_num;
}

[[gnu::always_inline]] inline bool move(void* to, const void* from, uint32_t bytes) {
  return bytes == 8 ? move_eight_guarded(to, from) : copy_guarded(to, from, bytes);
}

// Whether a request may be carried out now, and is small enough.
[[gnu::always_inline]] inline bool may_run(const QueuePair& qp, const Site& peer, uint32_t bytes) {
  constexpr auto relaxed = std::memory_order_relaxed;
  return qp.parked_count == 0 && qp.shared->state.load(relaxed) == IBV_QPS_RTS &&
         qp.sent.load(relaxed) - qp.retired.load(relaxed) < qp.init.cap.max_send_wr &&
         bytes - 1 < straight_bytes && !peer.gone.load(std::memory_order_acquire);
}

// Where the request's data is, or nullptr: its way isn't straight.
template <bool reads>
[[gnu::always_inline]] inline uint8_t* local_data(const QueuePair& qp, const SendRequest& request) {
  const ibv_sge& sge = *request.sge;
  if (request.flags & IBV_SEND_INLINE) {
    if (reads || sge.length > qp.init.cap.max_inline_data) return nullptr;
    return reinterpret_cast<uint8_t*>(sge.addr);
  }
  const KeyEntry* entry = find_region(qp.host->site(), sge.lkey, qp.pd, sge.addr, sge.length,
                                      reads ? IBV_ACCESS_LOCAL_WRITE : 0);
  return entry ? reinterpret_cast<uint8_t*>(sge.addr + entry->base - entry->iova) : nullptr;
}

// A write or a read. False: its way isn't straight.
template <bool reads>
[[gnu::always_inline]] inline bool move_straight(Site& site, const QpShared& there,
                                                 const QueuePair& qp, const SendRequest& request) {
  const uint32_t bytes = request.sge->length;
  const KeyEntry& entry = entry_of(site, request.rkey);
  if (!valid(site, entry, request.rkey)) [[unlikely]]
    return false;
  const Span span = span_of(site, entry, request.remote_address, bytes);
  if (!span.mapped) [[unlikely]]
    return false;
  // The peer's core has the line, and mostly waits there: have it here by the time that the rest
  // of the request has been looked at.
  if (!reads) prefetch_to_write(span.mapped);
  if (!may_run(qp, site, bytes)) [[unlikely]]
    return false;
  constexpr uint32_t access = reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  if (!(there.access & access) || (reads && there.max_dest_rd_atomic == 0) ||
      !allows_remote(entry, there.pd, there.qp_num.load(std::memory_order_relaxed),
                     request.remote_address, bytes, access)) [[unlikely]]
    return false;
  uint8_t* const local = local_data<reads>(qp, request);
  if (!local || (site.self && overlap(span.mapped, local, bytes))) [[unlikely]]
    return false;
  return reads ? move(local, span.mapped, bytes) : move(span.mapped, local, bytes);
}

[[gnu::noinline]] Answer send_straight(Site& site, QpShared& qp, const QueuePair& from,
                                       const SendRequest& request) {
  const uint32_t bytes = request.sge->length;
  const uint8_t* const local = local_data<false>(from, request);
  if (!local || !may_run(from, site, bytes)) return Answer::none;
  uint32_t sges;
  const RecvWqe* wqe = qp.srq == 0 ? next_receive(site, qp, &sges) : nullptr;
  if (!wqe || sges == 0 || fetch_once(wqe->num_sge) != 1) return Answer::none;
  const uint32_t room = fetch_once(wqe->sge[0].length);
  Span span;
  if (room < bytes ||
      !resolve_local(site, fetch_once(wqe->sge[0].lkey), qp.pd, fetch_once(wqe->sge[0].addr), room,
                     IBV_ACCESS_LOCAL_WRITE, &span) ||
      !span.mapped || overlap(span.mapped, local, bytes) ||
      !copy_guarded(span.mapped, local, bytes))
    return Answer::none;
  const bool immediate = request.opcode == IBV_WR_SEND_WITH_IMM;
  Cqe cqe{};
  cqe.wr_id = wqe->wr_id;
  cqe.position = ++qp.attempts;
  cqe.opcode = IBV_WC_RECV;
  cqe.byte_len = bytes;
  cqe.qp_num = qp.qp_num.load(std::memory_order_relaxed);
  cqe.src_qp = from.ex.qp_base.qp_num;
  cqe.slid = port_lid;
  cqe.sl = from.address.sl;
  cqe.solicited = (request.flags & IBV_SEND_SOLICITED) != 0;
  cqe.wc_flags = immediate ? uint32_t(IBV_WC_WITH_IMM) : 0;
  cqe.imm_data = immediate ? request.imm : 0;
  if (complete_own_receive(site, qp, cqe) || from.type() == IBV_QPT_UC) return Answer::ack;
  fail_qp(site, qp, IBV_EVENT_QP_FATAL);
  return Answer::refused;
}

// `opcode` is the request's, or IBV_WR_SEND for a send of any kind.
template <ibv_wr_opcode opcode>
[[gnu::always_inline]] inline bool run(QueuePair& qp, SendRequest& request) {
  constexpr auto relaxed = std::memory_order_relaxed;
  Site& site = *qp.peer;
  QpShared& there = *qp.peer_qp;
  if (!try_side(there.inbound, visitor(site.holder))) [[unlikely]]
    return false;
  Answer answer = Answer::none;
  if (takes(there, qp)) [[likely]] {
    if (opcode == IBV_WR_SEND) {
      answer = send_straight(site, there, qp, request);
    } else if (move_straight<opcode == IBV_WR_RDMA_READ>(site, there, qp, request)) {
      answer = Answer::ack;
    }
  }
  leave(there.inbound.side);
  if (answer == Answer::none) [[unlikely]]
    return false;

  const uint32_t bytes = request.sge->length;
  request.position = qp.sent.load(relaxed) + 1;
  qp.sent.store(request.position, relaxed);
  if (answer != Answer::ack) [[unlikely]] {
    finish_send(qp, request, IBV_WC_REM_OP_ERR, 0);
    return true;
  }
  ++qp.operations[0];
  qp.bytes[0] += bytes;
  if (qp.signal_all || (request.flags & IBV_SEND_SIGNALED))
    finish_send(qp, request, IBV_WC_SUCCESS, bytes);
  return true;
}

// Apart, lest a write has to save the registers that these need.
[[gnu::noinline]] bool run_no_write(QueuePair& qp, SendRequest& request) {
  return request.opcode == IBV_WR_RDMA_READ ? run<IBV_WR_RDMA_READ>(qp, request)
                                            : run<IBV_WR_SEND>(qp, request);
}

[[gnu::always_inline]] inline bool run_any(QueuePair& qp, SendRequest& request) {
  if (!may_go_straight(qp, request.opcode) || request.num_sge != 1) [[unlikely]]
    return false;
  if (request.opcode == IBV_WR_RDMA_WRITE) [[likely]]
    return run<IBV_WR_RDMA_WRITE>(qp, request);
  return run_no_write(qp, request);
}

}  // namespace

void open_straight(QueuePair& qp) {
  constexpr uint32_t of_uc =
      1u << IBV_WR_RDMA_WRITE | 1u << IBV_WR_SEND | 1u << IBV_WR_SEND_WITH_IMM;
  const bool reliable = qp.type() == IBV_QPT_RC;
  if (qp.init.cap.max_send_sge == 0 || !(reliable || qp.type() == IBV_QPT_UC)) return;
  qp.straight = reliable ? of_uc | 1u << IBV_WR_RDMA_READ : of_uc;
  qp.peer_qp = &qp.peer->segment->qp[index_of(qp.attr.dest_qp_num)];
}

bool run_straight(QueuePair& qp, SendRequest& request) { return run_any(qp, request); }

bool post_straight(QueuePair& qp, SendRequest& request) {
  if (!qp.send_lock.try_side()) return false;
  const bool done = run_any(qp, request);
  qp.send_lock.leave_side();
  return done;
}

}  // namespace softhca
