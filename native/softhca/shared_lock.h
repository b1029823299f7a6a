// A lock in shared memory whose holder is named, so that it can be taken from a process that died.
// It has two doors, see favour.h.
#pragma once

#include <atomic>
#include <cstdint>

#include "softhca/favour.h"

namespace softhca {

// In the word of each door the low 32 bits name the holder, a process and its thread (0: nobody),
// the bits above count the releases: who must wait for "everyone who was inside" watches for any
// change.
struct SharedLock {
  std::atomic<uint64_t> front;
  std::atomic<uint64_t> side;
  Favour favour;
};

constexpr uint64_t lock_holder_mask = 0xffffffff;
constexpr uint16_t owner_holder = 1;  // the process that owns the segment

constexpr uint64_t released(uint64_t word) { return (word | lock_holder_mask) + 1; }
constexpr uint16_t holder_of(uint64_t word) { return uint16_t(word >> 16); }

// The front door. The caller has to see to the side door.
bool try_front(SharedLock& lock, uint32_t me);
// False when `gone` becomes true or time runs out: a holder may be stopped, and a peer must not
// hang with it.
bool wait_front(SharedLock& lock, uint32_t me, const std::atomic<bool>& gone, uint32_t wait_ms);

inline void leave(std::atomic<uint64_t>& door) {
  door.store(released(door.load(std::memory_order_relaxed)), std::memory_order_release);
}

inline bool try_side(SharedLock& lock, uint32_t me) {
  const uint64_t word = lock.side.load(std::memory_order_relaxed);
  return enter_favoured(lock.favour, me, lock.side, (word & ~lock_holder_mask) | me,
                        released(word));
}

inline void unlock(SharedLock& lock, uint16_t holder) {
  const uint64_t front = lock.front.load(std::memory_order_relaxed);
  leave(uint32_t(front) == visitor(holder) ? lock.front : lock.side);
}

// Whether a process holds the lock, or waits at the front door for the side door's holder.
bool held_by(const SharedLock& lock, uint16_t holder);
// Frees what a dead holder left behind.
void reclaim(SharedLock& lock, uint16_t dead_holder);

}  // namespace softhca
