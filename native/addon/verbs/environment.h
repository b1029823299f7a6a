// What the verbs functions of the addon share: the objects of this JavaScript thread, their
// arguments and their errors. lib/verbs/native.ts declares the functions and checks their
// arguments' types; what is checked here is what memory safety hangs on.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "verbs/objects.h"
#include "verbs/rings.h"

namespace viaduct::addon {

// One for each JavaScript thread; destroyed, with all that it holds, when the thread's environment
// is.
struct VerbsEnvironment {
  explicit VerbsEnvironment(napi_env env) : env(env) {}
  const napi_env env;
  std::vector<std::shared_ptr<const verbs::Provider>> providers;
  verbs::Objects objects;
};

inline VerbsEnvironment& environment_of(const Napi::CallbackInfo& info) {
  return *static_cast<VerbsEnvironment*>(info.Data());
}

// Each throws and returns undefined.
Napi::Value throw_verbs_error(Napi::Env env, const char* verb, int error);
// The same, with the sentence in `problem` that the software HCA has for it.
Napi::Value throw_explained_error(Napi::Env env, const verbs::Provider& provider, const char* verb,
                                  int error);
Napi::Value throw_unsupported(Napi::Env env, const char* verb);
Napi::Value throw_closed(Napi::Env env, const char* what);

inline uint32_t uint32_at(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().Uint32Value();
}

uint64_t uint64_of(Napi::Value value);

template <typename T>
T* object_at(const Napi::CallbackInfo& info, size_t index) {
  return environment_of(info).objects.find<T>(uint32_at(info, index));
}

template <typename T>
Napi::Value adopt(const Napi::CallbackInfo& info, std::unique_ptr<T> object) {
  return Napi::Number::New(info.Env(), environment_of(info).objects.add(std::move(object))->handle);
}

void set_number(Napi::Object object, const char* name, double value);
void set_bigint(Napi::Object object, const char* name, uint64_t value);

// Each file's functions.
using DefineFunction = void(Napi::Env, Napi::Object exports, VerbsEnvironment&);
DefineFunction export_verbs_devices;
DefineFunction export_verbs_memory;
DefineFunction export_verbs_completion;
DefineFunction export_verbs_queue_pairs;
DefineFunction export_verbs_shared_receive_queues;
DefineFunction export_verbs_addresses;
DefineFunction export_verbs_registration_cache;
DefineFunction export_verbs_rings;

using VerbsFunction = Napi::Value(const Napi::CallbackInfo&);
inline void define(Napi::Env env, Napi::Object exports, VerbsEnvironment& environment,
                   const char* name, VerbsFunction function) {
  exports.Set(name, Napi::Function::New(env, function, name, &environment));
}

}  // namespace viaduct::addon
