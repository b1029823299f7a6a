#include "aperture/heartbeat.h"

#include <climits>
#include <utility>

#include "aperture/futex.h"

namespace viaduct::aperture {

Heartbeat::Heartbeat(std::shared_ptr<Mapping> mapping, std::atomic<int32_t>* word,
                     std::chrono::nanoseconds interval)
    : mapping_(std::move(mapping)), word_(word), interval_(interval) {
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
  stopping_.store(1);
  futex_wake(&stopping_, INT_MAX);
  thread_.join();
}

void Heartbeat::run() {
  while (stopping_.load() == 0) {
    word_->fetch_add(1, std::memory_order_relaxed);
    futex_wait(&stopping_, 0, interval_.count());
  }
}

}  // namespace viaduct::aperture
