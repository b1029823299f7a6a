// Completion channels: an eventfd that counts events, and the queues that raise them.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "softhca/context.h"

namespace softhca {

struct CompletionQueue;

struct CompletionChannel {
  ibv_comp_channel verbs;
  std::atomic<bool> live;
  uint64_t id;
  std::mutex mutex;
  std::vector<CompletionQueue*> queues;
  size_t next;  // the queue to look at first: no queue starves another

  static CompletionChannel* of(ibv_comp_channel* channel) {
    return reinterpret_cast<CompletionChannel*>(channel);
  }
};

ibv_comp_channel* create_channel(ibv_context* context);
int destroy_channel(ibv_comp_channel* channel);
int get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context);

void join_channel(CompletionChannel* channel, CompletionQueue* cq);
// Takes the queue out, and the events that it raised and nobody read.
void leave_channel(CompletionChannel* channel, CompletionQueue* cq);

// Reads one from an eventfd, as its O_NONBLOCK says. False with errno.
bool take_event(int fd);

}  // namespace softhca
