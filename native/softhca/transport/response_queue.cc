#include "softhca/transport/response_queue.h"

#include <algorithm>

#include "softhca/transport/packet_writer.h"
#include "softhca/transport/responder.h"

namespace softhca::transport {
namespace {

using Responses = std::vector<Response>;

// A duplicate's answer goes before those to later requests. Without room it is dropped, and will be
// asked for again.
void insert(QueuePair& qp, const Response& response) {
  Responses& queue = qp.responder.responses;
  if (queue.size() == queue.capacity()) return;
  auto at = queue.end();
  while (at != queue.begin() && psn_difference(response.psn, (at - 1)->psn) < 0) --at;
  queue.insert(at, response);
}

constexpr uint8_t syndrome_ack =
    wire::Aeth::make_syndrome(wire::AckKind::ack, wire::Aeth::no_credits);

uint8_t read_operation(bool first, bool last) {
  if (first) return last ? wire::op_read_response_only : wire::op_read_response_first;
  return last ? wire::op_read_response_last : wire::op_read_response_middle;
}

}  // namespace

void reserve_responses(Responder& responder, uint32_t max_dest_rd_atomic) {
  // As many acknowledgements as gaps between answers, and duplicates of them all.
  responder.responses.reserve(4 * max_dest_rd_atomic + 4);
  responder.replays.resize(std::max(max_dest_rd_atomic, 1U));
}

void acknowledge_until(QueuePair& qp, uint32_t psn) {
  Responder& responder = qp.responder;
  Responses& queue = responder.responses;
  if (!queue.empty() && queue.back().type == Response::ack &&
      queue.back().syndrome == syndrome_ack) {
    queue.back().psn = psn;
    queue.back().msn = responder.msn;
    return;
  }
  insert(qp, {Response::ack, syndrome_ack, false, psn, responder.msn, 0, 0, 0, 0});
}

void acknowledge_with(QueuePair& qp, wire::AckKind kind, uint8_t value) {
  Responder& responder = qp.responder;
  Responses& queue = responder.responses;
  // It says all that an acknowledgement before it does.
  if (!queue.empty() && queue.back().type == Response::ack) queue.pop_back();
  insert(qp, {Response::ack, wire::Aeth::make_syndrome(kind, value), false, responder.expected,
              responder.msn, 0, 0, 0, 0});
}

bool has_room_for_answer(const QueuePair& qp) {
  const Responder& responder = qp.responder;
  const auto answers = std::count_if(
      responder.responses.begin(), responder.responses.end(),
      [](const Response& response) { return response.type != Response::ack && !response.again; });
  return answers < responder.attributes.max_dest_rd_atomic;
}

void answer_read(QueuePair& qp, uint32_t psn, const wire::Reth& request, bool again) {
  const Response response{Response::read, syndrome_ack,  false,           psn, qp.responder.msn,
                          request.rkey,   request.bytes, request.address, 0,   again};
  const uint32_t packets = uint32_t(packet_count(request.bytes, qp.mtu()));
  for (Response& waiting : qp.responder.responses) {
    // The rest of the same READ: what is left of both ends with the same number.
    if (waiting.type == Response::read &&
        psn_add(waiting.psn, uint32_t(packet_count(waiting.bytes_left, qp.mtu()))) ==
            psn_add(psn, packets)) {
      waiting = response;
      return;
    }
  }
  insert(qp, response);
}

void answer_atomic(QueuePair& qp, const Replay& result, bool again) {
  for (const Response& waiting : qp.responder.responses) {
    if (waiting.type == Response::atomic && waiting.psn == result.psn) return;
  }
  insert(qp, {Response::atomic, syndrome_ack, false, result.psn, result.msn, 0, 0, 0,
              result.original, again});
}

Step send_response(QueuePair& qp, Device& device, Outbox& outbox, Counters& counters) {
  Responses& queue = qp.responder.responses;
  if (queue.empty()) return Step::idle;
  Response& response = queue.front();
  const wire::Route& route = qp.responder.attributes.route;
  const bool reads = response.type == Response::read;
  const uint32_t payload = reads ? std::min(response.bytes_left, qp.mtu()) : 0;
  const bool last = !reads || payload == response.bytes_left;
  uint8_t operation = wire::op_acknowledge;
  if (reads) operation = read_operation(!response.begun, last);
  if (response.type == Response::atomic) operation = wire::op_atomic_acknowledge;
  wire::Packet packet = make_packet(qp, operation, response.psn);
  packet.aeth = {response.syndrome, response.msn};
  packet.atomic_ack_eth = {response.original};
  PacketWriter writer(outbox, route, packet, payload);
  if (!writer) return Step::full;
  if (payload > 0 && !device.read(qp.number, response.rkey, response.address, writer.payload())) {
    // 9.9.3: the memory went away meanwhile; nothing after this is answered.
    counters.add(Counter::error_naks_sent);
    const Response nak{Response::ack,
                       wire::Aeth::make_syndrome(wire::AckKind::nak, wire::nak_remote_access),
                       false,
                       response.psn,
                       response.msn,
                       0,
                       0,
                       0,
                       0};
    queue.clear();
    queue.push_back(nak);
    enter_error(qp, device);
    device.raise(qp.number, IBV_EVENT_QP_ACCESS_ERR);
    return Step::sent;
  }
  writer.send(counters);
  if (last) {
    queue.erase(queue.begin());
    return Step::sent;
  }
  response.begun = true;
  response.psn = psn_add(response.psn, 1);
  response.address += payload;
  response.bytes_left -= payload;
  return Step::sent;
}

}  // namespace softhca::transport
