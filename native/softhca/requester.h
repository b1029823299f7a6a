// The requester: carries out send work requests, and keeps those that have to wait.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/qp.h"
#include "softhca/send_request.h"

namespace softhca {

struct ParkedSend {
  SendRequest request;
  ibv_sge sge[max_sge];
  std::vector<uint8_t> inline_data;
};

int post_send(ibv_qp* qp, ibv_send_wr* wr, ibv_send_wr** bad);

// 0, or why the request can't be posted. What it names is checked when it is carried out.
int check_send(const QueuePair& qp, const SendRequest& request);
// How many more can be posted before some are polled.
inline uint32_t free_sends(const QueuePair& qp) {
  return qp.init.cap.max_send_wr -
         (qp.sent.load(std::memory_order_relaxed) - qp.retired.load(std::memory_order_relaxed));
}
// Carries out or parks; the caller holds send_lock and has checked. ENOMEM if the queue is full.
int submit(QueuePair& qp, SendRequest& request);

// Completes a request that submit() has not seen, and what follows from its failure.
void finish_send(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes);

// Tries parked work again. False when there is none left.
bool advance(QueuePair& qp);
// Completes all parked work as flushed; the caller holds send_lock.
void flush_sends(QueuePair& qp);

// For packets (packet_device.cc), which are completed there:

// Copies the request and the list or inline data that it names.
void keep(ParkedSend* parked, const SendRequest& request);
// False if the completion queue has no room, which is fatal for the queue pair.
bool complete(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes);
// A request that concerns no other host; the caller holds send_lock.
ibv_wc_status run_on_this_host(QueuePair& qp, const SendRequest& request);
bool is_reliable(ibv_qp_type type);

bool opcode_allowed(ibv_qp_type type, ibv_wr_opcode opcode);

}  // namespace softhca
