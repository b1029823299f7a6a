// Finds out whether memory lies in a file that peers can map too, which puts it on the direct path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace softhca {

struct SharedFile {
  uint32_t id = 0;  // 0: none
  uint32_t fd = 0;  // of this process, open as long as it lives
  uint64_t offset = 0;
};

SharedFile find_shared_file(const void* address, size_t length);

}  // namespace softhca
