// The responder: what a queue pair does with a message that arrives. It runs in the sender's
// process, on the owner's shared state, under the queue pair's lock.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/path.h"

namespace softhca {

struct Message {
  ibv_qp_type transport;  // the sender's type
  ibv_wr_opcode opcode;
  bool solicited;
  uint32_t imm;  // immediate data, or the key to invalidate
  uint32_t src_qp;
  uint64_t remote_address;
  uint32_t rkey;
  uint32_t srq_number;  // XRC
  uint32_t qkey;        // UD
  uint8_t sl;           // UD
  const ibv_grh* grh;   // UD: nullptr if the sender's address has none
  uint64_t compare_add, swap;
  LocalList local;  // what is sent, or where a read or atomic result goes
  uint64_t bytes;
};

enum class Answer {
  ack,
  none,       // dropped, as an unconnected or absent queue pair does
  not_ready,  // RNR NAK
  refused,    // another NAK
  cut_short,  // the requester's own memory isn't there
};

struct Reply {
  Answer answer;
  ibv_wc_status status;  // refused: what the requester completes with
  uint32_t rnr_timer;    // not_ready
  uint64_t original;     // atomics: what was there before
  bool by_kernel;        // the data came by the kernel's copy
};

// `sites` finds the site of an XRC receive queue that another process owns.
Reply deliver(Host& host, Site& site, uint32_t qp_num, const Message& message);

// To the error state: receives are flushed, the event is raised, the owner's sends follow.
// The caller holds qp.inbound.
void fail_qp(Site& site, QpShared& qp, ibv_event_type event);
void flush_receives(Site& site, QpShared& qp);

// The slot of a receive ring, or nullptr if its geometry can't be true.
uint8_t* receive_slot(const Site& site, const QpShared& qp, uint32_t position,
                      uint32_t* most_sges = nullptr);

// The wait that a NAK's timer code asks for (InfiniBand Vol. 1, table 45).
uint64_t rnr_timer_ns(uint32_t code);

}  // namespace softhca
