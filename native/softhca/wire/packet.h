// A whole packet as RoCEv2 puts it into a UDP datagram: BTH, extension headers, payload, pad, ICRC.
//
// A plain representation: parse() reads one from bytes without a copy of the payload;
// emit_headers() writes one. What a field means for a connection is none of its business.
#pragma once

#include <span>

#include "softhca/wire/aeth.h"
#include "softhca/wire/atomic_ack_eth.h"
#include "softhca/wire/atomic_eth.h"
#include "softhca/wire/bth.h"
#include "softhca/wire/deth.h"
#include "softhca/wire/ieth.h"
#include "softhca/wire/imm_dt.h"
#include "softhca/wire/opcode.h"
#include "softhca/wire/reth.h"
#include "softhca/wire/xrceth.h"

namespace softhca::wire {

constexpr size_t icrc_length = 4;
constexpr size_t max_header_length = Bth::length + Xrceth::length + AtomicEth::length;
constexpr size_t max_payload = 4096;
constexpr size_t max_packet = max_header_length + max_payload + icrc_length;
constexpr size_t cnp_reserved = 16;  // annex A17: a CNP's payload, all zero

struct Packet {
  Bth bth{};
  // Those are valid that opcodes[bth.opcode].extensions names.
  Xrceth xrceth{};
  Deth deth{};
  Reth reth{};
  AtomicEth atomic_eth{};
  Aeth aeth{};
  AtomicAckEth atomic_ack_eth{};
  ImmDt imm_dt{};
  Ieth ieth{};
  std::span<const uint8_t> payload{};  // without the pad

  const Opcode& opcode() const { return opcodes[bth.opcode]; }
};

// Of a packet that may be anything.
inline bool is_response(std::span<const uint8_t> bytes) {
  return !bytes.empty() && opcodes[bytes[0]].is_response();
}

enum class Parsed { ok, too_short, unknown_opcode, wrong_version };

// `bytes` begin with the BTH and end with the ICRC, which isn't looked at here. The packet's
// payload points into them.
Parsed parse(std::span<const uint8_t> bytes, Packet* packet);

// Of the BTH and the extension headers.
size_t header_length(uint8_t opcode);
constexpr uint8_t pad_for(size_t payload) { return uint8_t(-payload & 3); }
inline size_t packet_length(uint8_t opcode, size_t payload) {
  return header_length(opcode) + payload + pad_for(payload) + icrc_length;
}
// Returns where the payload begins.
uint8_t* emit_headers(const Packet& packet, uint8_t* to);

}  // namespace softhca::wire
