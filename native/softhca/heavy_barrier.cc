// Two barriers that together are one: see the header.
#include "softhca/heavy_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

namespace softhca {

std::atomic<bool> heavy_barrier_registered{false};

bool register_heavy_barrier() {
  const bool works = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0 &&
                     syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
  heavy_barrier_registered.store(works);
  return works;
}

void heavy_barrier() {
  if (!heavy_barrier_works()) {
    static std::atomic<int> any{0};
    any.exchange(1, std::memory_order_seq_cst);
    return;
  }
  // It worked when this process registered: without it, memory would no longer be safe.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0) abort();
}

}  // namespace softhca
