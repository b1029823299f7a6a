#include "softhca/transport/response_queue.h"

#include <algorithm>
#include <cassert>

#include "softhca/transport/packet_writer.h"
#include "softhca/transport/responder.h"

namespace softhca::transport {
namespace {

using Responses = std::vector<Response>;

// Where an answer belongs: a duplicate's goes before those to later requests.
Responses::iterator place_of(Responses& queue, uint32_t psn) {
  auto at = queue.end();
  while (at != queue.begin() && psn_difference(psn, (at - 1)->psn) < 0) --at;
  return at;
}

void insert(Responses& queue, const Response& response) {
  assert(queue.size() < queue.capacity());
  queue.insert(place_of(queue, response.psn), response);
}

size_t count_answers(const Responses& queue, bool duplicate) {
  return size_t(std::count_if(queue.begin(), queue.end(), [=](const Response& response) {
    return response.type != Response::ack && response.duplicate == duplicate;
  }));
}

// What answers to duplicates have room for. Those beyond are asked for again.
constexpr size_t max_duplicates = 16;

bool has_room_for_duplicate(const Responses& queue) {
  return count_answers(queue, true) < max_duplicates;
}

// Acknowledgements, positive and negative, up to there say nothing that the next doesn't.
void drop_acknowledgements_until(Responses& queue, uint32_t psn) {
  while (!queue.empty() && queue.back().type == Response::ack &&
         psn_difference(queue.back().psn, psn) <= 0)
    queue.pop_back();
}

constexpr uint8_t syndrome_ack =
    wire::Aeth::make_syndrome(wire::AckKind::ack, wire::Aeth::no_credits);

bool is_positive(const Response& response) {
  return response.type == Response::ack && response.syndrome == syndrome_ack;
}

uint8_t read_operation(bool first, bool last) {
  if (first) return last ? wire::op_read_response_only : wire::op_read_response_first;
  return last ? wire::op_read_response_last : wire::op_read_response_middle;
}

}  // namespace

void reserve_responses(Responder& responder, uint32_t max_dest_rd_atomic) {
  responder.replays.resize(std::max(max_dest_rd_atomic, 1U));
  // Before and after each answer there can be an acknowledgement and a NAK.
  responder.responses.reserve(3 * (responder.replays.size() + max_duplicates) + 2);
}

void acknowledge_until(QueuePair& qp, uint32_t psn) {
  Responder& responder = qp.responder;
  Responses& queue = responder.responses;
  drop_acknowledgements_until(queue, psn);
  const Response response{.syndrome = syndrome_ack, .psn = psn, .msn = responder.msn};
  const auto at = place_of(queue, psn);
  const bool after_another = at != queue.begin() && is_positive(*(at - 1));
  if (after_another) {
    *(at - 1) = response;
  } else {
    assert(queue.size() < queue.capacity());
    queue.insert(at, response);
  }
}

bool has_one_acknowledgement(const QueuePair& qp) {
  const Responses& queue = qp.responder.responses;
  return queue.size() == 1 && is_positive(queue.front());
}

void acknowledge_with(QueuePair& qp, wire::AckKind kind, uint8_t value) {
  Responder& responder = qp.responder;
  drop_acknowledgements_until(responder.responses, responder.expected);
  insert(responder.responses, {.syndrome = wire::Aeth::make_syndrome(kind, value),
                               .psn = responder.expected,
                               .msn = responder.msn});
}

bool has_room_for_answer(const QueuePair& qp) {
  const Responder& responder = qp.responder;
  return count_answers(responder.responses, false) < responder.attributes.max_dest_rd_atomic;
}

bool answer_read(QueuePair& qp, uint32_t psn, const wire::Reth& request, bool duplicate) {
  Responses& queue = qp.responder.responses;
  Response response{.type = Response::read,
                    .syndrome = syndrome_ack,
                    .duplicate = duplicate,
                    .psn = psn,
                    .msn = qp.responder.msn,
                    .rkey = request.rkey,
                    .bytes_left = request.bytes,
                    .address = request.address};
  const auto end = [&](const Response& read) {
    return psn_add(read.psn, uint32_t(packet_count(read.bytes_left, qp.mtu())));
  };
  for (Response& waiting : queue) {
    // The rest of the same READ: what is left of both ends with the same number.
    if (waiting.type == Response::read && end(waiting) == end(response)) {
      response.duplicate = waiting.duplicate;
      waiting = response;
      return true;
    }
  }
  if (duplicate && !has_room_for_duplicate(queue)) return false;
  insert(queue, response);
  return true;
}

bool answer_atomic(QueuePair& qp, const Replay& result, bool duplicate) {
  Responses& queue = qp.responder.responses;
  for (const Response& waiting : queue) {
    if (waiting.type == Response::atomic && waiting.psn == result.psn) return true;
  }
  if (duplicate && !has_room_for_duplicate(queue)) return false;
  insert(queue, {.type = Response::atomic,
                 .syndrome = syndrome_ack,
                 .duplicate = duplicate,
                 .psn = result.psn,
                 .msn = result.msn,
                 .original = result.original});
  return true;
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
    const Response nak{
        .syndrome = wire::Aeth::make_syndrome(wire::AckKind::nak, wire::nak_remote_access),
        .psn = response.psn,
        .msn = response.msn};
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
