// Waiting for a short time within this process: a spin lock, a back-off, and the clock.
#pragma once

#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>

#include "softhca/favour.h"

namespace softhca {

inline uint64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return uint64_t(ts.tv_sec) * 1000000000ull + uint64_t(ts.tv_nsec);
}

inline void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" : : : "memory");
#endif
}

// Fetches the cache line of memory that will be written, while nobody waits for it.
inline void prefetch_to_write(const void* memory) {
#if defined(__x86_64__)
  // Not of the baseline instruction set, for which the compiler would prefetch to read; processors
  // that don't know it do nothing.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(memory)));
#else
  __builtin_prefetch(memory, 1);
#endif
}

// Spins, then yields, then naps: the holder may need this very core.
class Backoff {
 public:
  void pause() {
    ++turns_;
    if (turns_ < 64) {
      pause_processor();
    } else if (turns_ < 2048) {
      sched_yield();
    } else {
      timespec nap{0, 50000};
      nanosleep(&nap, nullptr);
    }
  }
  bool long_wait() const { return turns_ >= 128; }

 private:
  uint32_t turns_ = 0;
};

// Of this process alone; with two doors, see favour.h. Any thread may unlock it.
class SpinLock {
 public:
  void lock() {
    if (!try_side()) lock_by_front();
  }
  // False also while the favoured thread is inside.
  bool try_lock() { return try_side() || try_front(); }
  void unlock() {
    auto& door = by_front_ ? front_ : side_;
    by_front_ = false;
    door.store(door.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // For the favoured thread alone.
  bool try_side() {
    const uint32_t inside = side_.load(std::memory_order_relaxed) | 1;
    return enter_favoured(favour_, visitor(1), side_, inside, inside + 1);
  }
  void leave_side() {
    side_.store(side_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // Returns when whoever was inside has left. The caller has called heavy_barrier().
  void await_exit() const;

 private:
  bool try_front();
  void lock_by_front();

  std::atomic<uint32_t> front_{0}, side_{0};  // odd: somebody is inside
  bool by_front_{false};                      // is who is inside
  Favour favour_{};
};

}  // namespace softhca
