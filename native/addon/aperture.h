// Apertures for JavaScript: map, wake and wait, copy between processes.
#pragma once

#include <napi.h>

namespace viaduct::addon {

void export_aperture(Napi::Env env, Napi::Object exports);

}  // namespace viaduct::addon
