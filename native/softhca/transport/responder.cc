#include "softhca/transport/responder.h"

#include <algorithm>
#include <cassert>

#include "softhca/transport/receive.h"
#include "softhca/transport/response_queue.h"

namespace softhca::transport {
namespace {

using wire::Kind;

constexpr uint32_t max_message = 1U << 31;  // 9.4
constexpr wire::Reth nothing_read{};

// C9-92: all but the last packet are full, and the last of several isn't empty.
bool right_length(const QueuePair& qp, const wire::Packet& packet) {
  const size_t payload = packet.payload.size();
  if (!packet.opcode().is_last()) return payload == qp.mtu();
  return payload <= qp.mtu() && (payload > 0 || packet.opcode().is_first());
}

class ReliableResponder {
 public:
  ReliableResponder(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet)
      : qp_(qp),
        responder_(qp.responder),
        device_(device),
        counters_(counters),
        packet_(packet),
        opcode_(packet.opcode()) {}

  void receive() {
    const int32_t difference = psn_difference(packet_.bth.psn, responder_.expected);
    if (difference > 0) return out_of_sequence();
    if (difference < 0) return duplicate();
    responder_.nak_sent = false;
    if (!in_order()) return refuse(wire::nak_invalid_request, IBV_EVENT_QP_REQ_ERR);
    switch (opcode_.kind) {
      case Kind::send:
        return send();
      case Kind::write:
        return write();
      case Kind::read_request:
        return read();
      case Kind::atomic_write:
        return atomic_write();
      default:
        return atomic();
    }
  }

 private:
  // 9.7.5: one NAK for a gap, until the request that it asks for comes.
  void out_of_sequence() {
    counters_.add(Counter::dropped_out_of_sequence);
    if (responder_.nak_sent) return;
    responder_.nak_sent = true;
    counters_.add(Counter::sequence_naks_sent);
    acknowledge_with(qp_, wire::AckKind::nak, wire::nak_sequence);
  }

  // C9-105, 9.7.5.1: what was done is acknowledged again and not done again, but a READ is, from
  // memory as it is now.
  void duplicate() {
    counters_.add(Counter::duplicate_requests);
    if (opcode_.kind == Kind::read_request) return duplicate_read();
    if (opcode_.kind == Kind::atomic_write) {
      if (!answer_read(qp_, packet_.bth.psn, nothing_read, true))
        counters_.add(Counter::dropped_replay);
      return;
    }
    if (opcode_.is_atomic()) return duplicate_atomic();
    acknowledge_until(qp_, psn_add(responder_.expected, wire::psn_mask));
  }

  void duplicate_read() {
    const wire::Reth& reth = packet_.reth;
    const uint64_t packets = packet_count(reth.bytes, qp_.mtu());
    // Only what was asked for before can be asked for again (9.7.5.1).
    const bool known = packets <= psn_after(responder_.expected, packet_.bth.psn);
    if (!known || !permitted(IBV_ACCESS_REMOTE_READ, reth.rkey, reth.address, reth.bytes) ||
        !answer_read(qp_, packet_.bth.psn, reth, true))
      counters_.add(Counter::dropped_replay);
  }

  void duplicate_atomic() {
    for (const Replay& replay : responder_.replays) {
      if (replay.valid && replay.psn == packet_.bth.psn && answer_atomic(qp_, replay, true)) return;
    }
    counters_.add(Counter::dropped_replay);
  }

  // 9.7.4.1: FIRST begins a message, MIDDLE and LAST go on with one of their kind.
  bool in_order() const {
    return opcode_.is_first() ? responder_.message == Kind::none
                              : responder_.message == opcode_.kind;
  }

  bool permitted(uint32_t access, uint32_t rkey, uint64_t address, uint64_t bytes) const {
    // C9-88: the key of an empty transfer isn't looked at.
    return bytes == 0 || device_.permits(qp_.number, rkey, address, bytes, access);
  }
  bool allows(uint32_t access) const { return responder_.attributes.access & access; }

  void refuse(wire::NakCode code, ibv_event_type event) {
    counters_.add(Counter::error_naks_sent);
    acknowledge_with(qp_, wire::AckKind::nak, code);
    enter_error(qp_, device_);
    device_.raise(qp_.number, event);
  }
  void refuse_request() { refuse(wire::nak_invalid_request, IBV_EVENT_QP_REQ_ERR); }
  void refuse_access() { refuse(wire::nak_remote_access, IBV_EVENT_QP_ACCESS_ERR); }
  // The receive ends with a local error, too.
  void refuse_receive(ibv_wc_status status, wire::NakCode code) {
    ReceiveCompletion completion;
    completion.status = status;
    end_receive(qp_, device_, completion);
    refuse(code, IBV_EVENT_QP_FATAL);
  }

  // False if there was none, or the request is refused: the packet isn't carried out.
  bool take() {
    switch (take_receive(qp_, device_, packet_)) {
      case TakenReceive::taken:
        return true;
      case TakenReceive::no_such_queue:
        refuse_request();
        return false;
      default:
        break;
    }
    // 9.7.5.2.8. What follows is dropped silently, as it will be sent again.
    counters_.add(Counter::rnr_naks_sent);
    acknowledge_with(qp_, wire::AckKind::rnr_nak, responder_.attributes.min_rnr_timer);
    responder_.nak_sent = true;
    return false;
  }

  void send() {
    if (!right_length(qp_, packet_)) return refuse_request();
    if (opcode_.is_first()) {
      if (!take()) return;
      responder_.offset = 0;
    }
    const uint64_t end = responder_.offset + packet_.payload.size();
    // 9.7.5.2.3: longer than the receive.
    if (end > responder_.receive_bytes)
      return refuse_receive(IBV_WC_LOC_LEN_ERR, wire::nak_invalid_request);
    if (!packet_.payload.empty() && !device_.place(qp_.number, responder_.offset, packet_.payload))
      return refuse_receive(IBV_WC_LOC_PROT_ERR, wire::nak_remote_operation);
    responder_.offset = end;
    if (opcode_.is_last()) {
      if (opcode_.extensions & wire::has_ieth && !device_.invalidate(qp_.number, packet_.ieth.rkey))
        return refuse_access();
      end_receive(qp_, device_, completion_of(qp_, packet_));
    }
    done();
  }

  void write() {
    if (!allows(IBV_ACCESS_REMOTE_WRITE) || !right_length(qp_, packet_)) return refuse_request();
    uint64_t address = responder_.address, left = responder_.bytes_left;
    uint32_t rkey = responder_.rkey;
    if (opcode_.is_first()) {
      const wire::Reth& reth = packet_.reth;
      if (reth.bytes > max_message) return refuse_request();  // C9-94
      if (!permitted(IBV_ACCESS_REMOTE_WRITE, reth.rkey, reth.address, reth.bytes))
        return refuse_access();
      address = reth.address;
      left = reth.bytes;
      rkey = reth.rkey;
      responder_.offset = 0;
    }
    const uint64_t payload = packet_.payload.size();
    // 9.7.4.1: the packets have what the RETH promised.
    if (opcode_.is_last() ? payload != left : payload >= left) return refuse_request();
    if (opcode_.extensions & wire::has_imm_dt && !take()) return;
    if (payload > 0 && !device_.write(qp_.number, rkey, address, packet_.payload))
      return refuse_access();
    responder_.address = address + payload;
    responder_.bytes_left = left - payload;
    responder_.rkey = rkey;
    responder_.offset += payload;
    if (opcode_.extensions & wire::has_imm_dt)
      end_receive(qp_, device_, completion_of(qp_, packet_));
    done();
  }

  void read() {
    const wire::Reth& reth = packet_.reth;
    // 9.7.4.1, 9.7.7: not more at once than was agreed.
    if (!allows(IBV_ACCESS_REMOTE_READ) || reth.bytes > max_message || !packet_.payload.empty() ||
        !has_room_for_answer(qp_))
      return refuse_request();
    if (!permitted(IBV_ACCESS_REMOTE_READ, reth.rkey, reth.address, reth.bytes))
      return refuse_access();
    responder_.msn = psn_add(responder_.msn, 1);  // counted when taken, not when answered
    answer_read(qp_, packet_.bth.psn, reth, false);
    responder_.expected =
        psn_add(responder_.expected, uint32_t(packet_count(reth.bytes, qp_.mtu())));
  }

  // Annex A19: eight aligned bytes, answered like an empty READ; oA19-28: of a valid region.
  void atomic_write() {
    const wire::Reth& reth = packet_.reth;
    if (!allows(IBV_ACCESS_REMOTE_WRITE) || reth.bytes != sizeof(uint64_t) ||
        packet_.payload.size() != reth.bytes || reth.address % sizeof(uint64_t) != 0 ||
        !has_room_for_answer(qp_))
      return refuse_request();
    if (!permitted(IBV_ACCESS_REMOTE_WRITE, reth.rkey, reth.address, reth.bytes) ||
        !device_.write(qp_.number, reth.rkey, reth.address, packet_.payload))
      return refuse_access();
    responder_.msn = psn_add(responder_.msn, 1);
    answer_read(qp_, packet_.bth.psn, nothing_read, false);
    responder_.expected = psn_add(responder_.expected, 1);
  }

  void atomic() {
    const wire::AtomicEth& request = packet_.atomic_eth;
    if (!allows(IBV_ACCESS_REMOTE_ATOMIC) || request.address % sizeof(uint64_t) != 0 ||
        !packet_.payload.empty() || !has_room_for_answer(qp_))
      return refuse_request();
    if (!permitted(IBV_ACCESS_REMOTE_ATOMIC, request.rkey, request.address, sizeof(uint64_t)))
      return refuse_access();
    const bool swaps = opcode_.kind == Kind::compare_swap;
    const auto original = device_.atomic(
        qp_.number, swaps ? IBV_WR_ATOMIC_CMP_AND_SWP : IBV_WR_ATOMIC_FETCH_AND_ADD, request.rkey,
        request.address, swaps ? request.compare : request.swap_add, request.swap_add);
    if (!original) return refuse_access();
    responder_.msn = psn_add(responder_.msn, 1);
    Replay& replay = responder_.replays[responder_.next_replay];
    replay = {packet_.bth.psn, responder_.msn, *original, true};
    responder_.next_replay = (responder_.next_replay + 1) % responder_.replays.size();
    answer_atomic(qp_, replay, false);
    responder_.expected = psn_add(responder_.expected, 1);
  }

  // A packet of a SEND or WRITE.
  void done() {
    responder_.message = opcode_.is_last() ? Kind::none : opcode_.kind;
    if (opcode_.is_last()) {
      responder_.msn = psn_add(responder_.msn, 1);
      if (responder_.awaits_answer) responder_.answers = 0;
      responder_.awaits_answer = true;
    }
    if (packet_.bth.ack_request) acknowledge_until(qp_, responder_.expected);
    responder_.expected = psn_add(responder_.expected, 1);
  }

  QueuePair& qp_;
  Responder& responder_;
  Device& device_;
  Counters& counters_;
  const wire::Packet& packet_;
  const wire::Opcode& opcode_;
};

// UC. A message with a gap or an error is dropped; the next one is taken up (9.8.2).
class UnreliableResponder {
 public:
  UnreliableResponder(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet)
      : qp_(qp),
        responder_(qp.responder),
        device_(device),
        counters_(counters),
        packet_(packet),
        opcode_(packet.opcode()) {}

  void receive() {
    const bool gap = packet_.bth.psn != responder_.expected;
    responder_.expected = psn_add(packet_.bth.psn, 1);
    if (gap || opcode_.is_first()) responder_.message = Kind::none;
    if (!opcode_.is_first() && responder_.message != opcode_.kind) {
      counters_.add(Counter::dropped_out_of_sequence);
      responder_.message = Kind::none;
      return;
    }
    const bool carried_out = opcode_.kind == Kind::send ? send() : write();
    responder_.message = carried_out && !opcode_.is_last() ? opcode_.kind : Kind::none;
  }

 private:
  bool refuse() {
    counters_.add(Counter::dropped_refused);
    return false;
  }
  bool take() {
    if (take_receive(qp_, device_, packet_) == TakenReceive::taken) return true;
    counters_.add(Counter::dropped_no_receive);
    return false;
  }

  bool send() {
    if (!right_length(qp_, packet_)) return refuse();
    if (opcode_.is_first()) {
      if (!take()) return false;
      responder_.offset = 0;
    }
    const uint64_t end = responder_.offset + packet_.payload.size();
    // The receive stays for the next message.
    if (end > responder_.receive_bytes) return refuse();
    if (!packet_.payload.empty() && !device_.place(qp_.number, responder_.offset, packet_.payload))
      return refuse();
    responder_.offset = end;
    if (opcode_.is_last()) end_receive(qp_, device_, completion_of(qp_, packet_));
    return true;
  }

  bool write() {
    if (!right_length(qp_, packet_) || !(responder_.attributes.access & IBV_ACCESS_REMOTE_WRITE))
      return refuse();
    if (opcode_.is_first()) {
      const wire::Reth& reth = packet_.reth;
      if (reth.bytes > max_message ||
          (reth.bytes > 0 && !device_.permits(qp_.number, reth.rkey, reth.address, reth.bytes,
                                              IBV_ACCESS_REMOTE_WRITE)))
        return refuse();
      responder_.address = reth.address;
      responder_.bytes_left = reth.bytes;
      responder_.rkey = reth.rkey;
      responder_.offset = 0;
    }
    const uint64_t payload = packet_.payload.size(), left = responder_.bytes_left;
    if (opcode_.is_last() ? payload != left : payload >= left) return refuse();
    if (opcode_.extensions & wire::has_imm_dt && !take()) return false;
    if (payload > 0 &&
        !device_.write(qp_.number, responder_.rkey, responder_.address, packet_.payload))
      return refuse();
    responder_.address += payload;
    responder_.bytes_left -= payload;
    responder_.offset += payload;
    if (opcode_.extensions & wire::has_imm_dt)
      end_receive(qp_, device_, completion_of(qp_, packet_));
    return true;
  }

  QueuePair& qp_;
  Responder& responder_;
  Device& device_;
  Counters& counters_;
  const wire::Packet& packet_;
  const wire::Opcode& opcode_;
};

}  // namespace

void receive_request(QueuePair& qp, Device& device, Counters& counters,
                     const wire::Packet& packet) {
  if (qp.reliable()) {
    ReliableResponder(qp, device, counters, packet).receive();
  } else {
    UnreliableResponder(qp, device, counters, packet).receive();
  }
}

void enter_error(QueuePair& qp, Device& device) {
  if (qp.state == QueuePair::error) return;
  qp.state = QueuePair::error;
  if (qp.responder.has_receive) {
    ReceiveCompletion completion;
    completion.status = IBV_WC_WR_FLUSH_ERR;
    end_receive(qp, device, completion);
  }
  flush_sends(qp, device);
  device.enter_error(qp.number);
}

}  // namespace softhca::transport
