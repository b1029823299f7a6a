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
inline ibv_wc_status believed_status(uint32_t status) {
  return status <= IBV_WC_TM_RNDV_INCOMPLETE ? ibv_wc_status(status) : IBV_WC_GENERAL_ERR;
}
// Whether the newest receive completion of the queue pair is the one with this position.
bool has_received(const CompletionQueue& cq, uint32_t qp_num, uint32_t position);
// After a producer died with the queue's lock: counts what it had completed and not counted.
void mend_head(CompletionQueue& cq);
// Forgets the completions of a queue pair that is reset or destroyed.
void purge_completions(CompletionQueue& cq, uint32_t qp_num);

// Whether there is one to take.
inline bool has_completion(const CompletionQueue& cq) {
  const uint32_t tail = fetch_once(cq.tail);
  const Cqe& slot = cq.ring[tail & (cq.size - 1)];
  return __atomic_load_n(&slot.sequence, __ATOMIC_ACQUIRE) == tail + 1;
}

// Field by field: a wider load of what was just stored in pieces would wait until these have left
// the processor. Each is read once, and all but `sequence`, which the owner polls meanwhile.
[[gnu::always_inline]] inline void copy_fields(const Cqe& from, Cqe* to) {
  to->wr_id = fetch_once(from.wr_id);
  to->timestamp_ns = fetch_once(from.timestamp_ns);
  to->status = fetch_once(from.status);
  to->opcode = fetch_once(from.opcode);
  to->vendor_err = fetch_once(from.vendor_err);
  to->byte_len = fetch_once(from.byte_len);
  to->imm_data = fetch_once(from.imm_data);
  to->qp_num = fetch_once(from.qp_num);
  to->src_qp = fetch_once(from.src_qp);
  to->wc_flags = fetch_once(from.wc_flags);
  to->position = fetch_once(from.position);
  to->slid = fetch_once(from.slid);
  to->sl = fetch_once(from.sl);
  to->solicited = fetch_once(from.solicited);
}

// Frees places in the queue pair's queues for a completion that the program polled: in the send
// queue up to its position, or one in the receive queue. The caller holds the consumer's lock.
void retire_work(Host& host, uint32_t qp_num, bool sent, uint32_t position);

// Takes one completion out, which read(cqe) is shown. False if there is none.
template <typename Read>
bool take_completion(CompletionQueue& cq, Read read) {
  if (!has_completion(cq)) return false;
  const Cqe& slot = cq.ring[cq.tail & (cq.size - 1)];
  read(slot);
  const bool sent = !(fetch_once(slot.opcode) & IBV_WC_RECV);
  const uint32_t qp_num = fetch_once(slot.qp_num), position = fetch_once(slot.position);
  __atomic_store_n(&cq.tail, cq.tail + 1, __ATOMIC_RELAXED);
  cq.shared->tail.store(cq.tail, std::memory_order_release);
  retire_work(*cq.host, qp_num, sent, position);
  return true;
}

// The rarer ends of push_completion; they unlock.
bool refuse_completion(Site& site, CqShared& cq, uint32_t index, bool full);
void announce_completion(Site& site, CqShared& cq, uint32_t head, bool solicited);
uint64_t timestamp(uint32_t kind);

// Adds a completion to a queue of any site, and raises the event if it is armed.
// False if the queue is full or its owner is gone.
inline bool push_completion(Site& site, uint32_t index, const Cqe& cqe) {
  if (index >= max_cq) return false;
  CqShared& cq = site.segment->cq[index];
  if (!enter(cq.producers, site)) return false;
  const uint32_t head = cq.head.load(std::memory_order_relaxed), size = fetch_once(cq.ring_size);
  if (head - cq.tail_seen >= size) cq.tail_seen = cq.tail.load(std::memory_order_acquire);
  auto* ring = size != 0 && (size & (size - 1)) == 0
                   ? site.at<Cqe>(fetch_once(cq.ring_offset), uint64_t(size) * sizeof(Cqe))
                   : nullptr;
  if (!cq.live.load(std::memory_order_relaxed) || !ring || head - cq.tail_seen >= size)
    return refuse_completion(site, cq, index, ring != nullptr);
  Cqe& slot = ring[head & (size - 1)];
  copy_fields(cqe, &slot);
  if (cq.timestamps) slot.timestamp_ns = timestamp(cq.timestamps);
  __atomic_store_n(&slot.sequence, head + 1, __ATOMIC_RELEASE);
  if (cq.channel_id == 0) {
    cq.head.store(head + 1, std::memory_order_release);
    unlock(cq.producers, site);
  } else {
    announce_completion(site, cq, head + 1, cqe.solicited || cqe.status != IBV_WC_SUCCESS);
  }
  return true;
}

}  // namespace softhca
