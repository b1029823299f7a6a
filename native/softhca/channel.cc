// Completion channels: an eventfd that counts events, and the queues that raise them.
#include "softhca/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "softhca/cq.h"
#include "softhca/pool.h"

namespace softhca {

bool take_event(int fd) {
  uint64_t count;
  return read(fd, &count, sizeof count) == sizeof count;
}

ibv_comp_channel* create_channel(ibv_context* context) {
  Context* owner = Context::of(context);
  int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  if (fd < 0) return nullptr;
  auto* channel = Pool<CompletionChannel>::instance().take();
  if (!channel) {
    close(fd);
    return nullptr;
  }
  channel->verbs = {context, fd, 0};
  channel->id = uint64_t(owner->host->new_id()) << 1;
  owner->host->self()->announce(fd, channel->id);
  owner->objects.fetch_add(1);
  return &channel->verbs;
}

int destroy_channel(ibv_comp_channel* verbs) {
  auto* channel = CompletionChannel::of(verbs);
  if (!channel->live) return EINVAL;
  std::lock_guard guard(channel->mutex);
  if (!channel->queues.empty()) return EBUSY;
  Context::of(verbs->context)->host->self()->withdraw(channel->id);
  close(verbs->fd);
  Context::of(verbs->context)->objects.fetch_sub(1);
  Pool<CompletionChannel>::instance().give(channel);
  return 0;
}

void join_channel(CompletionChannel* channel, CompletionQueue* cq) {
  std::lock_guard guard(channel->mutex);
  channel->queues.push_back(cq);
  ++channel->verbs.refcnt;
}

void leave_channel(CompletionChannel* channel, CompletionQueue* cq) {
  std::lock_guard guard(channel->mutex);
  std::erase(channel->queues, cq);
  --channel->verbs.refcnt;
  // The count is in memory that peers write: a bound on what one can make us do.
  constexpr uint32_t most_unread = 1u << 16;
  uint32_t unread = std::min(cq->shared->events.load() - cq->events_taken.load(), most_unread);
  for (pollfd ready{channel->verbs.fd, POLLIN, 0}; unread > 0 && poll(&ready, 1, 0) == 1; --unread)
    if (!take_event(channel->verbs.fd)) break;
}

int get_cq_event(ibv_comp_channel* verbs, ibv_cq** cq, void** cq_context) {
  auto* channel = CompletionChannel::of(verbs);
  if (!channel->live) {
    errno = EINVAL;
    return -1;
  }
  for (;;) {
    if (!take_event(verbs->fd)) return -1;
    std::lock_guard guard(channel->mutex);
    for (size_t i = 0; i < channel->queues.size(); ++i) {
      size_t at = (channel->next + i) % channel->queues.size();
      CompletionQueue* queue = channel->queues[at];
      if (queue->shared->events.load() == queue->events_taken.load()) continue;
      queue->events_taken.fetch_add(1);
      channel->next = at + 1;
      *cq = queue->verbs();
      *cq_context = queue->ex.cq_context;
      return 0;
    }
    // The event of a queue that is gone: wait for the next.
  }
}

}  // namespace softhca
