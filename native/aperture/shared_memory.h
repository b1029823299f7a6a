// Memory of this process that others of this host can map: pieces of one file.
#pragma once

#include <cstddef>
#include <memory>

#include "aperture/mapping.h"

namespace viaduct::aperture {

// One file for all pieces, however many there are in the life of a process: a file for each would
// cost every process that reaches it a descriptor and a mapping. Sealed against truncation and
// without a name, as an aperture is. A piece that is destroyed gives its pages back at once.
class SharedMemory {
 public:
  // Zeroed, and a whole number of pages.
  static std::unique_ptr<SharedMemory> allocate(size_t size_bytes, SystemError& error);

  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* data() const { return base_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  SharedMemory(std::byte* base, size_t offset, size_t size_bytes)
      : base_(base), offset_(offset), size_bytes_(size_bytes) {}

  std::byte* base_;
  size_t offset_;
  size_t size_bytes_;
};

}  // namespace viaduct::aperture
