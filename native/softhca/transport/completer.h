// The completer: what responses mean for the requests in flight (InfiniBand Vol. 1, 9.7.6).
#pragma once

#include "softhca/transport/counters.h"
#include "softhca/transport/device.h"
#include "softhca/transport/queue_pair.h"
#include "softhca/wire/packet.h"

namespace softhca::transport {

void receive_response(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet,
                      uint64_t now);

}  // namespace softhca::transport
