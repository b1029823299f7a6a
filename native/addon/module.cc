// The addon's entry: each concept of the native layers adds its functions to the exports here.
#include <napi.h>

#include "addon/aperture.h"
#include "addon/link.h"
#include "addon/machine.h"
#include "addon/verbs/verbs.h"

namespace {

Napi::Object init_module(Napi::Env env, Napi::Object exports) {
  viaduct::addon::export_aperture(env, exports);
  viaduct::addon::export_link(env, exports);
  viaduct::addon::export_machine(env, exports);
  viaduct::addon::export_verbs(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(viaduct, init_module)
