// The requester: turns send work requests into packets (InfiniBand Vol. 1, 9.7.2 and 9.7.3;
// UC 9.8.2, UD 9.8.3).
#pragma once

#include "softhca/transport/counters.h"
#include "softhca/transport/device.h"
#include "softhca/transport/outbox.h"
#include "softhca/transport/queue_pair.h"

namespace softhca::transport {

enum class Step {
  sent,  // a packet, or finished a request without one
  idle,  // nothing can be sent now
  full,  // the outbox is
};

// Sends the next packet.
Step send_request(QueuePair& qp, Device& device, Outbox& outbox, Counters& counters, uint64_t now);

// To the first packet that has no answer.
void go_back(Requester& requester);

// What the deadlines of the queue pair ask for at this time. True if there is something to send.
bool expire(QueuePair& qp, Device& device, Counters& counters, uint64_t now);
inline uint64_t deadline_of(const Requester& requester) {
  return requester.retry_deadline < requester.rnr_deadline ? requester.retry_deadline
                                                           : requester.rnr_deadline;
}

// Completes the oldest request with an error and the others as flushed; a reliable queue pair is in
// the error state then, another in SQE (10.3.1.7).
void fail_sends(QueuePair& qp, Device& device, ibv_wc_status status);
void flush_sends(QueuePair& qp, Device& device);
// Completes the oldest request, which was carried out.
void complete_oldest(QueuePair& qp, Device& device);

}  // namespace softhca::transport
