#include "softhca/straight.h"

#include "softhca/fault_guard.h"
#include "softhca/receive_ring.h"
#include "softhca/requester.h"
#include "softhca/responder.h"

namespace softhca {
namespace {

// Whether the queue pair takes messages of that one, in its present life.
inline bool takes(const QpShared& qp, const QueuePair& from) {
  return qp.qp_num.load(std::memory_order_relaxed) == from.attr.dest_qp_num &&
         qp.state.load(std::memory_order_relaxed) - IBV_QPS_RTR <= IBV_QPS_SQE - IBV_QPS_RTR &&
         qp.dest_qp_num == from.ex.qp_base.qp_num && qp.type == uint32_t(from.type()) &&
         qp.established;
}

// A write or a read. False: its way isn't straight.
[[gnu::always_inline]] inline bool move_straight(Site& site, const QpShared& qp,
                                                 const SendRequest& request, uint8_t* local,
                                                 uint32_t bytes) {
  const bool reads = request.opcode == IBV_WR_RDMA_READ;
  const uint32_t access = reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  if (!(qp.access & access) || (reads && qp.max_dest_rd_atomic == 0)) return false;
  Span span;
  if (!resolve_remote(site, request.rkey, qp.pd, qp.qp_num.load(std::memory_order_relaxed),
                      request.remote_address, bytes, access, &span) ||
      !span.mapped || overlap(span.mapped, local, bytes))
    return false;
  return reads ? copy_guarded(local, span.mapped, bytes) : copy_guarded(span.mapped, local, bytes);
}

[[gnu::noinline]] Answer send_straight(Site& site, QpShared& qp, const QueuePair& from,
                                       const SendRequest& request, const uint8_t* local,
                                       uint32_t bytes) {
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

}  // namespace

void open_straight(QueuePair& qp) {
  constexpr uint32_t of_uc =
      1u << IBV_WR_RDMA_WRITE | 1u << IBV_WR_SEND | 1u << IBV_WR_SEND_WITH_IMM;
  const bool reliable = qp.type() == IBV_QPT_RC;
  if (qp.init.cap.max_send_sge == 0 || !(reliable || qp.type() == IBV_QPT_UC)) return;
  qp.straight = reliable ? of_uc | 1u << IBV_WR_RDMA_READ : of_uc;
  qp.peer_qp = &qp.peer->segment->qp[index_of(qp.attr.dest_qp_num)];
}

bool run_straight(QueuePair& qp, SendRequest& request) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const uint32_t sent = qp.sent.load(relaxed);
  if (!may_go_straight(qp, request.opcode) || request.num_sge != 1 || qp.parked_count != 0 ||
      qp.shared->state.load(relaxed) != IBV_QPS_RTS ||
      sent - qp.retired.load(relaxed) >= qp.init.cap.max_send_wr)
    return false;
  Site& site = *qp.peer;
  const uint32_t bytes = request.sge->length;
  if (bytes - 1 >= straight_bytes || site.gone.load(std::memory_order_acquire)) return false;
  uint64_t address = request.sge->addr;
  if (request.flags & IBV_SEND_INLINE) {
    if (request.opcode == IBV_WR_RDMA_READ || bytes > qp.init.cap.max_inline_data) return false;
  } else {
    const uint32_t access = request.opcode == IBV_WR_RDMA_READ ? IBV_ACCESS_LOCAL_WRITE : 0;
    const KeyEntry* entry =
        find_region(qp.host->site(), request.sge->lkey, qp.pd, address, bytes, access);
    if (!entry) return false;
    address += entry->base - entry->iova;
  }
  auto* local = reinterpret_cast<uint8_t*>(address);

  QpShared& there = *qp.peer_qp;
  if (!try_side(there.inbound, visitor(site.holder))) return false;
  Answer answer = Answer::none;
  if (takes(there, qp)) {
    if (request.opcode == IBV_WR_RDMA_WRITE || request.opcode == IBV_WR_RDMA_READ) {
      if (move_straight(site, there, request, local, bytes)) answer = Answer::ack;
    } else {
      answer = send_straight(site, there, qp, request, local, bytes);
    }
  }
  leave(there.inbound.side);
  if (answer == Answer::none) return false;

  request.position = sent + 1;
  qp.sent.store(sent + 1, relaxed);
  if (answer != Answer::ack) {
    finish_send(qp, request, IBV_WC_REM_OP_ERR, 0);
    return true;
  }
  ++qp.operations[0];
  qp.bytes[0] += bytes;
  if (qp.signal_all || (request.flags & IBV_SEND_SIGNALED))
    finish_send(qp, request, IBV_WC_SUCCESS, bytes);
  return true;
}

}  // namespace softhca
