// Links between virtual machines for JavaScript: Node.js itself can't make a socket pair.
#pragma once

#include <napi.h>

namespace viaduct::addon {

void export_link(Napi::Env env, Napi::Object exports);

}  // namespace viaduct::addon
