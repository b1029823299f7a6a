// An opened device, and the asynchronous events that belong to it.
#include "softhca/context.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "softhca/cq.h"
#include "softhca/network_options.h"
#include "softhca/operations.h"
#include "softhca/pool.h"
#include "softhca/problem.h"
#include "softhca/qp.h"
#include "softhca/srq.h"

namespace softhca {
namespace {

template <typename Object>
void wait_until(Object* object, const uint32_t& completed, const std::atomic<uint32_t>& taken) {
  pthread_mutex_lock(&object->mutex);
  while (completed != taken.load()) pthread_cond_wait(&object->cond, &object->mutex);
  pthread_mutex_unlock(&object->mutex);
}

template <typename Object>
void acknowledge(Object* object, uint32_t& completed) {
  pthread_mutex_lock(&object->mutex);
  ++completed;
  pthread_cond_signal(&object->cond);
  pthread_mutex_unlock(&object->mutex);
}

// Finds the object an event is about and counts it as given to the program. False if it is gone.
bool resolve_event(Host& host, const AsyncEntry& entry, ibv_async_event* event) {
  event->event_type = ibv_event_type(entry.type);
  std::lock_guard guard(host.objects);
  switch (event->event_type) {
    case IBV_EVENT_CQ_ERR: {
      uint32_t index = entry.number - 1;
      CompletionQueue* cq = index < max_cq ? host.cqs[index] : nullptr;
      if (!cq) return false;
      cq->async_taken.fetch_add(1);
      event->element.cq = cq->verbs();
      return true;
    }
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_SRQ_LIMIT_REACHED: {
      uint32_t index = index_of(entry.number);
      SharedReceiveQueue* srq = index < max_srq ? host.srqs[index] : nullptr;
      if (!srq || srq->number != entry.number) return false;
      srq->async_taken.fetch_add(1);
      event->element.srq = &srq->verbs;
      return true;
    }
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED: {
      QueuePair* qp = host.qps[index_of(entry.number)];
      if (!qp || qp->verbs()->qp_num != entry.number) return false;
      qp->async_taken.fetch_add(1);
      event->element.qp = qp->verbs();
      return true;
    }
    default:
      // A peer wrote something that is no event of ours.
      return false;
  }
}

}  // namespace

void wait_for_acks(ibv_cq* cq, const std::atomic<uint32_t>& taken) {
  wait_until(cq, cq->async_events_completed, taken);
}
void wait_for_acks(ibv_qp* qp, const std::atomic<uint32_t>& taken) {
  wait_until(qp, qp->events_completed, taken);
}
void wait_for_acks(ibv_srq* srq, const std::atomic<uint32_t>& taken) {
  wait_until(srq, srq->events_completed, taken);
}

Context* open_context(ibv_device* device) {
  forget_problem();
  if (const std::string& problem = network_options().problem; !problem.empty()) {
    errno = note_problem(EINVAL, problem);
    return nullptr;
  }
  Host* host = Host::get();
  if (!host) return nullptr;
  // The port's GID in them has to be there before anybody asks for it.
  if (std::string problem; !network_options().rings.file.empty() && !host->open_network(&problem)) {
    errno = note_problem(EINVAL, problem);
    return nullptr;
  }
  int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  if (fd < 0) return nullptr;
  // Some programs close or duplicate cmd_fd: it must be a descriptor, what it says is our own.
  int cmd_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  auto* context = Pool<Context>::instance().take();
  std::lock_guard guard(host->objects);
  int64_t index = context && cmd_fd >= 0 ? host->context_indices.take() : -1;
  if (index < 0) {
    if (context) Pool<Context>::instance().give(context);
    if (cmd_fd >= 0) close(cmd_fd);
    close(fd);
    errno = ENOMEM;
    return nullptr;
  }
  ContextShared& shared = host->segment().context[index];
  context->host = host;
  context->index = uint32_t(index);
  context->fd_id = uint64_t(host->new_id()) << 1 | 1;
  shared.fd = uint32_t(fd);
  shared.fd_id = context->fd_id;
  shared.head = 0;
  shared.tail = 0;
  shared.deferred = 0;
  host->self()->announce(fd, context->fd_id);
  fill_operations(&context->verbs);
  ibv_context& verbs = context->verbs.context;
  verbs.device = device;
  verbs.cmd_fd = cmd_fd;
  verbs.async_fd = fd;
  verbs.num_comp_vectors = 1;
  pthread_mutex_init(&verbs.mutex, nullptr);
  verbs.abi_compat = __VERBS_ABI_IS_EXTENDED;
  host->contexts[size_t(index)] = context;
  shared.live.store(1, std::memory_order_release);
  return context;
}

int close_context(Context* context) {
  if (!context->live || !context->host->usable()) {
    errno = EINVAL;
    return -1;
  }
  Host& host = *context->host;
  std::lock_guard guard(host.objects);
  ContextShared& shared = host.segment().context[context->index];
  enter(shared.producers, host.site());
  shared.live = 0;
  unlock(shared.producers, host.site());
  host.contexts[context->index] = nullptr;
  host.context_indices.give(context->index);
  host.self()->withdraw(context->fd_id);
  close(context->verbs.context.async_fd);
  close(context->verbs.context.cmd_fd);
  Pool<Context>::instance().give(context);
  return 0;
}

void raise_async(Site& site, uint32_t index, ibv_event_type type, uint32_t number) {
  if (index >= max_context) return;
  ContextShared& context = site.segment->context[index];
  if (!enter(context.producers, site)) return;
  uint32_t head = context.head.load(std::memory_order_relaxed);
  bool room = context.live.load() && head - context.tail.load() < async_ring;
  uint32_t fd = context.fd;
  uint64_t id = context.fd_id;
  if (room) {
    context.ring[head % async_ring] = {uint32_t(type), number};
    context.head.store(head + 1, std::memory_order_release);
  }
  unlock(context.producers, site);
  if (room && !site.signal(fd, id)) {
    context.deferred.fetch_add(1);
    site.ring_doorbell();
  }
}

int get_async_event(Context* context, ibv_async_event* event) {
  if (!context->live || !context->host->usable()) {
    errno = EINVAL;
    return -1;
  }
  ContextShared& shared = context->host->segment().context[context->index];
  for (;;) {
    if (!take_event(context->verbs.context.async_fd)) return -1;
    AsyncEntry entry;
    {
      std::lock_guard guard(context->tail_lock);
      uint32_t waiting = shared.head.load(std::memory_order_acquire) - context->tail;
      if (waiting == 0 || waiting > async_ring) continue;
      entry = shared.ring[context->tail % async_ring];
      shared.tail.store(++context->tail, std::memory_order_release);
    }
    if (resolve_event(*context->host, entry, event)) return 0;
  }
}

void ack_async_event(const ibv_async_event& event) {
  switch (event.event_type) {
    case IBV_EVENT_CQ_ERR:
      return acknowledge(event.element.cq, event.element.cq->async_events_completed);
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_SRQ_LIMIT_REACHED:
      return acknowledge(event.element.srq, event.element.srq->events_completed);
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED:
      return acknowledge(event.element.qp, event.element.qp->events_completed);
    default:
      return;
  }
}

}  // namespace softhca
