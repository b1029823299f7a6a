// A lock in shared memory whose holder is named, so that it can be taken from a process that died.
#pragma once

#include <atomic>
#include <cstdint>

namespace softhca {

// The low 16 bits name the holder (0: nobody), the bits above count the releases: who must wait for
// "everyone who was inside" watches for any change of the word.
struct SharedLock {
  std::atomic<uint64_t> word;
};

constexpr uint64_t lock_holder_mask = 0xffff;
constexpr uint16_t owner_holder = 1;  // the process that owns the segment

constexpr uint64_t released(uint64_t word) { return ((word | lock_holder_mask) + 1); }

// Takes the lock as `holder`. False when `gone` becomes true or (if waitMs is not 0) time runs out:
// a holder may be stopped, and a peer must not hang with it.
bool lock(SharedLock& lock, uint16_t holder, const std::atomic<bool>& gone, uint32_t wait_ms);
bool try_lock(SharedLock& lock, uint16_t holder);
void unlock(SharedLock& lock);

// Frees a lock that a dead holder left behind. True if it was held by that holder.
bool reclaim(SharedLock& lock, uint16_t dead_holder);

}  // namespace softhca
