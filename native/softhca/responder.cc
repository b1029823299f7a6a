// The responder: what a queue pair does with a message that arrives. It runs in the sender's
// process, on the owner's shared state, under the queue pair's lock.
#include "softhca/responder.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "softhca/cq.h"
#include "softhca/fault_guard.h"
#include "softhca/receive_ring.h"
#include "softhca/srq.h"

namespace softhca {
namespace {

Reply cut_short() { return {Answer::cut_short, IBV_WC_SUCCESS, 0, 0, false}; }
Reply dropped() { return {Answer::none, IBV_WC_SUCCESS, 0, 0, false}; }

bool has_payload_in_receive(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM || opcode == IBV_WR_SEND_WITH_INV;
}
bool takes_receive(ibv_wr_opcode opcode) {
  return has_payload_in_receive(opcode) || opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
}

uint32_t access_for(ibv_wr_opcode opcode) {
  if (is_write(opcode)) return IBV_ACCESS_REMOTE_WRITE;
  return is_atomic(opcode) ? IBV_ACCESS_REMOTE_ATOMIC : IBV_ACCESS_REMOTE_READ;
}

bool types_match(ibv_qp_type sender, uint32_t receiver) {
  if (sender == IBV_QPT_XRC_SEND) return receiver == IBV_QPT_XRC_RECV;
  return receiver == uint32_t(sender);
}

// One message being carried out.
class Delivery {
 public:
  Delivery(Host& host, Site& site, QpShared& qp, const Message& message)
      : host_(host), site_(site), qp_(qp), message_(message), receive_site_(&site) {}

  Reply run() {
    if (message_.transport == IBV_QPT_XRC_SEND && !find_xrc_queue()) return refuse_request();
    if (is_atomic(message_.request.opcode)) return atomic();
    if (message_.request.opcode == IBV_WR_RDMA_READ) return read();
    if (is_write(message_.request.opcode)) return write();
    return send();
  }

 private:
  Reply ack(uint64_t original = 0) const {
    return {Answer::ack, IBV_WC_SUCCESS, 0, original, by_kernel_};
  }

  bool reliable() const {
    return message_.transport == IBV_QPT_RC || message_.transport == IBV_QPT_XRC_SEND;
  }

  Reply refuse(ibv_wc_status status, ibv_event_type event) {
    // InfiniBand Vol. 1, 9.9.3: an unreliable responder drops what a reliable one would NAK.
    if (!reliable()) return dropped();
    fail_qp(site_, qp_, event);
    return {Answer::refused, status, 0, 0, false};
  }
  Reply refuse_request() { return refuse(IBV_WC_REM_INV_REQ_ERR, IBV_EVENT_QP_REQ_ERR); }
  Reply refuse_access() { return refuse(IBV_WC_REM_ACCESS_ERR, IBV_EVENT_QP_ACCESS_ERR); }

  // The receive failed here: it completes with `mine`, the sender with `theirs`.
  Reply fail_receive(ibv_wc_status mine, ibv_wc_status theirs) {
    if (!reliable()) {
      // A receive that was taken from a shared queue can't go back: the program gets it with an
      // error.
      if (srq_) complete_receive(mine, 0);
      return dropped();
    }
    complete_receive(mine, 0);
    fail_qp(site_, qp_, IBV_EVENT_QP_FATAL);
    return {Answer::refused, theirs, 0, 0, false};
  }

  bool find_xrc_queue() {
    xrc_owner_ = host_.reach(slot_of(message_.request.srq_number));
    uint32_t index = index_of(message_.request.srq_number);
    if (!xrc_owner_ || index >= max_srq) return false;
    SrqShared& srq = xrc_owner_->segment->srq[index];
    if (srq.number.load(std::memory_order_acquire) != message_.request.srq_number ||
        srq.type != IBV_SRQT_XRC || srq.xrcd != qp_.xrcd)
      return false;
    srq_ = &srq;
    receive_site_ = xrc_owner_.get();
    return true;
  }

  Site& receive_site() { return *receive_site_; }
  uint32_t receive_pd() const { return xrc_owner_ ? srq_->pd : qp_.pd; }

  // The memory that the message names. A zero length is not checked (C9-88).
  bool find_remote(uint64_t bytes) {
    span_.bytes = bytes;
    if (bytes == 0) return true;
    return resolve_remote(receive_site(), message_.request.rkey, receive_pd(), qp_.qp_num.load(),
                          message_.request.remote_address, bytes,
                          access_for(message_.request.opcode), &span_);
  }

  Reply moved(Moved result) {
    if (result == Moved::all) return ack();
    if (result == Moved::gone) return dropped();
    if (result == Moved::local_fault) return cut_short();
    return refuse(IBV_WC_REM_OP_ERR, IBV_EVENT_QP_FATAL);
  }

  Reply read() {
    if (!reliable() || !(qp_.access & IBV_ACCESS_REMOTE_READ) || qp_.max_dest_rd_atomic == 0)
      return refuse_request();
    if (!find_remote(message_.bytes)) return refuse_access();
    return moved(move_bytes(receive_site(), Direction::from_site, message_.local, {&span_, 1},
                            message_.bytes, &by_kernel_));
  }

  Reply write() {
    if (!(qp_.access & IBV_ACCESS_REMOTE_WRITE)) return refuse_request();
    if (!find_remote(message_.bytes)) return refuse_access();
    if (message_.request.opcode == IBV_WR_ATOMIC_WRITE) return atomic_write();
    if (takes_receive(message_.request.opcode) && !take_receive()) return not_ready();
    Moved result = move_bytes(receive_site(), Direction::to_site, message_.local, {&span_, 1},
                              message_.bytes, &by_kernel_);
    if (!takes_receive(message_.request.opcode)) return moved(result);
    if (result == Moved::gone) return dropped();
    if (result == Moved::local_fault) return cut_short();
    if (result != Moved::all) return fail_receive(IBV_WC_LOC_PROT_ERR, IBV_WC_REM_OP_ERR);
    return complete_receive(IBV_WC_SUCCESS, uint32_t(message_.bytes));
  }

  // Eight aligned bytes are stored at once; the lock keeps them out of the middle of an atomic
  // operation by the kernel's copy, which is a read and a write.
  Reply atomic_write() {
    if (qp_.max_dest_rd_atomic == 0 || message_.request.remote_address % 8 != 0 ||
        span_.address % 8 != 0)
      return refuse_request();
    Site& site = receive_site();
    SharedLock& guard = site.segment->header.atomics;
    if (!enter(guard, site)) return dropped();
    Moved result =
        move_bytes(site, Direction::to_site, message_.local, {&span_, 1}, 8, &by_kernel_);
    unlock(guard, site);
    return moved(result);
  }

  Reply atomic() {
    if (!reliable() || !(qp_.access & IBV_ACCESS_REMOTE_ATOMIC) || qp_.max_dest_rd_atomic == 0 ||
        message_.request.remote_address % 8 != 0)  // naturally aligned
      return refuse_request();
    if (!find_remote(8)) return refuse_access();
    Site& site = receive_site();
    if (span_.address % 8 != 0) return refuse_request();
    uint64_t original = 0;
    const Moved result =
        change_word(site, span_, message_.request.opcode, message_.request.compare_add,
                    message_.request.swap, &original, &by_kernel_);
    if (result != Moved::all) return moved(result);
    return ack(original);
  }

  Reply send() {
    bool datagram = message_.transport == IBV_QPT_UD;
    if (message_.request.opcode == IBV_WR_SEND_WITH_INV && !may_invalidate())
      return refuse_access();
    if (!take_receive()) return not_ready();
    Span spans[max_sge];
    uint64_t room = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < std::min(receive_count_, max_sge); ++i) {
      const ibv_sge sge{fetch_once(receive_sge_[i].addr), fetch_once(receive_sge_[i].length),
                        fetch_once(receive_sge_[i].lkey)};
      // A piece of no bytes is mapped nowhere, and would keep the others off the direct path.
      if (sge.length == 0) continue;
      Span& span = spans[count++];
      span = {sge.addr, sge.length, nullptr};
      if (!resolve_local(receive_site(), sge.lkey, receive_pd(), sge.addr, sge.length,
                         IBV_ACCESS_LOCAL_WRITE, &span))
        return fail_receive(IBV_WC_LOC_PROT_ERR, IBV_WC_REM_OP_ERR);
      room += sge.length;
    }
    uint64_t bytes = message_.bytes + (datagram ? grh_bytes : 0);
    // 9.7.5.2.3 (RC: NAK invalid request), 9.8.3 (a datagram that doesn't fit is dropped)
    if (room < bytes) return fail_receive(IBV_WC_LOC_LEN_ERR, IBV_WC_REM_INV_REQ_ERR);
    Moved result = datagram ? place_datagram(spans, count)
                            : move_bytes(receive_site(), Direction::to_site, message_.local,
                                         {spans, count}, message_.bytes, &by_kernel_);
    if (result == Moved::gone) return dropped();
    if (result == Moved::local_fault) return cut_short();
    if (result != Moved::all) return fail_receive(IBV_WC_LOC_PROT_ERR, IBV_WC_REM_OP_ERR);
    if (message_.request.opcode == IBV_WR_SEND_WITH_INV)
      invalidate_key(receive_site(), message_.request.imm);
    return complete_receive(IBV_WC_SUCCESS, uint32_t(bytes));
  }

  // The first 40 bytes of a datagram's buffer belong to its GRH, whether it has one or not
  // (11.4.1.2).
  Moved place_datagram(Span* spans, uint32_t count) {
    iovec pieces[max_sge + 1];
    uint32_t pieces_count = 0;
    uint64_t bytes = message_.bytes;
    if (message_.grh) {
      pieces[pieces_count++] = {const_cast<ibv_grh*>(message_.grh), grh_bytes};
      bytes += grh_bytes;
    } else {
      uint64_t skip = grh_bytes;
      while (skip > 0) {
        assert(count > 0);
        uint64_t piece = std::min(skip, spans->bytes);
        spans->address += piece;
        spans->bytes -= piece;
        if (spans->mapped) spans->mapped += piece;
        skip -= piece;
        if (spans->bytes == 0) {
          ++spans;
          --count;
        }
      }
    }
    for (uint32_t i = 0; i < message_.local.count; ++i)
      pieces[pieces_count++] = message_.local.pieces[i];
    return move_bytes(receive_site(), Direction::to_site, {pieces, pieces_count}, {spans, count},
                      bytes, &by_kernel_);
  }

  // 10.6.7.2.6: only what is bound through this very queue pair can be invalidated from outside.
  bool may_invalidate() {
    const KeyEntry* entry = find_key(receive_site(), message_.request.imm);
    return entry && entry->kind == key_window_2 && entry->pd == receive_pd() &&
           entry->qp_num == qp_.qp_num.load();
  }

  bool take_receive() {
    // Before anything is noted as taken, so that a completion tells which note was its own.
    ++qp_.attempts;
    if (srq_ == nullptr && qp_.srq != 0) {
      const uint32_t index = fetch_once(qp_.srq) - 1;
      if (index >= max_srq) return false;
      srq_ = &site_.segment->srq[index];
    }
    if (srq_) {
      // What an earlier message took and was cut short of is the next one's.
      bool left = !xrc_owner_ && qp_.taken.present == taken_shared;
      if (!left && !take_shared_receive(receive_site(), *srq_, &qp_.taken)) return false;
      wr_id_ = qp_.taken.wr_id;
      receive_sge_ = qp_.taken.sge;
      receive_count_ = std::min(fetch_once(qp_.taken.num_sge), max_sge);
      return true;
    }
    uint32_t sges;
    RecvWqe* wqe = next_receive(site_, qp_, &sges);
    if (!wqe) return false;
    wr_id_ = wqe->wr_id;
    receive_sge_ = wqe->sge;
    receive_count_ = std::min(fetch_once(wqe->num_sge), sges);
    return true;
  }

  Reply not_ready() {
    if (!reliable()) return dropped();
    return {Answer::not_ready, IBV_WC_SUCCESS, qp_.min_rnr_timer, 0, false};
  }

  Reply complete_receive(ibv_wc_status status, uint32_t bytes) {
    Cqe cqe{};
    cqe.wr_id = wr_id_;
    cqe.status = status;
    cqe.position = qp_.attempts;
    cqe.opcode = is_write(message_.request.opcode) ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV;
    cqe.byte_len = bytes;
    cqe.qp_num = qp_.qp_num.load();
    cqe.src_qp = message_.src_qp;
    cqe.slid = port_lid;
    cqe.sl = message_.sl;
    cqe.solicited = (message_.request.flags & IBV_SEND_SOLICITED) != 0;
    if (message_.request.opcode == IBV_WR_SEND_WITH_INV) {
      cqe.wc_flags |= IBV_WC_WITH_INV;
      cqe.imm_data = message_.request.imm;
    } else if (message_.request.opcode == IBV_WR_SEND_WITH_IMM ||
               message_.request.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
      cqe.wc_flags |= IBV_WC_WITH_IMM;
      cqe.imm_data = message_.request.imm;
    }
    if (message_.transport == IBV_QPT_UD && message_.grh) cqe.wc_flags |= IBV_WC_GRH;
    const uint32_t cq = xrc_owner_ ? srq_->cq : qp_.recv_cq;
    bool pushed;
    if (srq_) {
      pushed = push_completion(receive_site(), cq, cqe);
      qp_.taken.present = taken_none;
    } else {
      pushed = complete_own_receive(site_, qp_, cqe);
    }
    if (pushed) return ack();
    if (reliable()) fail_qp(site_, qp_, IBV_EVENT_QP_FATAL);
    return reliable() ? Reply{Answer::refused, IBV_WC_REM_OP_ERR, 0, 0, false} : dropped();
  }

  Host& host_;
  Site& site_;
  QpShared& qp_;
  const Message& message_;
  Site* receive_site_;  // whose receive it takes, and whose memory it is about
  std::shared_ptr<Site> xrc_owner_;
  Span span_{};
  SrqShared* srq_ = nullptr;
  uint64_t wr_id_ = 0;
  const ibv_sge* receive_sge_ = nullptr;
  uint32_t receive_count_ = 0;
  bool by_kernel_ = false;
};

}  // namespace

Moved change_word(Site& site, Span& span, ibv_wr_opcode opcode, uint64_t compare_add, uint64_t swap,
                  uint64_t* original, bool* by_kernel) {
  SharedLock& guard = site.segment->header.atomics;
  if (!enter(guard, site)) return Moved::gone;
  Moved result = Moved::all;
  if (span.mapped) {
    auto* word = reinterpret_cast<uint64_t*>(span.mapped);
    auto change = [&] {
      if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
        *original = __atomic_fetch_add(word, compare_add, __ATOMIC_SEQ_CST);
      } else {
        *original = compare_add;
        __atomic_compare_exchange_n(word, original, swap, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
      }
    };
    void* address = nullptr;
    if (!guard_faults(change, &address)) result = Moved::site_fault;
  } else {
    iovec word{original, 8};
    result = move_bytes(site, Direction::from_site, {&word, 1}, {&span, 1}, 8, by_kernel);
    uint64_t next = *original + compare_add;
    bool store = true;
    if (opcode == IBV_WR_ATOMIC_CMP_AND_SWP) {
      store = *original == compare_add;
      next = swap;
    }
    iovec value{&next, 8};
    if (result == Moved::all && store)
      result = move_bytes(site, Direction::to_site, {&value, 1}, {&span, 1}, 8, by_kernel);
  }
  unlock(guard, site);
  return result;
}

Reply deliver(Host& host, Site& site, uint32_t qp_num, const Message& message) {
  QpShared& qp = site.segment->qp[index_of(qp_num)];
  if (qp.qp_num.load(std::memory_order_acquire) != qp_num || !enter(qp.inbound, site))
    return dropped();
  Reply reply = dropped();
  uint32_t state = qp.state.load(std::memory_order_relaxed);
  bool datagram = message.transport == IBV_QPT_UD;
  // 9.6.1: a packet for a queue pair that isn't ready to receive, of another service, with a wrong
  // Q_Key or not from the connected peer is dropped silently.
  if (qp.qp_num.load() == qp_num && state >= IBV_QPS_RTR && state <= IBV_QPS_SQE &&
      types_match(message.transport, qp.type) &&
      (datagram ? qp.qkey == message.qkey : qp.dest_qp_num == message.src_qp)) {
    if (!datagram && !qp.established) {
      qp.established = message.src_qp;
      if (state == IBV_QPS_RTR) raise_async(site, qp.context, IBV_EVENT_COMM_EST, qp_num);
    }
    reply = Delivery(host, site, qp, message).run();
  }
  unlock(qp.inbound, site);
  return reply;
}

void flush_receives(Site& site, QpShared& qp) {
  for (uint32_t turns = 0; turns <= max_ring; ++turns) {
    uint32_t tail = qp.rq_tail.load(std::memory_order_relaxed);
    if (qp.rq_head.load(std::memory_order_seq_cst) == tail) return;
    uint8_t* slot = receive_slot(site, qp, tail);
    if (!slot) return;
    Cqe cqe{};
    cqe.wr_id = reinterpret_cast<RecvWqe*>(slot)->wr_id;
    cqe.status = IBV_WC_WR_FLUSH_ERR;
    cqe.opcode = IBV_WC_RECV;
    cqe.qp_num = qp.qp_num.load();
    qp.rq_tail.store(tail + 1, std::memory_order_release);
    qp.rq_head_seen = tail + 1;
    push_completion(site, qp.recv_cq, cqe);
  }
}

void set_error_state(QpShared& qp) {
  qp.state.store(IBV_QPS_ERR, std::memory_order_seq_cst);
  heavy_barrier();
}

void fail_qp(Site& site, QpShared& qp, ibv_event_type event) {
  if (qp.state.load() == IBV_QPS_ERR) return;
  set_error_state(qp);
  flush_receives(site, qp);
  raise_async(site, qp.context, event, qp.qp_num.load());
  if (qp.srq != 0) raise_async(site, qp.context, IBV_EVENT_QP_LAST_WQE_REACHED, qp.qp_num.load());
  site.ring_doorbell();
}

uint64_t rnr_timer_ns(uint32_t code) {
  // In units of 10 microseconds.
  static constexpr uint32_t table[32] = {65536, 1,    2,    3,     4,     6,     8,     12,
                                         16,    24,   32,   48,    64,    96,    128,   192,
                                         256,   384,  512,  768,   1024,  1536,  2048,  3072,
                                         4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};
  return table[code & 31] * 10000ull;
}

}  // namespace softhca
