// Moves bytes between this process's memory and a site's: directly where it is mapped here, else by
// the kernel's cross-process copy.
#include "softhca/path.h"

#include "softhca/fault_guard.h"

namespace softhca {
namespace {

bool holds(const void* begin, uint64_t bytes, const void* address) {
  return uintptr_t(address) - uintptr_t(begin) < bytes;
}

// Whose memory it was. Unknown addresses are taken for ours: no peer is to suffer for a guess.
Moved blame(LocalList local, SpanList remote, const void* address) {
  for (uint32_t i = 0; i < local.count; ++i)
    if (holds(local.pieces[i].iov_base, local.pieces[i].iov_len, address))
      return Moved::local_fault;
  for (uint32_t i = 0; i < remote.count; ++i)
    if (holds(remote.spans[i].mapped, remote.spans[i].bytes, address)) return Moved::site_fault;
  return Moved::local_fault;
}

}  // namespace

Moved move_bytes(Site& site, Direction direction, LocalList local, SpanList remote, uint64_t bytes,
                 bool* by_kernel) {
  if (bytes == 0) return Moved::all;
  bool mapped = true;
  for (uint32_t i = 0; i < remote.count; ++i) mapped = mapped && remote.spans[i].mapped;
  if (mapped) {
    void* address = nullptr;
    if (guard_faults([&] { move_direct(direction, local, remote, bytes); }, &address))
      return Moved::all;
    return blame(local, remote, address);
  }
  if (site.gone.load(std::memory_order_acquire)) return Moved::gone;
  *by_kernel = true;
  return move_by_kernel(site.pid, direction, local, remote, bytes);
}

}  // namespace softhca
