// The responder: carries out requests and answers them (InfiniBand Vol. 1, 9.7.4 and 9.7.5;
// UC 9.8.2, UD 9.8.3).
#pragma once

#include "softhca/transport/counters.h"
#include "softhca/transport/device.h"
#include "softhca/transport/outbox.h"
#include "softhca/transport/queue_pair.h"
#include "softhca/transport/requester.h"
#include "softhca/wire/packet.h"

namespace softhca::transport {

void receive_request(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet);
// The datagram is what the packet came in.
void receive_datagram(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet,
                      const Datagram& datagram);

// Sends the next response.
Step send_response(QueuePair& qp, Device& device, Outbox& outbox, Counters& counters);

// Both halves; what is posted is flushed. Responses that are due are still sent, as a NAK may be
// among them.
void enter_error(QueuePair& qp, Device& device);

}  // namespace softhca::transport
