// Memory windows of type 1 and 2: keys that open a part of a region to the other side.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/mr.h"
#include "softhca/qp.h"

namespace softhca {

struct MemoryWindow {
  ibv_mw verbs;
  std::atomic<bool> live;
  Host* host;
  uint32_t slot;  // of its key
  bool bound;
  MemoryRegion* region;  // while bound

  static MemoryWindow* of(ibv_mw* mw) { return reinterpret_cast<MemoryWindow*>(mw); }
};

ibv_mw* alloc_window(ibv_pd* pd, ibv_mw_type type);
int dealloc_window(ibv_mw* mw);
int bind_window_1(ibv_qp* qp, ibv_mw* mw, ibv_mw_bind* bind);

// Unbinds the windows that a SEND with invalidate ended; before a region's windows are counted.
void settle_windows();

// 0, or EINVAL for what can't be posted.
int check_bind(const QueuePair& qp, ibv_mw* mw, const ibv_mw_bind_info& info, ibv_mw_type type);

// The work requests themselves; the caller holds send_lock.
ibv_wc_status bind_window(QueuePair& qp, ibv_mw* mw, uint32_t rkey, const ibv_mw_bind_info& info);
ibv_wc_status invalidate_window(QueuePair& qp, uint32_t rkey);

}  // namespace softhca
