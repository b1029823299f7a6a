// Memory regions: registration, its change and its end.
#include "softhca/mr.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "softhca/dm.h"
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
                                  IBV_ACCESS_ON_DEMAND | IBV_ACCESS_OPTIONAL_RANGE;

int check_access(uint32_t access) {
  if (access & ~known_access) return EINVAL;
  // InfiniBand Vol. 1, 11.2.8.2: remote writes and atomics need local write.
  if ((access & remote_writes) && !(access & IBV_ACCESS_LOCAL_WRITE)) return EINVAL;
  return 0;
}

bool is_implicit(const void* address, size_t length, uint32_t access) {
  return !address && length == SIZE_MAX && (access & IBV_ACCESS_ON_DEMAND);
}

int populate(uintptr_t begin, size_t length, bool writable) {
  static const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
  uintptr_t from = begin & ~(page - 1);
  uintptr_t to = (begin + length + page - 1) & ~(page - 1);
  if (to <= from) return EINVAL;  // past the end of the address space
  int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  if (madvise(reinterpret_cast<void*>(from), to - from, advice) == 0) return 0;
  if (errno == EINVAL) {
    // An older kernel, or a special mapping: it must at least exist.
    if (msync(reinterpret_cast<void*>(from), to - from, MS_ASYNC) == 0) return 0;
  }
  return errno == ENOMEM || errno == EFAULT || errno == EINVAL ? EFAULT : errno;
}

// Registration of real hardware pins the pages, and so fails where there is no memory or no right
// to write it; this has the same effects and leaves nothing to undo. What pages on demand may be
// mapped later.
int check_memory(const void* address, size_t length, uint32_t access) {
  auto begin = reinterpret_cast<uintptr_t>(address);
  if (is_implicit(address, length, access)) return 0;
  if (length == 0 || begin + length < begin) return EINVAL;
  if (access & IBV_ACCESS_ON_DEMAND) return 0;
  return populate(begin, length, access & IBV_ACCESS_LOCAL_WRITE);
}

// Returns when nobody uses the region any more.
void end_key(Host& host, uint32_t slot) {
  withdraw_key(host, slot);
  release_shared_file(host.keys().entry[slot].map_id);
  // Sends of our own read the table without a lock that withdraw_key waits for.
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
  if (access & IBV_ACCESS_ON_DEMAND) {
    // Peers must find what is mapped there when they come: only the kernel's copy does.
    init.unmapped = VIADUCT_REASON_ON_DEMAND;
    return init;
  }
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

ibv_mr* make_region(ProtectionDomain& pd, void* address, size_t length, uint64_t iova,
                    uint32_t access) {
  watch_faults();
  Host& host = *pd.host;
  uint32_t key = reserve_key(host);
  if (key == 0) return nullptr;
  auto* mr = Pool<MemoryRegion>::instance().take();
  if (!mr) {
    release_key(host, key);
    return nullptr;
  }
  publish_key(host, key, describe(pd, address, length, iova, access));
  mr->host = &host;
  mr->iova = iova;
  mr->access = access;
  mr->verbs = {pd.verbs.context, &pd.verbs, address, length, key_slot(key), key, key};
  pd.users.fetch_add(1);
  return &mr->verbs;
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
  return make_region(*pd, address, length, iova, access);
}

ibv_mr* register_dm(ibv_pd* verbs_pd, ibv_dm* verbs, uint64_t offset, size_t length,
                    unsigned int access) {
  auto* pd = ProtectionDomain::of(verbs_pd);
  auto* dm = DeviceMemory::of(verbs);
  // ibv_alloc_dm(3): it is registered as zero-based; and nobody's address space pages it.
  if (!pd->live || !pd->host->usable() || !dm->live || dm->host != pd->host ||
      check_access(access) != 0 || !(access & IBV_ACCESS_ZERO_BASED) ||
      (access & IBV_ACCESS_ON_DEMAND) || offset > dm->bytes || length > dm->bytes - offset) {
    errno = EINVAL;
    return nullptr;
  }
  auto* memory = dm->host->site().at<uint8_t>(dm->offset + offset, length);
  ibv_mr* mr = make_region(*pd, memory, length, 0, access);
  if (!mr) return nullptr;
  MemoryRegion::of(mr)->dm = dm;
  dm->regions.fetch_add(1);
  mr->addr = nullptr;
  return mr;
}

ibv_mr* register_dmabuf(ibv_pd*, uint64_t, size_t, uint64_t, int, uint32_t) {
  // A dma-buf is memory of another device, which this one can't reach.
  errno = EOPNOTSUPP;
  return nullptr;
}

int reregister_memory(ibv_mr* verbs, int flags, ibv_pd* pd, void* address, size_t length,
                      uint32_t access) {
  auto* mr = MemoryRegion::of(verbs);
  if (!mr->live || !mr->host->usable() || mr->windows != 0 || mr->dm || flags == 0 ||
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
  end_key(host, verbs->handle);
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
  end_key(host, verbs->handle);
  release_key(host, verbs->lkey);
  if (mr->dm) mr->dm->regions.fetch_sub(1);
  ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  Pool<MemoryRegion>::instance().give(mr);
  return 0;
}

int advise_memory(ibv_pd* verbs_pd, ibv_advise_mr_advice advice, uint32_t flags, ibv_sge* list,
                  uint32_t count) {
  auto* pd = ProtectionDomain::of(verbs_pd);
  if (!pd->live || !pd->host->usable() || (flags & ~uint32_t(IBV_ADVISE_MR_FLAG_FLUSH)))
    return EINVAL;
  if (advice > IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT) return ENOTSUP;
  const bool writes = advice == IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE;
  for (uint32_t i = 0; i < count; ++i) {
    const ibv_sge& sge = list[i];
    const KeyEntry* entry = find_key(pd->host->site(), sge.lkey);
    if (!entry || sge.length == 0) return EFAULT;
    if (entry->kind != key_region) return EINVAL;
    if (entry->pd != pd->id || (writes && !(entry->access & IBV_ACCESS_LOCAL_WRITE))) return EPERM;
    Span span{};
    if (!(entry->access & IBV_ACCESS_ON_DEMAND) ||
        !resolve_local(pd->host->site(), sge.lkey, pd->id, sge.addr, sge.length, 0, &span))
      return EFAULT;
    // There are no page tables but the processor's to bring up to date: what advice can still do is
    // to make pages present, before the call returns whether or not it was asked to wait.
    if (advice == IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT) continue;
    if (int error = populate(span.address, span.bytes, writes)) return error;
  }
  return 0;
}

}  // namespace softhca
