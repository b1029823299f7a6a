// CRC-32 (IEEE 802.3, reflected), the polynomial of the ICRC (InfiniBand Vol. 1, 7.8.1).
//
// The functions work on the shift register: it starts as all ones, and the checksum is its
// complement. Being linear, what a changed byte does to the register can be moved forward and back
// through the bytes that follow it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace softhca::wire {

constexpr uint32_t crc32_start = 0xffffffff;

// The register after `bytes` more bytes: by the fastest way that this processor has.
uint32_t crc32_update(uint32_t state, const uint8_t* data, size_t bytes);

// The register that starts as zero, after a head, of a multiple of 16 bytes that isn't 0, and what
// follows it: faster than two updates.
uint32_t crc32_of_two(const uint8_t* head, size_t head_bytes, const uint8_t* data, size_t bytes);

// By a table, everywhere: what the fast ways are checked against.
uint32_t crc32_update_by_table(uint32_t state, const uint8_t* data, size_t bytes);

struct Crc32Method {
  const char* name;
  uint32_t (*update)(uint32_t state, const uint8_t* data, size_t bytes);
  uint32_t (*of_two)(const uint8_t* head, size_t head_bytes, const uint8_t* data, size_t bytes);
};
// Those that this processor has, the fastest first.
const std::vector<Crc32Method>& crc32_methods();

// What a difference of the register becomes after `bytes` more bytes, and what it was before.
uint32_t crc32_forward(uint32_t difference, size_t bytes);
uint32_t crc32_back(uint32_t difference, size_t bytes);

}  // namespace softhca::wire
