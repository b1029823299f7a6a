// Memory regions: registration, its change and its end.
#include "softhca/mr.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "softhca/fault_guard.h"
#include "softhca/mw.h"
#include "softhca/pool.h"
#include "softhca/qp.h"
#include "softhca/remap.h"
#include "softhca/shared_file.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace softhca {
namespace {

constexpr uint32_t remote_writes = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
constexpr uint32_t known_access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                  IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC |
                                  IBV_ACCESS_MW_BIND | IBV_ACCESS_ZERO_BASED | IBV_ACCESS_HUGETLB |
                                  IBV_ACCESS_OPTIONAL_RANGE;

int check_access(uint32_t access) {
  if (access & IBV_ACCESS_ON_DEMAND) return EOPNOTSUPP;
  if (access & ~known_access) return EINVAL;
  // InfiniBand Vol. 1, 11.2.8.2: remote writes and atomics need local write.
  if ((access & remote_writes) && !(access & IBV_ACCESS_LOCAL_WRITE)) return EINVAL;
  return 0;
}

// Registration of real hardware pins the pages, and so fails where there is no memory or no right
// to write it; this has the same effects and leaves nothing to undo.
int check_memory(const void* address, size_t length, uint32_t access) {
  auto begin = reinterpret_cast<uintptr_t>(address);
  if (length == 0 || begin + length < begin) return EINVAL;
  static const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
  uintptr_t from = begin & ~(page - 1);
  uintptr_t to = (begin + length + page - 1) & ~(page - 1);
  if (to < begin) return EINVAL;
  int advice = access & IBV_ACCESS_LOCAL_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  if (madvise(reinterpret_cast<void*>(from), to - from, advice) == 0) return 0;
  if (errno == EINVAL) {
    // An older kernel, or a special mapping: it must at least exist.
    if (msync(reinterpret_cast<void*>(from), to - from, MS_ASYNC) == 0) return 0;
  }
  return errno == ENOMEM || errno == EFAULT || errno == EINVAL ? EFAULT : errno;
}

// Sends of our own read the table without a lock that withdraw_key waits for. After withdraw_key.
void wait_for_senders(Host& host) {
  std::lock_guard guard(host.objects);
  for (uint32_t i = 0; i < host.qp_limit; ++i) {
    const QueuePair* qp = host.qps[i];
    if (qp) qp->send_lock.await_exit();
  }
}

KeyInit describe(ProtectionDomain& pd, void* address, size_t length, uint64_t iova,
                 uint32_t access) {
  KeyInit init{};
  init.kind = key_region;
  init.pd = pd.id;
  init.access = access;
  init.iova = iova;
  init.length = length;
  init.base = reinterpret_cast<uint64_t>(address);
  if (remap_enabled()) remap_range(address, length);
  SharedFile file = find_shared_file(address, length);
  init.map_id = file.id;
  init.map_fd = file.fd;
  init.map_offset = file.offset;
  init.unmapped = file.refusal;
  if (remap_enabled() && file.refusal == VIADUCT_REASON_PRIVATE)
    init.unmapped = VIADUCT_REASON_REMAP_REFUSED;
  return init;
}

}  // namespace

ibv_mr* register_memory(ibv_pd* verbs_pd, void* address, size_t length, uint64_t iova,
                        uint32_t access) {
  auto* pd = ProtectionDomain::of(verbs_pd);
  int error = !pd->live || !pd->host->usable() ? EINVAL : check_access(access);
  if (!error && iova + length < iova) error = EINVAL;
  if (!error) error = check_memory(address, length, access);
  if (error) {
    errno = error;
    return nullptr;
  }
  if (access & IBV_ACCESS_ZERO_BASED) iova = 0;
  watch_faults();
  Host& host = *pd->host;
  uint32_t key = reserve_key(host);
  if (key == 0) return nullptr;
  auto* mr = Pool<MemoryRegion>::instance().take();
  if (!mr) {
    release_key(host, key);
    return nullptr;
  }
  publish_key(host, key, describe(*pd, address, length, iova, access));
  mr->host = &host;
  mr->iova = iova;
  mr->access = access;
  mr->verbs = {verbs_pd->context, verbs_pd, address, length, key_slot(key), key, key};
  pd->users.fetch_add(1);
  return &mr->verbs;
}

ibv_mr* register_dmabuf(ibv_pd*, uint64_t, size_t, uint64_t, int, uint32_t) {
  // A dma-buf is memory of another device, which this one can't reach.
  errno = EOPNOTSUPP;
  return nullptr;
}

int reregister_memory(ibv_mr* verbs, int flags, ibv_pd* pd, void* address, size_t length,
                      uint32_t access) {
  auto* mr = MemoryRegion::of(verbs);
  if (!mr->live || !mr->host->usable() || mr->windows != 0 || flags == 0 ||
      (flags & ~IBV_REREG_MR_FLAGS_SUPPORTED) ||
      ((flags & IBV_REREG_MR_CHANGE_PD) && (!pd || !ProtectionDomain::of(pd)->live)) ||
      ((flags & IBV_REREG_MR_CHANGE_TRANSLATION) && (!address || length == 0))) {
    errno = EINVAL;
    return IBV_REREG_MR_ERR_INPUT;
  }
  bool moves = flags & IBV_REREG_MR_CHANGE_TRANSLATION;
  uint32_t new_access = flags & IBV_REREG_MR_CHANGE_ACCESS ? access : mr->access;
  void* new_address = moves ? address : verbs->addr;
  size_t new_length = moves ? length : verbs->length;
  ibv_pd* new_pd = flags & IBV_REREG_MR_CHANGE_PD ? pd : verbs->pd;
  uint64_t new_iova = moves ? reinterpret_cast<uint64_t>(address) : mr->iova;
  int error = check_access(new_access);
  if (!error) error = check_memory(new_address, new_length, new_access);
  if (error) {
    errno = error;
    return IBV_REREG_MR_ERR_INPUT;
  }
  Host& host = *mr->host;
  withdraw_key(host, verbs->handle);
  wait_for_senders(host);
  publish_key(
      host, verbs->lkey,
      describe(*ProtectionDomain::of(new_pd), new_address, new_length, new_iova, new_access));
  if (new_pd != verbs->pd) {
    ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
    ProtectionDomain::of(new_pd)->users.fetch_add(1);
  }
  mr->access = new_access;
  mr->iova = new_iova;
  verbs->pd = new_pd;
  verbs->context = new_pd->context;
  verbs->addr = new_address;
  verbs->length = new_length;
  return 0;
}

int deregister_memory(ibv_mr* verbs) {
  auto* mr = MemoryRegion::of(verbs);
  if (!mr->live || !mr->host->usable()) return EINVAL;
  if (mr->windows != 0) settle_windows();
  // 11.2.8.6: not while windows are bound to it.
  if (mr->windows != 0) return EBUSY;
  Host& host = *mr->host;
  withdraw_key(host, verbs->handle);
  wait_for_senders(host);
  release_key(host, verbs->lkey);
  ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  Pool<MemoryRegion>::instance().give(mr);
  return 0;
}

int advise_memory(ibv_pd* pd, ibv_advise_mr_advice, uint32_t, ibv_sge*, uint32_t) {
  // Advice is about on-demand paging, which the device doesn't offer.
  return ProtectionDomain::of(pd)->live ? EOPNOTSUPP : EINVAL;
}

}  // namespace softhca
