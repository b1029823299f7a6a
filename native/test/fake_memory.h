// Memory for the tests of the registration cache: addresses, and what was done about them.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>

#include "regcache/memory.h"

namespace viaduct::regcache {

inline constexpr size_t page = 4096;
inline constexpr uint32_t local = IBV_ACCESS_LOCAL_WRITE;
inline constexpr uint32_t remote = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
inline constexpr uint32_t exact_access =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

struct FakeMemory final : Memory {
  explicit FakeMemory(Range range) : range(range) {}
  Range bytes() const override { return range; }
  bool gone() const override { return is_gone; }
  void hold() override { held = true; }
  void let_go() override { held = false; }
  Range range;
  bool is_gone = false;
  bool held = false;
};

}  // namespace viaduct::regcache
