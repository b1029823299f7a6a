// A lock in shared memory whose holder is named, so that it can be taken from a process that died.
#include "softhca/shared_lock.h"

#include <sched.h>
#include <time.h>

#include <cassert>

#include "softhca/spin.h"

namespace softhca {

bool try_lock(SharedLock& lock, uint16_t holder) {
  assert(holder != 0);
  uint64_t word = lock.word.load(std::memory_order_relaxed);
  return (word & lock_holder_mask) == 0 &&
         lock.word.compare_exchange_strong(word, word | holder, std::memory_order_seq_cst);
}

bool lock(SharedLock& lock, uint16_t holder, const std::atomic<bool>& gone, uint32_t wait_ms) {
  if (try_lock(lock, holder)) return true;
  Backoff backoff;
  uint64_t deadline_ns = 0;
  while (!try_lock(lock, holder)) {
    backoff.pause();
    if (!backoff.long_wait()) continue;
    if (gone.load(std::memory_order_acquire)) return false;
    if (wait_ms == 0) continue;
    uint64_t now = now_ns();
    if (deadline_ns == 0) deadline_ns = now + wait_ms * 1000000ull;
    if (now > deadline_ns) return false;
  }
  return true;
}

void unlock(SharedLock& lock) {
  uint64_t word = lock.word.load(std::memory_order_relaxed);
  lock.word.store(released(word), std::memory_order_release);
}

bool reclaim(SharedLock& lock, uint16_t dead_holder) {
  uint64_t word = lock.word.load(std::memory_order_acquire);
  if ((word & lock_holder_mask) != dead_holder) return false;
  return lock.word.compare_exchange_strong(word, released(word), std::memory_order_seq_cst);
}

}  // namespace softhca
