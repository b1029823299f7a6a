// Moves bytes between this process's memory and a site's: directly where it is mapped here, else by
// the kernel's cross-process copy.
#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "softhca/key_table.h"

namespace softhca {

enum class Direction { to_site, from_site };

enum class Moved {
  all,
  gone,         // the process isn't there any more
  site_fault,   // its memory couldn't be accessed although it is registered
  local_fault,  // nor could this process's own
};

struct LocalList {
  const iovec* pieces;
  uint32_t count;
};
struct SpanList {
  const Span* spans;
  uint32_t count;
};

// Moves `bytes` in all; both lists hold at least as many. The last eight bytes of a write are
// stored last and at once, because programs poll on them. `by_kernel` becomes true on that path.
Moved move_bytes(Site& site, Direction direction, LocalList local, SpanList remote, uint64_t bytes,
                 bool* by_kernel);

inline bool overlap(const uint8_t* one, const uint8_t* other, uint64_t bytes) {
  return uintptr_t(one) - uintptr_t(other) + bytes - 1 < 2 * bytes - 1;
}

// The two ways, for tests and for move_bytes.
void move_direct(Direction direction, LocalList local, SpanList remote, uint64_t bytes);
Moved move_by_kernel(pid_t pid, Direction direction, LocalList local, SpanList remote,
                     uint64_t bytes);

}  // namespace softhca
