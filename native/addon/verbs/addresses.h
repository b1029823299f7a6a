// GIDs and address vectors to and from JavaScript.
#pragma once

#include <napi.h>

#include "verbs/symbols.h"

namespace viaduct::addon {

// A GID is 16 bytes, in an Uint8Array.
Napi::Value gid_to_bytes(Napi::Env env, const ibv_gid& gid);
ibv_gid gid_from_bytes(Napi::Value value);

// An address vector, as lib/verbs/native.ts has it.
ibv_ah_attr address_vector_from(Napi::Object object);
Napi::Object address_vector_to(Napi::Env env, const ibv_ah_attr& attr);

}  // namespace viaduct::addon
