// ACK extended transport header: how a request fared (InfiniBand Vol. 1, 9.3.5).
//
//   offset  bytes
//        0      1  syndrome: kind (bits 6:5) and its value (4:0)
//        1      3  message sequence number
#pragma once

#include <cstddef>
#include <span>

#include "softhca/wire/big_endian.h"

namespace softhca::wire {

enum class AckKind : uint8_t { ack = 0, rnr_nak = 1, reserved = 2, nak = 3 };

// The value of a NAK (9.7.5.2).
enum NakCode : uint8_t {
  nak_sequence = 0,
  nak_invalid_request = 1,
  nak_remote_access = 2,
  nak_remote_operation = 3,
};

struct Aeth {
  static constexpr size_t length = 4;
  // The value of an ACK is a count of credits; all ones: none are counted (9.7.7).
  static constexpr uint8_t no_credits = 31;

  uint8_t syndrome;
  uint32_t msn;

  static constexpr uint8_t make_syndrome(AckKind kind, uint8_t value) {
    return uint8_t(uint8_t(kind) << 5 | (value & 31));
  }
  AckKind kind() const { return AckKind(syndrome >> 5 & 3); }
  uint8_t value() const { return syndrome & 31; }

  static bool check_length(std::span<const uint8_t> bytes) { return bytes.size() >= length; }
  static Aeth parse(const uint8_t* from) { return {from[0], load_be24(from + 1)}; }
  void emit(uint8_t* to) const {
    to[0] = syndrome;
    store_be24(to + 1, msn);
  }
};

}  // namespace softhca::wire
