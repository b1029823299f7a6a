// A lock in shared memory whose holder is named, so that it can be taken from a process that died.
#include "softhca/shared_lock.h"

#include <cassert>

#include "softhca/spin.h"

namespace softhca {

bool try_front(SharedLock& lock, uint32_t me) {
  assert(me >> 16 != 0);
  uint64_t word = lock.front.load(std::memory_order_relaxed);
  return (word & lock_holder_mask) == 0 &&
         lock.front.compare_exchange_strong(word, word | me, std::memory_order_seq_cst);
}

bool wait_front(SharedLock& lock, uint32_t me, const std::atomic<bool>& gone, uint32_t wait_ms) {
  Backoff backoff;
  uint64_t deadline_ns = 0;
  while (!try_front(lock, me)) {
    backoff.pause();
    if (!backoff.long_wait()) continue;
    if (gone.load(std::memory_order_acquire)) return false;
    const uint64_t now = now_ns();
    if (deadline_ns == 0) deadline_ns = now + wait_ms * 1000000ull;
    if (now > deadline_ns) return false;
  }
  return true;
}

bool held_by(const SharedLock& lock, uint16_t holder) {
  return holder_of(lock.front.load(std::memory_order_acquire)) == holder ||
         holder_of(lock.side.load(std::memory_order_acquire)) == holder;
}

void reclaim(SharedLock& lock, uint16_t dead_holder) {
  uint32_t favoured = lock.favour.who.load(std::memory_order_relaxed);
  if (favoured != favour_closing && favoured >> 16 == dead_holder)
    lock.favour.who.compare_exchange_strong(favoured, favour_nobody);
  for (auto* door : {&lock.side, &lock.front}) {
    uint64_t word = door->load(std::memory_order_acquire);
    if (holder_of(word) == dead_holder)
      door->compare_exchange_strong(word, released(word), std::memory_order_seq_cst);
  }
}

}  // namespace softhca
