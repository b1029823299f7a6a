// The hot path: posting from rings and polling into them. Raw Node-API with integer handles, which
// costs a fifth of what a wrapped object does; nothing is allocated.
#include "verbs/rings.h"

#include <cerrno>
#include <memory>

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

struct Arguments {
  const Objects* objects;
  uint32_t value[4];
};

// What isn't a number becomes 0, which is no handle and no count.
template <size_t Count>
Arguments arguments(napi_env env, napi_callback_info info) {
  Arguments result = {};
  size_t count = Count;
  napi_value values[Count];
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  for (size_t i = 0; i < Count; ++i) (void)napi_get_value_uint32(env, values[i], &result.value[i]);
  result.objects = &static_cast<VerbsEnvironment*>(data)->objects;
  return result;
}

napi_value number(napi_env env, int32_t value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

// How many requests were posted, and in the upper bits the error that ended it: an errno value, or
// 512 minus one of verbs::post_*. One small integer is cheaper than an object.
constexpr uint32_t error_shift = 20;
constexpr int32_t own_errors = 512;

napi_value outcome(napi_env env, const Posted& posted) {
  const int32_t error = posted.error < 0 ? own_errors - posted.error : posted.error;
  return number(env, static_cast<int32_t>(posted.count) | error << error_shift);
}

constexpr Posted closed = {EBADF, 0};
constexpr Posted outside = {ERANGE, 0};

// (qp, ring, first, count)
napi_value post_send(napi_env env, napi_callback_info info) {
  const Arguments args = arguments<4>(env, info);
  const auto* qp = args.objects->find<QueuePair>(args.value[0]);
  const auto* ring = args.objects->find<Ring>(args.value[1]);
  if (qp == nullptr || ring == nullptr) return outcome(env, closed);
  if (ring->ring_kind != RingKind::send || !ring->holds(args.value[2], args.value[3])) {
    return outcome(env, outside);
  }
  return outcome(env, verbs::post_send(*args.objects, *qp, *ring, args.value[2], args.value[3]));
}

// (qp, ring, first, count)
napi_value post_recv(napi_env env, napi_callback_info info) {
  const Arguments args = arguments<4>(env, info);
  const auto* qp = args.objects->find<QueuePair>(args.value[0]);
  const auto* ring = args.objects->find<Ring>(args.value[1]);
  if (qp == nullptr || ring == nullptr) return outcome(env, closed);
  if (ring->ring_kind != RingKind::receive || !ring->holds(args.value[2], args.value[3])) {
    return outcome(env, outside);
  }
  return outcome(env, verbs::post_receive(*qp, *ring, args.value[2], args.value[3]));
}

// (srq, ring, first, count)
napi_value post_srq_recv(napi_env env, napi_callback_info info) {
  const Arguments args = arguments<4>(env, info);
  const auto* srq = args.objects->find<SharedReceiveQueue>(args.value[0]);
  const auto* ring = args.objects->find<Ring>(args.value[1]);
  if (srq == nullptr || ring == nullptr) return outcome(env, closed);
  if (ring->ring_kind != RingKind::receive || !ring->holds(args.value[2], args.value[3])) {
    return outcome(env, outside);
  }
  return outcome(env, verbs::post_srq_receive(*srq, *ring, args.value[2], args.value[3]));
}

// (cq, ring, max): completions put at the ring's start, or minus an errno value
napi_value poll_cq(napi_env env, napi_callback_info info) {
  const Arguments args = arguments<3>(env, info);
  const auto* cq = args.objects->find<CompletionQueue>(args.value[0]);
  const auto* ring = args.objects->find<Ring>(args.value[1]);
  if (cq == nullptr || ring == nullptr) return number(env, -EBADF);
  return number(env, verbs::poll(*cq, *ring, args.value[2]));
}

void define_raw(napi_env env, napi_value exports, VerbsEnvironment& environment, const char* name,
                napi_callback function) {
  napi_value value = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, &environment, &value) ==
      napi_ok) {
    napi_set_named_property(env, exports, name, value);
  }
}

}  // namespace

void export_verbs_rings(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "createRing", create_ring);
  define_raw(env, exports, environment, "postSend", post_send);
  define_raw(env, exports, environment, "postRecv", post_recv);
  define_raw(env, exports, environment, "postSrqRecv", post_srq_recv);
  define_raw(env, exports, environment, "pollCq", poll_cq);
}

}  // namespace viaduct::addon
