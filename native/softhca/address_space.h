// What the kernel says is mapped where in this process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace softhca {

struct Area {
  uintptr_t begin, end;
  bool readable, writable, shared;
  uint64_t offset;  // in the file
  uint64_t device;  // as in stat
  uint64_t inode;   // 0: anonymous
};

// The areas that cover a range, in order; empty if any part of it isn't mapped.
std::vector<Area> areas_of(uintptr_t begin, uintptr_t end);
std::vector<Area> all_areas();

}  // namespace softhca
