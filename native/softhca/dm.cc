// Device memory: what ibv_alloc_dm(3) and its like do.
#include "softhca/dm.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "softhca/pool.h"

namespace softhca {
namespace {

// Hardware takes words of four bytes; programs that run here must run there.
constexpr uint64_t word = 4;

// Where the copy begins, or nullptr.
uint8_t* locate(ibv_dm* verbs, uint64_t offset, size_t length) {
  auto* dm = DeviceMemory::of(verbs);
  if (!dm->live || !dm->host->usable() || offset % word != 0 || length % word != 0 ||
      offset > dm->bytes || length > dm->bytes - offset)
    return nullptr;
  return dm->host->site().at<uint8_t>(dm->offset + offset, length);
}

int copy_to(ibv_dm* dm, uint64_t offset, const void* from, size_t length) {
  uint8_t* to = locate(dm, offset, length);
  if (!to) return EINVAL;
  memcpy(to, from, length);
  return 0;
}

int copy_from(void* to, ibv_dm* dm, uint64_t offset, size_t length) {
  const uint8_t* from = locate(dm, offset, length);
  if (!from) return EINVAL;
  memcpy(to, from, length);
  return 0;
}

}  // namespace

ibv_dm* alloc_dm(ibv_context* context, ibv_alloc_dm_attr* attr) {
  // A child may allocate with a context of its parent's: the memory is the child's.
  Host* host = Host::get();
  if (!host) return nullptr;
  if (attr->comp_mask != 0 || attr->length == 0 || attr->log_align_req > 12) {
    errno = EINVAL;
    return nullptr;
  }
  uint64_t used = host->dm_used.load();
  do {
    if (attr->length > max_dm - used) {
      errno = ENOMEM;
      return nullptr;
    }
  } while (!host->dm_used.compare_exchange_weak(used, used + attr->length));
  // The heap aligns to 64 bytes, and pages to pages.
  const uint64_t least = attr->log_align_req > 6 ? 4096 : 1;
  const uint64_t offset = host->allocate(std::max<uint64_t>(attr->length, least));
  auto* dm = offset ? Pool<DeviceMemory>::instance().take() : nullptr;
  if (!dm) {
    host->release(offset);
    host->dm_used.fetch_sub(attr->length);
    errno = ENOMEM;
    return nullptr;
  }
  dm->host = host;
  dm->offset = offset;
  dm->bytes = attr->length;
  dm->verbs.context = context;
  dm->verbs.memcpy_to_dm = copy_to;
  dm->verbs.memcpy_from_dm = copy_from;
  dm->verbs.handle = host->new_id();
  return &dm->verbs;
}

int free_dm(ibv_dm* verbs) {
  auto* dm = DeviceMemory::of(verbs);
  if (!dm->live || !dm->host->usable()) return EINVAL;
  if (dm->regions != 0) return EBUSY;
  dm->host->release(dm->offset);
  dm->host->dm_used.fetch_sub(dm->bytes);
  Pool<DeviceMemory>::instance().give(dm);
  return 0;
}

}  // namespace softhca
