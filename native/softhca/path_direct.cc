// The direct path: both sides' memory is mapped here, so the transfer is loads and stores.
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>

#include "softhca/path.h"

namespace softhca {
namespace {

#ifdef __x86_64__

__attribute__((target("avx2"))) void copy_vectors(uint8_t* to, const uint8_t* from, size_t bytes) {
  size_t i = 0;
  for (; i + 128 <= bytes; i += 128) {
    __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 32));
    __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 64));
    __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 96));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + 32), b);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + 64), c);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + 96), d);
  }
  memcpy(to + i, from + i, bytes - i);
}

// Some processors copy by `rep movsb`, which memcpy uses for these sizes, many times slower when
// the destination lies 0 to 63 bytes after the source modulo a page.
void copy_apart(uint8_t* to, const uint8_t* from, size_t bytes) {
  static const bool vectors = __builtin_cpu_supports("avx2");
  const bool slow = bytes >= 2048 && bytes <= (1u << 20) && ((to - from) & 4095) < 64;
  if (slow && vectors) {
    copy_vectors(to, from, bytes);
  } else {
    memcpy(to, from, bytes);
  }
}

#else

void copy_apart(uint8_t* to, const uint8_t* from, size_t bytes) { memcpy(to, from, bytes); }

#endif

void copy(uint8_t* to, const uint8_t* from, size_t bytes) {
  if (to + bytes <= from || from + bytes <= to) {
    copy_apart(to, from, bytes);
  } else {
    memmove(to, from, bytes);
  }
}

void order_stores() {
#ifdef __x86_64__
  std::atomic_signal_fence(std::memory_order_seq_cst);
#else
  asm volatile("dmb ishst" : : : "memory");
#endif
}

// As copy, but the last bytes become visible last.
void copy_tail_last(uint8_t* to, const uint8_t* from, size_t bytes) {
  if (bytes < 8) {
    copy(to, from, bytes);
    return;
  }
  uint64_t tail;
  memcpy(&tail, from + bytes - 8, 8);
  copy(to, from, bytes - 8);
  // Fast string stores are not ordered among themselves, but are before a later store.
  order_stores();
  __builtin_memcpy(to + bytes - 8, &tail, 8);
}

}  // namespace

void move_direct(Direction direction, LocalList local, SpanList remote, uint64_t bytes) {
  uint32_t l = 0, r = 0;
  uint64_t local_at = 0, remote_at = 0;
  while (bytes > 0) {
    assert(l < local.count && r < remote.count);
    uint64_t piece = std::min(
        {bytes, uint64_t(local.pieces[l].iov_len) - local_at, remote.spans[r].bytes - remote_at});
    auto* mine = static_cast<uint8_t*>(local.pieces[l].iov_base) + local_at;
    uint8_t* theirs = remote.spans[r].mapped + remote_at;
    bytes -= piece;
    if (direction == Direction::from_site) {
      copy(mine, theirs, piece);
    } else if (bytes == 0) {
      copy_tail_last(theirs, mine, piece);
    } else {
      copy(theirs, mine, piece);
    }
    local_at += piece;
    remote_at += piece;
    if (local_at == local.pieces[l].iov_len) {
      ++l;
      local_at = 0;
    }
    if (remote_at == remote.spans[r].bytes) {
      ++r;
      remote_at = 0;
    }
  }
}

}  // namespace softhca
