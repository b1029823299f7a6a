#include "softhca/transport/completer.h"

#include <algorithm>

#include "softhca/transport/requester.h"
#include "softhca/transport/rnr_timer.h"

namespace softhca::transport {
namespace {

using wire::Kind;

class Completer {
 public:
  Completer(QueuePair& qp, Device& device, Counters& counters, uint64_t now)
      : qp_(qp), requester_(qp.requester), device_(device), counters_(counters), now_(now) {}

  void receive(const wire::Packet& packet) {
    // A ghost or a duplicate (9.7.6): answers nothing that is in flight.
    const uint32_t in_flight = psn_after(requester_.limit, requester_.unanswered);
    if (psn_after(packet.bth.psn, requester_.unanswered) >= in_flight) return drop();
    switch (packet.opcode().kind) {
      case Kind::read_response:
        return read_response(packet);
      case Kind::atomic_acknowledge:
        return atomic_response(packet);
      default:
        return acknowledge(packet);
    }
  }

 private:
  void drop() { counters_.add(Counter::dropped_response); }

  // Something was answered: timer and counts of retries start anew (9.7.6.1.3).
  void progress() {
    requester_.recovering = false;
    requester_.window = std::min(2 * requester_.window, requester_.attributes.window_packets);
    requester_.retries_left = requester_.attributes.retry_cnt;
    requester_.rnr_retries_left = requester_.attributes.rnr_retry;
    const bool waits = requester_.unanswered != requester_.limit;
    requester_.retry_deadline = waits && requester_.attributes.timeout != 0
                                    ? now_ + (4096ULL << (requester_.attributes.timeout & 31))
                                    : never;
  }

  // Once until something is answered: what is on its way may show the same gap many times.
  void recover() {
    if (requester_.recovering) return;
    requester_.recovering = true;
    requester_.retry_deadline = never;  // until it is sent again
    go_back(requester_);
  }

  // All before `psn` are answered by this one (9.7.5.1.2: acknowledgements are coalesced), but for
  // READs and atomics, which must have a response of their own: that it is missing is an implied
  // NAK (9.7.6). False then, or if that made the queue pair fail.
  bool answer_before(uint32_t psn) {
    while (requester_.unanswered != psn && !requester_.idle()) {
      const SentWqe& oldest = requester_.of(requester_.oldest);
      if (oldest.kind != Kind::send && oldest.kind != Kind::write) {
        counters_.add(Counter::responses_missed);
        recover();
        return false;
      }
      const uint32_t end = psn_add(oldest.first_psn, oldest.packets);
      const bool whole =
          psn_after(psn, requester_.unanswered) >= psn_after(end, requester_.unanswered);
      requester_.unanswered = whole ? end : psn;
      progress();
      if (whole) complete_oldest(qp_, device_);
    }
    return requester_.unanswered == psn && qp_.state == QueuePair::ready_to_send;
  }

  void acknowledge(const wire::Packet& packet) {
    const uint32_t psn = packet.bth.psn;
    switch (packet.aeth.kind()) {
      case wire::AckKind::ack:
        answer_before(psn_add(psn, 1));
        return;
      case wire::AckKind::rnr_nak:
        counters_.add(Counter::rnr_naks_received);
        if (answer_before(psn)) wait_for_receive(packet.aeth.value());
        return;
      case wire::AckKind::nak:
        return negative(psn, packet.aeth.value());
      case wire::AckKind::reserved:
        return drop();
    }
  }

  // 9.7.5.2.8: the peer has no receive posted; try again after the time that it asks for.
  void wait_for_receive(uint8_t timer) {
    if (requester_.idle() || requester_.rnr_deadline != never) return;
    constexpr uint8_t for_ever = 7;
    if (requester_.rnr_retries_left == 0) {
      fail_sends(qp_, device_, IBV_WC_RNR_RETRY_EXC_ERR);
      return;
    }
    if (requester_.attributes.rnr_retry != for_ever) --requester_.rnr_retries_left;
    requester_.rnr_deadline = now_ + rnr_timer_ns(timer);
    requester_.retry_deadline = never;
    go_back(requester_);
  }

  void negative(uint32_t psn, uint8_t code) {
    const bool answered = answer_before(psn);
    if (code == wire::nak_sequence) {
      counters_.add(Counter::sequence_naks_received);
      if (answered && !requester_.idle()) recover();  // 9.7.6
      return;
    }
    counters_.add(Counter::error_naks_received);
    if (!answered || requester_.idle()) return;
    switch (code) {
      case wire::nak_invalid_request:
        return fail_sends(qp_, device_, IBV_WC_REM_INV_REQ_ERR);
      case wire::nak_remote_access:
        return fail_sends(qp_, device_, IBV_WC_REM_ACCESS_ERR);
      case wire::nak_remote_operation:
        return fail_sends(qp_, device_, IBV_WC_REM_OP_ERR);
      default:
        return fail_sends(qp_, device_, IBV_WC_BAD_RESP_ERR);
    }
  }

  void read_response(const wire::Packet& packet) {
    if (!answer_before(packet.bth.psn) || requester_.idle()) return;
    SentWqe& oldest = requester_.of(requester_.oldest);
    if (oldest.kind == Kind::atomic_write) {  // annex A19
      if (!packet.opcode().is_last() || !packet.payload.empty())
        return fail_sends(qp_, device_, IBV_WC_BAD_RESP_ERR);
      return answered_one(true);
    }
    if (oldest.kind != Kind::read_request) return drop();
    const uint32_t mtu = qp_.mtu();
    const bool last = oldest.received + 1 == oldest.packets;
    const uint64_t offset = uint64_t(oldest.received) * mtu;
    // 9.4.4. Whether FIRST or MIDDLE is not looked at: a response to a request for the rest may
    // be overtaken by one to the first request.
    if (packet.opcode().is_last() != last ||
        packet.payload.size() != (last ? oldest.bytes - offset : mtu))
      return fail_sends(qp_, device_, IBV_WC_BAD_RESP_ERR);
    if (!packet.payload.empty() &&
        !device_.scatter(qp_.number, requester_.oldest, offset, packet.payload))
      return fail_sends(qp_, device_, IBV_WC_LOC_PROT_ERR);
    ++oldest.received;
    answered_one(last);
  }

  void atomic_response(const wire::Packet& packet) {
    if (!answer_before(packet.bth.psn) || requester_.idle()) return;
    const Kind kind = requester_.of(requester_.oldest).kind;
    if (kind != Kind::compare_swap && kind != Kind::fetch_add) return drop();
    // The word as this host has it, whatever order the peer's has (9.4.5).
    const uint64_t original = packet.atomic_ack_eth.original;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&original);
    if (!device_.scatter(qp_.number, requester_.oldest, 0, {bytes, sizeof original}))
      return fail_sends(qp_, device_, IBV_WC_LOC_PROT_ERR);
    answered_one(true);
  }

  void answered_one(bool last) {
    requester_.unanswered = psn_add(requester_.unanswered, 1);
    progress();
    if (last) complete_oldest(qp_, device_);
  }

  QueuePair& qp_;
  Requester& requester_;
  Device& device_;
  Counters& counters_;
  uint64_t now_;
};

}  // namespace

void receive_response(QueuePair& qp, Device& device, Counters& counters, const wire::Packet& packet,
                      uint64_t now) {
  Completer(qp, device, counters, now).receive(packet);
}

}  // namespace softhca::transport
