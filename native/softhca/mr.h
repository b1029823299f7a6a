// Memory regions: registration, its change and its end.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/key_table.h"
#include "softhca/pd.h"

namespace softhca {

struct DeviceMemory;

struct MemoryRegion {
  ibv_mr verbs;
  std::atomic<bool> live;
  Host* host;
  uint64_t iova;
  uint32_t access;
  std::atomic<uint32_t> windows;  // bound to it
  DeviceMemory* dm;               // that it lies in

  static MemoryRegion* of(ibv_mr* mr) { return reinterpret_cast<MemoryRegion*>(mr); }
};

ibv_mr* register_memory(ibv_pd* pd, void* address, size_t length, uint64_t iova, uint32_t access);
ibv_mr* register_dm(ibv_pd* pd, ibv_dm* dm, uint64_t offset, size_t length, unsigned int access);
ibv_mr* register_dmabuf(ibv_pd* pd, uint64_t offset, size_t length, uint64_t iova, int fd,
                        uint32_t access);
int reregister_memory(ibv_mr* mr, int flags, ibv_pd* pd, void* address, size_t length,
                      uint32_t access);
int deregister_memory(ibv_mr* mr);
int advise_memory(ibv_pd* pd, ibv_advise_mr_advice advice, uint32_t flags, ibv_sge* list,
                  uint32_t count);

}  // namespace softhca
