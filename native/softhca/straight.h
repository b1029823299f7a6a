// The straight way, for what most messages are: a write, a read or a send of some cache lines, one
// piece on either side, both mapped here, into a queue pair that this thread alone sends to and
// that has receives of its own. It does what check_send(), submit() and deliver() do then, without
// the branches for anything else.
#pragma once

#include <infiniband/verbs.h>

#include "softhca/qp.h"
#include "softhca/send_request.h"

namespace softhca {

constexpr uint64_t straight_bytes = 128;

// Once a message has reached the peer: others may go straight. Until the queue pair is reset.
void open_straight(QueuePair& qp);

inline bool may_go_straight(const QueuePair& qp, ibv_wr_opcode opcode) {
  return uint32_t(opcode) < 32 && (qp.straight >> opcode & 1) != 0;
}

// Carries the request out, for the holder of send_lock. False: it can't go this way, and nothing
// has happened. Of the request it reads what every operation has.
bool run_straight(QueuePair& qp, SendRequest& request);
// The same for who doesn't hold send_lock. False also if this thread isn't favoured there.
bool post_straight(QueuePair& qp, SendRequest& request);

}  // namespace softhca
