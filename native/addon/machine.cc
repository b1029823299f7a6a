#include "addon/machine.h"

#include <string>

#include "machine/descriptors.h"
#include "machine/timestamp_counter.h"

namespace viaduct::addon {
namespace {

Napi::Value timestamp_counter_khz(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), machine::timestamp_counter_khz());
}

// sendWithDescriptor(socket, text, descriptor): 0 or an errno.
Napi::Value send_with_descriptor(const Napi::CallbackInfo& info) {
  const std::string text = info[1].As<Napi::String>();
  const int error = machine::send_with_descriptor(info[0].As<Napi::Number>().Int32Value(), text,
                                                  info[2].As<Napi::Number>().Int32Value());
  return Napi::Number::New(info.Env(), error);
}

// tryLock(descriptor): 0 or an errno.
Napi::Value try_lock(const Napi::CallbackInfo& info) {
  const int error = machine::try_lock(info[0].As<Napi::Number>().Int32Value());
  return Napi::Number::New(info.Env(), error);
}

}  // namespace

void export_machine(Napi::Env env, Napi::Object exports) {
  exports.Set("timestampCounterKhz",
              Napi::Function::New(env, timestamp_counter_khz, "timestampCounterKhz"));
  exports.Set("sendWithDescriptor",
              Napi::Function::New(env, send_with_descriptor, "sendWithDescriptor"));
  exports.Set("tryLock", Napi::Function::New(env, try_lock, "tryLock"));
}

}  // namespace viaduct::addon
