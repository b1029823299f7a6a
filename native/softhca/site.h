// A process's half of the device as this process sees it: its own, or a peer's mapped here.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "softhca/shared_layout.h"

namespace softhca {

// Reads once what a peer may change at any time: what was checked is what is used.
template <typename T>
T fetch_once(const T& shared) {
  return __atomic_load_n(&shared, __ATOMIC_RELAXED);
}

struct Mapping {
  uint8_t* base = nullptr;  // nullptr: it can't be mapped, and won't be tried again
  uint64_t bytes = 0;
  int error = 0;  // why it can't be
};

class Site {
 public:
  Site() = default;
  Site(const Site&) = delete;
  ~Site();

  Segment* segment = nullptr;
  const KeyTable* keys = nullptr;
  uint32_t slot = 0;
  pid_t pid = 0;
  uint16_t holder = 0;  // how this process signs that site's locks
  bool self = false;
  // Of our own site: who may hold its locks, a bit for each.
  std::unique_ptr<std::atomic<uint64_t>[]> holders;
  int doorbell = -1;    // wakes the owner's agent
  int connection = -1;  // ends when the owner ends
  std::atomic<bool> gone{false};

  // The memory at an offset in the segment; nullptr if a lying peer points outside.
  template <typename T>
  T* at(uint64_t offset, uint64_t bytes) const {
    if (offset < heap_begin || offset % alignof(T) != 0 || bytes > segment_bytes ||
        offset > segment_bytes - bytes)
      return nullptr;
    return reinterpret_cast<T*>(reinterpret_cast<uint8_t*>(segment) + offset);
  }

  // Our own site: the descriptors that signal() may raise, for as long as they are open.
  void announce(int fd, uint64_t id);
  void withdraw(uint64_t id);
  bool holder_lives(uint16_t who) const {
    return who == owner_holder ||
           (holders[who / 64].load(std::memory_order_relaxed) >> who % 64 & 1) != 0;
  }

  // Adds one to the owner's eventfd `fd`. `id` says which descriptor is meant, because numbers are
  // used again. False if this process may not; the owner's agent must do it then.
  bool signal(uint32_t fd, uint64_t id);
  void ring_doorbell() const;

  // Where the owner's file `map_id` is mapped here, or nullptr.
  [[gnu::always_inline]] uint8_t* mapped(uint32_t map_fd, uint32_t map_id, uint64_t offset,
                                         uint64_t bytes) {
    if (last_map_id_.load(std::memory_order_acquire) == map_id) [[likely]] {
      uint8_t* base = last_map_base_.load(std::memory_order_acquire);
      const uint64_t size = last_map_bytes_.load(std::memory_order_acquire);
      if (last_map_id_.load(std::memory_order_relaxed) == map_id) [[likely]]
        return bytes <= size && offset <= size - bytes ? base + offset : nullptr;
    }
    return find_mapping(map_fd, map_id, offset, bytes);
  }
  // Why not: what `mapped` met when it first tried, 0 if the file doesn't hold the range.
  int mapping_error(uint32_t map_id);

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, int> signal_fds_;
  std::unordered_map<uint32_t, Mapping> mappings_;
  std::atomic<uint32_t> last_map_id_{0};
  std::atomic<uint8_t*> last_map_base_{nullptr};
  std::atomic<uint64_t> last_map_bytes_{0};
  std::atomic<uint64_t> last_signal_id_{0};
  std::atomic<int> last_signal_fd_{-1};
  int pidfd_ = -1;

  int fetch_descriptor(uint32_t fd);
  uint8_t* find_mapping(uint32_t map_fd, uint32_t map_id, uint64_t offset, uint64_t bytes);
};

// Takes a lock of the site as its holder. A peer's: false if that ends or doesn't let go in a
// second. Our own: always; from a holder that doesn't exist at once, from one that stopped after
// some seconds, because no peer may keep this process from going on.
bool enter_by_front(SharedLock& lock, const Site& site);
inline bool enter(SharedLock& lock, const Site& site) {
  return try_side(lock, visitor(site.holder)) || enter_by_front(lock, site);
}
inline void unlock(SharedLock& lock, const Site& site) { unlock(lock, site.holder); }
// Waits as enter() does until whoever is inside one of our locks has left. The caller has called
// heavy_barrier().
void await_exit(SharedLock& lock, const Site& self);
// Whether a process that has died was inside one of our locks; then no one is until reclaim().
bool seize(SharedLock& lock, uint16_t dead_holder, const Site& self);

void raise_eventfd(int fd, uint32_t times = 1);
bool is_eventfd(int fd);

}  // namespace softhca
