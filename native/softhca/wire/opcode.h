// The opcodes: what each asks for, its place in the message, and the headers that follow the BTH
// (InfiniBand Vol. 1, 9.2.1; XRC: annex A14; CNP: annex A17; ATOMIC WRITE: annex A19).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace softhca::wire {

enum class Service : uint8_t { rc = 0, uc = 1, rd = 2, ud = 3, cnp = 4, xrc = 5 };

enum class Kind : uint8_t {
  none,  // no such opcode
  send,
  write,
  read_request,
  read_response,
  acknowledge,
  atomic_acknowledge,
  compare_swap,
  fetch_add,
  atomic_write,
  congestion,
};

// A packet's place in its message.
enum Position : uint8_t { middle = 0, first = 1, last = 2, only = first | last };

enum Extension : uint16_t {
  has_xrceth = 1,
  has_deth = 2,
  has_reth = 4,
  has_atomic_eth = 8,
  has_aeth = 16,
  has_atomic_ack_eth = 32,
  has_imm_dt = 64,
  has_ieth = 128,
};

struct Opcode {
  Kind kind = Kind::none;
  Service service = Service::rc;
  Position position = only;
  uint16_t extensions = 0;

  constexpr bool known() const { return kind != Kind::none; }
  constexpr bool is_response() const {
    return kind == Kind::read_response || kind == Kind::acknowledge ||
           kind == Kind::atomic_acknowledge;
  }
  constexpr bool is_atomic() const { return kind == Kind::compare_swap || kind == Kind::fetch_add; }
  constexpr bool is_first() const { return position & first; }
  constexpr bool is_last() const { return position & last; }
};

// The lower five bits, which mean the same for each service that has them.
enum : uint8_t {
  op_send_first = 0,
  op_send_middle = 1,
  op_send_last = 2,
  op_send_last_imm = 3,
  op_send_only = 4,
  op_send_only_imm = 5,
  op_write_first = 6,
  op_write_middle = 7,
  op_write_last = 8,
  op_write_last_imm = 9,
  op_write_only = 10,
  op_write_only_imm = 11,
  op_read_request = 12,
  op_read_response_first = 13,
  op_read_response_middle = 14,
  op_read_response_last = 15,
  op_read_response_only = 16,
  op_acknowledge = 17,
  op_atomic_acknowledge = 18,
  op_compare_swap = 19,
  op_fetch_add = 20,
  op_send_last_inv = 22,
  op_send_only_inv = 23,
  op_atomic_write = 29,
};

constexpr uint8_t make_opcode(Service service, uint8_t operation) {
  return uint8_t(uint8_t(service) << 5 | operation);
}
constexpr uint8_t cnp_opcode = 0x81;

constexpr Opcode make_opcode_entry(uint8_t value) {
  if (value == cnp_opcode) return {Kind::congestion, Service::cnp, only, 0};
  const auto service = Service(value >> 5);
  const uint8_t operation = value & 31;
  const bool reliable = service == Service::rc || service == Service::xrc;
  if (!reliable && service != Service::uc && service != Service::ud) return {};
  if (service == Service::ud && operation != op_send_only && operation != op_send_only_imm)
    return {};
  if (service == Service::uc && operation > op_write_only_imm) return {};
  uint16_t request = 0;
  if (service == Service::ud) request = has_deth;
  if (service == Service::xrc) request = has_xrceth;
  switch (operation) {
    case op_send_first:
      return {Kind::send, service, first, request};
    case op_send_middle:
      return {Kind::send, service, middle, request};
    case op_send_last:
      return {Kind::send, service, last, request};
    case op_send_last_imm:
      return {Kind::send, service, last, uint16_t(request | has_imm_dt)};
    case op_send_only:
      return {Kind::send, service, only, request};
    case op_send_only_imm:
      return {Kind::send, service, only, uint16_t(request | has_imm_dt)};
    case op_send_last_inv:
      return {Kind::send, service, last, uint16_t(request | has_ieth)};
    case op_send_only_inv:
      return {Kind::send, service, only, uint16_t(request | has_ieth)};
    case op_write_first:
      return {Kind::write, service, first, uint16_t(request | has_reth)};
    case op_write_middle:
      return {Kind::write, service, middle, request};
    case op_write_last:
      return {Kind::write, service, last, request};
    case op_write_last_imm:
      return {Kind::write, service, last, uint16_t(request | has_imm_dt)};
    case op_write_only:
      return {Kind::write, service, only, uint16_t(request | has_reth)};
    case op_write_only_imm:
      return {Kind::write, service, only, uint16_t(request | has_reth | has_imm_dt)};
    case op_read_request:
      return {Kind::read_request, service, only, uint16_t(request | has_reth)};
    case op_read_response_first:
      return {Kind::read_response, service, first, has_aeth};
    case op_read_response_middle:
      return {Kind::read_response, service, middle, 0};
    case op_read_response_last:
      return {Kind::read_response, service, last, has_aeth};
    case op_read_response_only:
      return {Kind::read_response, service, only, has_aeth};
    case op_acknowledge:
      return {Kind::acknowledge, service, only, has_aeth};
    case op_atomic_acknowledge:
      return {Kind::atomic_acknowledge, service, only, has_aeth | has_atomic_ack_eth};
    case op_compare_swap:
      return {Kind::compare_swap, service, only, uint16_t(request | has_atomic_eth)};
    case op_fetch_add:
      return {Kind::fetch_add, service, only, uint16_t(request | has_atomic_eth)};
    case op_atomic_write:
      return {Kind::atomic_write, service, only, uint16_t(request | has_reth)};
    default:
      return {};
  }
}

inline constexpr std::array<Opcode, 256> opcodes = [] {
  std::array<Opcode, 256> table{};
  for (size_t value = 0; value < table.size(); ++value) {
    table[value] = make_opcode_entry(uint8_t(value));
  }
  return table;
}();

}  // namespace softhca::wire
