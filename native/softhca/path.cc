// Moves bytes between this process's memory and a site's: directly where it is mapped here, else by
// the kernel's cross-process copy.
#include "softhca/path.h"

namespace softhca {

Moved move_bytes(Site& site, Direction direction, LocalList local, SpanList remote, uint64_t bytes,
                 bool* by_kernel) {
  if (bytes == 0) return Moved::all;
  bool mapped = true;
  for (uint32_t i = 0; i < remote.count; ++i) mapped = mapped && remote.spans[i].mapped;
  if (mapped) {
    move_direct(direction, local, remote, bytes);
    return Moved::all;
  }
  if (site.gone.load(std::memory_order_acquire)) return Moved::gone;
  *by_kernel = true;
  return move_by_kernel(site.pid, direction, local, remote, bytes);
}

}  // namespace softhca
