// Shared receive queues, basic and XRC.
#include "softhca/srq.h"

#include <cerrno>
#include <cstring>

#include "softhca/pool.h"

namespace softhca {
namespace {

uint32_t power_of_two(uint32_t count) {
  uint32_t size = 1;
  while (size < count) size <<= 1;
  return size;
}

// The ring of any site's queue, if it can be true.
struct Ring {
  uint8_t* base;
  uint32_t size, sges;
};
Ring ring_of(const Site& site, const SrqShared& srq) {
  const uint32_t size = fetch_once(srq.ring_size), sges = fetch_once(srq.max_sge);
  if (size == 0 || (size & (size - 1)) || size > max_ring || sges > max_sge) return {};
  return {site.at<uint8_t>(fetch_once(srq.ring_offset), uint64_t(size) * recv_stride(sges)), size,
          sges};
}

ibv_srq* make_srq(ibv_context* context, ibv_pd* pd, ibv_srq_attr* attr, void* srq_context,
                  ibv_srq_type type, ibv_cq* cq, ibv_xrcd* xrcd) {
  Context* owner = Context::of(context);
  Host& host = *owner->host;
  if (!pd || !ProtectionDomain::of(pd)->live || attr->max_wr == 0 || attr->max_wr > max_wr ||
      attr->max_sge > max_sge) {
    errno = EINVAL;
    return nullptr;
  }
  uint32_t size = power_of_two(attr->max_wr);
  uint32_t sges = attr->max_sge ? attr->max_sge : 1;
  uint64_t ring = host.allocate(uint64_t(size) * recv_stride(sges));
  if (ring == 0) return nullptr;
  auto* srq = Pool<SharedReceiveQueue>::instance().take();
  std::lock_guard guard(host.objects);
  int64_t index = srq ? host.srq_indices.take() : -1;
  if (index < 0) {
    if (srq) Pool<SharedReceiveQueue>::instance().give(srq);
    host.release(ring);
    errno = ENOMEM;
    return nullptr;
  }
  SrqShared& shared = host.segment().srq[index];
  shared.context = owner->index;
  shared.pd = ProtectionDomain::of(pd)->id;
  shared.type = uint32_t(type);
  shared.cq = cq ? CompletionQueue::of(cq)->index : max_cq;
  shared.xrcd = xrcd ? XrcDomain::of(xrcd)->id : 0;
  shared.ring_offset = ring;
  shared.ring_size = size;
  shared.max_sge = sges;
  shared.limit = 0;
  shared.head = 0;
  shared.tail = 0;
  srq->host = &host;
  srq->shared = &shared;
  srq->index = uint32_t(index);
  srq->number = make_number(host.slot(), uint32_t(index));
  srq->max_wr = size;
  srq->max_sge = sges;
  srq->ring_offset = ring;
  srq->ring = host.site().at<uint8_t>(ring, uint64_t(size) * recv_stride(sges));
  srq->cq = cq ? CompletionQueue::of(cq) : nullptr;
  srq->xrcd = xrcd ? XrcDomain::of(xrcd) : nullptr;
  srq->verbs.context = context;
  srq->verbs.srq_context = srq_context;
  srq->verbs.pd = pd;
  srq->verbs.handle = uint32_t(index);
  pthread_mutex_init(&srq->verbs.mutex, nullptr);
  pthread_cond_init(&srq->verbs.cond, nullptr);
  ProtectionDomain::of(pd)->users.fetch_add(1);
  if (srq->cq) srq->cq->users.fetch_add(1);
  if (srq->xrcd) srq->xrcd->users.fetch_add(1);
  owner->objects.fetch_add(1);
  host.srqs[size_t(index)] = srq;
  attr->max_wr = size;
  attr->max_sge = sges;
  shared.number.store(srq->number, std::memory_order_release);
  return &srq->verbs;
}

// InfiniBand Vol. 1, 11.2.3.3: while in use, and not below what is posted or below the limit.
int resize(SharedReceiveQueue& srq, uint32_t wanted, uint32_t limit) {
  if (wanted == 0 || wanted > max_wr || limit > power_of_two(wanted)) return EINVAL;
  Host& host = *srq.host;
  SrqShared& shared = *srq.shared;
  const uint32_t size = power_of_two(wanted);
  const uint64_t stride = recv_stride(srq.max_sge);
  const uint64_t offset = host.allocate(size * stride);
  if (offset == 0) return ENOMEM;
  auto* ring = host.site().at<uint8_t>(offset, size * stride);
  const uint64_t old = srq.ring_offset;
  std::lock_guard guard(srq.producer);
  enter(shared.consumers, host.site());
  const uint32_t tail = shared.tail.load();
  const uint32_t waiting = shared.head.load() - tail;
  const bool fits = waiting <= size && waiting <= srq.max_wr;
  if (fits) {
    for (uint32_t at = tail; at != tail + waiting; ++at)
      memcpy(ring + (at & (size - 1)) * stride, srq.ring + (at & (srq.max_wr - 1)) * stride,
             stride);
    srq.ring_offset = shared.ring_offset = offset;
    srq.max_wr = shared.ring_size = size;
    srq.ring = ring;
  }
  unlock(shared.consumers, host.site());
  host.release(fits ? old : offset);
  return fits ? 0 : EINVAL;
}

}  // namespace

ibv_srq* create_srq(ibv_pd* pd, ibv_srq_init_attr* attr) {
  return make_srq(pd->context, pd, &attr->attr, attr->srq_context, IBV_SRQT_BASIC, nullptr,
                  nullptr);
}

ibv_srq* create_srq_ex(ibv_context* context, ibv_srq_init_attr_ex* attr) {
  ibv_srq_type type = attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE ? attr->srq_type : IBV_SRQT_BASIC;
  if (type == IBV_SRQT_TM || (attr->comp_mask & IBV_SRQ_INIT_ATTR_TM)) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  bool xrc = type == IBV_SRQT_XRC;
  constexpr uint32_t xrc_needs = IBV_SRQ_INIT_ATTR_XRCD | IBV_SRQ_INIT_ATTR_CQ;
  if (!(attr->comp_mask & IBV_SRQ_INIT_ATTR_PD) || attr->comp_mask >= IBV_SRQ_INIT_ATTR_RESERVED ||
      (xrc && ((attr->comp_mask & xrc_needs) != xrc_needs || !attr->xrcd || !attr->cq))) {
    errno = EINVAL;
    return nullptr;
  }
  return make_srq(context, attr->pd, &attr->attr, attr->srq_context, type, xrc ? attr->cq : nullptr,
                  xrc ? attr->xrcd : nullptr);
}

int modify_srq(ibv_srq* verbs, ibv_srq_attr* attr, int mask) {
  auto* srq = SharedReceiveQueue::of(verbs);
  if (!srq->live || !srq->host->usable()) return EINVAL;
  if (mask & ~(IBV_SRQ_MAX_WR | IBV_SRQ_LIMIT)) return EINVAL;
  if (mask & IBV_SRQ_MAX_WR) {
    const uint32_t limit = mask & IBV_SRQ_LIMIT ? attr->srq_limit : srq->shared->limit.load();
    if (int error = resize(*srq, attr->max_wr, limit)) return error;
  }
  if (mask & IBV_SRQ_LIMIT) {
    if (attr->srq_limit > srq->max_wr) return EINVAL;
    srq->shared->limit.store(attr->srq_limit);
  }
  return 0;
}

int query_srq(ibv_srq* verbs, ibv_srq_attr* attr) {
  auto* srq = SharedReceiveQueue::of(verbs);
  if (!srq->live || !srq->host->usable()) return EINVAL;
  *attr = {srq->max_wr, srq->max_sge, srq->shared->limit.load()};
  return 0;
}

int destroy_srq(ibv_srq* verbs) {
  auto* srq = SharedReceiveQueue::of(verbs);
  if (!srq->live || !srq->host->usable()) return EINVAL;
  if (srq->users != 0) return EBUSY;
  Host& host = *srq->host;
  {
    std::lock_guard guard(host.objects);
    srq->live = false;
    host.srqs[srq->index] = nullptr;
    enter(srq->shared->consumers, host.site());
    srq->shared->number.store(0);
    unlock(srq->shared->consumers, host.site());
  }
  wait_for_acks(verbs, srq->async_taken);
  std::lock_guard guard(host.objects);
  host.release(srq->ring_offset);
  host.srq_indices.give(srq->index);
  ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  if (srq->cq) srq->cq->users.fetch_sub(1);
  if (srq->xrcd) srq->xrcd->users.fetch_sub(1);
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<SharedReceiveQueue>::instance().give(srq);
  return 0;
}

void write_receive(uint8_t* slot, const ibv_recv_wr& wr) {
  auto* wqe = reinterpret_cast<RecvWqe*>(slot);
  wqe->wr_id = wr.wr_id;
  wqe->num_sge = uint32_t(wr.num_sge);
  for (int i = 0; i < wr.num_sge; ++i) wqe->sge[i] = wr.sg_list[i];
}

int post_srq_recv(ibv_srq* verbs, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  auto* srq = SharedReceiveQueue::of(verbs);
  if (!srq->live || !srq->host->usable()) {
    *bad = wr;
    return EINVAL;
  }
  SrqShared& shared = *srq->shared;
  std::lock_guard guard(srq->producer);
  for (; wr; wr = wr->next) {
    uint32_t head = shared.head.load(std::memory_order_relaxed);
    int error = 0;
    if (wr->num_sge < 0 || uint32_t(wr->num_sge) > srq->max_sge) {
      error = EINVAL;
    } else if (head - shared.tail.load(std::memory_order_acquire) >= srq->max_wr) {
      error = ENOMEM;
    }
    if (error) {
      *bad = wr;
      return error;
    }
    write_receive(srq->ring + uint64_t(head & (srq->max_wr - 1)) * recv_stride(srq->max_sge), *wr);
    shared.head.store(head + 1, std::memory_order_release);
  }
  return 0;
}

int get_srq_num(ibv_srq* verbs, uint32_t* number) {
  auto* srq = SharedReceiveQueue::of(verbs);
  if (!srq->live || srq->xrcd == nullptr) return EINVAL;
  *number = srq->number;
  return 0;
}

bool take_shared_receive(Site& site, SrqShared& srq, TakenWqe* taken) {
  if (!enter(srq.consumers, site)) return false;
  const Ring ring = ring_of(site, srq);
  uint32_t tail = srq.tail.load(std::memory_order_relaxed);
  uint32_t waiting = srq.head.load(std::memory_order_acquire) - tail;
  uint32_t number = srq.number.load(std::memory_order_relaxed);
  if (!ring.base || number == 0 || waiting == 0 || waiting > ring.size) {
    unlock(srq.consumers, site);
    return false;
  }
  auto* wqe = reinterpret_cast<RecvWqe*>(ring.base +
                                         uint64_t(tail & (ring.size - 1)) * recv_stride(ring.sges));
  uint32_t sges = fetch_once(wqe->num_sge);
  if (sges > ring.sges) sges = 0;
  taken->wr_id = wqe->wr_id;
  taken->num_sge = sges;
  memcpy(taken->sge, wqe->sge, sges * sizeof(ibv_sge));
  taken->present = taken_shared;
  srq.tail.store(tail + 1, std::memory_order_release);
  // InfiniBand Vol. 1, 10.2.9.3: once, when the count falls below the limit, which is then
  // disarmed.
  uint32_t limit = srq.limit.load(std::memory_order_relaxed);
  bool reached = limit != 0 && waiting - 1 < limit && srq.limit.exchange(0) != 0;
  uint32_t context = srq.context;
  unlock(srq.consumers, site);
  if (reached) raise_async(site, context, IBV_EVENT_SRQ_LIMIT_REACHED, number);
  return true;
}

void return_taken(QpShared& qp, SharedReceiveQueue* srq) {
  if (qp.taken.present == taken_own) {
    // Its slot is intact: the ring has one more than the program may fill.
    qp.taken.present = taken_none;
    qp.rq_tail.fetch_sub(1);
    return;
  }
  ibv_sge list[max_sge];
  const uint32_t sges = fetch_once(qp.taken.num_sge);
  qp.taken.present = taken_none;
  if (!srq || sges > srq->max_sge) return;
  memcpy(list, qp.taken.sge, sges * sizeof(ibv_sge));
  ibv_recv_wr wr{qp.taken.wr_id, nullptr, list, int(sges)};
  ibv_recv_wr* bad;
  post_srq_recv(&srq->verbs, &wr, &bad);
}

}  // namespace softhca
