#include "softhca/straight.h"

#include "softhca/fault_guard.h"
#include "softhca/receive_ring.h"

namespace softhca {
namespace {

// Whether the message arrives in memory that is mapped here.
bool move_straight(Site& site, QpShared& qp, const StraightMessage& message) {
  const SendRequest& request = message.request;
  const bool reads = request.opcode == IBV_WR_RDMA_READ;
  const uint32_t access = reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  if (!(qp.access & access) ||
      (reads && (message.type != IBV_QPT_RC || qp.max_dest_rd_atomic == 0)))
    return false;
  Span span;
  if (!resolve_remote(site, request.rkey, qp.pd, qp.qp_num.load(std::memory_order_relaxed),
                      request.remote_address, message.bytes, access, &span) ||
      !span.mapped || overlap(span.mapped, message.local, message.bytes))
    return false;
  return copy_guarded(reads ? message.local : span.mapped, reads ? span.mapped : message.local,
                      message.bytes);
}

Answer send_straight(Site& site, QpShared& qp, const StraightMessage& message) {
  uint32_t sges;
  const RecvWqe* wqe = qp.srq == 0 ? next_receive(site, qp, &sges) : nullptr;
  if (!wqe || sges == 0 || fetch_once(wqe->num_sge) != 1) return Answer::none;
  const uint32_t room = fetch_once(wqe->sge[0].length);
  Span span;
  if (room < message.bytes ||
      !resolve_local(site, fetch_once(wqe->sge[0].lkey), qp.pd, fetch_once(wqe->sge[0].addr), room,
                     IBV_ACCESS_LOCAL_WRITE, &span) ||
      !span.mapped || overlap(span.mapped, message.local, message.bytes) ||
      !copy_guarded(span.mapped, message.local, message.bytes))
    return Answer::none;
  const bool immediate = message.request.opcode == IBV_WR_SEND_WITH_IMM;
  Cqe cqe{};
  cqe.wr_id = wqe->wr_id;
  cqe.position = ++qp.attempts;
  cqe.opcode = IBV_WC_RECV;
  cqe.byte_len = message.bytes;
  cqe.qp_num = qp.qp_num.load(std::memory_order_relaxed);
  cqe.src_qp = message.src_qp;
  cqe.slid = port_lid;
  cqe.sl = message.sl;
  cqe.solicited = (message.request.flags & IBV_SEND_SOLICITED) != 0;
  cqe.wc_flags = immediate ? uint32_t(IBV_WC_WITH_IMM) : 0;
  cqe.imm_data = immediate ? message.request.imm : 0;
  if (complete_own_receive(site, qp, cqe) || message.type == IBV_QPT_UC) return Answer::ack;
  fail_qp(site, qp, IBV_EVENT_QP_FATAL);
  return Answer::refused;
}

}  // namespace

Answer deliver_straight(Site& site, uint32_t qp_num, const StraightMessage& message) {
  QpShared& qp = site.segment->qp[index_of(qp_num)];
  if (!try_side(qp.inbound, visitor(site.holder))) return Answer::none;
  const uint32_t state = qp.state.load(std::memory_order_relaxed);
  Answer answer = Answer::none;
  if (qp.qp_num.load(std::memory_order_relaxed) == qp_num && state >= IBV_QPS_RTR &&
      state <= IBV_QPS_SQE && qp.type == message.type && qp.dest_qp_num == message.src_qp &&
      qp.established) {
    const ibv_wr_opcode opcode = message.request.opcode;
    if (opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM) {
      answer = send_straight(site, qp, message);
    } else if (move_straight(site, qp, message)) {
      answer = Answer::ack;
    }
  }
  leave(qp.inbound.side);
  return answer;
}

}  // namespace softhca
