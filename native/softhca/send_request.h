// A send work request in the device's own form: what the requester carries out, and what the
// responder learns of it.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/ah.h"

namespace softhca {

// `sge` belongs to whoever made the request.
struct SendRequest {
  uint64_t wr_id;
  ibv_wr_opcode opcode;
  uint32_t flags;     // ibv_send_flags
  uint32_t position;  // in the send queue, given by submit
  uint32_t imm;       // immediate data, or the key to invalidate
  uint32_t num_sge;
  const ibv_sge* sge;  // inline data: addresses in this process, keys ignored
  uint64_t remote_address;
  uint32_t rkey;
  uint32_t srq_number;  // XRC
  uint64_t compare_add, swap;
  uint32_t remote_qp_num, remote_qkey;  // UD
  ibv_mw* window;
  ibv_mw_bind_info bind;
  Address address;  // UD

  // Of no operation yet, and to nowhere. Not all of it: it is large.
  void clear() {
    flags = imm = num_sge = rkey = srq_number = remote_qp_num = remote_qkey = 0;
    remote_address = compare_add = swap = 0;
    window = nullptr;
    address.global = address.reachable = address.multicast = false;
  }
};

inline bool is_atomic(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
}
inline bool is_write(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_RDMA_WRITE || opcode == IBV_WR_RDMA_WRITE_WITH_IMM ||
         opcode == IBV_WR_ATOMIC_WRITE;
}

}  // namespace softhca
