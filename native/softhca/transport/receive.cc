#include "softhca/transport/receive.h"

#include <cstring>

#include "softhca/transport/responder.h"
#include "softhca/wire/ipv4.h"
#include "softhca/wire/ipv6.h"
#include "softhca/wire/udp.h"

namespace softhca::transport {

decltype(TakenReceive::result) take_receive(QueuePair& qp, Device& device,
                                            const wire::Packet& packet) {
  Responder& responder = qp.responder;
  if (responder.has_receive) return TakenReceive::taken;
  const TakenReceive receive = device.take_receive(qp.number, packet.xrceth.srq);
  responder.has_receive = receive.result == TakenReceive::taken;
  responder.receive_bytes = receive.bytes;
  return receive.result;
}

ReceiveCompletion completion_of(const QueuePair& qp, const wire::Packet& packet) {
  const uint16_t extensions = packet.opcode().extensions;
  ReceiveCompletion completion;
  if (packet.opcode().kind == wire::Kind::write) completion.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
  completion.bytes = qp.responder.offset;
  completion.source_qp = qp.responder.attributes.dest_qp;
  completion.solicited = packet.bth.solicited;
  if (extensions & wire::has_imm_dt) {
    completion.flags = IBV_WC_WITH_IMM;
    completion.immediate = packet.imm_dt.data;
  } else if (extensions & wire::has_ieth) {
    completion.flags = IBV_WC_WITH_INV;
    completion.immediate = packet.ieth.rkey;
  }
  return completion;
}

void end_receive(QueuePair& qp, Device& device, const ReceiveCompletion& completion) {
  qp.responder.has_receive = false;
  device.complete_receive(qp.number, completion);
}

void make_grh(const Datagram& datagram, uint8_t* grh) {
  const wire::Route& route = datagram.route;
  const auto udp_bytes = uint16_t(wire::Udp::length + datagram.bytes.size());
  if (!wire::is_ipv4(route.destination)) {
    wire::Ipv6{route.traffic_class, route.flow_label, udp_bytes,        wire::protocol_udp,
               route.hop_limit,     route.source,     route.destination}
        .emit(grh);
    return;
  }
  constexpr size_t ip_at = grh_length - wire::Ipv4::length;
  memset(grh, 0, ip_at);
  wire::Ipv4{route.traffic_class,
             uint16_t(wire::Ipv4::length + udp_bytes),
             datagram.identification.value_or(0),
             wire::Ipv4::dont_fragment,
             route.hop_limit,
             wire::protocol_udp,
             wire::ipv4_of(route.source),
             wire::ipv4_of(route.destination)}
      .emit(grh + ip_at);
}

void receive_datagram(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet,
                      const Datagram& datagram) {
  Responder& responder = qp.responder;
  if (take_receive(qp, device, packet) != TakenReceive::taken)
    return counters.add(Counter::dropped_no_receive);
  uint8_t grh[grh_length];
  make_grh(datagram, grh);
  const uint64_t bytes = grh_length + packet.payload.size();
  // 9.8.3: what doesn't fit is dropped; the receive stays for the next.
  if (packet.payload.size() > qp.mtu() || bytes > responder.receive_bytes ||
      !device.place(qp.number, 0, grh) ||
      (!packet.payload.empty() && !device.place(qp.number, grh_length, packet.payload)))
    return counters.add(Counter::dropped_refused);
  responder.offset = bytes;
  ReceiveCompletion completion = completion_of(qp, packet);
  completion.flags |= IBV_WC_GRH;
  completion.source_qp = packet.deth.source_qp;
  end_receive(qp, device, completion);
}

}  // namespace softhca::transport
