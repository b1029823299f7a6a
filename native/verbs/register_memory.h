// Registering memory by whichever of its functions the provider has.
#pragma once

#include <cstddef>
#include <cstdint>

#include "verbs/objects.h"

namespace viaduct::verbs {

// Null, with errno. `iova` is null where requests name the first byte by its own address.
ibv_mr* register_memory(const Domain& domain, void* address, size_t length, const uint64_t* iova,
                        uint32_t access);

}  // namespace viaduct::verbs
