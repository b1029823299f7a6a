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
// Carries out or parks; the caller holds send_lock and has checked. ENOMEM if the queue is full.
int submit(QueuePair& qp, SendRequest& request);

// Completes a request that submit() has not seen, and what follows from its failure.
void finish_send(QueuePair& qp, const SendRequest& request, ibv_wc_status status, uint64_t bytes);

// Tries parked work again. False when there is none left.
bool advance(QueuePair& qp);
// Completes all parked work as flushed; the caller holds send_lock.
void flush_sends(QueuePair& qp);

bool opcode_allowed(ibv_qp_type type, ibv_wr_opcode opcode);

}  // namespace softhca
