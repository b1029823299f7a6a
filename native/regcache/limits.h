// How much the registration cache keeps, unless the user says.
#pragma once

#include <cstddef>

namespace viaduct::regcache {

struct Limits {
  size_t entries = 0;
  size_t bytes = 0;
};

// What the system says about pinning memory.
struct PinningRules {
  // RLIMIT_MEMLOCK: what the kernel lets a process pin for devices.
  size_t memlock_bytes = 0;
  // CAP_IPC_LOCK: the kernel doesn't look at the limit.
  bool unlimited = false;
  size_t physical_bytes = 0;
};

PinningRules pinning_rules();
Limits default_limits(const PinningRules& rules);

}  // namespace viaduct::regcache
