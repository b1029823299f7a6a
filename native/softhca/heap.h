// Allocates ranges of offsets; its books are private, so that no peer can harm them.
#pragma once

#include <cstdint>
#include <map>

namespace softhca {

class Heap {
 public:
  Heap(uint64_t begin, uint64_t end) { free_[begin] = end - begin; }

  // An offset aligned to a cache line (to a page for a page and more), or 0 if there is no room.
  uint64_t allocate(uint64_t bytes);
  void release(uint64_t offset);
  uint64_t bytes_of(uint64_t offset) const;
  bool empty() const { return used_.empty(); }

 private:
  std::map<uint64_t, uint64_t> free_;  // offset to length, never adjacent to each other
  std::map<uint64_t, uint64_t> used_;
};

}  // namespace softhca
