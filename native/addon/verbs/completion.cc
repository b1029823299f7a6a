// Completion channels and completion queues.
#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <memory>

#include "addon/verbs/environment.h"

namespace viaduct::addon {

namespace {

using verbs::Channel;
using verbs::CompletionQueue;
using verbs::Context;

Napi::Value create_channel(const Napi::CallbackInfo& info) {
  auto* context = object_at<Context>(info, 0);
  if (context == nullptr) return throw_closed(info.Env(), "ibv_create_comp_channel");
  const auto& provider = *context->provider;
  if (provider.ibv_create_comp_channel == nullptr || provider.ibv_destroy_comp_channel == nullptr) {
    return throw_unsupported(info.Env(), "ibv_create_comp_channel");
  }
  ibv_comp_channel* channel = provider.ibv_create_comp_channel(context->verbs);
  if (channel == nullptr) return throw_verbs_error(info.Env(), "ibv_create_comp_channel", errno);
  const int flags = ::fcntl(channel->fd, F_GETFL);
  if (flags < 0 || ::fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    const int error = errno;
    provider.ibv_destroy_comp_channel(channel);
    return throw_verbs_error(info.Env(), "ibv_create_comp_channel", error);
  }
  Napi::Object result = Napi::Object::New(info.Env());
  set_number(result, "descriptor", channel->fd);
  result.Set("handle", adopt(info, std::make_unique<Channel>(*context, channel)));
  return result;
}

// Handles of the queues that have an event; each event is acknowledged.
Napi::Value take_cq_events(const Napi::CallbackInfo& info) {
  auto* channel = object_at<Channel>(info, 0);
  if (channel == nullptr) return throw_closed(info.Env(), "ibv_get_cq_event");
  const auto& provider = *channel->provider;
  if (provider.ibv_get_cq_event == nullptr || provider.ibv_ack_cq_events == nullptr) {
    return throw_unsupported(info.Env(), "ibv_get_cq_event");
  }
  Napi::Array result = Napi::Array::New(info.Env());
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  while (provider.ibv_get_cq_event(channel->verbs, &cq, &context) == 0) {
    provider.ibv_ack_cq_events(cq, 1);
    result.Set(
        result.Length(),
        Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(context))));
  }
  if (errno != EAGAIN && errno != EINTR) {
    return throw_verbs_error(info.Env(), "ibv_get_cq_event", errno);
  }
  return result;
}

// Blocks until the channel has an event or the time is over: (channel, milliseconds or -1)
Napi::Value wait_for_channel(const Napi::CallbackInfo& info) {
  auto* channel = object_at<Channel>(info, 0);
  if (channel == nullptr) return throw_closed(info.Env(), "poll");
  pollfd watched = {channel->verbs->fd, POLLIN, 0};
  const int ready = ::poll(&watched, 1, info[1].As<Napi::Number>().Int32Value());
  if (ready < 0 && errno != EINTR) return throw_verbs_error(info.Env(), "poll", errno);
  return Napi::Boolean::New(info.Env(), ready > 0);
}

// (context, entries, channel | 0, vector, wc flags as bigint | undefined, creation flags)
Napi::Value create_cq(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* context = object_at<Context>(info, 0);
  const uint32_t channel_handle = uint32_at(info, 2);
  auto* channel = object_at<Channel>(info, 2);
  if (context == nullptr || (channel_handle != 0 && channel == nullptr)) {
    return throw_closed(env, "ibv_create_cq");
  }
  const auto& provider = *context->provider;
  if (provider.ibv_create_cq == nullptr || provider.ibv_destroy_cq == nullptr) {
    return throw_unsupported(env, "ibv_create_cq");
  }
  const uint32_t entries = uint32_at(info, 1);
  const uint32_t vector = uint32_at(info, 3);
  ibv_comp_channel* events = channel == nullptr ? nullptr : channel->verbs;
  ibv_cq* cq = nullptr;
  ibv_cq_ex* extended = nullptr;
  uint64_t wc_flags = 0;
  if (info[4].IsBigInt()) {
    wc_flags = uint64_of(info[4]);
    ibv_cq_init_attr_ex attr = {};
    attr.cqe = entries;
    attr.channel = events;
    attr.comp_vector = vector;
    attr.wc_flags = wc_flags;
    attr.flags = uint32_at(info, 5);
    if (attr.flags != 0) attr.comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS;
    if (verbs_get_ctx_op(context->verbs, create_cq_ex) == nullptr) {
      return throw_unsupported(env, "ibv_create_cq_ex");
    }
    extended = ibv_create_cq_ex(context->verbs, &attr);
    if (extended == nullptr) return throw_verbs_error(env, "ibv_create_cq_ex", errno);
    cq = ibv_cq_ex_to_cq(extended);
  } else {
    cq = provider.ibv_create_cq(context->verbs, static_cast<int>(entries), nullptr, events,
                                static_cast<int>(vector));
    if (cq == nullptr) return throw_verbs_error(env, "ibv_create_cq", errno);
  }
  auto* queue =
      environment_of(info).objects.add(std::make_unique<CompletionQueue>(*context, cq, extended));
  queue->wc_flags = wc_flags;
  // Names the queue in its events: JavaScript finds it by handle.
  cq->cq_context = reinterpret_cast<void*>(static_cast<uintptr_t>(queue->handle));
  Napi::Object result = Napi::Object::New(env);
  set_number(result, "handle", queue->handle);
  set_number(result, "capacity", cq->cqe);
  return result;
}

// (cq, entries): the new capacity
Napi::Value resize_cq(const Napi::CallbackInfo& info) {
  auto* queue = object_at<CompletionQueue>(info, 0);
  if (queue == nullptr) return throw_closed(info.Env(), "ibv_resize_cq");
  if (queue->provider->ibv_resize_cq == nullptr) {
    return throw_unsupported(info.Env(), "ibv_resize_cq");
  }
  const int error =
      queue->provider->ibv_resize_cq(queue->verbs, info[1].As<Napi::Number>().Int32Value());
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_resize_cq", error > 0 ? error : errno);
  return Napi::Number::New(info.Env(), queue->verbs->cqe);
}

// (cq, completions, microseconds)
Napi::Value moderate_cq(const Napi::CallbackInfo& info) {
  auto* queue = object_at<CompletionQueue>(info, 0);
  if (queue == nullptr) return throw_closed(info.Env(), "ibv_modify_cq");
  ibv_modify_cq_attr attr = {};
  attr.attr_mask = IBV_CQ_ATTR_MODERATE;
  attr.moderate.cq_count = static_cast<uint16_t>(uint32_at(info, 1));
  attr.moderate.cq_period = static_cast<uint16_t>(uint32_at(info, 2));
  const int error = ibv_modify_cq(queue->verbs, &attr);
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_modify_cq", error);
  return info.Env().Undefined();
}

// (cq, solicited only)
Napi::Value request_notification(const Napi::CallbackInfo& info) {
  auto* queue = object_at<CompletionQueue>(info, 0);
  if (queue == nullptr) return throw_closed(info.Env(), "ibv_req_notify_cq");
  const int error = ibv_req_notify_cq(queue->verbs, info[1].As<Napi::Boolean>().Value() ? 1 : 0);
  if (error != 0) return throw_verbs_error(info.Env(), "ibv_req_notify_cq", error);
  return info.Env().Undefined();
}

}  // namespace

void export_verbs_completion(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment) {
  define(env, exports, environment, "createChannel", create_channel);
  define(env, exports, environment, "takeCqEvents", take_cq_events);
  define(env, exports, environment, "waitForChannel", wait_for_channel);
  define(env, exports, environment, "createCq", create_cq);
  define(env, exports, environment, "resizeCq", resize_cq);
  define(env, exports, environment, "moderateCq", moderate_cq);
  define(env, exports, environment, "requestNotification", request_notification);
}

}  // namespace viaduct::addon
