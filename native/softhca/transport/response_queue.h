// What the responder has to send, in the order of sequence numbers (InfiniBand Vol. 1, 9.7.5).
#pragma once

#include "softhca/transport/queue_pair.h"
#include "softhca/wire/aeth.h"
#include "softhca/wire/reth.h"

namespace softhca::transport {

// Space for all that can be due at once.
void reserve_responses(Responder& responder, uint32_t max_dest_rd_atomic);

// An acknowledgement of all up to `psn`; it takes the place of an earlier one that waits
// (9.7.5.1.2).
void acknowledge_until(QueuePair& qp, uint32_t psn);
// Of the expected sequence number.
void acknowledge_with(QueuePair& qp, wire::AckKind kind, uint8_t value);

// Whether one acknowledgement, which is no NAK, is all there is to send.
bool has_one_acknowledgement(const QueuePair& qp);

// Whether a READ or atomic more is within what was agreed (9.7.7). Answers to duplicates don't
// count, as the requester may have the first answers by now.
bool has_room_for_answer(const QueuePair& qp);
// A READ that is being answered already starts anew from there. False: a duplicate, and there are
// too many.
bool answer_read(QueuePair& qp, uint32_t psn, const wire::Reth& request, bool duplicate);
bool answer_atomic(QueuePair& qp, const Replay& result, bool duplicate);

}  // namespace softhca::transport
