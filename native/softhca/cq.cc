// Completion queues: a ring in the segment that every process's requesters fill and the owner
// polls.
#include "softhca/cq.h"

#include <cassert>
#include <cerrno>

#include "softhca/cq_ex.h"
#include "softhca/network.h"
#include "softhca/pd.h"
#include "softhca/pool.h"
#include "softhca/requester.h"

namespace softhca {
namespace {

uint32_t ring_size_for(uint32_t capacity) {
  uint32_t size = 1;
  while (size < capacity) size <<= 1;
  return size;
}

// Disarms the queue if it is armed for such a completion, and counts the event that is then due: it
// tells of all completions before `end`.
bool take_arm(CqShared& cq, bool solicited, uint32_t end) {
  uint32_t armed = cq.armed.load(std::memory_order_seq_cst);
  while (armed == arm_any || (armed == arm_solicited && solicited)) {
    if (!cq.armed.compare_exchange_weak(armed, arm_none)) continue;
    cq.told.store(end);
    cq.events.fetch_add(1);
    return true;
  }
  return false;
}

bool raises_solicited(const Cqe& cqe) { return cqe.solicited || cqe.status != IBV_WC_SUCCESS; }

}  // namespace

uint64_t timestamp(uint32_t kind) {
  timespec ts;
  clock_gettime(kind == 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ts);
  return uint64_t(ts.tv_sec) * 1000000000ull + uint64_t(ts.tv_nsec);
}

bool refuse_completion(Site& site, CqShared& cq, uint32_t index, bool full) {
  // InfiniBand Vol. 1, 11.6.3.1: a completion that has no room is a CQ error, reported once.
  const bool first = full && cq.overrun.exchange(1) == 0;
  unlock(cq.producers, site);
  if (first) raise_async(site, cq.context, IBV_EVENT_CQ_ERR, index + 1);
  return false;
}

void announce_completion(Site& site, CqShared& cq, uint32_t head, bool solicited) {
  const uint32_t fd = cq.channel_fd;
  const uint64_t id = cq.channel_id;
  // Sequentially consistent, as is the load of `armed`: either the program that arms and then
  // polls sees this completion, or it is seen here that the program armed.
  cq.head.exchange(head, std::memory_order_seq_cst);
  const bool raise = take_arm(cq, solicited, head);
  unlock(cq.producers, site);
  if (raise && !site.signal(fd, id)) {
    cq.deferred.fetch_add(1);
    site.ring_doorbell();
  }
}

// What was polled still lies in the ring, so this finds it either way.
bool has_received(const CompletionQueue& cq, uint32_t qp_num, uint32_t position) {
  const uint32_t head = cq.shared->head.load();
  for (uint32_t i = 1; i <= cq.size; ++i) {
    const Cqe& cqe = cq.ring[(head - i) & (cq.size - 1)];
    if (cqe.sequence != head - i + 1) return false;
    if (cqe.qp_num == qp_num && (cqe.opcode & IBV_WC_RECV)) return cqe.position == position;
  }
  return false;
}

void mend_head(CompletionQueue& cq) {
  const uint32_t head = cq.shared->head.load();
  if (__atomic_load_n(&cq.ring[head & (cq.size - 1)].sequence, __ATOMIC_ACQUIRE) == head + 1)
    cq.shared->head.store(head + 1);
}

void purge_completions(CompletionQueue& cq, uint32_t qp_num) {
  CqShared& shared = *cq.shared;
  Site& site = cq.host->site();
  std::lock_guard guard(cq.consumer);
  enter(shared.producers, site);
  Cqe* ring = cq.ring;
  uint32_t mask = cq.size - 1;
  uint32_t head = shared.head.load();
  if (head - cq.tail <= cq.size) {
    // What stays moves towards the head, so that only the tail, which is ours, changes.
    uint32_t keep = head;
    for (uint32_t at = head; at != cq.tail;)
      if (ring[--at & mask].qp_num != qp_num) {
        ring[--keep & mask] = ring[at & mask];
        ring[keep & mask].sequence = keep + 1;
      }
    cq.tail = keep;
    shared.tail.store(keep, std::memory_order_release);
  }
  unlock(shared.producers, site);
}

// Each field is read once: peers write them.
static void read_completion(const Cqe& cqe, ibv_wc* wc) {
  wc->wr_id = fetch_once(cqe.wr_id);
  wc->status = believed_status(fetch_once(cqe.status));
  wc->opcode = ibv_wc_opcode(fetch_once(cqe.opcode) & 0xff);
  wc->vendor_err = fetch_once(cqe.vendor_err);
  wc->byte_len = fetch_once(cqe.byte_len);
  wc->imm_data = fetch_once(cqe.imm_data);
  wc->qp_num = fetch_once(cqe.qp_num);
  wc->src_qp = fetch_once(cqe.src_qp);
  wc->wc_flags = fetch_once(cqe.wc_flags);
  wc->pkey_index = 0;
  wc->slid = fetch_once(cqe.slid);
  wc->sl = fetch_once(cqe.sl);
  wc->dlid_path_bits = 0;
}

int poll_cq(ibv_cq* verbs, int count, ibv_wc* wc) {
  auto* cq = CompletionQueue::of(verbs);
  if (!cq->live.load(std::memory_order_relaxed) || !cq->host->usable()) return -EINVAL;
  if (cq->host->has_parked()) cq->host->progress(!has_completion(*cq));
  if (!has_completion(*cq)) return 0;
  std::lock_guard guard(cq->consumer);
  int got = 0;
  while (got < count &&
         take_completion(*cq, [&](const Cqe& cqe) { read_completion(cqe, &wc[got]); }))
    ++got;
  return got;
}

// Raises the event that an HCA raises at once when a queue is armed: for completions that are
// there, were not polled, and that no event has told of yet. The specification has it for later
// ones alone (11.4.2.2), but programs (UCX) poll, arm, and sleep; others (perftest) count on one
// event for one completion, arming before they poll what an event has told of.
static void raise_missed(CompletionQueue& cq) {
  CqShared& shared = *cq.shared;
  std::lock_guard guard(cq.consumer);
  const uint32_t told = shared.told.load() - cq.tail;
  bool solicited = false;
  uint32_t count = told <= cq.size ? told : 0;
  const uint32_t first = count;
  for (; count < cq.size; ++count) {
    const Cqe& cqe = cq.ring[(cq.tail + count) & (cq.size - 1)];
    if (__atomic_load_n(&cqe.sequence, __ATOMIC_ACQUIRE) != cq.tail + count + 1) break;
    solicited = solicited || raises_solicited(cqe);
  }
  if (count > first && take_arm(shared, solicited, cq.tail + count))
    cq.host->site().signal(shared.channel_fd, cq.channel->id);
}

int req_notify_cq(ibv_cq* verbs, int solicited_only) {
  auto* cq = CompletionQueue::of(verbs);
  if (!cq->live || !cq->host->usable()) return EINVAL;
  if (Network* network = cq->host->network()) network->stop_polling();
  uint32_t wanted = solicited_only ? arm_solicited : arm_any;
  uint32_t armed = cq->shared->armed.load();
  // Asking for all outweighs asking for solicited ones, whichever came first (11.4.2.2).
  while (armed < wanted && !cq->shared->armed.compare_exchange_weak(armed, wanted)) {
  }
  if (cq->channel) raise_missed(*cq);
  return 0;
}

static CompletionQueue* make_cq(ibv_context* context, uint32_t cqe, void* cq_context,
                                ibv_comp_channel* channel, uint32_t vector) {
  Context* owner = Context::of(context);
  if (cqe == 0 || cqe > max_cqe || vector >= uint32_t(context->num_comp_vectors) ||
      (channel && (channel->context != context || !CompletionChannel::of(channel)->live))) {
    errno = EINVAL;
    return nullptr;
  }
  Host& host = *owner->host;
  uint32_t size = ring_size_for(cqe);
  uint64_t ring = host.allocate(uint64_t(size) * sizeof(Cqe));
  if (ring == 0) return nullptr;
  auto* cq = Pool<CompletionQueue>::instance().take();
  std::lock_guard guard(host.objects);
  int64_t index = cq ? host.cq_indices.take() : -1;
  if (index < 0) {
    if (cq) Pool<CompletionQueue>::instance().give(cq);
    host.release(ring);
    errno = ENOMEM;
    return nullptr;
  }
  CqShared& shared = host.segment().cq[index];
  shared.context = owner->index;
  shared.ring_offset = ring;
  shared.ring_size = size;
  shared.timestamps = 0;
  shared.channel_fd = channel ? uint32_t(channel->fd) : 0;
  shared.channel_id = channel ? CompletionChannel::of(channel)->id : 0;
  shared.overrun = 0;
  shared.head = 0;
  shared.tail = 0;
  shared.tail_seen = 0;
  shared.armed = arm_none;
  shared.events = 0;
  shared.told = 0;
  shared.deferred = 0;
  cq->host = &host;
  cq->shared = &shared;
  cq->index = uint32_t(index);
  cq->ex.context = context;
  cq->ex.channel = channel;
  cq->ex.cq_context = cq_context;
  cq->ex.handle = uint32_t(index);
  cq->ring_offset = ring;
  cq->size = size;
  cq->ring = host.site().at<Cqe>(ring, uint64_t(size) * sizeof(Cqe));
  cq->ex.cqe = int(size);
  pthread_mutex_init(&cq->ex.mutex, nullptr);
  pthread_cond_init(&cq->ex.cond, nullptr);
  if (channel) {
    cq->channel = CompletionChannel::of(channel);
    join_channel(cq->channel, cq);
  }
  host.cqs[size_t(index)] = cq;
  owner->objects.fetch_add(1);
  shared.live.store(1, std::memory_order_release);
  return cq;
}

ibv_cq* create_cq(ibv_context* context, int cqe, void* cq_context, ibv_comp_channel* channel,
                  int vector) {
  auto* cq = make_cq(context, cqe < 0 ? 0 : uint32_t(cqe), cq_context, channel,
                     vector < 0 ? UINT32_MAX : uint32_t(vector));
  return cq ? cq->verbs() : nullptr;
}

ibv_cq_ex* create_cq_ex(ibv_context* context, ibv_cq_init_attr_ex* attr) {
  constexpr uint64_t offered = uint64_t(IBV_WC_STANDARD_FLAGS) | IBV_WC_EX_WITH_SL |
                               IBV_WC_EX_WITH_COMPLETION_TIMESTAMP |
                               IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK;
  constexpr uint32_t offered_flags =
      IBV_CREATE_CQ_ATTR_SINGLE_THREADED | IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN;
  bool has_flags = attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_FLAGS;
  if ((attr->wc_flags & ~offered) || (has_flags && (attr->flags & ~offered_flags))) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  if ((attr->comp_mask & ~uint32_t(IBV_CQ_INIT_ATTR_MASK_FLAGS | IBV_CQ_INIT_ATTR_MASK_PD)) ||
      ((attr->comp_mask & IBV_CQ_INIT_ATTR_MASK_PD) &&
       (!attr->parent_domain || !ProtectionDomain::of(attr->parent_domain)->parent))) {
    errno = EINVAL;
    return nullptr;
  }
  auto* cq = make_cq(context, attr->cqe, attr->cq_context, attr->channel, attr->comp_vector);
  if (!cq) return nullptr;
  cq->extended = true;
  cq->wc_flags = attr->wc_flags;
  if (attr->wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP) cq->shared->timestamps = 1;
  if (attr->wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK) cq->shared->timestamps = 2;
  fill_extended_operations(&cq->ex);
  return &cq->ex;
}

int destroy_cq(ibv_cq* verbs) {
  auto* cq = CompletionQueue::of(verbs);
  if (!cq->live || !cq->host->usable()) return EINVAL;
  if (cq->users != 0) return EBUSY;
  Host& host = *cq->host;
  Context* owner = Context::of(verbs->context);
  {
    std::lock_guard guard(host.objects);
    cq->live = false;
    enter(cq->shared->producers, host.site());
    cq->shared->live.store(0);
    unlock(cq->shared->producers, host.site());
    host.cqs[cq->index] = nullptr;
  }
  if (cq->channel) leave_channel(cq->channel, cq);
  // The program must have acknowledged what it got (ibv_get_cq_event(3)).
  pthread_mutex_lock(&verbs->mutex);
  while (verbs->comp_events_completed != cq->events_taken.load())
    pthread_cond_wait(&verbs->cond, &verbs->mutex);
  pthread_mutex_unlock(&verbs->mutex);
  wait_for_acks(verbs, cq->async_taken);
  std::lock_guard guard(host.objects);
  host.release(cq->ring_offset);
  host.cq_indices.give(cq->index);
  owner->objects.fetch_sub(1);
  Pool<CompletionQueue>::instance().give(cq);
  return 0;
}

int resize_cq(ibv_cq* verbs, int cqe) {
  auto* cq = CompletionQueue::of(verbs);
  if (!cq->live || !cq->host->usable()) return EINVAL;
  if (cqe <= 0 || uint32_t(cqe) > max_cqe) return EINVAL;
  Host& host = *cq->host;
  CqShared& shared = *cq->shared;
  uint32_t size = ring_size_for(uint32_t(cqe));
  uint64_t offset = host.allocate(uint64_t(size) * sizeof(Cqe));
  if (offset == 0) return ENOMEM;
  std::lock_guard guard(cq->consumer);
  enter(shared.producers, host.site());
  uint32_t head = shared.head.load();
  uint32_t waiting = head - cq->tail;
  auto* to = host.site().at<Cqe>(offset, uint64_t(size) * sizeof(Cqe));
  assert(to);
  // 11.2.8.3: not below what the queue holds.
  if (waiting > size || waiting > cq->size) {
    unlock(shared.producers, host.site());
    host.release(offset);
    return EINVAL;
  }
  for (uint32_t i = 0; i < waiting; ++i)
    to[(cq->tail + i) & (size - 1)] = cq->ring[(cq->tail + i) & (cq->size - 1)];
  uint64_t old = cq->ring_offset;
  cq->ring_offset = offset;
  cq->size = size;
  cq->ring = to;
  shared.ring_offset = offset;
  shared.ring_size = size;
  cq->ex.cqe = int(size);
  unlock(shared.producers, host.site());
  host.release(old);
  return 0;
}

void ack_cq_events(ibv_cq* cq, unsigned int count) {
  pthread_mutex_lock(&cq->mutex);
  cq->comp_events_completed += count;
  pthread_cond_signal(&cq->cond);
  pthread_mutex_unlock(&cq->mutex);
}

}  // namespace softhca
