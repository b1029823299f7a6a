// Two barriers that together are one: a light one for those who pass often, which costs nothing,
// and a heavy one for those who seldom have to know that everybody has passed.
//
// Where one side stores x and loads y, and the other stores y and loads x, each needs a full
// barrier between the two, or both may miss the other's store. Here the kernel carries out the hot
// side's barrier on demand: heavy_barrier() is membarrier(2), which returns when every running
// thread of every process that has registered was made to pass a full barrier.
#pragma once

#include <atomic>

namespace softhca {

// Registers this process. False if the kernel doesn't offer it, and then the hot side has to use
// full barriers, too. Processes for which that is different don't meet: see rendezvous.cc.
bool register_heavy_barrier();

extern std::atomic<bool> heavy_barrier_registered;
inline bool heavy_barrier_works() {
  return heavy_barrier_registered.load(std::memory_order_relaxed);
}

void heavy_barrier();

// Keeps the compiler from moving accesses over it.
inline void light_barrier() { std::atomic_signal_fence(std::memory_order_seq_cst); }

// Stores a value so that what is loaded afterwards is loaded later; the other side stores, calls
// heavy_barrier() and loads.
template <typename T>
void store_before_loads(std::atomic<T>& shared, T value) {
  if (heavy_barrier_works()) {
    shared.store(value, std::memory_order_release);
    light_barrier();
  } else {
    shared.exchange(value, std::memory_order_seq_cst);
  }
}

}  // namespace softhca
