// Memory windows of type 1 and 2: keys that open a part of a region to the other side.
#include "softhca/mw.h"

#include <cerrno>
#include <unordered_map>

#include "softhca/pool.h"
#include "softhca/requester.h"

namespace softhca {
namespace {

// Windows by the slot of their key: a LOCAL_INV names a key only.
std::mutex windows_mutex;
std::unordered_map<uint32_t, MemoryWindow*>& windows() {
  static auto* map = new std::unordered_map<uint32_t, MemoryWindow*>;
  return *map;
}

void unbind(MemoryWindow& window) {
  if (!window.bound) return;
  withdraw_key(*window.host, window.slot);
  window.region->windows.fetch_sub(1);
  window.region = nullptr;
  window.bound = false;
}

// A type 2 window that a peer's SEND with invalidate ended is unbound, though nobody here was told.
void settle(MemoryWindow& window) {
  if (window.bound && !find_key(window.host->site(), window.verbs.rkey)) unbind(window);
}

constexpr uint32_t window_access =
    IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

}  // namespace

ibv_mw* alloc_window(ibv_pd* verbs_pd, ibv_mw_type type) {
  auto* pd = ProtectionDomain::of(verbs_pd);
  if (!pd->live || !pd->host->usable() || (type != IBV_MW_TYPE_1 && type != IBV_MW_TYPE_2)) {
    errno = EINVAL;
    return nullptr;
  }
  uint32_t key = reserve_key(*pd->host);
  if (key == 0) return nullptr;
  auto* window = Pool<MemoryWindow>::instance().take();
  if (!window) {
    release_key(*pd->host, key);
    return nullptr;
  }
  window->host = pd->host;
  window->slot = key_slot(key);
  window->verbs = {verbs_pd->context, verbs_pd, key, window->slot, type};
  pd->users.fetch_add(1);
  std::lock_guard guard(windows_mutex);
  windows()[window->slot] = window;
  return &window->verbs;
}

int dealloc_window(ibv_mw* verbs) {
  auto* window = MemoryWindow::of(verbs);
  if (!window->live || !window->host->usable()) return EINVAL;
  std::lock_guard guard(windows_mutex);
  unbind(*window);
  release_key(*window->host, verbs->rkey);
  windows().erase(window->slot);
  ProtectionDomain::of(verbs->pd)->users.fetch_sub(1);
  Pool<MemoryWindow>::instance().give(window);
  return 0;
}

void settle_windows() {
  std::lock_guard guard(windows_mutex);
  for (auto& [slot, window] : windows()) settle(*window);
}

int check_bind(const QueuePair& qp, ibv_mw* mw, const ibv_mw_bind_info& info, ibv_mw_type type) {
  if (!mw || !MemoryWindow::of(mw)->live || mw->type != type) return EINVAL;
  if (ProtectionDomain::of(mw->pd)->id != qp.pd) return EPERM;
  if (info.mr && !MemoryRegion::of(info.mr)->live) return EINVAL;
  if (info.mr && ProtectionDomain::of(info.mr->pd)->id != qp.pd) return EPERM;
  if (!info.mr && info.length != 0) return EINVAL;
  if (info.mw_access_flags & ~(window_access | IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_ZERO_BASED))
    return EINVAL;
  return 0;
}

ibv_wc_status bind_window(QueuePair& qp, ibv_mw* mw, uint32_t rkey, const ibv_mw_bind_info& info) {
  std::lock_guard guard(windows_mutex);
  auto* window = MemoryWindow::of(mw);
  bool second = mw->type == IBV_MW_TYPE_2;
  if (!window->live || key_slot(rkey) != window->slot || (rkey >> 8) != (mw->rkey >> 8))
    return IBV_WC_MW_BIND_ERR;
  settle(*window);
  // 10.6.7.2.3: a bound type 2 window must be invalidated before it is bound again.
  if (second && window->bound) return IBV_WC_MW_BIND_ERR;
  if (info.length == 0) {
    if (second) return IBV_WC_MW_BIND_ERR;
    unbind(*window);
    mw->rkey = rkey;
    return IBV_WC_SUCCESS;
  }
  auto* region = MemoryRegion::of(info.mr);
  uint32_t wanted = info.mw_access_flags & window_access;
  bool writes = wanted & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC);
  // 10.6.7.2.2: the region must allow binding and hold all of the window; a zero-based window of
  // type 1 doesn't exist.
  if (!region->live || !(region->access & IBV_ACCESS_MW_BIND) ||
      (writes && !(region->access & IBV_ACCESS_LOCAL_WRITE)) || info.addr < region->iova ||
      info.length > region->verbs.length ||
      info.addr - region->iova > region->verbs.length - info.length ||
      ((region->access & IBV_ACCESS_ZERO_BASED) && !second))
    return IBV_WC_MW_BIND_ERR;
  unbind(*window);
  const KeyEntry* parent = find_key(window->host->site(), region->verbs.lkey);
  if (!parent) return IBV_WC_MW_BIND_ERR;
  uint64_t offset = info.addr - region->iova;
  KeyInit init{};
  init.kind = second ? key_window_2 : key_window_1;
  init.pd = qp.pd;
  init.access = wanted;
  init.iova = info.mw_access_flags & IBV_ACCESS_ZERO_BASED ? 0 : info.addr;
  init.length = info.length;
  init.base = parent->base + offset;
  init.map_fd = parent->map_fd;
  init.map_id = parent->map_id;
  init.map_offset = parent->map_offset + offset;
  init.unmapped = parent->unmapped;
  init.qp_num = second ? qp.ex.qp_base.qp_num : 0;
  publish_key(*window->host, rkey, init);
  mw->rkey = rkey;
  window->bound = true;
  window->region = region;
  region->windows.fetch_add(1);
  return IBV_WC_SUCCESS;
}

ibv_wc_status invalidate_window(QueuePair& qp, uint32_t rkey) {
  std::lock_guard guard(windows_mutex);
  auto found = windows().find(key_slot(rkey));
  if (found == windows().end()) return IBV_WC_MW_BIND_ERR;
  MemoryWindow& window = *found->second;
  if (window.verbs.rkey != rkey || window.verbs.type != IBV_MW_TYPE_2 ||
      ProtectionDomain::of(window.verbs.pd)->id != qp.pd)
    return IBV_WC_MW_BIND_ERR;
  unbind(window);
  return IBV_WC_SUCCESS;
}

int bind_window_1(ibv_qp* verbs, ibv_mw* mw, ibv_mw_bind* bind) {
  auto* qp = QueuePair::of(verbs);
  if (!qp->live || !qp->host->usable()) return EINVAL;
  int error = check_bind(*qp, mw, bind->bind_info, IBV_MW_TYPE_1);
  if (error) return error;
  SendRequest request{};
  request.wr_id = bind->wr_id;
  request.opcode = IBV_WR_BIND_MW;
  request.flags = bind->send_flags & (IBV_SEND_SIGNALED | IBV_SEND_FENCE);
  request.window = mw;
  // Each bind of a type 1 window gives it a fresh key (10.6.7.2.1).
  request.rkey = ibv_inc_rkey(mw->rkey);
  request.bind = bind->bind_info;
  bool parked;
  {
    std::lock_guard guard(qp->send_lock);
    error = check_send(*qp, request);
    if (!error) error = submit(*qp, request);
    parked = qp->parked_count != 0;
    if (!error) mw->rkey = request.rkey;
  }
  if (parked) qp->host->enlist(qp);
  return error;
}

}  // namespace softhca
