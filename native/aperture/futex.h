// Sleep on a word of an aperture and wake its sleepers, among processes of one kernel.
#pragma once

#include <atomic>
#include <cstdint>

namespace viaduct::aperture {

// Sleeps while *word == expected, at most timeout_ns (negative: for ever). Returns 0 when woken,
// else the errno of futex(2): EAGAIN when the word had changed already, ETIMEDOUT, EINTR, or EFAULT
// for memory that this kernel cannot sleep on (a device mapping).
int futex_wait(const std::atomic<int32_t>* word, int32_t expected, int64_t timeout_ns);

// Wakes at most count sleepers; returns how many, or a negative errno.
int futex_wake(const std::atomic<int32_t>* word, int count);

}  // namespace viaduct::aperture
