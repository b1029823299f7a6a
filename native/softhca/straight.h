// The straight way, for what most messages are: a write, a read or a send of some cache lines, one
// piece on either side, both mapped here, into a queue pair that this thread alone sends to and
// that has receives of its own. It does what deliver() does then, without the branches for anything
// else. Answer::none: it isn't that, and nothing has happened.
#pragma once

#include "softhca/responder.h"

namespace softhca {

constexpr uint64_t straight_bytes = 128;
struct StraightMessage {
  const SendRequest& request;
  uint32_t type;  // of both sides: RC or UC
  uint32_t src_qp;
  uint8_t sl;
  uint8_t* local;
  uint32_t bytes;
};
Answer deliver_straight(Site& site, uint32_t qp_num, const StraightMessage& message);

}  // namespace softhca
