#include "aperture/doorbell.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <utility>

#include "aperture/futex.h"

namespace viaduct::aperture {

namespace {

constexpr int64_t first_sleep_ns = 100'000;

// Sleeps at most duration_ns. A guest's kernel cannot sleep on a device mapping (EFAULT): it sleeps
// blindly.
void sleep_on(const std::atomic<int32_t>* doorbell, int32_t seen, int64_t duration_ns) {
  if (futex_wait(doorbell, seen, duration_ns) != EFAULT) return;
  const timespec duration{static_cast<time_t>(duration_ns / 1'000'000'000),
                          static_cast<long>(duration_ns % 1'000'000'000)};
  ::nanosleep(&duration, nullptr);
}

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

void DoorbellWatch::arm(int32_t seen, int64_t longest_sleep_ns) {
  seen_.store(seen);
  longest_sleep_ns_.store(longest_sleep_ns);
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
    const int64_t longest_ns = longest_sleep_ns_.load();
    int64_t sleep_ns = std::min(first_sleep_ns, longest_ns);
    while (!stopping_.load() && command_.load() == command && doorbell_->load() == seen) {
      sleep_on(doorbell_, seen, sleep_ns);
      sleep_ns = std::min(sleep_ns * 2, longest_ns);
    }
    if (stopping_.load()) return;
    if (command_.load() != command) continue;
    done = command;
    on_ring_();
  }
}

}  // namespace viaduct::aperture
