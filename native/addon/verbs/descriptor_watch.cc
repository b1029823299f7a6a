#include "addon/verbs/descriptor_watch.h"

#include <uv.h>

#include <memory>

namespace viaduct::addon {

// Outlives its JavaScript object by the turn of the loop that libuv takes to close a handle.
struct WatchedDescriptor {
  uv_poll_t poll = {};
  napi_env env = nullptr;
  Napi::FunctionReference on_readable;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  DescriptorWatch* owner = nullptr;
  bool closing = false;
};

namespace {

WatchedDescriptor* watched_by(uv_handle_t* handle) {
  return static_cast<WatchedDescriptor*>(handle->data);
}

void when_closed(uv_handle_t* handle) {
  const std::unique_ptr<WatchedDescriptor> gone(watched_by(handle));
  // Tells an environment that waits for it that nothing of it is left in the loop.
  if (gone->cleanup != nullptr) napi_remove_async_cleanup_hook(gone->cleanup);
}

void close_watched(WatchedDescriptor* watched) {
  if (watched->closing) return;
  watched->closing = true;
  watched->on_readable.Reset();
  uv_poll_stop(&watched->poll);
  uv_close(reinterpret_cast<uv_handle_t*>(&watched->poll), when_closed);
}

void when_readable(uv_poll_t* poll, int, int) {
  auto* watched = watched_by(reinterpret_cast<uv_handle_t*>(poll));
  const Napi::HandleScope scope(watched->env);
  // An exception in the callback is the program's uncaught exception; lib/verbs lets none through.
  watched->on_readable.MakeCallback(watched->on_readable.Env().Global(), {});
}

}  // namespace

Napi::Function DescriptorWatch::define(Napi::Env env) {
  return DefineClass(env, "DescriptorWatch",
                     {InstanceMethod("start", &DescriptorWatch::start),
                      InstanceMethod("stop", &DescriptorWatch::stop),
                      InstanceMethod("close", &DescriptorWatch::close)});
}

DescriptorWatch::DescriptorWatch(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DescriptorWatch>(info) {
  uv_loop_s* loop = nullptr;
  auto watched = std::make_unique<WatchedDescriptor>();
  if (napi_get_uv_event_loop(info.Env(), &loop) != napi_ok ||
      uv_poll_init(loop, &watched->poll, info[0].As<Napi::Number>().Int32Value()) != 0) {
    Napi::Error::New(info.Env(), "the event loop can't watch this descriptor")
        .ThrowAsJavaScriptException();
    return;
  }
  watched->env = info.Env();
  watched->owner = this;
  watched->poll.data = watched.get();
  watched->on_readable = Napi::Persistent(info[1].As<Napi::Function>());
  watched_ = watched.release();
  napi_add_async_cleanup_hook(
      info.Env(),
      [](napi_async_cleanup_hook_handle, void* data) {
        auto* ending = static_cast<WatchedDescriptor*>(data);
        if (ending->owner != nullptr) ending->owner->watched_ = nullptr;
        close_watched(ending);
      },
      watched_, &watched_->cleanup);
}

DescriptorWatch::~DescriptorWatch() {
  if (watched_ == nullptr) return;
  watched_->owner = nullptr;
  close_watched(watched_);
}

Napi::Value DescriptorWatch::start(const Napi::CallbackInfo& info) {
  if (watched_ != nullptr) uv_poll_start(&watched_->poll, UV_READABLE, when_readable);
  return info.Env().Undefined();
}

Napi::Value DescriptorWatch::stop(const Napi::CallbackInfo& info) {
  if (watched_ != nullptr) uv_poll_stop(&watched_->poll);
  return info.Env().Undefined();
}

Napi::Value DescriptorWatch::close(const Napi::CallbackInfo& info) {
  if (watched_ != nullptr) {
    watched_->owner = nullptr;
    close_watched(watched_);
    watched_ = nullptr;
  }
  return info.Env().Undefined();
}

}  // namespace viaduct::addon
