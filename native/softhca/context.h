// An opened device, and the asynchronous events that belong to it.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>

#include "softhca/host.h"
#include "softhca/spin.h"

namespace softhca {

struct Context {
  verbs_context verbs;
  std::atomic<bool> live;
  Host* host;
  uint32_t index;
  std::atomic<uint32_t> objects;  // open children
  uint64_t fd_id;
  uint32_t tail;  // of the ring of events
  SpinLock tail_lock;

  static Context* of(ibv_context* context) {
    return reinterpret_cast<Context*>(verbs_get_ctx(context));
  }
};

// Opens the device for this process. nullptr with errno.
Context* open_context(ibv_device* device);
int close_context(Context* context);

// Notes an event in the context of an object at any site, and signals its descriptor.
void raise_async(Site& site, uint32_t context, ibv_event_type type, uint32_t number);

// Return when the program has acknowledged every event of the object that it was given.
void wait_for_acks(ibv_cq* cq, const std::atomic<uint32_t>& taken);
void wait_for_acks(ibv_qp* qp, const std::atomic<uint32_t>& taken);
void wait_for_acks(ibv_srq* srq, const std::atomic<uint32_t>& taken);

int get_async_event(Context* context, ibv_async_event* event);
void ack_async_event(const ibv_async_event& event);

}  // namespace softhca
