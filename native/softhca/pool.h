// Objects whose memory is never given back, so that a program that uses a destroyed object gets an
// error, not a crash.
#pragma once

#include <atomic>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <new>

namespace softhca {

// T has `std::atomic<bool> live`. A freed object is destructed only when its memory is used again,
// and the memory freed longest ago is used first.
template <typename T>
class Pool {
 public:
  T* take() {
    std::lock_guard guard(mutex_);
    void* memory;
    if (free_.size() > reserve) {
      T* old = free_.front();
      free_.pop_front();
      old->~T();
      memory = old;
    } else {
      memory = aligned_alloc(alignof(T), (sizeof(T) + alignof(T) - 1) / alignof(T) * alignof(T));
      if (!memory) return nullptr;
    }
    T* fresh = new (memory) T();
    fresh->live.store(true, std::memory_order_release);
    return fresh;
  }

  void give(T* object) {
    std::lock_guard guard(mutex_);
    object->live.store(false, std::memory_order_release);
    free_.push_back(object);
  }

  static Pool& instance() {
    static Pool* pool = new Pool;  // outlives static destruction
    return *pool;
  }

 private:
  static constexpr size_t reserve = 64;
  std::mutex mutex_;
  std::deque<T*> free_;
};

}  // namespace softhca
