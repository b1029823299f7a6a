// The responder: what a queue pair does with a message that arrives. It runs in the sender's
// process, on the owner's shared state, under the queue pair's lock.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/path.h"
#include "softhca/send_request.h"

namespace softhca {

struct Message {
  const SendRequest& request;
  ibv_qp_type transport;  // the sender's type
  uint32_t src_qp;
  LocalList local;  // what is sent, or where a read or atomic result goes
  uint64_t bytes;
  uint8_t sl;
  uint32_t qkey = 0;             // UD
  const ibv_grh* grh = nullptr;  // UD: nullptr if the sender's address has none
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

// An atomic operation on a word of a site's memory; *original becomes what was there.
Moved change_word(Site& site, Span& span, ibv_wr_opcode opcode, uint64_t compare_add, uint64_t swap,
                  uint64_t* original, bool* by_kernel);

// The store of the error state, for flush_receives() after it: post_recv() posts first and looks
// then.
void set_error_state(QpShared& qp);

// To the error state: receives are flushed, the event is raised, the owner's sends follow.
// The caller holds qp.inbound.
void fail_qp(Site& site, QpShared& qp, ibv_event_type event);
void flush_receives(Site& site, QpShared& qp);

// The wait that a NAK's timer code asks for (InfiniBand Vol. 1, table 45).
uint64_t rnr_timer_ns(uint32_t code);

}  // namespace softhca
