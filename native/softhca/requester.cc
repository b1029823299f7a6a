// The requester: carries out send work requests, and keeps those that have to wait.
#include "softhca/requester.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "softhca/fault_guard.h"
#include "softhca/mcast.h"
#include "softhca/mw.h"
#include "softhca/packet_queue.h"
#include "softhca/responder.h"
#include "softhca/straight.h"

namespace softhca {
namespace {

ibv_wc_opcode completion_opcode(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return IBV_WC_RDMA_WRITE;
    case IBV_WR_RDMA_READ:
      return IBV_WC_RDMA_READ;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return IBV_WC_COMP_SWAP;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return IBV_WC_FETCH_ADD;
    case IBV_WR_LOCAL_INV:
      return IBV_WC_LOCAL_INV;
    case IBV_WR_BIND_MW:
      return IBV_WC_BIND_MW;
    case IBV_WR_ATOMIC_WRITE:
      return IBV_WC_ATOMIC_WRITE;
    default:
      return IBV_WC_SEND;
  }
}

uint32_t state_of(const QueuePair& qp) { return qp.shared->state.load(std::memory_order_relaxed); }

// A send that failed stops the queue: reliable types in the error state, others at SQE (10.3.1.7).
void fail(QueuePair& qp, const SendRequest& request, ibv_wc_status status) {
  complete(qp, request, status, 0);
  if (is_reliable(qp.type())) {
    enter_error(qp);
  } else {
    uint32_t rts = IBV_QPS_RTS;
    qp.shared->state.compare_exchange_strong(rts, IBV_QPS_SQE);
  }
  flush_sends(qp);
}

enum class Outcome { finished, failed, waiting };

Outcome finish(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes) {
  qp.wait = Wait::nothing;
  if (status == IBV_WC_SUCCESS) {
    if (complete(qp, request, status, bytes)) return Outcome::finished;
    raise_async(qp.host->site(), qp.shared->context, IBV_EVENT_QP_FATAL, qp.ex.qp_base.qp_num);
    enter_error(qp);
    flush_sends(qp);
    return Outcome::failed;
  }
  fail(qp, request, status);
  return Outcome::failed;
}

// The peer has no receive posted (RNR NAK): wait, as often as rnr_retry says (9.7.5.2.8).
Outcome await_receive(QueuePair& qp, const SendRequest& request, uint32_t timer) {
  uint64_t now = now_ns();
  if (qp.wait != Wait::receive) {
    qp.wait = Wait::receive;
    qp.deadline_ns =
        qp.attr.rnr_retry == 7 ? UINT64_MAX : now + qp.attr.rnr_retry * rnr_timer_ns(timer);
  }
  if (now < qp.deadline_ns) return Outcome::waiting;
  return finish(qp, request, IBV_WC_RNR_RETRY_EXC_ERR, 0);
}

// Nobody answers: wait for the local ack timeout, retry_cnt times more (9.7.6.1.3).
Outcome await_path(QueuePair& qp, const SendRequest& request) {
  uint64_t now = now_ns();
  if (qp.wait != Wait::path) {
    qp.wait = Wait::path;
    uint64_t once = qp.attr.timeout ? 4096ull << qp.attr.timeout : 0;
    qp.deadline_ns = once ? now + once * (qp.attr.retry_cnt + 1) : UINT64_MAX;
  }
  // With timeout 0 hardware would wait for ever; for a process that is known to be gone that is no
  // use.
  bool gone = qp.peer && qp.peer->gone.load(std::memory_order_acquire);
  if (now < qp.deadline_ns && !(gone && qp.deadline_ns == UINT64_MAX)) return Outcome::waiting;
  return finish(qp, request, IBV_WC_RETRY_EXC_ERR, 0);
}

struct Gathered {
  iovec pieces[max_sge];
  uint32_t count;
  uint64_t bytes;
};

bool gather(const QueuePair& qp, const SendRequest& request, Gathered* gathered) {
  gathered->count = 0;
  gathered->bytes = 0;
  bool inlined = request.flags & IBV_SEND_INLINE;
  const bool writes = request.opcode == IBV_WR_RDMA_READ || is_atomic(request.opcode);
  const uint32_t access = writes ? IBV_ACCESS_LOCAL_WRITE : 0;
  const Site& site = qp.host->site();
  for (uint32_t i = 0; i < request.num_sge; ++i) {
    const ibv_sge& sge = request.sge[i];
    if (sge.length == 0) continue;
    uint64_t address = sge.addr;
    if (!inlined) {
      const KeyEntry* entry = find_region(site, sge.lkey, qp.pd, address, sge.length, access);
      if (!entry) return false;
      address += entry->base - entry->iova;
    }
    gathered->pieces[gathered->count++] = {reinterpret_cast<void*>(address), sge.length};
    gathered->bytes += sge.length;
  }
  return true;
}

bool scatter_original(const Gathered& gathered, uint64_t original) {
  auto* from = reinterpret_cast<const uint8_t*>(&original);
  size_t left = 8;
  void* address = nullptr;
  return guard_faults(
      [&] {
        for (uint32_t i = 0; i < gathered.count && left > 0; ++i) {
          size_t piece = std::min(left, gathered.pieces[i].iov_len);
          memcpy(gathered.pieces[i].iov_base, from, piece);
          from += piece;
          left -= piece;
        }
      },
      &address);
}

Message make_message(const QueuePair& qp, const SendRequest& request, const Gathered& gathered) {
  return {request,        qp.type(),    qp.ex.qp_base.qp_num, {gathered.pieces, gathered.count},
          gathered.bytes, qp.address.sl};
}

void count(QueuePair& qp, const Reply& reply, uint64_t bytes) {
  if (reply.answer != Answer::ack || bytes == 0) return;
  ++qp.operations[reply.by_kernel];
  qp.bytes[reply.by_kernel] += bytes;
}

ibv_wc_status send_datagram(QueuePair& qp, const SendRequest& request, const Gathered& gathered) {
  // 9.8.3: a datagram is one packet.
  if (gathered.bytes > mtu_bytes) return IBV_WC_LOC_LEN_ERR;
  Message message = make_message(qp, request, gathered);
  // 10.2.5: a Q_Key with the high bit set stands for the queue pair's own.
  message.qkey = request.remote_qkey & 0x80000000 ? qp.attr.qkey : request.remote_qkey;
  message.sl = request.address.sl;
  ibv_grh grh;
  if (request.address.global) {
    grh = make_grh(request.address, gathered.bytes);
    message.grh = &grh;
  }
  bool cut_short = false;
  if (request.address.multicast) {
    for (auto& member : members_of(*qp.host, request.address.dgid)) {
      if (member.qp_num == qp.ex.qp_base.qp_num) continue;
      const Reply reply = deliver(*qp.host, *member.site, member.qp_num, message);
      cut_short = cut_short || reply.answer == Answer::cut_short;
      count(qp, reply, gathered.bytes);
    }
  } else if (request.address.reachable) {
    uint32_t slot = slot_of(request.remote_qp_num);
    if (!qp.peer || qp.peer->slot != slot || qp.peer->gone.load(std::memory_order_acquire))
      qp.peer = qp.host->reach(slot);
    if (qp.peer) {
      const Reply reply = deliver(*qp.host, *qp.peer, request.remote_qp_num, message);
      cut_short = reply.answer == Answer::cut_short;
      count(qp, reply, gathered.bytes);
    }
  }
  return cut_short ? IBV_WC_LOC_PROT_ERR : IBV_WC_SUCCESS;
}

Outcome run_datagram(QueuePair& qp, const SendRequest& request, const Gathered& gathered) {
  if (is_routed(request.address) && qp.packets) return Outcome::waiting;
  const ibv_wc_status status = send_datagram(qp, request, gathered);
  return finish(qp, request, status, status == IBV_WC_SUCCESS ? gathered.bytes : 0);
}

Outcome run(QueuePair& qp, const SendRequest& request) {
  if (request.opcode == IBV_WR_LOCAL_INV)
    return finish(qp, request, invalidate_window(qp, request.imm), 0);
  if (request.opcode == IBV_WR_BIND_MW)
    return finish(qp, request, bind_window(qp, request.window, request.rkey, request.bind), 0);
  Gathered gathered;
  if (!gather(qp, request, &gathered)) return finish(qp, request, IBV_WC_LOC_PROT_ERR, 0);
  if (is_atomic(request.opcode)) {
    if (gathered.bytes < 8) return finish(qp, request, IBV_WC_LOC_LEN_ERR, 0);
    gathered.bytes = 8;
  }
  if (request.opcode == IBV_WR_ATOMIC_WRITE && gathered.bytes != 8)
    return finish(qp, request, IBV_WC_LOC_LEN_ERR, 0);
  if (gathered.bytes > max_message) return finish(qp, request, IBV_WC_LOC_LEN_ERR, 0);
  if (qp.type() == IBV_QPT_UD) return run_datagram(qp, request, gathered);

  // Connected: the process that was there first is the peer for good; a later one in its slot
  // isn't.
  if (!qp.peer && qp.address.reachable) qp.peer = qp.host->reach(slot_of(qp.attr.dest_qp_num));
  Reply reply{Answer::none, IBV_WC_SUCCESS, 0, 0, false};
  if (qp.peer && qp.address.reachable && !qp.peer->gone.load(std::memory_order_acquire))
    reply = deliver(*qp.host, *qp.peer, qp.attr.dest_qp_num, make_message(qp, request, gathered));
  switch (reply.answer) {
    case Answer::ack:
      count(qp, reply, gathered.bytes);
      open_straight(qp);
      if (is_atomic(request.opcode) && !scatter_original(gathered, reply.original))
        return finish(qp, request, IBV_WC_LOC_PROT_ERR, 0);
      return finish(qp, request, IBV_WC_SUCCESS, gathered.bytes);
    case Answer::refused:
      return finish(qp, request, reply.status, 0);
    case Answer::cut_short:
      return finish(qp, request, IBV_WC_LOC_PROT_ERR, 0);
    case Answer::not_ready:
      return await_receive(qp, request, reply.rnr_timer);
    case Answer::none:
      break;
  }
  if (!is_reliable(qp.type())) return finish(qp, request, IBV_WC_SUCCESS, gathered.bytes);
  return await_path(qp, request);
}

int park(QueuePair& qp, const SendRequest& request) {
  if (qp.packets) {
    qp.parked_count = 1;
    return post_packets(qp, request);
  }
  uint32_t room = qp.init.cap.max_send_wr;
  if (qp.parked_count >= room) return ENOMEM;
  if (qp.ring.empty()) qp.ring.resize(room);
  keep(&qp.ring[(qp.parked_first + qp.parked_count) % room], request);
  ++qp.parked_count;
  return 0;
}

bool stops_sends(uint32_t state) { return state == IBV_QPS_ERR || state == IBV_QPS_SQE; }

}  // namespace

void finish_send(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes) {
  finish(qp, request, status, bytes);
}

bool is_reliable(ibv_qp_type type) { return type == IBV_QPT_RC || type == IBV_QPT_XRC_SEND; }

bool complete(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes) {
  if (status == IBV_WC_SUCCESS && !qp.signal_all && !(request.flags & IBV_SEND_SIGNALED))
    return true;
  Cqe cqe{};
  cqe.wr_id = request.wr_id;
  cqe.status = status;
  cqe.opcode = completion_opcode(request.opcode);
  cqe.byte_len = uint32_t(bytes);
  cqe.qp_num = qp.ex.qp_base.qp_num;
  cqe.position = request.position;
  return push_completion(qp.host->site(), qp.send_cq->index, cqe);
}

bool opcode_allowed(ibv_qp_type type, ibv_wr_opcode opcode) {
  // InfiniBand Vol. 1, table 38 (operations a transport service supports).
  switch (opcode) {
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_IMM:
      return type != IBV_QPT_XRC_RECV;
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
    case IBV_WR_LOCAL_INV:
    case IBV_WR_BIND_MW:
    case IBV_WR_SEND_WITH_INV:
      return is_reliable(type) || type == IBV_QPT_UC;
    case IBV_WR_RDMA_READ:
    case IBV_WR_ATOMIC_CMP_AND_SWP:
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return is_reliable(type);
    case IBV_WR_ATOMIC_WRITE:
      return type == IBV_QPT_RC;
    default:
      return false;
  }
}

int check_send(const QueuePair& qp, const SendRequest& request) {
  uint32_t state = state_of(qp);
  if (state < IBV_QPS_RTS) return EINVAL;
  if (!(qp.opcodes >> (request.opcode & 31) & 1) || request.opcode > 31) return EINVAL;
  if (request.num_sge > qp.init.cap.max_send_sge && !(request.flags & IBV_SEND_INLINE))
    return EINVAL;
  if (request.num_sge > max_sge) return EINVAL;
  if (request.flags & IBV_SEND_INLINE) {
    if (request.opcode == IBV_WR_RDMA_READ || is_atomic(request.opcode)) return EINVAL;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < request.num_sge; ++i) bytes += request.sge[i].length;
    // ibv_wr_atomic_write takes its eight bytes by value, whatever the queue pair was made for.
    const bool by_value = request.opcode == IBV_WR_ATOMIC_WRITE && bytes == 8;
    if (bytes > qp.init.cap.max_inline_data && !by_value) return EINVAL;
  }
  return 0;
}

int submit(QueuePair& qp, SendRequest& request) {
  // A place is free again when the program has polled its completion or a later one: unsignaled
  // requests alone fill the queue for good (InfiniBand Vol. 1, 10.8.5.1).
  uint32_t sent = qp.sent.load(std::memory_order_relaxed);
  if (sent - qp.retired.load(std::memory_order_relaxed) >= qp.init.cap.max_send_wr) return ENOMEM;
  request.position = sent + 1;
  qp.sent.store(sent + 1, std::memory_order_relaxed);
  uint32_t state = state_of(qp);
  if (stops_sends(state) && qp.parked_count == 0) {
    complete(qp, request, IBV_WC_WR_FLUSH_ERR, 0);
    return 0;
  }
  if (qp.parked_count == 0 && state == IBV_QPS_RTS && run(qp, request) != Outcome::waiting)
    return 0;
  return park(qp, request);
}

int post_send(ibv_qp* verbs, ibv_send_wr* wr, ibv_send_wr** bad) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live.load(std::memory_order_relaxed) || !qp->host->usable()) {
    *bad = wr;
    return EINVAL;
  }
  int error = 0;
  bool parked;
  {
    std::lock_guard guard(qp->send_lock);
    for (; wr; wr = wr->next) {
      SendRequest request;
      request.wr_id = wr->wr_id;
      request.opcode = wr->opcode;
      request.flags = wr->send_flags;
      request.imm = wr->imm_data;
      request.num_sge = wr->num_sge < 0 ? UINT32_MAX : uint32_t(wr->num_sge);
      request.sge = wr->sg_list;
      request.remote_address = wr->wr.rdma.remote_addr;
      request.rkey = wr->wr.rdma.rkey;
      if (run_straight(*qp, request)) continue;
      request.srq_number = wr->qp_type.xrc.remote_srqn;
      if (is_atomic(wr->opcode)) {
        request.remote_address = wr->wr.atomic.remote_addr;
        request.rkey = wr->wr.atomic.rkey;
        request.compare_add = wr->wr.atomic.compare_add;
        request.swap = wr->wr.atomic.swap;
      } else {
        request.compare_add = request.swap = 0;
      }
      if (qp->type() == IBV_QPT_UD) {
        auto* ah = wr->wr.ud.ah ? AddressHandle::of(wr->wr.ud.ah) : nullptr;
        if (!ah || !ah->live || ProtectionDomain::of(ah->verbs.pd)->id != qp->pd) {
          error = EINVAL;
        } else {
          request.address = ah->address;
          request.remote_qp_num = wr->wr.ud.remote_qpn;
          request.remote_qkey = wr->wr.ud.remote_qkey;
        }
      } else if (wr->opcode == IBV_WR_BIND_MW) {
        request.window = wr->bind_mw.mw;
        request.rkey = wr->bind_mw.rkey;
        request.bind = wr->bind_mw.bind_info;
        error = check_bind(*qp, request.window, request.bind, IBV_MW_TYPE_2);
      }
      if (!error) error = check_send(*qp, request);
      if (!error) error = submit(*qp, request);
      if (error) {
        *bad = wr;
        break;
      }
    }
    parked = qp->parked_count != 0;
  }
  if (parked) qp->host->enlist(qp);
  return error;
}

void keep(ParkedSend* parked, const SendRequest& request) {
  parked->request = request;
  if (request.flags & IBV_SEND_INLINE) {
    parked->inline_data.clear();
    for (uint32_t i = 0; i < request.num_sge; ++i) {
      auto* from = reinterpret_cast<const uint8_t*>(request.sge[i].addr);
      parked->inline_data.insert(parked->inline_data.end(), from, from + request.sge[i].length);
    }
    parked->sge[0] = {reinterpret_cast<uint64_t>(parked->inline_data.data()),
                      uint32_t(parked->inline_data.size()), 0};
    parked->request.num_sge = 1;
  } else {
    std::copy_n(request.sge, request.num_sge, parked->sge);
  }
  parked->request.sge = parked->sge;
}

ibv_wc_status run_on_this_host(QueuePair& qp, const SendRequest& request) {
  if (request.opcode == IBV_WR_LOCAL_INV) return invalidate_window(qp, request.imm);
  if (request.opcode == IBV_WR_BIND_MW)
    return bind_window(qp, request.window, request.rkey, request.bind);
  Gathered gathered;
  if (!gather(qp, request, &gathered)) return IBV_WC_LOC_PROT_ERR;
  return send_datagram(qp, request, gathered);
}

void flush_sends(QueuePair& qp) {
  if (qp.packets) return;  // the engine's part
  while (qp.parked_count > 0) {
    const SendRequest& request = qp.ring[qp.parked_first].request;
    qp.parked_first = uint32_t((qp.parked_first + 1) % qp.ring.size());
    --qp.parked_count;
    complete(qp, request, IBV_WC_WR_FLUSH_ERR, 0);
  }
  qp.draining = 0;
  qp.wait = Wait::nothing;
}

bool advance(QueuePair& qp) {
  std::unique_lock guard(qp.send_lock, std::try_to_lock);
  if (!guard) return true;
  while (qp.parked_count > 0) {
    uint32_t state = state_of(qp);
    if (stops_sends(state)) {
      flush_sends(qp);
      break;
    }
    if (state == IBV_QPS_SQD) {
      if (qp.draining == 0) break;
    } else if (state != IBV_QPS_RTS) {
      break;
    }
    // Out of the queue first: a failure flushes what is left in it.
    uint32_t at = qp.parked_first;
    qp.parked_first = uint32_t((at + 1) % qp.ring.size());
    --qp.parked_count;
    Outcome outcome = run(qp, qp.ring[at].request);
    if (outcome == Outcome::waiting) {
      qp.parked_first = at;
      ++qp.parked_count;
      break;
    }
    if (qp.draining > 0 && --qp.draining == 0 && qp.notify_drained)
      raise_async(qp.host->site(), qp.shared->context, IBV_EVENT_SQ_DRAINED, qp.ex.qp_base.qp_num);
  }
  return qp.parked_count > 0;
}

}  // namespace softhca
