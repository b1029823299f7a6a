#include "softhca/wire/packet.h"

namespace softhca::wire {
namespace {

// In the order in which they follow the BTH (InfiniBand Vol. 1, 9.3; annex A14).
template <typename Visitor>
constexpr bool visit_extensions(uint16_t extensions, Visitor&& visit) {
  return (!(extensions & has_xrceth) || visit(&Packet::xrceth)) &&
         (!(extensions & has_deth) || visit(&Packet::deth)) &&
         (!(extensions & has_reth) || visit(&Packet::reth)) &&
         (!(extensions & has_atomic_eth) || visit(&Packet::atomic_eth)) &&
         (!(extensions & has_aeth) || visit(&Packet::aeth)) &&
         (!(extensions & has_atomic_ack_eth) || visit(&Packet::atomic_ack_eth)) &&
         (!(extensions & has_imm_dt) || visit(&Packet::imm_dt)) &&
         (!(extensions & has_ieth) || visit(&Packet::ieth));
}

template <typename Header>
constexpr size_t length_of(Header Packet::*) {
  return Header::length;
}

constexpr auto header_lengths = [] {
  std::array<uint8_t, 256> lengths{};
  for (size_t opcode = 0; opcode < lengths.size(); ++opcode) {
    size_t length = Bth::length;
    visit_extensions(opcodes[opcode].extensions, [&](auto member) {
      length += length_of(member);
      return true;
    });
    lengths[opcode] = uint8_t(length);
  }
  return lengths;
}();

}  // namespace

Parsed parse(std::span<const uint8_t> bytes, Packet* packet) {
  if (!Bth::check_length(bytes) || bytes.size() < Bth::length + icrc_length)
    return Parsed::too_short;
  packet->bth = Bth::parse(bytes.data());
  if (packet->bth.version != 0) return Parsed::wrong_version;  // 9.6.1
  const Opcode& opcode = packet->opcode();
  if (!opcode.known()) return Parsed::unknown_opcode;
  auto rest = bytes.first(bytes.size() - icrc_length).subspan(Bth::length);
  const bool whole = visit_extensions(opcode.extensions, [&](auto member) {
    auto& header = packet->*member;
    if (!header.check_length(rest)) return false;
    header = header.parse(rest.data());
    rest = rest.subspan(header.length);
    return true;
  });
  if (!whole || rest.size() < packet->bth.pad) return Parsed::too_short;
  packet->payload = rest.first(rest.size() - packet->bth.pad);
  return Parsed::ok;
}

size_t header_length(uint8_t opcode) { return header_lengths[opcode]; }

uint8_t* emit_headers(const Packet& packet, uint8_t* to) {
  packet.bth.emit(to);
  to += Bth::length;
  visit_extensions(packet.opcode().extensions, [&](auto member) {
    const auto& header = packet.*member;
    header.emit(to);
    to += header.length;
    return true;
  });
  return to;
}

}  // namespace softhca::wire
