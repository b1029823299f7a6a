// The RoCEv2 transport engine: requester, completer and responder of all queue pairs of a device.
//
// It is pure: it has no clock, socket or thread. Packets and the time go in by receive() and
// transmit(); packets come out through an Outbox, and next_deadline_ns() says when transmit() has
// to be called at the latest. Work requests, memory and completions are the Device's. All calls are
// made by one thread at a time. Nothing is allocated but in create().
//
// Specification: InfiniBand Architecture Vol. 1 chapter 9, annex A14 (XRC), annex A17 (RoCEv2),
// annex A19 (ATOMIC WRITE).
// Numbers in comments are its sections, and its clauses (C9-88) where published drivers cite the
// same for the same.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "softhca/transport/counters.h"
#include "softhca/transport/device.h"
#include "softhca/transport/outbox.h"
#include "softhca/transport/queue_pair.h"
#include "softhca/wire/packet.h"

namespace softhca::transport {

class Engine {
 public:
  Engine(Device& device, Outbox& outbox) : device_(device), outbox_(outbox) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // False if the number is taken.
  bool create(uint32_t number, const QueuePairOptions& options);
  void destroy(uint32_t number);
  // The states of a queue pair (10.3.1). False: there is no such one, or it isn't in the state
  // before, or an attribute is beyond its limit.
  bool to_rtr(uint32_t number, const ReceiveAttributes& attributes);
  bool to_rts(uint32_t number, const SendAttributes& attributes);
  // SQD: finishes what was begun and begins nothing; with `notify`, raises IBV_EVENT_SQ_DRAINED.
  void pause(uint32_t number, bool paused, bool notify);
  // Flushes what is posted.
  void to_error(uint32_t number);
  // From the state after a send failed, back to RTS (10.3.1.7).
  void resume(uint32_t number);
  // Attributes that may change between: access, keys, timers, counts of retries.
  void change(uint32_t number, const ReceiveAttributes& receiving, const SendAttributes& sending);

  // Datagrams to the group are for this queue pair, too (10.5). False: there is no such one, it
  // isn't of datagrams, or that is no group.
  bool join(uint32_t number, const wire::Gid& group);
  void leave(uint32_t number, const wire::Gid& group);

  // The program has posted sends.
  void wake(uint32_t number);

  // A queue pair whose program answers each message by one keeps the acknowledgement back until the
  // next transmit(), which is due after that time, so that both may leave in one datagram of the
  // link. 0, at first: none is kept back.
  void keep_acknowledgements(uint64_t ns) { keep_ns_ = ns; }
  bool keeps_acknowledgements() const { return keeps_; }

  void receive(const Datagram& datagram, uint64_t now_ns);
  // Sends up to `budget` packets. True: there is more to send, or the outbox is full.
  bool transmit(uint64_t now_ns, uint32_t budget);
  // UINT64_MAX: none. May be earlier than necessary.
  uint64_t next_deadline_ns() const { return earliest_deadline_; }

  const Counters& counters() const { return counters_; }
  // nullptr: none. For tests and for query_qp.
  const QueuePair* find(uint32_t number) const;

 private:
  QueuePair* find_mutable(uint32_t number);
  void list(QueuePair& qp);
  void note_deadline(const QueuePair& qp);
  void expire_deadlines(uint64_t now);
  bool accepts(const QueuePair& qp, const wire::Packet& packet, const Datagram& datagram);
  bool keeps_acknowledgement(QueuePair& qp) const;
  void receive_multicast(const wire::Packet& packet, const Datagram& datagram);

  Device& device_;
  Outbox& outbox_;
  Counters counters_;
  struct Member {
    wire::Gid group;
    uint32_t number;
    bool operator==(const Member&) const = default;
  };

  std::unordered_map<uint32_t, std::unique_ptr<QueuePair>> queue_pairs_;
  std::vector<Member> members_;
  QueuePair* first_listed_ = nullptr;
  QueuePair* last_listed_ = nullptr;
  uint64_t earliest_deadline_ = never;
  uint64_t keep_ns_ = 0;
  bool keeps_ = false;
};

}  // namespace softhca::transport
