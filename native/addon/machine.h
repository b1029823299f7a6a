// JavaScript's view of native/machine.
#pragma once

#include <napi.h>

namespace viaduct::addon {

void export_machine(Napi::Env env, Napi::Object exports);

}  // namespace viaduct::addon
