// What a process shows its peers: the shared half of its queues, and its table of keys.
//
// Each process that opens the device owns two memfds. The *segment* is mapped writable by peers,
// who act there as the responder's hardware would: they take receive work requests, add completions
// and raise events, under locks that name their holder
// (shared_lock.h) and have a door of their own for the thread that comes all the time (favour.h).
// The *key table* is sealed against peers' writes, so no peer can make the owner touch memory that
// it didn't register. Nothing read from a segment is trusted: offsets and counts are checked
// against the mapping.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>

#include "softhca/limits.h"
#include "softhca/shared_lock.h"

namespace softhca {

constexpr uint32_t layout_version = 5;
constexpr uint64_t segment_magic = 0x5641445543544841ull;

// A completion as it lies in a ring; the order of fields saves space.
struct Cqe {
  uint64_t wr_id;
  uint64_t timestamp_ns;
  uint32_t status;
  uint32_t opcode;
  uint32_t vendor_err;
  uint32_t byte_len;
  uint32_t imm_data;
  uint32_t qp_num;
  uint32_t src_qp;
  uint32_t wc_flags;
  // Of a send, its place in the send queue; of a receive, the attempt that took it; from 1.
  uint32_t position;
  // The completion's number in its queue, counted from 1; stored last. The owner polls on it, so
  // that one cache line brings the news and the completion.
  uint32_t sequence;
  uint16_t slid;
  uint8_t sl;
  uint8_t solicited;
};
static_assert(sizeof(Cqe) == 64);

struct alignas(64) CqShared {
  SharedLock producers;
  std::atomic<uint32_t> live;  // 0 = free
  uint32_t ring_size;          // a power of two
  uint64_t ring_offset;
  uint64_t channel_id;  // 0: no channel
  uint32_t channel_fd;
  uint32_t timestamps;
  alignas(64) std::atomic<uint32_t> head;  // next to be written, by producers
  uint32_t tail_seen;                      // by producers: saves them the owner's cache line
  std::atomic<uint32_t> armed;             // 0, or an Arm
  std::atomic<uint32_t> events;            // raised so far
  std::atomic<uint32_t> told;              // head when the last was raised
  std::atomic<uint32_t> deferred;          // raised, but left to the owner's agent to signal
  uint32_t context;
  std::atomic<uint32_t> overrun;
  alignas(64) std::atomic<uint32_t> tail;  // next to be read, by the owner
};

enum Arm : uint32_t { arm_none = 0, arm_solicited = 1, arm_any = 2 };

struct RecvWqe {
  uint64_t wr_id;
  uint32_t num_sge;
  uint32_t reserved;
  ibv_sge sge[];
};
constexpr uint32_t recv_stride(uint32_t sges) { return 16 + 16 * (sges ? sges : 1); }

// A receive work request that was taken and is not completed yet: from a shared queue with all it
// says, from the queue pair's own by its place.
enum Taken : uint32_t { taken_none = 0, taken_shared = 1, taken_own = 2 };
struct TakenWqe {
  uint64_t wr_id;
  uint32_t num_sge;
  uint32_t present;  // Taken
  ibv_sge sge[max_sge];
};

struct alignas(64) QpShared {
  SharedLock inbound;  // held for the whole of an incoming message; alone, as peers write it
  alignas(64) std::atomic<uint32_t> qp_num;  // 0 = free
  std::atomic<uint32_t> state;               // ibv_qp_state
  uint32_t type;
  uint32_t context;
  uint32_t pd;
  uint32_t recv_cq;
  uint32_t srq;  // index + 1
  uint32_t dest_qp_num;
  uint32_t qkey;
  uint32_t access;
  uint32_t min_rnr_timer;
  uint32_t max_dest_rd_atomic;
  uint64_t xrcd;
  uint64_t rq_offset;
  uint32_t rq_size;  // a power of two, 0: none
  uint32_t rq_max_sge;
  uint32_t established;  // the connected peer's number, once a message came from there
  alignas(64) std::atomic<uint32_t> rq_head;  // owner adds
  alignas(64) std::atomic<uint32_t> rq_tail;  // the holder of `inbound` takes
  uint32_t rq_head_seen;                      // by those: saves them the owner's cache line
  uint32_t attempts;                          // to take a receive, so far
  TakenWqe taken;
};

struct alignas(64) SrqShared {
  SharedLock consumers;
  std::atomic<uint32_t> number;  // 0 = free
  uint32_t context;
  uint32_t pd;
  uint32_t type;
  uint32_t cq;  // XRC: where completions go
  uint64_t xrcd;
  uint64_t ring_offset;
  uint32_t ring_size;
  uint32_t max_sge;
  std::atomic<uint32_t> limit;
  alignas(64) std::atomic<uint32_t> head;
  alignas(64) std::atomic<uint32_t> tail;
};

struct AsyncEntry {
  uint32_t type;    // ibv_event_type
  uint32_t number;  // QPN, SRQN or CQ index + 1
};
constexpr uint32_t async_ring = 256;

struct alignas(64) ContextShared {
  SharedLock producers;
  std::atomic<uint32_t> live;
  uint32_t fd;
  uint64_t fd_id;
  std::atomic<uint32_t> head;
  std::atomic<uint32_t> tail;
  std::atomic<uint32_t> deferred;
  AsyncEntry ring[async_ring];
};

struct McastEntry {
  std::atomic<uint32_t> qp_num;  // 0 = free
  uint32_t lid;
  uint8_t gid[16];
};

struct alignas(64) SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t slot;
  SharedLock atomics;  // serialises atomic operations on this process's memory
  std::atomic<uint32_t> mcast_count;
};

// A remote or local key. Written by the owner alone; the key itself last, cleared first.
enum KeyKind : uint32_t { key_region = 1, key_window_1 = 2, key_window_2 = 3 };
struct alignas(64) KeyEntry {
  std::atomic<uint32_t> key;  // 0 = free
  uint32_t kind;
  uint32_t pd;
  uint32_t access;
  uint64_t iova;
  uint64_t length;
  uint64_t base;        // the address in the owner that iova means
  uint64_t map_offset;  // direct path: where base lies in the file
  uint32_t map_fd;      // direct path: the owner's descriptor of the file
  uint32_t map_id;      // direct path: which file, 0 = none
  uint32_t qp_num;      // type 2 windows: the queue pair it is bound to
  uint32_t unmapped;    // map_id 0: why, a viaduct_path_reason
};
static_assert(sizeof(KeyEntry) == 64);

struct KeyTable {
  KeyEntry entry[key_slots];
};
constexpr uint32_t key_slot(uint32_t key) { return key >> 8 & (key_slots - 1); }

// What a process says of its packets; for whoever asks, nothing depends on it but the path that a
// new connection takes.
constexpr uint32_t max_wire_counters = 64;
struct alignas(64) WireShared {
  std::atomic<uint32_t> packets_only;  // it wants packets within this host, too
  std::atomic<uint64_t> counters[max_wire_counters];
};

struct Segment {
  SegmentHeader header;
  WireShared wire;
  McastEntry mcast[max_mcast];
  ContextShared context[max_context];
  CqShared cq[max_cq];
  SrqShared srq[max_srq];
  QpShared qp[max_qp];
  // A peer can't write a key; it notes here that a SEND with invalidate ended it.
  std::atomic<uint32_t> invalidated[key_slots];
};

constexpr uint64_t heap_begin = (sizeof(Segment) + 0xfffff) & ~0xfffffull;
constexpr uint64_t segment_bytes = heap_begin + (1ull << 32);

}  // namespace softhca
