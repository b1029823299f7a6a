// Completion queues: a ring in the segment that every process's requesters fill and the owner
// polls.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/channel.h"
#include "softhca/context.h"
#include "softhca/spin.h"

namespace softhca {

struct CompletionQueue {
  ibv_cq_ex ex;  // begins like ibv_cq
  std::atomic<bool> live;
  Host* host;
  CqShared* shared;
  uint32_t index;
  std::atomic<uint32_t> users;
  CompletionChannel* channel;
  std::atomic<uint32_t> events_taken;
  std::atomic<uint32_t> async_taken;
  SpinLock consumer;
  // The private copies are the ones believed:
  uint32_t tail;
  uint32_t size;  // of the ring
  Cqe* ring;
  uint64_t ring_offset;
  bool extended;
  uint64_t wc_flags;
  Cqe current;  // what start_poll and next_poll stand on
  bool polling;

  ibv_cq* verbs() { return ibv_cq_ex_to_cq(&ex); }
  static CompletionQueue* of(ibv_cq* cq) { return reinterpret_cast<CompletionQueue*>(cq); }
};

ibv_cq* create_cq(ibv_context* context, int cqe, void* cq_context, ibv_comp_channel* channel,
                  int vector);
ibv_cq_ex* create_cq_ex(ibv_context* context, ibv_cq_init_attr_ex* attr);
int destroy_cq(ibv_cq* cq);
int resize_cq(ibv_cq* cq, int cqe);
int poll_cq(ibv_cq* cq, int count, ibv_wc* wc);
int req_notify_cq(ibv_cq* cq, int solicited_only);
void ack_cq_events(ibv_cq* cq, unsigned int count);

// Peers write completions: a number that is no status is a general error.
ibv_wc_status believed_status(uint32_t status);
// Whether the newest receive completion of the queue pair is the one with this position.
bool has_received(const CompletionQueue& cq, uint32_t qp_num, uint32_t position);
// Whether there is one to take.
bool has_completion(const CompletionQueue& cq);
// After a producer died with the queue's lock: counts what it had completed and not counted.
void mend_head(CompletionQueue& cq);
// Takes one completion out. False if there is none.
bool take_completion(CompletionQueue& cq, Cqe* cqe);
void read_completion(const Cqe& cqe, ibv_wc* wc);

// Forgets the completions of a queue pair that is reset or destroyed.
void purge_completions(CompletionQueue& cq, uint32_t qp_num);

// Adds a completion to a queue of any site, and raises the event if it is armed.
// False if the queue is full or its owner is gone.
bool push_completion(Site& site, uint32_t cq, Cqe cqe);

}  // namespace softhca
