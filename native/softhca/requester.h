// The requester: carries out send work requests, and keeps those that have to wait.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/qp.h"

namespace softhca {

// A send work request in the device's own form. `sge` belongs to whoever made the request.
struct SendRequest {
  uint64_t wr_id;
  ibv_wr_opcode opcode;
  uint32_t flags;     // ibv_send_flags
  uint32_t position;  // in the send queue, given by submit
  uint32_t imm;
  uint32_t num_sge;
  const ibv_sge* sge;  // inline data: addresses in this process, keys ignored
  uint64_t remote_address;
  uint32_t rkey;
  uint32_t srq_number;
  uint64_t compare_add, swap;
  uint32_t remote_qp_num, remote_qkey;  // UD
  ibv_mw* window;
  ibv_mw_bind_info bind;
  Address address;  // UD
};

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

// Tries parked work again. False when there is none left.
bool advance(QueuePair& qp);
// Frees the places in the send queue up to that of a completion that the program polled.
void retire_sends(Host& host, const Cqe& cqe);
// Completes all parked work as flushed; the caller holds send_lock.
void flush_sends(QueuePair& qp);

bool opcode_allowed(ibv_qp_type type, ibv_wr_opcode opcode);

}  // namespace softhca
