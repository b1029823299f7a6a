// Favour: a way into a lock, of its own, for the thread that takes it again and again.
//
// An atomic read-modify-write costs some 20 cycles, and waits until all stores before it have got
// their cache lines from other cores; a message would need half a dozen. A queue is mostly used by
// one thread, so each lock has two doors. At the front door whoever comes takes the lock's word by
// compare-and-swap. The side door is for the favoured thread alone: it notes that it is inside by a
// plain store, then looks whether it is still favoured. Whoever came through the front door and
// finds somebody favoured ends that, makes sure by heavy_barrier() that this or the note is seen,
// and waits until the note is gone. That is dear, so a thread earns favour by a streak at the front
// door, and a longer one each time it has been lost.
#pragma once

#include <atomic>
#include <cstdint>

#include "softhca/heavy_barrier.h"

namespace softhca {

// This thread's number in this process, from 1; 0 as long as it has none, and for good in the
// 65535th thread and those after it, which are never favoured.
extern constinit thread_local uint32_t thread_number __attribute__((tls_model("initial-exec")));
void number_thread();

// A thread as a lock knows it: the process in the upper half, its thread in the lower.
inline uint32_t visitor(uint16_t process) { return uint32_t(process) << 16 | thread_number; }

constexpr uint32_t favour_nobody = 0;
constexpr uint32_t favour_closing = 0xffffffff;  // the side door is shut, somebody may be inside

// Lies in shared memory, too. All but loads of `who` are for the holder of the front door.
struct Favour {
  std::atomic<uint32_t> who;
  std::atomic<uint32_t> last;
  std::atomic<uint16_t> streak;
  std::atomic<uint16_t> times;  // favoured so far

  // Somebody has come in by the front door, and nobody is favoured.
  void count(uint32_t me) {
    constexpr auto relaxed = std::memory_order_relaxed;
    if (last.load(relaxed) != me) {
      last.store(me, relaxed);
      streak.store(0, relaxed);
      return;
    }
    const uint32_t so_far = streak.load(relaxed) + 1u, before = times.load(relaxed);
    streak.store(uint16_t(so_far), relaxed);
    if (so_far < 8u << (before < 12 ? before : 12)) return;
    streak.store(0, relaxed);
    if ((me & 0xffff) == 0 || !heavy_barrier_works()) return;
    times.store(uint16_t(before < 12 ? before + 1 : before), relaxed);
    who.store(me, std::memory_order_release);
  }

  // Shuts the side door. Whoever is inside after that, the note tells.
  void shut() {
    who.store(favour_closing, std::memory_order_seq_cst);
    heavy_barrier();
  }
};

// The side door. `note` is what says that somebody is inside; false if the lock must be taken by
// the front door.
template <typename Word>
inline bool enter_favoured(const Favour& favour, uint32_t me, std::atomic<Word>& note, Word inside,
                           Word outside) {
  if (__builtin_expect(favour.who.load(std::memory_order_relaxed) != me, 0)) return false;
  note.store(inside, std::memory_order_relaxed);
  light_barrier();
  if (__builtin_expect(favour.who.load(std::memory_order_acquire) == me, 1)) return true;
  note.store(outside, std::memory_order_release);
  return false;
}

}  // namespace softhca
