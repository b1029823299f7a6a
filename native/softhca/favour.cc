// Favour: a way into a lock, of its own, for the thread that takes it again and again.
#include "softhca/favour.h"

namespace softhca {

constinit thread_local uint32_t thread_number = 0;

void number_thread() {
  static std::atomic<uint32_t> next{1};
  if (thread_number != 0 || next.load(std::memory_order_relaxed) >= 0xffff) return;
  const uint32_t number = next.fetch_add(1);
  if (number < 0xffff) thread_number = number;
}

}  // namespace softhca
