#pragma once

#include <napi.h>

namespace viaduct::addon {

void export_verbs(Napi::Env env, Napi::Object exports);

}  // namespace viaduct::addon
