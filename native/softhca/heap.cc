// Allocates ranges of offsets; its books are private, so that no peer can harm them.
#include "softhca/heap.h"

#include <cassert>
#include <iterator>

namespace softhca {

uint64_t Heap::allocate(uint64_t bytes) {
  if (bytes == 0 || bytes > UINT64_MAX / 2) return 0;
  uint64_t align = bytes >= 4096 ? 4096 : 64;
  bytes = (bytes + align - 1) / align * align;
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    uint64_t begin = (it->first + align - 1) / align * align;
    uint64_t end = it->first + it->second;
    if (begin >= end || end - begin < bytes) continue;
    uint64_t before = begin - it->first;
    uint64_t after = end - (begin + bytes);
    if (before != 0) {
      it->second = before;
    } else {
      free_.erase(it);
    }
    if (after != 0) free_[begin + bytes] = after;
    used_[begin] = bytes;
    return begin;
  }
  return 0;
}

void Heap::release(uint64_t offset) {
  auto used = used_.find(offset);
  assert(used != used_.end());
  uint64_t bytes = used->second;
  used_.erase(used);
  auto it = free_.emplace(offset, bytes).first;
  auto next = std::next(it);
  if (next != free_.end() && it->first + it->second == next->first) {
    it->second += next->second;
    free_.erase(next);
  }
  if (it != free_.begin()) {
    auto previous = std::prev(it);
    if (previous->first + previous->second == it->first) {
      previous->second += it->second;
      free_.erase(it);
    }
  }
}

uint64_t Heap::bytes_of(uint64_t offset) const {
  auto used = used_.find(offset);
  return used == used_.end() ? 0 : used->second;
}

}  // namespace softhca
