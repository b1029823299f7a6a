// A thread that sleeps on a doorbell word in place of a program's event loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "aperture/mapping.h"

namespace viaduct::aperture {

// The loop arms the watch with the doorbell's value it has seen; when the doorbell has moved on
// from that value, the thread calls on_ring once and waits to be armed again. on_ring runs on the
// thread.
class DoorbellWatch {
 public:
  DoorbellWatch(std::shared_ptr<Mapping> mapping, std::atomic<int32_t>* doorbell,
                std::function<void()> on_ring);
  // Ends the thread; on_ring is not called after it.
  ~DoorbellWatch();
  DoorbellWatch(const DoorbellWatch&) = delete;
  DoorbellWatch& operator=(const DoorbellWatch&) = delete;

  // longest_sleep_ns bounds each sleep: for ringers in another kernel, who cannot wake this one.
  void arm(int32_t seen, int64_t longest_sleep_ns);

 private:
  void run();

  std::shared_ptr<Mapping> mapping_;
  std::atomic<int32_t>* doorbell_;
  std::function<void()> on_ring_;
  std::atomic<int32_t> command_{0};  // counts arm() calls: the thread's own futex
  std::atomic<int32_t> seen_{0};
  std::atomic<int64_t> longest_sleep_ns_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace viaduct::aperture
