#include "aperture/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <ctime>

namespace viaduct::aperture {

// Not FUTEX_PRIVATE: the sleepers are in other processes, so the kernel must key on the file's
// page.

int futex_wait(const std::atomic<int32_t>* word, int32_t expected, int64_t timeout_ns) {
  timespec timeout{};
  timeout.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000);
  timeout.tv_nsec = static_cast<decltype(timeout.tv_nsec)>(timeout_ns % 1'000'000'000);
  const long result = ::syscall(SYS_futex, word, FUTEX_WAIT, expected,
                                timeout_ns < 0 ? nullptr : &timeout, nullptr, 0);
  return result == 0 ? 0 : errno;
}

int futex_wake(const std::atomic<int32_t>* word, int count) {
  const long result = ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return result >= 0 ? static_cast<int>(result) : -errno;
}

}  // namespace viaduct::aperture
