#include "softhca/transport/packet_writer.h"

#include <cstring>

#include "softhca/wire/icrc.h"

namespace softhca::transport {

PacketWriter::PacketWriter(Outbox& outbox, const wire::Route& route, wire::Packet& packet,
                           size_t payload)
    : outbox_(outbox),
      route_(route),
      begin_(outbox.reserve(route, wire::packet_length(packet.bth.opcode, payload))),
      payload_bytes_(payload),
      pad_(wire::pad_for(payload)) {
  if (!begin_) return;
  packet.bth.pad = pad_;  // 9.2
  payload_ = wire::emit_headers(packet, begin_);
}

void PacketWriter::send(Counters& counters) {
  uint8_t* end = payload_ + payload_bytes_;
  memset(end, 0, pad_);
  end += pad_;
  wire::store_icrc(end, wire::icrc(route_, {begin_, end}));
  outbox_.send();
  counters.add(Counter::packets_sent);
}

wire::Packet make_packet(const QueuePair& qp, uint8_t operation, uint32_t psn) {
  wire::Packet packet;
  packet.bth.opcode = wire::make_opcode(qp.service, operation);
  packet.bth.pkey = qp.responder.attributes.pkey;
  packet.bth.dest_qp = qp.responder.attributes.dest_qp;
  packet.bth.psn = psn;
  return packet;
}

}  // namespace softhca::transport
