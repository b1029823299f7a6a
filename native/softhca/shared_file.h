// Finds out whether memory lies in a file that peers can map too, which puts it on the direct path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "softhca/extensions.h"

namespace softhca {

struct SharedFile {
  uint32_t id = 0;  // 0: none
  uint32_t fd = 0;  // of this process, open until the file is released
  uint64_t offset = 0;
  viaduct_path_reason refusal = VIADUCT_REASON_SHARED_FILE;  // id 0: why
};

// The caller releases the file when it needs it no more.
SharedFile find_shared_file(const void* address, size_t length);
void release_shared_file(uint32_t id);

}  // namespace softhca
