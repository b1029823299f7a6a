// Tells JavaScript, on its event loop and without a thread, that a file descriptor is readable.
#pragma once

#include <napi.h>

namespace viaduct::addon {

struct WatchedDescriptor;

class DescriptorWatch : public Napi::ObjectWrap<DescriptorWatch> {
 public:
  static Napi::Function define(Napi::Env env);
  // (descriptor, onReadable)
  explicit DescriptorWatch(const Napi::CallbackInfo& info);
  ~DescriptorWatch() override;

 private:
  // Between these the loop is kept alive.
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Null once closed.
  WatchedDescriptor* watched_ = nullptr;
};

}  // namespace viaduct::addon
