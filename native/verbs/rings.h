// Rings of work requests and completions: one piece of memory each, which JavaScript writes and
// reads in place and one native call posts or polls. lib/verbs/rings has the other half of these
// layouts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "verbs/objects.h"

namespace viaduct::verbs {

// A send work request. After it in its slot: max_sge of ibv_sge, then room for inline data. It
// names objects by handle, so that nothing JavaScript writes here is ever taken for a pointer.
struct SendDescriptor {
  uint64_t wr_id;
  uint32_t opcode;      // ibv_wr_opcode
  uint32_t send_flags;  // ibv_send_flags
  // With IBV_SEND_INLINE the bytes of inline data, which lie in this slot; else the number of
  // ibv_sge.
  uint32_t length;
  uint32_t immediate;    // in host order; with invalidate the key
  uint64_t remote_addr;  // bind: the address the window begins at
  uint32_t rkey;         // bind: the window's new key
  uint32_t object;       // UD: handle of the address handle; bind: of the window; XRC: SRQ number
  uint32_t remote_qpn;   // UD; bind: handle of the region
  uint32_t remote_qkey;  // UD; bind: access flags
  uint64_t compare_add;  // atomics; bind: bytes
  uint64_t swap;
};
static_assert(sizeof(SendDescriptor) == 64);

// A receive work request; after it in its slot max_sge of ibv_sge.
struct ReceiveDescriptor {
  uint64_t wr_id;
  uint32_t num_sge;
  uint32_t reserved;
};
static_assert(sizeof(ReceiveDescriptor) == 16);

// A completion of an extended queue; an ordinary one's is an ibv_wc.
struct ExtendedCompletion {
  ibv_wc wc;
  uint64_t completion_timestamp;  // in the device's clock
  uint64_t wallclock_ns;
};
static_assert(sizeof(ibv_wc) == 48);
static_assert(sizeof(ExtendedCompletion) == 64);

enum class RingKind : uint32_t { send, receive, completion, extended_completion };

struct Ring final : Object {
  static constexpr Kind its_kind = Kind::ring;
  // Null if the memory is too small for that many slots, or the numbers make no sense.
  static std::unique_ptr<Ring> create(RingKind ring_kind, std::shared_ptr<void> memory,
                                      std::byte* data, size_t size_bytes, uint32_t capacity,
                                      uint32_t max_sge, uint32_t inline_bytes);

  std::byte* slot(uint32_t index) const { return data + static_cast<size_t>(index) * stride; }
  bool holds(uint32_t first, uint32_t count) const {
    return count <= capacity && first <= capacity - count;
  }

  const RingKind ring_kind;
  const std::shared_ptr<void> memory;
  std::byte* const data;
  const uint32_t stride;
  const uint32_t capacity;
  const uint32_t max_sge;
  const uint32_t inline_bytes;

 private:
  Ring(RingKind ring_kind, std::shared_ptr<void> memory, std::byte* data, uint32_t stride,
       uint32_t capacity, uint32_t max_sge, uint32_t inline_bytes)
      : Object(its_kind, nullptr),
        ring_kind(ring_kind),
        memory(std::move(memory)),
        data(data),
        stride(stride),
        capacity(capacity),
        max_sge(max_sge),
        inline_bytes(inline_bytes) {}
};

// Failures that are not errno values of the provider.
constexpr int post_detached = -1;      // a scatter/gather entry's ArrayBuffer was detached
constexpr int post_stale_object = -2;  // an address handle, window or region was closed
constexpr int post_bad_slot = -3;      // a slot says more entries or inline bytes than it has

struct Posted {
  int error = 0;
  uint32_t count = 0;  // requests before the one that failed
};

Posted post_send(const Objects& objects, const QueuePair& qp, const Ring& ring, uint32_t first,
                 uint32_t count);
Posted post_receive(const QueuePair& qp, const Ring& ring, uint32_t first, uint32_t count);
Posted post_srq_receive(const SharedReceiveQueue& srq, const Ring& ring, uint32_t first,
                        uint32_t count);

// The number of completions put at the ring's start, or minus an errno value.
int poll(const CompletionQueue& cq, const Ring& ring, uint32_t max);

}  // namespace viaduct::verbs
