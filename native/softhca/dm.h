// Device memory: memory that the device gives out. It lies in the segment, so every path to it is
// direct, whether or not the program's own memory can be mapped by peers.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/pd.h"

namespace softhca {

struct DeviceMemory {
  ibv_dm verbs;
  std::atomic<bool> live;
  Host* host;
  uint64_t offset;  // in the segment
  uint64_t bytes;
  std::atomic<uint32_t> regions;  // registered in it

  static DeviceMemory* of(ibv_dm* dm) { return reinterpret_cast<DeviceMemory*>(dm); }
};

ibv_dm* alloc_dm(ibv_context* context, ibv_alloc_dm_attr* attr);
int free_dm(ibv_dm* dm);

}  // namespace softhca
