// The hot path: posting from rings and polling into them, by functions that V8 calls itself, with
// integer handles. Nothing is allocated.
#include "verbs/rings.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "addon/v8_function.h"
#include "addon/verbs/array_buffer_backing.h"
#include "addon/verbs/environment.h"

namespace viaduct::addon {

namespace {

using verbs::CompletionQueue;
using verbs::Objects;
using verbs::Posted;
using verbs::QueuePair;
using verbs::Ring;
using verbs::RingKind;
using verbs::SharedReceiveQueue;

// (buffer, kind, capacity, max sge, inline bytes)
Napi::Value create_ring(const Napi::CallbackInfo& info) {
  const auto backing = ArrayBufferBacking::of(info[0]);
  if (backing == nullptr) return throw_verbs_error(info.Env(), "create_ring", EFAULT);
  auto ring = Ring::create(static_cast<RingKind>(uint32_at(info, 1)), backing->memory(),
                           backing->data(), backing->size_bytes(), uint32_at(info, 2),
                           uint32_at(info, 3), uint32_at(info, 4));
  if (ring == nullptr) return throw_verbs_error(info.Env(), "create_ring", EINVAL);
  return adopt(info, std::move(ring));
}

// How many requests were posted, and in the upper bits the error that ended it: an errno value, or
// 512 minus one of verbs::post_*. One small integer is cheaper than an object.
constexpr uint32_t error_shift = 20;
constexpr int32_t own_errors = 512;

int32_t outcome(const Posted& posted) {
  const int32_t error = posted.error < 0 ? own_errors - posted.error : posted.error;
  return static_cast<int32_t>(posted.count) | error << error_shift;
}

constexpr Posted closed = {EBADF, 0};
constexpr Posted outside = {ERANGE, 0};

// The object and the ring that a call names, and the ring's slots, checked.
template <typename T, RingKind kind, typename Post>
void post_from_ring(const V8Call& call, Post post) {
  const Objects& objects = data_of<VerbsEnvironment>(call).objects;
  const auto* target = objects.find<T>(uint32_at(call, 0));
  const auto* ring = objects.find<Ring>(uint32_at(call, 1));
  const uint32_t first = uint32_at(call, 2);
  const uint32_t count = uint32_at(call, 3);
  Posted posted;
  if (target == nullptr || ring == nullptr) {
    posted = closed;
  } else if (ring->ring_kind != kind || !ring->holds(first, count)) {
    posted = outside;
  } else {
    posted = post(objects, *target, *ring, first, count);
  }
  call.GetReturnValue().Set(outcome(posted));
}

// (qp, ring, first, count)
void post_send(const V8Call& call) {
  post_from_ring<QueuePair, RingKind::send>(call, verbs::post_send);
}

// (qp, ring, first, count)
void post_recv(const V8Call& call) {
  post_from_ring<QueuePair, RingKind::receive>(
      call, [](const Objects&, const auto&... where) { return verbs::post_receive(where...); });
}

// (srq, ring, first, count)
void post_srq_recv(const V8Call& call) {
  post_from_ring<SharedReceiveQueue, RingKind::receive>(
      call, [](const Objects&, const auto&... where) { return verbs::post_srq_receive(where...); });
}

// (cq, ring, max): completions put at the ring's start, or minus an errno value
void poll_cq(const V8Call& call) {
  const Objects& objects = data_of<VerbsEnvironment>(call).objects;
  const auto* cq = objects.find<CompletionQueue>(uint32_at(call, 0));
  const auto* ring = objects.find<Ring>(uint32_at(call, 1));
  const bool open = cq != nullptr && ring != nullptr;
  call.GetReturnValue().Set(open ? verbs::poll(*cq, *ring, uint32_at(call, 2)) : -EBADF);
}

}  // namespace

void export_verbs_rings(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "createRing", create_ring);
  const std::pair<const char*, v8::FunctionCallback> hot[] = {{"postSend", post_send},
                                                              {"postRecv", post_recv},
                                                              {"postSrqRecv", post_srq_recv},
                                                              {"pollCq", poll_cq}};
  for (const auto& [name, function] : hot) {
    if (!define_v8_function(exports, name, function, &environment)) return;
  }
}

}  // namespace viaduct::addon
