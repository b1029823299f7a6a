// A thread that counts a word of an aperture up while its process can run.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

#include "aperture/mapping.h"

namespace viaduct::aperture {

// However busy the program's own threads are, this one beats; a process that is stopped, or whose
// machine is, does not.
class Heartbeat {
 public:
  Heartbeat(std::shared_ptr<Mapping> mapping, std::atomic<int32_t>* word,
            std::chrono::nanoseconds interval);
  // Ends the thread.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  void run();

  std::shared_ptr<Mapping> mapping_;
  std::atomic<int32_t>* word_;
  std::chrono::nanoseconds interval_;
  std::atomic<int32_t> stopping_{0};  // the thread's own futex
  std::thread thread_;
};

}  // namespace viaduct::aperture
