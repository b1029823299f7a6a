// A queue pair's own receives, as the sender takes them. The caller holds qp.inbound.
#pragma once

#include "softhca/cq.h"
#include "softhca/site.h"

namespace softhca {

// The slot of a receive ring, or nullptr if its geometry can't be true.
inline uint8_t* receive_slot(const Site& site, const QpShared& qp, uint32_t position,
                             uint32_t* most_sges = nullptr) {
  const uint32_t size = fetch_once(qp.rq_size), sges = fetch_once(qp.rq_max_sge);
  if (size == 0 || (size & (size - 1)) || size > max_ring || sges > max_sge) return nullptr;
  uint64_t stride = recv_stride(sges);
  uint8_t* ring = site.at<uint8_t>(fetch_once(qp.rq_offset), size * stride);
  if (most_sges) *most_sges = sges;
  return ring ? ring + (position & (size - 1)) * stride : nullptr;
}

// The ring's slot for the next receive of the queue pair itself, or nullptr: there is none.
inline RecvWqe* next_receive(Site& site, QpShared& qp, uint32_t* most_sges) {
  const uint32_t tail = qp.rq_tail.load(std::memory_order_relaxed);
  if (qp.rq_head_seen == tail) qp.rq_head_seen = qp.rq_head.load(std::memory_order_acquire);
  if (qp.rq_head_seen == tail) return nullptr;
  return reinterpret_cast<RecvWqe*>(receive_slot(site, qp, tail, most_sges));
}

// False if the completion queue has no room.
inline bool complete_own_receive(Site& site, QpShared& qp, const Cqe& cqe) {
  // Out of the ring before the program can learn of it and post the next; noted, so that the
  // owner puts it back if this process is killed before the completion is there.
  qp.taken.present = taken_own;
  const uint32_t tail = qp.rq_tail.load(std::memory_order_relaxed) + 1;
  qp.rq_tail.store(tail, std::memory_order_release);
  const bool pushed = push_completion(site, qp.recv_cq, cqe);
  qp.taken.present = taken_none;
  // The owner wrote the next receive: fetch it now, while nobody waits for it.
  if (const uint8_t* next = receive_slot(site, qp, tail)) __builtin_prefetch(next);
  return pushed;
}

}  // namespace softhca
