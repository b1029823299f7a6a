// Waiting for a short time within this process: the longer ways into a spin lock.
#include "softhca/spin.h"

namespace softhca {
namespace {

bool take(std::atomic<uint32_t>& door) {
  uint32_t word = door.load(std::memory_order_relaxed);
  return word % 2 == 0 && door.compare_exchange_strong(word, word + 1, std::memory_order_seq_cst);
}

void await_change(const std::atomic<uint32_t>& door) {
  const uint32_t seen = door.load(std::memory_order_acquire);
  Backoff backoff;
  while (seen % 2 == 1 && door.load(std::memory_order_acquire) == seen) backoff.pause();
}

}  // namespace

bool SpinLock::try_front() {
  number_thread();
  if (!take(front_)) return false;
  const uint32_t me = visitor(1), favoured = favour_.who.load(std::memory_order_relaxed);
  if (favoured != favour_nobody && favoured != me) {
    favour_.shut();
    if (side_.load(std::memory_order_acquire) % 2 == 1) {
      front_.fetch_add(1, std::memory_order_release);
      return false;
    }
    favour_.who.store(favour_nobody, std::memory_order_relaxed);
  }
  favour_.count(me);
  by_front_ = true;
  return true;
}

void SpinLock::lock_by_front() {
  for (Backoff backoff; !try_front(); backoff.pause()) await_change(side_);
}

void SpinLock::await_exit() const {
  await_change(front_);
  await_change(side_);
}

}  // namespace softhca
