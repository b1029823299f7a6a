#include "verbs/rings.h"

#include <utility>

namespace viaduct::verbs {

namespace {

constexpr uint32_t round_up(uint32_t value, uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Both halves of the library compute this: lib/verbs/rings/layout.ts.
uint32_t stride_of(RingKind kind, uint32_t max_sge, uint32_t inline_bytes) {
  switch (kind) {
    case RingKind::send:
      return round_up(sizeof(SendDescriptor) + max_sge * sizeof(ibv_sge) + inline_bytes, 64);
    case RingKind::receive:
      return sizeof(ReceiveDescriptor) + max_sge * sizeof(ibv_sge);
    case RingKind::completion:
      return sizeof(ibv_wc);
    case RingKind::extended_completion:
      return sizeof(ExtendedCompletion);
  }
  return 0;
}

}  // namespace

std::unique_ptr<Ring> Ring::create(RingKind ring_kind, std::shared_ptr<void> memory,
                                   std::byte* data, size_t size_bytes, uint32_t capacity,
                                   uint32_t max_sge, uint32_t inline_bytes) {
  constexpr uint32_t sane = 1u << 16;
  if (ring_kind > RingKind::extended_completion || max_sge > sane || inline_bytes > sane) {
    return nullptr;
  }
  const uint32_t stride = stride_of(ring_kind, max_sge, inline_bytes);
  if (capacity == 0 || size_bytes / stride < capacity) return nullptr;
  return std::unique_ptr<Ring>(
      new Ring(ring_kind, std::move(memory), data, stride, capacity, max_sge, inline_bytes));
}

}  // namespace viaduct::verbs
