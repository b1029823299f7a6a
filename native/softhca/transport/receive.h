// The receive work request that an incoming message fills, and its completion.
#pragma once

#include "softhca/transport/device.h"
#include "softhca/transport/outbox.h"
#include "softhca/transport/queue_pair.h"
#include "softhca/wire/packet.h"

namespace softhca::transport {

// The one that an earlier message took and didn't fill, else the next.
decltype(TakenReceive::result) take_receive(QueuePair& qp, Device& device,
                                            const wire::Packet& packet);

// Of a message that ends well with this packet.
ReceiveCompletion completion_of(const QueuePair& qp, const wire::Packet& packet);
void end_receive(QueuePair& qp, Device& device, const ReceiveCompletion& completion);

// The first 40 bytes of a datagram's receive (11.4.1.2): the GRH, or what RoCEv2 has in its place:
// the header of IPv6, or twenty zero bytes and that of IPv4.
constexpr size_t grh_length = 40;
void make_grh(const Datagram& datagram, uint8_t* grh);

}  // namespace softhca::transport
