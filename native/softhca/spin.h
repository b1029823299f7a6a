// Waiting for a short time within this process: a spin lock, a back-off, and the clock.
#pragma once

#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>

namespace softhca {

inline uint64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return uint64_t(ts.tv_sec) * 1000000000ull + uint64_t(ts.tv_nsec);
}

// Spins, then yields, then naps: the holder may need this very core.
class Backoff {
 public:
  void pause() {
    ++turns_;
    if (turns_ < 64) {
      __builtin_ia32_pause();
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

class SpinLock {
 public:
  void lock() {
    if (!busy_.exchange(true, std::memory_order_acquire)) return;
    Backoff backoff;
    while (busy_.load(std::memory_order_relaxed) || busy_.exchange(true, std::memory_order_acquire))
      backoff.pause();
  }
  bool try_lock() { return !busy_.exchange(true, std::memory_order_acquire); }
  void unlock() { busy_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> busy_{false};
};

}  // namespace softhca
