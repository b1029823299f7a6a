// The addon's entry: each concept of the native layers adds its functions to the exports here.
#include <napi.h>
#include <v8.h>

#include <string>

#include "addon/aperture.h"
#include "addon/link.h"
#include "addon/machine.h"
#include "addon/verbs/verbs.h"

namespace {

// What is compiled from <v8.h> (v8_function.h) holds for one V8, which each major version of
// Node.js keeps.
bool was_compiled_for_this_v8(Napi::Env env) {
  const std::string built =
      std::to_string(V8_MAJOR_VERSION) + "." + std::to_string(V8_MINOR_VERSION) + ".";
  const std::string running = v8::V8::GetVersion();
  if (running.starts_with(built)) return true;
  Napi::Error::New(env, "it was built for V8 " + built + "*, and this Node.js has V8 " + running)
      .ThrowAsJavaScriptException();
  return false;
}

Napi::Object init_module(Napi::Env env, Napi::Object exports) {
  if (!was_compiled_for_this_v8(env)) return exports;
  viaduct::addon::export_aperture(env, exports);
  viaduct::addon::export_link(env, exports);
  viaduct::addon::export_machine(env, exports);
  viaduct::addon::export_verbs(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(viaduct, init_module)
