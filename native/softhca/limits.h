// Sizes that every process of the device agrees on: they are part of the layout of shared memory.
#pragma once

#include <cstdint>

namespace softhca {

// A queue pair number names the process (slot) and the queue pair in it (index), so that a number
// from anywhere leads to its owner without a directory (24 bits: InfiniBand Vol. 1, 3.5.1).
constexpr uint32_t index_bits = 14;
constexpr uint32_t slot_bits = 10;
constexpr uint32_t index_mask = (1u << index_bits) - 1;
constexpr uint32_t first_slot = 1;                     // keeps QPN 0 and 1 (SMI, GSI) free
constexpr uint32_t last_slot = (1u << slot_bits) - 2;  // keeps 0xffffff (multicast) free

constexpr uint32_t max_qp = 1u << index_bits;
constexpr uint32_t max_cq = 1u << 14;
constexpr uint32_t max_srq = 1u << 12;
constexpr uint32_t max_context = 256;
constexpr uint32_t key_slots = 1u << 17;
constexpr uint32_t max_mr =
    key_slots / 2;  // a half-empty table finds a free random key in two tries
constexpr uint32_t max_mcast = 1024;

constexpr uint32_t max_wr = 1u << 14;
constexpr uint32_t max_ring = 2 * max_wr;  // entries of a receive ring: a power of two above max_wr
constexpr uint32_t max_sge = 32;
constexpr uint32_t max_inline = 1024;
constexpr uint32_t max_cqe = (1u << 18) - 1;
constexpr uint32_t max_rd_atomic = 128;
constexpr uint64_t max_dm = 16ull << 20;      // device memory of one process
constexpr uint64_t max_message = 1ull << 31;  // InfiniBand Vol. 1, 9.4: 2^31 bytes
constexpr uint32_t mtu_bytes = 4096;
constexpr uint32_t grh_bytes = 40;

constexpr uint16_t port_lid = 1;
constexpr uint32_t own_gid_count = 2;      // what is after them are addresses
constexpr uint32_t gid_table_length = 64;  // or empty

constexpr uint32_t make_number(uint32_t slot, uint32_t index) { return slot << index_bits | index; }
constexpr uint32_t slot_of(uint32_t number) { return number >> index_bits; }
constexpr uint32_t index_of(uint32_t number) { return number & index_mask; }

}  // namespace softhca
