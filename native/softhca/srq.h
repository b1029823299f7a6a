// Shared receive queues, basic and XRC.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/context.h"
#include "softhca/cq.h"
#include "softhca/pd.h"

namespace softhca {

struct SharedReceiveQueue {
  ibv_srq verbs;
  std::atomic<bool> live;
  Host* host;
  SrqShared* shared;
  uint32_t index;
  uint32_t number;
  std::atomic<uint32_t> users;
  std::atomic<uint32_t> async_taken;
  // The private copies are the ones believed:
  uint32_t max_wr;  // the ring's size
  uint32_t max_sge;
  uint8_t* ring;
  uint64_t ring_offset;
  SpinLock producer;
  CompletionQueue* cq;
  XrcDomain* xrcd;

  static SharedReceiveQueue* of(ibv_srq* srq) { return reinterpret_cast<SharedReceiveQueue*>(srq); }
};

ibv_srq* create_srq(ibv_pd* pd, ibv_srq_init_attr* attr);
ibv_srq* create_srq_ex(ibv_context* context, ibv_srq_init_attr_ex* attr);
int modify_srq(ibv_srq* srq, ibv_srq_attr* attr, int mask);
int query_srq(ibv_srq* srq, ibv_srq_attr* attr);
int destroy_srq(ibv_srq* srq);
int post_srq_recv(ibv_srq* srq, ibv_recv_wr* wr, ibv_recv_wr** bad);
int get_srq_num(ibv_srq* srq, uint32_t* number);

// Takes the oldest receive of a queue of any site. False if there is none.
bool take_shared_receive(Site& site, SrqShared& srq, TakenWqe* taken);
// Puts back what a process that died had taken.
void return_taken(QpShared& qp, SharedReceiveQueue* srq);

// Copies a receive work request into a ring's slot.
void write_receive(uint8_t* slot, const ibv_recv_wr& wr);

}  // namespace softhca
