// Functions that V8 calls by itself, and the step from Node-API to V8 beneath it. Node-API converts
// arguments one call at a time, which costs more than posting a work request does; these cost a
// quarter. Like all that includes <v8.h> they hold for the Node.js they were compiled for:
// module.cc refuses another.
#pragma once

#include <node_api.h>
#include <v8.h>

#include <cstdint>
#include <cstring>

namespace viaduct::addon {

// A napi_value is a v8::Local (js_native_api_v8.h in Node's sources).
inline v8::Local<v8::Value> local_from(napi_value value) {
  v8::Local<v8::Value> local;
  static_assert(sizeof(v8::Local<v8::Value>) == sizeof(napi_value));
  std::memcpy(static_cast<void*>(&local), &value, sizeof local);
  return local;
}

using V8Call = v8::FunctionCallbackInfo<v8::Value>;

// `data` outlives the function. False if it could not be made, with an exception pending.
bool define_v8_function(napi_value exports, const char* name, v8::FunctionCallback function,
                        void* data);

// V8 14 wants a tag with each pointer that an object holds.
constexpr int data_field = 0;
constexpr uint16_t data_tag = 0;
template <typename Object>
void* data_in(Object* holder) {
  if constexpr (requires { holder->GetAlignedPointerFromInternalField(data_field, data_tag); }) {
    return holder->GetAlignedPointerFromInternalField(data_field, data_tag);
  } else {
    return holder->GetAlignedPointerFromInternalField(data_field);
  }
}

template <typename T>
T& data_of(const V8Call& call) {
  return *static_cast<T*>(data_in(*call.Data().template As<v8::Object>()));
}

// The caller in JavaScript makes it a number (`value >>> 0`): what isn't one gives any number.
inline uint32_t uint32_at(const V8Call& call, int index) {
  return call[index].As<v8::Uint32>()->Value();
}

}  // namespace viaduct::addon
