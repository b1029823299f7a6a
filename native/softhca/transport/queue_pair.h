// What the engine knows of a queue pair. The requester, completer and responder each have their
// part.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <vector>

#include "softhca/transport/psn.h"
#include "softhca/wire/opcode.h"
#include "softhca/wire/route.h"

namespace softhca::transport {

constexpr uint64_t never = UINT64_MAX;
// Messages that a program has to answer one by one before it is believed to answer the next.
constexpr uint8_t enough_answers = 2;

// Given at creation.
struct QueuePairOptions {
  ibv_qp_type type = IBV_QPT_RC;
  uint32_t send_depth = 16;           // most send work requests at once
  uint32_t max_dest_rd_atomic = 128;  // the most that to_rtr() can ask for
};

// Given for the state RTR, as in ibv_qp_attr.
struct ReceiveAttributes {
  uint16_t pkey = 0xffff;
  uint32_t qkey = 0;  // UD
  uint32_t access = 0;
  uint32_t mtu_bytes = 1024;
  uint32_t rq_psn = 0;
  uint32_t dest_qp = 0;
  wire::Route route{};  // from here to the peer; of UD, the source is this address
  uint8_t max_dest_rd_atomic = 0;
  uint8_t min_rnr_timer = 0;
};

// Given for the state RTS.
struct SendAttributes {
  uint32_t sq_psn = 0;
  uint8_t timeout = 14;
  uint8_t retry_cnt = 7;
  uint8_t rnr_retry = 7;
  uint8_t max_rd_atomic = 0;
  // Packets that may be in flight unanswered: what the peer's socket is sure to hold.
  uint32_t window_packets = 128;
};

// A send work request in flight.
struct SentWqe {
  uint32_t first_psn;
  uint32_t packets;   // sequence numbers that it takes: of a READ, those of its responses
  uint32_t received;  // responses so far, of a READ
  wire::Kind kind;
  uint64_t bytes;
};

struct Requester {
  SendAttributes attributes{};
  std::vector<SentWqe> sent;  // a ring; a power of two
  uint32_t oldest = 0;        // not completed
  uint32_t next = 0;          // not begun
  uint32_t at = 0;            // whose packet is next to be sent: from oldest to next
  uint32_t at_packet = 0;     // which of its packets
  uint32_t next_psn = 0;      // of the request to begin next
  uint32_t unanswered = 0;    // the first sequence number without an answer; of request `oldest`
  uint32_t limit = 0;         // one after the last that was ever sent
  uint32_t reads = 0;         // READs and atomics in flight
  uint32_t since_ack_request = 0;
  // Packets that may be in flight now: fewer after a timeout, which says that the peer or the
  // network can't keep up, or that nobody is there; then what was lost is asked for by one packet.
  uint32_t window = 0;
  uint8_t retries_left = 0, rnr_retries_left = 0;
  bool paused = false;      // SQD
  bool draining = false;    // SQD, and the program is to hear when nothing is in flight
  bool recovering = false;  // went back, and nothing was answered since
  bool stopped = false;     // request `next` can't be sent: fails when those before are complete
  ibv_wc_status stop_status = IBV_WC_SUCCESS;
  uint64_t retry_deadline = never;
  uint64_t rnr_deadline = never;

  SentWqe& of(uint32_t index) { return sent[index & (sent.size() - 1)]; }
  bool idle() const { return oldest == next; }
};

// What the responder has to send; in the order of sequence numbers.
struct Response {
  enum Type : uint8_t { ack, read, atomic } type = ack;
  uint8_t syndrome = 0;
  bool duplicate = false;  // to a request that was answered before
  bool begun = false;      // READ
  uint32_t psn = 0;
  uint32_t msn = 0;
  uint32_t rkey = 0;
  uint32_t bytes_left = 0;
  uint64_t address = 0;
  uint64_t original = 0;  // atomic
};

// The result of an atomic operation, for duplicates of its request (9.7.5.1).
struct Replay {
  uint32_t psn;
  uint32_t msn;
  uint64_t original;
  bool valid;
};

struct Responder {
  ReceiveAttributes attributes{};
  uint32_t expected = 0;  // sequence number
  uint32_t msn = 0;
  bool nak_sent = false;  // and the request that was asked for hasn't come
  bool established = false;
  wire::Kind message = wire::Kind::none;  // that has begun and not ended
  uint64_t offset = 0;                    // in the message
  uint64_t address = 0;                   // of a WRITE
  uint64_t bytes_left = 0;
  uint32_t rkey = 0;
  bool has_receive = false;
  uint64_t receive_bytes = 0;
  std::vector<Response> responses;
  // A program that answers messages by messages: the acknowledgement may go with the answer.
  bool awaits_answer = false;  // a message has come, and none was begun since
  uint8_t answers = 0;         // so many messages in a row were answered
  bool keeps = false;          // the acknowledgement, until the next transmit()
  std::vector<Replay> replays;
  uint32_t next_replay = 0;
};

struct QueuePair {
  enum State : uint8_t { reset, ready_to_receive, ready_to_send, send_error, error };

  uint32_t number = 0;
  ibv_qp_type type = IBV_QPT_RC;
  wire::Service service = wire::Service::rc;
  State state = reset;
  Requester requester;
  Responder responder;
  // Of the engine's list of those with something to send.
  bool listed = false;
  QueuePair* next_listed = nullptr;

  bool reliable() const { return service == wire::Service::rc || service == wire::Service::xrc; }
  bool connected() const { return service != wire::Service::ud; }
  bool receives() const { return state >= ready_to_receive && state <= send_error; }
  uint32_t mtu() const { return responder.attributes.mtu_bytes; }
};

// Of a message of that size: an empty one is one packet (9.7.2).
constexpr uint64_t packet_count(uint64_t bytes, uint32_t mtu) {
  return bytes == 0 ? 1 : (bytes + mtu - 1) / mtu;
}

}  // namespace softhca::transport
