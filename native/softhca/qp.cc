// Queue pairs: creation, states, receive posting. Sending is in requester, arriving in responder.
#include "softhca/qp.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "softhca/mcast.h"
#include "softhca/packet_path.h"
#include "softhca/pool.h"
#include "softhca/problem.h"
#include "softhca/qp_state.h"
#include "softhca/requester.h"
#include "softhca/responder.h"
#include "softhca/wr_builder.h"

namespace softhca {
namespace {

// Peers write it; what is no state is as good as the error state, which can be left.
ibv_qp_state state_in(const QpShared& shared) {
  return ibv_qp_state(std::min<uint32_t>(shared.state.load(), IBV_QPS_ERR));
}

uint32_t power_of_two(uint32_t count) {
  uint32_t size = 1;
  while (size < count) size <<= 1;
  return size;
}

bool supported(ibv_qp_type type) {
  return type == IBV_QPT_RC || type == IBV_QPT_UC || type == IBV_QPT_UD ||
         type == IBV_QPT_XRC_SEND || type == IBV_QPT_XRC_RECV;
}

bool sends(ibv_qp_type type) { return type != IBV_QPT_XRC_RECV; }
bool receives(ibv_qp_type type) { return type != IBV_QPT_XRC_SEND && type != IBV_QPT_XRC_RECV; }

template <typename T>
bool alive(T* object) {
  return object && object->live;
}

int check_init(const ibv_qp_init_attr_ex& attr) {
  if (!supported(attr.qp_type)) return EOPNOTSUPP;
  const ibv_qp_cap& cap = attr.cap;
  if (cap.max_send_wr > max_wr || cap.max_recv_wr > max_wr || cap.max_send_sge > max_sge ||
      cap.max_recv_sge > max_sge || cap.max_inline_data > max_inline)
    return EINVAL;
  bool recv = attr.qp_type == IBV_QPT_XRC_RECV;
  if (recv) {
    if (!(attr.comp_mask & IBV_QP_INIT_ATTR_XRCD) || !attr.xrcd || !XrcDomain::of(attr.xrcd)->live)
      return EINVAL;
    return 0;
  }
  if (!(attr.comp_mask & IBV_QP_INIT_ATTR_PD) || !attr.pd || !ProtectionDomain::of(attr.pd)->live)
    return EINVAL;
  if (!attr.send_cq || !CompletionQueue::of(attr.send_cq)->live) return EINVAL;
  if (receives(attr.qp_type) && (!attr.recv_cq || !CompletionQueue::of(attr.recv_cq)->live))
    return EINVAL;
  if (attr.srq && (!receives(attr.qp_type) || !SharedReceiveQueue::of(attr.srq)->live ||
                   SharedReceiveQueue::of(attr.srq)->xrcd))
    return EINVAL;
  return 0;
}

ibv_qp* make_qp(ibv_context* context, ibv_qp_init_attr_ex& attr) {
  int error = check_init(attr);
  if (error) {
    errno = error;
    return nullptr;
  }
  Context* owner = Context::of(context);
  Host& host = *owner->host;
  ibv_qp_type type = attr.qp_type;
  ibv_qp_cap& cap = attr.cap;
  if (!sends(type)) cap.max_send_wr = cap.max_send_sge = cap.max_inline_data = 0;
  if (!receives(type) || attr.srq) cap.max_recv_wr = cap.max_recv_sge = 0;
  // One more than the program may fill, see return_taken.
  uint32_t rq_size = cap.max_recv_wr ? power_of_two(cap.max_recv_wr + 1) : 0;
  if (sends(type) && cap.max_send_wr == 0) cap.max_send_wr = 1;
  if (sends(type) && cap.max_send_sge == 0) cap.max_send_sge = 1;
  if (rq_size && cap.max_recv_sge == 0) cap.max_recv_sge = 1;
  uint64_t rq = 0;
  if (rq_size) {
    rq = host.allocate(uint64_t(rq_size) * recv_stride(cap.max_recv_sge));
    if (rq == 0) return nullptr;
  }
  auto* qp = Pool<QueuePair>::instance().take();
  std::lock_guard guard(host.objects);
  int64_t index = qp ? host.qp_indices.take() : -1;
  if (index < 0) {
    if (qp) Pool<QueuePair>::instance().give(qp);
    host.release(rq);
    errno = ENOMEM;
    return nullptr;
  }
  QpShared& shared = host.segment().qp[index];
  uint32_t number = make_number(host.slot(), uint32_t(index));
  auto* pd = attr.pd && sends(type) ? ProtectionDomain::of(attr.pd) : nullptr;
  qp->host = &host;
  qp->shared = &shared;
  qp->index = uint32_t(index);
  qp->pd = pd ? pd->id : 0;
  qp->signal_all = attr.sq_sig_all;
  for (uint32_t i = 0; i < 32; ++i)
    if (opcode_allowed(type, ibv_wr_opcode(i))) qp->opcodes |= 1u << i;
  qp->send_cq = sends(type) ? CompletionQueue::of(attr.send_cq) : nullptr;
  qp->recv_cq = receives(type) ? CompletionQueue::of(attr.recv_cq) : nullptr;
  qp->srq = attr.srq ? SharedReceiveQueue::of(attr.srq) : nullptr;
  qp->xrcd = type == IBV_QPT_XRC_RECV ? XrcDomain::of(attr.xrcd) : nullptr;
  memcpy(&qp->init, &attr, sizeof qp->init);
  qp->receive_offset = rq;
  qp->receive_slots = rq_size;
  if (rq_size)
    qp->receives = host.site().at<uint8_t>(rq, uint64_t(rq_size) * recv_stride(cap.max_recv_sge));

  enter(shared.inbound, host.site());
  shared.state.store(IBV_QPS_RESET);
  shared.type = type;
  shared.context = owner->index;
  shared.pd = qp->pd;
  shared.recv_cq = qp->recv_cq ? qp->recv_cq->index : max_cq;
  shared.srq = qp->srq ? qp->srq->index + 1 : 0;
  shared.dest_qp_num = 0;
  shared.qkey = 0;
  shared.access = 0;
  shared.min_rnr_timer = 0;
  shared.max_dest_rd_atomic = 0;
  shared.xrcd = qp->xrcd ? qp->xrcd->id : 0;
  shared.rq_offset = rq;
  shared.rq_size = rq_size;
  shared.rq_max_sge = cap.max_recv_sge;
  shared.established = 0;
  shared.rq_head = 0;
  shared.rq_tail = 0;
  shared.rq_head_seen = 0;
  shared.taken.present = 0;
  shared.attempts = 0;
  shared.qp_num.store(number);
  unlock(shared.inbound, host.site());

  ibv_qp& verbs = *qp->verbs();
  verbs.context = context;
  verbs.qp_context = attr.qp_context;
  verbs.pd = pd ? attr.pd : nullptr;
  verbs.send_cq = sends(type) ? attr.send_cq : nullptr;
  verbs.recv_cq = receives(type) ? attr.recv_cq : nullptr;
  verbs.srq = attr.srq;
  verbs.handle = uint32_t(index);
  verbs.qp_num = number;
  verbs.state = IBV_QPS_RESET;
  verbs.qp_type = type;
  pthread_mutex_init(&verbs.mutex, nullptr);
  pthread_cond_init(&verbs.cond, nullptr);
  host.qps[size_t(index)] = qp;
  if (host.qp_limit <= uint32_t(index)) host.qp_limit = uint32_t(index) + 1;
  if (pd) pd->users.fetch_add(1);
  if (qp->send_cq) qp->send_cq->users.fetch_add(1);
  if (qp->recv_cq) qp->recv_cq->users.fetch_add(1);
  if (qp->srq) qp->srq->users.fetch_add(1);
  if (qp->xrcd) qp->xrcd->users.fetch_add(1);
  owner->objects.fetch_add(1);
  return &verbs;
}

// As if new: what was posted is forgotten without completion (10.3.1.1).
void reset(QueuePair& qp) {
  QpShared& shared = *qp.shared;
  if (shared.taken.present == taken_shared) return_taken(shared, qp.srq);
  shared.rq_tail.store(shared.rq_head.load());
  qp.receives_taken = shared.rq_tail.load();
  shared.rq_head_seen = shared.rq_tail.load();
  shared.established = 0;
  if (qp.send_cq) purge_completions(*qp.send_cq, qp.ex.qp_base.qp_num);
  if (qp.recv_cq && qp.recv_cq != qp.send_cq) purge_completions(*qp.recv_cq, qp.ex.qp_base.qp_num);
  qp.parked_first = qp.parked_count = qp.draining = 0;
  // After the purge: nobody polls a completion of this queue pair and counts it any more.
  qp.retired.store(qp.sent.load());
  qp.receives_polled.store(qp.receives_taken);
  qp.wait = Wait::nothing;
  qp.peer.reset();
  qp.straight = 0;
  forget_packets(qp);
  qp.attr = {};
  qp.address = {};
}

int check_values(const ibv_qp_attr& attr, int mask) {
  if ((mask & IBV_QP_PORT) && attr.port_num != 1) return EINVAL;
  if ((mask & IBV_QP_PKEY_INDEX) && attr.pkey_index != 0) return EINVAL;
  if ((mask & IBV_QP_AV) && !check_ah_attr(attr.ah_attr)) return EINVAL;
  if ((mask & IBV_QP_PATH_MTU) && (attr.path_mtu < IBV_MTU_256 || attr.path_mtu > IBV_MTU_4096))
    return EINVAL;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) && attr.max_rd_atomic > max_rd_atomic) return EINVAL;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) && attr.max_dest_rd_atomic > max_rd_atomic) return EINVAL;
  if ((mask & IBV_QP_MIN_RNR_TIMER) && attr.min_rnr_timer > 31) return EINVAL;
  if ((mask & IBV_QP_TIMEOUT) && attr.timeout > 31) return EINVAL;
  if ((mask & IBV_QP_RETRY_CNT) && attr.retry_cnt > 7) return EINVAL;
  if ((mask & IBV_QP_RNR_RETRY) && attr.rnr_retry > 7) return EINVAL;
  // No second port and so no alternate path: APM isn't among the device's capabilities.
  if (mask & (IBV_QP_ALT_PATH | IBV_QP_PATH_MIG_STATE)) return EOPNOTSUPP;
  if (mask & (IBV_QP_CAP | IBV_QP_RATE_LIMIT)) return EOPNOTSUPP;
  return 0;
}

void apply(QueuePair& qp, const ibv_qp_attr& attr, int mask) {
  ibv_qp_attr& mine = qp.attr;
  QpShared& shared = *qp.shared;
  if (mask & IBV_QP_PORT) mine.port_num = attr.port_num;
  if (mask & IBV_QP_PKEY_INDEX) mine.pkey_index = attr.pkey_index;
  if (mask & IBV_QP_ACCESS_FLAGS) shared.access = mine.qp_access_flags = attr.qp_access_flags;
  if (mask & IBV_QP_QKEY) shared.qkey = mine.qkey = attr.qkey;
  if (mask & IBV_QP_AV) {
    mine.ah_attr = attr.ah_attr;
    qp.straight = 0;
    qp.address = make_address(attr.ah_attr);
  }
  if (mask & IBV_QP_PATH_MTU) mine.path_mtu = attr.path_mtu;
  if (mask & IBV_QP_TIMEOUT) mine.timeout = attr.timeout;
  if (mask & IBV_QP_RETRY_CNT) mine.retry_cnt = attr.retry_cnt;
  if (mask & IBV_QP_RNR_RETRY) mine.rnr_retry = attr.rnr_retry;
  if (mask & IBV_QP_RQ_PSN) mine.rq_psn = attr.rq_psn & 0xffffff;
  if (mask & IBV_QP_SQ_PSN) mine.sq_psn = attr.sq_psn & 0xffffff;
  if (mask & IBV_QP_MAX_QP_RD_ATOMIC) mine.max_rd_atomic = attr.max_rd_atomic;
  if (mask & IBV_QP_MAX_DEST_RD_ATOMIC)
    shared.max_dest_rd_atomic = mine.max_dest_rd_atomic = attr.max_dest_rd_atomic;
  if (mask & IBV_QP_MIN_RNR_TIMER) shared.min_rnr_timer = mine.min_rnr_timer = attr.min_rnr_timer;
  if (mask & IBV_QP_DEST_QPN) shared.dest_qp_num = mine.dest_qp_num = attr.dest_qp_num & 0xffffff;
}

bool becomes_ready_to_receive(const QueuePair& qp, const ibv_qp_attr& attr, int mask) {
  // What is wrong for other reasons is refused for those.
  return (mask & IBV_QP_STATE) && attr.qp_state == IBV_QPS_RTR &&
         check_transition(qp.type(), state_in(*qp.shared), IBV_QPS_RTR, mask) == 0 &&
         check_values(attr, mask) == 0;
}

// Changes of state that the engine makes first: it completes what was posted. The caller holds a
// Network::Guard.
void leave_engine(QueuePair& qp, const ibv_qp_attr& attr, int mask) {
  if (!qp.packets || !(mask & IBV_QP_STATE) ||
      check_transition(qp.type(), state_in(*qp.shared), attr.qp_state, mask) != 0)
    return;
  const uint32_t number = qp.ex.qp_base.qp_num;
  transport::Engine& engine = qp.host->network()->engine();
  if (attr.qp_state == IBV_QPS_ERR) engine.to_error(number);
  if (attr.qp_state == IBV_QPS_RESET) engine.destroy(number);
}

}  // namespace

QueuePair::QueuePair() = default;
QueuePair::~QueuePair() { free_builder(builder); }

ibv_qp* create_qp(ibv_pd* pd, ibv_qp_init_attr* attr) {
  if (attr->qp_type == IBV_QPT_XRC_RECV) {
    errno = EINVAL;
    return nullptr;
  }
  ibv_qp_init_attr_ex extended{};
  memcpy(&extended, attr, sizeof *attr);
  extended.comp_mask = IBV_QP_INIT_ATTR_PD;
  extended.pd = pd;
  ibv_qp* qp = make_qp(pd->context, extended);
  if (qp) attr->cap = extended.cap;
  return qp;
}

ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attr) {
  constexpr uint32_t known = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_XRCD |
                             IBV_QP_INIT_ATTR_CREATE_FLAGS | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  bool has_flags = attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS;
  if ((attr->comp_mask & ~known) ||
      (has_flags && (attr->create_flags & ~uint32_t(IBV_QP_CREATE_BLOCK_SELF_MCAST_LB)))) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  uint64_t send_ops = attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS ? attr->send_ops_flags : 0;
  if (!builder_offers(attr->qp_type, send_ops)) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  ibv_qp* verbs = make_qp(context, *attr);
  if (!verbs) return nullptr;
  auto* qp = QueuePair::of(verbs);
  qp->send_ops = send_ops;
  if (send_ops) fill_builder(*qp, send_ops);
  return verbs;
}

int destroy_qp(ibv_qp* verbs) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  // o10-2.2.3: a queue pair in a multicast group can't be destroyed.
  if (qp->groups != 0) return EBUSY;
  Host& host = *qp->host;
  host.delist(qp);
  {
    const Network::Guard network(host.network());
    if (qp->packets) host.network()->engine().destroy(verbs->qp_num);
    std::lock_guard guard(host.objects);
    qp->live = false;
    host.qps[qp->index] = nullptr;
    std::lock_guard senders(qp->send_lock);
    enter(qp->shared->inbound, host.site());
    qp->shared->qp_num.store(0);
    qp->shared->state.store(IBV_QPS_RESET);
    unlock(qp->shared->inbound, host.site());
    reset(*qp);
  }
  wait_for_acks(verbs, qp->async_taken);
  std::lock_guard guard(host.objects);
  host.release(qp->receive_offset);
  host.qp_indices.give(qp->index);
  if (verbs->pd) ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  if (qp->send_cq) qp->send_cq->users.fetch_sub(1);
  if (qp->recv_cq) qp->recv_cq->users.fetch_sub(1);
  if (qp->srq) qp->srq->users.fetch_sub(1);
  if (qp->xrcd) qp->xrcd->users.fetch_sub(1);
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<QueuePair>::instance().give(qp);
  return 0;
}

int modify_qp(ibv_qp* verbs, ibv_qp_attr* attr, int mask) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  forget_problem();
  mask = relevant_attributes(qp->type(), mask);
  Site& site = qp->host->site();
  QpShared& shared = *qp->shared;
  PathChoice choice;
  if (becomes_ready_to_receive(*qp, *attr, mask)) {
    if (int error = choose_path(*qp, *attr, &choice)) return error;
  }
  bool parked;
  {
    const Network::Guard network(qp->host->network());
    leave_engine(*qp, *attr, mask);
    std::lock_guard guard(qp->send_lock);
    enter(shared.inbound, site);
    ibv_qp_state from = state_in(shared);
    ibv_qp_state to = mask & IBV_QP_STATE ? attr->qp_state : from;
    int error = mask & IBV_QP_CUR_STATE && attr->cur_qp_state != from ? EINVAL : 0;
    if (!error) error = check_transition(qp->type(), from, to, mask);
    if (!error) error = check_values(*attr, mask);
    if (error) {
      unlock(shared.inbound, site);
      return error;
    }
    apply(*qp, *attr, mask);
    if (from == IBV_QPS_RESET && to == IBV_QPS_RESET) reset(*qp);
    if (from != to) {
      if (to == IBV_QPS_RESET) reset(*qp);
      if (to != IBV_QPS_ERR) {
        shared.state.store(to, std::memory_order_seq_cst);
      } else {
        set_error_state(shared);
        flush_receives(site, shared);
        if (qp->srq)
          raise_async(site, shared.context, IBV_EVENT_QP_LAST_WQE_REACHED, verbs->qp_num);
      }
      if (to == IBV_QPS_SQD) {
        qp->draining = qp->packets ? 0 : qp->parked_count;
        qp->notify_drained = (mask & IBV_QP_EN_SQD_ASYNC_NOTIFY) && attr->en_sqd_async_notify;
        if (qp->packets) {
          pause_packets(*qp, true);
        } else if (qp->draining == 0 && qp->notify_drained)
          raise_async(site, shared.context, IBV_EVENT_SQ_DRAINED, verbs->qp_num);
      }
      if (to == IBV_QPS_RTS) qp->draining = 0;
    }
    unlock(shared.inbound, site);
    if (choice.network && from != to && to == IBV_QPS_RTR) begin_packets(*qp, choice);
    if (qp->packets && to == IBV_QPS_RTS) continue_packets(*qp, from);
    if (to == IBV_QPS_ERR) flush_sends(*qp);
    verbs->state = to;
    parked = qp->parked_count != 0;
    // Meet the peer now rather than in the first send; if it isn't there, sends find out.
    if (from != to && to == IBV_QPS_RTR && qp->type() != IBV_QPT_UD && qp->address.reachable &&
        !qp->packets)
      qp->peer = qp->host->reach(slot_of(qp->attr.dest_qp_num));
  }
  if (parked) qp->host->enlist(qp);
  return 0;
}

int query_qp(ibv_qp* verbs, ibv_qp_attr* attr, int, ibv_qp_init_attr* init) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  const Network::Guard network(qp->host->network());
  std::lock_guard guard(qp->send_lock);
  ibv_qp_state state = state_in(*qp->shared);
  *attr = qp->attr;
  attr->qp_state = attr->cur_qp_state = state;
  attr->cap = qp->init.cap;
  attr->sq_draining =
      state == IBV_QPS_SQD && (qp->packets ? packets_are_sending(*qp) : qp->draining > 0);
  *init = qp->init;
  init->send_cq = verbs->send_cq;
  init->recv_cq = verbs->recv_cq;
  verbs->state = state;
  return 0;
}

void enter_error(QueuePair& qp) {
  Site& site = qp.host->site();
  QpShared& shared = *qp.shared;
  enter(shared.inbound, site);
  if (shared.state.load() != IBV_QPS_ERR) {
    set_error_state(shared);
    flush_receives(site, shared);
    if (shared.srq != 0)
      raise_async(site, shared.context, IBV_EVENT_QP_LAST_WQE_REACHED, qp.ex.qp_base.qp_num);
  }
  unlock(shared.inbound, site);
}

void retire_work(Host& host, uint32_t qp_num, bool sent, uint32_t position) {
  QueuePair* qp = host.qps[index_of(qp_num)].load(std::memory_order_acquire);
  if (!qp || qp->ex.qp_base.qp_num != qp_num) return;
  constexpr auto relaxed = std::memory_order_relaxed;
  // The ring is in memory that peers write: a place that was never given out frees nothing, and a
  // receive too many only lets the program overwrite its own.
  if (!sent) {
    qp->receives_polled.store(qp->receives_polled.load(relaxed) + 1, relaxed);
    return;
  }
  const uint32_t retired = qp->retired.load(relaxed);
  if (position - retired - 1 < qp->sent.load(relaxed) - retired)
    qp->retired.store(position, relaxed);
}

static uint8_t* receive_at(const QueuePair& qp, uint32_t position) {
  return qp.receives +
         uint64_t(position & (qp.receive_slots - 1)) * recv_stride(qp.init.cap.max_recv_sge);
}

int post_recv(ibv_qp* verbs, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live.load(std::memory_order_relaxed) || !qp->host->usable()) {
    *bad = wr;
    return EINVAL;
  }
  QpShared& shared = *qp->shared;
  Site& site = qp->host->site();
  int error = 0;
  {
    std::lock_guard guard(qp->recv_lock);
    for (; wr; wr = wr->next) {
      uint32_t head = shared.rq_head.load(std::memory_order_relaxed);
      if (qp->receive_slots == 0 || wr->num_sge < 0 ||
          uint32_t(wr->num_sge) > qp->init.cap.max_recv_sge ||
          shared.state.load(std::memory_order_relaxed) == IBV_QPS_RESET) {
        error = EINVAL;
      } else if (head - qp->receives_polled.load(std::memory_order_relaxed) >=
                     qp->init.cap.max_recv_wr &&
                 head - qp->receives_taken >= qp->init.cap.max_recv_wr) {
        qp->receives_taken = shared.rq_tail.load(std::memory_order_acquire);
        if (head - qp->receives_taken >= qp->init.cap.max_recv_wr) error = ENOMEM;
      }
      if (error) {
        *bad = wr;
        break;
      }
      write_receive(receive_at(*qp, head), *wr);
      store_before_loads(shared.rq_head, head + 1);
    }
    // Peers have read the slots' lines: fetch the next one now, while nobody waits for it.
    if (qp->receive_slots != 0)
      prefetch_to_write(receive_at(*qp, shared.rq_head.load(std::memory_order_relaxed) + 2));
  }
  // After the store above: either who set the error state saw these receives, or it is seen here.
  if (shared.state.load(std::memory_order_seq_cst) == IBV_QPS_ERR) {
    enter(shared.inbound, site);
    if (shared.state.load() == IBV_QPS_ERR) flush_receives(site, shared);
    unlock(shared.inbound, site);
  }
  return error;
}

}  // namespace softhca
