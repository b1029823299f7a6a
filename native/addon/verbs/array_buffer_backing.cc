#include "addon/verbs/array_buffer_backing.h"

#include <v8.h>

#include <cstring>

namespace viaduct::addon {

namespace {

// The only place that leaves Node-API, which has no way to hold memory apart from its ArrayBuffer:
// a transfer would free it under the adapter. A napi_value is a v8::Local (js_native_api_v8.h in
// Node's sources), and BackingStore is V8's public class for just this. The addon is linked with
// immediate binding, so a Node.js whose V8 lacks these symbols refuses to load it instead of
// crashing later.
v8::Local<v8::Value> local_from(napi_value value) {
  v8::Local<v8::Value> local;
  static_assert(sizeof(v8::Local<v8::Value>) == sizeof(napi_value));
  std::memcpy(static_cast<void*>(&local), &value, sizeof local);
  return local;
}

}  // namespace

std::unique_ptr<ArrayBufferBacking> ArrayBufferBacking::of(Napi::Value value) {
  const v8::Local<v8::Value> local = local_from(value);
  std::shared_ptr<v8::BackingStore> store;
  napi_ref reference = nullptr;
  if (local->IsSharedArrayBuffer()) {
    store = local.As<v8::SharedArrayBuffer>()->GetBackingStore();
  } else if (local->IsArrayBuffer()) {
    store = local.As<v8::ArrayBuffer>()->GetBackingStore();
    if (napi_create_reference(value.Env(), value, 1, &reference) != napi_ok) return nullptr;
  } else {
    return nullptr;
  }
  auto* data = static_cast<std::byte*>(store->Data());
  const size_t size_bytes = store->ByteLength();
  return std::unique_ptr<ArrayBufferBacking>(
      new ArrayBufferBacking(value.Env(), reference, std::move(store), data, size_bytes));
}

ArrayBufferBacking::~ArrayBufferBacking() {
  if (reference_ != nullptr) napi_delete_reference(env_, reference_);
}

bool ArrayBufferBacking::attached() const {
  if (reference_ == nullptr) return true;
  napi_value buffer = nullptr;
  bool detached = true;
  return napi_get_reference_value(env_, reference_, &buffer) == napi_ok && buffer != nullptr &&
         napi_is_detached_arraybuffer(env_, buffer, &detached) == napi_ok && !detached;
}

}  // namespace viaduct::addon
