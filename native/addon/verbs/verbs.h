// The verbs functions of the addon: those of lib/verbs/native.ts.
#pragma once

#include <napi.h>

namespace viaduct::addon {

void export_verbs(Napi::Env env, Napi::Object exports);

}  // namespace viaduct::addon
