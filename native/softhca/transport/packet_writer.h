// One packet of a queue pair on its way into an outbox.
#pragma once

#include <span>

#include "softhca/transport/counters.h"
#include "softhca/transport/outbox.h"
#include "softhca/transport/queue_pair.h"
#include "softhca/wire/packet.h"

namespace softhca::transport {

class PacketWriter {
 public:
  // Writes the headers; the caller has filled in those of the opcode's extensions.
  PacketWriter(Outbox& outbox, const wire::Route& route, wire::Packet& packet, size_t payload);

  // False: the outbox has no room.
  explicit operator bool() const { return begin_ != nullptr; }
  std::span<uint8_t> payload() { return {payload_, payload_bytes_}; }
  // With pad and ICRC.
  void send(Counters& counters);

 private:
  Outbox& outbox_;
  const wire::Route& route_;
  uint8_t* begin_;
  uint8_t* payload_ = nullptr;
  size_t payload_bytes_;
  uint8_t pad_;
};

// A packet of the queue pair, but for the headers of the opcode's extensions. UD: the receiver is
// the caller's to fill in.
wire::Packet make_packet(const QueuePair& qp, uint8_t operation, uint32_t psn);

}  // namespace softhca::transport
