#include "aperture/doorbell.h"

#include <cerrno>
#include <climits>
#include <utility>

#include "aperture/futex.h"

namespace viaduct::aperture {

namespace {

// A bound on each sleep: a stop that comes between the check of stopping_ and the sleep is seen
// after it.
constexpr int64_t longest_sleep_ns = 100'000'000;

}  // namespace

DoorbellWatch::DoorbellWatch(std::shared_ptr<Mapping> mapping, std::atomic<int32_t>* doorbell,
                             std::function<void()> on_ring)
    : mapping_(std::move(mapping)), doorbell_(doorbell), on_ring_(std::move(on_ring)) {
  thread_ = std::thread([this] { run(); });
}

DoorbellWatch::~DoorbellWatch() {
  stopping_.store(true);
  command_.fetch_add(1);
  futex_wake(&command_, INT_MAX);
  // Wakes the sleeper without ringing: other sleepers on this word look again and go back to sleep.
  futex_wake(doorbell_, INT_MAX);
  thread_.join();
}

void DoorbellWatch::arm(int32_t seen) {
  seen_.store(seen);
  command_.fetch_add(1);
  futex_wake(&command_, 1);
}

void DoorbellWatch::run() {
  int32_t done = 0;
  while (!stopping_.load()) {
    const int32_t command = command_.load();
    if (command == done) {
      futex_wait(&command_, command, -1);
      continue;
    }
    const int32_t seen = seen_.load();
    while (!stopping_.load() && command_.load() == command && doorbell_->load() == seen) {
      futex_wait(doorbell_, seen, longest_sleep_ns);
    }
    if (stopping_.load()) return;
    if (command_.load() != command) continue;
    done = command;
    on_ring_();
  }
}

}  // namespace viaduct::aperture
